"""Flows that carry simulation onto data."""

from __future__ import annotations

__all__: list[str] = []
