"""The toy of arXiv:2403.18582, which the tests have too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from morphing_toy import CONDITIONS, FEATURES, GAPS, Kind, toy, write_toy

__all__ = ["CONDITIONS", "FEATURES", "GAPS", "Kind", "toy", "write_toy"]
