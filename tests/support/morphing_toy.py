"""The toy of arXiv:2403.18582: "data" and "simulation" with known, different densities.

Three conditions, four features: two Gaussians and two exponentials above a threshold that are zero
with some probability, all tied together by a rank correlation matrix (Iman and Conover, 1982). The
numbers are those of the authors' generator, its quirks included: the matrix of the data is not
symmetric, and that of the simulation has a zero on its diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import uproot
from scipy.stats import norm, rankdata

Float = npt.NDArray[np.float64]
Kind = Literal["data", "sim"]

CONDITIONS = ("pt", "eta", "noise")
FEATURES = ("v1A", "v2A", "v1B", "v2B")
SEEDS = {"data": 42, "sim": 43}
GAPS = {"v1B": (0.0, 0.8), "v2B": (0.0, 0.9)}
"""Open intervals below the exponentials in which no event of the data lies."""


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The parameters of one domain; pairs belong to the two features of a kind."""

    pt: float
    smear: float
    mean: tuple[float, float]
    mean_eta: tuple[float, float]
    width: tuple[float, float]
    width_pt: tuple[float, float]
    zero: tuple[float, float]
    zero_pt: tuple[float, float]
    start: tuple[float, float]
    scale: tuple[float, float]
    scale_eta: tuple[float, float]
    correlation: tuple[tuple[float, ...], ...]


_NUMBERS = {
    "data": _Numbers(
        pt=1.0,
        smear=0.25,
        mean=(-0.5, 0.5),
        mean_eta=(0.2, 0.1),
        width=(0.8, 1.0),
        width_pt=(0.1, 0.2),
        zero=(0.3, 0.4),
        zero_pt=(0.1, 0.05),
        start=(0.8, 0.9),
        scale=(1.0, 1.3),
        scale_eta=(0.3, 0.2),
        correlation=(
            (1, -0.3, -0.2, 0.2, 0.4, -0.2, -0.5),
            (-0.3, 1, 0.5, 0.1, 0.3, 0.3, 0.7),
            (-0.2, 0.5, 1, 0.1, -0.1, 0.4, 0.6),
            (0.2, 0.3, 0.1, 1, 0.6, -0.2, 0.2),
            (0.4, 0.3, -0.1, 0.6, 1, 0.3, -0.3),
            (-0.2, 0.3, 0.4, -0.2, 0.3, 1, 0.8),
            (-0.5, 0.7, 0.6, 0.2, -0.3, 0.8, 1),
        ),
    ),
    "sim": _Numbers(
        pt=0.95,
        smear=0.20,
        mean=(-0.6, 0.6),
        mean_eta=(0.25, 0.05),
        width=(0.7, 1.1),
        width_pt=(0.15, 0.15),
        zero=(0.5, 0.3),
        zero_pt=(0.15, 0.1),
        start=(0.5, 0.8),
        scale=(1.1, 1.1),
        scale_eta=(0.35, 0.15),
        correlation=(
            (1, -0.4, -0.3, 0.3, 0.3, -0.2, -0.65),
            (-0.4, 1, 0.4, 0.1, 0.25, 0.2, 0.8),
            (-0.3, 0.4, 0, 0.2, -0.2, 0.3, 0.5),
            (0.3, 0.1, 0.2, 1, 0.5, -0.2, 0.3),
            (0.3, 0.25, -0.2, 0.5, 1, 0.3, -0.2),
            (-0.2, 0.2, 0.3, -0.2, 0.3, 1, 0.6),
            (-0.65, 0.8, 0.5, 0.3, -0.2, 0.6, 1),
        ),
    ),
}


def toy(kind: Kind, events: int, *, seed: int | None = None) -> dict[str, npt.NDArray[np.float32]]:
    """Events of one domain, `{name: (events,) float32}`: conditions, then features.

    Args:
        seed: None: that of the paper for this domain.
    """
    numbers = _NUMBERS[kind]
    rng = np.random.default_rng(SEEDS[kind] if seed is None else seed)
    plain = _independent(numbers, events, rng)
    jitter = rng.uniform(1e-6, 2e-6, plain.shape)
    tied = _correlated(np.where(plain == 0, jitter, plain), _positive(numbers.correlation))
    tied[np.abs(tied) < 3e-6] = 0.0
    names = (*CONDITIONS, *FEATURES)
    return dict(zip(names, tied.T.astype(np.float32, order="C"), strict=True))


def _independent(numbers: _Numbers, events: int, rng: np.random.Generator) -> Float:
    """Features that depend on the conditions, before they are tied together."""
    pt = rng.exponential(numbers.pt, events)
    eta = np.abs(rng.uniform(-2, 2, events) * rng.normal(1, numbers.smear, events))
    noise = rng.uniform(0, 3, events)
    p, e, n = pt[:, None], eta[:, None], noise[:, None]
    width = np.array(numbers.width) - np.array(numbers.width_pt) * p + 0.1 * n
    mean = np.array(numbers.mean) - np.array(numbers.mean_eta) * e
    gaussian = rng.normal(mean, np.clip(width, 0.1, None), (events, 2))
    zero = np.clip(np.array(numbers.zero) + np.array(numbers.zero_pt) * p - 0.1 * n, 0, 1)
    scale = np.array(numbers.scale) + np.array(numbers.scale_eta) * e + 0.2 * n
    columns = []
    for j in range(2):
        column = rng.exponential(scale[:, j]) + numbers.start[j]
        column[rng.uniform(size=events) < zero[:, j]] = 0
        columns.append(column)
    return np.column_stack([pt, eta, noise, gaussian, *columns])


def _positive(matrix: Any) -> Float:
    """The matrix with negative eigenvalues set to the mean of the positive ones."""
    # complex from NumPy 2.5 on, whatever the values; not `eigh`: one matrix is not symmetric
    values, vectors = (np.real(part) for part in np.linalg.eig(np.array(matrix, dtype=np.float64)))
    values = np.where(values < 0, values[values > 0].mean(), values)
    fixed = np.asarray((vectors * values) @ vectors.T, dtype=np.float64)
    np.fill_diagonal(fixed, 1.0)
    return fixed


def _correlated(values: Float, correlation: Float) -> Float:
    """Each column in another order, so that their ranks are correlated as asked."""
    ranks = np.column_stack([rankdata(column) for column in values.T])
    scores = norm.ppf(ranks / (len(values) + 1.0))
    now = np.linalg.cholesky(np.corrcoef(scores, rowvar=False))
    target = scores @ (np.linalg.cholesky(correlation) @ np.linalg.inv(now)).T
    result = np.empty_like(values)
    for j, column in enumerate(values.T):
        order = np.empty(len(values), int)
        order[np.argsort(target[:, j], kind="stable")] = np.arange(len(values))
        result[:, j] = np.sort(column)[order]
    return result


def write_toy(
    path: Path, kind: Kind, events: int, *, seed: int | None = None, first_id: int = 0
) -> str:
    """A ROOT file with tree ``Events``: the toy's columns and an int64 ``event`` number."""
    columns: dict[str, Any] = dict(toy(kind, events, seed=seed))
    columns["event"] = np.arange(first_id, first_id + events, dtype=np.int64)
    with uproot.recreate(path) as file:
        tree = file.mktree("Events", {name: column.dtype for name, column in columns.items()})
        for start in range(0, events, 100_000):
            tree.extend({name: c[start : start + 100_000] for name, c in columns.items()})
    return str(path)
