"""Files of every format whose every value follows from the event's id.

So a batch is checked row by row against the ids it carries, and an epoch against the set of ids
that plain Python selects: neither goes through rootml.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import uproot

from rootml.batching import Batch, PaddedArray, RaggedArray

FORMATS = ("ttree", "rntuple", "parquet", "arrow")
FILE_ROWS = ((700, 1301, 90), (1000, 811))
"""Events per file, for the files of background (label 0) and of signal (label 1)."""
NUM_BACKGROUND = sum(FILE_ROWS[0])
NUM_EVENTS = sum(map(sum, FILE_ROWS))
CLUSTER = 250

Ids = npt.NDArray[np.int64]


def columns_of(ids: Ids) -> dict[str, Any]:
    """All columns of the events with these ids."""
    counts = ids % 4
    index = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    owner = np.repeat(ids, counts)
    return {
        "id": ids,
        "x": (ids * 0.5).astype(np.float32),
        "y": ids / 3.0,
        "k": (ids % 7).astype(np.int32),
        "flag": ids % 3 == 0,
        "weight": (1.0 + (ids % 5) - 1.5 * (ids % 11 == 0)).astype(np.float32),
        "jet": ak.unflatten((owner + 0.25 * index).astype(np.float32), counts),
        "tag": ak.unflatten((owner % 13 - index).astype(np.int32), counts),
    }


def _write_root(path: Path, ids: Ids, *, rntuple: bool) -> None:
    with uproot.recreate(path) as file:
        writer = None
        for start in range(0, len(ids), CLUSTER):
            part = columns_of(ids[start : start + CLUSTER])
            if writer is None:
                types = {name: ak.type(values).content for name, values in part.items()}
                if rntuple:
                    writer = file.mkrntuple("Events", ak.Array(part).layout.form)
                else:
                    writer = file.mktree("Events", types)
            writer.extend(ak.Array(part) if rntuple else part)


def _write_arrow(path: Path, ids: Ids) -> None:
    part = columns_of(ids)
    table = pa.table(
        {
            name: ak.to_arrow(ak.Array(values), extensionarray=False)
            for name, values in part.items()
        }
    )
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path, row_group_size=CLUSTER)
    else:
        pyarrow.feather.write_feather(table, path, chunksize=CLUSTER, compression="zstd")


def write_events(path: Path, ids: Ids, format_: str) -> str:
    """Write the events and return the path as `rootml.open` takes it."""
    if format_ in {"ttree", "rntuple"}:
        _write_root(path.with_suffix(".root"), ids, rntuple=format_ == "rntuple")
        return f"{path.with_suffix('.root')}:Events"
    target = path.with_suffix(".parquet" if format_ == "parquet" else ".arrow")
    _write_arrow(target, ids)
    return str(target)


@dataclass(frozen=True)
class Checked:
    """Ids of the batches of an epoch, each checked against its columns."""

    batches: list[Ids]

    @property
    def ids(self) -> Ids:
        return np.concatenate(self.batches) if self.batches else np.empty(0, np.int64)


def check_batch(batch: Batch) -> Ids:
    """Check every value of a batch with inputs x, y, k (and lists), observer id."""
    assert batch.observers is not None
    ids: Ids = batch.observers["id"]
    assert ids.dtype == np.int64
    assert len(ids) == batch.num_rows
    expected = columns_of(ids)
    flat = batch.x["event"] if isinstance(batch.x, dict) else batch.x
    assert isinstance(flat, np.ndarray)
    wanted = np.stack([expected["x"], expected["y"].astype(np.float32), expected["k"]], axis=1)
    np.testing.assert_array_equal(flat, wanted.astype(np.float32))
    np.testing.assert_array_equal(batch.y, (ids >= NUM_BACKGROUND).astype(np.float32))
    np.testing.assert_array_equal(batch.w, expected["weight"])
    if isinstance(batch.x, dict):
        check_lists(batch.x, expected)
    return ids


def check_lists(inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    """Check padded and ragged inputs of jet and tag."""
    for value in inputs.values():
        if isinstance(value, PaddedArray):
            length = value.values.shape[1]
            for j, name in enumerate(("jet", "tag")):
                padded = ak.fill_none(ak.pad_none(expected[name], length, clip=True), -1)
                np.testing.assert_array_equal(value.values[:, :, j], ak.to_numpy(padded))
            places = np.arange(length) < ak.to_numpy(ak.num(expected["jet"]))[:, None]
            np.testing.assert_array_equal(value.mask, places)
        if isinstance(value, RaggedArray):
            counts = ak.to_numpy(ak.num(expected["jet"]))
            np.testing.assert_array_equal(np.diff(value.offsets), counts)
            for j, name in enumerate(("jet", "tag")):
                np.testing.assert_array_equal(value.values[:, j], ak.flatten(expected[name]))


def check_epoch(batches: Iterator[Batch]) -> Checked:
    """Check all batches of an epoch."""
    return Checked([check_batch(batch).copy() for batch in batches])


def in_turn(parts: list[list[Ids]]) -> list[Ids]:
    """The batches of several workers, taken in turn as torch's DataLoader does."""
    total = sum(map(len, parts))
    return [parts[i % len(parts)][i // len(parts)] for i in range(total)]
