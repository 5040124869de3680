"""LLVM IR of a plan; every emitter shows the pseudo-code of what it generates.

`_code` is a thin layer over llvmlite; `_emit_block` puts the stages together: inputs, predicates,
trees, traversal, lanes, links. `_emit_lookup` and `_emit_gather` choose instructions by target.
Emitters depend only on the shape of a forest, never on its values, so that kernels are shared.
"""

from __future__ import annotations
