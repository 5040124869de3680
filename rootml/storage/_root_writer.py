"""What the writers of ROOT files share: uproot's file, the types it writes, the notes in it."""

from __future__ import annotations

from collections.abc import Mapping

import uproot

from rootml.storage._base import ColumnType
from rootml.storage._buffered import BufferedWriter

WRITABLE = frozenset(
    {"bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"}
    | {"float32", "float64"}
)
"""Names of the dtypes that uproot writes."""


class RootWriter(BufferedWriter):
    """A ROOT file under its temporary name; subclasses make the tree or ntuple in it."""

    def __init__(
        self, path: str, *, columns: Mapping[str, ColumnType], metadata: Mapping[str, str]
    ) -> None:
        super().__init__(path, columns)
        self._metadata = metadata
        self._file = uproot.recreate(self._atomic.temporary, compression=uproot.ZSTD(5))

    def _finish(self) -> None:
        for name, text in self._metadata.items():
            self._file[name] = text
        self._file.close()

    def _drop(self) -> None:
        self._file.close()
