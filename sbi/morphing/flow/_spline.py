"""Monotone rational-quadratic splines: the transform of one feature, given its raw parameters.

Durkan, Bekasov, Murray, Papamakarios: "Neural spline flows", arXiv:1906.04032. A feature has
``3 * bins - 1`` raw numbers: widths, heights, slopes at the inner knots. In words::

    widths  = MIN_SIZE + (1 - MIN_SIZE * bins) * softmax(raw widths);    heights the same
    knots   = -BOUND + 2 * BOUND * cumulated widths or heights
    slopes  = MIN_SIZE + softplus(raw slopes); 1 at both ends, where straight lines follow
    bin     = number of inner knots <= x
    t       = (x - x_bin) / width;  s = height / width;  d0, d1 = slopes at the bin's ends
    y       = y_bin + height * (s t^2 + d0 t (1-t)) / (s + (d0 + d1 - 2 s) t (1-t))
    dy/dx   = s^2 (d1 t^2 + 2 s t (1-t) + d0 (1-t)^2) / (s + (d0 + d1 - 2 s) t (1-t))^2

and the inverse is the stable root of the quadratic equation that this is in t. Here in NumPy; the
same in `_flow` (torch), `_compiled_spline` (numba, with gradients), `_compiled_flow` (numba, many
rows at a time) and `_onnx`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

BOUND = 5.0
"""The spline acts within ``(-BOUND, BOUND)``; outside it is the identity."""
MAX_INPUT = 6.0
"""Networks see features clipped to ``[-MAX_INPUT, MAX_INPUT]``, so an outlier cannot push the
other features beyond what was seen in training. The outlier itself is not clipped."""
MIN_SIZE = 1e-3
"""Minimal width and height of a bin, as fractions of the whole, and minimal slope."""
UNIT_SLOPE = math.log(math.expm1(1.0 - MIN_SIZE))
"""The raw slope that makes a slope of 1: with equal widths and heights, the identity."""


def num_raw(bins: int) -> int:
    """Raw parameters per feature."""
    return 3 * bins - 1


def spline(x: Any, raw: Any, *, inverse: bool) -> npt.NDArray[Any]:
    """Transform `x` `(rows, features)` by `raw` `(rows, features, 3 * bins - 1)`.

    >>> x = np.array([[-6.0], [0.3]])
    >>> raw = np.random.default_rng(0).normal(size=(2, 1, 11))
    >>> back = spline(spline(x, raw, inverse=False), raw, inverse=True)
    >>> bool(np.allclose(back, x)), float(spline(x, raw, inverse=False)[0, 0])
    (True, -6.0)
    """
    bins = (raw.shape[-1] + 1) // 3
    across = _knots(raw[..., :bins])
    up = _knots(raw[..., bins : 2 * bins])
    slopes = np.pad(
        MIN_SIZE + np.logaddexp(0, raw[..., 2 * bins :]),
        ((0, 0), (0, 0), (1, 1)),
        constant_values=1,
    )
    inside = (x > -BOUND) & (x < BOUND)
    value = np.where(inside, x, 0)
    along = up if inverse else across
    at = (value[..., None] >= along[..., 1:-1]).sum(-1, keepdims=True)

    def take(values: Any, shift: int = 0) -> Any:  # of the dtype of `values`
        return np.take_along_axis(values, at + shift, -1)[..., 0]

    x0, y0, d0, d1 = take(across), take(up), take(slopes), take(slopes, 1)
    width, height = take(across, 1) - x0, take(up, 1) - y0
    s = height / width
    bend = d0 + d1 - 2 * s
    if inverse:
        rise = value - y0
        a, b, c = height * (s - d0) + rise * bend, height * d0 - rise * bend, -s * rise
        root = np.sqrt(np.maximum(b * b - 4 * a * c, 0))
        result = 2 * c / (-b - root) * width + x0
    else:
        t = (value - x0) / width
        arch = t * (1 - t)
        result = y0 + height * (s * t * t + d0 * arch) / (s + bend * arch)
    whole: npt.NDArray[Any] = np.where(inside, result, x)
    return whole


def _knots(raw: Any) -> Any:
    """Cumulated softmax, scaled to the interval; both ends are exact."""
    size = np.exp(raw - raw.max(-1, keepdims=True))
    size = MIN_SIZE + (1 - MIN_SIZE * raw.shape[-1]) * size / size.sum(-1, keepdims=True)
    knots = np.empty((*raw.shape[:-1], raw.shape[-1] + 1), raw.dtype)
    np.cumsum(size, -1, out=knots[..., 1:])
    knots[..., 1:] *= 2 * BOUND
    knots[..., 1:] -= BOUND
    knots[..., 0], knots[..., -1] = -BOUND, BOUND
    return knots
