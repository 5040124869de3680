"""Fields of parsed JSON with checks of type and range; errors name the field."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.errors import ModelError, UnsupportedModelError, nearest

INT32 = 2**31 - 1


def parse_json(data: bytes | str) -> Any:  # the file decides the type; callers check it
    """The value in `data`.

    Raises:
        ModelError: Not JSON, truncated, or nested too deep.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        message = f"the file is not valid JSON: {error}"
        raise ModelError(message) from error


def entry(table: Any, *path: str) -> Any:  # the file decides the type; callers check it
    """``table[path[0]][path[1]]...``, each of them a mapping with that key."""
    for i, name in enumerate(path):
        if not isinstance(table, Mapping) or name not in table:
            known = table if isinstance(table, Mapping) else ()
            message = f"{'.'.join(path[: i + 1])} is missing; available: {nearest(name, known)}"
            raise ModelError(message)
        table = table[name]
    return table


def mapping(table: Any, *path: str) -> Mapping[str, Any]:
    """An entry that is a mapping."""
    found = entry(table, *path)
    if not isinstance(found, Mapping):
        message = f"{'.'.join(path)} must be a table, not {type(found).__name__}"
        raise ModelError(message)
    return found


def text(table: Any, *path: str) -> str:
    """An entry that is a string."""
    found = entry(table, *path)
    if not isinstance(found, str):
        message = f"{'.'.join(path)} must be a string, not {type(found).__name__}"
        raise ModelError(message)
    return found


def items(table: Any, *path: str) -> list[Any]:
    """An entry that is a list."""
    found = entry(table, *path)
    if isinstance(found, np.ndarray):
        return list(found.tolist())
    if not isinstance(found, list):
        message = f"{'.'.join(path)} must be a list, not {type(found).__name__}"
        raise ModelError(message)
    return found


def whole(table: Any, *path: str, minimum: int = 0, maximum: int = INT32) -> int:
    """An entry that is a whole number, or a string of one, from `minimum` to `maximum`."""
    found = entry(table, *path)
    if isinstance(found, str) and len(found) < 12 and found.removeprefix("-").isdecimal():
        found = int(found)
    if not isinstance(found, int) or isinstance(found, bool) or not minimum <= found <= maximum:
        message = (
            f"{'.'.join(path)} is {found!r:.40}, "
            f"expected a whole number from {minimum} to {maximum}"
        )
        raise ModelError(message)
    return found


def only_known(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse keys that the schemas we know do not have: they may change what a model means."""
    if unknown := sorted(set(table) - set(known)):
        message = (
            f"{where} has {unknown[0]!r}, which no supported schema has; was it written by a "
            "newer version?"
        )
        raise UnsupportedModelError(message)


def numbers(values: Any, name: str, kinds: str = "iu") -> NDArray[Any]:
    """A list of numbers (or an array) as an array whose dtype is of one of `kinds`."""
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError) as error:
        message = f"{name} must be a list of numbers"
        raise ModelError(message) from error
    if array.size == 0 and array.ndim == 1:
        return np.zeros(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in kinds:
        message = (
            f"{name} must be a list of numbers (dtype {array.dtype}, {array.ndim} dimensions)"
        )
        raise ModelError(message)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def lengths(rows: Sequence[Any], name: str) -> NDArray[np.int64]:
    """Of the lists (or arrays) `rows[i][name]`."""
    found = [entry(row, name) for row in rows]
    for one in found:
        if not isinstance(one, list | np.ndarray):
            message = f"{name} must be a list, not {type(one).__name__}"
            raise ModelError(message)
    return np.array([len(one) for one in found], dtype=np.int64)


def flat(rows: Sequence[Any], name: str, kinds: str = "iu") -> NDArray[Any]:
    """`rows[i][name]`, lists or arrays of numbers, behind one another."""
    lengths(rows, name)
    found = [entry(row, name) for row in rows]
    if found and all(isinstance(one, np.ndarray) for one in found):
        return numbers(np.concatenate(found), name, kinds)
    return numbers(list(chain.from_iterable(found)), name, kinds)


def narrow(
    array: NDArray[Any], name: str, *, minimum: int = 0, maximum: int = INT32
) -> NDArray[Any]:
    """Integers from `minimum` to `maximum`, as int64."""
    if array.size and not minimum <= int(array.min()) <= int(array.max()) <= maximum:
        message = (
            f"{name} has values from {array.min()} to {array.max()}, expected {minimum} to "
            f"{maximum}"
        )
        raise ModelError(message)
    return array.astype(np.int64)


def float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """Rounded to float32; what is too large becomes infinite, as in the library."""
    with np.errstate(all="ignore"):
        return array.astype(np.float32)
