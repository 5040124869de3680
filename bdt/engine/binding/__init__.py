"""From IR to callable code: `_host` (this processor), `_jit`, `_cache`, and the engines.

`_llvm` is the compiled engine; `_numpy` the fallback without a compiler and the reference of the
tests. Only this room runs machine code or looks at addresses.
"""

from __future__ import annotations
