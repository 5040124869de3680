"""Decision forests: read, compile, predict, export."""

from __future__ import annotations

from rootml.bdt._forest import Forest
from rootml.bdt._load import load

__all__ = ["Forest", "load"]
