"""Writes skims: the selected events and columns of each input, in a file of its own."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from rootml._origin import Origin, record
from rootml._outfiles import check_format, output_paths
from rootml._sample import Filter
from rootml._threads import check_threads, map_ordered, map_partitions
from rootml.partitions import Partition
from rootml.storage import ColumnType, open_writer

if TYPE_CHECKING:
    from rootml._selection import SelectionIndex
    from rootml.dataset import Dataset

_KEY_ORIGIN = "skimmed_from"


def skim(
    data: Dataset,
    folder: str | os.PathLike[str],
    *,
    format: str | None,  # noqa: A002 - the word users know
    tree: str | None,
    overwrite: bool,
    progress: bool | None,
    threads: int | None,
) -> list[str]:
    """See `Dataset.skim`."""
    index = data.scan(progress=progress, threads=threads)
    types = data.types()
    inputs = [
        (number, file, info)
        for number, sample in enumerate(data.samples)
        for file, info in enumerate(sample.files.infos(threads=threads))
    ]
    kind = check_format(format, [info.format for *_, info in inputs])
    paths = output_paths(
        folder,
        [(info.path, info.tree) for *_, info in inputs],
        format=kind,
        overwrite=overwrite,
    )
    jobs = []
    for path, (number, file, info) in zip(paths, inputs, strict=True):
        name = tree or info.tree.rpartition("/")[2] or "Events"
        mine = [p for p in index.partitions if (p.sample, p.file) == (number, file)]
        jobs.append((path, name, (number, file), mine))
    # files side by side where there are several, else the partitions of the only one
    inner = 1 if len(jobs) > 1 else check_threads(threads)
    work = partial(_write, data, index, types, kind, inner)
    for _ in map_partitions(work, jobs, threads=threads, progress=progress, what="skimming"):
        pass
    return paths


def _write(
    data: Dataset,
    index: SelectionIndex,
    types: dict[str, ColumnType],
    kind: str,
    threads: int,
    job: tuple[str, str, tuple[int, int], list[Partition]],
) -> None:
    """One file."""
    path, tree, place, partitions = job
    note = _note(data, *place)
    partitions = [p for p in partitions if _any(index, p)]
    read = partial(data.read, index=index)
    with open_writer(path, format=kind, tree=tree, columns=types, metadata=note) as writer:
        for block in map_ordered(read, partitions, threads=threads):
            writer.write(block.columns)


def _any(index: SelectionIndex, partition: Partition) -> bool:
    mask = index.mask_of(partition)
    return mask is None or bool(mask.any())


def _note(data: Dataset, number: int, file: int) -> dict[str, str]:
    """What the skim was made from and how."""
    sample = data.samples[number]
    cuts = [cut.text if isinstance(cut, Filter) else cut.name for cut in sample.cuts]
    origin: dict[str, Any] = asdict(Origin.of(sample.files.table(file)))
    return record(None, cuts=cuts, **{_KEY_ORIGIN: origin})
