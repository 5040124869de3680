"""How fast a forest is here: ours, and where it can be, the library that trained it.

::

    rows:   random; of each feature thresholds and what lies between and beyond them, some NaN
    each engine in its turn, several times over; the median counts
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rootml.bdt import Forest

_MISSING = 0.02
_TIES = 0.1
_WARM = 1000


@dataclass(frozen=True, slots=True)
class Speed:
    """What one engine needs.

    Attributes:
        seconds: For all rows, of each turn.
        equal: Whether its margins are ours, bit by bit; None: it is ours.
    """

    name: str
    rows: int
    seconds: list[float]
    equal: bool | None = None

    @property
    def ns(self) -> float:
        """Nanoseconds per row, the median."""
        return statistics.median(self.seconds) / self.rows * 1e9


def random_rows(forest: Forest, count: int, *, seed: int = 0) -> NDArray[Any]:
    """Rows that go everywhere in a forest: `(count, features)` of its input dtype."""
    rng = np.random.default_rng(seed)
    rows = np.empty((count, forest.num_features), forest.input_dtype)
    tests = forest.feature >= 0
    for number in range(forest.num_features):
        mine = tests & (forest.feature == number)
        sets = mine & (forest.category >= 0)
        if sets.any():
            largest = int(forest.category_values.max(initial=0))
            rows[:, number] = rng.integers(0, largest + 2, count)
        else:
            edges = np.unique(forest.threshold[mine])
            rows[:, number] = _between(edges[np.isfinite(edges)].astype(np.float64), count, rng)
        if forest.allow_nan:
            rows[rng.random(count) < _MISSING, number] = np.nan
    return rows


def _between(edges: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[Any]:
    if not len(edges):
        return rng.normal(size=count)
    span: float = max(float(edges[-1] - edges[0]), abs(float(edges[0])), 1.0)
    known = np.concatenate([[edges[0] - 0.1 * span], edges, [edges[-1] + 0.1 * span]])
    lower = rng.integers(0, len(known) - 1, count)
    found: NDArray[np.float64] = known[lower] + rng.random(count) * (
        known[lower + 1] - known[lower]
    )
    ties = rng.random(count) < _TIES
    found[ties] = rng.choice(edges, int(ties.sum()))
    return found


def in_turns(
    scores: dict[str, Callable[[NDArray[Any]], Any]], rows: NDArray[Any], turns: int
) -> list[Speed]:
    """Time each of `scores`; the first is ours, with which the others are compared."""
    few = rows[:_WARM]
    results = {name: np.asarray(score(few)) for name, score in scores.items()}
    seconds: dict[str, list[float]] = {name: [] for name in scores}
    for _ in range(turns):
        for name, score in scores.items():
            start = time.perf_counter()
            score(rows)
            seconds[name].append(time.perf_counter() - start)
    ours = next(iter(scores))
    return [
        Speed(name, len(rows), spent, None if name == ours else _equal(results, ours, name))
        for name, spent in seconds.items()
    ]


def _equal(results: dict[str, NDArray[Any]], one: str, other: str) -> bool:
    mine, theirs = results[one], results[other]
    same = mine.dtype == theirs.dtype and mine.tobytes() == theirs.reshape(mine.shape).tobytes()
    return bool(same)


def peer(forest: Forest, path: Path, threads: int) -> Callable[[NDArray[Any]], Any] | None:
    """Margins by XGBoost itself, if it is its model and it is installed."""
    if forest.library != "xgboost" or importlib.util.find_spec("xgboost") is None:
        return None
    import xgboost

    booster = xgboost.Booster({"nthread": threads}, model_file=path)
    options: dict[str, Any] = {"missing": forest.missing, "validate_features": False}
    return lambda rows: booster.inplace_predict(rows, predict_type="margin", **options)
