"""The quantile function of the normal distribution and its inverse, in NumPy alone.

Algorithm AS 241, PPND16 (M. J. Wichura, Applied Statistics 37 (1988) 477): two ratios of
polynomials, one in ``(u - 1/2)**2`` and one in ``sqrt(-log(tail))``, good to 1e-15. Its third
ratio, for tails below exp(-25), is not needed: probabilities are kept within `TAIL` of 0 and 1.
"""

from __future__ import annotations

import math

import numpy as np

from rootml._internal.types import Float

TAIL = 1e-10
"""Probabilities nearer to 0 or 1 are moved here, in all implementations."""
MIDDLE, SPLIT, SHIFT = 0.425, 0.180625, 1.6
"""Half width of the middle; the constant subtracted from there; the shift of the tails."""

CENTRE_TOP = (
    2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
    4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
    1.3314166789178437745e2, 3.3871328727963666080e0,
)  # fmt: skip
CENTRE_BOTTOM = (
    5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
    2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
    4.2313330701600911252e1, 1.0,
)  # fmt: skip
TAIL_TOP = (
    7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
    1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0,
    4.63033784615654529590e0, 1.42343711074968357734e0,
)  # fmt: skip
TAIL_BOTTOM = (
    1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
    1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0,
    2.05319162663775882187e0, 1.0,
)  # fmt: skip


def normal_quantile(u: Float) -> Float:
    """z with P(Z < z) = u for a normal Z, elementwise, in float64.

    >>> normal_quantile(np.array([0.5, 0.975])).round(6)
    array([0.      , 1.959964])
    """
    u = np.clip(u, TAIL, 1 - TAIL)
    q = u - 0.5
    r = SPLIT - q * q
    centre = q * np.polyval(CENTRE_TOP, r) / np.polyval(CENTRE_BOTTOM, r)
    t = np.sqrt(-np.log(np.minimum(u, 1 - u))) - SHIFT
    tail = np.polyval(TAIL_TOP, t) / np.polyval(TAIL_BOTTOM, t)
    result: Float = np.where(np.abs(q) <= MIDDLE, centre, np.copysign(tail, q))
    return result


_Z = np.linspace(-7.0, 7.0, 14_001)
_U = np.array([0.5 * math.erfc(-z / math.sqrt(2.0)) for z in _Z.tolist()])


def normal_probability(z: Float) -> Float:
    """P(Z < z) for a normal Z, elementwise, by linear interpolation: good to 1e-7, and ascending.

    >>> normal_probability(np.array([0.0, 1.959964])).round(6)
    array([0.5  , 0.975])
    """
    result: Float = np.interp(z, _Z, _U)
    return result
