"""Small samples: six features, two with atoms and one of integers, and signed simulation."""

from __future__ import annotations

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
