"""The sums over events, compiled: one pass over the store, block by block.

Pseudo-code as in `_kernels_numpy`; per block of 256 events and with vector instructions::

    for each process p:
        t[p] = r[p];  e = 0
        for its exponential rows j:   e += g_j * X_j   (four rows at a time: e is loaded once)
        t[p] *= exp(e)                                 if there were any
        for its polynomial groups m:  f = 1 + sum_j w_j B_j;  t[p] *= f
        d += c[p] * t[p]
    events have weights:   value += sum w * log(d)
    else:                  value += log(product of the mantissas of d) + ln 2 * sum of exponents
    gradient:  q = w / d;  sums[j] += sum q * t[p] * X_j  for every row in use (four at a time)

Rows are float32 or float64, all else is float64. The rows of a block are in the cache when the
gradient reads them again. Memory is busy all the time: while exponents are summed, the second half
of the block's rows is fetched, and while the gradient is, the first half of the next block's.
Without weights there is one logarithm per block: a product of 256 numbers between 1 and 2 stays
far from overflow, and its relative rounding error, about 256 eps / 2, is an absolute one of the
sum.

Blocks are summed in pieces, and the sums of these are added after all, so that the result is the
same for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from rootml._internal.types import Float
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
from rootml.sbi.likelihood._lanes import FETCHED, LANES, added, fetch, load, spread, store, total
from rootml.sbi.likelihood._layout import Layout, Plan
from rootml.sbi.likelihood._store import BLOCK, Store

T = TypeVar("T")
_BLOCK = BLOCK
_NORMAL = 2.2250738585072014e-308
_NONE = np.empty(0)
_PIECE = 64  # blocks that are summed by one call


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


@inline
def _row_ahead(rows: Any, place: int) -> int:
    """The row that is fetched where so many rows are done: two for each four."""
    return rows[min(place // 2, len(rows) - 1)]  # type: ignore[no-any-return]


@inline
def _add_rows(
    out: Any, block: Any, table: Any, first: int, stop: int, weights: Any, ahead: Any, rows: Any
) -> None:
    """``out += sum of weight * row`` over rows ``table[first:stop, 0]``.

    Args:
        ahead, rows: Rows of a block that are fetched meanwhile.
    """
    j = first
    while j + 4 <= stop:
        a, b, c, d = table[j, 0], table[j + 1, 0], table[j + 2, 0], table[j + 3, 0]
        wa, wb, wc, wd = (
            spread(weights[a]),
            spread(weights[b]),
            spread(weights[c]),
            spread(weights[d]),
        )
        ra, rb, rc, rd = block[a], block[b], block[c], block[d]
        next_a, next_b = ahead[_row_ahead(rows, j)], ahead[_row_ahead(rows, j + 2)]
        for i in range(0, _BLOCK, FETCHED):
            fetch(next_a, i)
            fetch(next_b, i)
            for k in range(i, i + FETCHED, LANES):
                found = added(load(out, k), wa, load(ra, k))
                found = added(found, wb, load(rb, k))
                found = added(found, wc, load(rc, k))
                store(out, k, added(found, wd, load(rd, k)))
        j += 4
    while j < stop:
        _add_scaled(out, block[table[j, 0]], weights[table[j, 0]], _BLOCK)
        j += 1


@inline
def _dot_rows(
    sums: Any, left: Any, block: Any, table: Any, first: int, stop: int, ahead: Any, rows: Any
) -> None:
    """``sums[row] += left . row`` for rows ``table[first:stop, 0]``; see `_add_rows`."""
    j = first
    while j + 4 <= stop:
        a, b, c, d = table[j, 0], table[j + 1, 0], table[j + 2, 0], table[j + 3, 0]
        ra, rb, rc, rd = block[a], block[b], block[c], block[d]
        next_a, next_b = ahead[_row_ahead(rows, j)], ahead[_row_ahead(rows, j + 2)]
        sa, sb, sc, sd = spread(0.0), spread(0.0), spread(0.0), spread(0.0)
        for i in range(0, _BLOCK, FETCHED):
            fetch(next_a, i)
            fetch(next_b, i)
            for k in range(i, i + FETCHED, LANES):
                mine = load(left, k)
                sa = added(sa, mine, load(ra, k))
                sb = added(sb, mine, load(rb, k))
                sc = added(sc, mine, load(rc, k))
                sd = added(sd, mine, load(rd, k))
        sums[a] += total(sa)
        sums[b] += total(sb)
        sums[c] += total(sc)
        sums[d] += total(sd)
        j += 4
    while j < stop:
        sums[table[j, 0]] += _dot(left, block[table[j, 0]], _BLOCK)
        j += 1


@inline
def _end_of(table: Any, first: int, column: int, value: int) -> int:
    """The end of the rows from `first` on that have a value in a column."""
    stop = first
    while stop < len(table) and table[stop, column] == value:
        stop += 1
    return stop


@jit
def _pass(
    blocks: Any,
    first_block: int,
    stop_block: int,
    events: int,
    weights: Any,
    coefficients: Any,
    exponential: Any,
    polynomial: Any,
    rows: Any,
    row_weights: Any,
    totals: Any,
    density_wanted: bool,
    gradient: bool,
) -> None:
    """One pass over some blocks; adds to `totals`.

    Args:
        exponential: ``(row, 2)``: row number and process; sorted by process.
        polynomial: ``(row, 3)``: row number, process, group; sorted by group.
        rows: The row numbers of both, one after the other.
        totals: ``(piece, row + 2)``: sums of the rows, value, and how many densities are bad.
    """
    processes, last = len(coefficients), totals.shape[1] - 2
    groups = 0 if len(polynomial) == 0 else polynomial[-1, 2] + 1
    terms = np.empty((processes, _BLOCK))
    factors = np.empty((groups, _BLOCK))
    scratch, density, quotient = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    half, gone = len(rows) // 2, len(exponential) // 2
    for b in range(first_block, stop_block):
        block, start, sums = blocks[b], b * _BLOCK, totals[b // _PIECE]
        following = blocks[min(b + 1, stop_block - 1)]
        size = min(_BLOCK, events - start)
        density[:] = 0.0
        at, place = 0, 0
        for p in range(processes):
            term = terms[p]
            for i in range(_BLOCK):
                term[i] = block[p, i]
            stop = _end_of(exponential, at, 1, p)
            if stop > at:
                scratch[:] = 0.0
                _add_rows(scratch, block, exponential, at, stop, row_weights, block, rows[half:])
                _times_exp(term, scratch, _BLOCK)
                at = stop
            while place < len(polynomial) and polynomial[place, 1] == p:
                group = polynomial[place, 2]
                stop = _end_of(polynomial, place, 2, group)
                factor = factors[group]
                factor[:] = 1.0
                _add_rows(
                    factor, block, polynomial, place, stop, row_weights, block, rows[half + gone :]
                )
                place = stop
                for i in range(_BLOCK):
                    term[i] *= factor[i]
            if density_wanted:
                _add_scaled(density, term, coefficients[p], _BLOCK)
        ours = weights[start : start + size] if len(weights) else weights
        if density_wanted:
            if _count(density, _NORMAL, size) == 0:
                if len(weights):
                    sums[last] += _weighted_log(density, ours, size)
                else:
                    sums[last] += _log_of_product(density, size)
            else:  # a subnormal or one that is not positive
                sums[last + 1] += _count(density, 0.0, size)
                sums[last] += _slow_log(density, ours, size)
        if density_wanted and not gradient:
            continue
        for i in range(size):
            quotient[i] = 1.0 / density[i] if density_wanted else 1.0
        quotient[size:] = 0.0
        if len(weights):
            for i in range(size):
                quotient[i] *= ours[i]
        for p in range(processes):
            total = 0.0
            for i in range(_BLOCK):
                terms[p, i] *= quotient[i]
                total += terms[p, i]
            sums[p] += total
        if not gradient:
            continue
        at = 0
        for p in range(processes):
            stop = _end_of(exponential, at, 1, p)
            _dot_rows(sums, terms[p], block, exponential, at, stop, following, rows)
            at = stop
        place = 0
        for group in range(groups):
            p, stop = polynomial[place, 1], _end_of(polynomial, place, 2, group)
            for i in range(_BLOCK):
                scratch[i] = terms[p, i] / factors[group, i]
            _dot_rows(sums, scratch, block, polynomial, place, stop, following, rows[gone:])
            place = stop


def pieces(
    store: Store, function: Callable[[int, int], T], threads: int, *, size: int = _PIECE
) -> list[T]:
    """`function` of the first and last block of every piece of `size` blocks, in order."""
    number = len(store.blocks)
    places = [(first, min(first + size, number)) for first in range(0, number, size)]
    if threads == 1 or len(places) < 2:
        return [function(*place) for place in places]
    with ThreadPoolExecutor(min(threads, len(places))) as pool:
        return list(pool.map(lambda place: function(*place), places))


def _summed(
    store: Store, weights: Float | None, layout: Layout, plan: Plan, coefficients: Float,
    *, density: bool, gradient: bool, threads: int,
) -> Sums:  # fmt: skip
    ours = _NONE if weights is None else weights
    number = len(store.blocks)
    totals = np.zeros((-(-number // _PIECE), layout.num_rows + 2))

    def some(first: int, stop: int) -> None:
        _pass(
            store.blocks, first, stop, store.num_events, ours, coefficients,
            *plan.tables, plan.weights[0], totals, density, gradient,
        )  # fmt: skip

    if threads == 1:  # one call for all pieces
        some(0, number)
    else:
        pieces(store, some, threads)
    total = totals.sum(axis=0)
    bad = int(total[-1])
    return Sums(float(total[-2]) if bad == 0 else math.nan, bad, total[:-2])


def density_sums(
    store: Store,
    weights: Float | None,
    layout: Layout,
    plan: Plan,
    coefficients: Float,
    *,
    gradient: bool,
    threads: int = 1,
) -> Sums:
    """``sum w log d``, and the sums of its gradient if wanted."""
    return _summed(
        store, weights, layout, plan, coefficients, density=True, gradient=gradient,
        threads=threads,
    )  # fmt: skip


def reference_sums(
    store: Store,
    weights: Float | None,
    layout: Layout,
    plan: Plan,
    *,
    gradient: bool = True,
    threads: int = 1,
) -> Float:
    """``sum w t`` and, if wanted, its derivatives' sums, per row."""
    ones = np.ones(len(layout.processes))
    found = _summed(
        store, weights, layout, plan, ones, density=False, gradient=gradient, threads=threads
    )
    return found.rows
