"""TTree: branches, baskets, and a parser for what a header says about them.

`_storage` is the table that the rest of rootml sees, `_writer` its counterpart. Whatever
`_baskets` does not know is left to uproot's own interpretation.
"""

from __future__ import annotations
