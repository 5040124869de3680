"""Values in types of JSON, which has no NaN and no infinity."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any


def jsonable(content: Any) -> Any:  # what JSON holds, nested
    """`content` in types of JSON: NumPy's numbers, paths, tuples, NaN and infinity replaced.

    >>> jsonable({"x": (1.0, float("nan"), -float("inf"))})
    {'x': [1.0, 'NaN', '-Infinity']}
    """
    if isinstance(content, Mapping):
        return {str(key): jsonable(value) for key, value in content.items()}
    if content is None or isinstance(content, (bool, int, str)):
        return content
    if isinstance(content, float):
        return float(content) if math.isfinite(content) else _not_finite(content)
    if isinstance(content, os.PathLike):
        return os.fspath(content)
    if hasattr(content, "tolist"):
        return jsonable(content.tolist())
    return [jsonable(item) for item in content]


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
