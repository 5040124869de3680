"""LLVM IR of a plan. Each emitter shows the pseudo-code of what it generates."""

from __future__ import annotations
