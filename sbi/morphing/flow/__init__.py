"""The normalising flow: layers, splines, their compiled form, and training."""

from __future__ import annotations
