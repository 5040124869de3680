"""`rootml.evaluate` against scikit-learn and SciPy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import rootml
from rootml.errors import EmptySelectionError, MissingColumnError, NonFiniteError, UsageError
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
    assert (found.auc, found.score) == (wanted.auc, "prediction")


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
    with pytest.raises(UsageError, match="give score= "):
        evaluate(data)
    with pytest.raises(UsageError, match="no label"):
        evaluate(data.with_label(None), "dnn")
    with pytest.raises(
        UsageError, match=r"labels 1, expected 0 and 1: no selected event has label 0"
    ):
        evaluate(data.filter("y == 1"), "dnn")
    with pytest.raises(EmptySelectionError, match="nothing to evaluate"):
        evaluate(data.filter("n < 0"), "dnn")
    with pytest.raises(MissingColumnError, match=r"'dnm'.*'dnn'"):
        evaluate(data, "dnm")
    with pytest.raises(NonFiniteError) as found:
        evaluate(data.filter("n > 699").define(bad="n == 2105 ? log(0 * n) : dnn"), "bad")
    for word in ("scored.parquet", r"scores \(bad\)", "first -inf in entry 2105", "isfinite"):
        assert re.search(word, str(found.value)), word
    with pytest.raises(UsageError, match="weights of the .* events of label 1 add up to 0"):
        evaluate(data.with_weight(0.0), "dnn")
    with pytest.raises(UsageError, match="rising edges"):
        evaluate(data, "dnn", by={"n": [5, 3]})
    with pytest.raises(EmptySelectionError, match="no event is in the bins"):
        evaluate(data, "dnn", by={"n": [-5, -3]})


def test_efficiencies_in_bins(data: rootml.Dataset) -> None:
    edges = [0, 1000, 2500]  # 500 events are beyond
    found = evaluate(data.with_weight(None), "dnn", by={"n": edges}, working_points=[0.3, 0.8])
    table = found.efficiencies["n"]
    assert table.outside == 499  # 2500 is in the last bin
    for k, point in enumerate(found.working_points):
        for number, (low, high) in enumerate([(0, 1000), (1000, 2501)]):
            inside = (np.arange(COUNT) >= low) & (np.arange(COUNT) < high)
            for label, values, errors in (
                (1, table.signal, table.signal_error),
                (0, table.background, table.background_error),
            ):
                passes = (point.threshold <= SCORE)[inside & (label == LABEL)]
                assert values[k, number] == pytest.approx(passes.mean())
                binomial = np.sqrt(passes.mean() * (1 - passes.mean()) / len(passes))
                assert errors[k, number] == pytest.approx(binomial)
    pytest.importorskip("matplotlib")
    bars = table.plot(1).containers[0]
    np.testing.assert_allclose(bars.lines[0].get_ydata(), table.signal[1])
    even = evaluate(data, "dnn", by="n").efficiencies["n"]
    assert even.signal.shape == (6, 10)
    assert "499 events are outside" in str(table)


def test_errors_of_weighted_efficiencies_are_their_spread(data: rootml.Dataset) -> None:
    """Of Poisson bootstraps, at a fixed threshold."""
    point = evaluate(data, "dnn", working_points=[0.5]).working_points[0]
    mine = LABEL == 1
    passes, weight = (point.threshold <= SCORE)[mine], WEIGHT[mine]
    draws = np.random.default_rng(1).poisson(1.0, (2000, mine.sum())) * weight
    spread = (draws @ passes / draws.sum(axis=1)).std()
    assert point.signal_error == pytest.approx(spread, rel=0.06)


def test_contributions_of_a_forest(tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    pytest.importorskip("llvmlite")
    from rootml import bdt

    x = RNG.normal(size=(1200, 3)).astype(np.float32)
    y = (x[:, 0] + 0.3 * x[:, 2] + RNG.normal(size=1200) > 0).astype(int)
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 3, "nthread": 1},
        xgboost.DMatrix(x, y, feature_names=["a", "b", "c"]), 10,
    )  # fmt: skip
    pa.parquet.write_table(
        pa.table({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y}), tmp_path / "x.parquet"
    )
    model = bdt.load(booster).compile()
    found = evaluate(rootml.open(tmp_path / "x.parquet", label="y"), model=model, by="a")
    shap = booster.predict(xgboost.DMatrix(x, feature_names=["a", "b", "c"]), pred_contribs=True)[
        :, :-1
    ]
    order = np.argsort(-np.abs(shap).mean(axis=0))
    assert found.importance is not None
    assert found.importance.names == tuple(np.array(["a", "b", "c"])[order])
    np.testing.assert_allclose(found.importance.size, np.abs(shap).mean(axis=0)[order], rtol=1e-5)
    np.testing.assert_allclose(
        found.importance.signal, shap[y == 1].mean(axis=0)[order], atol=1e-5
    )
    assert "in background" in str(found)
    pytest.importorskip("matplotlib")
    page = Path(found.report(tmp_path / "report.html")).read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_on_a_cluster_the_same(data: rootml.Dataset) -> None:
    dask = pytest.importorskip("distributed")
    with (
        dask.LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        dask.Client(cluster, set_as_default=False) as client,
    ):
        there = evaluate(data.on(client), "dnn", by="n")
    assert str(there) == str(evaluate(data, "dnn", by="n"))


def test_the_report_is_one_file(data: rootml.Dataset, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = evaluate(data, "dnn")
    page = Path(found.report(tmp_path / "report.html")).read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    assert f"{found.auc:.4f}" in page
    assert "http" not in page.replace("http-equiv", "")


def test_networks_and_functions_are_models(data: rootml.Dataset) -> None:
    """What takes arrays gets the columns in batches; scores as if they were written down."""
    torch = pytest.importorskip("torch")
    inputs = data.select(["n", "dnn"])
    wanted = evaluate(data, "dnn")

    class Second(torch.nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, x: Any) -> Any:
            return 2 * x[:, 1:]

    for model in (Second(), lambda x: x[:, 1]):
        found = evaluate(inputs, model=model)
        assert found.auc == pytest.approx(wanted.auc, abs=1e-12)
        assert found.score == "prediction"


def test_models_that_cannot_be_asked(data: rootml.Dataset) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    fitted = linear_model.LogisticRegression().fit(SCORE[:, None], LABEL)
    with pytest.raises(UsageError, match=r"LogisticRegression.predict\(dataset\) failed.*lambda"):
        evaluate(data.select(["dnn"]), model=fitted)
    found = evaluate(data.select(["dnn"]), model=lambda x: fitted.predict_proba(x)[:, 1])
    assert found.auc == pytest.approx(evaluate(data, "dnn").auc, abs=1e-4)  # rounded to ties
    with pytest.raises(UsageError, match="model= is a int: expected a torch module"):
        evaluate(data, model=3)
