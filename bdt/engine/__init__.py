"""Engines that score a forest: compiled kernels, and NumPy as reference and fallback."""

from __future__ import annotations
