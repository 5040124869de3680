"""Frozen dataclasses of numbers, texts and arrays as JSON, and back by their types.

What is not finite is written as null, which is read back as NaN (nothing here is infinite but the
edges of a support: these are written as texts).
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from rootml.errors import StateError


def to_plain(value: Any) -> Any:  # as JSON has it
    """Lists, dictionaries, numbers, texts and None."""
    if is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(each) for each in value]
    if isinstance(value, np.ndarray):
        return to_plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else str(value)
    return value


def from_plain(kind: Any, value: Any, *, where: str) -> Any:  # a `kind`
    """The value of type `kind` that `to_plain` made `value` of.

    Raises:
        StateError: It was not made of that.
    """
    try:
        return _read(kind, value, where)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, StateError):
            raise
        message = f"{where}: cannot be read as {getattr(kind, '__name__', kind)}: {error!r}"
        raise StateError(message) from error


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        parts = {
            f.name: from_plain(hints[f.name], value[f.name], where=f"{where}.{f.name}")
            for f in fields(kind)
        }
        return kind(**parts)  # type: ignore[operator]
    if origin in {Union, types.UnionType}:
        return None if value is None else from_plain(arguments[0], value, where=where)
    if origin in (np.ndarray, NDArray):  # an alias with an origin of its own since NumPy 2.5
        return np.array(value, dtype=np.float64)
    if origin is tuple:
        return _tuple(arguments, value, where)
    if origin is dict:
        return {n: from_plain(arguments[1], v, where=f"{where}.{n}") for n, v in value.items()}
    if kind is float:
        return float("nan") if value is None else float(value)
    if origin is Literal:
        return str(value)
    return kind(value)


def _tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        kinds: tuple[Any, ...] = (arguments[0],) * len(value)
    else:
        kinds = arguments
    return tuple(
        from_plain(kind, each, where=f"{where}[{i}]")
        for i, (kind, each) in enumerate(zip(kinds, value, strict=True))
    )
