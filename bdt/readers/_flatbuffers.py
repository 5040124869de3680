"""FlatBuffers, read without a schema compiler; every offset is checked before it is followed.

A buffer begins with the offset of its root table. A table begins with the (signed) distance back
to its list of fields. The list gives for each field its distance from the table, or 0 where the
field has its default value. Vectors, texts and other tables are reached by one more offset. See
https://flatbuffers.dev/internals/.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rootml.errors import ModelError

_U16, _I32, _U32, _F64 = (np.dtype(kind) for kind in ("<u2", "<i4", "<u4", "<f8"))


@dataclass(frozen=True)
class Buffer:
    """The bytes of a FlatBuffer."""

    data: bytes

    def number(self, at: int, dtype: DTypeLike) -> int | float:
        """One number."""
        return self.numbers(at, 1, dtype)[0].item()  # type: ignore[no-any-return]

    def numbers(self, at: int, count: int, dtype: DTypeLike) -> NDArray[np.generic]:
        """Numbers behind one another.

        Raises:
            ModelError: They are not all inside of the buffer.
        """
        size = np.dtype(dtype).itemsize
        if at < 0 or count * size > len(self.data) - at:
            message = f"an offset points to byte {at:,} of {len(self.data):,}: the file is damaged"
            raise ModelError(message)
        return np.frombuffer(self.data, dtype, count, at)

    def reference(self, at: int) -> int:
        """The position that the offset at `at` points to."""
        return at + int(self.number(at, _U32))

    def root(self) -> Table:
        """The root table."""
        return Table(self, self.reference(0))


@dataclass(frozen=True)
class Table:
    """A table at a position of a buffer; fields are counted from 0, as in its schema."""

    buffer: Buffer
    position: int

    @cached_property
    def _fields(self) -> list[int]:
        """Distances of the fields from the table."""
        start = self.position - int(self.buffer.number(self.position, _I32))
        size = int(self.buffer.number(start, _U16))
        found = self.buffer.numbers(start + 4, max(0, size - 4) // 2, _U16)
        return [int(one) for one in found.tolist()]

    @property
    def num_fields(self) -> int:
        """How many fields the writer knew, set or not."""
        return len(self._fields)

    def _at(self, field: int) -> int | None:
        distance = self._fields[field] if field < len(self._fields) else 0
        return self.position + distance if distance else None

    def number(self, field: int, dtype: DTypeLike, default: float = 0) -> int | float:
        """A number, or `default` where the field is left out."""
        at = self._at(field)
        return default if at is None else self.buffer.number(at, dtype)

    def array(self, field: int, dtype: DTypeLike) -> NDArray[np.generic]:
        """A vector of numbers; empty where it is left out."""
        at = self._at(field)
        if at is None:
            return np.zeros(0, dtype)
        start = self.buffer.reference(at)
        return self.buffer.numbers(start + 4, int(self.buffer.number(start, _U32)), dtype)

    def text(self, field: int) -> str:
        """A string; "" where it is left out.

        Raises:
            ModelError: It is not UTF-8.
        """
        try:
            return self.array(field, np.uint8).tobytes().decode()
        except UnicodeDecodeError as error:
            message = f"a string near byte {self.position:,} is not UTF-8"
            raise ModelError(message) from error

    def table(self, field: int) -> Table:
        """Another table.

        Raises:
            ModelError: The field is left out.
        """
        at = self._at(field)
        if at is None:
            message = f"field {field} of the table at byte {self.position:,} is missing"
            raise ModelError(message)
        return Table(self.buffer, self.buffer.reference(at))

    def tables(self, field: int) -> list[Table]:
        """A vector of tables; empty where it is left out."""
        at = self._at(field)
        if at is None:
            return []
        first = self.buffer.reference(at) + 4
        offsets = self.array(field, _U32).astype(np.int64)
        positions = first + 4 * np.arange(len(offsets)) + offsets
        return [Table(self.buffer, position) for position in positions.tolist()]
