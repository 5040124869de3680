"""From IR to callable code: target processor, compilation, caches, input pointers.

`_numpy` is the fallback without a compiler and the reference of the tests.
"""

from __future__ import annotations
