"""What is written: skims, friend trees, and the manifest that makes both resumable.

A file appears under its name only when it is whole. `_skim` and `_friend_writer` are opened by
methods of `Dataset`; `_friend_values` joins the values of a user to entries of the files.
"""

from __future__ import annotations

from rootml.output._friend_values import as_column

__all__ = ["as_column"]
