"""Parquet and Arrow files, by pyarrow.

`_storage` is the table that the rest of rootml sees, `_writer` its counterpart, `_types`
translates between Arrow's types and ours.
"""

from __future__ import annotations
