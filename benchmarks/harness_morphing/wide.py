"""Many columns: twelve features that depend on each other and on five conditions."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

FEATURES = tuple(f"f{j}" for j in range(12))
CONDITIONS = ("pt", "eta", "rho", "energy", "angle")


def wide(
    kind: Literal["sim", "data"], events: int, seed: int, *, same_conditions: bool = False
) -> dict[str, Any]:
    """Columns of one domain, `{name: (events,)}`, with ``event``.

    The features are normal variables with correlations, shifts and widths that depend on the
    conditions, four of them on the scale of an exponential, two with an atom at 0, one in [0, 1].
    The data have other spectra, correlations, shifts and widths.

    Args:
        same_conditions: Give the simulation the data's spectra.
    """
    rng = np.random.default_rng([seed, 12, kind == "data"])
    data = float(kind == "data")
    spectra = max(data, float(same_conditions))
    pt, rho = rng.exponential(1 + 0.1 * spectra, events), rng.gamma(6 + 0.5 * spectra, 2.0, events)
    eta, angle = rng.uniform(-2, 2, events), rng.uniform(-np.pi, np.pi, events)
    energy = np.log1p(pt) * np.cosh(eta) * np.exp(0.2 * rng.normal(size=events))
    mixing, change, slopes, moves = numbers()
    scaled = scaled_conditions(pt, eta, rho, energy, angle)
    x = rng.normal(size=(events, 12)) @ (np.eye(12) + mixing + data * change)
    x *= 1 + 0.1 * data * scaled[:, [0]]
    x += scaled @ (slopes + data * moves[:5]) + data * moves[5]
    x[:, :4] = np.exp(0.4 * x[:, :4])
    x[:, 4:6] = np.maximum(x[:, 4:6] + 0.5, 0)
    x[:, 6] = 1 / (1 + np.exp(-x[:, 6]))
    columns = dict(zip(FEATURES, x.T, strict=True))
    conditions = dict(zip(CONDITIONS, (pt, eta, rho, energy, angle), strict=True))
    return {**columns, **conditions, "event": np.arange(events)}


def numbers() -> tuple[Any, Any, Any, Any]:
    """Mixing of the features and its change in the data, slopes in the conditions, and theirs."""
    fixed = np.random.default_rng(12)
    mixing = fixed.normal(size=(12, 12)) / np.sqrt(12)
    change = 0.1 * fixed.normal(size=(12, 12)) / np.sqrt(12)
    return mixing, change, 0.3 * fixed.normal(size=(5, 12)), 0.15 * fixed.normal(size=(6, 12))


def scaled_conditions(pt: Any, eta: Any, rho: Any, energy: Any, angle: Any) -> Any:
    """`(events, 5)`, all of about the same size."""
    return np.stack([np.tanh(pt - 1), eta / 2, (rho - 12) / 5, energy / 5, np.sin(angle)], 1)
