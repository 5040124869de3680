"""One module for each library that takes batches; each imports its library when used.

To add one, write `_name.py` with a function of a `BatchSource`, and a method of `Outputs`.
"""

from __future__ import annotations
