"""What an interrupted job has finished: so that it goes on where it stopped, when run again.

While files are written into a folder, a hidden file ``.rootml-<what>-<key>.jsonl`` there says for
which job (data, selection, columns, values, format) and lists each finished file with its size and
checksum. A job that ends well removes it. One that is killed leaves it; the same job, run again,
sees that the listed files are still what they were, and writes the others.

Lines are appended, so a list of ten thousand files costs nothing, and a torn last line is known to
be torn. Only one process writes it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xxhash

from rootml._internal.atomic import atomic_path
from rootml.errors import StateError

_FORMAT = 1
_CHUNK = 8 << 20
_PART = re.compile(r"\.(?P<stem>.+)\.[0-9a-f]{12}\.part(?P<suffix>\..*)?")  # see AtomicPath
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished file, by its content."""

    size: int
    checksum: str

    @classmethod
    def of(cls, path: str) -> Finished:
        """Read a file."""
        digest = xxhash.xxh3_128()
        size = 0
        with Path(path).open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
        return cls(size, digest.hexdigest())


def job_key(*content: Any) -> str:
    """Identity of a job, of anything that JSON knows."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Manifest:
    """The list of one job, in the folder that it writes to.

    Args:
        what: "skim" or "friends".
        key: Identity of the job; another one must not go on with its files.
        names: Names of all files that the job will write.
    """

    def __init__(
        self, folder: str | os.PathLike[str], what: str, key: str, names: Iterable[str]
    ) -> None:
        self.folder = Path(folder)
        self.what = what
        self.key = key
        self.names = tuple(names)
        self.path = self.folder / f".rootml-{what}-{key[:12]}.jsonl"
        self._finished: dict[str, Finished] = {}

    @property
    def resumes(self) -> bool:
        """Whether this job was begun before and did not end."""
        return self.path.exists()

    def check_others(self, *, overwrite: bool) -> None:
        """See that no other unfinished job was to write files of these names.

        Args:
            overwrite: Forget such a job instead.

        Raises:
            StateError: There is one.
        """
        for other in sorted(self.folder.glob(".rootml-*.jsonl")):
            if other == self.path:
                continue
            head = _head(other)
            shared = sorted(set(self.names).intersection(head.get("names", ())))
            if not shared:
                continue
            if not overwrite:
                message = (
                    f"{str(self.folder / shared[0])!r} belongs to an unfinished job "
                    f"({head.get('what')}) with other data, another selection, other columns or "
                    f"values, recorded in {str(other)!r}: run that one again, remove its files, "
                    "or say overwrite=True"
                )
                raise StateError(message)
            other.unlink()

    def begin(self) -> None:
        """Read what an interrupted run has finished, or begin a new list."""
        self.remove_parts()
        head = {"format": _FORMAT, "what": self.what, "key": self.key, "names": self.names}
        before = _lines(self.path)[1:] if self.resumes else []
        # written anew: the last line may be torn
        with atomic_path(self.path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in (head, *before)))
        known = set(self.names)
        for line in before:
            if line.get("name") in known:
                self._finished[line["name"]] = Finished(int(line["size"]), str(line["checksum"]))

    def has(self, path: str) -> bool:
        """Whether a file was finished before, and is what it was then."""
        known = self._finished.get(Path(path).name)
        if known is None or not Path(path).exists():
            return False
        if Finished.of(path) != known:
            _log.warning("%s is not as it was when it was finished; writing it anew", path)
            return False
        _log.info("%s was finished before", path)
        return True

    def add(self, path: str, finished: Finished | None = None) -> None:
        """A file is finished."""
        found = Finished.of(path) if finished is None else finished
        self._finished[Path(path).name] = found
        self._append({"name": Path(path).name, **asdict(found)})

    def _append(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def end(self) -> None:
        """The job is done: nothing is left to resume."""
        self.path.unlink(missing_ok=True)

    def give_up(self) -> None:
        """The job failed; without a finished file there is nothing to remember."""
        self.remove_parts()
        if not self._finished:
            self.end()

    def forget(self) -> None:
        """Remove the finished files too: they cannot be trusted."""
        for name in self._finished:
            (self.folder / name).unlink(missing_ok=True)
        self._finished = {}
        self.end()

    def remove_parts(self) -> None:
        """Remove half files, under temporary names, that killed processes have left."""
        known = set(self.names)
        for entry in self.folder.glob(".*.part*"):
            match = _PART.fullmatch(entry.name)
            if match and match["stem"] + match["suffix"] in known:
                entry.unlink(missing_ok=True)


def _head(path: Path) -> dict[str, Any]:
    lines = _lines(path)
    return lines[0] if lines else {}


def _lines(path: Path) -> Sequence[dict[str, Any]]:
    """The lines of a list; without a last one that was not written to its end.

    Raises:
        StateError: It is none of ours, or of another version.
    """
    text = path.read_text(encoding="utf-8")
    lines: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines()):
        try:
            content = json.loads(line)
        except ValueError:
            break
        if not isinstance(content, dict) or (not number and content.get("format") != _FORMAT):
            message = (
                f"{str(path)!r} is not a list of finished files that this version can read; "
                "remove it"
            )
            raise StateError(message)
        lines.append(content)
    return lines
