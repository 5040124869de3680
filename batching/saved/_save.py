"""Writes one epoch of a loader to disk, part by part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from rootml._internal.atomic import atomic_path
from rootml._internal.progress import track
from rootml._internal.sizes import parse_bytes
from rootml._internal.validators import check_choice
from rootml.batching.adapters._source import BatchSource
from rootml.batching.inputs._batch import Batch, RaggedArray
from rootml.batching.saved._columns import join_columns, to_columns
from rootml.batching.saved._formats import FORMATS
from rootml.batching.saved._manifest import FILE, Manifest, Part, _spec_to_json
from rootml.errors import UsageError


class Saveable(BatchSource, Protocol):
    """A loader that can be saved."""

    def saving_key(self) -> dict[str, Any]:
        """Identifies the data, the selection and the order."""


def save(
    loader: Saveable,
    folder: str | os.PathLike[str],
    *,
    format: str,  # noqa: A002 - the word users know
    split: str | None,
    part_bytes: int | str,
    overwrite: bool,
    progress: bool | None,
) -> list[str]:
    """Save the next epoch of `loader`; see `BatchLoader.save`."""
    storage = check_choice("format", format, FORMATS)
    size = parse_bytes(part_bytes, "part_bytes")
    home = Path(folder) if split is None else Path(folder) / split
    spec = loader.spec
    FORMATS[storage].check(spec)
    home.mkdir(parents=True, exist_ok=True)
    key = {**loader.saving_key(), "epoch": loader.epoch, "spec": _spec_to_json(spec)}
    manifest = Manifest(key, storage, loader.name, spec)
    if overwrite:
        _remove(home)
    if (home / FILE).exists():
        manifest = _begun(home, manifest)
    if not manifest.complete:
        manifest = _write_rest(loader, home, manifest, size, progress)
    return [str(home / part.file) for part in manifest.parts]


def _remove(home: Path) -> None:
    """Remove what was saved, the manifest first: fewer parts may follow, and others may stop."""
    (home / FILE).unlink(missing_ok=True)
    suffixes = {f".{each.suffix}" for each in FORMATS.values()}
    for path in home.glob("part-*"):
        if path.suffix in suffixes and path.stem.removeprefix("part-").isdecimal():
            path.unlink()


def _begun(home: Path, wanted: Manifest) -> Manifest:
    """What was saved earlier, if it is the beginning of the same."""
    found = Manifest.read(home)
    same = _plain(found.key) == _plain(wanted.key) and found.storage == wanted.storage
    whole = all(
        (home / part.file).exists() and (home / part.file).stat().st_size == part.bytes
        for part in found.parts
    )
    if same and whole:
        return found
    reason = "other batches are saved there" if whole else "files of what is saved there changed"
    message = f"{str(home)!r}: {reason}; choose another folder, or overwrite=True"
    raise UsageError(message)


def _plain(key: Any) -> Any:
    """As JSON gives it back."""
    if isinstance(key, dict):
        return {name: _plain(value) for name, value in key.items()}
    return [_plain(value) for value in key] if isinstance(key, (list, tuple)) else key


def _write_rest(
    loader: Saveable, home: Path, manifest: Manifest, size: int, progress: bool | None
) -> Manifest:
    if manifest.state:
        loader.load_state_dict(manifest.state)
    write, suffix = FORMATS[manifest.storage].write, FORMATS[manifest.storage].suffix
    total = loader.batches_left()
    batches = loader.iterate()
    try:
        shown = track(batches, total=total, what="saving batches", enabled=progress)
        for group in _grouped(shown, manifest, size):
            name = f"part-{len(manifest.parts):05d}.{suffix}"
            columns = join_columns([to_columns(manifest.spec, batch) for batch in group])
            with atomic_path(home / name) as path:
                write(path, manifest.spec, columns)
            sizes = tuple(batch.num_rows for batch in group)
            part = Part(name, sizes, (home / name).stat().st_size)
            manifest = manifest.with_part(part, loader.state_dict())
            manifest.write(home)
    finally:
        batches.close()
    manifest = replace(manifest, complete=True)
    manifest.write(home)
    return manifest


def _grouped(batches: Iterator[Batch], manifest: Manifest, size: int) -> Iterator[list[Batch]]:
    """Batches of about `size` bytes together."""
    group: list[Batch] = []
    filled = 0
    for batch in batches:
        group.append(batch)
        for values in to_columns(manifest.spec, batch).values():
            filled += (values.values if isinstance(values, RaggedArray) else values).nbytes
        if filled >= size:
            yield group
            group, filled = [], 0
    if group:
        yield group
