"""Settings of a step: a dataclass whose fields say how a value of TOML is read.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True, kw_only=True)
... class Example:
...     inputs: tuple[str, ...] = setting(texts)
...     rounds: int = setting(whole(1), 100)
>>> read_settings(Example, {"inputs": "pt"}, "[step.example]")
Example(inputs=('pt',), rounds=100)
>>> read_settings(Example, {"inputs": "pt", "round": 5}, "[step.example]")
Traceback (most recent call last):
rootml.errors.UsageError: [step.example]: unknown key 'round'; nearest: 'rounds', 'inputs'
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING
from typing import Any, TypeVar

from rootml._internal.validators import check_choice, check_flag, check_number, check_whole, is_a
from rootml.errors import RootmlError, UsageError, nearest

Reader = Callable[[str, Any], Any]
"""From the name of a key and a value of TOML to a checked value."""
T = TypeVar("T")


def setting(reader: Reader, default: Any = MISSING) -> Any:
    """A field of a dataclass that `read_settings` reads; without `default` it has to be given."""
    metadata = {"reader": reader}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def read_settings(kind: type[T], content: Mapping[str, Any], about: str) -> T:
    """A dataclass of `setting` fields, of a table.

    Args:
        about: Which table it is, for messages.

    Raises:
        UsageError: A key that is unknown or missing, or a value of another type; says which.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    check_keys(content, fields, about)
    try:
        values = {key: fields[key].metadata["reader"](key, each) for key, each in content.items()}
    except UsageError as error:
        message = f"{about}: {error}"
        raise UsageError(message) from error
    return made_of(kind, values, about)


# --- readers -------------------------------------------------------------------------------------


def text(name: str, value: Any) -> str:
    """A text that is not empty."""
    if not is_a(value, str) or not value.strip():
        message = f"{name}={value!r}: expected a text"
        raise UsageError(message)
    return str(value).strip()


def texts(name: str, value: Any) -> tuple[str, ...]:
    """A text, or a list of at least one."""
    items = [value] if is_a(value, str) else value
    if not is_a(items, list) or not items:
        message = f"{name}={value!r}: expected a text or a list of texts"
        raise UsageError(message)
    return tuple(text(f"{name}[{n}]", each) for n, each in enumerate(items))


def whole(minimum: int) -> Reader:
    """A whole number of at least `minimum`."""
    return lambda name, value: check_whole(name, value, minimum=minimum)


def number(**limits: float) -> Reader:
    """A number within limits, see `check_number`."""
    return lambda name, value: check_number(name, value, **limits)


def flag(name: str, value: Any) -> bool:
    """true or false."""
    return check_flag(name, value)


def choice(*choices: str) -> Reader:
    """One of several texts."""
    return lambda name, value: check_choice(name, value, choices)


def numbers(name: str, value: Any) -> tuple[float, ...]:
    """A number, or a list of numbers."""
    items = value if is_a(value, list) else [value]
    return tuple(check_number(f"{name}[{n}]", each) for n, each in enumerate(items))


def wholes(name: str, value: Any) -> tuple[int, ...]:
    """A list of positive whole numbers."""
    items = value if is_a(value, list) else [value]
    return tuple(check_whole(f"{name}[{n}]", each, minimum=1) for n, each in enumerate(items))


def edges(name: str, value: Any) -> int | tuple[float, ...]:
    """A number of bins, or their edges."""
    if is_a(value, list):
        return numbers(name, value)
    return check_whole(name, value, minimum=1)


def table(reader: Reader) -> Reader:
    """A table of values that `reader` reads."""

    def read(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            message = f"{name}={value!r}: expected a table, NAME = value"
            raise UsageError(message)
        return {key: reader(f"{name}.{key}", each) for key, each in value.items()}

    return read


def mapping(name: str, value: Any) -> dict[str, Any]:
    """A table, as it is."""
    if not isinstance(value, Mapping):
        message = f"{name}={value!r}: expected a table"
        raise UsageError(message)
    return dict(value)


def made_of(kind: type[T], content: Mapping[str, Any], about: str) -> T:
    """A dataclass of rootml, e.g. `rootml.sbi.Parameter`, of a table with its fields.

    Raises:
        UsageError: An unknown or a missing key, or a value that it refuses.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    check_keys(content, fields, about)
    for name, field in fields.items():
        required = field.default is MISSING and field.default_factory is MISSING
        if required and name not in content:
            message = f"{about}: {name} = ... is missing"
            raise UsageError(message)
    try:
        return kind(**content)
    except RootmlError as error:
        message = f"{about}: {error}"
        raise type(error)(message) from error


def check_keys(content: Iterable[str], known: Iterable[str], about: str) -> None:
    """Refuse a key that is misspelt.

    Raises:
        UsageError: It is; names the nearest.
    """
    names = list(known)
    for key in content:
        if key not in names:
            message = f"{about}: unknown key {key!r}; nearest: {nearest(key, names, limit=4)}"
            raise UsageError(message)
