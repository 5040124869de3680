"""An epoch on disk: `_save` writes it part by part, `_loader` gives its batches again.

`_columns` turns batches into named columns and back, `_formats` writes and reads columns, one
function each per format, `_manifest` says what was saved.
"""

from __future__ import annotations
