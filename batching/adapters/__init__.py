"""One module for each library that takes batches; each imports its library when used.

To add one, write `_name.py` with a function of a `BatchLoader`, and a method of the loader.
"""

from __future__ import annotations
