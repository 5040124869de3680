"""The splines of `_spline` compiled by numba, with gradients, to train with.

One loop over rows and features; the bin is found by running along the knots. The gradient is
written out by hand and computes the bin anew instead of storing it. With ``f`` the curve within
the bin, ``l`` the logarithm of its slope, and incoming gradients ``gy`` and ``gl``::

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
from rootml.sbi.morphing.flow._spline import BOUND, MIN_SIZE

_BOUND = np.float32(BOUND)
_SPAN = np.float32(2 * BOUND)
_MIN_SIZE = np.float32(MIN_SIZE)
_ONE = np.float32(1)
_TWO = np.float32(2)
_ZERO = np.float32(0)
_LARGE = np.float32(20)


@inline
def _softplus(v: Any) -> Any:
    return v if v > _LARGE else np.log(_ONE + np.exp(v))


@inline
def _sizes(raw: Any, i: Any, at: Any, bins: Any, sizes: Any) -> Any:
    """Softmax of `bins` raw numbers, with the least size, into `sizes`."""
    largest = raw[i, at]
    for k in range(1, bins):
        largest = max(largest, raw[i, at + k])
    total = _ZERO
    for k in range(bins):
        e = np.exp(raw[i, at + k] - largest)
        sizes[k] = e
        total += e
    scale = (_ONE - _MIN_SIZE * np.float32(bins)) / total
    for k in range(bins):
        sizes[k] = _MIN_SIZE + scale * sizes[k]


@inline
def _slope(raw: Any, i: Any, at: Any, bins: Any, k: Any) -> Any:
    """Slope at knot `k`."""
    if k == 0 or k == bins:  # noqa: PLR1714 - numba has no fast `in`
        return _ONE
    return _MIN_SIZE + _softplus(raw[i, at + 2 * bins + k - 1])


@inline
def _find(v: Any, sizes: Any, bins: Any) -> Any:
    """The bin that holds `v`, its lower edge and its size."""
    low, k = -_BOUND, 0
    high = low + _SPAN * sizes[0]
    while k < bins - 1 and v >= high:
        k += 1
        low = high
        high = low + _SPAN * sizes[k]
    if k == bins - 1:
        high = _BOUND
    return k, low, high - low


@inline
def _place(sizes: Any, bins: Any, k: Any) -> Any:
    """Lower edge and size of bin `k`."""
    low = -_BOUND
    for q in range(k):
        low += _SPAN * sizes[q]
    return low, _BOUND - low if k == bins - 1 else _SPAN * sizes[k]


@jit
def forward(x: Any, raw: Any, bins: Any, y: Any, logs: Any) -> None:
    """Fill `y` `(rows, features)` and the sums of log slopes `(rows,)`.

    `raw` is `(rows, features * (3 * bins - 1))`; all float32.
    """
    across, up = np.empty(bins, np.float32), np.empty(bins, np.float32)
    per = 3 * bins - 1
    for i in range(x.shape[0]):
        total = _ZERO
        for j in range(x.shape[1]):
            v = x[i, j]
            if not (v > -_BOUND and v < _BOUND):
                y[i, j] = v
                continue
            at = j * per
            _sizes(raw, i, at, bins, across)
            _sizes(raw, i, at + bins, bins, up)
            k, x0, width = _find(v, across, bins)
            y0, height = _place(up, bins, k)
            d0, d1 = _slope(raw, i, at, bins, k), _slope(raw, i, at, bins, k + 1)
            s = height / width
            t = (v - x0) / width
            arch = t * (_ONE - t)
            bent = s + (d0 + d1 - _TWO * s) * arch
            steep = d1 * t * t + _TWO * s * arch + d0 * (_ONE - t) * (_ONE - t)
            y[i, j] = y0 + height * (s * t * t + d0 * arch) / bent
            total += np.log(s * s * steep / (bent * bent))
        logs[i] = total


@inline
def _spread(
    graw: Any, i: Any, at: Any, bins: Any, k: Any, before: Any, inside: Any, sizes: Any
) -> Any:
    """Gradients of the raw sizes from those of the bin's edge (`before`) and size (`inside`)."""
    scale = _ONE - _MIN_SIZE * np.float32(bins)
    mean = _ZERO
    for q in range(k + 1):
        mean += (sizes[q] - _MIN_SIZE) / scale * (before if q < k else inside)
    for q in range(bins):
        own = before if q < k else (inside if q == k else _ZERO)
        graw[i, at + q] = (sizes[q] - _MIN_SIZE) * _SPAN * (own - mean)


@jit
def backward(x: Any, raw: Any, bins: Any, gy: Any, gl: Any, gx: Any, graw: Any) -> None:
    """Fill the gradients by `x` and by `raw` from those by `y` and by the log slopes."""
    across, up = np.empty(bins, np.float32), np.empty(bins, np.float32)
    per = 3 * bins - 1
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            at = j * per
            v = x[i, j]
            for q in range(per):
                graw[i, at + q] = _ZERO
            if not (v > -_BOUND and v < _BOUND):
                gx[i, j] = gy[i, j]
                continue
            _sizes(raw, i, at, bins, across)
            _sizes(raw, i, at + bins, bins, up)
            k, x0, width = _find(v, across, bins)
            _, height = _place(up, bins, k)
            d0, d1 = _slope(raw, i, at, bins, k), _slope(raw, i, at, bins, k + 1)
            s = height / width
            t = (v - x0) / width
            left = _ONE - t
            arch, turn = t * left, _ONE - _TWO * t
            bend = d0 + d1 - _TWO * s
            top, bent = s * t * t + d0 * arch, s + bend * arch
            steep = d1 * t * t + _TWO * s * arch + d0 * left * left
            outer, inner = gy[i, j] * height / (bent * bent), gl[i] / steep
            twice = _TWO * gl[i] / bent
            gt = outer * ((_TWO * s * t + d0 * turn) * bent - top * bend * turn)
            gt += inner * _TWO * (d1 * t + s * turn - d0 * left) - twice * bend * turn
            gs = outer * (t * t * bent - top * (_ONE - _TWO * arch))
            gs += inner * _TWO * arch - twice * (_ONE - _TWO * arch) + _TWO * gl[i] / s
            g0 = outer * arch * (bent - top) + inner * left * left - twice * arch
            g1 = -outer * top * arch + inner * t * t - twice * arch
            gx[i, j] = gt / width
            _spread(graw, i, at, bins, k, -gt / width, -(gs * s + gt * t) / width, across)
            rise = gy[i, j] * top / bent + gs / width
            _spread(graw, i, at + bins, bins, k, gy[i, j], rise, up)
            if k > 0:
                r = raw[i, at + 2 * bins + k - 1]
                graw[i, at + 2 * bins + k - 1] = g0 / (_ONE + np.exp(-r))
            if k < bins - 1:
                r = raw[i, at + 2 * bins + k]
                graw[i, at + 2 * bins + k] = g1 / (_ONE + np.exp(-r))
