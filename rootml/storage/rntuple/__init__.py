"""RNTuple: pages of columns, read directly where that is exact, else by uproot.

`_storage` is the table that the rest of rootml sees, `_writer` its counterpart.
"""

from __future__ import annotations
