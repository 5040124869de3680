"""The last step of a fit: the band of the ensemble.

Each member of the ensemble gives the corrected rows another distribution, feature by
feature. At some 40 levels its quantiles are compared with those of the nominal map, on the normal
scale; the root of the mean square of the differences, times the factor of Student's t for so few
members, is how uncertain the quantile is. "Up" and "down" are the nominal values moved by so much
on the normal scale: the quantiles of the column `up` lie one standard deviation above those of the
nominal column, atoms, edges and gaps in their right places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.statistics import effective_events
from rootml._internal.types import Float
from rootml.errors import StateError, UsageError
from rootml.sbi.morphing.preprocessing._normal import normal_quantile
from rootml.sbi.morphing.preprocessing._preprocess_fit import monotone

_LEVELS, _REACH = 41, 3.0
_BEYOND = 50
"""Effective rows beyond the outermost level."""


@dataclass(frozen=True, slots=True)
class Band:
    """How uncertain the quantiles of each corrected feature are.

    Attributes:
        levels: `(levels,)`, ascending, on the normal scale.
        widths: `(features, levels)`, one standard deviation there.
    """

    levels: Float
    widths: Float

    def move(self, z: npt.NDArray[Any], sign: int) -> Float:
        """z `(rows, features)` a standard deviation up (1) or down (-1)."""
        moved = np.asarray(z, np.float64).copy()
        for j, widths in enumerate(self.widths):
            moved[:, j] += sign * np.interp(z[:, j], self.levels, widths)
        return moved

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything by name."""
        return {"levels": self.levels, "widths": self.widths}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], features: int, where: str) -> Band:
        """The reverse of `arrays`.

        Raises:
            StateError: Nothing that it could have made.
        """
        try:
            levels, widths = (np.asarray(arrays[n], np.float64) for n in ("levels", "widths"))
        except KeyError as error:
            message = f"{where}: the band of its ensemble is incomplete: {error!r}"
            raise StateError(message) from error
        good = levels.ndim == 1 and len(levels) and widths.shape == (features, len(levels))
        if not good or not (np.diff(levels) > 0).all() or not (widths >= 0).all():
            message = f"{where}: the band of its ensemble is damaged"
            raise StateError(message)
        return cls(levels, widths)


def grid(weights: Float) -> Float | None:
    """Levels on the normal scale that so many rows can fill; None: hardly any."""
    effective = effective_events(weights)
    if effective < 4 * _BEYOND:
        return None
    reach = min(_REACH, -float(normal_quantile(np.array([_BEYOND / effective]))[0]))
    return np.linspace(-reach, reach, _LEVELS)


def quantiles(values: Float, weights: Float, levels: Float) -> Float:
    """Those of `(rows,)` at levels on the normal scale; weights may be negative."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    after = monotone(total / total[-1])
    middle = 0.5 * (np.append(0.0, after[:-1]) + after)
    found: Float = np.interp(levels, normal_quantile(middle), values[order])
    return found


def find_band(
    nominal: Float,
    members: Sequence[Callable[[], Float]],
    scale: Callable[[Float], npt.NDArray[np.float32]],
    weights: Float,
) -> Band:
    """The band from corrected rows.

    Args:
        nominal: `(rows, features)`, by the nominal map.
        members: Each makes the same rows by another map.
        scale: From features to the normal scale.
        weights: `(rows,)`.
    """
    features = nominal.shape[1]
    levels = grid(weights)
    if levels is None:
        levels = np.zeros(1)

    def all_quantiles(values: Float) -> Float:
        z = scale(values).astype(np.float64)
        return np.stack([quantiles(z[:, j], weights, levels) for j in range(features)])

    middle = all_quantiles(nominal)
    squares = np.zeros_like(middle)
    for member in members:
        squares += (all_quantiles(member()) - middle) ** 2
    count = len(members)
    return Band(levels, student(count) * np.sqrt(squares / count))


def student(degrees: int) -> float:
    """The quantile of Student's t that a normal variable has at 1 (Cornish and Fisher)."""
    return 1 + 1 / (2 * degrees) + 1 / (4 * degrees**2) + 1 / (16 * degrees**3)


def combine_members(nominal: Any, members: Any) -> Float:
    """One standard deviation of anything that was computed with each member of an ensemble.

    The root mean square of the differences to the nominal result, with the factor of Student's t
    for so few members. It holds after any selection: compute the histogram, efficiency or mean
    once with the nominal columns and once with those of each member.

    Args:
        nominal: With the nominal columns, a number or an array.
        members: With those of each member, `(members, ...)`.

    Raises:
        UsageError: Fewer than two members, or results of other shapes.

    >>> combine_members([10.0, 20.0], [[11.0, 20.0], [9.0, 20.0], [10.0, 20.0]]).round(2)
    array([0.98, 0.  ])
    """
    centre, each = np.asarray(nominal, np.float64), np.asarray(members, np.float64)
    if len(each) < 2 or each.shape[1:] != centre.shape:
        message = (
            f"results of members have shape {each.shape}, the nominal one {centre.shape}: "
            "expected one result of that shape for each of two members or more"
        )
        raise UsageError(message)
    found: Float = student(len(each)) * np.sqrt(((each - centre) ** 2).mean(axis=0))
    return found
