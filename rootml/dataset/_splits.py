"""Which side of a split an event is on: a hash of its identity, compared with a threshold.

::

    h = key(seed, stream)                          # stream: how many splits the event went through
    for each id column:  h = mix(h + (value + 1) * golden)
    side: the interval of [0, 2**64) that h lies in

The hash is that of `rootml._internal.event_hash`: it depends on values alone, so a skim keeps
every event on its side.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.event_hash import RANGE, Hashes
from rootml.errors import UsageError


@dataclass(frozen=True, slots=True)
class Split:
    """One side of a split: a step of a selection.

    Attributes:
        name: What the side is called in a cutflow, e.g. ``"train (75 %)"``.
        by: Columns or expressions that identify an event; None: name of the file and entry.
        seed: Chosen by the user.
        stream: Number of splits before this one, so that a split of a split is independent of it.
        start, stop: The side is ``start <= hash < stop``, out of 2**64.
        outside: The side is what is left when that interval is taken out.
    """

    name: str
    by: tuple[str, ...] | None
    seed: int
    stream: int
    start: int
    stop: int
    outside: bool = False

    def mask(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Which of the events are on this side."""
        inside = np.ones(len(hashes), bool)
        if self.start > 0:
            inside &= hashes >= np.uint64(self.start)
        if self.stop < RANGE:
            inside &= hashes < np.uint64(self.stop)
        return ~inside if self.outside else inside

    def after(self, splits: int) -> Split:
        """The same side of the split that comes after so many others."""
        return replace(self, stream=splits)


def check_seed(seed: Any) -> int:
    """`seed` as an integer.

    Raises:
        UsageError: It is not an integer.
    """
    try:
        return operator.index(seed)
    except TypeError:
        message = f"seed must be an integer, not {seed!r}"
        raise UsageError(message) from None


def split_sides(
    test: Any, validation: Any, *, by: tuple[str, ...] | None, seed: int
) -> tuple[Split, ...]:
    """The sides train, (validation,) test; the test side does not depend on `validation`.

    Raises:
        UsageError: Fractions that leave a side without events.
    """
    parts = [test] if validation is None else [test, validation]
    if not all(isinstance(f, (int, float, np.floating)) and 0 < f < 1 for f in parts):
        message = f"test and validation are fractions between 0 and 1, not {parts}"
        raise UsageError(message)
    if sum(parts) >= 1:
        message = f"test={test} and validation={validation} leave nothing to train on"
        raise UsageError(message)
    edge = int(float(test) * RANGE)
    end = edge + int(float(validation or 0.0) * RANGE)

    def side(name: str, fraction: float, start: int, stop: int) -> Split:
        return Split(f"{name} ({100 * fraction:.4g} %)", by, seed, 0, start, stop)

    sides = [side("train", 1 - sum(parts), end, RANGE), side("test", test, 0, edge)]
    if validation is not None:
        sides.insert(1, side("validation", validation, edge, end))
    return tuple(sides)


def fold_sides(n: Any, *, by: tuple[str, ...] | None, seed: int) -> list[tuple[Split, Split]]:
    """For each of `n` folds the sides train (all other folds) and test.

    Raises:
        UsageError: Fewer than two folds.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 2:
        message = f"the number of folds is an integer of at least 2, not {n!r}"
        raise UsageError(message)
    edges = [k * RANGE // n for k in range(n + 1)]
    folds = []
    for k in range(n):
        test = Split(f"fold {k} of {n}", by, seed, 0, edges[k], edges[k + 1])
        train = replace(test, name=f"all but fold {k} of {n}", outside=True)
        folds.append((train, test))
    return folds
