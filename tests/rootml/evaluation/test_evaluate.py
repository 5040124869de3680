"""`rootml.evaluate` against scikit-learn and SciPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import rootml
from rootml.errors import EmptySelectionError, NonFiniteError, UsageError
from rootml.evaluation import evaluate

RNG = np.random.default_rng(7)
COUNT = 3000
LABEL = RNG.integers(0, 2, COUNT)
SCORE = np.round(RNG.normal(LABEL * 1.2, 1.0), 2)  # with ties
WEIGHT = RNG.uniform(0.2, 2.0, COUNT)


@pytest.fixture
def data(tmp_path: Path) -> rootml.Dataset:
    table = pa.table({"y": LABEL, "dnn": SCORE, "w": WEIGHT, "n": np.arange(COUNT)})
    pa.parquet.write_table(table, tmp_path / "scored.parquet", row_group_size=700)
    return rootml.open(tmp_path / "scored.parquet", label="y", weight="w")


def test_the_area_and_working_points_of_scikit_learn(data: rootml.Dataset) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    found = evaluate(data, "dnn", working_points=[0.25, 0.5, 0.9, 1.0])
    assert found.auc == pytest.approx(
        metrics.roc_auc_score(LABEL, SCORE, sample_weight=WEIGHT), abs=1e-12
    )
    fpr, tpr, cuts = metrics.roc_curve(LABEL, SCORE, sample_weight=WEIGHT, drop_intermediate=False)
    for point, wanted in zip(found.working_points, [0.25, 0.5, 0.9, 1.0], strict=True):
        first = int(np.flatnonzero(tpr >= wanted - 1e-12)[0])
        assert point.threshold == cuts[first]
        assert point.signal == pytest.approx(tpr[first])
        assert point.background == pytest.approx(fpr[first])
        assert point.rejection == pytest.approx(1 / fpr[first])


def test_training_beside_test(data: rootml.Dataset) -> None:
    stats = pytest.importorskip("scipy.stats")
    halves = data.with_weight(None)
    train, test = halves.filter("n < 1500"), halves.filter("n >= 1500")
    found = evaluate(test, "dnn", train=train)
    first = np.arange(COUNT) < 1500
    for label in (0, 1):
        mine = label == LABEL
        wanted = stats.ks_2samp(SCORE[first & mine], SCORE[~first & mine]).statistic
        assert found.ks[label] == pytest.approx(wanted, abs=1e-12)
    assert found.train_auc is not None
    assert "KS distance, label 1" in str(found)


class Linear:
    """A model as `evaluate` takes it."""

    def predict(self, dataset: rootml.Dataset) -> Any:
        return 3 * dataset.select(["dnn"]).to_awkward()["dnn"].to_numpy()


def test_a_model_in_the_place_of_a_score(data: rootml.Dataset) -> None:
    found = evaluate(data.filter("n > 5"), model=Linear())
    wanted = evaluate(data.filter("n > 5"), "3 * dnn")
    assert (found.auc, found.score) == (wanted.auc, "Linear")


def test_weights_of_both_signs(data: rootml.Dataset) -> None:
    """An event of weight 1 and the same again with 1 and -1 have the same efficiencies."""
    signs = data.with_weight("n % 10 == 0 ? -0.5 : 1.0")
    weight = np.where(np.arange(COUNT) % 10 == 0, -0.5, 1.0)
    found = evaluate(signs, "dnn")
    signal, background = LABEL == 1, LABEL == 0
    above = (SCORE[signal][:, None] > SCORE[background]) + 0.5 * (
        SCORE[signal][:, None] == SCORE[background]
    )
    pairs = weight[signal][:, None] * weight[background]
    assert found.auc == pytest.approx((above * pairs).sum() / pairs.sum(), abs=1e-12)


def test_bad_input(data: rootml.Dataset) -> None:
    with pytest.raises(UsageError, match="one of both"):
        evaluate(data)
    with pytest.raises(UsageError, match="no label"):
        evaluate(data.with_label(None), "dnn")
    with pytest.raises(UsageError, match=r"found the labels \['1'\]"):
        evaluate(data.filter("y == 1"), "dnn")
    with pytest.raises(EmptySelectionError, match="nothing to evaluate"):
        evaluate(data.filter("n < 0"), "dnn")
    with pytest.raises(NonFiniteError, match="scores are NaN or infinite"):
        evaluate(data, "log(dnn - 100)")
    with pytest.raises(UsageError, match="add up to 0"):
        evaluate(data.with_weight(0.0), "dnn")


def test_the_report_is_one_file(data: rootml.Dataset, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = evaluate(data, "dnn")
    page = Path(found.report(tmp_path / "report.html")).read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    assert f"{found.auc:.4f}" in page
    assert "http" not in page.replace("http-equiv", "")
