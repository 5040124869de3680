"""Batches of a dataset for a training loop.

::

    loader = train.batches(batch_size=1024, shuffle=True, seed=1)
    for x, y, w in loader.torch(): ...

The rooms: `_loader` (the public class), `_epochs` (what the shards of a loader share), `_plan`,
`_shares`, `_walk` (which row comes when, by numbers alone), `_stream` (threads), `_stores`,
`_units`, `_spill` (where decoded rows wait), `_layout`, `_compile`, `_cast` (from columns to
rows), and one module per output.
"""

from __future__ import annotations

from rootml.batching._loader import BatchLoader
from rootml.batching._standardizer import Standardizer
from rootml.batching.inputs._batch import Batch, BatchSpec, InputSpec, PaddedArray, RaggedArray
from rootml.batching.inputs._inputs import Padded, Ragged
from rootml.batching.order._balance import Resample

__all__ = [
    "Batch",
    "BatchLoader",
    "BatchSpec",
    "InputSpec",
    "Padded",
    "PaddedArray",
    "Ragged",
    "RaggedArray",
    "Resample",
    "Standardizer",
]
