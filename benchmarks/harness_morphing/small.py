"""Small samples: six features, with atoms and integers, and signed simulation; two problems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

FEATURES = ("shower", "width", "isolation", "leak", "hits", "score")
CONDITIONS = ("pt", "eta", "rho")


def small(kind: Literal["sim", "data"], events: int, seed: int) -> dict[str, Any]:
    """Columns of one domain, `{name: (events,)}`, with ``event`` and ``w``.

    Two features have atoms at 0, one counts, one lies in [0, 1]; a seventh of the simulation has
    weight -1.
    """
    rng = np.random.default_rng([seed, kind == "data"])
    data = float(kind == "data")
    pt = rng.exponential(1.0 + 0.1 * data, events)
    eta = rng.uniform(-2, 2, events)
    rho = rng.gamma(6.0 + 0.5 * data, 2.0, events)
    common, own = rng.normal(size=events), rng.normal(size=(events, 5))
    mix = 0.4 + 0.2 * data
    z = mix * common[:, None] + np.sqrt(1 - mix**2) * own
    shower = 0.2 * data + (1 + 0.1 * data) * z[:, 0] + 0.3 * np.tanh(pt) - 0.1 * eta**2
    width = np.exp(0.3 * z[:, 1] + 0.1 * data) * (1 + 0.1 * eta**2)
    isolation = np.maximum(0.0, z[:, 2] + 0.1 * (rho - 12) - 0.2 * data) ** 2
    leak = np.where(z[:, 3] < 0.3 + 0.2 * data - 0.1 * pt, 0.0, 0.2 + rng.exponential(1.0, events))
    hits = rng.poisson(np.exp(1.0 + 0.3 * z[:, 4] + 0.1 * data))
    score = 1 / (1 + np.exp(-(1.2 * z[:, 0] - 0.8 * common + 0.3 * data)))
    columns = (shower, width, isolation, leak, hits, score)
    weight = np.where(rng.uniform(size=events) < (1 - data) / 7, -1.0, 1.0)
    return {
        **dict(zip(FEATURES, columns, strict=True)),
        **dict(zip(CONDITIONS, (pt, eta, rho), strict=True)),
        "event": np.arange(events),
        "w": weight,
    }


def jets(kind: Literal["sim", "data"], events: int, seed: int) -> dict[str, Any]:
    """Columns of one domain, as of `small`.

    Particles are counted, a tag in [0, 1] has an atom at 1, the mass has heavy tails; a condition
    counts vertices.
    """
    rng = np.random.default_rng([seed, 7, kind == "data"])
    data = float(kind == "data")
    pt = 30 * (1 + rng.pareto(4.0 - 0.2 * data, events))
    eta = rng.normal(0, 1.5, events)
    vertices = rng.poisson(30 + 3 * data, events)
    shape = rng.normal(size=events)
    count = rng.poisson(np.exp(2.2 + 0.25 * np.log(pt / 30) + 0.2 * shape + 0.08 * data))
    own = (0.35 - 0.05 * data) * rng.normal(size=events)
    width = 0.1 * np.exp(0.5 * shape + own - 0.2 * np.log(pt / 30) + 0.06 * data)
    mass = pt * width * (1 + 0.1 * data) * np.exp(0.3 * rng.standard_t(4, events))
    logit = 0.8 * shape + 1.2 * rng.logistic(size=events) + 0.02 * (vertices - 30)
    tag = np.minimum(1 / (1 + np.exp(0.3 * data - 0.3 * np.abs(eta) - logit)) / 0.97, 1.0)
    spread = (0.1 + 0.015 * data) * rng.normal(size=events)
    share = np.clip(0.5 - 0.1 * shape + spread - 0.01 * (count - 10), 0.05, 1.0)
    charge = np.tanh(rng.normal(0.1 * data, 0.4, events)) / np.sqrt(np.maximum(count, 1))
    weight = np.where(rng.uniform(size=events) < (1 - data) / 7, -1.0, 1.0)
    columns = (count, width, mass, tag, share, charge, pt, eta, vertices)
    names = (*JETS.features, *JETS.conditions)
    return {**dict(zip(names, columns, strict=True)), "event": np.arange(events), "w": weight}


@dataclass(frozen=True)
class Problem:
    """Columns by `make(kind, events, seed)`; what is changed, and on what it depends."""

    make: Callable[[Literal["sim", "data"], int, int], dict[str, Any]]
    features: tuple[str, ...]
    conditions: tuple[str, ...]


JETS = Problem(
    jets, ("count", "width", "mass", "tag", "share", "charge"), ("pt", "eta", "vertices")
)
PROBLEMS = {"photons": Problem(small, FEATURES, CONDITIONS), "jets": JETS}
