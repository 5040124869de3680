"""How well corrected simulation agrees with data, by NumPy, SciPy and XGBoost alone.

The definitions are those with which the bars were set: the AUC of a boosted classifier on features
and conditions, the differences of linear correlations, Kolmogorov-Smirnov distances in fifths of
each condition, chi2 per bin of 30 bins between the quantiles 0.001 and 0.999 of the data.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

Float = npt.NDArray[np.float64]


def auc(data: Float, sim: Float, weights: Float, *, seed: int) -> float:
    """Of a classifier trained on one half, for the other; weights belong to the simulation."""
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(seed)
    x = np.concatenate([data, sim]).astype(np.float32)
    y = np.concatenate([np.ones(len(data)), np.zeros(len(sim))])
    w = np.concatenate([np.ones(len(data)), weights / weights.mean() * len(data) / len(sim)])
    order = rng.permutation(len(y))
    train, test = np.array_split(order, 2)
    held, train = np.split(train, [len(train) // 5])
    parts = [xgboost.DMatrix(x[i], y[i], weight=w[i], nthread=1) for i in (train, held, test)]
    options: dict[str, Any] = {
        "eta": 0.1, "max_depth": 6, "subsample": 0.5, "objective": "binary:logistic", "nthread": 1,
        "eval_metric": "logloss", "tree_method": "hist", "seed": seed, "min_child_weight": 20,
    }  # fmt: skip
    booster = xgboost.train(
        options, parts[0], 400, evals=[(parts[1], "held")], early_stopping_rounds=25,
        verbose_eval=False,
    )  # fmt: skip
    score = booster.predict(parts[2], iteration_range=(0, booster.best_iteration + 1))
    return float(roc_auc_score(y[test], score, sample_weight=w[test]))


@dataclass(frozen=True, slots=True)
class Figures:
    """What the bars are about, but for the AUC.

    Attributes:
        rho_mean, rho_max: Absolute differences of correlations, in per cent.
        slices_mean, slices_max: KS distances in slices of the conditions.
        chi2: Per degree of freedom, of the worst feature.
    """

    rho_mean: float
    rho_max: float
    slices_mean: float
    slices_max: float
    chi2: float

    @classmethod
    def of(cls, data: Float, sim: Float, weights: Float, features: int) -> Figures:
        """Of matrices whose first columns are the features, the others conditions."""
        rho = correlations(data, sim, weights)
        parts = slices(data, sim, weights, features)
        worst = max(chi2(data[:, j], sim[:, j], weights) for j in range(features))
        return cls(
            float(rho.mean()), float(rho.max()), float(parts.mean()), float(parts.max()), worst
        )


def ks(data: Float, sim: Float, weights: Float) -> float:
    """Largest distance of the distribution functions."""
    values = np.concatenate([data, sim])
    order = np.argsort(values, kind="stable")
    steps = np.concatenate([np.full(len(data), 1 / len(data)), -weights / weights.sum()])[order]
    last = np.append(np.diff(values[order]) > 0, True)
    return float(np.abs(np.cumsum(steps)[last]).max())


def chi2(data: Float, sim: Float, weights: Float) -> float:
    """Per bin with more than 20 events of the data."""
    low, high = np.quantile(data, [0.001, 0.999])
    edges = np.linspace(low, high, 31)
    scale = len(data) / weights.sum()
    a = np.histogram(data, edges)[0]
    b = np.histogram(sim, edges, weights=weights)[0] * scale
    variance = np.histogram(sim, edges, weights=weights**2)[0] * scale**2
    used = a > 20
    return float(((a - b) ** 2 / np.maximum(a + variance, 1e-9))[used].sum() / used.sum())


def correlations(data: Float, sim: Float, weights: Float) -> Float:
    """Absolute differences of all correlations, in per cent."""
    ours = np.asarray(np.cov(sim, rowvar=False, aweights=weights))
    ours = ours / np.sqrt(np.outer(np.diag(ours), np.diag(ours)))
    theirs = np.asarray(np.corrcoef(data, rowvar=False))
    return 100 * np.abs(ours - theirs)[np.triu_indices(len(ours), 1)]


def slices(data: Float, sim: Float, weights: Float, features: int) -> Float:
    """KS distances of each feature in fifths of each condition."""
    found = []
    for j in range(features, data.shape[1]):
        edges = np.quantile(data[:, j], np.linspace(0, 1, 6))
        for low, high in itertools.pairwise(edges):
            a, b = ((x[:, j] >= low) & (x[:, j] < high) for x in (data, sim))
            found += [ks(data[a, k], sim[b, k], weights[b]) for k in range(features)]
    return np.array(found)
