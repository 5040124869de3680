"""What `benchmarks/bdt.py` is made of: models, engines, timing, the report."""

from __future__ import annotations
