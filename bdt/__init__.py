"""Decision forests: read, compile, predict, export."""

from __future__ import annotations

from rootml.bdt._forest import Forest

__all__ = ["Forest"]
