"""Finished networks in a folder: one file for each member of an ensemble.

A file is a NumPy archive: the arrays, and one text in JSON in which ``{"array": k}`` stands for
the array number k. Dataclasses are told apart by the reader, who knows what it expects.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rootml._internal.atomic import atomic_path
from rootml.errors import CorruptFileError, StateError

_HEADER = "training.json"


class NetworkFiles:
    """The members that are finished, in a folder of one training.

    Args:
        folder: Made if it is not there.
        facts: What the networks depend on, as JSON; another training may not use the folder.
        restore: From what `plain` made of a member back to the member.

    Raises:
        StateError: The folder is of another training.
        CorruptFileError: The file that says which training it is of is damaged.
    """

    def __init__(
        self, folder: Path, facts: Mapping[str, Any], restore: Callable[[Any], Any]
    ) -> None:
        self._folder, self._restore = folder, restore
        folder.mkdir(parents=True, exist_ok=True)
        header = folder / _HEADER
        given = {key: _digest(value) for key, value in facts.items()}
        if not header.exists():
            with atomic_path(header) as temporary:
                temporary.write_text(json.dumps(given, indent=1), encoding="utf-8")
            return
        before = _read_facts(header)
        if changed := sorted(k for k in {*given, *before} if given.get(k) != before.get(k)):
            message = (
                f"{folder} holds networks of another training, whose {', '.join(changed)} "
                f"differ; use another folder"
            )
            raise StateError(message)

    def finished(self, members: int) -> dict[int, Any]:
        """The members that are there.

        Raises:
            CorruptFileError: A file is damaged.
        """
        return {m: self._read(self._path(m)) for m in range(members) if self._path(m).exists()}

    def write(self, member: int, networks: Any) -> None:
        """Keep a member; its file is either complete or not there."""
        arrays: list[Any] = []
        text = json.dumps(plain(networks, arrays)).encode()
        with atomic_path(self._path(member)) as temporary:
            np.savez(
                temporary, text=np.frombuffer(text, np.uint8),
                **{f"a{k}": each for k, each in enumerate(arrays)},
            )  # fmt: skip

    def _read(self, path: Path) -> Any:
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            text = json.loads(arrays.pop("text").tobytes())
            return self._restore(_with_arrays(text, arrays))
        except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile, EOFError) as error:
            message = f"{path}: not a finished network ({error}); delete it to train it again"
            raise CorruptFileError(message) from error

    def _path(self, member: int) -> Path:
        return self._folder / f"network-{member}.npz"


def _read_facts(header: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(header.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        message = f"{header}: not what a training writes ({error}); use another folder"
        raise CorruptFileError(message) from error


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, default=str, sort_keys=True).encode()).hexdigest()


def plain(value: Any, arrays: list[Any]) -> Any:
    """Lists, dicts, numbers and texts; arrays are put into `arrays`."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name), arrays) for f in fields(value)}
    if isinstance(value, list | tuple):
        return [plain(each, arrays) for each in value]
    if isinstance(value, Mapping):
        return {name: plain(each, arrays) for name, each in value.items()}
    return value


def _with_arrays(value: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"array"}:
            return arrays[f"a{value['array']}"]
        return {name: _with_arrays(each, arrays) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_arrays(each, arrays) for each in value]
    return value
