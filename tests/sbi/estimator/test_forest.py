"""A boosted forest, trained by XGBoost and compiled by `rootml.bdt`, as the classifier.

Neither part knows the other: a classifier is anything with ``predict``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from sbi_learned import write_matrix

import rootml
import rootml.bdt
from rootml import sbi

xgboost = pytest.importorskip("xgboost")
pytest.importorskip("scipy")

MEANS = {"S": np.array([1.0, 0.5]), "B": np.zeros(2)}


def draw(name: str, rng: np.random.Generator, rows: int) -> np.ndarray:
    """Two normal distributions of unit width."""
    return rng.normal(MEANS[name], 1.0, (rows, 2)).astype(np.float32)


def exact(x: np.ndarray) -> np.ndarray:
    """Their log ratio."""
    logs = [scipy.stats.norm.logpdf(x - mean).sum(axis=1) for mean in MEANS.values()]
    return np.asarray(logs[0] - logs[1])


@pytest.fixture(scope="module")
def booster() -> Any:
    rng = np.random.default_rng(1)
    x = np.concatenate([draw(name, rng, 20_000) for name in MEANS])
    data = xgboost.DMatrix(x, np.repeat([1, 0], 20_000))
    options = {"objective": "binary:logistic", "max_depth": 4, "eta": 0.2, "nthread": 1}
    return xgboost.train(options, data, 60)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, rootml.Dataset]:
    folder, rng = tmp_path_factory.mktemp("samples"), np.random.default_rng(2)
    return {
        name: write_matrix(folder / f"{name}.parquet", draw(name, rng, 30_000)) for name in MEANS
    }


def make(classifier: Any, samples: Any, **options: Any) -> sbi.Ratios:
    return sbi.RatioEstimator.from_classifier(
        classifier, samples, reference="B", inputs=["x0", "x1"], progress=False, **options
    )


def test_the_ratios_are_those_of_xgboost(booster: Any, samples: Any) -> None:
    """Ours are bit-equal to XGBoost's margins, so are the ratios; probabilities nearly so."""
    model = rootml.bdt.load(booster).compile()
    x = draw("S", np.random.default_rng(3), 2000)

    def theirs(rows: Any) -> Any:
        return booster.predict(xgboost.DMatrix(rows), output_margin=True)

    expected = make(theirs, samples, kind="logit").columns(x).ratio("S")
    found = make(model.predict_margin, samples, kind="logit").columns(x).ratio("S")
    np.testing.assert_array_equal(found, expected)
    whole = make(model, samples).columns(x).ratio("S")
    np.testing.assert_allclose(whole, expected, rtol=2e-3)
    apart = make({"S": model}, samples).columns(x).ratio("S")
    np.testing.assert_array_equal(apart, whole)


def test_the_ratios_are_calibrated(booster: Any, samples: Any) -> None:
    """An overtrained forest is too sure of itself; the calibrated ratios are not."""
    model = rootml.bdt.load(booster).compile()
    ratios = make(model, samples)
    rng = np.random.default_rng(4)
    known = draw("B", rng, 50_000)
    assert ratios.columns(known).ratio("S").mean() == pytest.approx(1.0, abs=0.02)
    x = np.concatenate([draw("S", rng, 5000), draw("B", rng, 5000)])
    apart = ratios.log_ratio(x)[:, 0] - exact(x)
    assert abs(apart.mean()) < 0.03
    assert apart.std() < 0.25


def test_a_fit_with_them(booster: Any, samples: Any) -> None:
    """300 of S over 2700 of B: near the exact fit of the same events, a little less precise."""
    ratios = make(rootml.bdt.load(booster).compile(), samples)
    model = sbi.Model({"S": "mu * 300", "B": "2700"}, {"mu": sbi.Parameter(1.0, lower=0.0)})
    rng = np.random.default_rng(5)
    shifts, errors = [], []
    for _ in range(20):
        x = np.concatenate([draw(k, rng, rng.poisson(n)) for k, n in (("S", 300), ("B", 2700))])
        found = sbi.fit(model.likelihood(ratios.columns(x)))
        best = sbi.fit(model.likelihood({"S": np.exp(exact(x)), "B": np.ones(len(x))}))
        shifts.append((found.values["mu"] - best.values["mu"]) / best.errors["mu"])
        errors.append(found.errors["mu"] / best.errors["mu"])
    assert abs(np.mean(shifts)) < 0.3
    assert 0.99 < np.mean(errors) < 1.08
