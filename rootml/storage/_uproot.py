"""Reading through uproot whatever the direct readers leave to it."""

from __future__ import annotations

import math
import re
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import awkward as ak
import numpy as np
import uproot
from uproot.interpretation.grouped import AsGrouped
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.objects import AsStridedObjects

from rootml._internal.urls import is_remote
from rootml.execution import ProcessLock
from rootml.storage._base import ColumnType
from rootml.storage._guard import Guard
from rootml.storage._types import type_of_form
from rootml.storage._unsplit import unsplit_vectors
from rootml.storage._uproot_source import GuardedSource
from rootml.storage.remote import Remote, RemoteFile, TransportError

_MAX_PARSED_TREES = 16
# No caches: arrays are handed out as writable, and trees of many files would pile up.
_OPTIONS: dict[str, Any] = {"object_cache": None, "array_cache": None}
_PACKED: dict[str, Any] = {"TLeafF16": uproot.AsFloat16, "TLeafD32": uproot.AsDouble32}
_BETWEEN = "objects with bytes between their members that uproot does not expect"
_RANGED = re.compile(r"[^/\[]*(?P<sizes>(?:\[[^\]]*\])+)/[df]\[(?P<range>[^\]]*)\]")


@contextmanager
def open_file(path: str, remote: RemoteFile | None = None, **options: Any) -> Iterator[Any]:
    """The uproot file at `path`, or of `remote`; local ones by plain reads, not through a map."""
    opened = RemoteFile(path, Remote()) if remote is None and is_remote(path) else None
    guard = Guard(path, remote=remote or opened)
    try:
        with _open_guarded(guard, **options) as file:
            yield file
    finally:
        if opened is not None:
            opened.close()


def _open_guarded(guard: Guard, **options: Any) -> Any:
    name = guard.path if guard.remote is None else guard.remote.name
    return uproot.open({name: None}, handler=GuardedSource, guard=guard, **{**_OPTIONS, **options})


class _ParsedTrees:
    """Trees that uproot has parsed and nobody uses now, the last few of all tables.

    To parse one of a thousand branches takes half a second and 11 MB.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = ProcessLock()
        self._trees: list[tuple[weakref.ref[UprootTree], Any]] = []

    def take(self, owner: UprootTree) -> Any:
        """A tree of this owner; None if none is kept."""
        with self._lock:
            for number, (whose, tree) in enumerate(self._trees):
                if whose() is owner:
                    del self._trees[number]
                    return tree
        return None

    def give(self, owner: UprootTree, tree: Any) -> None:
        with self._lock:
            self._trees = [each for each in self._trees if each[0]() is not None]
            self._trees.append((weakref.ref(owner), tree))
            del self._trees[: -self._limit]

    def forget(self, owner: UprootTree) -> None:
        with self._lock:
            self._trees = [each for each in self._trees if each[0]() not in {None, owner}]


_parsed_trees = _ParsedTrees(_MAX_PARSED_TREES)


class UprootTree:
    """One tree, read with uproot; what that has parsed is kept for the next use."""

    def __init__(self, name: str, where: str, guard: Guard) -> None:
        self._name = name
        self._where = where
        self._guard = guard

    @contextmanager
    def open(self) -> Iterator[Any]:
        """The uproot tree, for this thread alone."""
        self._guard.check(self._where)
        tree = _parsed_trees.take(self)
        if tree is None:
            tree = _open_guarded(self._guard)[self._name]
        yield tree
        if not self._guard.closed:
            _parsed_trees.give(self, tree)

    def close(self) -> None:
        """Forget what was parsed."""
        _parsed_trees.forget(self)


def branch_of(tree: Any, path: str) -> uproot.TBranch:
    """The branch of a tree at `path`, the first one of several.

    uproot does not find some by their path: names that occur twice, or that hold a slash or a dot
    of their own (Delphes).

    Raises:
        KeyError: There is none.
    """
    try:
        return tree[path]
    except KeyError:
        for found, branch in tree.iteritems(recursive=True):
            if found == path:
                return branch
        raise


def interpretation_of(branch: Any) -> Any:
    """How uproot is to read a branch.

    Of arrays of ``Float16_t`` and ``Double32_t`` with a range, ``x[3]/f[0,10,8]``, uproot 5.7
    takes the size for the range, and gives wrong values or fails. Of leaf lists with arrays of
    one size, ``x[2]/F:y[2]/F``, it takes the size for that of an array of pairs.

    Raises:
        ValueError: A range that ROOT may read in another way than uproot.
    """
    leaves = branch.member("fLeaves")
    if len(leaves) > 1 and isinstance(branch.interpretation, uproot.AsDtype):
        return _of_leaf_list(leaves, branch.interpretation)
    packed = _PACKED.get(leaves[0].classname) if len(leaves) == 1 else None
    found = _RANGED.fullmatch(leaves[0].member("fTitle")) if packed is not None else None
    if packed is None or found is None:
        return branch.interpretation
    low, high, bits = _range(found["range"])
    sizes = re.findall(r"\[(\d+)\]", found["sizes"])
    kind = packed(low, high, bits, tuple(map(int, sizes)))
    return uproot.AsJagged(kind) if leaves[0].member("fLeafCount") is not None else kind


def _of_leaf_list(leaves: Any, given: Any) -> Any:
    """Leaves of fixed sizes one after the other; uproot knows their kinds of numbers."""
    record = given.from_dtype.base
    fields = []
    for leaf in leaves:
        name, title = leaf.member("fName"), leaf.member("fTitle")
        shape = tuple(map(int, re.findall(r"\[(\d+)\]", title)))
        if math.prod(shape) != leaf.member("fLen"):
            message = f"a leaf {title!r} of {leaf.member('fLen')} numbers"
            raise ValueError(message)
        fields.append((name, record[name].base, shape))
    return uproot.AsDtype(np.dtype(fields))


def _range(text: str) -> tuple[float, float, int]:
    """Lowest and highest value and the number of bits, as ``TStreamerElement::GetRange``."""
    parts = [part.strip() for part in text.split(",")]
    low, high = float(parts[0]), float(parts[1])
    bits = int(parts[2]) if len(parts) > 2 else 32
    bits = bits if 2 <= bits <= 32 else 32
    if not (low < high or (low == high == 0 and bits < 15)):
        message = f"a range [{text}] without values"
        raise ValueError(message)
    return low, high, bits


class NotInterpreted(Exception):
    """Bytes that are as they were written, but not in a way that uproot understands."""


def array_of(branch: Any, start: int, stop: int) -> ak.Array:
    """Entries ``[start, stop)`` of a branch.

    A split object is put together from its members here: uproot 5.7 raises KeyError if one of them
    is a split object as well.

    Raises:
        NotInterpreted: The baskets can be decompressed, but uproot makes no values of them, or
            fewer than there are entries.
    """
    vectors = unsplit_vectors(branch)
    if vectors is None and isinstance(interpretation_of(branch), AsGrouped):
        members = branch.interpretation.subbranches
        layouts = [ak.to_layout(array_of(branch[name], start, stop)) for name in members]
        return ak.Array(ak.contents.RecordArray(layouts, list(members), stop - start))
    try:
        if vectors is not None:
            array = ak.Array(vectors.read(branch, start, stop))
        else:
            given = _with_header(branch, start, stop)
            array = branch.array(given, entry_start=start, entry_stop=stop, library="ak")
    except (OSError, TransportError, MemoryError):  # no matter of the type
        raise
    except Exception as error:
        if not _is_whole(branch, start, stop):
            raise
        message = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise NotInterpreted(message) from error
    if len(array) != stop - start:
        message = f"{branch.name!r} has {branch.num_entries:,} entries, fewer than the tree"
        raise NotInterpreted(message)
    return array


def _is_whole(branch: Any, start: int, stop: int) -> bool:
    """Whether the baskets with entries ``[start, stop)`` can be decompressed."""
    bounds = branch.entry_offsets
    for number, (first, end) in enumerate(pairwise(bounds)):
        if first < stop and end > start:
            try:
                branch.basket(number)
            except (OSError, TransportError):
                raise
            except Exception:  # noqa: BLE001 - whatever damage makes of uproot and decompressors
                return False
    return True


def _with_header(branch: Any, start: int, stop: int) -> Any:
    """The interpretation of `branch`; of objects with the bytes before each of them as a member.

    Where uproot 5.7 finds such bytes by itself (a class without a version, not split), it leaves
    the numbers behind them in the byte order of the file, and gives wrong values. Bytes elsewhere
    in an object (members of such classes) it takes for numbers.

    Raises:
        NotImplementedError: Objects with bytes that uproot does not expect.
    """
    kind = interpretation_of(branch)
    strided = kind.content if isinstance(kind, AsJagged) else kind
    if not isinstance(strided, AsStridedObjects) or start >= stop:
        return kind
    ends = np.asarray(branch.entry_offsets)[1:]
    basket = branch.basket(int(np.searchsorted(ends, start, side="right")))
    if basket.byte_offsets is None:
        return kind
    sizes, size = np.diff(basket.byte_offsets), strided.from_dtype.itemsize
    if isinstance(kind, AsJagged):
        if ((sizes - kind.header_bytes) % size).any():
            raise NotImplementedError(_BETWEEN)
        return kind
    excess = int(sizes[0]) - size
    if excess == 0:
        return kind
    stated = int.from_bytes(bytes(basket.data[:4]), "big")
    if excess not in {6, 10} or stated != 0x40000000 | (int(sizes[0]) - 4):
        raise NotImplementedError(_BETWEEN)
    header = ("@before", np.dtype(("u1", (excess,))))
    return AsStridedObjects(kind.model, [header, *kind.members])


def _form_of(kind: Any, branch: Any) -> Any:
    """The form of what `array_of` gives.

    uproot 5.7 knows none for leaf lists with an array among them, ``x/F:y[3]/F``, which it reads.
    """
    if type(kind) is uproot.AsDtype and kind.to_dtype.names:  # objects are another kind of it
        return ak.from_numpy(np.empty(0, kind.to_dtype)).layout.form
    return kind.awkward_form(branch.file)


def type_of_uproot(branch: Any) -> ColumnType:
    """`ColumnType` of a branch or field, from the form that uproot says it will have."""
    try:
        text = str(branch.typename)
    except Exception:  # noqa: BLE001 - uproot has no exception class for "no such type"
        text = type(branch).__name__
    try:
        vectors = unsplit_vectors(branch) if hasattr(type(branch), "interpretation") else None
        if vectors is not None:
            form, text = vectors.form(), vectors.classname or text
        elif hasattr(type(branch), "interpretation"):
            kind = interpretation_of(branch)
            if kind is not branch.__dict__.get("_interpretation"):
                text = kind.typename
            form = _form_of(kind, branch)
        else:
            record, path = branch.to_akform()
            array = record.length_zero_array(highlevel=False)
            for step in path:  # of a tuple one member is left, called "0" whichever it is
                array = array[step if step in array.fields else "0"]
            form = array.form
        return type_of_form(form, text)
    except Exception as error:  # noqa: BLE001 - dozens of classes, assertions among them
        why = str(error).partition("\n")[0]  # further lines say where in the file
        return ColumnType("unsupported", text=f"{text} ({type(error).__name__}: {why})")
