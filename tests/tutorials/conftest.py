"""Modules beside the tutorials (`page`, `collisions`, ...) can be imported, as scripts can."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tutorials"))
