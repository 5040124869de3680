"""How well it closes: tests and distances of weighted samples, and the report."""

from __future__ import annotations
