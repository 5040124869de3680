"""The sums behind a Hessian, compiled. Pseudo-code, per block of events::

t[p], d      as in `_kernels`; share[p] = t[p] / d (or t[p], over the reference)
for each process p, for each parameter k of its shape:
    s[k]  = sum of w'_j X_j (exponential rows of k) + (sum w'_j B_j) / f (its polynomial group)
    slopes[p, k] += sum w share[p] s[k]
    bends[p, k, k] += sum w share[p] (sum w''_j X_j + (sum w''_j B_j) / f - (first / f)^2)
    for each l <= k:  bends[p, k, l] += sum w share[p] s[k] s[l]
    D[k] += c[p] share[p] s[k]
D[k] += dc[p]/dtheta[k] share[p]
outer[k, l] += sum w D[k] D[l]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rootml.sbi.likelihood._interpolation import Array
from rootml.sbi.likelihood._jit import inline, jit
from rootml.sbi.likelihood._kernels import _NONE, _add_scaled, _dot, _times_exp
from rootml.sbi.likelihood._kernels_numpy import SecondSums
from rootml.sbi.likelihood._layout import Layout, Plan

_BLOCK = 256
_EMPTY = np.empty(0)


@inline
def _weighted(row: Any, weights: Any, size: int) -> float:
    """``sum w row`` with weights that may be missing."""
    if len(weights):
        return _dot(row, weights, size)
    total = 0.0
    for i in range(size):
        total += row[i]
    return total


@jit
def _second(
    matrix: Any,
    weights: Any,
    coefficients: Any,
    jacobian: Any,
    exponential: Any,
    polynomial: Any,
    parameters: Any,
    row_weights: Any,
    terms: Any,
    slopes: Any,
    bends: Any,
    outer: Any,
    density_wanted: bool,
) -> None:
    """One pass; adds to `terms`, `slopes`, `bends`, `outer`.

    Args:
        exponential: ``(row, 3)``: row number, process, place among the process's parameters.
        polynomial: ``(row, 4)``: the same and the group; sorted by group.
        parameters: ``(process, place)``: parameter numbers, -1 behind the last.
    """
    processes, events, number = len(coefficients), matrix.shape[1], outer.shape[0]
    groups = 0 if len(polynomial) == 0 else polynomial[-1, 3] + 1
    most = parameters.shape[1]
    share = np.empty((processes, _BLOCK))
    factors = np.empty((groups, _BLOCK))
    first, relative = np.empty((most, _BLOCK)), np.empty((number, _BLOCK))
    one, two, mass = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    density = np.empty(_BLOCK)
    for start in range(0, events, _BLOCK):
        size = min(_BLOCK, events - start)
        ours = weights[start : start + size] if len(weights) else weights
        density[:size] = 0.0
        for p in range(processes):
            share[p, :size] = matrix[p, start : start + size]
            one[:size] = 0.0
            for j in range(len(exponential)):
                if exponential[j, 1] == p:
                    row = exponential[j, 0]
                    _add_scaled(one, matrix[row, start : start + size], row_weights[0, row], size)
            _times_exp(share[p], one, size)
            for j in range(len(polynomial)):
                if polynomial[j, 1] == p:
                    row, group = polynomial[j, 0], polynomial[j, 3]
                    if j == 0 or polynomial[j - 1, 3] != group:
                        factors[group, :size] = 1.0
                    _add_scaled(
                        factors[group],
                        matrix[row, start : start + size],
                        row_weights[0, row],
                        size,
                    )
                    if j + 1 == len(polynomial) or polynomial[j + 1, 3] != group:
                        for i in range(size):
                            share[p, i] *= factors[group, i]
            if density_wanted:
                _add_scaled(density, share[p], coefficients[p], size)
        if density_wanted:
            for p in range(processes):
                for i in range(size):
                    share[p, i] /= density[i]
        relative[:, :size] = 0.0
        for p in range(processes):
            for i in range(size):
                mass[i] = share[p, i]
            if len(weights):
                for i in range(size):
                    mass[i] *= ours[i]
            terms[p] += _weighted(mass, _EMPTY, size)
            if density_wanted:
                for k in range(number):
                    if jacobian[p, k] != 0.0:
                        _add_scaled(relative[k], share[p], jacobian[p, k], size)
            first[:, :size] = 0.0
            for j in range(len(exponential)):
                if exponential[j, 1] == p:
                    row, k = exponential[j, 0], exponential[j, 2]
                    values = matrix[row, start : start + size]
                    _add_scaled(first[k], values, row_weights[1, row], size)
                    if row_weights[2, row] != 0.0:
                        at = parameters[p, k]
                        bends[p, at, at] += row_weights[2, row] * _dot(mass, values, size)
            for j in range(len(polynomial)):
                if polynomial[j, 1] == p:
                    row, k, group = polynomial[j, 0], polynomial[j, 2], polynomial[j, 3]
                    values = matrix[row, start : start + size]
                    if j == 0 or polynomial[j - 1, 3] != group:
                        one[:size] = 0.0
                        two[:size] = 0.0
                    _add_scaled(one, values, row_weights[1, row], size)
                    _add_scaled(two, values, row_weights[2, row], size)
                    if j + 1 == len(polynomial) or polynomial[j + 1, 3] != group:
                        for i in range(size):
                            one[i] /= factors[group, i]
                            two[i] = two[i] / factors[group, i] - one[i] * one[i]
                            first[k, i] += one[i]
                        at = parameters[p, k]
                        bends[p, at, at] += _dot(mass, two, size)
            for k in range(most):
                at = parameters[p, k]
                if at < 0:
                    break
                for i in range(size):
                    one[i] = first[k, i] * mass[i]
                slopes[p, at] += _weighted(one, _EMPTY, size)
                for m in range(k + 1):
                    bends[p, at, parameters[p, m]] += _dot(one, first[m], size)
                if density_wanted:
                    for i in range(size):
                        relative[at, i] += coefficients[p] * share[p, i] * first[k, i]
        if density_wanted:
            for k in range(number):
                for i in range(size):
                    one[i] = relative[k, i]
                if len(weights):
                    for i in range(size):
                        one[i] *= ours[i]
                for m in range(k + 1):
                    outer[k, m] += _dot(one, relative[m], size)


def second_sums(
    matrix: Array,
    weights: Array | None,
    layout: Layout,
    plan: Plan,
    coefficients: Array | None,
    jacobian: Array | None,
) -> SecondSums:
    """The sums behind a Hessian; without `coefficients`, those of the reference."""
    number, processes = len(layout.names), len(layout.processes)
    sums = SecondSums(
        np.zeros(processes), np.zeros((processes, number)),
        np.zeros((processes, number, number)), np.zeros((number, number)),
    )  # fmt: skip
    wanted = coefficients is not None
    finite = np.zeros((processes, number)) if jacobian is None else jacobian
    broken = ~np.isfinite(finite).all(axis=0)  # parameters without a slope here: NaN in the end
    _second(
        matrix, _NONE if weights is None else weights,
        np.ones(processes) if coefficients is None else coefficients,
        np.where(broken, 0.0, finite), *_tables(layout, plan), plan.weights,
        sums.terms, sums.slopes, sums.bends, sums.outer, wanted,
    )  # fmt: skip
    lower = np.tril_indices(number, -1)
    for square in (*sums.bends, sums.outer):
        square[lower[1], lower[0]] = square[lower] = square[lower] + square[lower[1], lower[0]]
    sums.outer[broken, :] = sums.outer[:, broken] = np.nan
    return sums


def _tables(layout: Layout, plan: Plan) -> tuple[Any, Any, Any]:
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
    return (
        np.array(exponential, np.int64).reshape(-1, 3),
        np.array(polynomial, np.int64).reshape(-1, 4),
        parameters,
    )
