"""The bias of a fit that is predicted from an error of a ratio is the bias of the fit made again.

Three Gaussian processes, two of them with shape nuisances. All events are those of a fine grid,
weighted to the densities, so nothing fluctuates: an error is added to a log ratio, the expected
data are fitted again, and the shift is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rootml import sbi
from rootml.sbi.diagnostics._fit_response import FitResponse, HeldOut
from rootml.sbi.inference._samples import SampleShifts, ShiftedLikelihood

GRID = np.linspace(-9.0, 9.0, 3001)
MEANS = {"S": 2.5, "T": -2.5, "B": 0.0}
SHIFTS = {"S.jes": 0.2, "B.jes": 0.15, "B.width": 0.1}
TREE = {"S": ("jes",), "T": (), "B": ("jes", "width")}


def log_density(process: str, x: Any, **alpha: float) -> Any:
    """A Gaussian whose mean moves with jes, its logarithm's width with the nuisance width."""
    mean = MEANS[process] + SHIFTS.get(f"{process}.jes", 0.0) * alpha.get("jes", 0.0)
    wide = np.exp(SHIFTS.get(f"{process}.width", 0.0) * alpha.get("width", 0.0))
    return stats.norm(mean, wide).logpdf(x)


def exact_logs(x: Any) -> dict[str, Any]:
    """Log ratios to B of all densities."""
    base = log_density("B", x)
    found = {p: log_density(p, x) - base for p in MEANS}
    for name in SHIFTS:
        process, nuisance = name.split(".")
        for side, alpha in (("up", 1.0), ("down", -1.0)):
            found[f"{name}.{side}"] = log_density(process, x, **{nuisance: alpha}) - base
    return found


def columns(logs: Mapping[str, Any], weights: Any = None) -> sbi.RatioColumns:
    ratios: dict[str, Any] = {}
    for process, nuisances in TREE.items():
        ratios[process] = {"nominal": np.exp(logs[process])}
        for n in nuisances:
            sides = (logs[f"{process}.{n}.{side}"] for side in ("up", "down"))
            ratios[process][n] = tuple(np.exp(side) for side in sides)
    return sbi.RatioColumns(ratios, weights)


MODEL = sbi.Model(
    {"S": "mu * 400", "T": "t * 300", "B": "2500"},
    {"mu": sbi.Parameter(1.0), "t": sbi.Parameter(1.0)},
    {"jes": sbi.Nuisance(yields={"S": 1.02}), "width": sbi.Nuisance(),
     "norm": sbi.Nuisance(yields={"B": 1.03})},
)  # fmt: skip
YIELDS = {"S": 400.0, "T": 300.0, "B": 2500.0}


class Known:
    """Ratios that are known, for the response: names and the tree are all that it asks for."""

    tree = TREE
    record = SimpleNamespace(shapes=())


def density(process: str, **alpha: float) -> Any:
    """Weights of the grid that add up to one."""
    weights = np.exp(log_density(process, GRID, **alpha))
    return weights / weights.sum()


def wrong_logs(x: Any, error: Callable[[Any], Any] | None, names: tuple[str, ...]) -> Any:
    found = exact_logs(x)
    for name in names:
        assert error is not None
        found[name] = found[name] + error(x)
    return found


def likelihood(
    error: Callable[[Any], Any] | None = None, names: tuple[str, ...] = (), **alpha: float
) -> sbi.Likelihood:
    """Of the data expected at some nuisances, with an error of some log ratios."""
    logs = wrong_logs(GRID, error, names)
    weights = sum(YIELDS[p] * density(p, **alpha) for p in MEANS)
    events = columns(logs, weights)
    like = MODEL.likelihood(events, reference=columns(logs, density("B")))
    return like.with_observed(**alpha)


def fitted(
    error: Callable[[Any], Any] | None = None, names: tuple[str, ...] = (), **alpha: Any
) -> sbi.FitResult:
    return sbi.fit(likelihood(error, names, **alpha)).require_valid()


def held_out(error: Callable[[Any], Any] | None = None, names: tuple[str, ...] = ()) -> Any:
    """Events of all samples."""

    def sample(process: str, **alpha: float) -> HeldOut:
        logs = wrong_logs(GRID, error, names)
        return HeldOut(GRID[:, None], density(process, **alpha), lambda: logs, own=True)

    found = {process: sample(process) for process in MEANS}
    for name in SHIFTS:
        process, nuisance = name.split(".")
        for side, alpha in (("up", 1.0), ("down", -1.0)):
            found[f"{name}.{side}"] = sample(process, **{nuisance: alpha})
    return found


def point_of(name: str) -> dict[str, Any]:
    """Where the nuisances are for the error of a ratio to matter."""
    if "." not in name:
        return {}
    _, nuisance, side = name.split(".")
    return {nuisance: 1.0 if side == "up" else -1.0}


@pytest.fixture(scope="module")
def nominal() -> Any:
    return fitted()


@pytest.fixture(scope="module")
def response(nominal: Any) -> FitResponse:
    return FitResponse(nominal, Known(), held_out())  # type: ignore[arg-type]


ERRORS: dict[str, Callable[[Any], Any]] = {
    "norm": np.ones_like,
    "slope": lambda x: 2.5 * x - 3.125,
    "wave": lambda x: np.sin(3.0 * x),
    "square": lambda x: x**2,
}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("name", ["S", "T", "S.jes.up", "S.jes.down", "B.jes.up", "B.width.down"])
def test_predicted_bias_is_that_of_another_fit(
    nominal: Any, response: FitResponse, name: str, error: str
) -> None:
    """For mu and t, within 5 % and .005 sigma; errors of a nominal ratio carry its variations."""
    family = tuple(n for n in exact_logs(GRID) if n == name or n.startswith(f"{name}."))
    alpha, size = point_of(name), 0.002

    def scaled(factor: float) -> Callable[[Any], Any]:
        return lambda x: factor * ERRORS[error](x)

    moved = [fitted(scaled(s), family, **alpha) for s in (size, -size)]
    predicted = response.biases(name, lambda x, _: ERRORS[error](x[:, 0])[:, None])[0]
    for j, parameter in enumerate(("mu", "t")):
        apart = moved[0].values[parameter] - moved[1].values[parameter]
        real = apart / (2.0 * size * nominal.errors[parameter])
        assert predicted[j] == pytest.approx(real, rel=0.05, abs=0.05)


@pytest.mark.parametrize("alpha", [{}, {"jes": 1.0}])
def test_measured_shift_is_that_of_another_fit(alpha: dict[str, Any]) -> None:
    """An error of several ratios at once, not known to the response: held-out events show it."""

    def error(x: Any) -> Any:
        return 0.02 * x + 0.02 * np.sin(2.0 * x)

    names = ("S", "S.jes.up", "S.jes.down", "T", "B.jes.up")
    base, nominal, moved = fitted(), fitted(**alpha), fitted(error, names, **alpha)
    wrong = replace(base, like=likelihood(error, names))
    found = FitResponse(wrong, Known(), held_out(error, names)).shifts()  # type: ignore[arg-type]
    words = "jes = +1" if alpha else ""
    for shift in (s for s in found if s.point == words):
        name = shift.parameter
        real = (moved.values[name] - nominal.values[name]) / base.errors[name]
        assert shift.value == pytest.approx(real, rel=0.1, abs=0.01)


# --- other likelihoods ---------------------------------------------------------------------------

SECOND = sbi.Model(
    {"S": "mu * 150", "B": "900 * k"},
    {"mu": sbi.Parameter(1.0), "k": sbi.Parameter(1.0)},
    {name: MODEL.nuisances[name] for name in ("jes", "width")},
)


def second_channel(error: Any = None, names: tuple[str, ...] = (), **alpha: float) -> Any:
    """Another selection of two of the processes, which shares mu, jes and width."""
    logs = wrong_logs(GRID, error, names)
    tree = columns(logs)
    ratios = {p: {n: tree[p][n] for n in ("nominal", *TREE[p])} for p in ("S", "B")}
    weights = 150.0 * density("S", **alpha) + 900.0 * density("B", **alpha)
    events, reference = sbi.RatioColumns(ratios, weights), sbi.RatioColumns(ratios, density("B"))
    return SECOND.likelihood(events, reference=reference).with_observed(**alpha)


def combined(error: Any = None, names: tuple[str, ...] = (), **alpha: float) -> Any:
    parts = (likelihood, second_channel)
    return sbi.CombinedLikelihood({part.__name__: part(error, names, **alpha) for part in parts})


def shifted(error: Any = None, names: tuple[str, ...] = (), **alpha: float) -> Any:
    """With the finite training as a nuisance that moves mu and t together."""
    rng = np.random.default_rng(1)
    moves = rng.normal(0.0, 0.1, (20, 1)) * [1.0, -0.5]
    found = SampleShifts(("mu", "t"), moves, np.array([0.07, 0.08]))
    return ShiftedLikelihood(likelihood(error, names, **alpha), found)


@pytest.mark.parametrize("make", [combined, shifted])
@pytest.mark.parametrize(("name", "error"), [("S", "wave"), ("B.jes.up", "slope")])
def test_bias_of_combined_and_shifted_likelihoods(make: Any, name: str, error: str) -> None:
    """The same comparison, for channels that share parameters and for the training's errors."""
    nominal = sbi.fit(make()).require_valid()
    found = FitResponse(nominal, Known(), held_out())  # type: ignore[arg-type]
    family = tuple(n for n in exact_logs(GRID) if n == name or n.startswith(f"{name}."))
    alpha, size = point_of(name), 0.002
    moved = [
        sbi.fit(make(lambda x, s=s: s * ERRORS[error](x), family, **alpha)).require_valid()
        for s in (size, -size)
    ]
    predicted = found.biases(name, lambda x, _: ERRORS[error](x[:, 0])[:, None])[0]
    for value, parameter in zip(predicted, found.parameters, strict=True):
        apart = moved[0].values[parameter] - moved[1].values[parameter]
        real = apart / (2.0 * size * nominal.errors[parameter])
        assert value == pytest.approx(real, rel=0.05, abs=0.05)
