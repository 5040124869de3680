"""Sizes in bytes as people write them: those of the core."""

from __future__ import annotations

from rootml._internal.sizes import format_bytes, parse_bytes

__all__ = ["format_bytes", "parse_bytes"]
