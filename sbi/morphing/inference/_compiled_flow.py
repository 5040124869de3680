"""Both directions of the flow in one compiled function, a tile of rows at a time.

BLAS gives a row other last bits in another batch; here each row has a lane of its own, all lanes
do the same, and tiles are always full, so that a row comes out the same wherever it stands. Arrays
are `(row of the matrix, lane)`; every inner loop runs over the lanes of a tile and is turned into
vector instructions. In words::

    for each tile:
        x = z transposed; c = context transposed
        for switch 0 with layers forward, switch 1 with layers backward:
            h = [x_kept within limits, c, switch]
            for each dense layer: eight outputs at a time, see `_dense_tile`,
                h'[j] = b[j] + sum_k W[j, k] h[k];  relu, except for the last
            for each moved feature:
                sizes = softmax of widths, of heights            exp by a polynomial
                bin by bin: where x >= lower edge, take edges, sizes and raw slopes of the bin
                slopes = MIN_SIZE + softplus(raw);  x = curve within the bin, inside the bounds
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rootml.sbi.likelihood._jit import inline, jit
from rootml.sbi.morphing.flow._spline import BOUND, MAX_INPUT, MIN_SIZE, UNIT_SLOPE
from rootml.sbi.morphing.inference._dense_tile import BLOCK, LANES, dense_block

_BOUND = np.float32(BOUND)
_SPAN = np.float32(2 * BOUND)
_MAX_INPUT = np.float32(MAX_INPUT)
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


@inline
def _exp(values: Any, row: Any, bits: Any, power: Any) -> None:
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
def _softplus(values: Any, row: Any, work: Any, bits: Any, power: Any) -> None:
    """``log(1 + exp(v))`` of a row, in place, by the series of the inverse hyperbolic tangent."""
    for e in range(LANES):
        work[0, e] = -abs(values[row, e])
    _exp(work, 0, bits, power)
    for e in range(LANES):
        s = work[0, e] / (_TWO + work[0, e])
        q = s * s
        high = _L9 + q * (_L11 + q * (_L13 + q * _L15))
        log = s * (_TWO + q * (_L3 + q * (_L5 + q * (_L7 + q * high))))
        values[row, e] = max(values[row, e], _ZERO) + log


@inline
def _softmax(raw: Any, first: Any, bins: Any, work: Any, bits: Any, power: Any) -> None:
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
        _exp(raw, first + k, bits, power)
        for e in range(LANES):
            work[1, e] += raw[first + k, e]
    scale = _ONE - _MIN_SIZE * np.float32(bins)
    for e in range(LANES):
        work[1, e] = scale / work[1, e]
    for k in range(bins):
        for e in range(LANES):
            raw[first + k, e] = _MIN_SIZE + raw[first + k, e] * work[1, e]


@inline
def _dense(flat: Any, sizes: Any, h: Any, out: Any, last: Any) -> None:
    """``out = W h + b``, with relu unless it is the last layer."""
    weights, bias, inputs, outputs = sizes[0], sizes[1], sizes[2], sizes[3]
    for j in range(0, outputs, BLOCK):
        dense_block(flat, weights + j * inputs, bias + j, inputs, h, out, j)
        if not last:
            for q in range(j, j + BLOCK):
                for e in range(LANES):
                    out[q, e] = max(out[q, e], _ZERO)


@inline
def _spline(
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
    """Transform a row of `x`; `found` holds edges, sizes and slopes of each lane's bin."""
    _softmax(raw, at, bins, work, bits, power)
    _softmax(raw, at + bins, bins, work, bits, power)
    along, other = (at + bins, at) if inverse else (at, at + bins)
    slopes = at + 2 * bins
    for e in range(LANES):
        found[0, e] = -_BOUND
        found[1, e] = -_BOUND
        found[2, e] = raw[along, e]
        found[3, e] = raw[other, e]
        found[4, e] = _UNIT
        found[5, e] = raw[slopes, e]
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
    _softplus(found, 4, work, bits, power)
    _softplus(found, 5, work, bits, power)
    for e in range(LANES):
        v = x[row, e]
        d0, d1 = found[4, e] + _MIN_SIZE, found[5, e] + _MIN_SIZE
        length, rise = _SPAN * found[2, e], _SPAN * found[3, e]
        step = min(max(v, -_BOUND), _BOUND) - found[0, e]
        if inverse:
            s = length / rise
            bend = d0 + d1 - _TWO * s
            a = length * (s - d0) + step * bend
            b = length * d0 - step * bend
            c = -s * step
            root = np.sqrt(max(b * b - _FOUR * a * c, _ZERO))
            y = found[1, e] + _TWO * c / (-b - root) * rise
        else:
            s = rise / length
            t = step / length
            arch = t * (_ONE - t)
            bent = s + (d0 + d1 - _TWO * s) * arch
            y = found[1, e] + rise * (s * t * t + d0 * arch) / bent
        inside = (v > -_BOUND) & (v < _BOUND)
        x[row, e] = y if inside else v


@inline
def _layer(
    x: Any,
    c: Any,
    flat: Any,
    layout: Any,
    order: Any,
    kept: Any,
    bins: Any,
    inverse: Any,
    h: Any,
    out: Any,
    work: Any,
    found: Any,
    bits: Any,
    power: Any,
) -> None:
    features, context = x.shape[0], c.shape[0]
    for q in range(kept):
        for e in range(LANES):
            h[q, e] = min(max(x[order[q], e], -_MAX_INPUT), _MAX_INPUT)
    for q in range(context):
        for e in range(LANES):
            h[kept + q, e] = c[q, e]
    last = layout.shape[0] - 1
    for k in range(last + 1):
        if k % 2 == 0:
            _dense(flat, layout[k], h, out, k == last)
        else:
            _dense(flat, layout[k], out, h, k == last)
    raw = out if last % 2 == 0 else h
    for q in range(features - kept):
        _spline(
            x, order[kept + q], raw, q * (3 * bins - 1), bins, inverse, work, found, bits, power
        )


@jit
def morph(
    z: Any,
    context: Any,
    flat: Any,
    layout: Any,
    orders: Any,
    kept: Any,
    bins: Any,
    width: Any,
    first: Any,
    result: Any,
) -> None:
    """Fill `result` with z' of z, float32 `(rows, features)`.

    Args:
        context: float32 `(rows, columns)`; its last column, the switch, is ignored.
        flat: All weights, as `dense_block` takes them, and biases; outputs are padded.
        layout: int64 `(layers, dense layers, 4)`: where weights and biases begin, the number of
            inputs and the padded number of outputs.
        orders: int64 `(layers, features)`: those that are kept, then those that move.
        kept: int64 `(layers,)`: how many are kept.
        width: Largest number of inputs or padded outputs.
        first: 0: forward with switch 0, then backward with switch 1; 1: backward alone.
    """
    rows, features = z.shape
    columns = context.shape[1]
    x, c = np.empty((features, LANES), np.float32), np.empty((columns, LANES), np.float32)
    h, out = np.empty((width, LANES), np.float32), np.empty((width, LANES), np.float32)
    work, found = np.empty((2, LANES), np.float32), np.empty((6, LANES), np.float32)
    bits = np.empty(LANES, np.int32)
    power = bits.view(np.float32)
    layers = len(kept)
    for start in range(0, rows, LANES):
        count = min(LANES, rows - start)
        for e in range(LANES):
            i = start + min(e, count - 1)
            for j in range(features):
                x[j, e] = z[i, j]
            for j in range(columns - 1):
                c[j, e] = context[i, j]
        for direction in range(first, 2):
            inverse = direction == 1
            for e in range(LANES):
                c[columns - 1, e] = np.float32(direction)
            for step in range(layers):
                n = layers - 1 - step if inverse else step
                _layer(
                    x,
                    c,
                    flat,
                    layout[n],
                    orders[n],
                    kept[n],
                    bins,
                    inverse,
                    h,
                    out,
                    work,
                    found,
                    bits,
                    power,
                )
        for e in range(count):
            for j in range(features):
                result[start + e, j] = x[j, e]
