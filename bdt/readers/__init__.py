"""One reader per format, each from the bytes or objects of a library to a `Forest`.

Files come from others: sizes and indices are checked before they are used, no library is asked to
parse them, and what a `Forest` cannot represent is an `UnsupportedModelError` that names it.
"""

from __future__ import annotations

__all__: list[str] = []
