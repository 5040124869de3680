"""Writes skims: the selected events and columns of each input, in a file of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rootml.dataset import Dataset, EventBlock, ReadTask, Sample, SelectedPartition
from rootml.dataset._sample import Filter
from rootml.errors import ClusterError
from rootml.execution import Cost, Executor, map_tasks
from rootml.files._origin import Origin, record
from rootml.output._manifest import Finished, Manifest
from rootml.output._output_files import begin_job, check_format, refuse_existing
from rootml.storage import ColumnType, open_writer

_KEY_ORIGIN = "skimmed_from"
_MAX_WAIT = 10.0


@dataclass(frozen=True, slots=True)
class _Job:
    """One file to write.

    Attributes:
        sample, file: Numbers of the sample and of the input file in it.
        where: The input, for messages.
        selected: Its partitions that have a selected event.
    """

    path: str
    tree: str
    sample: int
    file: int
    where: str
    selected: list[SelectedPartition]

    @property
    def cost(self) -> Cost:
        """What reading it is expected to take."""
        return Cost.total(each.cost for each in self.selected)


@dataclass(frozen=True, slots=True)
class _WriteFile:
    """Writes one file, partition by partition, here or on a cluster."""

    read: ReadTask
    samples: tuple[Sample, ...]
    types: dict[str, ColumnType]
    kind: str

    def __call__(self, job: _Job) -> Finished:
        return self.write(job, map(self.read, job.selected))

    def write(self, job: _Job, blocks: Iterable[EventBlock]) -> Finished:
        """Write these blocks; the file appears when it is complete."""
        note = _note(self.samples[job.sample], job.file)
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
    types = data.types()
    inputs = [
        (number, file, info)
        for number, sample in enumerate(data.samples)
        for file, info in enumerate(sample.files.infos(threads=threads))
    ]
    kind = check_format(format, [info.format for *_, info in inputs])
    names = [(info.path, info.tree) for *_, info in inputs]
    refuse_existing(folder, names, format=kind, overwrite=overwrite)
    index = data.scan(progress=progress, threads=threads)
    mine: dict[tuple[int, int], list[SelectedPartition]] = {}
    for each in index.selected():
        mine.setdefault((each.partition.sample, each.partition.file), []).append(each)
    paths, manifest = begin_job(
        "skim",
        folder,
        names,
        format=kind,
        key=[data.fingerprint, tree],
        overwrite=overwrite,
    )
    try:
        jobs = []
        for path, (number, file, info) in zip(paths, inputs, strict=True):
            name = tree or info.tree.rpartition("/")[2] or "Events"
            selected = mine.get((number, file), [])
            job = _Job(str(Path(path).absolute()), name, number, file, info.where, selected)
            if not manifest.has(path):
                jobs.append(job)
        work = _WriteFile(data.read_task(), data.samples, types, kind)
        _write_all(work, jobs, manifest, data.executor, threads=threads, progress=progress)
    except BaseException:
        manifest.give_up()
        raise
    manifest.end()
    return paths


def _write_all(
    work: _WriteFile,
    jobs: list[_Job],
    manifest: Manifest,
    executor: Executor | None,
    *,
    threads: int | None,
    progress: bool | None,
) -> None:
    """Files side by side where there are several, else the partitions of the only one."""
    run = partial(
        map_tasks, threads=threads, progress=progress, what="skimming", executor=executor
    )
    if len(jobs) > 1:
        done = run(work, jobs)
        for job, finished in zip(jobs, done, strict=True):
            if executor is not None:
                _check_visible(job.path, finished)
            manifest.add(job.path, finished)
        return
    for job in jobs:
        manifest.add(job.path, work.write(job, run(work.read, job.selected)))


def _check_visible(path: str, finished: Finished) -> None:
    """See that what a worker wrote is there; network file systems may need a moment.

    Raises:
        ClusterError: It is not.
    """
    until = time.monotonic() + _MAX_WAIT
    while not Path(path).exists() or Path(path).stat().st_size != finished.size:
        if time.monotonic() > until:
            message = (
                f"a worker wrote {path!r} ({finished.size:,} bytes), and it is not here: the "
                "folder must be on a file system that this process and all workers share"
            )
            raise ClusterError(message)
        time.sleep(0.1)


def _note(sample: Sample, file: int) -> dict[str, str]:
    """What the skim was made from and how."""
    cuts = [cut.text if isinstance(cut, Filter) else cut.name for cut in sample.cuts]
    origin: dict[str, Any] = asdict(Origin.of(sample.files.table(file)))
    return record(None, cuts=cuts, **{_KEY_ORIGIN: origin})
