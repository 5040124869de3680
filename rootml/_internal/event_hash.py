"""A hash of the identity of an event: integers and strings, the same on every machine.

::

    h = key(seed, stream)
    for each id column:  h = mix(h + (value + 1) * golden)

`mix` is the finaliser of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
generators", OOPSLA 2014; constants by D. Stafford), so one step of the loop is the value-th output
of a splitmix64 generator in state h. The hash depends on values alone, not on the dtype, the file,
the order or the neighbours of an event.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import xxhash

from rootml.errors import UnsupportedTypeError, UsageError

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


def hash_ids(columns: Sequence[Any], num_events: int, *, seed: int, stream: int = 0) -> Hashes:
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
        f"cannot tell events apart by {name or 'a column'} of type {kind}: the identity of an "
        f"event is one integer or string per event, such as by=['run', 'luminosityBlock', 'event']"
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
