"""Likelihood ratios: learn, combine, fit, hand to RooFit."""

from __future__ import annotations

__all__: list[str] = []
