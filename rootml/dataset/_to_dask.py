"""A dataset as a dask-awkward array, for those who want to go on there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import awkward as ak

from rootml._internal.optional import optional_import
from rootml.dataset._columns import record_array
from rootml.dataset._reader import Reader
from rootml.partitions import DEFAULT_BYTES, Partition

if TYPE_CHECKING:
    from dask_awkward.lib.core import Array as DaskArray


@dataclass(frozen=True, slots=True)
class _Records:
    """The selected events of a partition as one record array."""

    reader: Reader

    def __call__(self, partition: Partition) -> ak.Array:
        block = self.reader.block(partition)
        return record_array(block.columns, block.num_rows)


def to_dask(reader: Reader) -> DaskArray:
    """See `Dataset.to_dask`."""
    optional_import("dask", feature="Dataset.to_dask()", extra="dask")
    dask_awkward = optional_import("dask_awkward", feature="Dataset.to_dask()", extra="dask")
    reader.find_scales()
    empty = record_array(reader.empty_block().columns, 0)
    meta = ak.Array(empty.layout.to_typetracer(forget_length=True))
    partitions = reader.partitions(DEFAULT_BYTES)
    if not partitions:
        lazy: DaskArray = dask_awkward.from_awkward(empty, npartitions=1)
    else:
        parts = list(partitions)
        lazy = dask_awkward.from_map(_Records(reader), parts, meta=meta, label="rootml")
    return lazy
