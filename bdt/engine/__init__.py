"""Engines that score a forest: compiled kernels, and NumPy as reference and fallback.

`tables` turns a `Forest` into flat arrays (NumPy only); `codegen` writes LLVM IR that reads these
arrays; `binding` compiles the IR, caches the machine code and calls it. Each imports only the ones
before it. `_target` names the instruction sets. Outside, only `Model` uses `binding`.
"""

from __future__ import annotations
