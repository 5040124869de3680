"""The splines of `_spline` compiled by numba, with gradients, to train with (`_flow_gradient`).

A tile of rows at a time, one row in each lane, see `_lanes`; arrays are `(columns, rows)`. The
gradient is written out by hand. With ``f`` the curve within the bin, ``l`` the
logarithm of its slope, and incoming gradients ``gy`` and ``gl``::

    g[v]      = gy * height * df/dv + gl * dl/dv           for v = t, s, d0, d1
    g[height] = gy * f + g[s] / width;     g[y_bin] = gy
    g[width]  = -g[s] * s / width - g[t] * t / width;      g[x] = -g[x_bin] = g[t] / width
    knots are cumulated sizes: sizes before the bin get g[x_bin], that of the bin g[width]
    softmax and softplus as usual
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rootml.sbi.likelihood._jit import inline, jit
from rootml.sbi.morphing.flow._lanes import LANES, exp_lanes, find_bins, log_lanes
from rootml.sbi.morphing.flow._spline import BOUND, MIN_SIZE

_BOUND = np.float32(BOUND)
_SPAN = np.float32(2 * BOUND)
_MIN_SIZE = np.float32(MIN_SIZE)
_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)


@inline
def _load(values: Any, first: Any, start: Any, tile: Any) -> None:
    """As many columns of values as `tile` has, a row in each lane; the last row fills the rest."""
    rows = values.shape[1]
    if start + LANES <= rows:
        for q in range(tile.shape[0]):
            for e in range(LANES):
                tile[q, e] = values[first + q, start + e]
    else:
        for q in range(tile.shape[0]):
            for e in range(LANES):
                tile[q, e] = values[first + q, min(start + e, rows - 1)]


@inline
def _store(tile: Any, count: Any, start: Any, first: Any, values: Any) -> None:
    """The reverse of `_load`, of `count` lanes."""
    for q in range(tile.shape[0]):
        for e in range(count):
            values[first + q, start + e] = tile[q, e]


@jit
def forward(x: Any, moved: Any, raw: Any, bins: Any, y: Any, logs: Any, places: Any) -> None:
    """Fill `y` `(features, rows)`; add log slopes to `logs` `(rows,)`.

    The columns `moved` of `x` pass splines, the others are copied. `raw` is
    `(moved * (3 * bins - 1), rows)`, its sizes are made relative ones in place; `places`
    `(moved * 7, rows)` is filled with what `find_bins` finds; all float32.
    """
    per = 3 * bins - 1
    tile, v = np.empty((per, LANES), np.float32), np.empty((2, LANES), np.float32)
    work, found = np.empty((2, LANES), np.float32), np.empty((7, LANES), np.float32)
    total = np.empty(LANES, np.float32)
    bits = np.empty(LANES, np.int32)
    power = bits.view(np.float32)
    for start in range(0, x.shape[1], LANES):
        count = min(LANES, x.shape[1] - start)
        for e in range(LANES):
            total[e] = _ZERO
        for j in range(x.shape[0]):
            for e in range(count):
                y[j, start + e] = x[j, start + e]
        for j in range(len(moved)):
            _load(x, moved[j], start, v[:1])
            _load(raw, j * per, start, tile)
            find_bins(v, 0, tile, 0, bins, False, work, found, bits, power)
            _store(tile, count, start, j * per, raw)
            _store(found, count, start, j * 7, places)
            for e in range(LANES):
                at = min(max(v[0, e], -_BOUND), _BOUND)
                width, height = _SPAN * found[2, e], _SPAN * found[3, e]
                d0, d1 = found[4, e] + _MIN_SIZE, found[5, e] + _MIN_SIZE
                s = height / width
                t = (at - found[0, e]) / width
                arch = t * (_ONE - t)
                bent = s + (d0 + d1 - _TWO * s) * arch
                steep = d1 * t * t + _TWO * s * arch + d0 * (_ONE - t) * (_ONE - t)
                inside = (v[0, e] > -_BOUND) & (v[0, e] < _BOUND)
                inner = found[1, e] + height * (s * t * t + d0 * arch) / bent
                v[1, e] = inner if inside else v[0, e]
                work[0, e] = s * s * steep / (bent * bent) if inside else _ONE
            log_lanes(work, 0, bits, power)
            for e in range(LANES):
                total[e] += work[0, e]
            for e in range(count):
                y[moved[j], start + e] = v[1, e]
        for e in range(count):
            logs[start + e] += total[e]


@inline
def _spread(tile: Any, first: Any, bins: Any, number: Any, ends: Any, mean: Any) -> None:
    """Sizes to the gradients of their raw numbers, in place.

    Args:
        number: `(lanes,)`, the bin.
        ends: `(2, lanes)`: gradients by the lower edge of the bin and by its size.
    """
    scale = _ONE / (_ONE - _MIN_SIZE * np.float32(bins))
    for e in range(LANES):
        mean[e] = _ZERO
    for q in range(bins):
        this = np.float32(q)
        for e in range(LANES):
            own = ends[0, e] if this < number[e] else _ZERO
            own = ends[1, e] if this == number[e] else own
            mean[e] += (tile[first + q, e] - _MIN_SIZE) * scale * own
    for q in range(bins):
        this = np.float32(q)
        for e in range(LANES):
            own = ends[0, e] if this < number[e] else _ZERO
            own = ends[1, e] if this == number[e] else own
            tile[first + q, e] = (tile[first + q, e] - _MIN_SIZE) * _SPAN * (own - mean[e])


@jit
def backward(
    x: Any, moved: Any, raw: Any, places: Any, bins: Any, g: Any, gl: Any, graw: Any
) -> None:
    """Turn gradients `g` by `y` into those by `x`, in place; fill those by the raw numbers.

    `raw` and `places` are as `forward` left them; `gl` are the gradients by the log slopes,
    `(rows,)`.
    """
    per = 3 * bins - 1
    tile, v = np.empty((per, LANES), np.float32), np.empty((2, LANES), np.float32)
    work, found = np.empty((2, LANES), np.float32), np.empty((7, LANES), np.float32)
    across, up = np.empty((2, LANES), np.float32), np.empty((2, LANES), np.float32)
    slopes, incoming = np.empty((2, LANES), np.float32), np.empty((2, LANES), np.float32)
    mean = np.empty(LANES, np.float32)
    bits = np.empty(LANES, np.int32)
    power = bits.view(np.float32)
    for start in range(0, x.shape[1], LANES):
        count = min(LANES, x.shape[1] - start)
        for j in range(len(moved)):
            _load(x, moved[j], start, v[:1])
            _load(raw, j * per, start, tile)
            _load(places, j * 7, start, found)
            for e in range(LANES):
                i = start + min(e, count - 1)
                incoming[0, e], incoming[1, e] = g[moved[j], i], gl[i]
            _bin_gradients(v, found, incoming, across, up, slopes)
            _spread(tile, 0, bins, found[6], across, mean)
            _spread(tile, bins, bins, found[6], up, mean)
            _slope_gradients(tile, bins, found, slopes, work, bits, power)
            for e in range(count):
                g[moved[j], start + e] = v[1, e]
            _store(tile, count, start, j * per, graw)


@inline
def _bin_gradients(v: Any, found: Any, incoming: Any, across: Any, up: Any, slopes: Any) -> None:
    """Gradients by the value, by edges and sizes of its bin, and by the slopes at the ends.

    All are 0 beyond the bounds, where the value's own is the incoming one.
    """
    for e in range(LANES):
        value = v[0, e]
        inside = (value > -_BOUND) & (value < _BOUND)
        gy = incoming[0, e] if inside else _ZERO
        gl = incoming[1, e] if inside else _ZERO
        width, height = _SPAN * found[2, e], _SPAN * found[3, e]
        d0, d1 = found[4, e] + _MIN_SIZE, found[5, e] + _MIN_SIZE
        s = height / width
        t = (value - found[0, e]) / width if inside else _ZERO
        left = _ONE - t
        arch, turn = t * left, _ONE - _TWO * t
        bend = d0 + d1 - _TWO * s
        top, bent = s * t * t + d0 * arch, s + bend * arch
        steep = d1 * t * t + _TWO * s * arch + d0 * left * left
        outer, inner = gy * height / (bent * bent), gl / steep
        twice = _TWO * gl / bent
        gt = outer * ((_TWO * s * t + d0 * turn) * bent - top * bend * turn)
        gt += inner * _TWO * (d1 * t + s * turn - d0 * left) - twice * bend * turn
        gs = outer * (t * t * bent - top * (_ONE - _TWO * arch))
        gs += inner * _TWO * arch - twice * (_ONE - _TWO * arch) + _TWO * gl / s
        slopes[0, e] = outer * arch * (bent - top) + inner * left * left - twice * arch
        slopes[1, e] = -outer * top * arch + inner * t * t - twice * arch
        v[1, e] = gt / width if inside else incoming[0, e]
        across[0, e] = -gt / width
        across[1, e] = -(gs * s + gt * t) / width
        up[0, e] = gy
        up[1, e] = gy * top / bent + gs / width


@inline
def _slope_gradients(
    tile: Any, bins: Any, found: Any, slopes: Any, work: Any, bits: Any, power: Any
) -> None:
    """Raw slopes to their gradients, in place; the derivative of softplus is 1 - exp(-softplus).

    The slopes at the very ends are fixed.
    """
    for side in range(2):
        for e in range(LANES):
            work[side, e] = -found[4 + side, e]
        exp_lanes(work, side, bits, power)
        for e in range(LANES):
            slopes[side, e] *= _ONE - work[side, e]
    for q in range(bins - 1):
        this = np.float32(q)
        for e in range(LANES):
            own = slopes[0, e] if this == found[6, e] - _ONE else _ZERO
            tile[2 * bins + q, e] = slopes[1, e] if this == found[6, e] else own


# --- around the networks of the layers -----------------------------------------------------------


@jit
def gather(x: Any, kept: Any, limit: Any, inputs: Any) -> None:
    """Fill the first inputs of a network: the columns `kept`, within +-`limit`."""
    for j in range(len(kept)):
        for i in range(x.shape[1]):
            inputs[j, i] = min(max(x[kept[j], i], -limit), limit)


@jit
def scatter(x: Any, kept: Any, limit: Any, inputs: Any, g: Any) -> None:
    """Add the gradients by the inputs of a network to those by the columns `kept` of `x`."""
    for j in range(len(kept)):
        for i in range(x.shape[1]):
            within = abs(x[kept[j], i]) <= limit
            g[kept[j], i] += inputs[j, i] if within else _ZERO


@jit
def through_relu(h: Any, g: Any, sums: Any) -> None:
    """Gradients `(width, rows)` by what comes out of a ReLU, `h`, to those by what goes in.

    In place; fill `sums` with theirs over the rows.
    """
    for j in range(g.shape[0]):
        total = _ZERO
        for i in range(g.shape[1]):
            value = g[j, i] if h[j, i] > _ZERO else _ZERO
            g[j, i] = value
            total += value
        sums[j] = total
