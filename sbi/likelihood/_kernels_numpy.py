"""The sums over events, in plain NumPy: the oracle of the compiled kernels, and their stand-in.

Pseudo-code, for events i in blocks; q is the weight of an event over its density::

    t[p]  = r[p] * exp(sum_j g_j X_j) * prod_m (1 + sum_j w_j B_j)       per process
    d     = sum_p c[p] t[p]
    value = sum_i w_i log d_i
    q     = w / d                   (or w itself, for the sums over the reference that make Z)
    sums[p]   = sum_i q t[p]
    sums[j]   = sum_i q t[p] X_j                exponential rows of p
    sums[j]   = sum_i q t[p] B_j / (1 + ...)    polynomial rows of p
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.likelihood._layout import Layout, Plan
from rootml.sbi.likelihood._store import Store

BLOCK = 8192


@dataclass(frozen=True, slots=True)
class Sums:
    """What a pass over the events gives.

    Attributes:
        value: ``sum_i w_i log d_i``; NaN if a density was not positive.
        bad: Number of events whose density was not positive.
        rows: Sums over events, per row of the matrix (processes first).
    """

    value: float
    bad: int
    rows: Float


@dataclass(frozen=True, slots=True)
class Block:
    """One block of events: views of the matrix, terms per process, factors per group."""

    rows: Float
    weights: Float | float
    terms: Float
    factors: list[Float]


def blocks(
    matrix: Float | Store, weights: Float | None, layout: Layout, plan: Plan, *, size: int = BLOCK
) -> Iterator[Block]:
    """The events in blocks, with the terms t of each process."""
    for start in range(0, matrix.shape[1], size):
        events = slice(start, start + size)
        rows = matrix.matrix(events) if isinstance(matrix, Store) else matrix[:, events]
        ours = 1.0 if weights is None else weights[start : start + size]
        yield Block(rows, ours, *_terms(rows, layout, plan))


def _terms(rows: Float, layout: Layout, plan: Plan) -> tuple[Float, list[Float]]:
    terms = rows[: len(layout.processes)].copy()
    for p, used in enumerate(plan.exponential):
        if len(used):
            terms[p] *= np.exp(plan.weights[0, used] @ rows[used])
    factors = []
    for group in plan.groups:
        factor = 1.0 + plan.weights[0, group.rows] @ rows[group.rows]
        terms[group.process] *= factor
        factors.append(factor)
    return terms, factors


def density_sums(
    matrix: Float,
    weights: Float | None,
    layout: Layout,
    plan: Plan,
    coefficients: Float,
    *,
    gradient: bool,
    threads: int = 1,  # noqa: ARG001 - as of the compiled sums
) -> Sums:
    """``sum w log d``, and the sums of its gradient if wanted."""
    values, bad, rows = [], 0, np.zeros(layout.num_rows)
    for block in blocks(matrix, weights, layout, plan):
        density = coefficients @ block.terms
        positive = density > 0.0
        bad += int(len(density) - np.count_nonzero(positive & np.isfinite(density)))
        values.append(float((block.weights * np.log(density)).sum()))
        if gradient:
            rows += _row_sums(block, block.weights / density, layout, plan)
    return Sums(float(np.sum(values)) if bad == 0 else np.nan, bad, rows)


def reference_sums(
    matrix: Float, weights: Float | None, layout: Layout, plan: Plan, *, gradient: bool = True,
    threads: int = 1,  # noqa: ARG001 - as of the compiled sums
) -> Float:  # fmt: skip
    """``sum w t`` and, if wanted, its derivatives' sums, per row."""
    rows = np.zeros(layout.num_rows)
    for block in blocks(matrix, weights, layout, plan):
        if not gradient:
            rows[: len(block.terms)] += (block.terms * block.weights).sum(axis=1)
            continue
        quotient = np.broadcast_to(block.weights, block.terms.shape[1:])
        rows += _row_sums(block, quotient, layout, plan)
    return rows


def _row_sums(block: Block, quotient: Float, layout: Layout, plan: Plan) -> Float:
    sums = np.zeros(layout.num_rows)
    scaled = block.terms * quotient
    sums[: len(scaled)] = scaled.sum(axis=1)
    for p, used in enumerate(plan.exponential):
        if len(used):
            sums[used] = block.rows[used] @ scaled[p]
    for group, factor in zip(plan.groups, block.factors, strict=True):
        sums[group.rows] = block.rows[group.rows] @ (scaled[group.process] / factor)
    return sums


# --- second derivatives --------------------------------------------------------------------------


@dataclass
class SecondSums:
    """Sums for second derivatives; `n` parameters.

    Attributes:
        terms: ``sum q t``, ``(process,)``.
        gradient: ``sum q t s_k``, ``(process, n)``, with s = d log t / d theta.
        hessian: ``sum q t (s_k s_l + d s_k / d theta_l)``, ``(process, n, n)``.
        outer: ``sum w (dd/d)_k (dd/d)_l``, ``(n, n)``.
        bad: Number of events whose density is not positive.
    """

    terms: Float
    gradient: Float
    hessian: Float
    outer: Float
    bad: int = 0


def second_sums(
    matrix: Float,
    weights: Float | None,
    layout: Layout,
    plan: Plan,
    coefficients: Float | None,
    jacobian: Float | None,
    *,
    threads: int = 1,  # noqa: ARG001 - as of the compiled sums
) -> SecondSums:
    """The sums behind a Hessian; without `coefficients`, those of the reference.

    Args:
        coefficients: c, ``(process,)``.
        jacobian: dc / d theta, ``(process, n)``.
    """
    number, processes = len(layout.names), len(layout.processes)
    sums = SecondSums(
        np.zeros(processes), np.zeros((processes, number)),
        np.zeros((processes, number, number)), np.zeros((number, number)),
    )  # fmt: skip
    for block in blocks(matrix, weights, layout, plan, size=2048):
        _add_second(sums, block, layout, plan, coefficients, jacobian)
    return sums


def _add_second(
    sums: SecondSums,
    block: Block,
    layout: Layout,
    plan: Plan,
    coefficients: Float | None,
    jacobian: Float | None,
) -> None:
    weight = np.broadcast_to(block.weights, block.terms.shape[1:])
    shares = block.terms
    if coefficients is not None:
        density = coefficients @ block.terms
        sums.bad += int(len(density) - np.count_nonzero((density > 0.0) & (density < np.inf)))
        shares = shares / density
    scaled = shares * weight
    sums.terms += scaled.sum(axis=1)
    relative = None
    if coefficients is not None and jacobian is not None:
        relative = jacobian.T @ shares
    for p in range(len(layout.processes)):
        where, gradient, hessian = _log_derivatives(block, p, layout, plan)
        if not len(where):
            continue
        sums.gradient[p, where] += gradient @ scaled[p]
        square = (gradient * scaled[p]) @ gradient.T
        square[np.diag_indices_from(square)] += hessian @ scaled[p]
        sums.hessian[p][np.ix_(where, where)] += square
        if relative is not None and coefficients is not None:
            relative[where] += coefficients[p] * gradient * shares[p]
    if relative is not None:
        sums.outer += (relative * weight) @ relative.T


def _log_derivatives(
    block: Block, process: int, layout: Layout, plan: Plan
) -> tuple[list[int], Float, Float]:
    """Parameters of a process's shape, and d log t, d^2 log t by each, ``(parameter, event)``."""
    used = plan.exponential[process]
    groups = [
        (group, factor)
        for group, factor in zip(plan.groups, block.factors, strict=True)
        if group.process == process
    ]
    owner = layout.row_parameter[used]
    where = np.union1d(owner, [group.parameter for group, _ in groups]).astype(np.int64)
    gradient = np.zeros((len(where), block.terms.shape[1]))
    hessian = np.zeros_like(gradient)
    # rows of one parameter stand side by side: the first of each, then the second of each
    _, first, which = np.unique(owner, return_index=True, return_inverse=True)
    rank = np.arange(len(used)) - first[which]
    for number in range(int(rank.max(initial=-1)) + 1):
        rows = used[rank == number]
        place = np.searchsorted(where, layout.row_parameter[rows])
        columns = block.rows[rows]
        gradient[place] += plan.weights[1, rows, None] * columns
        if plan.weights[2, rows].any():
            hessian[place] += plan.weights[2, rows, None] * columns
    for group, factor in groups:
        k = int(np.searchsorted(where, group.parameter))
        rows = block.rows[group.rows]
        first = (plan.weights[1, group.rows] @ rows) / factor
        gradient[k] += first
        hessian[k] += (plan.weights[2, group.rows] @ rows) / factor - first**2
    return where.tolist(), gradient, hessian
