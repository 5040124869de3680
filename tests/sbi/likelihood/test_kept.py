"""What is kept of the last point never shows: plain NumPy at every step of a walk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from sbi_problems import SignalBackground, many_nuisances

from rootml import sbi
from rootml.sbi.likelihood._normaliser import Normaliser

PROBLEM = SignalBackground()
STEPS = [
    (1.0, 0.3), (1.2, 0.3), (1.2, -0.8), (0.7, 0.3), (0.7, 0.0), (0.9, 0.0), (0.9, -0.0),
    (1.0, 2.5), (1.0, 0.3), (1.0, np.nextafter(0.3, 1.0)), (1.0, 0.3),
]  # fmt: skip


def oracle(
    x: Any, reference: sbi.RatioColumns, mu: float, alpha: float
) -> tuple[float, np.ndarray]:
    """Minus log L and its gradient, written down."""
    signal, background = PROBLEM.yields

    def shape(columns: Any) -> tuple[Any, Any, Any]:
        nominal, (up, down) = columns["B"]["nominal"], columns["B"]["jes"]
        log_up, log_down = np.log(up / nominal), np.log(down / nominal)
        slope, bend = 0.5 * (log_up - log_down), 0.5 * (log_up + log_down)
        rate = slope + 2.0 * alpha * bend
        return nominal, np.exp(alpha * slope + alpha**2 * bend), rate

    given = {"B": {"nominal": reference.ratio("B"), "jes": reference.variation("B", "jes")}}
    known, factor, rate = shape(given)
    weights = reference.weights * known
    z = weights @ factor / weights.sum()
    log_z_slope = weights @ (factor * rate) / (weights @ factor)
    columns = PROBLEM.columns(x)
    nominal, factor, rate = shape(columns)
    b = background * nominal * factor / z
    density = mu * signal * columns["S"] + b
    value = mu * signal + background - np.log(density).sum() + 0.5 * alpha**2
    gradient = [
        signal - (signal * columns["S"] / density).sum(),
        alpha - (b * (rate - log_z_slope) / density).sum(),
    ]
    return float(value), np.array(gradient)


def check(like: Any, x: Any, reference: sbi.RatioColumns, point: Any, *, gradient: bool) -> None:
    value, derivatives = oracle(x, reference, *point)
    assert like.nll(point) == pytest.approx(value, rel=1e-12)
    if gradient:
        found, rise = like.nll_gradient(point)
        assert found == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(rise, derivatives, rtol=0, atol=1e-12 * len(x))


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_walk(engine: str, every: int) -> None:
    """Back and forth, with gradients at each, every second, every third step."""
    x, reference = PROBLEM.draw(np.random.default_rng(3)), PROBLEM.reference()
    like = PROBLEM.likelihood(x, engine=engine)
    for number, point in enumerate(STEPS):
        check(like, x, reference, np.array(point), gradient=number % every == 0)


def test_other_data_and_another_reference() -> None:
    """Z is that of the events it was given, whoever has asked before."""
    rng = np.random.default_rng(4)
    first, second = PROBLEM.draw(rng), PROBLEM.draw(rng)
    fine, coarse = PROBLEM.reference(), PROBLEM.reference(points=11)
    point = np.array([1.1, 0.7])
    a = PROBLEM.likelihood(first)
    fine = a.reference  # type: ignore[assignment]
    b = a.with_columns(PROBLEM.columns(second))
    c = a.with_columns(PROBLEM.columns(first), reference=coarse)
    for _ in range(2):
        check(a, first, fine, point, gradient=True)
        check(b, second, fine, point, gradient=True)
        check(c, first, coarse, point, gradient=True)
        check(b, second, fine, np.array([1.1, -0.7]), gradient=False)
    assert c.nll(point) != pytest.approx(a.nll(point), rel=1e-8)
    moved = a.with_observed(jes=0.5)
    assert moved.nll(point) - a.nll(point) == pytest.approx(0.5 * (0.2**2 - 0.7**2))


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_the_way_to_a_point_does_not_matter(engine: str) -> None:
    """To the last bit: toys must be the same whatever was fitted before them."""
    codes = ("log-quadratic", "code4", "code5")
    model, columns, reference = many_nuisances(300, 3, codes=codes, reference=500)
    like = model.likelihood(columns, reference=reference, engine=engine)
    points = np.random.default_rng(5).normal(0.0, 1.0, (6, 4)) * [0.1, 1.0, 1.0, 1.0] + 1.0
    for number in np.random.default_rng(6).integers(0, 6, 60):
        fresh = model.likelihood(columns, reference=reference, engine=engine)
        point = points[number]
        if number % 2:
            (value, gradient), (expected, rise) = (f.nll_gradient(point) for f in (like, fresh))
            assert value == expected
            np.testing.assert_array_equal(gradient, rise)
        else:
            assert like.nll(point) == fresh.nll(point)


def test_threads_do_not_disturb_each_other() -> None:
    x = PROBLEM.draw(np.random.default_rng(7))
    like = PROBLEM.likelihood(x)
    points = [np.array([1.0, a]) for a in (-1.0, -0.4, 0.0, 0.6, 1.3)]
    alone = [(like.nll(p), like.nll_gradient(p)[1].tolist()) for p in points]

    def ask(number: int) -> bool:
        k = number % len(points)
        value, gradient = like.nll(points[k]), like.nll_gradient(points[k])[1].tolist()
        return (value, gradient) == alone[k]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(2000)))


def test_a_fit_of_the_strength_alone_sums_over_the_reference_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    like = PROBLEM.likelihood(PROBLEM.draw(np.random.default_rng(8)))
    assert like.unbinned is not None
    normaliser = like.unbinned.normaliser
    assert isinstance(normaliser, Normaliser)
    sums, calls = normaliser._sums, []

    def count(*given: Any, **options: Any) -> Any:
        calls.append(options)
        return sums(*given, **options)

    monkeypatch.setattr(normaliser, "_sums", count)
    for mu in np.linspace(0.5, 1.5, 20):
        like.nll([mu, 0.4])
    assert len(calls) == 1
    like.nll_gradient([1.0, 0.4])
    like.nll_gradient([1.1, 0.4])
    like.nll([1.1, 0.4])
    assert len(calls) == 2
    like.nll([1.1, 0.5])
    assert len(calls) == 3
