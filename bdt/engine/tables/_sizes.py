"""Sizes that tables and kernels share."""

from __future__ import annotations

BLOCK = 512
"""Events that are evaluated at once: one bit of a mask each."""
MASK_BYTES = BLOCK // 8
"""Bytes of a mask."""
