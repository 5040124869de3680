"""A problem with known density: six features with atoms, integers, bounds; two conditions.

The features depend on each other in a chain, so the density is a product::

    a | c, d      normal(c, 1 + d / 2)
    n | a, c      Poisson(exp(0.4 + 0.3 tanh(a) + 0.2 c))
    f | n, d      Beta(1.5 + n / 2, 2 + d): in [0, 1]
    i | a, f      0 with probability 1 / (1 + exp(a + f)), else exponential with mean 1 + f
    b | c         -1 with probability 0.2 + 0.2 d, else Beta(2, 2): in [0, 1]
    t | b         normal(b, 0.5)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Float = npt.NDArray[np.float64]
FEATURES, CONDITIONS = ("a", "n", "f", "i", "b", "t"), ("c", "d")
BOUNDS = {"f": (0, 1), "i": (0, None), "b": (0, 1, -1)}


def draw(events: int, rng: np.random.Generator, conditions: dict[str, Float] | None = None) -> Any:
    """Columns `{name: (events,)}`, conditions among them."""
    given = conditions or {"c": rng.normal(size=events), "d": rng.uniform(size=events)}
    c, d = given["c"], given["d"]
    a = rng.normal(c, 1 + d / 2)
    n = rng.poisson(np.exp(0.4 + 0.3 * np.tanh(a) + 0.2 * c)).astype(float)
    f = rng.beta(1.5 + n / 2, 2 + d)
    zero = rng.uniform(size=events) < 1 / (1 + np.exp(a + f))
    i = np.where(zero, 0.0, rng.exponential(1 + f))
    none = rng.uniform(size=events) < 0.2 + 0.2 * d
    b = np.where(none, -1.0, rng.beta(2, 2, events))
    return {**given, "a": a, "n": n, "f": f, "i": i, "b": b, "t": rng.normal(b, 0.5)}


def log_density(x: dict[str, Float]) -> Float:
    """``log p(features | conditions)``, atoms and integers as probabilities, `(events,)`."""
    zero = 1 / (1 + np.exp(x["a"] + x["f"]))
    none = 0.2 + 0.2 * x["d"]
    mean = np.exp(0.4 + 0.3 * np.tanh(x["a"]) + 0.2 * x["c"])
    tail = np.log1p(-zero) + stats.expon.logpdf(x["i"], scale=1 + x["f"])
    tagged = np.log1p(-none) + stats.beta.logpdf(np.clip(x["b"], 1e-12, 1 - 1e-12), 2, 2)
    parts = [
        stats.norm.logpdf(x["a"], x["c"], 1 + x["d"] / 2),
        stats.poisson.logpmf(x["n"], mean),
        stats.beta.logpdf(x["f"], 1.5 + x["n"] / 2, 2 + x["d"]),
        np.where(x["i"] == 0, np.log(zero), tail),
        np.where(x["b"] == -1, np.log(none), tagged),
        stats.norm.logpdf(x["t"], x["b"], 0.5),
    ]
    return np.asarray(np.sum(parts, axis=0))
