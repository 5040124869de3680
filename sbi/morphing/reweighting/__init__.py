"""Weights that carry the conditions of the simulation onto those of the data."""

from __future__ import annotations
