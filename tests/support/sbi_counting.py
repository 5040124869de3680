"""One count: its likelihood, the asymptotic formulae and the exact Poisson probabilities.

``n ~ Poisson(mu signal + background)``; q~ and CLs of arXiv 1007.1727. q~ falls as n rises, and is
0 from ``n = mu + background`` on.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from rootml import sbi


def count(background: float, observed: float, signal: float = 1.0) -> sbi.Likelihood:
    """``n ~ Poisson(mu signal + background)``."""
    samples = [
        {"name": "S", "data": [signal],
         "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
        {"name": "B", "data": [background], "modifiers": []},
    ]  # fmt: skip
    workspace = {
        "version": "1.0.0",
        "channels": [{"name": "bin", "samples": samples}],
        "observations": [{"name": "bin", "data": [observed]}],
        "measurements": [{"name": "all", "config": {"poi": "mu", "parameters": [
            {"name": "mu", "bounds": [[0.0, 500.0]], "inits": [1.0]}]}}],
    }  # fmt: skip
    return sbi.Model({}, binned=workspace).likelihood(None)


def q_upper(observed: float, background: float, mu: float) -> float:
    """q~ of a count."""
    best = max(observed - background, 0.0)
    if best >= mu:
        return 0.0
    rates = np.array([mu, best]) + background
    values = rates - (observed * np.log(rates) if observed else 0.0)
    return float(2.0 * (values[0] - values[1]))


def cls_of_formula(observed: float, background: float, mu: float) -> float:
    """Asymptotic CLs of a count."""
    q, asimov = (q_upper(n, background, mu) for n in (observed, background))
    root, sigma = math.sqrt(q), math.sqrt(asimov)
    if root <= sigma:
        return float(stats.norm.sf(root) / stats.norm.sf(root - sigma))
    edges = (q + asimov) / (2.0 * sigma), (q - asimov) / (2.0 * sigma)
    return float(stats.norm.sf(edges[0]) / stats.norm.sf(edges[1]))


def significance_of_formula(observed: float, background: float) -> float:
    """The root of q0 of a count; 0 without an excess."""
    if observed <= background:
        return 0.0
    return math.sqrt(2.0 * (observed * math.log(observed / background) - observed + background))


def exact_tails(observed: int, background: float, mu: float) -> tuple[float, float]:
    """Probabilities that q~ is at least as large as observed, with the signal and without."""
    if q_upper(observed, background, mu) == 0.0:
        return 1.0, 1.0
    rates = np.array([mu + background, background])
    both, alone = stats.poisson.cdf(observed, rates)
    return float(both), float(alone)
