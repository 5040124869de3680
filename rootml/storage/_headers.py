"""What planning needs of files, kept on disk: entries, clusters, good entries to cut at.

Opening ten thousand files is a matter of seconds on a disk and of many minutes over a network, and
all that partitions need of it are a few numbers per file. They are kept as JSON, one document for
all files of one folder, under the first of

- ``$ROOTML_CACHE/headers`` (an empty variable: nothing is kept),
- what the system has for caches (``$XDG_CACHE_HOME``, ``~/.cache``, ...), ``rootml/headers``.

What is known of a local file counts as long as its size and modification time are those of then:
one `stat`. A URL is not asked again before it is read; whoever reads compares the whole
fingerprint, the UUID that ROOT gave the file included, and forgets what was known if it differs.

Documents are read with suspicion (they may be of another version, damaged or of somebody else:
then the files are opened), and written under another name and renamed. Two processes that write at
the same time leave the one or the other's document, and a file that is missing in it is opened
once more. Where nothing can be written, nothing is kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.caches import cache_folder
from rootml._internal.urls import is_remote
from rootml.storage._base import Fingerprint

FORMAT = 1
"""Of the documents; also to be raised when `Table.clusters` or `cheap_cuts` come to mean else."""
_MAX_BYTES = 1 << 28
_MAX_CUTS = 32
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Header:
    """What is remembered of one tree of one file.

    Attributes:
        tree, format, num_entries, fingerprint: As those of `Table`.
        clusters: As `Table.clusters` gives them; None: not known yet.
        cuts: Answers of `Table.cheap_cuts` by question (`question`).
    """

    tree: str
    format: str
    num_entries: int
    fingerprint: Fingerprint
    clusters: npt.NDArray[np.int64] | None = None
    cuts: dict[str, list[int]] = field(default_factory=dict)


def question(names: Iterable[str], start: int, stop: int, max_entries: int) -> str:
    """The arguments of `Table.cheap_cuts` as the name of its answer."""
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{start}:{stop}:{max_entries}:{digest}"


class HeaderCache:
    """The documents in a folder; an unusable folder is as good as an empty one."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = cache_folder("headers") if folder is None else folder

    def recall(
        self, wanted: Iterable[tuple[str, str | None]]
    ) -> dict[tuple[str, str | None], Header]:
        """What is known, and still true as far as a `stat` shows, of ``(path, tree)``."""
        found = {}
        documents: dict[str, dict[str, Any]] = {}
        for path, tree in wanted:
            directory, name = _split(path)
            if directory not in documents:
                documents[directory] = self._read(directory)
            entry = documents[directory].get(_key(name, tree))
            header = None if entry is None else _header(entry)
            if header is not None and _is_current(path, header.fingerprint):
                found[path, tree] = header
        return found

    def store(self, headers: Mapping[tuple[str, str | None], Header | None]) -> None:
        """Remember; None: forget."""
        if self._folder is None:
            return
        changes: dict[str, dict[str, Header | None]] = {}
        for (path, tree), header in headers.items():
            directory, name = _split(path)
            changes.setdefault(directory, {})[_key(name, tree)] = header
        for directory, changed in changes.items():
            files = self._read(directory)
            for key, header in changed.items():
                files.pop(key, None)
                if header is not None:
                    files[key] = _entry(header)
            if not self._write(directory, files):
                return

    def _path(self, folder: Path, directory: str) -> Path:
        digest = hashlib.sha256(directory.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return folder / f"{digest}.json"

    def _read(self, directory: str) -> dict[str, Any]:
        """The entries of a folder's files by name, unchecked; none without a good document."""
        if self._folder is None:
            return {}
        path = self._path(self._folder, directory)
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno())
                if not _is_mine(found) or found.st_size > _MAX_BYTES:
                    return {}
                content = json.loads(file.read())
        except OSError:
            return {}
        except (ValueError, RecursionError):
            _log.warning("%s is damaged; the headers in it are read anew", path)
            return {}
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            return {}
        files = content.get("files")
        return files if content.get("place") == directory and isinstance(files, dict) else {}

    def _write(self, directory: str, files: Mapping[str, Any]) -> bool:
        if self._folder is None:
            return False
        text = json.dumps(
            {"format": FORMAT, "place": directory, "files": files}, separators=(",", ":")
        )
        partial = None
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, partial = tempfile.mkstemp(dir=self._folder, suffix=".partial")
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
            os.replace(partial, self._path(self._folder, directory))  # noqa: PTH105 - a str
        except OSError as error:
            _log.info("headers are not saved: %s", error)
            if partial is not None:
                with suppress(OSError):
                    os.unlink(partial)  # noqa: PTH108
            return False
        return True


def _split(path: str) -> tuple[str, str]:
    """Folder and name, of URLs too."""
    directory, slash, name = path.rpartition("/")
    return directory + slash, name


def _key(name: str, tree: str | None) -> str:
    return name if tree is None else f"{name}:{tree}"


def _is_current(path: str, known: Fingerprint) -> bool:
    """Whether a local file has the size and time that it had; a URL is not asked."""
    if is_remote(path):
        return True
    try:
        now = os.stat(path)  # noqa: PTH116 - ten thousand times
    except OSError:
        return False
    return (now.st_size, now.st_mtime_ns) == (known.size, known.modified)


def _is_mine(found: os.stat_result) -> bool:
    """Written by this user, and not changed by another user since."""
    if not hasattr(os, "getuid"):
        return True
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


_PRINT = tuple(each.name for each in fields(Fingerprint))


def _entry(header: Header) -> dict[str, Any]:
    clusters = None if header.clusters is None else header.clusters.tolist()
    return {
        "tree": header.tree,
        "format": header.format,
        "entries": header.num_entries,
        "print": {name: getattr(header.fingerprint, name) for name in _PRINT},
        "clusters": clusters,
        "cuts": dict(list(header.cuts.items())[-_MAX_CUTS:]),
    }


def _header(entry: Any) -> Header | None:
    """An entry, if everything in it can be what it says."""
    try:
        mark, cuts = Fingerprint(**entry["print"]), entry["cuts"]
        texts = (entry["tree"], entry["format"], mark.uuid)
        numbers = (entry["entries"], mark.size, mark.modified)
        good = all(isinstance(text, str) for text in texts) and isinstance(cuts, dict)
        good = good and all(type(number) is int and number >= 0 for number in numbers)
        if not good or not all(_cuts_fit(*cut) for cut in cuts.items()):
            return None
        clusters = _bounds(entry["clusters"], entry["entries"])
    except (TypeError, LookupError, ValueError, OverflowError):
        return None
    return Header(entry["tree"], entry["format"], entry["entries"], mark, clusters, cuts)


def _bounds(clusters: Any, entries: int) -> npt.NDArray[np.int64] | None:
    """Cluster boundaries.

    Raises:
        ValueError: They do not rise from 0 to `entries`.
    """
    if clusters is None:
        return None
    if not _rises([-1, *clusters]) or (clusters[0], clusters[-1]) != (0, entries):
        message = "these are not boundaries"
        raise ValueError(message)
    return np.array(clusters, np.int64)


def _cuts_fit(name: str, cuts: Any) -> bool:
    start, stop = map(int, name.split(":")[:2])
    return isinstance(cuts, list) and _rises([start, *cuts, stop])


def _rises(numbers: list[Any]) -> bool:
    whole = all(type(number) is int for number in numbers)
    return whole and all(one < other for one, other in pairwise(numbers))
