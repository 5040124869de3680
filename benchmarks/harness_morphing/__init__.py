"""What `benchmarks/morphing.py` is made of: peers, and measures that are not rootml's own."""

from __future__ import annotations
