"""What a user holds: `Dataset`, its samples, cuts, columns, splits and selection index.

`_dataset` is the public class; `_sample` holds the arguments of `rootml.open`, `_resolved_sample`
adds the columns of its files; `_reader` reads partitions, `_selection` and `_scan_cache` find
which events pass. `_tasks` is what is sent to threads and clusters.
"""

from __future__ import annotations

from rootml._internal.event_hash import check_by, hash_ids, hash_text
from rootml.dataset._dataset import Dataset
from rootml.dataset._dependencies import Dependencies
from rootml.dataset._reader import EventBlock
from rootml.dataset._sample import Sample
from rootml.dataset._selection import SelectionIndex
from rootml.dataset._splits import check_seed
from rootml.dataset._tasks import ReadTask, SelectedPartition
from rootml.dataset._weight_sums import Sums
from rootml.partitions import Partition

__all__ = [
    "Dataset",
    "Dependencies",
    "EventBlock",
    "Partition",
    "ReadTask",
    "Sample",
    "SelectedPartition",
    "SelectionIndex",
    "Sums",
    "check_by",
    "check_seed",
    "hash_ids",
    "hash_text",
]
