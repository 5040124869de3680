"""Which side of a split an event is on: a hash of its identity, compared with a threshold.

::

    h = key(seed, stream)                          # stream: how many splits the event went through
    for each id column:  h = mix(h + (value + 1) * golden)
    side: the interval of [0, 2**64) that h lies in

`mix` is the finaliser of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
generators", OOPSLA 2014; constants by D. Stafford), so one step of the loop is the value-th output
of a splitmix64 generator in state h. The hash depends on values alone, not on the dtype, the file,
the order or the neighbours of an event: a skim keeps every event on its side.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import xxhash

from rootml.errors import UnsupportedTypeError, UsageError
from rootml.storage import Column

Hashes = npt.NDArray[np.uint64]

RANGE = 1 << 64
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def _mix(h: Hashes) -> Hashes:
    """The finaliser of splitmix64, in place."""
    h ^= h >> np.uint64(30)
    h *= np.uint64(_MIX_1)
    h ^= h >> np.uint64(27)
    h *= np.uint64(_MIX_2)
    h ^= h >> np.uint64(31)
    return h


def _mix_int(value: int) -> int:
    return int(_mix(np.array([value % RANGE], np.uint64))[0])


def _absorb(h: Hashes, values: Hashes) -> Hashes:
    return _mix(h + (values + np.uint64(1)) * np.uint64(_GOLDEN))


def hash_text(text: str) -> int:
    """64 bits of a text, the same on every machine."""
    return xxhash.xxh64_intdigest(text.encode())


def hash_ids(columns: Sequence[Column], num_events: int, *, seed: int, stream: int = 0) -> Hashes:
    """64 well mixed bits per event from its integer or string `columns`.

    Equal values hash equally whatever their dtype: int32, uint64 and bool agree.

    Raises:
        UnsupportedTypeError: A column that is not one integer or string per event.

    >>> ids = np.array([7, 7, 8])
    >>> hash_ids([ids], 3, seed=0) == hash_ids([ids.astype("u1")], 3, seed=0)
    array([ True,  True,  True])
    """
    key = _mix_int(_mix_int(seed) + stream * _GOLDEN)
    h = np.full(num_events, key, np.uint64)
    for column in columns:
        if isinstance(column, np.ndarray):
            h = _absorb(h, _integers(column))
        else:
            h = _absorb_strings(h, column)
    return h


def _integers(column: npt.NDArray[Any]) -> Hashes:
    if column.dtype.kind not in "biu" or column.ndim != 1:
        raise unsplittable(column.dtype)
    if column.dtype.kind == "i":
        column = column.astype(np.int64, copy=False)
        return column.view(np.uint64)
    return column.astype(np.uint64, copy=False)


def unsplittable(kind: Any, name: str = "") -> UnsupportedTypeError:
    """The error for an id that cannot be hashed."""
    message = (
        f"cannot split by {name or 'a column'} of type {kind}: the identity of an event is one "
        f"integer or string per event, such as by=['run', 'luminosityBlock', 'event']"
    )
    if "float" in str(kind):
        message += "; a float is refused, because it changes when it is rounded on the way"
    return UnsupportedTypeError(message)


def _absorb_strings(h: Hashes, column: ak.Array) -> Hashes:
    """Eight bytes at a time; then the length, so that trailing zeros count."""
    layout = ak.to_layout(column)
    if layout.parameter("__array__") not in {"string", "bytestring"}:
        raise unsplittable(ak.type(column).content)
    layout = layout.to_ListOffsetArray64(True)
    starts = np.asarray(layout.offsets.data)[:-1]
    lengths = np.asarray(layout.offsets.data)[1:] - starts
    data = np.append(np.asarray(layout.content.data).view(np.uint8), np.zeros(8, np.uint8))
    for first in range(0, int(lengths.max(initial=0)), 8):
        rows = np.flatnonzero(lengths > first)
        h[rows] = _absorb(h[rows], _words(data, starts[rows] + first, lengths[rows] - first))
    return _absorb(h, lengths.astype(np.uint64))


def _words(data: npt.NDArray[np.uint8], starts: Any, lengths: Any) -> Hashes:
    """Up to eight bytes from each of `starts` on, as little-endian integers."""
    inside = np.arange(8) < lengths[:, None]
    taken = np.where(inside, data[np.where(inside, starts[:, None] + np.arange(8), 0)], 0)
    words: Hashes = np.ascontiguousarray(taken, np.uint8).view("<u8")[:, 0].astype(np.uint64)
    return words


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


def check_by(by: Any) -> tuple[str, ...] | None:
    """The names of `by` as a tuple.

    Raises:
        UsageError: Empty, or not names.
    """
    if by is None:
        return None
    names = tuple(by) if isinstance(by, Iterable) and not isinstance(by, str) else (by,)
    if not names or not all(isinstance(name, str) and name for name in names):
        message = f"by must be the name of a column or a list of names, not {by!r}"
        raise UsageError(message)
    return names


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
