"""The sums over events, compiled: one pass over the matrix, in blocks that stay in the cache.

Pseudo-code as in `_kernels_numpy`; per block of 256 events and with vector instructions::

    for each process p:
        t[p] = r[p];  e = 0
        for its exponential rows j:   e += g_j * X_j
        t[p] *= exp(e)                                 if there were any
        for its polynomial groups m:  f = 1 + sum_j w_j B_j;  t[p] *= f
        d += c[p] * t[p]
    events have weights:   value += sum w * log(d)
    else:                  value += log(product of the mantissas of d) + ln 2 * sum of exponents
    gradient:  q = w / d;  sums[j] += sum q * t[p] * X_j  for every row in use

So without weights there is one logarithm per block: a product of 256 numbers between 1 and 2 stays
far from overflow, and its relative rounding error, about 256 eps / 2, is an absolute one of the
sum.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rootml.sbi.likelihood._interpolation import Array
from rootml.sbi.likelihood._jit import (
    _LN2,
    exponent_of,
    inline,
    jit,
    mantissa_of,
    vector_exp,
    vector_log,
)
from rootml.sbi.likelihood._kernels_numpy import Sums
from rootml.sbi.likelihood._layout import Layout, Plan

_BLOCK = 256
_NORMAL = 2.2250738585072014e-308
_NONE = np.empty(0)


@inline
def _add_scaled(out: Any, row: Any, factor: float, size: int) -> None:
    for i in range(size):
        out[i] += factor * row[i]


@inline
def _dot(left: Any, right: Any, size: int) -> float:
    total = 0.0
    for i in range(size):
        total += left[i] * right[i]
    return total


@inline
def _times_exp(out: Any, exponent: Any, size: int) -> None:
    for i in range(size):
        out[i] *= vector_exp(exponent[i])


@inline
def _log_of_product(density: Any, size: int) -> float:
    product, exponents = 1.0, 0.0
    for i in range(size):
        product *= mantissa_of(density[i])
        exponents += exponent_of(density[i])
    return math.log(product) + exponents * _LN2


@inline
def _weighted_log(density: Any, weights: Any, size: int) -> float:
    total = 0.0
    for i in range(size):
        total += weights[i] * vector_log(density[i])
    return total


@inline
def _slow_log(density: Any, weights: Any, size: int) -> float:
    total = 0.0
    for i in range(size):
        total += (weights[i] if len(weights) else 1.0) * math.log(density[i])
    return total


@inline
def _count(density: Any, minimum: float, size: int) -> int:
    """How many densities are below `minimum` (or equal to 0), NaN or infinite."""
    bad = 0
    for i in range(size):
        fine = (density[i] >= minimum) & (density[i] > 0.0) & (density[i] < math.inf)
        bad += 0 if fine else 1
    return bad


@jit
def _pass(
    matrix: Any,
    weights: Any,
    coefficients: Any,
    exponential: Any,
    polynomial: Any,
    row_weights: Any,
    sums: Any,
    density_wanted: bool,
    gradient: bool,
) -> tuple[float, int]:
    """One pass; adds to `sums` and gives (value, bad).

    Args:
        exponential: ``(row, 2)``: row number and process.
        polynomial: ``(row, 3)``: row number, process, group; sorted by group.
    """
    processes, events = len(coefficients), matrix.shape[1]
    groups = 0 if len(polynomial) == 0 else polynomial[-1, 2] + 1
    terms = np.empty((processes, _BLOCK))
    factors = np.empty((groups, _BLOCK))
    scratch, density, quotient = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    value, bad = 0.0, 0
    for start in range(0, events, _BLOCK):
        size = min(_BLOCK, events - start)
        density[:size] = 0.0
        at_exponential, at_polynomial = 0, 0
        for p in range(processes):
            term = terms[p]
            term[:size] = matrix[p, start : start + size]
            scratch[:size] = 0.0
            first = at_exponential
            while at_exponential < len(exponential) and exponential[at_exponential, 1] == p:
                row = exponential[at_exponential, 0]
                _add_scaled(scratch, matrix[row, start : start + size], row_weights[row], size)
                at_exponential += 1
            if at_exponential > first:
                _times_exp(term, scratch, size)
            while at_polynomial < len(polynomial) and polynomial[at_polynomial, 1] == p:
                group = polynomial[at_polynomial, 2]
                factor = factors[group]
                factor[:size] = 1.0
                while at_polynomial < len(polynomial) and polynomial[at_polynomial, 2] == group:
                    row = polynomial[at_polynomial, 0]
                    _add_scaled(factor, matrix[row, start : start + size], row_weights[row], size)
                    at_polynomial += 1
                for i in range(size):
                    term[i] *= factor[i]
            if density_wanted:
                _add_scaled(density, term, coefficients[p], size)
        ours = weights[start : start + size] if len(weights) else weights
        if density_wanted:
            if _count(density, _NORMAL, size) == 0:
                if len(weights):
                    value += _weighted_log(density, ours, size)
                else:
                    value += _log_of_product(density, size)
            else:  # a subnormal or one that is not positive
                bad += _count(density, 0.0, size)
                value += _slow_log(density, ours, size)
        if density_wanted and not gradient:
            continue
        for i in range(size):
            quotient[i] = 1.0 / density[i] if density_wanted else 1.0
        if len(weights):
            for i in range(size):
                quotient[i] *= ours[i]
        for p in range(processes):
            for i in range(size):
                terms[p, i] *= quotient[i]
            total = 0.0
            for i in range(size):
                total += terms[p, i]
            sums[p] += total
        if not gradient:
            continue
        for j in range(len(exponential)):
            row, p = exponential[j, 0], exponential[j, 1]
            sums[row] += _dot(terms[p], matrix[row, start : start + size], size)
        for j in range(len(polynomial)):
            row, p, group = polynomial[j, 0], polynomial[j, 1], polynomial[j, 2]
            if j == 0 or polynomial[j - 1, 2] != group:
                for i in range(size):
                    scratch[i] = terms[p, i] / factors[group, i]
            sums[row] += _dot(scratch, matrix[row, start : start + size], size)
    return value, bad


def density_sums(
    matrix: Array,
    weights: Array | None,
    layout: Layout,
    plan: Plan,
    coefficients: Array,
    *,
    gradient: bool,
) -> Sums:
    """``sum w log d``, and the sums of its gradient if wanted."""
    sums = np.zeros(layout.num_rows)
    value, bad = _pass(
        matrix, _NONE if weights is None else weights, coefficients,
        *plan.tables, plan.weights[0], sums, True, gradient,
    )  # fmt: skip
    return Sums(value if bad == 0 else math.nan, bad, sums)


def reference_sums(
    matrix: Array, weights: Array | None, layout: Layout, plan: Plan, *, gradient: bool = True
) -> Array:
    """``sum w t`` and, if wanted, its derivatives' sums, per row."""
    sums = np.zeros(layout.num_rows)
    _pass(
        matrix, _NONE if weights is None else weights, np.ones(len(layout.processes)),
        *plan.tables, plan.weights[0], sums, False, gradient,
    )  # fmt: skip
    return sums
