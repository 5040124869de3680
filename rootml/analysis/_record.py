"""What is kept of a finished step: what it was made from, and what its files are.

The folder of a step holds its files and `RECORD`. A step works in a hidden folder beside it, which
becomes its folder when it is done: there is always a whole result or none.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rootml.errors import CorruptFileError
from rootml.output._manifest import Finished

RECORD = "provenance.json"
FORMAT = "rootml-provenance"


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file of a finished step."""

    size: int
    checksum: str
    modified: int

    @classmethod
    def of(cls, path: Path) -> OutputFile:
        """Read a file."""
        known = Finished.of(str(path))
        return cls(known.size, known.checksum, path.stat().st_mtime_ns)

    def fits(self, path: Path) -> bool:
        """Whether a file is the same; it is read only if its time is another."""
        status = path.stat()
        if status.st_size != self.size:
            return False
        return status.st_mtime_ns == self.modified or OutputFile.of(path).checksum == self.checksum


@dataclass(frozen=True)
class Record:
    """The record of one finished step.

    Attributes:
        inputs: All that its result depends on, see `inputs_of` of the runner.
        outputs: Its files, by their names in the folder.
        outcome: Facts, tables, problems and notes, as JSON.
        more: What else is written down: files, software, git, times.
    """

    inputs: dict[str, Any]
    outputs: dict[str, OutputFile]
    outcome: dict[str, Any]
    more: dict[str, Any]

    @property
    def digest(self) -> str:
        """Of the content of all outputs."""
        return digest({name: each.checksum for name, each in self.outputs.items()})

    def changed(self, folder: Path) -> list[str]:
        """Outputs that are not as the step wrote them."""
        return [
            name
            for name, each in self.outputs.items()
            if (folder / name).exists() and not each.fits(folder / name)
        ]

    def missing(self, folder: Path) -> list[str]:
        """Outputs that are gone."""
        return [name for name in self.outputs if not (folder / name).exists()]

    def write(self, folder: Path) -> None:
        """Write it, last of all files of a step."""
        content = {
            "format": FORMAT, "version": 1, **self.more, "inputs": self.inputs,
            "outputs": {name: asdict(each) for name, each in self.outputs.items()},
            "outcome": self.outcome,
        }  # fmt: skip
        temporary = folder / f".{RECORD}"
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        temporary.replace(folder / RECORD)


def read_record(folder: Path) -> Record | None:
    """The record of a folder; None if there is none.

    Raises:
        CorruptFileError: It is not a record.
    """
    path = folder / RECORD
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT or content.pop("version") != 1:
            raise ValueError
        outputs = {name: OutputFile(**each) for name, each in content.pop("outputs").items()}
        return Record(content.pop("inputs"), outputs, content.pop("outcome"), content)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        message = (
            f"{path} is not a record of this version of rootml, or was changed by hand: remove "
            "the folder, or force the step"
        )
        raise CorruptFileError(message) from None


def digest(content: Any) -> str:
    """A short checksum of anything that JSON holds."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def files_in(folder: Path) -> dict[str, OutputFile]:
    """All files of a folder, but hidden ones and the record."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not hidden and name.as_posix() != RECORD:
            found[name.as_posix()] = OutputFile.of(path)
    return found


def replace_folder(new: Path, old: Path, known: Mapping[str, OutputFile]) -> None:
    """Give a finished folder its name; files in the old one that no step wrote are kept.

    Args:
        known: The files that the step wrote into `old`.
    """
    aside = old.with_name(f".{old.name}.before")
    if aside.exists():
        shutil.rmtree(aside)
    if old.exists():
        os.replace(old, aside)  # noqa: PTH105 - says that it replaces
    os.replace(new, old)  # noqa: PTH105
    if aside.exists():
        _keep_others(aside, old, known)
        shutil.rmtree(aside)


def _keep_others(before: Path, now: Path, known: Mapping[str, OutputFile]) -> None:
    for path in sorted(before.rglob("*")):
        name = path.relative_to(before)
        if not path.is_file() or name.as_posix() in {*known, RECORD}:
            continue
        target = now / name
        if target.exists():
            target = target.with_name(f"{target.name}.before")
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)  # noqa: PTH105
