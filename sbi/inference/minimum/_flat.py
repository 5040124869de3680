"""Flat directions: combinations of parameters that the likelihood does not determine.

::

    D = diag(H),  C = D^-1/2 H D^-1/2,  C v = lambda v:  flat where lambda = 0 but for rounding

Whether Cholesky's method finds H positive is decided by rounding there; the eigenvalues of the
scaled matrix C are not. Two parameters with a correlation of 0.99 have lambda = 0.01.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float
from rootml.sbi.inference.minimum._minimise import Minimum, derivatives, limits
from rootml.sbi.likelihood._fittable import Fittable

_FLAT = 1e-9  # eigenvalues below are 0; a correlation of 1 - 1e-9 is beyond what data determine
_MAX_FLAT = 1e-6  # what a gradient that is left over may hide
_SUSPICIOUS = 1e-5  # eigenvalues below are worth a better minimum
_NOT_CONVEX = -1e-2  # eigenvalues below are not the rounding of 0
_PUSHED = 1e-3  # gradient in units of the error: a limit holds the parameter
_SETTLE = 8  # Newton steps at most
_SHARE = 0.1  # of the largest part of a direction: smaller parts are not named

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Spectrum:
    """Eigenvalues of the scaled Hessian, rising; eigenvectors; units of the parameters."""

    values: Float
    vectors: Float
    units: Float
    where: npt.NDArray[np.intp]


def _spectrum(minimum: Minimum, moving: Mask) -> _Spectrum:
    """Of the parameters that move; the last one is kept."""
    known: _Spectrum | None = minimum.spectrum
    where = np.flatnonzero(moving)
    if known is not None and np.array_equal(known.where, where):
        return known
    hessian = minimum.hessian
    assert hessian is not None
    diagonal = np.abs(hessian.diagonal()[where])
    units = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    scaled = hessian[where[:, None], where] * (units[:, None] * units)
    minimum.spectrum = found = _Spectrum(*np.linalg.eigh(scaled), units, where)
    return found


def flat_directions(minimum: Minimum, free: Mask) -> Float:
    """Directions along which -log L has no curvature, ``(direction, parameter)``; often none.

    Parameters that a limit holds firmly are left out: their place is determined.
    """
    if minimum.flat is None:
        minimum.flat = _found_flat(minimum, free)
    return minimum.flat


def _found_flat(minimum: Minimum, free: Mask) -> Float:
    none = np.zeros((0, len(free)))
    if minimum.hessian is None or not free.any():
        return none
    moving = free & ~_pushed(minimum)
    found = _spectrum(minimum, moving)
    left = np.abs(minimum.gradient[found.where] * found.units).max(initial=0.0)
    flat = np.abs(found.values) <= np.clip(left, _FLAT, _MAX_FLAT)
    directions = np.zeros((int(flat.sum()), len(free)))
    directions[:, found.where] = _reduced(found.vectors.T[flat]) * found.units
    largest = np.abs(directions).max(axis=1, initial=1e-300, keepdims=True)
    return np.asarray(directions / largest)


def _pushed(minimum: Minimum) -> Mask:
    assert minimum.hessian is not None
    size = np.sqrt(np.clip(np.diag(minimum.hessian), 0.0, None))
    return minimum.blocked & (np.abs(minimum.gradient) > _PUSHED * size)


def _reduced(rows: Float) -> Float:
    """The same directions with as few parameters in each as elimination gives; small ones 0."""
    rows = rows.copy()
    for i in range(len(rows)):
        j = int(np.abs(rows[i]).argmax())
        rows[i] /= rows[i, j]
        others = np.arange(len(rows)) != i
        rows[others] -= np.outer(rows[others, j], rows[i])
    largest = np.abs(rows).max(axis=1, initial=0.0, keepdims=True)
    return np.where(np.abs(rows) >= _SHARE * largest, rows, 0.0)


def downhill(minimum: Minimum, free: Mask) -> Float | None:
    """The direction of the most negative curvature, ``(parameter,)``; None: all are positive."""
    if minimum.hessian is None or not free.any():
        return None
    found = _spectrum(minimum, free & ~minimum.blocked)
    if not len(found.values) or found.values[0] > 0.0:
        return None
    direction = np.zeros(len(free))
    direction[found.where] = _reduced(found.vectors.T[:1])[0] * found.units
    return np.asarray(direction / np.abs(direction).max())


def settle(like: Fittable, minimum: Minimum, free: Mask) -> Minimum:
    """A better minimum where a direction may be flat: what is left of the gradient hides that.

    Newton steps in all other directions, as long as they shrink the gradient.
    """
    for _ in range(_SETTLE):
        step = _regular_step(minimum, free)
        if step is None:
            break
        low, high = limits(like)
        theta = np.where(free, np.clip(minimum.theta + step, low, high), minimum.theta)
        value, gradient, hessian = derivatives(like, theta, free)
        if hessian is None or not value <= minimum.value + 1e-6:
            break
        size = np.sqrt(np.clip(np.diag(minimum.hessian), 1e-300, None))  # type: ignore[arg-type]
        moving = free & ~minimum.blocked
        before, after = (
            np.abs(np.where(moving, g / size, 0.0)).max() for g in (minimum.gradient, gradient)
        )
        if not after < 0.5 * before:
            break
        edm = 0.5 * abs(float(np.where(moving, gradient, 0.0) @ step))
        minimum = Minimum(theta, value, hessian, minimum.blocked, edm, gradient)
    return minimum


def _regular_step(minimum: Minimum, free: Mask) -> Float | None:
    """A Newton step that leaves the flat directions out; None: there is no reason for one."""
    moving = free & ~minimum.blocked
    if minimum.hessian is None or not moving.any():
        return None
    found = _spectrum(minimum, moving)
    smallest = float(found.values[0])
    if not _NOT_CONVEX < smallest < _SUSPICIOUS:
        return None
    regular = found.values > max(-2.0 * smallest, _FLAT)
    slopes = found.vectors.T @ (minimum.gradient[found.where] * found.units)
    inverse = np.where(regular, 1.0 / np.where(regular, found.values, 1.0), 0.0)
    step = np.zeros(len(free))
    step[found.where] = -(found.vectors @ (inverse * slopes)) * found.units
    return step


def steps_of(direction: Float, names: Sequence[str]) -> dict[str, float]:
    """A direction by name, the largest part first; it leads upwards in that."""
    order = np.argsort(-np.abs(direction), kind="stable")
    sign = 1.0 if direction[order[0]] > 0.0 else -1.0
    return {names[i]: sign * float(direction[i]) for i in order if direction[i] != 0.0}


def describe(steps: dict[str, float], *, most: int = 6) -> str:
    """``a: +1, b: -0.957``."""
    shown = [f"{name}: {step:+.3g}" for name, step in steps.items()]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
