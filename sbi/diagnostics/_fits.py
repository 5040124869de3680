"""Diagnostics of fits: bias, pulls, coverage, shifts, in units of the statistical error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rootml.errors import UsageError
from rootml.sbi.diagnostics._report import Check
from rootml.sbi.inference._samples import SampleShifts
from rootml.sbi.inference.toys._toy_task import ToyResults

_LEVELS = ((1.0, 0.682689492137), (1.959963984540, 0.95))
_TOLERANCE = 3.0  # standard deviations of a binomial proportion, or of a mean
_SHIFT = 0.25  # of a standard deviation: beyond that a shift is to be looked at


def check_fits(
    toys: ToyResults | None, exact: ToyResults | None, shifts: SampleShifts | None
) -> tuple[list[Check], dict[str, Any]]:
    """The checks that can be made of what is given, and their pictures."""
    if exact is not None and toys is None:
        message = "exact= are fits to compare toys= with, which are not given"
        raise UsageError(message)
    checks: list[Check] = []
    pictures: dict[str, Any] = {}
    if toys is not None:
        for name in toys.names:
            found = _pulls(toys, name)
            if found:
                checks += found
                pictures[f"pulls {name}"] = ("pulls", name, {"pulls": toys.pulls(name)})
        if exact is not None:
            found, drawn = _paired(toys, exact)
            checks += found
            pictures |= drawn
    if shifts is not None:
        checks += _members(shifts)
    return checks, pictures


def _pulls(toys: ToyResults, name: str) -> list[Check]:
    pulls = toys.pulls(name)
    count = len(pulls)
    if count < 2:
        return []
    mean, width = float(pulls.mean()), float(pulls.std(ddof=1))
    error = width / math.sqrt(count)
    checks = [
        Check(
            "fits", name, "bias / sigma", mean, error, 0.0, None,
            abs(mean) < _SHIFT + _TOLERANCE * error, "the fit is biased",
        ),
        Check(
            "fits", name, "width of pulls", width, width / math.sqrt(2 * count), 1.0, None,
            abs(width - 1.0) < 0.1 + _TOLERANCE / math.sqrt(2 * count),
            "quoted errors are not what fits fluctuate by",
        ),
    ]  # fmt: skip
    for sigmas, level in _LEVELS:
        spread = math.sqrt(level * (1.0 - level) / count)
        value = toys.coverage(name, sigmas=sigmas)
        checks.append(
            Check(
                "fits", name, f"coverage of {100 * level:.0f} %", value, spread, level, None,
                abs(value - level) < _TOLERANCE * spread, "intervals do not cover as they should",
            )
        )  # fmt: skip
    return checks


def _paired(toys: ToyResults, exact: ToyResults) -> tuple[list[Check], dict[str, Any]]:
    """Toy by toy against fits with the known likelihood."""
    if toys.names != exact.names or len(toys) != len(exact):
        message = (
            f"toys= has {len(toys)} fits of {toys.names}, exact= {len(exact)} of {exact.names}: "
            "they must be of the same toys"
        )
        raise UsageError(message)
    checks, pictures = [], {}
    good = toys.valid & exact.valid
    for i, name in enumerate(toys.names):
        used = good & (exact.errors[:, i] > 0)
        if used.sum() < 2:
            continue
        apart = (toys.values[used, i] - exact.values[used, i]) / exact.errors[used, i]
        error = float(apart.std(ddof=1) / math.sqrt(len(apart)))
        ratio = float(toys.errors[used, i].mean() / exact.errors[used, i].mean())
        mean = float(apart.mean())
        checks += [
            Check(
                "fits", name, "shift from the exact fit / sigma", mean, error, 0.0, None,
                abs(mean) < _SHIFT + _TOLERANCE * error,
                "the ratios move the fit: larger samples, more members",
            ),
            Check("fits", name, "spread of that shift", float(apart.std(ddof=1))),
            Check(
                "fits", name, "error / error of the exact fit", ratio, None, 1.0, None,
                0.95 < ratio < 1.05, "the ratios have lost information, or pretend to have more",
            ),
        ]  # fmt: skip
        pictures[f"shifts {name}"] = (
            "shifts", name, {"exact": exact.values[used, i], "fit": toys.values[used, i]},
        )  # fmt: skip
    return checks, pictures


def _members(shifts: SampleShifts) -> list[Check]:
    """Spread of fits with single networks; that of their average is smaller."""
    count = len(shifts.shifts)
    spread = np.sqrt(np.diag(shifts.covariance)) / shifts.errors
    what = f"spread of {count} replicas / sigma"
    return [
        Check("fits", name, what, float(value), float(value) / math.sqrt(2 * max(count - 1, 1)))
        for name, value in zip(shifts.names, spread, strict=True)
    ]
