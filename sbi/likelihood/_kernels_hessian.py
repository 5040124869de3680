"""The sums behind a Hessian, compiled. Pseudo-code, per block of events::

t[p], d      as in `_kernels`; share[p] = t[p] / d (or t[p], over the reference)
shares[p, q] += sum w share[p] share[q]
for each process p, for each parameter k of its shape:
    s[k]  = sum of w'_j X_j (exponential rows of k) + (sum w'_j B_j) / f (its polynomial group)
    gradient[p, k] += sum w share[p] s[k]
    hessian[p, k, k] += sum w share[p] (sum w''_j X_j + (sum w''_j B_j) / f - (first / f)^2)
    for each l <= k:  hessian[p, k, l] += sum w share[p] s[k] s[l]
    D[k] += c[p] share[p] s[k]
cross[p, k] += sum w share[p] D[k]
outer[k, l] += sum w D[k] D[l]

The derivatives of an event's density by all parameters are ``J^T share + D``, with J = dc/dtheta.
D has the parameters of shapes only, so that the many that change nothing but yields cost nothing
here: ``J^T shares J + J^T cross + cross^T J + outer`` is the sum of all products.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.likelihood._jit import inline, jit
from rootml.sbi.likelihood._kernels import _NONE, _add_scaled, _count, _dot, _times_exp, pieces
from rootml.sbi.likelihood._kernels_numpy import SecondSums
from rootml.sbi.likelihood._layout import Indices, Layout, Plan
from rootml.sbi.likelihood._store import BLOCK, Store

_BLOCK = BLOCK
_PIECE = 128  # blocks that are summed by one call


class _Rows(NamedTuple):
    """The rows in use: attributes of `SecondTables`, and `Plan.weights`."""

    exponential: Any
    polynomial: Any
    parameters: Any
    shapers: Any
    weights: Any


class _Totals(NamedTuple):
    """What a pass adds to; see the pseudo-code."""

    terms: Any
    gradient: Any
    hessian: Any
    shares: Any
    cross: Any
    outer: Any
    bad: Any


class _Work(NamedTuple):
    """Space for one block: ``(..., event)`` each.

    Attributes:
        share: Per process t[p], then t[p] / d.
        factors: Per polynomial group its factor.
        first: s of one process, per place among its parameters.
        relative: D, per parameter of a shape.
        mass: Weight times share of one process.
        scaled: A part of the sums, times the weight.
        order: 0, 1, 2, ...
        one, two: For sums in the making.
    """

    share: Any
    factors: Any
    first: Any
    relative: Any
    mass: Any
    scaled: Any
    order: Any
    one: Any
    two: Any


@inline
def _work(processes: int, groups: int, places: int, number: int) -> Any:
    return _Work(
        np.empty((processes, _BLOCK)), np.empty((groups, _BLOCK)), np.empty((places, _BLOCK)),
        np.empty((number, _BLOCK)), np.empty(_BLOCK), np.empty((max(places, number), _BLOCK)),
        np.arange(number), np.empty(_BLOCK), np.empty(_BLOCK),
    )  # fmt: skip


@inline
def _sum(row: Any) -> float:
    total = 0.0
    for i in range(_BLOCK):
        total += row[i]
    return total


@inline
def _times(out: Any, factor: Any) -> None:
    for i in range(_BLOCK):
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
def _fill_term(work: Any, p: int, block: Any, rows: Any) -> None:
    """``share[p] = t[p]``, and the factors of its polynomial groups."""
    share, exponent, changed = work.share[p], work.one, False
    for i in range(_BLOCK):
        share[i] = block[p, i]
    exponent[:] = 0.0
    for j in range(len(rows.exponential)):
        if rows.exponential[j, 1] == p:
            row, changed = rows.exponential[j, 0], True
            _add_scaled(exponent, block[row], rows.weights[0, row], _BLOCK)
    if changed:
        _times_exp(share, exponent, _BLOCK)
    for j in range(len(rows.polynomial)):
        if rows.polynomial[j, 1] == p:
            row, factor = rows.polynomial[j, 0], work.factors[rows.polynomial[j, 3]]
            if _starts(rows.polynomial, j):
                factor[:] = 1.0
            _add_scaled(factor, block[row], rows.weights[0, row], _BLOCK)
            if _ends(rows.polynomial, j):
                _times(share, factor)


@inline
def _divide_by_density(work: Any, coefficients: Any, size: int, bad: Any) -> None:
    """``share[p] = t[p] / d``, 0 behind the last event; counts densities that are not positive."""
    density = work.one
    density[:] = 0.0
    for p in range(len(coefficients)):
        _add_scaled(density, work.share[p], coefficients[p], _BLOCK)
    bad[0] += _count(density, 0.0, size)
    for i in range(size):
        density[i] = 1.0 / density[i]
    density[size:] = 0.0
    for p in range(len(coefficients)):
        _times(work.share[p], density)


@inline
def _exponential_derivatives(work: Any, p: int, block: Any, rows: Any, totals: Any) -> None:
    """Exponential rows: to s, and second derivatives on the diagonal."""
    for j in range(len(rows.exponential)):
        if rows.exponential[j, 1] == p:
            row, k = rows.exponential[j, 0], rows.exponential[j, 2]
            _add_scaled(work.first[k], block[row], rows.weights[1, row], _BLOCK)
            if rows.weights[2, row] != 0.0:
                at = rows.parameters[p, k]
                curved = rows.weights[2, row] * _dot(work.mass, block[row], _BLOCK)
                totals.hessian[p, at, at] += curved


@inline
def _polynomial_derivatives(work: Any, p: int, block: Any, rows: Any, totals: Any) -> None:
    """Polynomial groups: to s, and second derivatives on the diagonal."""
    one, two, mass = work.one, work.two, work.mass
    for j in range(len(rows.polynomial)):
        if rows.polynomial[j, 1] == p:
            row, k = rows.polynomial[j, 0], rows.polynomial[j, 2]
            if _starts(rows.polynomial, j):
                one[:] = 0.0
                two[:] = 0.0
            _add_scaled(one, block[row], rows.weights[1, row], _BLOCK)
            _add_scaled(two, block[row], rows.weights[2, row], _BLOCK)
            if _ends(rows.polynomial, j):
                factor, first = work.factors[rows.polynomial[j, 3]], work.first[k]
                for i in range(_BLOCK):
                    one[i] /= factor[i]
                    two[i] = two[i] / factor[i] - one[i] * one[i]
                    first[i] += one[i]
                at = rows.parameters[p, k]
                totals.hessian[p, at, at] += _dot(mass, two, _BLOCK)


@inline
def _add_square(out: Any, left: Any, right: Any, places: Any, number: int) -> None:
    """``out[places[k], places[m]] += left[k] . right[m]`` for every m <= k.

    Two by four at a time: each number is loaded once for several products.
    """
    k = 0
    while k < number:
        more, m = k + 1 < number, 0
        a, b = left[k], left[k + 1 if more else k]
        while m + 4 <= k + 1:
            c, d, e, f = right[m], right[m + 1], right[m + 2], right[m + 3]
            ac, ad, ae, af = 0.0, 0.0, 0.0, 0.0
            bc, bd, be, bf = 0.0, 0.0, 0.0, 0.0
            for i in range(_BLOCK):
                ac += a[i] * c[i]
                ad += a[i] * d[i]
                ae += a[i] * e[i]
                af += a[i] * f[i]
                bc += b[i] * c[i]
                bd += b[i] * d[i]
                be += b[i] * e[i]
                bf += b[i] * f[i]
            at = places[k]
            out[at, places[m]] += ac
            out[at, places[m + 1]] += ad
            out[at, places[m + 2]] += ae
            out[at, places[m + 3]] += af
            if more:
                at = places[k + 1]
                out[at, places[m]] += bc
                out[at, places[m + 1]] += bd
                out[at, places[m + 2]] += be
                out[at, places[m + 3]] += bf
            m += 4
        for rest in range(m, k + 1):
            out[places[k], places[rest]] += _dot(a, right[rest], _BLOCK)
        if more:
            for rest in range(m, k + 2):
                out[places[k + 1], places[rest]] += _dot(b, right[rest], _BLOCK)
        k += 2


@inline
def _add_products(
    work: Any, p: int, coefficient: float, rows: Any, totals: Any, density_wanted: bool
) -> None:
    """``sum w share s``, ``sum w share s s``, and s to D."""
    first, mass, parameters = work.first, work.mass, rows.parameters
    gradient, hessian, relative, share = totals.gradient, totals.hessian, work.relative, work.share
    number = 0
    while number < parameters.shape[1] and parameters[p, number] >= 0:
        k, at = number, parameters[p, number]
        scaled = work.scaled[k]
        for i in range(_BLOCK):
            scaled[i] = first[k, i] * mass[i]
        gradient[p, at] += _sum(scaled)
        if density_wanted:
            place = rows.shapers[p, k]
            for i in range(_BLOCK):
                relative[place, i] += coefficient * share[p, i] * first[k, i]
        number += 1
    _add_square(hessian[p], work.scaled, first, parameters[p], number)


@inline
def _add_shares(work: Any, p: int, totals: Any) -> None:
    """``sum w share share``, up to the process at hand."""
    for q in range(p + 1):
        totals.shares[p, q] += _dot(work.mass, work.share[q], _BLOCK)


@inline
def _add_outer(work: Any, weights: Any, totals: Any, size: int) -> None:
    """``sum w D D`` and ``sum w share D``."""
    relative, share = work.relative, work.share
    for k in range(len(relative)):
        scaled = work.scaled[k]
        for i in range(_BLOCK):
            scaled[i] = relative[k, i]
        if len(weights):
            for i in range(size):
                scaled[i] *= weights[i]
        for p in range(len(share)):
            totals.cross[p, k] += _dot(scaled, share[p], _BLOCK)
    _add_square(totals.outer, work.scaled, relative, work.order, len(relative))


@jit
def _second(
    blocks: Any, first_block: int, stop_block: int, events: int, weights: Any, coefficients: Any,
    rows: Any, totals: Any, density_wanted: bool,
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
            _fill_term(work, p, block, rows)
        if density_wanted:
            _divide_by_density(work, coefficients, size, totals.bad)
        work.relative[:] = 0.0
        for p in range(processes):
            mass = work.mass
            for i in range(_BLOCK):
                mass[i] = work.share[p, i]
            if len(weights):
                for i in range(size):
                    mass[i] *= ours[i]
            totals.terms[p] += _sum(mass)
            if density_wanted:
                _add_shares(work, p, totals)
            work.first[:] = 0.0
            _exponential_derivatives(work, p, block, rows, totals)
            _polynomial_derivatives(work, p, block, rows, totals)
            _add_products(work, p, coefficients[p], rows, totals, density_wanted)
        if density_wanted:
            _add_outer(work, ours, totals, size)


def second_sums(
    store: Store,
    weights: Float | None,
    layout: Layout,
    plan: Plan,
    coefficients: Float | None,
    jacobian: Float | None,
    *,
    threads: int = 1,
) -> SecondSums:
    """The sums behind a Hessian; without `coefficients`, those of the reference."""
    number, processes = len(layout.names), len(layout.processes)
    wanted = coefficients is not None
    tables = layout.second_tables(plan)
    shapers = tables.all_shapers
    rows = _Rows(
        tables.exponential, tables.polynomial, tables.parameters, tables.shapers, plan.weights
    )

    def one(first: int, stop: int) -> _Totals:
        totals = _no_sums(processes, number, len(shapers))
        _second(
            store.blocks, first, stop, store.num_events, _NONE if weights is None else weights,
            np.ones(processes) if coefficients is None else coefficients, rows, totals, wanted,
        )  # fmt: skip
        return totals

    sums = _no_sums(processes, number, len(shapers))
    for more in pieces(store, one, threads, size=_PIECE):
        for whole, part in zip(sums, more, strict=True):
            np.add(whole, part, out=whole)
    outer = np.zeros((number, number))
    if wanted and jacobian is not None:
        outer = _products(sums, jacobian, shapers)
    bad = int(sums.bad[0])
    return SecondSums(sums.terms, sums.gradient, _mirrored(sums.hessian), outer, bad)


def _products(sums: _Totals, jacobian: Float, shapers: Indices) -> Float:
    """The sum of products of the density's relative derivatives, ``(parameter, parameter)``."""
    finite = np.isfinite(jacobian).all(axis=0)  # no derivative here: NaN in the end
    known = jacobian if finite.all() else np.where(finite, jacobian, 0.0)
    outer = np.asarray(known.T @ _mirrored(sums.shares) @ known)
    mixed = known.T @ sums.cross
    outer[:, shapers] += mixed
    outer[shapers] += mixed.T
    outer[shapers[:, None], shapers] += _mirrored(sums.outer)
    if known is not jacobian:
        outer[~finite, :] = outer[:, ~finite] = np.nan
    return outer


def _mirrored(squares: Float) -> Float:
    """Symmetric sums of products, ``(..., k, k)``: each pair of places was added to one of two."""
    found = squares + np.swapaxes(squares, -1, -2)
    places = np.arange(squares.shape[-1])
    found[..., places, places] *= 0.5
    return found


def _no_sums(processes: int, number: int, shapers: int) -> _Totals:
    return _Totals(
        np.zeros(processes), np.zeros((processes, number)),
        np.zeros((processes, number, number)), np.zeros((processes, processes)),
        np.zeros((processes, shapers)), np.zeros((shapers, shapers)), np.zeros(1),
    )  # fmt: skip
