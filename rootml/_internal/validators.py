"""Checks of what users pass: types and ranges of options, and their names.

Each raises UsageError naming the option, the value given and what is expected. Values are typed
`Any`: user code is seldom typed.
"""

from __future__ import annotations

import functools
import inspect
import math
import sys
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from types import UnionType
from typing import Any, ParamSpec, TypeVar

from rootml.errors import UsageError, nearest

P = ParamSpec("P")
R = TypeVar("R")


def is_number(value: object) -> bool:
    """Whether it is a finite real number, of Python or NumPy.

    >>> is_number(2), is_number(float("nan")), is_number("2"), is_number(True)
    (True, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return math.isfinite(value)


def is_whole(value: object) -> bool:
    """Whether it is an integer, of Python or NumPy.

    >>> is_whole(2), is_whole(2.0), is_whole(True)
    (True, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_a(value: object, kind: type | UnionType) -> bool:
    """`isinstance` for values whose declared type would make the check look redundant."""
    return isinstance(value, kind)


def check_whole(name: str, value: Any, *, minimum: int, maximum: int | None = None) -> int:
    """`value` as an `int`.

    Raises:
        UsageError: Not a whole number, or outside of ``[minimum, maximum]``.

    >>> check_whole("threads", 4, minimum=1)
    4
    >>> check_whole("threads", 0, minimum=1)
    Traceback (most recent call last):
    rootml.errors.UsageError: threads=0: expected a whole number of at least 1
    """
    if not is_whole(value) or value < minimum or (maximum is not None and value > maximum):
        limits = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        message = f"{name}={value!r}: expected a whole number {limits}"
        raise UsageError(message)
    return int(value)


def check_number(
    name: str,
    value: Any,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
) -> float:
    """`value` as a `float`.

    Args:
        minimum, maximum: The value may be equal to them.
        above: The value must be larger.

    Raises:
        UsageError: Not a finite number, or outside of these limits.

    >>> check_number("level", 0.95, above=0.0, maximum=1.0)
    0.95
    """
    good = (
        is_number(value)
        and (minimum is None or value >= minimum)
        and (above is None or value > above)
        and (maximum is None or value <= maximum)
    )
    if good:
        return float(value)
    limits = [
        f"{words} {limit:g}"
        for words, limit in (("at least", minimum), ("above", above), ("at most", maximum))
        if limit is not None
    ]
    message = f"{name}={value!r}: expected a number {' and '.join(limits)}".rstrip()
    raise UsageError(message)


def check_flag(name: str, value: Any) -> bool:
    """`value` as a `bool`.

    Raises:
        UsageError: Neither True nor False.
    """
    if value is True or value is False:
        return value
    if type(value).__name__ in {"bool", "bool_"}:  # NumPy's, without importing it
        return bool(value)
    message = f"{name}={value!r}: expected True or False"
    raise UsageError(message)


def check_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """`value`, if it is one of `choices`.

    Raises:
        UsageError: It is not; the message lists the choices, the nearest first.

    >>> check_choice("kind", "tress", ["network", "trees"])
    Traceback (most recent call last):
    rootml.errors.UsageError: kind='tress': expected one of 'trees', 'network'
    """
    known = list(choices)
    if isinstance(value, str) and value in known:
        return value
    message = f"{name}={value!r}: expected one of {nearest(str(value), known)}"
    raise UsageError(message)


def named_options(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a public function so that a misspelt keyword is our error, with the nearest name.

    Its signature stays visible to `help`, editors and type checkers.

    Raises:
        UsageError: From the decorated function, for a keyword that it does not have.

    >>> @named_options
    ... def train(*, shuffle: bool = False) -> bool:
    ...     return shuffle
    >>> train(shuffel=True)
    Traceback (most recent call last):
    rootml.errors.UsageError: train() has no option 'shuffel'; nearest: 'shuffle'
    """
    # a class is called by its own name
    name = function.__name__
    name = function.__qualname__.split(".")[-2] if name == "__init__" else name
    return options_of(name)(function)


def options_of(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """`named_options` for a function that users call `name`."""
    return lambda function: _checked_options(name, function)


def _checked_options(name: str, function: Callable[P, R]) -> Callable[P, R]:
    parameters = inspect.signature(function).parameters
    kinds = {key: parameter.kind for key, parameter in parameters.items()}
    named = {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    placed = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    names = [key for key, kind in kinds.items() if kind in named]
    known = frozenset(names)
    most = sum(kind in placed for kind in kinds.values())
    if inspect.Parameter.VAR_POSITIONAL in kinds.values():
        most = sys.maxsize

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if len(args) > most:
            only = [key for key, kind in kinds.items() if kind not in placed]
            message = f"{name}() takes its options by name: {', '.join(f'{key}=' for key in only)}"
            raise UsageError(message)
        if not known.issuperset(kwargs):
            wrong = next(name for name in kwargs if name not in known)
            options = [name for name in names if name != "self"]
            message = (
                f"{name}() has no option {wrong!r}; nearest: {nearest(wrong, options, limit=3)}"
            )
            raise UsageError(message)
        return function(*args, **kwargs)

    return checked
