"""The Frechet distance of two samples, extrapolated to infinite statistics: FPD.

Kansal et al., *Evaluating generative models in high energy physics*, arXiv:2211.10295: the Frechet
distance between Gaussians of the same moments is measured on draws of several sizes n, at equal
steps of 1/n, and a straight line in 1/n gives its value at 1/n = 0 (the distance of finite
samples is too large by a term in 1/n).

Two things are done otherwise than in the authors' package `jetnet`, both because they can be
shown to be right by tests: draws are without replacement (with it the 1/N of the whole sample
stays in the result), and the line may cross below zero (cut off there, two equal samples get a
positive distance on average).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rootml._internal.statistics import normalised
from rootml._internal.types import Float, Weights
from rootml.errors import UsageError

BLOCKS = 200
_JACKKNIFE = 10


@dataclass(frozen=True, slots=True)
class Distance:
    """A distance with its error.

    Attributes:
        value: May be slightly negative: it is unbiased, so it scatters around 0 for equal samples.
        error: Standard deviation from the finite samples.
        method_error: The error that the definition of the distance has of its own: for FPD that of
            the straight line's intercept, for KPD half the interquantile range 16-84 % of its
            batches. None: it has none.
    """

    value: float
    error: float
    method_error: float | None = None


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Sums over disjoint random blocks of a sample, from which the moments of any union follow.

    Attributes:
        rows: In each block, `(blocks,)`.
        weight, square: Sums of weights and of their squares, `(blocks,)`.
        first: Sums of w x, `(blocks, columns)`.
        second: Sums of w x x', `(blocks, columns, columns)`.
    """

    rows: Float
    weight: Float
    square: Float
    first: Float
    second: Float

    @classmethod
    def of(cls, values: Float, weights: Weights, rng: np.random.Generator) -> _Blocks:
        w = normalised(values, weights)
        parts = np.array_split(rng.permutation(len(values)), min(BLOCKS, len(values) // 10))
        pairs = [(values[part], w[part]) for part in parts]
        return cls(
            np.array([float(len(part)) for part in parts]),
            np.array([v.sum() for _, v in pairs]),
            np.array([np.square(v).sum() for _, v in pairs]),
            np.array([v @ x for x, v in pairs]),
            np.array([(x.T * v) @ x for x, v in pairs]),
        )

    def moments(self, chosen: Float) -> tuple[Float, Float]:
        """Mean and unbiased covariance of the union of some blocks, given as 0 and 1 each."""
        total = chosen @ self.weight
        mean = chosen @ self.first / total
        second = np.tensordot(chosen, self.second, 1) / total
        shrink = 1 - (chosen @ self.square) / total**2
        covariance = (second - np.outer(mean, mean)) / shrink
        return mean, covariance

    def draw(self, size: float, rng: np.random.Generator) -> Float:
        """Random blocks with about `size` events in all, as 0 and 1 per block."""
        count = min(max(round(size / float(self.rows.mean())), 1), len(self.rows))
        chosen = np.zeros(len(self.rows))
        chosen[rng.permutation(len(self.rows))[:count]] = 1
        return chosen


def frechet(mean_a: Float, cov_a: Float, mean_b: Float, cov_b: Float) -> float:
    """Squared Frechet (2-Wasserstein) distance of two Gaussians.

    ``|m_a - m_b|**2 + tr(C_a + C_b - 2 (C_a**1/2 C_b C_a**1/2)**1/2)``, Dowson and Landau 1982.

    >>> one = np.eye(2)
    >>> round(frechet(np.zeros(2), one, np.array([3.0, 4.0]), 4 * one), 12)
    27.0
    """
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)
    shift = float(np.square(mean_a - mean_b).sum())
    return shift + float(np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(product).sum())


def scale_of(reference: Float) -> Float:
    """The largest absolute value of each column, 1 for a column of zeros: the paper's scaling."""
    largest = np.abs(reference).max(axis=0)
    return np.where(largest > 0, largest, 1.0)


def fpd(
    a: Float,
    b: Float,
    wa: Weights = None,
    wb: Weights = None,
    *,
    scale: Float | None = None,
    samples: tuple[int, int] = (20_000, 50_000),
    points: int = 10,
    batches: int = 20,
    seed: int = 0,
) -> Distance:
    """The Frechet physics distance between `(events, columns)` samples; `a` is the reference.

    Args:
        scale: Columns are divided by it first; None: the largest absolute values of `a`, as in
            the paper.
        samples: Smallest and largest draw. Where a sample has fewer events than the largest, both
            shrink in proportion. Draws are unions of 200 random blocks of events.
        points, batches: Sizes of draws, and draws per size.

    Returns:
        The intercept; `error` by a delete-a-group jackknife over tenths of the events;
        `method_error` from the straight line.

    Raises:
        UsageError: Fewer than 400 events.
    """
    fewest = min(len(a), len(b))
    if fewest < 400:
        message = f"the Frechet physics distance needs 400 events or more, there are {fewest}"
        raise UsageError(message)
    divisor = scale_of(a) if scale is None else scale
    rng = np.random.default_rng(seed)
    pair = [_Blocks.of(x / divisor, w, rng) for x, w in ((a, wa), (b, wb))]
    shrink = min(1.0, fewest / samples[1])
    sizes = 1 / np.linspace(1 / (samples[0] * shrink), 1 / (samples[1] * shrink), points)
    draws = [[part.draw(size, rng) for part in pair] for size in sizes for _ in range(batches)]
    value, line_error = _intercept(pair, draws, batches)
    replicas = []
    for group in range(_JACKKNIFE):  # the same draws, less one block in ten
        kept = [np.arange(len(part.rows)) % _JACKKNIFE != group for part in pair]
        fewer = [[c * k for c, k in zip(draw, kept, strict=True)] for draw in draws]
        replicas.append(_intercept(pair, fewer, batches)[0])
    variance = (_JACKKNIFE - 1) * float(np.var(replicas))
    return Distance(value, float(np.sqrt(variance)), line_error)


def _intercept(pair: list[_Blocks], draws: list[list[Float]], batches: int) -> tuple[float, float]:
    """Where the straight line in 1/n ends, and the error that the scatter around it tells."""
    found = np.array([_distance_and_inverse_size(pair, draw) for draw in draws])
    means = found.reshape(-1, batches, 2).mean(axis=1)
    line, covariance = np.polyfit(means[:, 1], means[:, 0], 1, cov=True)
    return float(line[1]), float(np.sqrt(covariance[1, 1]))


def _distance_and_inverse_size(pair: list[_Blocks], draw: list[Float]) -> tuple[float, float]:
    (mean_a, cov_a), (mean_b, cov_b) = (
        part.moments(chosen) for part, chosen in zip(pair, draw, strict=True)
    )
    inverse = np.mean([1 / (c @ part.rows) for part, c in zip(pair, draw, strict=True)])
    return frechet(mean_a, cov_a, mean_b, cov_b), float(inverse)
