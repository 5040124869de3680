"""A trained morpher on disk: arrays and JSON, no pickle."""

from __future__ import annotations
