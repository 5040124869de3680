"""Where decoded rows are kept: streamed, in memory, or spilled to disk.

`_epoch_source` is what all shards of a loader share, `_stream` runs the threads, `_stores`,
`_units` and `_spill` hold rows.
"""

from __future__ import annotations
