"""One writer per format, each from a `Forest`."""

from __future__ import annotations

__all__: list[str] = []
