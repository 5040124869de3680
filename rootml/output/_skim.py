"""Writes skims: the selected events and columns of each input, in a file of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rootml.dataset._reader import EventBlock, Reader
from rootml.dataset._sample import Filter
from rootml.dataset._tasks import ReadTask, SelectedPartition, select_partitions
from rootml.errors import ClusterError
from rootml.execution._threads import map_partitions
from rootml.files._origin import Origin, record
from rootml.output._manifest import Finished, Manifest
from rootml.output._output_files import begin_job, check_format
from rootml.storage import ColumnType, open_writer

if TYPE_CHECKING:
    from rootml.dataset import Dataset

_KEY_ORIGIN = "skimmed_from"
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class _Job:
    """One file to write.

    Attributes:
        place: Numbers of the sample and of the input file in it.
        where: The input, for messages.
        chosen: Its partitions that have a selected event.
    """

    path: str
    tree: str
    place: tuple[int, int]
    where: str
    chosen: list[SelectedPartition]


@dataclass(frozen=True, slots=True)
class _WriteFile:
    """Writes one file, partition by partition, here or on a cluster."""

    reader: Reader
    types: dict[str, ColumnType]
    kind: str

    def __call__(self, job: _Job) -> Finished:
        return self.write(job, map(ReadTask(self.reader), job.chosen))

    def write(self, job: _Job, blocks: Iterable[EventBlock]) -> Finished:
        """Write these blocks; the file appears when it is complete."""
        note = _note(self.reader, *job.place)
        with open_writer(
            job.path, format=self.kind, tree=job.tree, columns=self.types, metadata=note
        ) as writer:
            for block in blocks:
                writer.write(block.columns)
        return Finished.of(job.path)


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
    mine: dict[tuple[int, int], list[SelectedPartition]] = {}
    for each in select_partitions(index, index.partitions):
        mine.setdefault((each.partition.sample, each.partition.file), []).append(each)
    paths, manifest = begin_job(
        "skim",
        folder,
        [(info.path, info.tree) for *_, info in inputs],
        format=kind,
        key=[data.fingerprint, tree],
        overwrite=overwrite,
    )
    try:
        jobs = []
        for path, (number, file, info) in zip(paths, inputs, strict=True):
            name = tree or info.tree.rpartition("/")[2] or "Events"
            chosen = mine.get((number, file), [])
            job = _Job(str(Path(path).absolute()), name, (number, file), info.where, chosen)
            if not manifest.has(path):
                jobs.append(job)
        _write_all(data._reader, types, kind, jobs, manifest, progress, threads)
    except BaseException:
        manifest.give_up()
        raise
    manifest.end()
    return paths


def _write_all(
    reader: Reader,
    types: dict[str, ColumnType],
    kind: str,
    jobs: list[_Job],
    manifest: Manifest,
    progress: bool | None,
    threads: int | None,
) -> None:
    """Files side by side where there are several, else the partitions of the only one."""
    work = _WriteFile(reader, types, kind)
    executor = reader.executor
    options: dict[str, Any] = {"threads": threads, "progress": progress, "what": "skimming"}
    if len(jobs) > 1:
        done = map_partitions(work, jobs, **options, executor=executor)
        for job, finished in zip(jobs, done, strict=True):
            if executor is not None:
                _check_visible(job.path, finished)
            manifest.add(job.path, finished)
        return
    for job in jobs:
        blocks = map_partitions(ReadTask(reader), job.chosen, **options, executor=executor)
        manifest.add(job.path, work.write(job, blocks))


def _check_visible(path: str, finished: Finished) -> None:
    """See that what a worker wrote is there; network file systems may need a moment.

    Raises:
        ClusterError: It is not.
    """
    until = time.monotonic() + _PATIENCE
    while not Path(path).exists() or Path(path).stat().st_size != finished.size:
        if time.monotonic() > until:
            message = (
                f"a worker wrote {path!r} ({finished.size:,} bytes), and it is not here: the "
                "folder must be on a file system that this process and all workers share"
            )
            raise ClusterError(message)
        time.sleep(0.1)


def _note(reader: Reader, number: int, file: int) -> dict[str, str]:
    """What the skim was made from and how."""
    sample = reader.samples[number]
    cuts = [cut.text if isinstance(cut, Filter) else cut.name for cut in sample.cuts]
    origin: dict[str, Any] = asdict(Origin.of(sample.files.table(file)))
    return record(None, cuts=cuts, **{_KEY_ORIGIN: origin})
