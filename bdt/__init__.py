"""Decision forests: read, compile, predict, export."""

from __future__ import annotations

__all__: list[str] = []
