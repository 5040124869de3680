"""log Z(alpha) as a closed formula, with a bound on its error.

In the core Z is a mean over the reference events. RooFit must have it as a formula, so that a file
can be fitted without us and without the reference. Around alpha = 0::

    log Z(alpha) = sum_k h_k(alpha_k) + C(alpha)

with h_k taken exactly along each axis (polynomials in pieces that follow the interpolation code)
and C a polynomial of those monomials that mix nuisances, fitted to what the axes leave. The degree
of C grows until the error, times the events of the process, is within the tolerance at points that
the fit has not seen; if it never is, that is an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from rootml._internal.types import Float
from rootml.errors import UsageError
from rootml.sbi.roofit._formulas import number
from rootml.sbi.roofit._piecewise import PiecewisePolynomial, interpolate

LogZ: TypeAlias = Callable[[Float], float]
Powers: TypeAlias = tuple[int, ...]

_DEGREES = (2, 3, 4, 6, 8)
_MOST_TERMS = 2000
_CHECK_POINTS = 100
_SHARE = 0.1  # of the tolerance, for each axis
_BREAKS = {"code0": (0.0,), "code1": (0.0,), "code4": (-1.0, 1.0), "code5": (-1.0, 1.0)}


@dataclass(frozen=True)
class Surrogate:
    """log Z of one process.

    Attributes:
        axes: h_k, one per nuisance.
        powers: Exponents of the mixed monomials.
        coefficients: Theirs.
        error: The largest error found, in units of the NLL over ``1 + |alpha|^2 / 2``.
    """

    axes: tuple[PiecewisePolynomial, ...]
    powers: tuple[Powers, ...]
    coefficients: Float
    error: float

    def __call__(self, points: Float) -> Float:
        """Values at points of shape ``(point, nuisance)``."""
        total = np.zeros(len(points))
        for k, axis in enumerate(self.axes):
            total += axis(points[:, k])
        return total + _monomials(points, self.powers) @ self.coefficients

    def text(self) -> str:
        """C++ for the value, the nuisances being ``x[0]``, ``x[1]``, ..."""
        terms = [axis.text(f"x[{k}]") for k, axis in enumerate(self.axes)]
        for powers, coefficient in zip(self.powers, self.coefficients, strict=True):
            factors = [f"x[{k}]" for k, power in enumerate(powers) for _ in range(power)]
            terms.append("*".join([number(float(coefficient)), *factors]))
        return " + ".join(terms)


def approximate(
    log_z: LogZ,
    codes: Sequence[str],
    *,
    events: float,
    tolerance: float,
    reach: float,
    process: str,
) -> Surrogate:
    """A formula for `log_z`.

    Args:
        log_z: The function of the nuisances, 0 at the origin; ``(nuisance,)`` to a number.
        codes: The interpolation of each nuisance.
        events: By which an error is multiplied in the NLL.
        tolerance: Largest error in the NLL at the origin; it may grow as ``1 + |alpha|^2 / 2``.
        reach: How far from the origin the formula must hold.
        process: For the message.

    Raises:
        UsageError: No formula of bearable length is good enough.
    """
    scale = max(abs(events), 1.0)

    def allowed(squared: Float) -> Float:
        return tolerance * (1.0 + 0.5 * squared) / scale

    axes = tuple(
        interpolate(
            lambda values, k=k: _along(log_z, k, len(codes), values),  # type: ignore[misc]
            (-reach, *_BREAKS.get(code, ()), reach),
            lambda values: _SHARE * allowed(values**2),
        )
        for k, code in enumerate(codes)
    )
    best = _with_mixed(log_z, axes, allowed, reach)
    relative = best.error * tolerance
    if best.error > 1.0:
        message = (
            f"no formula for log Z of process {process!r} in its {len(codes)} nuisances is good "
            f"enough: the best is off by {relative:.2g} in the NLL, {tolerance:.2g} is allowed. "
            'Use to_roofit(route="nll"), which needs no formula, or a larger tolerance='
        )
        raise UsageError(message)
    return Surrogate(best.axes, best.powers, best.coefficients, relative)


def _along(log_z: LogZ, k: int, number: int, values: Float) -> Float:
    points = np.zeros((len(values), number))
    points[:, k] = values
    return _many(log_z, points)


def _many(log_z: LogZ, points: Float) -> Float:
    return np.array([log_z(point) for point in points])


def _with_mixed(
    log_z: LogZ,
    axes: tuple[PiecewisePolynomial, ...],
    allowed: Callable[[Float], Float],
    reach: float,
) -> Surrogate:
    """The axes with the shortest mixed polynomial that is good enough, or the best one."""
    rng = np.random.default_rng(20)
    checks = _points(rng, _CHECK_POINTS, len(axes), reach)
    bounds = allowed((checks**2).sum(axis=1))
    truth = _many(log_z, checks)

    def judged(powers: tuple[Powers, ...], coefficients: Float) -> Surrogate:
        made = Surrogate(axes, powers, coefficients, 0.0)
        error = float((np.abs(made(checks) - truth) / bounds).max())
        return Surrogate(axes, powers, coefficients, error)

    best = judged((), np.zeros(0))
    points = left = np.zeros((0, len(axes)))
    for degree in _DEGREES if len(axes) > 1 else ():
        powers = _mixed(len(axes), degree)
        if best.error <= 1.0 or len(powers) > _MOST_TERMS:
            break
        more = _points(rng, 2 * len(powers) + 20 - len(points), len(axes), reach)
        points = np.concatenate([points, more])
        left = np.concatenate([left.ravel(), _many(log_z, more) - best_axes(axes, more)])
        weight = 1.0 / allowed((points**2).sum(axis=1))
        matrix = _monomials(points, powers)
        size = np.abs(matrix).max(axis=0)
        solved = np.linalg.lstsq(matrix / size * weight[:, None], left * weight, rcond=None)[0]
        best = min(best, judged(powers, solved / size), key=lambda made: made.error)
    return best


def best_axes(axes: tuple[PiecewisePolynomial, ...], points: Float) -> Float:
    """The sum of the axes' functions."""
    return Surrogate(axes, (), np.zeros(0), 0.0)(points)


def _points(rng: np.random.Generator, count: int, number: int, reach: float) -> Float:
    """Points within `reach` of the origin: along few nuisances and along many."""
    count = max(count, 1)
    points = rng.normal(size=(count, number))
    if number > 1:
        together = rng.integers(2, number + 1, count)
        points *= rng.permuted(np.tile(np.arange(number), (count, 1)), axis=1) < together[:, None]
    points /= np.linalg.norm(points, axis=1)[:, None]
    return np.asarray(points * (reach * rng.uniform(size=count) ** 0.5)[:, None])


def _mixed(number: int, degree: int) -> tuple[Powers, ...]:
    """Exponents of all monomials up to `degree` in at least two variables."""
    return tuple(
        tuple(map(chosen.count, range(number)))
        for total in range(2, degree + 1)
        for chosen in itertools.combinations_with_replacement(range(number), total)
        if len(set(chosen)) > 1
    )


def _monomials(points: Float, powers: tuple[Powers, ...]) -> Float:
    """Values, ``(point, monomial)``."""
    if not powers:
        return np.zeros((len(points), 0))
    return np.stack([np.prod(points ** np.array(p), axis=1) for p in powers], axis=1)
