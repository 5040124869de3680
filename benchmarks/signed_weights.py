"""Boosted trees and a network trained with negative weights, on a problem whose answer is known.

Background events have weights +1 and -1, so that their weighted density is
``1.3 N(0, 1) - 0.3 N(1, 1/2)`` in one of two features; the signal is normal. Each method learns
the log ratio of the densities. Printed is its root mean square error over the true background
density, in the range where both densities are seen, over several data sets. The number of rounds
is chosen by the loss of a quarter of the events, which training does not see, or fixed.

    python benchmarks/signed_weights.py                three data sets of 100,000 events per class
    python benchmarks/signed_weights.py --fixed 500    without a choice of the number of rounds
    python benchmarks/signed_weights.py --network      the network of rootml.sbi as well: slower
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import xgboost
from numpy.typing import NDArray

import rootml
from rootml import bdt, sbi

Array = NDArray[np.float64]
EXCESS = 0.3
"""How much the negative weights add up to, of the sum of all background weights."""


def normal(x: Array, mean: float, width: float) -> Array:
    z = (x - mean) / width
    return np.asarray(np.exp(-0.5 * z * z) / width / np.sqrt(2 * np.pi))


def log_ratio(x: Array) -> Array:
    """Logarithm of the density of the signal over that of the background."""
    signal = normal(x[:, 0], 0.7, 0.8) * normal(x[:, 1], 0.5, 1.0)
    background = (1 + EXCESS) * normal(x[:, 0], 0, 1) - EXCESS * normal(x[:, 0], 1, 0.5)
    return np.asarray(np.log(signal) - np.log(background * normal(x[:, 1], 0, 1)))


def drawn(rng: np.random.Generator, count: int) -> tuple[Array, Array, Array]:
    """Features, labels and weights: `count` signal events, as many background events."""
    signal = rng.normal([0.7, 0.5], [0.8, 1.0], (count, 2))
    negative = rng.random(count) < EXCESS / (1 + 2 * EXCESS)
    mean, width = np.where(negative, 1, 0), np.where(negative, 0.5, 1.0)
    background = np.c_[rng.normal(mean, width), rng.normal(size=count)]
    weight = np.r_[np.ones(count), np.where(negative, -1.0, 1.0)]
    weight[count:] *= count / weight[count:].sum()
    return np.concatenate([signal, background]), np.repeat([1.0, 0.0], count), weight


def signed_logistic(weight: Array) -> Callable[[Array, xgboost.DMatrix], tuple[Array, Array]]:
    """The logistic loss of weights of both signs: its gradient, and a positive second derivative.

    A step solves sum(w (p - y)) = 0 in a leaf whatever divides it; |w| keeps it from the wrong
    direction where the signed sum of w p (1 - p) is negative.
    """

    def objective(margin: Array, data: xgboost.DMatrix) -> tuple[Array, Array]:
        p = 1 / (1 + np.exp(-margin))
        return weight * (p - data.get_label()), np.abs(weight) * np.maximum(p * (1 - p), 1e-6)

    return objective


# --- methods: from training data to the log ratio on a grid --------------------------------------


def trees(x: Array, y: Array, w: Array, grid: Array, fixed: int) -> Array:
    """Trained with weights of any sign; a quarter of the events chooses the number of rounds."""
    held = np.arange(len(x)) % 4 == 0 if not fixed else np.zeros(len(x), dtype=bool)
    parameters: dict[str, Any] = {"max_depth": 4, "eta": 0.1, "nthread": 1, "base_score": 0.5}
    data = xgboost.DMatrix(x[~held], y[~held])

    def loss(margin: Array, _: xgboost.DMatrix) -> tuple[str, float]:
        softplus = np.logaddexp(0, margin) - y[held] * margin
        return "loss", float((w[held] * softplus).sum() / np.abs(w[held]).sum())

    options = {} if fixed else {
        "evals": [(xgboost.DMatrix(x[held], y[held]), "held")], "custom_metric": loss,
        "early_stopping_rounds": 30, "verbose_eval": False,
    }  # fmt: skip
    objective = signed_logistic(w[~held])
    booster = xgboost.train(parameters, data, fixed or 1000, obj=objective, **options)
    forest = bdt.load(booster)
    if not fixed:
        forest = forest.iterations(0, booster.best_iteration + 1)
    return np.asarray(forest.compile().predict_margin(grid), dtype=np.float64)


def absolute(x: Array, y: Array, w: Array, grid: Array, fixed: int) -> Array:
    size = np.abs(w)
    size[y == 0] *= size[y == 1].sum() / size[y == 0].sum()
    return trees(x, y, size, grid, fixed)


def dropped(x: Array, y: Array, w: Array, grid: Array, fixed: int) -> Array:
    return absolute(x[w > 0], y[w > 0], w[w > 0], grid, fixed)


def by_sign(x: Array, y: Array, w: Array, grid: Array, fixed: int) -> Array:
    """Two classifiers with positive weights: of positive and of negative background events."""
    c = w[(y == 0) & (w > 0)].sum() / w[y == 0].sum()
    plus = np.exp(-absolute(x[w > 0], y[w > 0], w[w > 0], grid, fixed))
    chosen = (y == 1) | (w < 0)
    minus = np.exp(-absolute(x[chosen], y[chosen], w[chosen], grid, fixed))
    with np.errstate(all="ignore"):
        return np.asarray(-np.log(c * plus - (c - 1) * minus))


def network(x: Array, y: Array, w: Array, grid: Array, fixed: int) -> Array:
    del fixed
    with tempfile.TemporaryDirectory() as folder:
        data = []
        for label in (0, 1):
            chosen = y == label
            columns = {"a": x[chosen, 0], "b": x[chosen, 1], "w": w[chosen]}
            path = Path(folder) / f"{label}.parquet"
            pyarrow.parquet.write_table(pa.table(columns), path)
            data.append(rootml.open(str(path), weight="w"))
        estimator = sbi.RatioEstimator(inputs=["a", "b"], ensemble=2, folds=2, progress=False)
        ratios = estimator.fit({"B": data[0], "S": data[1]}, reference="B")
        path = Path(folder) / "grid.parquet"
        pyarrow.parquet.write_table(pa.table({"a": grid[:, 0], "b": grid[:, 1]}), path)
        return np.log(
            np.asarray(ratios.columns(rootml.open(str(path)))["S"]["nominal"], dtype=np.float64)
        )


METHODS = {
    "signed gradient, |w| second derivative": trees,
    "|w|": absolute,
    "negative weights dropped": dropped,
    "two classifiers, by sign": by_sign,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--sets", type=int, default=3)
    parser.add_argument("--fixed", type=int, default=0, help="rounds; 0: chosen")
    parser.add_argument("--network", action="store_true")
    options = parser.parse_args()
    grid = np.random.default_rng(99).normal(size=(20_000, 2))
    grid = grid[np.abs(grid).max(axis=1) < 2.5]
    truth = log_ratio(grid)
    density = (1 + EXCESS) - EXCESS * normal(grid[:, 0], 1, 0.5) / normal(grid[:, 0], 0, 1)
    methods: dict[str, Any] = {**METHODS, **({"network": network} if options.network else {})}
    for name, method in methods.items():
        errors, biases = [], []
        for seed in range(options.sets):
            made = drawn(np.random.default_rng(seed), options.events)
            found = method(*made, grid, options.fixed)
            good = np.isfinite(found)
            errors.append(np.sqrt(np.average((found - truth)[good] ** 2, weights=density[good])))
            hole = good & (np.abs(grid[:, 0] - 1) < 0.3)
            biases.append(np.mean((found - truth)[hole]))
        print(
            f"{name:40} rms {np.mean(errors):.3f} +- {np.std(errors):.3f}"
            f"  mean error where weights cancel {np.mean(biases):+.3f}"
            f"  undefined {np.mean(~good):.2%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
