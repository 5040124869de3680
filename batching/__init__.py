"""Batches of a dataset for a training loop.

::

    loader = train.batches(batch_size=1024, shuffle=True, seed=1)
    for x, y, w in loader.torch(): ...

`_loader` has the public class. `inputs/` turns columns into rows, `order/` computes which row
comes when, `rows/` reads and keeps rows, `adapters/` has one module per output, `saved/` keeps an
epoch on disk. A new output is a module in `adapters/` that takes a `BatchSource`, and a method of
`Outputs`.
"""

from __future__ import annotations

from rootml.batching._loader import BatchLoader
from rootml.batching._standardizer import Standardizer
from rootml.batching.inputs._batch import Batch, BatchSpec, InputSpec, PaddedArray, RaggedArray
from rootml.batching.inputs._inputs import Padded, Ragged
from rootml.batching.order._balance import Resample
from rootml.batching.saved._loader import SavedLoader
from rootml.batching.saved._loader import open_saved as open  # noqa: A004

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
    "SavedLoader",
    "Standardizer",
    "open",
]
