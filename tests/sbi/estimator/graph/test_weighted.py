"""Weights of an ensemble's members, beside a logistic regression of scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sbi_learned import Float, write

import rootml
from rootml import sbi
from rootml.errors import MissingColumnError, UsageError

torch = pytest.importorskip("torch")
MEANS = {"S": 1.0, "B": 0.0}
GRID = {"x": np.linspace(-2.0, 3.0, 51)}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """For the training, and independent ones for the weights, of which S has signed weights."""
    folder, rng = tmp_path_factory.mktemp("samples"), np.random.default_rng(1)
    found: dict[str, Any] = {}
    for name, mean in MEANS.items():
        found[name] = write(folder / f"{name}.parquet", {"x": rng.normal(mean, 1.0, 2000)})
        columns = {"x": rng.normal(mean, 1.0, 6000), "w": np.ones(6000)}
        if name == "S":
            columns["w"][:600] = -1.0
        found[f"more {name}"] = write(folder / f"more_{name}.parquet", columns, weight="w")
    shifted = [rng.normal(shift, 1.0, 2000) for shift in (0.3, -0.3)]
    found["jes"] = tuple(
        write(folder / f"jes_{k}.parquet", {"x": x}) for k, x in enumerate(shifted)
    )
    return found


@pytest.fixture(scope="module")
def ratios(samples: dict[str, Any]) -> sbi.Ratios:
    torch.set_num_threads(1)
    estimator = sbi.RatioEstimator(
        ["x"], ensemble=3, hidden=(8,), epochs=6, batch_size=128, progress=False
    )
    signal = {"nominal": samples["S"], "jes": samples["jes"]}
    return estimator.fit({"S": signal, "B": samples["B"]}, reference="B")


def more(samples: dict[str, Any]) -> dict[str, rootml.Dataset]:
    return {name: samples[f"more {name}"] for name in MEANS}


def test_weights_are_those_of_a_logistic_regression(
    samples: dict[str, Any], ratios: sbi.Ratios
) -> None:
    """Of scikit-learn, without signed weights, which it does not take."""
    linear = pytest.importorskip("sklearn.linear_model")
    positive = {
        name: each.filter("w > 0").with_weight(None) for name, each in more(samples).items()
    }
    weighted = ratios.weighted(positive)

    def members(data: Any) -> Float:
        return np.stack([ratios.log_ratio(data, member=m)[:, 0] for m in range(3)], axis=1)

    sides = [members(positive[name]) for name in ("S", "B")]
    label = np.repeat([1, 0], [len(side) for side in sides])
    weights = np.concatenate([np.full(len(side), 1e3 / len(side)) for side in sides])
    model = linear.LogisticRegression(C=np.inf, tol=1e-12, max_iter=5000, solver="newton-cholesky")
    model.fit(np.concatenate(sides), label, weights)
    expected = members(GRID) @ model.coef_[0] + model.intercept_[0]
    np.testing.assert_allclose(weighted.log_ratio(GRID)[:, 0], expected, atol=2e-4)
    assert "weights of the members (S: " in weighted.record.notes[-1]


def test_signed_events_are_weighted_too(
    samples: dict[str, Any], ratios: sbi.Ratios, tmp_path: Path
) -> None:
    weighted = ratios.weighted(more(samples))
    truth = GRID["x"] - 0.5
    assert np.abs(weighted.log_ratio(GRID)[:, 0] - truth)[5:45].max() < 0.3
    for member in range(3):
        np.testing.assert_array_equal(
            weighted.log_ratio(GRID, member=member), ratios.log_ratio(GRID, member=member)
        )
    weighted.save(tmp_path / "w.onnx")
    loaded: Any = sbi.RatioEstimator.load(tmp_path / "w.onnx")
    np.testing.assert_array_equal(loaded.log_ratio(GRID), weighted.log_ratio(GRID))


def test_variations_take_the_weights_of_their_process(
    samples: dict[str, Any], ratios: sbi.Ratios
) -> None:
    weighted = ratios.weighted(more(samples))
    assert ratios.outputs == ("S", "S.jes.up", "S.jes.down")

    def differences(each: sbi.Ratios) -> Float:
        logs = each.log_ratio(GRID)
        return logs[:, 1:] - logs[:, :1]

    np.testing.assert_allclose(differences(weighted), differences(ratios), atol=0.25)
    moved = weighted.renormalised({"x": np.random.default_rng(3).normal(0.0, 1.0, 5000)})
    shift = moved.log_ratio(GRID) - weighted.log_ratio(GRID)
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-6)


def test_what_cannot_be_weighted(samples: dict[str, Any], ratios: sbi.Ratios) -> None:
    with pytest.raises(MissingColumnError, match="expected some of"):
        ratios.weighted({"S": samples["S"]})
    with pytest.raises(MissingColumnError, match=r"\['S', 'B', 'T'\]"):
        ratios.weighted({"S": samples["S"], "B": samples["B"], "T": samples["B"]})
    negative = samples["S"].with_weight("-1.0")
    with pytest.raises(UsageError, match="sample 'S': its weights sum to"):
        ratios.weighted({"S": negative, "B": samples["B"]})
