"""What the benchmark scripts share: data made on first use, engines in processes, measures."""

from __future__ import annotations
