"""What all parts of rootml share: the only private modules that a part may import.

`optional` (packages that are extras), `reprs` and `progress` (what a user sees), `caches`,
`buffers`, `heap`, `sizes` and `atomic` (memory and files). Nothing here knows of datasets,
forests or likelihoods; add a helper here once a second room needs it.
"""

from __future__ import annotations
