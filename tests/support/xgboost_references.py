"""Models that older and newer versions of XGBoost wrote, with their own predictions.

`make_xgboost_models` made the files and says what they hold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parents[1] / "bdt" / "data"


def stored(version: str) -> dict[str, NDArray[Any]]:
    """All arrays of the file of one version."""
    with np.load(DATA / f"xgboost-{version}.npz") as file:
        return dict(file)


def model_bytes(kept: dict[str, NDArray[Any]], name: str) -> bytes:
    """A model as XGBoost saved it, JSON or UBJSON."""
    return kept[f"{name}.ubj" if f"{name}.ubj" in kept else f"{name}.json"].tobytes()


def names(kept: dict[str, NDArray[Any]]) -> list[str]:
    """The models of a file."""
    return sorted({key.split(".")[0] for key in kept})
