"""Splines of many rows at once: each row has a lane of its own, and all lanes do the same.

Arrays are `(row of the matrix, lane)`; every inner loop runs over the `LANES` lanes of a tile and
is turned into vector instructions. `exp` and `log` are polynomials. For training
(`_compiled_spline`) and for the fitted flow (`_compiled_flow`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rootml.sbi.likelihood._jit import inline
from rootml.sbi.morphing.flow._spline import BOUND, MIN_SIZE, UNIT_SLOPE

LANES = 32
"""Rows of a tile."""

_BOUND = np.float32(BOUND)
_SPAN = np.float32(2 * BOUND)
_MIN_SIZE = np.float32(MIN_SIZE)
_UNIT = np.float32(UNIT_SLOPE)
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_TWO, _FOUR = np.float32(2), np.float32(4)
_LOWEST = np.float32(-80)
_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_E2, _E3, _E4 = np.float32(0.5), np.float32(1 / 6), np.float32(1 / 24)
_E5, _E6 = np.float32(1 / 120), np.float32(1 / 720)
_L3, _L5, _L7 = np.float32(2 / 3), np.float32(2 / 5), np.float32(2 / 7)
_L9, _L11, _L13 = np.float32(2 / 9), np.float32(2 / 11), np.float32(2 / 13)
_L15 = np.float32(2 / 15)
_BIAS = np.int32(127)
_SHIFT = np.int32(23)
_MANTISSA, _ONE_BITS = np.int32(0x007FFFFF), np.int32(0x3F800000)
_ROOT2, _LN2 = np.float32(1.4142135), np.float32(0.6931472)


@inline
def exp_lanes(values: Any, row: Any, bits: Any, power: Any) -> None:
    """``exp`` of a row, of numbers that are not positive, in place; 0 below -80.

    n = nearest integer to x / ln 2, r = x - n ln 2, a polynomial in r, times 2^n made of bits;
    `power` is `bits` seen as floats.
    """
    for e in range(LANES):
        n = np.floor(max(values[row, e], _LOWEST) * _LOG2E + _HALF)
        bits[e] = (np.int32(n) + _BIAS) << _SHIFT
    for e in range(LANES):
        x = max(values[row, e], _LOWEST)
        n = np.floor(x * _LOG2E + _HALF)
        r = (x - n * _LN2_HIGH) - n * _LN2_LOW
        high = _E4 + r * (_E5 + r * _E6)
        values[row, e] = (_ONE + r * (_ONE + r * (_E2 + r * (_E3 + r * high)))) * power[e]


@inline
def softplus(values: Any, row: Any, work: Any, bits: Any, power: Any) -> None:
    """``log(1 + exp(v))`` of a row, in place, by the series of the inverse hyperbolic tangent."""
    for e in range(LANES):
        work[0, e] = -abs(values[row, e])
    exp_lanes(work, 0, bits, power)
    for e in range(LANES):
        s = work[0, e] / (_TWO + work[0, e])
        q = s * s
        high = _L9 + q * (_L11 + q * (_L13 + q * _L15))
        log = s * (_TWO + q * (_L3 + q * (_L5 + q * (_L7 + q * high))))
        values[row, e] = max(values[row, e], _ZERO) + log


@inline
def softmax(raw: Any, first: Any, bins: Any, work: Any, bits: Any, power: Any) -> None:
    """Raw sizes to sizes, in place."""
    for e in range(LANES):
        work[0, e] = raw[first, e]
        work[1, e] = _ZERO
    for k in range(1, bins):
        for e in range(LANES):
            work[0, e] = max(work[0, e], raw[first + k, e])
    for k in range(bins):
        for e in range(LANES):
            raw[first + k, e] -= work[0, e]
        exp_lanes(raw, first + k, bits, power)
        for e in range(LANES):
            work[1, e] += raw[first + k, e]
    scale = _ONE - _MIN_SIZE * np.float32(bins)
    for e in range(LANES):
        work[1, e] = scale / work[1, e]
    for k in range(bins):
        for e in range(LANES):
            raw[first + k, e] = _MIN_SIZE + raw[first + k, e] * work[1, e]


@inline
def log_lanes(values: Any, row: Any, bits: Any, power: Any) -> None:
    """``log`` of a row of positive numbers that are not subnormal, in place.

    x = m 2^n with m in [1/sqrt 2, sqrt 2]; log m by the series of the inverse hyperbolic tangent.
    """
    for e in range(LANES):
        power[e] = values[row, e]
    for e in range(LANES):
        n = np.float32((bits[e] >> _SHIFT) - _BIAS)
        bits[e] = (bits[e] & _MANTISSA) | _ONE_BITS
        values[row, e] = n
    for e in range(LANES):
        m, n = power[e], values[row, e]
        above = m > _ROOT2
        m = _HALF * m if above else m
        n = n + _ONE if above else n
        s = (m - _ONE) / (m + _ONE)
        q = s * s
        log = s * (_TWO + q * (_L3 + q * (_L5 + q * (_L7 + q * (_L9 + q * _L11)))))
        values[row, e] = log + n * _LN2


@inline
def find_bins(
    x: Any,
    row: Any,
    raw: Any,
    at: Any,
    bins: Any,
    inverse: Any,
    work: Any,
    found: Any,
    bits: Any,
    power: Any,
) -> None:
    """For each lane the bin that holds a row of `x`; raw sizes become sizes, in place.

    Fills `found` `(7, lanes)`: lower edges along and across, sizes along and across, softplus of
    the raw slopes at both ends, and the number of the bin.
    """
    softmax(raw, at, bins, work, bits, power)
    softmax(raw, at + bins, bins, work, bits, power)
    along, other = (at + bins, at) if inverse else (at, at + bins)
    slopes = at + 2 * bins
    for e in range(LANES):
        found[0, e] = -_BOUND
        found[1, e] = -_BOUND
        found[2, e] = raw[along, e]
        found[3, e] = raw[other, e]
        found[4, e] = _UNIT
        found[5, e] = raw[slopes, e]
        found[6, e] = _ZERO
        work[0, e] = -_BOUND
        work[1, e] = -_BOUND
    for k in range(1, bins):
        next_slope = slopes + min(k, bins - 2)
        for e in range(LANES):
            low = work[0, e] + _SPAN * raw[along + k - 1, e]
            level = work[1, e] + _SPAN * raw[other + k - 1, e]
            work[0, e] = low
            work[1, e] = level
            beyond = x[row, e] >= low
            end = raw[next_slope, e] if k < bins - 1 else _UNIT
            found[0, e] = low if beyond else found[0, e]
            found[1, e] = level if beyond else found[1, e]
            found[2, e] = raw[along + k, e] if beyond else found[2, e]
            found[3, e] = raw[other + k, e] if beyond else found[3, e]
            found[4, e] = raw[slopes + k - 1, e] if beyond else found[4, e]
            found[5, e] = end if beyond else found[5, e]
            found[6, e] = found[6, e] + _ONE if beyond else found[6, e]
    softplus(found, 4, work, bits, power)
    softplus(found, 5, work, bits, power)
