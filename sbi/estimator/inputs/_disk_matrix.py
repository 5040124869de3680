"""`DiskMatrix`: held-out values on disk, one row per event; memory does not grow with columns.

::

    file = block | block | ...                 a block: the rows of one chunk of events
    block = column | column | ...              contiguous, so that one column is read alone

Blocks are read with ordinary reads, not mapped: what was read does not stay in memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Array, Float
from rootml.errors import UsageError

_COUNTER = itertools.count()


class DiskMatrix:
    """A matrix `(rows, columns)` in a file, appended by blocks of rows.

    Args:
        folder: Where the file is made; its name is new.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     matrix = DiskMatrix(Path(folder))
    ...     matrix.append(np.array([[1.0, 2.0], [3.0, 4.0]]))
    ...     matrix.append(np.array([[5.0, 6.0]]))
    ...     matrix.columns([1])[:, 0].tolist(), [start for start, _ in matrix.blocks()]
    ([2.0, 4.0, 6.0], [0, 2])
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"held-out-{next(_COUNTER)}.bin"
        self._rows: list[int] = []
        self._width = 0
        self._dtype: npt.DTypeLike = np.float64

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return sum(self._rows), self._width

    def append(self, block: Array) -> None:
        """Add rows, `(rows, columns)`; the first block decides on columns and dtype.

        Raises:
            UsageError: The disk is full.
        """
        if not self._rows:
            self._width, self._dtype = block.shape[1], block.dtype
        data = np.ascontiguousarray(block.T, self._dtype).tobytes()
        try:
            with self._path.open("ab") as file:
                file.write(data)
        except OSError as error:
            message = (
                f"cannot write held-out values to {str(self._path.parent)!r}: {error.strerror}; "
                f"name another folder=, or set TMPDIR to a larger disk"
            )
            raise UsageError(message) from error
        self._rows.append(len(block))

    def blocks(self) -> Iterator[tuple[int, Float]]:
        """Number of the first row and values `(rows, columns)` of each block, float64."""
        start = 0
        with self._path.open("rb") as file:
            for rows in self._rows:
                values = np.fromfile(file, self._dtype, rows * self._width)
                yield start, values.reshape(self._width, rows).T.astype(np.float64)
                start += rows

    def columns(self, which: Sequence[int]) -> Float:
        """Some columns of all rows, `(rows, len(which))`, float64."""
        size = np.dtype(self._dtype).itemsize
        found = np.empty((sum(self._rows), len(which)))
        start = 0
        with self._path.open("rb") as file:
            for rows in self._rows:
                for place, column in enumerate(which):
                    file.seek((start * self._width + column * rows) * size)
                    found[start : start + rows, place] = np.fromfile(file, self._dtype, rows)
                start += rows
        return found

    def remove(self) -> None:
        """Delete the file."""
        self._path.unlink(missing_ok=True)
        self._rows = []
