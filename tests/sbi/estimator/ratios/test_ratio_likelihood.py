"""The likelihood of a ratio that depends on parameters, for a ratio that is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sbi_learned import write

from rootml import sbi
from rootml.errors import (
    DensityError,
    EmptySelectionError,
    NonFiniteError,
    SchemaError,
    UsageError,
)
from rootml.sbi.estimator.graph._graph import Builder
from rootml.sbi.estimator.ratios._record import TrainingRecord


def likelihood(x: np.ndarray, weights: Any = None, **options: Any) -> sbi.RatioLikelihood:
    """log r = (x - 1) mu + y mu nu - (mu^2 + nu^2) / 2."""
    build = Builder(x=2, theta=2)

    def pick(name: str, place: int) -> str:
        return build.linear(name, np.eye(2)[:, [place]])

    mu, nu = pick("theta", 0), pick("theta", 1)
    first = build.add("Mul", build.add("Sub", pick("x", 0), build.constant([[1.0]])), mu)
    second = build.add("Mul", build.add("Mul", pick("x", 1), mu), nu)
    squares = build.add("Add", build.add("Mul", mu, mu), build.add("Mul", nu, nu))
    third = build.add("Mul", squares, build.constant([[0.5]]))
    value = build.add("Sub", build.add("Add", first, second), third)
    graph = build.graph(
        member0=(value, 1), log_ratio=(value, 1), ratio=(build.add("Exp", value), 1)
    )
    ends = {"mu": (-3.0, 3.0), "nu": (-3.0, 3.0)}
    record = TrainingRecord({})
    ratios = sbi.ParametricRatios(("x", "y"), ("x", "y"), ends, "reference", 1, record, graph)
    like = ratios.likelihood(x, **options)
    like.weights = weights
    return like


def test_derivatives_and_weights() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 2)).astype(np.float32).astype(np.float64)
    w = rng.uniform(-0.5, 2.0, 200)
    like = likelihood(x, w)
    mu, nu = 0.7, -0.3
    log = (x[:, 0] - 1) * mu + x[:, 1] * mu * nu - 0.5 * (mu**2 + nu**2)
    scores = np.stack([x[:, 0] - 1 + x[:, 1] * nu - mu, x[:, 1] * mu - nu])
    assert like(mu=mu, nu=nu) == pytest.approx(-w @ log, rel=1e-12)
    value, slopes = like.nll_gradient([mu, nu])
    assert value == pytest.approx(-w @ log, rel=1e-12)
    np.testing.assert_allclose(slopes, -scores @ w, rtol=1e-12)
    cross = -(w @ x[:, 1])
    np.testing.assert_allclose(
        like.nll_hessian([mu, nu]), [[w.sum(), cross], [cross, w.sum()]], rtol=1e-6
    )
    spread = (scores * w) @ (scores * w).T
    np.testing.assert_allclose(like.score_covariance([mu, nu]), spread, rtol=1e-12)
    assert like.observed == {}


def test_a_fit_with_weights() -> None:
    """Half the weight: errors grow by a root of two, those of weighted events do not."""
    x = np.random.default_rng(2).normal([1.4, 0.0], [1.0, 0.0], size=(400, 2))
    plain, half = sbi.fit(likelihood(x)), sbi.fit(likelihood(x, np.full(400, 0.5)))
    assert plain.values["mu"] == pytest.approx(x[:, 0].mean() - 1, abs=1e-6)
    assert plain.errors["mu"] == pytest.approx(0.05, rel=1e-5)
    assert half.errors["mu"] == pytest.approx(0.05 * 2**0.5, rel=1e-5)
    sigma = half.weighted_covariance()[0, 0] ** 0.5
    assert sigma == pytest.approx(0.05 * x[:, 0].std(), rel=1e-5)
    assert sbi.impacts(plain, "mu").rows == []
    plain.profile("mu", points=5)
    assert sbi.discovery(plain.like, "mu").significance == pytest.approx(
        plain.values["mu"] * 20, rel=1e-4
    )


def test_events_without_a_ratio_are_named() -> None:
    x = np.zeros((5000, 2))
    like = likelihood(x)
    like.x[[7, 4321], 0] = np.inf  # as of a network that overflows
    assert np.isnan(like.nll([2.0, 0.0], strict=False))
    with pytest.raises(DensityError, match=r"log ratio is not.*mu=2, nu=0.*2 of 5,000.*7 .*4321"):
        like.nll([2.0, 0.0])
    with pytest.raises(DensityError, match="not a finite number"):
        sbi.fit(like, start={"mu": 2.0})
    ratios = replace(like.ratios, graph=_overflowing())
    with pytest.raises(NonFiniteError, match=r"log ratio is NaN or inf.* 1 of 3 .*number 1 \(inf"):
        ratios.log_ratio({"x": [0.0, 800.0, 1.0], "y": [0.0] * 3}, mu=1.0, nu=0.0)


def _overflowing() -> Any:
    """log r = exp(x)."""
    build = Builder(x=2, theta=2)
    value = build.add("Exp", build.linear("x", np.eye(2)[:, [0]]))
    return build.graph(member0=(value, 1), log_ratio=(value, 1), ratio=(value, 1))


def test_weights_that_cancel(tmp_path: Path) -> None:
    data = write(
        tmp_path / "e.parquet", {"x": [1.0, 2.0], "y": [0.0, 0.0], "w": [1.0, -1.0]}, weight="w"
    )
    with pytest.raises(UsageError, match="the weights of 2 events sum to 0"):
        likelihood(np.zeros((1, 2))).ratios.likelihood(data)


@pytest.mark.parametrize("function", ["goodness_of_fit", "limit", "bootstrap", "shifts"])
def test_what_needs_a_model_says_so(function: str) -> None:
    like = likelihood(np.tile([1.4, 0.0], (50, 1)))
    result = sbi.fit(like)
    calls: dict[str, Any] = {
        "goodness_of_fit": lambda: sbi.goodness_of_fit(result),
        "limit": lambda: sbi.limit(like, "mu"),
        "bootstrap": lambda: list(sbi.bootstrap_reference(like, 2, seed=1)),
        "shifts": lambda: sbi.sample_shifts(result, [(None, None)] * 2),
    }
    with pytest.raises(UsageError, match="not a RatioLikelihood"):
        calls[function]()


@pytest.mark.parametrize(
    ("events", "error", "message"),
    [
        ({"x": [1.0, 2.0], "y": [1.0]}, SchemaError, r"equal lengths, not x \(2,\), y \(1,\)"),
        ({"x": [[1.0]], "y": [[1.0]]}, SchemaError, r"one number per event"),
        ({"x": [1.0, 1e39], "y": [0.0, 0.0]}, NonFiniteError, r"1 of 2 .*x = 1e\+39 in event 1"),
        ({"x": [], "y": []}, EmptySelectionError, "no events"),
        ({"x": ["one"], "y": [1.0]}, SchemaError, "column 'x' does not hold one number"),
    ],
)
def test_events_that_are_refused(
    events: dict[str, Any], error: type[Exception], message: str
) -> None:
    ratios = likelihood(np.zeros((1, 2))).ratios
    with pytest.raises(error, match=message):
        ratios.likelihood(events)
