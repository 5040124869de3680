"""What every storage format offers: named columns over entries, read by entry range.

A format is one module beside this one. It knows nothing of cuts, samples or batches: it says what
is in the file, where it is cheap to cut it, and reads columns. The contract below is
tested for all formats by one parametrised test.
"""

from __future__ import annotations

import abc
from collections.abc import (
    Callable,
    Collection,
    ItemsView,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    ValuesView,
)
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

import awkward as ak
import numpy as np
import numpy.typing as npt

from rootml._internal.buffers import Allocate
from rootml._internal.types import Array

Column: TypeAlias = "Array | ak.Array"
"""NumPy for scalar and fixed-shape columns, in native byte order, awkward for everything else. The
first axis is entries."""

_ONE_BY_ONE = 64
Kind = Literal["scalar", "fixed", "jagged", "string", "other", "unsupported"]


@dataclass(frozen=True, slots=True)
class ColumnType:
    """The type of one column, in the terms that the rest of rootml needs.

    Attributes:
        kind: ``"scalar"``: one number or bool per entry. ``"fixed"``: a fixed array per entry.
            ``"jagged"``: a list of numbers per entry, `depth` 1, 2, ... levels deep. ``"string"``:
            one string per entry. ``"other"``: readable as awkward, not numeric (records, lists of
            strings, maps of ROOT). ``"unsupported"``: cannot be read; `text` says what it is.
        dtype: Native-endian dtype of one element; None unless scalar, fixed or jagged.
        shape: Inner shape of a fixed array, else ``()``.
        depth: Levels of lists of a jagged column, else 0.
        text: The type as the file spells it, e.g. ``"std::vector<float>"``; for messages only.
        form: The form of its awkward arrays, for the types of members of records; None: unknown.
    """

    kind: Kind
    dtype: np.dtype[Any] | None = None
    shape: tuple[int, ...] = ()
    depth: int = 0
    text: str = ""
    form: Any = field(default=None, compare=False, repr=False)

    def same_as(self, other: ColumnType) -> bool:
        """Whether values of both mean the same (the spelling may differ)."""
        mine = (self.kind, self.dtype, self.shape, self.depth)
        return mine == (other.kind, other.dtype, other.shape, other.depth)

    def __str__(self) -> str:
        if self.dtype is None:
            return self.text or self.kind
        inner = "".join(f"[{n}]" for n in self.shape)
        return f"{'var * ' * self.depth}{self.dtype.name}{inner}"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells a file from another version of itself, without reading it through.

    Attributes:
        size: Bytes.
        modified: Modification time in ns, 0 where the transport does not say.
        uuid: The identity that the format itself gives (ROOT's file UUID), or "".
    """

    size: int
    modified: int
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class FriendSpec:
    """A friend tree that a file names beside one of its trees (ROOT's ``TFriendElement``).

    Attributes:
        tree: Name of the friend tree.
        path: File that holds it, as written in the file; "" means the same file.
        alias: Prefix under which ROOT offers its branches.
    """

    tree: str
    path: str
    alias: str


class Columns(Mapping[str, ColumnType]):
    """The columns of a table by name, in file order; other spellings are accepted in look-ups.

    Iterating gives each column once, under the name that an expression can use. `aliases` maps
    further spellings to those names: uproot's path ``"Event/fXvtx"`` for ``"fXvtx"``. They count
    as present (``in``, ``[]``) but are not listed, so that nothing is read or written twice.
    """

    def __init__(self, types: Mapping[str, ColumnType], aliases: Mapping[str, str] | None = None):
        self._types = dict(types)
        self.aliases: dict[str, str] = dict(aliases or {})

    def canonical(self, name: str) -> str:
        """The listed name of `name`; KeyError if the column does not exist."""
        if name in self._types:
            return name
        return self.aliases[name]

    def __getitem__(self, name: str) -> ColumnType:
        return self._types[self.canonical(name)]

    def __contains__(self, name: object) -> bool:
        return name in self._types or name in self.aliases

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)

    def __repr__(self) -> str:
        return f"<{len(self)} columns: {', '.join(list(self)[:8])}{', ...' * (len(self) > 8)}>"


class LazyColumns(Columns):
    """Columns whose types are found out when they are asked for; all of them after a few.

    Args:
        names: The listed names, in file order.
        find: Finds the types of some of them, or of more than those; safe to call from threads.
        types: Where those that were found are kept.
    """

    def __init__(
        self,
        names: Mapping[str, Any],
        aliases: dict[str, str],
        find: Callable[[Sequence[str]], Mapping[str, ColumnType]],
        types: dict[str, ColumnType],
    ) -> None:
        self._names = names
        self.aliases = aliases
        self._types = types
        self._find = find

    def __reduce__(self) -> tuple[Any, ...]:
        return Columns, (dict(self.items()), self.aliases)

    @property
    def resolved(self) -> dict[str, ColumnType]:
        """The types that are known by now."""
        return dict(self._types)

    def canonical(self, name: str) -> str:
        return name if name in self._names else self.aliases[name]

    def __getitem__(self, name: str) -> ColumnType:
        name = self.canonical(name)
        if name not in self._types:
            self.resolve([name] if len(self._types) < _ONE_BY_ONE else self)
        return self._types[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names or name in self.aliases

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def resolve(self, names: Iterable[str]) -> None:
        """Find out the types of listed names."""
        missing = [name for name in names if name not in self._types]
        if missing:
            self._types.update(self._find(missing))

    def items(self) -> ItemsView[str, ColumnType]:
        self.resolve(self)
        return super().items()

    def values(self) -> ValuesView[ColumnType]:
        self.resolve(self)
        return super().values()


class Table(abc.ABC):
    """One tree (or table) of one file, open for reading; safe to read from several threads.

    Attributes:
        path: As the user gave it (after globbing), but of a URL without credentials.
        name: Name of the tree inside the file, "" for formats of one table per file.
        format: ``"ttree"``, ``"rntuple"``, ``"parquet"`` or ``"arrow"``.
        num_entries: Entries in the table.
        fingerprint: Identity of the file at the time of opening.
        url: Where to open a remote one again: a text with what `path` hides; None: local.
        index: What ROOT matches this tree by, when it is a friend, instead of by entries: the
            major and minor expressions of ``TTree::BuildIndex``; None: by entries.
    """

    path: str
    name: str
    format: str
    num_entries: int
    fingerprint: Fingerprint
    url: str | None = None
    index: tuple[str, str] | None = None

    @property
    @abc.abstractmethod
    def columns(self) -> Columns:
        """Every column that can be asked for, in file order.

        Raises:
            CorruptFileError: Damaged metadata.
            ChangedFileError: The file is no longer the one that was opened.
        """

    @abc.abstractmethod
    def clusters(self) -> npt.NDArray[np.int64]:
        """Entry boundaries ``0 = b[0] < ... < b[-1] = num_entries`` at which reading is cheap.

        A read of ``[b[i], b[j])`` decodes nothing twice. Empty table: ``[0]``.
        """

    def cheap_cuts(
        self, columns: Sequence[str], start: int, stop: int, max_entries: int
    ) -> list[int]:
        """Entries at which to divide a large cluster ``[start, stop)``, about `max_entries` apart.

        Reading `columns` in pieces costs little more than reading them in one go. Where it would
        cost more, the cuts are fewer, or none.
        """
        del columns, start, stop, max_entries
        return []

    @abc.abstractmethod
    def read(
        self,
        columns: Sequence[str],
        start: int,
        stop: int,
        *,
        allocate: Allocate = np.empty,
        raw: Collection[str] = (),
    ) -> dict[str, Column]:
        """Read entries ``[start, stop)`` of `columns`, in that order, each ``stop - start`` long.

        Large arrays may be made by `allocate`. Scalar columns of one dtype may lie side by side in
        one array, in the order asked for, so that they can be transposed at one go. Those in `raw`
        may be in the byte order of the file: for callers that copy them anyway, a pass less.

        Other scalars and fixed arrays come as writable C-contiguous NumPy arrays of the column's
        dtype and native byte order; everything else as awkward arrays with ``ListOffset`` layouts.

        Raises:
            MissingColumnError: A name that is not in `columns`.
            UnsupportedTypeError: A column that cannot be read.
            CorruptFileError: Damaged data; names file, table, column and the entry range.
            ChangedFileError: The file is no longer the one that was opened.
        """

    @abc.abstractmethod
    def stored_bytes(self, columns: Sequence[str]) -> int:
        """Compressed size in the file of `columns`, estimated where the format does not say."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close the file; reading afterwards is an error."""

    @property
    def where(self) -> str:
        """``"file.root:Events"``, for messages."""
        return f"{self.path}:{self.name}" if self.name else self.path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.where!r}: {self.num_entries:,} entries, "
            f"{len(self.columns)} columns>"
        )


class Writer(abc.ABC):
    """Appends entries to a new file that appears under its name only when it is complete.

    Leaving a ``with`` block closes the file, or removes it when the block raised.
    """

    path: str
    num_entries: int

    @abc.abstractmethod
    def write(self, columns: Mapping[str, Column]) -> None:
        """Append entries: all columns of the file, equally long.

        Raises:
            SchemaError: A missing or surplus column, unequal lengths, or values of another type.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Write what is left and give the file its name."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Give up and remove what was written; harmless after `close`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
