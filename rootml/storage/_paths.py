"""From what a user writes to files: lists, globs, ``file:tree``, ``{file: tree}``, URLs."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from rootml._internal.urls import is_remote
from rootml.errors import MissingFileError, UsageError, nearest
from rootml.storage._failures import remote_error
from rootml.storage.remote import Remote, TransportError, check_remote, redact

Paths: TypeAlias = (
    "str | os.PathLike[str] | Iterable[Paths] | Mapping[str | os.PathLike[str], str | None]"
)

_KNOWN_SUFFIX = re.compile(
    r"(?P<file>.+\.(?:root(?:\.\d+)?|parquet|pq|arrow|feather|ipc)(?:\?[^:]*)?):(?P<tree>.*)",
    re.IGNORECASE | re.DOTALL,
)
_GLOB = re.compile(r"[*?\[]")
_REMOTE_GLOB = re.compile(r"[*\[]")  # "?" begins the query of a URL


def split_tree(text: str) -> tuple[str, str | None]:
    """Split ``"file:tree"`` as uproot does, leaving schemes, ports and drive letters alone.

    A colon counts behind a known suffix (``.root``, ``.parquet``, ...), or else the last colon
    that can be nothing else. The name of a local file that exists is never split.

    >>> split_tree("root://host:1094//store/f.root:dir/Events")
    ('root://host:1094//store/f.root', 'dir/Events')
    >>> split_tree("https://host:443/f.root"), split_tree("*.dat:tree")
    (('https://host:443/f.root', None), ('*.dat', 'tree'))
    """
    if ":" not in text or (not is_remote(text) and Path(text).exists()):
        return text, None
    known = _KNOWN_SUFFIX.fullmatch(text)
    if known:
        file, tree = known["file"], known["tree"]
    else:
        file, _, tree = text.rpartition(":")
        if len(file) < 2 or tree.startswith(("/", "\\")) or re.match(r"\d+/", tree):
            return text, None
        if is_remote(file) and "/" not in file.partition("://")[2]:
            return text, None  # in front of a port or a password
    tree = re.sub(r"/+", "/", tree.strip()).strip("/")
    if not tree:
        message = f"{redact(text)!r} ends in a colon without the name of a tree"
        raise UsageError(message)
    return file, tree


def _natural(name: str) -> list[Any]:
    """Sort key that puts ``part_2`` before ``part_10``."""
    return [(1, int(s), "") if s.isdigit() else (0, 0, s) for s in re.split(r"(\d+)", name)]


def _neighbours(path: str) -> str:
    """What the folder of a missing `path` has instead, for an error message."""
    folder = Path(path).parent
    while not folder.is_dir() and folder != folder.parent:
        if not folder.parent.is_dir():
            folder = folder.parent
            continue
        names = [entry.name for entry in folder.parent.iterdir() if entry.is_dir()]
        return f"there is no folder {str(folder)!r}; nearest: {nearest(folder.name, names)}"
    names = [entry.name for entry in folder.iterdir()]
    wanted = Path(path).name
    return f"the folder {str(folder)!r} has: {nearest(wanted, names)}"


def missing_file(path: str) -> MissingFileError:
    """The error for a local `path` that does not exist, with the nearest names."""
    message = f"no such file: {path!r}; {_neighbours(path)}"
    return MissingFileError(message)


def _remote_glob(pattern: str, remote: Remote) -> list[str]:
    from rootml.storage.remote._listing import list_remote

    try:
        return list_remote(pattern, remote)
    except TransportError as error:
        message = f"cannot list {redact(pattern)!r}: {error}"
        raise remote_error(message, error) from None


def _matches(pattern: str, remote: Remote) -> list[str]:
    """Files of one path or glob, in natural order."""
    if is_remote(pattern):
        found = [pattern]
        if _REMOTE_GLOB.search(urlsplit(pattern).path):
            found = _remote_glob(pattern, remote)
        found = [Url(url, remote) for url in found]
    else:
        pattern = os.path.expanduser(pattern)  # noqa: PTH111 - Path() would change the spelling
        if Path(pattern).exists():
            return [pattern]
        if not _GLOB.search(pattern):
            raise missing_file(pattern)
        found = glob.glob(pattern, recursive=True)  # noqa: PTH207 - keeps the user's spelling
        found = [name for name in found if not Path(name).is_dir()]
    if not found:
        about = "" if is_remote(pattern) else f"; {_neighbours(pattern)}"
        message = f"no file matches {redact(pattern)!r}{about}"
        raise MissingFileError(message)
    return sorted(found, key=_natural)


def _check_tree(file: Any, tree: Any) -> None:
    """Refuse a value of ``{file: tree}`` that is not the name of one tree."""
    if tree is None or (isinstance(tree, str) and tree.strip()):
        return
    message = f"a dict of files is {{file: tree}}, not {{{file!r}: {tree!r}}}"
    if isinstance(tree, Iterable) and not isinstance(tree, (str, bytes)):
        names = [name for name in tree if isinstance(name, str)]
        if len(names) == 1:
            message += f"; give one name: {{{file!r}: {names[0]!r}}}"
        elif names:
            message += f"; several trees: {[f'{file}:{name}' for name in names]!r}"
    raise UsageError(message)


def _pairs(paths: Any) -> Iterator[tuple[str, str | None]]:
    """Patterns with their trees, in the order given."""
    if isinstance(paths, (str, os.PathLike)):
        text = os.fspath(paths)
        if not isinstance(text, str) or not text.strip():
            message = f"not a path: {paths!r}"
            raise UsageError(message)
        if isinstance(paths, Url):
            yield paths, None
            return
        yield split_tree(text.removeprefix("file://"))
    elif isinstance(paths, Mapping):
        for file, tree in paths.items():
            _check_tree(file, tree)
            for name, inner in _pairs(file):
                if inner is not None and tree is not None and inner != tree:
                    message = f"two trees for {redact(name)!r}: {inner!r} and {tree!r}"
                    raise UsageError(message)
                yield name, inner if tree is None else tree
    elif isinstance(paths, Iterable) and not isinstance(paths, (bytes, bytearray)):
        for item in paths:
            yield from _pairs(item)
    else:
        message = (
            f"cannot take {type(paths).__name__} for files: give a path, a glob, "
            f"a list of them or a dict {{file: tree}}"
        )
        raise UsageError(message)


def _identity(path: str) -> str:
    return path if is_remote(path) else os.path.realpath(path)


class Url(str):
    """A URL with how it is to be read; shown without credentials.

    It is the whole URL to whoever opens it (and equal to that text), while ``str()``, ``repr`` and
    f-strings leave out password and query, so that no message, log or title has them.

    >>> url = Url("https://me:secret@host/f.root?X-Amz-Signature=abc", Remote())
    >>> f"{url}:Events", url == "https://me:secret@host/f.root?X-Amz-Signature=abc"
    ('https://host/f.root:Events', True)
    """

    __slots__ = ("remote",)

    def __new__(cls, url: str, remote: Remote) -> Self:
        made = super().__new__(cls, url)
        made.remote = remote
        return made

    remote: Remote

    def __reduce__(self) -> tuple[Any, ...]:
        return Url, (self[:], self.remote)

    def __str__(self) -> str:
        return redact(self[:])

    def __repr__(self) -> str:
        return repr(redact(self[:]))

    def __format__(self, spec: str) -> str:
        return format(redact(self[:]), spec)


def remote_of(path: str | None) -> Remote | None:
    """How a path from `expand_paths` is to be read; None: local, or not known."""
    return path.remote if isinstance(path, Url) else None


def beside(url: str, name: str) -> str:
    """The URL of a file in the folder of another one, read in the same way.

    >>> beside("https://host/store/a.root?token=abc", "b.root")
    'https://host/store/b.root?token=abc'
    """
    parts = urlsplit(url[:])
    folder = "" if name.startswith("/") else parts.path.rpartition("/")[0] + "/"
    found = urlunsplit(parts._replace(path=folder + name))
    remote = remote_of(url)
    return found if remote is None else Url(found, remote)


def expand_paths(paths: Paths, *, remote: Remote | None = None) -> list[tuple[str, str | None]]:
    """Everything that `rootml.open` takes, as ``(file, tree or None)`` pairs.

    Taken are ``"f.root:tree"``, globs, URLs, `os.PathLike`, ``{file: tree}`` and lists of these.
    Files of one glob come in natural order (``part_2`` before ``part_10``), everything else in
    the order given. URLs are texts that show themselves without credentials.

    Args:
        remote: How URLs are to be read; None: as `Remote()` says.

    Raises:
        MissingFileError: A file that does not exist, or a pattern that matches nothing.
        RemoteError: A server that cannot be reached to list what matches.
        UsageError: Nothing given, the same tree of the same file twice, or not a path at all.

    >>> expand_paths(["https://host/a.root:Events", {"root://host//b.root": "Events"}])
    [('https://host/a.root', 'Events'), ('root://host//b.root', 'Events')]
    """
    found: list[tuple[str, str | None]] = []
    seen: set[tuple[str, str | None]] = set()
    options = check_remote(remote)
    for pattern, tree in _pairs(paths):
        for path in _matches(pattern, options):
            key = (_identity(path), tree)
            if key in seen:
                where = path if tree is None else f"{path}:{tree}"
                message = f"{where!r} is given twice: its entries would count double"
                raise UsageError(message)
            seen.add(key)
            found.append((path, tree))
    if not found:
        message = "no files given"
        raise UsageError(message)
    return found
