"""Universal Binary JSON (draft 12, https://ubjson.org), as XGBoost writes it.

A value is a marker byte and its content; numbers are big-endian. Typed containers (``[$d#l...``)
of numbers become NumPy arrays over the bytes of the file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rootml.errors import ModelError

MAX_LEVELS = 64

_NUMBERS = {
    b"i": ">i1",
    b"U": ">u1",
    b"I": ">i2",
    b"l": ">i4",
    b"L": ">i8",
    b"d": ">f4",
    b"D": ">f8",
}
_INTEGERS = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q"}
_CONSTANTS = {b"Z": None, b"T": True, b"F": False}


class _Parser:
    """The parser's position in `data`; each method reads one thing and moves on."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self.data):
            message = (
                f"the file ends inside a value: {count} bytes expected at byte {self.position} "
                f"of {len(self.data)}"
            )
            raise ModelError(message)
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def marker(self) -> bytes:
        while (found := self.take(1)) == b"N":  # no-op, padding
            pass
        return found

    def peek(self) -> bytes:
        found = self.marker()
        self.position -= 1
        return found

    def integer(self) -> int:
        marker = self.marker()
        if marker not in _INTEGERS:
            message = f"expected a length at byte {self.position - 1}, found {marker!r}"
            raise ModelError(message)
        dtype = np.dtype(_INTEGERS[marker])
        return int(np.frombuffer(self.take(dtype.itemsize), dtype)[0])

    def text(self) -> str:
        try:
            return self.take(self.integer()).decode()
        except UnicodeDecodeError as error:
            message = f"a string before byte {self.position} is not UTF-8"
            raise ModelError(message) from error

    def value(self, marker: bytes, level: int) -> Any:  # as JSON has it
        if level > MAX_LEVELS:
            message = f"containers are nested more than {MAX_LEVELS} deep at byte {self.position}"
            raise ModelError(message)
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker in _NUMBERS:
            kind = np.dtype(_NUMBERS[marker])
            return np.frombuffer(self.take(kind.itemsize), kind)[0].item()
        if marker in {b"S", b"H"}:
            return self.text()
        if marker == b"C":
            return self.take(1).decode("latin-1")
        if marker == b"[":
            return self.array(level + 1)
        if marker == b"{":
            return self.object(level + 1)
        message = f"expected a value at byte {self.position - 1}, found {marker!r}"
        raise ModelError(message)

    def head(self) -> tuple[bytes | None, int | None]:
        """Type and count of a container, where it states them."""
        kind, count = None, None
        if self.peek() == b"$":
            self.marker()
            kind = self.marker()
        if self.peek() == b"#":
            self.marker()
            count = self.integer()
            if not 0 <= count <= len(self.data) - self.position:
                message = (
                    f"a container of {count} values at byte {self.position}: the file is shorter"
                )
                raise ModelError(message)
        if kind is not None and (count is None or kind in _CONSTANTS):
            message = f"a container of type {kind!r} that needs a count at byte {self.position}"
            raise ModelError(message)
        return kind, count

    def array(self, level: int) -> list[Any] | np.ndarray[Any, Any]:
        kind, count = self.head()
        if kind in _NUMBERS and count is not None:
            dtype = np.dtype(_NUMBERS[kind])
            return np.frombuffer(self.take(count * dtype.itemsize), dtype)
        items: list[Any] = []
        while self.more(count, len(items), b"]"):
            items.append(self.value(kind or self.marker(), level))
        return items

    def object(self, level: int) -> dict[str, Any]:
        kind, count = self.head()
        items: dict[str, Any] = {}
        read = 0
        while self.more(count, read, b"}"):
            name = self.text()
            items[name] = self.value(kind or self.marker(), level)
            read += 1
        return items

    def more(self, count: int | None, read: int, close: bytes) -> bool:
        if count is not None:
            return read < count
        if self.peek() != close:
            return True
        self.marker()
        return False


def parse_ubjson(data: bytes) -> Any:  # the file decides the type; callers check it
    """The value in `data`; arrays of numbers as (big-endian) NumPy arrays.

    Raises:
        ModelError: Not UBJSON, truncated, or with bytes left over.

    >>> parse_ubjson(b"{i\\x01ai\\x05}")
    {'a': 5}
    """
    parser = _Parser(data)
    value = parser.value(parser.marker(), 0)
    if parser.position != len(data):
        message = f"{len(data) - parser.position} bytes follow the value"
        raise ModelError(message)
    return value
