"""What all parts of rootml share: the only private modules that a part may import.

`optional` (packages that are extras), `validators` (checks of options), `reprs` and `progress`
(what a user sees), `statistics` and `types` (weighted samples, arrays), `caches`, `buffers`,
`heap`, `sizes`, `urls` and `atomic` (memory and files). Nothing here knows of datasets, forests
or likelihoods; add a helper here once a second room needs it.
"""

from __future__ import annotations
