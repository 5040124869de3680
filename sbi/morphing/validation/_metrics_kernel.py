"""Kernel distances of two weighted samples: the maximum mean discrepancy, and KPD.

The squared maximum mean discrepancy (Gretton et al., JMLR 13, 2012) in its unbiased form, with
weights:

    sum_{i != j} w_i w_j k(x_i, x_j) / (sum_{i != j} w_i w_j) + the same of y - 2 <w k(x, y) v>

KPD (arXiv:2211.10295) is this with the kernel ``(x.y / columns + 1)**4`` on columns divided by
their largest value: the median over 10 batches of 5,000 events. The authors draw batches with
replacement; here they are disjoint, hence smaller for samples of less than 50,000 events, so that
their scatter tells the error.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from rootml._internal.statistics import normalised
from rootml._internal.types import Float, Weights
from rootml.errors import UsageError
from rootml.sbi.morphing.validation._metrics import moments
from rootml.sbi.morphing.validation._metrics_frechet import Distance, scale_of

Kernel = Callable[[Float, Float], Float]


def polynomial(x: Float, y: Float) -> Float:
    """``(x.y / columns + 1)**4``."""
    base: Float = x @ y.T
    base /= x.shape[1]
    base += 1
    for _ in range(2):
        np.square(base, out=base)
    return base


def gaussian(bandwidth: float) -> Kernel:
    """``exp(-|x - y|**2 / (2 bandwidth**2))``."""

    def kernel(x: Float, y: Float) -> Float:
        squares: Float = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1)
        squares -= 2 * (x @ y.T)
        squares *= -0.5 / bandwidth**2
        np.exp(squares, out=squares)
        return squares

    return kernel


def discrepancy(
    a: Float, b: Float, wa: Weights = None, wb: Weights = None, *, kernel: Kernel
) -> float:
    """The unbiased squared maximum mean discrepancy; memory is quadratic in the events.

    Raises:
        UsageError: Fewer than two events.
    """
    if min(len(a), len(b)) < 2:
        message = f"a kernel distance needs two events or more, there are {len(a)} and {len(b)}"
        raise UsageError(message)
    wa, wb = normalised(a, wa), normalised(b, wb)
    cross = wa @ kernel(a, b) @ wb
    return _within(a, wa, kernel) + _within(b, wb, kernel) - 2 * float(cross)


def _within(x: Float, w: Float, kernel: Kernel) -> float:
    """Mean of the kernel over pairs of different events."""
    matrix = kernel(x, x)
    np.fill_diagonal(matrix, 0)
    return float(w @ matrix @ w) / (1 - float(np.square(w).sum()))


def _map_width(columns: int) -> int:
    """Columns of `_quartic_map`."""
    pairs = (columns + 1) * (columns + 2) // 2
    return pairs * (pairs + 1) // 2


def _quartic_map(x: Float) -> Float:
    """Columns whose scalar products are the polynomial kernel: all products of four, twice pairs.

    ``(u.v)**2`` is the scalar product of the products ``u_i u_j`` (``i < j`` times sqrt 2) with
    those of v; the kernel is that of ``u = (x / sqrt(columns), 1)``, done twice.
    """
    u = np.column_stack([x / np.sqrt(x.shape[1]), np.ones(len(x))])
    for _ in range(2):
        i, j = np.triu_indices(u.shape[1])
        u = u[:, i] * u[:, j] * np.where(i < j, np.sqrt(2), 1)
    return u


def _discrepancy_by_map(a: Float, b: Float, wa: Float, wb: Float) -> float:
    """`discrepancy` of the polynomial kernel, linear in the events: pairs are squares of sums."""
    within, sums = 0.0, []
    for x, w in ((_quartic_map(a), normalised(a, wa)), (_quartic_map(b), normalised(b, wb))):
        sums.append(w @ x)
        same = float(np.square(w) @ np.square(x).sum(axis=1))
        within += (float(sums[-1] @ sums[-1]) - same) / (1 - float(np.square(w).sum()))
    return within - 2 * float(sums[0] @ sums[1])


def _by_polynomial(a: Float, b: Float, wa: Float, wb: Float) -> float:
    return discrepancy(a, b, wa, wb, kernel=polynomial)


def _batches(
    a: Float, b: Float, count: int, size: int, rng: np.random.Generator
) -> list[tuple[Float, Float]]:
    """Row numbers of `count` pairs of disjoint batches of `size` events, or as many as there are.

    Disjoint, so they are independent and their scatter is the error.
    """
    fewest = min(len(a), len(b))
    if count < 2 or fewest < 2 * count:
        message = f"{count} batches of {fewest} events: expected two batches of two events or more"
        raise UsageError(message)
    length = min(size, fewest // count)
    drawn = [rng.permutation(len(x))[: count * length].reshape(count, length) for x in (a, b)]
    return list(zip(*drawn, strict=True))


def kpd(
    a: Float,
    b: Float,
    wa: Weights = None,
    wb: Weights = None,
    *,
    scale: Float | None = None,
    batches: int = 10,
    size: int = 5000,
    seed: int = 0,
) -> Distance:
    """The kernel physics distance between `(events, columns)` samples; `a` is the reference.

    Args:
        scale: Columns are divided by it first; None: the largest absolute values of `a`.
        batches, size: Disjoint random batches; smaller ones where there are fewer than
            ``batches * size`` events.

    Returns:
        The median; `method_error` half of the range 16-84 % of the batches, as in the paper;
        `error` is the standard error of the median of as many independent batches.
    """
    divisor = scale_of(a) if scale is None else scale
    x, y = a / divisor, b / divisor
    measure = _discrepancy_by_map if _map_width(x.shape[1]) < size / 2 else _by_polynomial
    found = _over_batches(x, y, wa, wb, measure, batches, size, seed)
    low, high = np.quantile(found, [0.16275, 0.83725])
    error = float(np.sqrt(np.pi / 2) * np.std(found, ddof=1) / np.sqrt(batches))
    return Distance(float(np.median(found)), error, float(high - low) / 2)


def mmd(
    a: Float,
    b: Float,
    wa: Weights = None,
    wb: Weights = None,
    *,
    bandwidth: float | None = None,
    batches: int = 20,
    size: int = 2000,
    seed: int = 0,
) -> Distance:
    """The squared maximum mean discrepancy with a Gaussian kernel; `a` is the reference.

    Columns are divided by their standard deviation in `a`. The mean over batches has the error
    that their scatter shows (Zaremba, Gretton, Blaschko 2013).

    Args:
        bandwidth: Of the kernel; None: the median distance of 1,000 events of `a`.
        batches, size: As for `kpd`.
    """
    width = np.sqrt(np.diag(moments(a, wa)[1]))
    width = np.where(width > 0, width, 1)
    x, y = a / width, b / width
    if bandwidth is None:
        bandwidth = median_distance(x, seed=seed)
    measure = partial(discrepancy, kernel=gaussian(bandwidth))
    found = _over_batches(x, y, wa, wb, measure, batches, size, seed)
    return Distance(float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(batches)))


def median_distance(x: Float, *, events: int = 1000, seed: int = 0) -> float:
    """Median Euclidean distance between different rows, of `events` random ones."""
    some = x[np.random.default_rng(seed).permutation(len(x))[:events]]
    squares = np.square(some[:, None, :] - some[None, :, :]).sum(axis=2)
    middle = float(np.sqrt(np.median(squares[np.triu_indices(len(some), 1)])))
    return middle if middle > 0 else 1.0


def _over_batches(
    x: Float,
    y: Float,
    wx: Weights,
    wy: Weights,
    measure: Callable[[Float, Float, Float, Float], float],
    batches: int,
    size: int,
    seed: int,
) -> list[float]:
    wx, wy = normalised(x, wx), normalised(y, wy)
    rng = np.random.default_rng(seed)
    return [measure(x[i], y[j], wx[i], wy[j]) for i, j in _batches(x, y, batches, size, rng)]
