"""From margins to predictions, by the formula of the library that trained the model.

XGBoost and LightGBM call the C library's exponential; so does the compiled engine, and then their
predictions are met bit by bit. NumPy rounds the exponential of a float64 instead, which may differ
in the last bit of a float32. scikit-learn and ONNX Runtime: to 1 ulp or so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import Forest

Array = Any
"""A float array, shape (rows, outputs)."""
Exp = Callable[[Array], Array]


def numpy_exp(x: Array) -> Array:
    """The exponential, rounded to the dtype of `x` from float64."""
    return np.exp(x.astype(np.float64)).astype(x.dtype)


def predictions(margins: Array, forest: Forest, exp: Exp = numpy_exp) -> NDArray[Any]:
    """Predictions of the library, shape (rows, outputs); of "argmax" shape (rows, 1).

    Args:
        margins: Shape (rows, outputs), float32 or float64; may be overwritten.
        exp: The exponential of a C-contiguous array.
    """
    if forest.library in {"hep_ml", "sklearn"}:
        exp = np.exp
    with np.errstate(all="ignore"):
        return np.asarray(_FORMULAS[forest.link](margins, forest, exp))


def _sigmoid(m: Array, forest: Forest, exp: Exp) -> Array:
    one = m.dtype.type(1)
    if forest.library == "xgboost":  # Sigmoid() of src/common/math.h
        return one / (exp(np.minimum(-m, m.dtype.type(88.7))) + one + m.dtype.type(1e-16))
    if forest.library == "onnx":  # ComputeLogistic() of ONNX Runtime
        upper = one / (one + exp(-np.abs(m)))
        return np.where(m < 0, one - upper, upper)
    return one / (one + exp(-m.dtype.type(forest.link_scale) * m))


def _softmax(m: Array, forest: Forest, exp: Exp) -> Array:
    if forest.link_scale != 1:
        m = m * m.dtype.type(forest.link_scale)
    raised = exp(m - m.max(axis=1, keepdims=True))
    if forest.library == "xgboost":  # Softmax() of src/common/math.h: the sum is a double
        total = np.zeros(len(m))
        for column in raised.T:
            total += column
        return raised / total.astype(m.dtype)[:, None]
    if forest.library == "sklearn":
        return raised / raised.sum(axis=1, keepdims=True)
    total = np.zeros(len(m), m.dtype)
    for column in raised.T:
        total += column
    return raised / total[:, None]


def _softmax_zero(m: Array, forest: Forest, exp: Exp) -> Array:
    del forest  # ComputeSoftmaxZero() of ONNX Runtime
    largest = m.max(axis=1, keepdims=True)
    counts = np.abs(m) > m.dtype.type(1e-7)
    raised = np.where(counts, exp(m - largest), m * exp(-largest))
    total = np.zeros(len(m), m.dtype)
    for column in np.where(counts, raised, m.dtype.type(0)).T:
        total += column
    return raised / total[:, None]


def _probit(m: Array, forest: Forest, exp: Exp) -> Array:
    del forest, exp  # ComputeProbit() and ErfInv() of ONNX Runtime: Winitzki's approximation
    kind = m.dtype.type
    x = kind(2) * m - kind(1)
    log = np.log((kind(1) - x) * (kind(1) + x))
    v = kind(2) / (kind(3.14159) * kind(0.147)) + kind(0.5) * log
    root = np.sqrt(-v + np.sqrt(v * v - kind(1) / kind(0.147) * log))
    return kind(1.41421356) * np.where(x < 0, -root, root)


def _increments(m: Array, forest: Forest, exp: Exp) -> Array:
    del forest  # ExpectileRegression::PredTransform() of XGBoost: SoftPlus() and kRtEps
    kind = m.dtype.type
    steps = np.maximum(m, kind(0)) + np.log1p(exp(-np.abs(m)))
    made = m.copy()
    for k in range(1, m.shape[1]):
        made[:, k] = made[:, k - 1] + (kind(1e-6) + steps[:, k])
    return made


_FORMULAS: dict[str, Callable[[Array, Forest, Exp], Array]] = {
    "argmax": lambda m, _, __: np.argmax(m, axis=1)[:, None].astype(m.dtype),
    "exp": lambda m, _, exp: exp(m),
    "hinge": lambda m, _, __: (m > 0).astype(m.dtype),
    "identity": lambda m, _, __: m,
    "increments": _increments,
    "probit": _probit,
    "sigmoid": _sigmoid,
    "signed_square": lambda m, _, __: np.sign(m) * m * m,
    "softmax": _softmax,
    "softmax_zero": _softmax_zero,
    "softplus": lambda m, _, exp: np.log1p(exp(m)),
    "sorted": lambda m, _, __: np.sort(m, axis=1),
    "tanh": lambda m, _, exp: 2 / (1 + exp(-2 * m)) - 1,
}
