"""Steps by a part of the reference events: minima are those of all events, by plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sbi_problems import many_nuisances

from rootml import sbi
from rootml.sbi.inference._samples import SampleShifts, ShiftedLikelihood
from rootml.sbi.inference.toys import _toy_source
from rootml.sbi.inference.toys._toys import source_of

CODES = ("log-quadratic", "code4", "code5")
REFERENCE = 36_000  # 141 blocks: an eighth of them is summed


def problem(engine: str) -> sbi.Likelihood:
    """400 events with three shapes; NumPy sums all reference events each time."""
    model, columns, reference = many_nuisances(400, 3, codes=CODES, reference=REFERENCE)
    return model.likelihood(columns, reference=reference, engine=engine)


def deviations(one: sbi.FitResult, other: sbi.FitResult) -> float:
    """The largest difference of two fits, in standard deviations."""
    sigma = np.array(list(other.errors.values()))
    return float(np.abs((one.theta - other.theta) / sigma).max())


def test_value_and_gradient_are_those_of_numpy_at_the_point() -> None:
    like, exact = problem("auto"), problem("numpy")
    place = like.start + 0.3
    near = like.near(place)
    assert near is not None
    value, gradient = near.nll_gradient(place)
    expected, slopes = exact.nll_gradient(place)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-9, atol=1e-8)
    moved = like.near(place + 0.2, near)
    assert moved is not None
    np.testing.assert_allclose(
        moved.nll_gradient(place + 0.2)[1], exact.nll_gradient(place + 0.2)[1], atol=1e-8
    )


def test_an_anchor_is_exact_to_second_order() -> None:
    """Away from it, the gradient differs by the square of the distance."""
    like, exact = problem("auto"), problem("numpy")
    place = like.start + 0.3
    near = like.anchored(place).near(place)
    assert near is not None
    np.testing.assert_allclose(near.nll_hessian(place), exact.nll_hessian(place), rtol=1e-8)
    off = [
        np.abs(near.nll_gradient(place + d)[1] - exact.nll_gradient(place + d)[1]).max()
        for d in (0.2, 0.1)
    ]
    assert off[0] < 0.05
    assert 2.5 < off[0] / off[1] < 6.0


def test_fits_and_profiles_are_those_of_numpy() -> None:
    found, exact = sbi.fit(problem("auto")), sbi.fit(problem("numpy"))
    assert deviations(found, exact) < 1e-4
    for name, error in exact.errors.items():
        assert found.errors[name] == pytest.approx(error, rel=1e-4)
    name = next(iter(exact.values))
    values = exact.values[name] + exact.errors[name] * np.array([-2.0, 1.0])
    t = found.profile(name, values=values).t
    assert t == pytest.approx(exact.profile(name, values=values).t, abs=1e-5)


def test_a_combination_and_shifts_hand_on() -> None:
    like, exact = problem("auto"), problem("numpy")
    names = tuple(like.parameters)
    shifts = SampleShifts(names, 0.1 * np.eye(len(names))[:2], np.ones(len(names)))

    def both(inner: sbi.Likelihood) -> Any:
        return sbi.CombinedLikelihood({"one": ShiftedLikelihood(inner, shifts)})

    place = both(like).start + 0.1
    near = both(like).anchored(place).near(place)
    assert near is not None
    np.testing.assert_allclose(
        near.nll_gradient(place)[1], both(exact).nll_gradient(place)[1], rtol=1e-9, atol=1e-8
    )
    assert deviations(sbi.fit(both(like)), sbi.fit(both(exact))) < 1e-4


@pytest.mark.parametrize(
    ("codes", "events", "allowed"),
    [(CODES, 400, None), (CODES, 400, 1e-4), (CODES[:1], 200, None)],
)
def test_toys_are_those_of_numpy(
    codes: tuple[str, ...], events: int, allowed: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same draws. Errors are by a part of the reference events only where that is enough."""
    if allowed is not None:
        monkeypatch.setattr(_toy_source, "_AGREE", allowed)
    model, _, reference = many_nuisances(events, 3, codes=codes, reference=REFERENCE)
    source = source_of(model, reference)
    channel = source.at(source.point({}))._channel  # type: ignore[union-attr]
    assert channel is not None
    assert channel.rough == (allowed is None)
    fast, exact = (
        sbi.toys(model, reference, number=4, seed=5, tests=[{"mu": 1.1}], engine=engine)
        for engine in ("auto", "numpy")
    )
    assert fast.valid.all()
    np.testing.assert_allclose(fast.statistic(), exact.statistic(), atol=1e-5)
    np.testing.assert_allclose(fast.errors, exact.errors, rtol=allowed or 5e-3)
    assert np.abs((fast.values - exact.values) / exact.errors).max() < 1e-3


def test_few_reference_events_are_summed_all() -> None:
    model, columns, reference = many_nuisances(400, 3, codes=CODES, reference=30_000)
    like = model.likelihood(columns, reference=reference)
    assert like.near(like.start) is None
    assert problem("numpy").near(like.start) is None
