"""Reading through uproot whatever the direct readers leave to it."""

from __future__ import annotations

import queue
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from uproot.interpretation.grouped import AsGrouped
from uproot.interpretation.objects import AsStridedObjects

from rootml._internal.urls import is_remote
from rootml.storage._base import ColumnType
from rootml.storage._guard import Guard
from rootml.storage._types import type_of_form
from rootml.storage._uproot_source import RemoteSource
from rootml.storage.remote import Remote, RemoteFile

# No caches: arrays are handed out as writable, and trees of many files would pile up.
_OPTIONS: dict[str, Any] = {"object_cache": None, "array_cache": None}
_PACKED: dict[str, Any] = {"TLeafF16": uproot.AsFloat16, "TLeafD32": uproot.AsDouble32}
_RANGED = re.compile(r"[^/\[]*(?P<sizes>(?:\[[^\]]*\])+)/[df]\[(?P<range>[^\]]*)\]")


@contextmanager
def open_file(path: str, remote: RemoteFile | None = None, **options: Any) -> Iterator[Any]:
    """The uproot file at `path`, or of `remote`; local ones by plain reads, not through a map."""
    options = {**_OPTIONS, **options}
    if remote is not None:
        with _open_remote(remote, **options) as file:
            yield file
    elif is_remote(path):
        remote = RemoteFile(path, Remote())
        try:
            with _open_remote(remote, **options) as file:
                yield file
        finally:
            remote.close()
    else:
        with Path(path).open("rb") as stream, uproot.open(stream, **options) as file:
            yield file


def _open_remote(remote: RemoteFile, **options: Any) -> Any:
    return uproot.open({remote.name: None}, handler=RemoteSource, remote_file=remote, **options)


class UprootTree:
    """One tree, opened with uproot for each use; what it knows of a URL is kept for the next."""

    def __init__(self, path: str, name: str, where: str, guard: Guard) -> None:
        self._path = path
        self._name = name
        self._where = where
        self._guard = guard
        self._idle: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()

    @contextmanager
    def open(self) -> Iterator[Any]:
        """The uproot tree, for this thread alone."""
        self._guard.check(self._where)
        if self._guard.remote is None:
            with open_file(self._path) as file:
                yield file[self._name]
            return
        try:
            file, tree = self._idle.get_nowait()
        except queue.Empty:
            file = _open_remote(self._guard.remote, **_OPTIONS)
            try:
                tree = file[self._name]
            except BaseException:
                file.close()
                raise
        try:
            yield tree
        except BaseException:
            file.close()
            raise
        self._idle.put((file, tree))
        if self._guard.closed:
            self.close()

    def close(self) -> None:
        """Close what is kept open."""
        while True:
            try:
                file, _ = self._idle.get_nowait()
            except queue.Empty:
                return
            file.close()


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
    takes the size for the range, and gives wrong values or fails.

    Raises:
        ValueError: A range that ROOT may read in another way than uproot.
    """
    leaves = branch.member("fLeaves")
    packed = _PACKED.get(leaves[0].classname) if len(leaves) == 1 else None
    found = _RANGED.fullmatch(leaves[0].member("fTitle")) if packed is not None else None
    if packed is None or found is None:
        return branch.interpretation
    low, high, bits = _range(found["range"])
    sizes = re.findall(r"\[(\d+)\]", found["sizes"])
    kind = packed(low, high, bits, tuple(map(int, sizes)))
    return uproot.AsJagged(kind) if leaves[0].member("fLeafCount") is not None else kind


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


def array_of(branch: Any, start: int, stop: int) -> ak.Array:
    """Entries ``[start, stop)`` of a branch.

    A split object is put together from its members here: uproot 5.7 raises KeyError if one of them
    is a split object as well.
    """
    if not isinstance(interpretation_of(branch), AsGrouped):
        given = _with_header(branch, start, stop)
        return branch.array(given, entry_start=start, entry_stop=stop, library="ak")
    members = branch.interpretation.subbranches
    layouts = [ak.to_layout(array_of(branch[name], start, stop)) for name in members]
    return ak.Array(ak.contents.RecordArray(layouts, list(members), stop - start))


def _with_header(branch: Any, start: int, stop: int) -> Any:
    """The interpretation of `branch`; of objects with the bytes before each of them as a member.

    Where uproot 5.7 finds such bytes by itself (a class without a version, not split), it leaves
    the numbers behind them in the byte order of the file, and gives wrong values.
    """
    kind = interpretation_of(branch)
    if not isinstance(kind, AsStridedObjects) or start >= stop:
        return kind
    ends = np.asarray(branch.entry_offsets)[1:]
    offsets = branch.basket(int(np.searchsorted(ends, start, side="right"))).byte_offsets
    excess = 0 if offsets is None else int(offsets[1] - offsets[0]) - kind.from_dtype.itemsize
    if excess <= 0:
        return kind
    header = ("@before", np.dtype(("u1", (excess,))))
    return AsStridedObjects(kind.model, [header, *kind.members])


def type_of_uproot(branch: Any) -> ColumnType:
    """`ColumnType` of a branch or field, from the form that uproot says it will have."""
    try:
        text = str(branch.typename)
    except Exception:  # noqa: BLE001 - uproot has no exception class for "no such type"
        text = type(branch).__name__
    try:
        if hasattr(type(branch), "interpretation"):
            kind = interpretation_of(branch)
            if kind is not branch.__dict__.get("_interpretation"):
                text = kind.typename
            form = kind.awkward_form(branch.file)
        else:
            record, path = branch.to_akform()
            array = record.length_zero_array(highlevel=False)
            for step in path:  # of a tuple one member is left, called "0" whichever it is
                array = array[step if step in array.fields else "0"]
            form = array.form
        return type_of_form(form, text)
    except Exception as error:  # noqa: BLE001 - dozens of classes, assertions among them
        return ColumnType("unsupported", text=f"{text} ({type(error).__name__}: {error})")
