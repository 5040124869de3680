"""A model that uses every kind of constraint, interpolation and yield, and how RooFit fits it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rootml import sbi
from rootml.sbi.likelihood._binned import example_workspace

Array = npt.NDArray[np.float64]
UPPER = 10.0


def falling(x: Array, slope: float) -> Array:
    """An exponential on [0, UPPER]."""
    return np.asarray(slope * np.exp(-slope * x) / -np.expm1(-slope * UPPER))


def peak(x: Array, mean: float = 4.0) -> Array:
    """A Gaussian far from the ends of the range."""
    return np.asarray(np.exp(-0.5 * ((x - mean) / 0.6) ** 2) / (0.6 * np.sqrt(2.0 * np.pi)))


def draw(signal: int, background: int, seed: int) -> Array:
    """Events of both."""
    rng = np.random.default_rng(seed)
    flat = rng.uniform(size=background)
    return np.concatenate(
        [rng.normal(4.0, 0.6, signal), -np.log1p(flat * np.expm1(-0.35 * UPPER)) / 0.35]
    )


def columns(x: Array, *, second: bool = False) -> dict[str, Any]:
    """Ratios to 0.1 S + 0.9 B; `tilt` on B, and with `second` also `shift` on S."""
    reference = 0.1 * peak(x) + 0.9 * falling(x, 0.35)
    tilt = tuple(falling(x, 0.35 * (1.0 + 0.12 * a)) / reference for a in (1.0, -1.0))
    signal: Any = peak(x) / reference
    background: dict[str, Any] = {"nominal": falling(x, 0.35) / reference, "tilt": tilt}
    if second:
        shift = tuple(peak(x, 4.0 + 0.1 * a) / reference for a in (1.0, -1.0))
        signal = {"nominal": signal, "shift": shift}
        background["shift"] = tuple(
            falling(x, 0.35 * (1.0 - 0.03 * a)) / reference for a in (1.0, -1.0)
        )
    return {"S": signal, "B": background}


def model(*, code: str = "log-quadratic", second: bool = False, binned: bool = False) -> sbi.Model:
    """300 signal and 2700 background events, constraints of all kinds."""
    nuisances = {
        "tilt": sbi.Nuisance(
            interpolation=code, yields={"B": (1.03, 0.98)}, yield_interpolation=code, observed=0.2
        ),
        "a_norm": sbi.Nuisance(constraint="lognormal", width=1.05),
        "Stat": sbi.Nuisance(constraint="poisson", width=400.0, observed=410.0),
    }
    if second:
        nuisances["shift"] = sbi.Nuisance(interpolation=code, yields={"S": 1.1})
    return sbi.Model(
        # divides whole numbers, and has a power: neither may mean what it means in C++
        {"S": "mu * 600 * (1 / 2)", "B": "2700 * a_norm * sqrt(Stat**2)"},
        {"mu": sbi.Parameter(1.0, lower=0.0, upper=5.0)},
        nuisances,
        binned=example_workspace() if binned else None,
    )


def likelihood(**options: Any) -> sbi.Likelihood:
    """The likelihood of 3000 events."""
    second = bool(options.get("second"))
    return model(**options).likelihood(
        columns(draw(330, 2720, 1), second=second),
        reference=columns(draw(500, 4500, 2), second=second),
    )


def minimise(root: Any, nll: Any, *, minos: Any = None) -> int:
    """MIGRAD to the very minimum, HESSE, and MINOS if wanted."""
    minimizer = root.RooMinimizer(nll)
    minimizer.setPrintLevel(-1)
    minimizer.setEps(1e-2)
    status: int = minimizer.minimize("Minuit2")
    minimizer.hesse()
    if minos is not None:
        minimizer.minos(minos)
    return status


def reset(objects: Any, **values: float) -> None:
    """Start values, or others."""
    for name, variable in objects.parameters.items():
        variable.setVal(values.get(name, objects.likelihood.parameters[name].value))


def assert_same_fit(objects: Any, fit: sbi.FitResult) -> None:
    """RooFit's values within 0.01 sigma of iminuit's, its errors within 1 %."""
    for name, variable in objects.parameters.items():
        shift = (variable.getVal() - fit.values[name]) / fit.errors[name]
        assert abs(shift) < 0.01, (name, shift)
        assert variable.getError() == pytest.approx(fit.errors[name], rel=0.01), name
