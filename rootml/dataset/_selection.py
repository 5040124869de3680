"""The selection index: which entries pass, and the sums of weights on the way there.

Found by one pass over the columns that cuts, splits, label and weight need; then every later read
knows where it has rows to fetch, epochs have an exact length, and no empty range is read again.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.atomic import atomic_path
from rootml.dataset._cutflow import Cutflow
from rootml.dataset._reader import Mask, PartScan, Reader
from rootml.dataset._tasks import SelectedPartition
from rootml.dataset._weight_sums import MANY, Label, Steps, Sums, add_sums, total
from rootml.errors import CorruptFileError, MissingFileError, StateError, UsageError
from rootml.files._files import verify_file
from rootml.partitions import Partition
from rootml.storage import Fingerprint

_FORMAT = 2
_DAMAGE = (ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile, OSError)
Key = tuple[int, int]
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class FileMask:
    """Which of the entries ``[start, stop)`` of a file pass, as packed bits."""

    start: int
    stop: int
    bits: npt.NDArray[np.uint8]

    def part(self, start: int, stop: int) -> Mask:
        """Entries ``[start, stop)`` as bools."""
        first, last = start - self.start, stop - self.start
        if not 0 <= first <= last <= self.stop - self.start:
            message = (
                f"entries {start} to {stop} were not scanned, {self.start} to {self.stop} were"
            )
            raise StateError(message)
        begin = first // 8
        mask = np.unpackbits(self.bits[begin : -(-last // 8)]).view(bool)
        return mask[first - 8 * begin : last - 8 * begin]

    @property
    def count(self) -> int:
        """How many of them pass."""
        size = self.stop - self.start
        whole = int(_ONES[self.bits[: size // 8]].sum(dtype=np.int64))
        return whole + int(np.unpackbits(self.bits[size // 8 :], count=size % 8).sum())


class Selection:
    """What a scan found, whatever the partitions; shared by all indices made from it.

    Attributes:
        key: What was scanned: files, cuts, label and weight.
        masks: By sample and file; None: there is no cut, everything passes.
        fingerprints: Fingerprints of the files by path.
    """

    def __init__(
        self,
        reader: Reader,
        key: str,
        masks: dict[Key, FileMask] | None,
        steps: list[Steps] | None,
        fingerprints: dict[str, Fingerprint],
    ) -> None:
        self.reader = reader
        self.key = key
        self.masks = masks
        self.fingerprints = fingerprints
        self._steps = steps

    @classmethod
    def scan(
        cls,
        reader: Reader,
        key: str,
        fingerprints: dict[str, Fingerprint],
        *,
        progress: bool | None,
        threads: int | None,
    ) -> Selection:
        """Evaluate all cuts over all entries."""
        if not any(sample.cuts for sample in reader.samples):
            return cls(reader, key, None, None, fingerprints)
        found: list[tuple[Partition, PartScan]] = []
        found += reader.scan_all(what="scanning", progress=progress, threads=threads)
        return cls(reader, key, _join(found), reader.sum_up(found), fingerprints)

    def steps(self, *, progress: bool | None = None, threads: int | None = None) -> list[Steps]:
        """Sums of weights per sample, after each cut, by label; without cuts one pass more."""
        if self._steps is None:
            self._steps = self.reader.count(
                what="summing weights", progress=progress, threads=threads
            )
        return self._steps

    def mask(self, partition: Partition) -> Mask | None:
        """Which entries of a partition pass; None: all."""
        if self.masks is None:
            return None
        key = (partition.sample, partition.file)
        if key not in self.masks:
            message = f"{partition.where}: was not scanned"
            raise StateError(message)
        return self.masks[key].part(partition.start, partition.stop)

    @cached_property
    def num_entries(self) -> int:
        """Entries in all, selected or not."""
        ranges = self.reader.ranges()
        return sum(stop - start for files in ranges for _, start, stop in files)

    @cached_property
    def num_rows(self) -> int:
        """Selected entries in all."""
        if self.masks is None:
            return self.num_entries
        return sum(mask.count for mask in self.masks.values())

    def verify(self) -> None:
        """See `SelectionIndex.verify`."""
        for path, known in self.fingerprints.items():
            if known.modified:
                verify_file(path, known)


def _join(found: Sequence[tuple[Partition, PartScan]]) -> dict[Key, FileMask]:
    parts: dict[Key, list[tuple[Partition, Any]]] = {}
    for partition, part in found:
        parts.setdefault((partition.sample, partition.file), []).append((partition, part.mask))
    return {
        key: FileMask(rows[0][0].start, rows[-1][0].stop, _join_bits(rows))
        for key, rows in parts.items()
    }


def _join_bits(rows: Sequence[tuple[Partition, Any]]) -> npt.NDArray[np.uint8]:
    """The packed bits of neighbours as one."""
    if any(partition.num_entries % 8 for partition, _ in rows[:-1]):
        bits = [np.unpackbits(mask, count=partition.num_entries) for partition, mask in rows]
        return np.packbits(np.concatenate(bits))
    return np.concatenate([mask for _, mask in rows])


class SelectionIndex:
    """Which entries of which partitions pass a selection."""

    def __init__(
        self,
        selection: Selection,
        divide: Callable[[], tuple[Partition, ...]],
        known: tuple[Partition, ...] | None = None,
    ) -> None:
        """`divide` makes the partitions, if they are not `known` and somebody asks for them."""
        self._selection = selection
        self._divide = divide
        self._partitions = known

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """Ranges of entries in the order of the dataset."""
        if self._partitions is None:
            self._partitions = self._divide()
        return self._partitions

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """Selected entries of each partition."""
        return np.array([self._count(partition) for partition in self.partitions], np.int64)

    def _count(self, partition: Partition) -> int:
        mask = self._selection.mask(partition)
        return partition.num_entries if mask is None else int(np.count_nonzero(mask))

    @property
    def key(self) -> str:
        """Identity of the selection: files, cuts, label and weight."""
        return self._selection.key

    @property
    def num_rows(self) -> int:
        """Selected entries in all."""
        return self._selection.num_rows

    @property
    def num_entries(self) -> int:
        """Entries in all, selected or not."""
        return self._selection.num_entries

    def mask(self, number: int) -> Mask | None:
        """Which entries of partition `number` pass, bool; None: there is no cut, all pass."""
        return self._selection.mask(self.partitions[number])

    def mask_of(self, partition: Partition) -> Mask | None:
        """Which entries of any partition of the scanned files pass; None: all.

        Raises:
            StateError: Entries that were not scanned.
        """
        return self._selection.mask(partition)

    def select(self, partition: Partition) -> SelectedPartition:
        """Any partition of the scanned files, with which of its entries pass: what is sent away.

        Raises:
            StateError: Entries that were not scanned.
        """
        mask = self._selection.mask(partition)
        return SelectedPartition(partition, None if mask is None else np.packbits(mask))

    def selected(self) -> list[SelectedPartition]:
        """The partitions that have a selected entry, in order."""
        found = map(self.select, self.partitions)
        return [each for each in found if each.bits is None or each.bits.any()]

    @property
    def labels(self) -> dict[float, Sums]:
        """Sums of weights of the selected events by label, empty without labels.

        Without cuts this reads label and weight when it is first asked for.

        Raises:
            UsageError: The label has more values than a class label can have.
        """
        found = self._by_label()
        if MANY in found:
            message = (
                "the label takes more values than classes would; for a regression open the data "
                "without label= and name the column as targets= of batches()"
            )
            raise UsageError(message)
        numbers = {
            math.nan if isinstance(label, str) else label: sums
            for label, sums in found.items()
            if label is not None
        }
        return dict(sorted(numbers.items()))

    @property
    def total(self) -> Sums:
        """Sums of weights of all selected events; as `labels`."""
        return total(self._by_label().values())

    def _by_label(self) -> dict[Label, Sums]:
        result: dict[Label, Sums] = {}
        for steps in self._selection.steps():
            result = add_sums(result, steps[-1])
        return result

    @property
    def cutflow(self) -> Cutflow:
        """Events and weights after each cut, per label."""
        return Cutflow.of(self._selection.reader.samples, self._selection.steps())

    # --- files --------------------------------------------------------------------------------

    def verify(self) -> None:
        """See that the local files that were scanned are still the same.

        Raises:
            ChangedFileError: One was written since.
            MissingFileError: One is gone.
        """
        self._selection.verify()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one file (NumPy ``.npz``, nothing executable), atomically."""
        selection = self._selection
        masks = selection.masks or {}
        content = {
            "format": _FORMAT,
            "key": selection.key,
            "all": selection.masks is None,
            "masks": [[*key, mask.start, mask.stop] for key, mask in masks.items()],
            "steps": _steps_to_json(selection.steps()),
            "fingerprints": {
                path: asdict(fingerprint) for path, fingerprint in selection.fingerprints.items()
            },
        }
        bits = [mask.bits for mask in masks.values()]
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez(
                stream,
                content=np.frombuffer(json.dumps(content).encode(), np.uint8),
                bits=np.concatenate(bits) if bits else np.zeros(0, np.uint8),
            )

    def __repr__(self) -> str:
        share = f" ({self.num_rows / self.num_entries:.1%})" if self.num_entries else ""
        return (
            f"<SelectionIndex: {self.num_rows:,} of {self.num_entries:,} entries{share} "
            f"in {len(self.partitions)} partitions>"
        )


def load_selection(path: str | os.PathLike[str], reader: Reader, key: str) -> Selection:
    """What `SelectionIndex.save` wrote, if it belongs to this selection of these files.

    Raises:
        MissingFileError: No such file.
        CorruptFileError: Not such a file, or damaged.
        StateError: It belongs to another selection.
        ChangedFileError: An input file was written since.
    """
    where = f"selection index {os.fspath(path)!r}"
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        message = f"no such file: {os.fspath(path)!r}"
        raise MissingFileError(message) from None
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as file:
            content, bits = json.loads(file["content"].tobytes()), file["bits"]
        selection = _from_json(content, bits, reader)
    except _DAMAGE as error:
        message = f"{where} is damaged, or not a selection index: {error!r}"
        raise CorruptFileError(message) from error
    selection.verify()
    if selection.key != key:
        message = (
            f"{where} belongs to another selection: other files, cuts, label or weight; remove it "
            "to scan anew"
        )
        raise StateError(message)
    return selection


def _from_json(content: Any, bits: npt.NDArray[np.uint8], reader: Reader) -> Selection:
    if content["format"] != _FORMAT:
        message = f"format {content['format']}, known is {_FORMAT}"
        raise ValueError(message)
    masks: dict[Key, FileMask] = {}
    at = 0
    for sample, file, start, stop in content["masks"]:
        size = -(-(stop - start) // 8)
        if not 0 <= start <= stop or at + size > len(bits):
            message = "masks and their lengths do not agree"
            raise ValueError(message)
        masks[int(sample), int(file)] = FileMask(start, stop, bits[at : at + size])
        at += size
    fingerprints = {
        path: Fingerprint(**fingerprint) for path, fingerprint in content["fingerprints"].items()
    }
    fingerprints = _where_they_are(fingerprints, reader)
    steps = _steps_from_json(content["steps"])
    return Selection(
        reader, content["key"], None if content["all"] else masks, steps, fingerprints
    )


def _where_they_are(
    fingerprints: dict[str, Fingerprint], reader: Reader
) -> dict[str, Fingerprint]:
    """`fingerprints` with the present paths of moved files, recognised as in `_identity`."""
    known = {
        path: fingerprint
        for sample in reader.samples
        for info in sample.files.infos()
        for path, fingerprint in info.fingerprints
    }
    today = {
        _file_identity(path, fingerprint): (path, fingerprint)
        for path, fingerprint in known.items()
    }
    return dict(
        (path, fingerprint)
        if path in known
        else today.get(_file_identity(path, fingerprint), (path, fingerprint))
        for path, fingerprint in fingerprints.items()
    )


def _file_identity(path: str, fingerprint: Fingerprint) -> tuple[str, int, str | int]:
    return Path(path).name, fingerprint.size, fingerprint.uuid or fingerprint.modified


def _steps_to_json(samples: Sequence[Steps]) -> Any:
    return [
        [
            [[label, s.count, s.sumw, s.sumw2, s.negative] for label, s in step.items()]
            for step in steps
        ]
        for steps in samples
    ]


def _steps_from_json(content: Any) -> list[Steps]:
    return [
        [
            {row[0]: Sums(int(row[1]), row[2], row[3], int(row[4])) for row in step}
            for step in steps
        ]
        for steps in content
    ]
