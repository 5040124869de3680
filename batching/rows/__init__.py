"""Where decoded rows are kept: streamed, in memory, or spilled to disk.

`_epoch_source` is what all shards of a loader share: `_unit_index` (which rows), `_decoder` (how
they are read), `_shuffle_policy` (how they are mixed), `_row_cache` (where they are kept).
`_pipeline` runs the threads; `_stores`, `_units` and `_spill` hold rows.
"""

from __future__ import annotations
