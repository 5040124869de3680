"""Likelihoods and models as JSON, and back. Files know the classes, never the reverse."""

from __future__ import annotations
