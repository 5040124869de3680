"""The five forests of the benchmark, trained once with XGBoost and kept in `benchmarks/data/bdt`.

Made-up events with the shapes of real inputs: Gaussians, transverse momenta, angles, skewed
sums; class and target depend on products of them, so that trees are full.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[1] / "data" / "bdt"
CATEGORIES = {12: 8, 13: 40, 14: 100, 15: 4}
"""Model E: column and number of its categories."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """How a forest is trained."""

    text: str
    features: int
    trees: int
    depth: int
    rows: int
    rate: float = 0.1
    missing: float = 0.0
    classes: int = 2
    categories: bool = False


SPECS = {
    "A": Spec(text="100 trees x depth 3", features=10, trees=100, depth=3, rows=200_000),
    "B": Spec(text="500 x 6", features=28, trees=500, depth=6, rows=400_000),
    "C": Spec(
        text="1000 x 8, 8 % missing", features=50, trees=1000, depth=8, rows=300_000,
        rate=0.05, missing=0.08,
    ),
    "D": Spec(
        text="5 classes x 200 x 5", features=20, trees=200, depth=5, rows=300_000, classes=5
    ),
    "E": Spec(
        text="300 x 6, 4 categorical", features=16, trees=300, depth=6, rows=200_000, rate=0.3,
        categories=True,
    ),
}  # fmt: skip


def events(spec: Spec, count: int, *, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Columns, shape (count, features), and labels."""
    rng = np.random.default_rng(seed)
    x = np.empty((count, spec.features), np.float32)
    shapes = (
        lambda: rng.normal(0, 1, count),
        lambda: rng.exponential(30, count),
        lambda: rng.uniform(-3.2, 3.2, count),
        lambda: rng.gamma(3, 1, count),
    )
    for column in range(spec.features):
        x[:, column] = shapes[column % 4]()
    y = _labels(x, spec, rng)
    if spec.categories:
        for column, number in CATEGORIES.items():
            x[:, column] = rng.integers(0, number, count)
        second, third = x[:, 13].astype(int), x[:, 14].astype(int)
        y = y ^ (second * 7919 % 13 > 8) ^ (third * 31 % 17 > 11)
    if spec.missing:
        x[rng.random(x.shape) < spec.missing] = np.nan
    return x, y


def _labels(x: NDArray[np.float32], spec: Spec, rng: np.random.Generator) -> NDArray[np.int64]:
    weights = np.random.default_rng(99 + spec.features)
    outputs = spec.classes if spec.classes > 2 else 1
    z = (x - x.mean(0)) / x.std(0)
    scores = np.zeros((len(x), outputs))
    for output in range(outputs):
        scores[:, output] = z @ weights.normal(0, 1, spec.features) * 0.4
        for _ in range(2 * spec.features):
            a, b = weights.integers(0, spec.features, 2)
            scores[:, output] += 0.35 * weights.normal() * z[:, a] * z[:, b]
            scores[:, output] += 0.2 * weights.normal() * np.sin(2 * z[:, a]) * z[:, b]
    if spec.classes == 2:
        return (scores[:, 0] + rng.logistic(0, 1, len(x)) > 0).astype(np.int64)
    return np.asarray(np.argmax(scores + rng.gumbel(0, 1, scores.shape), axis=1), np.int64)


def model_path(name: str) -> Path:
    """Where the model is; trained now if it never was."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{name}-partial.json")
        _train(SPECS[name]).save_model(partial)
        partial.rename(path)
    return path


def _train(spec: Spec) -> Any:
    import xgboost

    x, y = events(spec, spec.rows, seed=7)
    types = ["c" if spec.categories and i in CATEGORIES else "float" for i in range(spec.features)]
    matrix = xgboost.DMatrix(x, y, feature_types=types, enable_categorical=spec.categories)
    options = {
        "max_depth": spec.depth, "eta": spec.rate, "tree_method": "hist", "max_bin": 256,
        "max_cat_to_onehot": 5, "nthread": 2,
        "objective": "binary:logistic" if spec.classes == 2 else "multi:softprob",
    }  # fmt: skip
    if spec.classes > 2:
        options["num_class"] = spec.classes
    return xgboost.train(options, matrix, spec.trees)


if __name__ == "__main__":
    for known in SPECS:
        print(model_path(known))
