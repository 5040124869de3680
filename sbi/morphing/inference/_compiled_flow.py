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
from rootml.sbi.morphing.flow._lanes import LANES, find_bins
from rootml.sbi.morphing.flow._spline import BOUND, MAX_INPUT, MIN_SIZE
from rootml.sbi.morphing.inference._dense_tile import BLOCK, dense_block

_BOUND = np.float32(BOUND)
_SPAN = np.float32(2 * BOUND)
_MAX_INPUT = np.float32(MAX_INPUT)
_MIN_SIZE = np.float32(MIN_SIZE)
_ZERO, _ONE, _TWO, _FOUR = np.float32(0), np.float32(1), np.float32(2), np.float32(4)


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
    """Transform a row of `x`; `found` is filled by `find_bins`."""
    find_bins(x, row, raw, at, bins, inverse, work, found, bits, power)
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
    work, found = np.empty((2, LANES), np.float32), np.empty((7, LANES), np.float32)
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
