"""The functions of the expression language, by canonical name, and their other spellings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import awkward as ak
import numpy as np

from rootml.errors import ExpressionError
from rootml.expressions._values import Data, Mask, Value, as_logical, as_number, both

CONSTANTS = {
    "pi": math.pi,
    "TMath::Pi": math.pi,
    "TMath::E": math.e,
    "np.pi": math.pi,
    "numpy.pi": math.pi,
    "math.pi": math.pi,
    "nan": math.nan,
    "inf": math.inf,
    "np.nan": math.nan,
    "np.inf": math.inf,
}


@dataclass(frozen=True, slots=True)
class Function:
    """How a function is applied.

    Attributes:
        kind: ``"element"``: to each number. ``"reduce"``: to the list of each event.
            ``"special"``: on `Value`s, by `apply` itself.
        arity: Least and most number of arguments.
    """

    kind: Literal["element", "reduce", "special"]
    arity: tuple[int, int]
    apply: Callable[..., Any]


# --- reducers: data of one list level -> (result, events that have one) ------------------------


def _counts(data: Data) -> Any:
    return np.asarray(ak.num(data, axis=1)).astype(np.int64)


def _sum(data: Data) -> tuple[Any, Mask | None]:
    return np.asarray(ak.sum(as_number(data), axis=1)), None


def _count(data: Data) -> tuple[Any, Mask | None]:
    return _counts(data), None


def _any(data: Data) -> tuple[Any, Mask | None]:
    return np.asarray(ak.any(as_logical(data), axis=1)), None


def _all(data: Data) -> tuple[Any, Mask | None]:
    return np.asarray(ak.all(as_logical(data), axis=1)), None


def _filled(reduced: Any, data: Data) -> tuple[Any, Mask | None]:
    """A result that empty lists do not have."""
    filled = np.asarray(ak.fill_none(reduced, 0))
    return filled, _counts(data) > 0


def _max(data: Data) -> tuple[Any, Mask | None]:
    return _filled(ak.max(as_number(data), axis=1), data)


def _min(data: Data) -> tuple[Any, Mask | None]:
    return _filled(ak.min(as_number(data), axis=1), data)


def _argmax(data: Data) -> tuple[Any, Mask | None]:
    return _filled(ak.argmax(as_number(data), axis=1), data)


def _argmin(data: Data) -> tuple[Any, Mask | None]:
    return _filled(ak.argmin(as_number(data), axis=1), data)


def _mean(data: Data) -> tuple[Any, Mask | None]:
    counts = _counts(data)
    return np.asarray(ak.sum(as_number(data), axis=1)) / np.maximum(counts, 1), counts > 0


def _std(data: Data) -> tuple[Any, Mask | None]:
    """Population standard deviation, as `numpy.std`."""
    mean, valid = _mean(data)
    deviation = as_number(data) - mean
    return np.sqrt(_mean(deviation * deviation)[0]), valid


# --- element by element ------------------------------------------------------------------------


def _delta_phi(one: Any, other: Any) -> Any:
    """phi2 - phi1 in [-pi, pi), as ROOT::VecOps::DeltaPhi(phi1, phi2)."""
    difference = other - one
    return difference - 2 * np.pi * np.floor((difference + np.pi) / (2 * np.pi))


def _delta_r(eta1: Any, phi1: Any, eta2: Any, phi2: Any) -> Any:
    """ROOT's DeltaR with arguments in the order eta1, phi1, eta2, phi2."""
    return np.hypot(eta2 - eta1, _delta_phi(phi1, phi2))


def _power(base: Any, exponent: Any) -> Any:
    return np.power(base * 1.0, exponent)


def _fold(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def folded(*arguments: Any) -> Any:
        result = arguments[0]
        for argument in arguments[1:]:
            result = function(result, argument)
        return result

    return folded


# --- on values ---------------------------------------------------------------------------------


def _alternative(value: Value, default: Value) -> Value:
    """Alt$(x, d): x where the event has it, else d."""
    if value.valid is None:
        return value
    if value.lists or default.lists:
        message = "Alt$ needs one number per event; take an element first, e.g. Alt$(x[0], 0)"
        raise ExpressionError(message)
    data = np.where(value.valid, as_number(value.data), as_number(default.data))
    valid = None if default.valid is None else value.valid | default.valid
    return Value(data, valid)


def _masked(reducer: Callable[[Data], tuple[Any, Mask | None]]) -> Callable[..., Value]:
    def apply(value: Value, condition: Value) -> Value:
        """MaxIf$(x, c): over the elements whose condition holds."""
        if not value.lists or not condition.lists:
            message = "MaxIf$ and MinIf$ need two lists of equal lengths"
            raise ExpressionError(message)
        data = ak.Array(value.data)[ak.Array(as_logical(condition.data))]
        reduced, valid = reducer(data)
        return Value(reduced, both(valid, both(value.valid, condition.valid)))

    return apply


def _element(function: Callable[..., Any], least: int, most: int | None = None) -> Function:
    return Function("element", (least, least if most is None else most), function)


def _reducer(function: Callable[[Data], tuple[Any, Mask | None]]) -> Function:
    return Function("reduce", (1, 1), function)


_PLAIN = (
    "sqrt", "cbrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p",
    "sin", "cos", "tan", "arcsin", "arccos", "arctan",
    "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh",
    "floor", "ceil", "trunc", "sign", "isnan", "isfinite", "isinf", "square", "degrees", "radians",
)  # fmt: skip
"""NumPy's functions of one argument, under NumPy's names."""

FUNCTIONS: Mapping[str, Function] = {
    **{name: _element(getattr(np, name), 1) for name in _PLAIN},
    "abs": _element(np.abs, 1),
    "round": _element(np.rint, 1),
    "arctan2": _element(np.arctan2, 2),
    "hypot": _element(np.hypot, 2),
    "fmod": _element(np.fmod, 2),
    "copysign": _element(np.copysign, 2),
    "power": _element(_power, 2),
    "minimum": _element(_fold(np.minimum), 2, 99),
    "maximum": _element(_fold(np.maximum), 2, 99),
    "delta_phi": _element(_delta_phi, 2),
    "delta_r": _element(_delta_r, 4),
    "sum": _reducer(_sum),
    "count": _reducer(_count),
    "any": _reducer(_any),
    "all": _reducer(_all),
    "max": _reducer(_max),
    "min": _reducer(_min),
    "mean": _reducer(_mean),
    "std": _reducer(_std),
    "argmax": _reducer(_argmax),
    "argmin": _reducer(_argmin),
    "max_if": Function("special", (2, 2), _masked(_max)),
    "min_if": Function("special", (2, 2), _masked(_min)),
    "alternative": Function("special", (2, 2), _alternative),
    "where": Function("special", (3, 3), None),  # type: ignore[arg-type]  # a Choice
}

_SPELLINGS = {
    # ROOT's TTreeFormula
    "Sum$": "sum", "Length$": "count", "Max$": "max", "Min$": "min", "MaxIf$": "max_if",
    "MinIf$": "min_if", "Alt$": "alternative", "Any$": "any", "All$": "all",
    # C and C++
    "fabs": "abs", "pow": "power", "asin": "arcsin", "acos": "arccos", "atan": "arctan",
    "atan2": "arctan2", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
    "fmin": "minimum", "fmax": "maximum", "ln": "log", "rint": "round", "sq": "square",
    # Python
    "len": "count", "num": "count", "absolute": "abs", "amax": "max", "amin": "min",
    # kinematics
    "DeltaPhi": "delta_phi", "deltaPhi": "delta_phi", "DeltaR": "delta_r", "deltaR": "delta_r",
}  # fmt: skip

_TMATH = {
    "Abs": "abs", "Sqrt": "sqrt", "Exp": "exp", "Log": "log", "Log10": "log10", "Log2": "log2",
    "Sin": "sin", "Cos": "cos", "Tan": "tan", "ASin": "arcsin", "ACos": "arccos", "ATan": "arctan",
    "ATan2": "arctan2", "SinH": "sinh", "CosH": "cosh", "TanH": "tanh", "ASinH": "arcsinh",
    "ACosH": "arccosh", "ATanH": "arctanh", "Power": "power", "Max": "maximum", "Min": "minimum",
    "Floor": "floor", "Ceil": "ceil", "Sq": "square", "Hypot": "hypot", "IsNaN": "isnan",
    "Finite": "isfinite", "Sign": "copysign",
}  # fmt: skip

_VECOPS = {
    "Sum": "sum", "Mean": "mean", "Max": "max", "Min": "min", "Any": "any", "All": "all",
    "ArgMax": "argmax", "ArgMin": "argmin", "DeltaPhi": "delta_phi", "DeltaR": "delta_r",
}  # fmt: skip

_PREFIXES = ("np.", "numpy.", "ak.", "math.", "std::")


def canonical_function(name: str) -> str | None:
    """The canonical name of a function, however it is spelled; None if there is none.

    >>> canonical_function("TMath::Abs"), canonical_function("np.sqrt"), canonical_function("Sum$")
    ('abs', 'sqrt', 'sum')
    """
    if name.startswith("TMath::"):
        return _TMATH.get(name.removeprefix("TMath::"))
    for prefix in ("ROOT::VecOps::", "VecOps::"):
        if name.startswith(prefix):
            return _VECOPS.get(name.removeprefix(prefix))
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    name = _SPELLINGS.get(name, name)
    return name if name in FUNCTIONS else None
