"""Can the ratios and the fit be trusted? Checks on held-out events, and their report."""

from __future__ import annotations
