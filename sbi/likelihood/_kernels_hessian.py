"""The sums behind a Hessian, compiled. Pseudo-code, per block of events::

t[p], d      as in `_kernels`; share[p] = t[p] / d (or t[p], over the reference)
for each process p, for each parameter k of its shape:
    s[k]  = sum of w'_j X_j (exponential rows of k) + (sum w'_j B_j) / f (its polynomial group)
    gradient[p, k] += sum w share[p] s[k]
    hessian[p, k, k] += sum w share[p] (sum w''_j X_j + (sum w''_j B_j) / f - (first / f)^2)
    for each l <= k:  hessian[p, k, l] += sum w share[p] s[k] s[l]
    D[k] += c[p] share[p] s[k]
D[k] += dc[p]/dtheta[k] share[p]
outer[k, l] += sum w D[k] D[l]
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rootml.sbi.likelihood._interpolation import Array
from rootml.sbi.likelihood._jit import inline, jit
from rootml.sbi.likelihood._kernels import _NONE, _add_scaled, _dot, _times_exp, pieces
from rootml.sbi.likelihood._kernels_numpy import SecondSums
from rootml.sbi.likelihood._layout import Layout, Plan
from rootml.sbi.likelihood._store import BLOCK, Store

_BLOCK = BLOCK


class _Rows(NamedTuple):
    """The rows in use, as the kernel reads them; see `_rows`.

    Attributes:
        exponential: ``(row, 3)``: row number, process, place among the process's parameters.
        polynomial: ``(row, 4)``: the same and the group; sorted by group.
        parameters: ``(process, place)``: parameter numbers, -1 behind the last.
        weights: `Plan.weights`.
    """

    exponential: Any
    polynomial: Any
    parameters: Any
    weights: Any


class _Totals(NamedTuple):
    """What a pass adds to: the attributes of `SecondSums`."""

    terms: Any
    gradient: Any
    hessian: Any
    outer: Any


class _Work(NamedTuple):
    """Space for one block: ``(..., event)`` each.

    Attributes:
        share: Per process t[p], then t[p] / d.
        factors: Per polynomial group its factor.
        first: s of one process, per place among its parameters.
        relative: D, per parameter.
        mass: Weight times share of one process.
        one, two: For sums in the making.
    """

    share: Any
    factors: Any
    first: Any
    relative: Any
    mass: Any
    one: Any
    two: Any


@inline
def _work(processes: int, groups: int, places: int, number: int) -> Any:
    return _Work(
        np.empty((processes, _BLOCK)), np.empty((groups, _BLOCK)), np.empty((places, _BLOCK)),
        np.empty((number, _BLOCK)), np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK),
    )  # fmt: skip


@inline
def _sum(row: Any, size: int) -> float:
    total = 0.0
    for i in range(size):
        total += row[i]
    return total


@inline
def _times(out: Any, factor: Any, size: int) -> None:
    for i in range(size):
        out[i] *= factor[i]


@inline
def _starts(polynomial: Any, j: int) -> bool:
    """Whether row j is the first of its group."""
    return j == 0 or polynomial[j - 1, 3] != polynomial[j, 3]


@inline
def _ends(polynomial: Any, j: int) -> bool:
    """Whether row j is the last of its group."""
    return j + 1 == len(polynomial) or polynomial[j + 1, 3] != polynomial[j, 3]


@inline
def _fill_term(work: Any, p: int, block: Any, rows: Any, size: int) -> None:
    """``share[p] = t[p]``, and the factors of its polynomial groups."""
    share, exponent = work.share[p], work.one
    for i in range(size):
        share[i] = block[p, i]
    exponent[:size] = 0.0
    for j in range(len(rows.exponential)):
        if rows.exponential[j, 1] == p:
            row = rows.exponential[j, 0]
            _add_scaled(exponent, block[row], rows.weights[0, row], size)
    _times_exp(share, exponent, size)
    for j in range(len(rows.polynomial)):
        if rows.polynomial[j, 1] == p:
            row, factor = rows.polynomial[j, 0], work.factors[rows.polynomial[j, 3]]
            if _starts(rows.polynomial, j):
                factor[:size] = 1.0
            _add_scaled(factor, block[row], rows.weights[0, row], size)
            if _ends(rows.polynomial, j):
                _times(share, factor, size)


@inline
def _divide_by_density(work: Any, coefficients: Any, size: int) -> None:
    """``share[p] = t[p] / d``."""
    density = work.one
    density[:size] = 0.0
    for p in range(len(coefficients)):
        _add_scaled(density, work.share[p], coefficients[p], size)
    for p in range(len(coefficients)):
        share = work.share[p]
        for i in range(size):
            share[i] /= density[i]


@inline
def _exponential_derivatives(
    work: Any, p: int, block: Any, rows: Any, totals: Any, size: int
) -> None:
    """Exponential rows: to s, and second derivatives on the diagonal."""
    for j in range(len(rows.exponential)):
        if rows.exponential[j, 1] == p:
            row, k = rows.exponential[j, 0], rows.exponential[j, 2]
            _add_scaled(work.first[k], block[row], rows.weights[1, row], size)
            if rows.weights[2, row] != 0.0:
                at = rows.parameters[p, k]
                curved = rows.weights[2, row] * _dot(work.mass, block[row], size)
                totals.hessian[p, at, at] += curved


@inline
def _polynomial_derivatives(
    work: Any, p: int, block: Any, rows: Any, totals: Any, size: int
) -> None:
    """Polynomial groups: to s, and second derivatives on the diagonal."""
    one, two, mass = work.one, work.two, work.mass
    for j in range(len(rows.polynomial)):
        if rows.polynomial[j, 1] == p:
            row, k = rows.polynomial[j, 0], rows.polynomial[j, 2]
            if _starts(rows.polynomial, j):
                one[:size] = 0.0
                two[:size] = 0.0
            _add_scaled(one, block[row], rows.weights[1, row], size)
            _add_scaled(two, block[row], rows.weights[2, row], size)
            if _ends(rows.polynomial, j):
                factor, first = work.factors[rows.polynomial[j, 3]], work.first[k]
                for i in range(size):
                    one[i] /= factor[i]
                    two[i] = two[i] / factor[i] - one[i] * one[i]
                    first[i] += one[i]
                at = rows.parameters[p, k]
                totals.hessian[p, at, at] += _dot(mass, two, size)


@inline
def _add_products(
    work: Any, p: int, coefficient: float, rows: Any, totals: Any, density_wanted: bool, size: int
) -> None:
    """``sum w share s``, ``sum w share s s``, and s to D."""
    one, first, mass, parameters = work.one, work.first, work.mass, rows.parameters
    gradient, hessian, relative, share = totals.gradient, totals.hessian, work.relative, work.share
    for k in range(parameters.shape[1]):
        at = parameters[p, k]
        if at < 0:
            break
        for i in range(size):
            one[i] = first[k, i] * mass[i]
        gradient[p, at] += _sum(one, size)
        for m in range(k + 1):
            hessian[p, at, parameters[p, m]] += _dot(one, first[m], size)
        if density_wanted:
            for i in range(size):
                relative[at, i] += coefficient * share[p, i] * first[k, i]


@inline
def _add_outer(work: Any, weights: Any, totals: Any, size: int) -> None:
    """``sum w D D``."""
    one, relative, outer = work.one, work.relative, totals.outer
    for k in range(len(relative)):
        for i in range(size):
            one[i] = relative[k, i]
        if len(weights):
            _times(one, weights, size)
        for m in range(k + 1):
            outer[k, m] += _dot(one, relative[m], size)


@jit
def _second(
    blocks: Any, first_block: int, stop_block: int, events: int, weights: Any, coefficients: Any,
    jacobian: Any, rows: Any, totals: Any, density_wanted: bool,
) -> None:  # fmt: skip
    """One pass over some blocks; adds to `totals`."""
    processes, number = len(coefficients), totals.outer.shape[0]
    groups = 0 if len(rows.polynomial) == 0 else rows.polynomial[-1, 3] + 1
    work = _work(processes, groups, rows.parameters.shape[1], number)
    for b in range(first_block, stop_block):
        block, start = blocks[b], b * _BLOCK
        size = min(_BLOCK, events - start)
        ours = weights[start : start + size] if len(weights) else weights
        for p in range(processes):
            _fill_term(work, p, block, rows, size)
        if density_wanted:
            _divide_by_density(work, coefficients, size)
        work.relative[:, :size] = 0.0
        for p in range(processes):
            work.mass[:size] = work.share[p, :size]
            if len(weights):
                _times(work.mass, ours, size)
            totals.terms[p] += _sum(work.mass, size)
            if density_wanted:
                for k in range(number):
                    if jacobian[p, k] != 0.0:
                        _add_scaled(work.relative[k], work.share[p], jacobian[p, k], size)
            work.first[:, :size] = 0.0
            _exponential_derivatives(work, p, block, rows, totals, size)
            _polynomial_derivatives(work, p, block, rows, totals, size)
            _add_products(work, p, coefficients[p], rows, totals, density_wanted, size)
        if density_wanted:
            _add_outer(work, ours, totals, size)


def second_sums(
    store: Store,
    weights: Array | None,
    layout: Layout,
    plan: Plan,
    coefficients: Array | None,
    jacobian: Array | None,
    *,
    threads: int = 1,
) -> SecondSums:
    """The sums behind a Hessian; without `coefficients`, those of the reference."""
    number, processes = len(layout.names), len(layout.processes)
    wanted = coefficients is not None
    finite = np.zeros((processes, number)) if jacobian is None else jacobian
    broken = ~np.isfinite(finite).all(axis=0)  # no derivative here: NaN in the end
    rows, known = _rows(layout, plan), np.where(broken, 0.0, finite)

    def one(first: int, stop: int) -> SecondSums:
        sums = _no_sums(processes, number)
        _second(
            store.blocks, first, stop, store.num_events, _NONE if weights is None else weights,
            np.ones(processes) if coefficients is None else coefficients, known, rows,
            _Totals(sums.terms, sums.gradient, sums.hessian, sums.outer), wanted,
        )  # fmt: skip
        return sums

    sums = _no_sums(processes, number)
    for more in pieces(store, one, threads):
        sums.terms += more.terms
        sums.gradient += more.gradient
        sums.hessian += more.hessian
        sums.outer += more.outer
    lower = np.tril_indices(number, -1)
    for square in (*sums.hessian, sums.outer):
        square[lower[1], lower[0]] = square[lower] = square[lower] + square[lower[1], lower[0]]
    sums.outer[broken, :] = sums.outer[:, broken] = np.nan
    return sums


def _no_sums(processes: int, number: int) -> SecondSums:
    return SecondSums(
        np.zeros(processes), np.zeros((processes, number)),
        np.zeros((processes, number, number)), np.zeros((number, number)),
    )  # fmt: skip


def _rows(layout: Layout, plan: Plan) -> _Rows:
    """Rows in use with their places among the parameters of their process."""
    owners: list[list[int]] = []
    for p, rows in enumerate(plan.exponential):
        mine = set(layout.row_parameter[rows].tolist())
        mine |= {group.parameter for group in plan.groups if group.process == p}
        owners.append(sorted(mine))
    parameters = np.full((len(owners), max([1, *map(len, owners)])), -1, np.int64)
    for p, mine_sorted in enumerate(owners):
        parameters[p, : len(mine_sorted)] = mine_sorted
    exponential = [
        (row, p, owners[p].index(int(layout.row_parameter[row])))
        for p, rows in enumerate(plan.exponential)
        for row in rows
    ]
    polynomial = [
        (row, group.process, owners[group.process].index(group.parameter), g)
        for g, group in enumerate(plan.groups)
        for row in group.rows
    ]
    return _Rows(
        np.array(exponential, np.int64).reshape(-1, 3),
        np.array(polynomial, np.int64).reshape(-1, 4),
        parameters,
        plan.weights,
    )
