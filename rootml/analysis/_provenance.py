"""What a file of ours says it was made from, whatever its format."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rootml._internal.optional import optional_import
from rootml._internal.provenance import KEY
from rootml.analysis._record import RECORD
from rootml.errors import CorruptFileError, MissingFileError
from rootml.files._origin import read_record

Facts = dict[str, Any]
_PNG = b"\x89PNG\r\n\x1a\n"
_TABLES = (b"root", b"PAR1", b"ARRO")


def provenance(path: str | os.PathLike[str]) -> Facts:
    """What a file, or the folder of a step of ``rootml run``, says it was made from.

    Friend trees, skims, ratios and likelihoods always hold the versions that made them, friend
    trees their input file (``"origin"``). What ``rootml run`` wrote holds the step, its seed, the
    checksum of the analysis file and the git commit as well; ratios name the files of all samples,
    and the folder of a step has all of it. In a script of your own, `stamped` adds what you like.

    Args:
        path: A ROOT, Parquet, Arrow, ONNX, JSON or PNG file; or a folder with a `provenance.json`.

    Returns:
        The facts; none, for a file that says nothing.

    Raises:
        MissingFileError: No such file or folder.
        CorruptFileError: What it says is damaged.

    >>> import pyarrow as pa, pyarrow.parquet, rootml
    >>> from rootml.analysis import stamped
    >>> pa.parquet.write_table(pa.table({"pt": [10.0, 60.0]}), "in.parquet")
    >>> with stamped(seed=7):
    ...     paths = rootml.open("in.parquet").write_friend("friends", {"score": [0.5, 0.75]})
    >>> found = provenance(paths[0])
    >>> found["seed"], found["origin"]["path"], sorted(found["software"])
    (7, 'in.parquet', ['python', 'rootml'])
    """
    place = Path(path)
    if not place.exists():
        message = f"{place}: no such file or folder"
        raise MissingFileError(message)
    try:
        if place.is_dir():
            return _of_folder(place)
        with place.open("rb") as stream:
            head = stream.read(8)
        return dict(_reader(head)(place))
    except (ValueError, TypeError, AttributeError, struct.error) as error:
        message = f"{place}: what it says about its making is damaged: {error}"
        raise CorruptFileError(message) from error


def _reader(head: bytes) -> Callable[[Path], Facts]:
    if head[:4] in _TABLES:
        return _of_table
    if head == _PNG:
        return _of_png
    return _of_json if head.lstrip()[:1] in {b"{", b""} else _of_onnx


def _of_folder(folder: Path) -> Facts:
    file = folder / RECORD
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def _of_table(path: Path) -> Facts:
    found = read_record(str(path))
    return {**found.pop(KEY, {}), **found}


def _of_json(path: Path) -> Facts:
    """Of our own JSON, or of a model of XGBoost that `rootml run` trained."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if KEY in content:
        return dict(content[KEY])
    ours = content.get("misc", {}).get("rootml", {})  # of a likelihood
    if KEY in ours:
        return dict(ours[KEY])
    with suppress(KeyError, TypeError):
        return dict(json.loads(content["learner"]["attributes"]["rootml"]))
    return {}


def _of_onnx(path: Path) -> Facts:
    onnx = optional_import("onnx", feature="provenance() of ONNX files", extra="onnx")
    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except Exception:  # noqa: BLE001 - protobuf has errors of its own; not an ONNX file says nothing
        return {}
    texts = {entry.key: entry.value for entry in model.metadata_props}
    return dict(json.loads(texts.get(KEY) or texts.get("rootml") or "{}"))


def _of_png(path: Path) -> Facts:
    """The comment; a PNG file is chunks of length, kind, content and checksum."""
    data, place = path.read_bytes(), len(_PNG)
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        key, _, text = data[place + 8 : place + 8 + size].partition(b"\0")
        if kind == b"tEXt" and key == b"Comment":
            return dict(json.loads(text.decode("latin-1")))
        place += 12 + size
    return {}
