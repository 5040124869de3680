"""What a batch holds: from the columns of a partition to the rows of a batch.

`_inputs` is what users write (`Padded`, `Ragged`), `_layout` what becomes of it, `_compile` and
`_cast` fill the arrays. Nothing here knows in which order rows come.
"""

from __future__ import annotations
