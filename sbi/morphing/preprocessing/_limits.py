"""Where a feature can lie: bounds that the user states, edges found in both domains, sentinels.

An edge is looked for in each domain. Where one domain shows an edge and the other does not but
stays within it (a density that vanishes towards the edge hides it), the edge holds for both: else
a tail would be fitted there, and would lead beyond. Stated bounds replace all of this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rootml._internal.types import Bool, Float
from rootml._internal.validators import is_number
from rootml.errors import UsageError, nearest


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the values of a feature lie in one domain.

    Attributes:
        low, high: Nothing lies beyond; infinite: there is a tail.
        sentinels: Values outside of them that mean something else, such as -999: always atoms.
        stated: Whether the user said so, not the values.
    """

    low: float = -math.inf
    high: float = math.inf
    sentinels: tuple[float, ...] = ()
    stated: bool = False

    def regular(self, values: Float) -> Bool:
        """Which values are no sentinels."""
        return ~np.isin(values, self.sentinels)


Bounds = Mapping[str, Limits]


def check_bounds(bounds: Mapping[str, Sequence[float | None]] | None, features: Any) -> Bounds:
    """`Limits` by feature, of what a user wrote: ``(low, high, *sentinels)``.

    Raises:
        UsageError: Not a feature, or not two bounds and sentinels outside of them.

    >>> check_bounds({"btag": (0, 1, -1)}, ["btag"])["btag"]
    Limits(low=0.0, high=1.0, sentinels=(-1.0,), stated=True)
    """
    found = {}
    for name, given in (bounds or {}).items():
        if name not in features:
            message = f"bounds= names {name!r}, which is no feature; nearest: "
            message += str(nearest(str(name), features))
            raise UsageError(message)
        found[name] = _limits(name, given)
    return found


def _limits(name: str, given: Any) -> Limits:
    expected = "expected (low, high) or (low, high, sentinel, ...), None for no bound"
    values = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else ()
    numbers = [each for each in values if each is not None]
    if len(values) < 2 or None in values[2:] or not all(map(is_number, numbers)):
        message = f"bounds of {name!r}: {given!r}: {expected}"
        raise UsageError(message)
    low = -math.inf if values[0] is None else float(values[0])
    high = math.inf if values[1] is None else float(values[1])
    sentinels = tuple(sorted({float(each) for each in values[2:]}))
    inside = [each for each in sentinels if low <= each <= high]
    if not low < high or inside:
        why = f"the sentinel {inside[0]:g} lies inside of them" if inside else "low < high"
        message = f"bounds of {name!r}: {given!r}: {expected}; {why}"
        raise UsageError(message)
    return Limits(low, high, sentinels, stated=True)


def check_values(values: Float, limits: Limits, name: str, domain: str) -> None:
    """See that values `(rows,)` obey stated bounds.

    Raises:
        UsageError: They do not; names the feature, the domain and the numbers.
    """
    regular = values[limits.regular(values)]
    bad = regular[(regular < limits.low) | (regular > limits.high)]
    if len(bad):
        known = f" and sentinels {list(limits.sentinels)}" if limits.sentinels else ""
        message = (
            f"feature {name!r} has bounds [{limits.low:g}, {limits.high:g}]{known}, but "
            f"{len(bad):,} of {len(values):,} values of the {domain} lie outside, from "
            f"{bad.min():g} to {bad.max():g}: correct bounds=, name sentinels, or remove these "
            "events"
        )
        raise UsageError(message)


def find_limits(values: Sequence[Float], edges: Sequence[tuple[bool, bool]]) -> list[Limits]:
    """The limits of both domains, or of one, if none are stated.

    Args:
        values: The values `(rows,)` of each domain.
        edges: Whether each shows an edge at its smallest, and at its largest value.
    """
    ends = [(float(each.min()), float(each.max())) for each in values]
    found = []
    for mine in range(len(values)):
        other = len(values) - 1 - mine
        low, high = -math.inf, math.inf
        if edges[mine][0]:
            low = ends[mine][0]
        elif edges[other][0] and ends[mine][0] >= ends[other][0]:
            low = ends[other][0]
        if edges[mine][1]:
            high = ends[mine][1]
        elif edges[other][1] and ends[mine][1] <= ends[other][1]:
            high = ends[other][1]
        found.append(Limits(low, high))
    return found
