"""The functions of the expression language, by canonical name, and their other spellings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import awkward as ak
import numpy as np

from rootml.errors import ExpressionError
from rootml.expressions._integers import check_negative, check_overflow, check_sum, is_integer
from rootml.expressions._values import (
    Data,
    Mask,
    Value,
    as_logical,
    as_number,
    both,
    spread,
)

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
    numbers = as_number(data)
    check_sum(numbers)
    return np.asarray(ak.sum(numbers, axis=1)), None


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


def _extreme(reducer: Callable[..., Any], data: Data) -> tuple[Any, Mask | None]:
    """The largest or smallest; NaN if there is a NaN, wherever in the list, as NumPy."""
    numbers = as_number(data)
    reduced, there = _filled(reducer(numbers, axis=1), data)
    if reduced.dtype.kind == "f":
        reduced = np.where(np.asarray(ak.any(np.isnan(numbers), axis=1)), np.nan, reduced)
    return reduced, there


def _max(data: Data) -> tuple[Any, Mask | None]:
    return _extreme(ak.max, data)


def _min(data: Data) -> tuple[Any, Mask | None]:
    return _extreme(ak.min, data)


def _place(reducer: Callable[..., Any], data: Data) -> tuple[Any, Mask | None]:
    """Where the largest or smallest is; the first NaN if there is one, as NumPy."""
    numbers = as_number(data)
    place, there = _filled(reducer(numbers, axis=1), data)
    unordered = np.isnan(numbers * 1.0)
    first = np.asarray(ak.fill_none(ak.argmax(unordered, axis=1), 0))
    return np.where(np.asarray(ak.any(unordered, axis=1)), first, place), there


def _argmax(data: Data) -> tuple[Any, Mask | None]:
    return _place(ak.argmax, data)


def _argmin(data: Data) -> tuple[Any, Mask | None]:
    return _place(ak.argmin, data)


def _mean(data: Data) -> tuple[Any, Mask | None]:
    counts = _counts(data)
    return np.asarray(ak.sum(as_number(data) * 1.0, axis=1)) / np.maximum(counts, 1), counts > 0


def _std(data: Data) -> tuple[Any, Mask | None]:
    """Population standard deviation, as `numpy.std`."""
    mean, valid = _mean(data)
    deviation = as_number(data) * 1.0 - mean
    return np.sqrt(_mean(deviation * deviation)[0]), valid


# --- element by element ------------------------------------------------------------------------


def _delta_phi(one: Any, other: Any) -> Any:
    """phi2 - phi1 in [-pi, pi), as ROOT::VecOps::DeltaPhi(phi1, phi2)."""
    difference = other * 1.0 - one
    return difference - 2 * np.pi * np.floor((difference + np.pi) / (2 * np.pi))


def _delta_r(eta1: Any, phi1: Any, eta2: Any, phi2: Any) -> Any:
    """ROOT's DeltaR with arguments in the order eta1, phi1, eta2, phi2."""
    return np.hypot(eta2 * 1.0 - eta1, _delta_phi(phi1, phi2))


def _power(base: Any, exponent: Any) -> Any:
    return np.power(base * 1.0, exponent)


def _abs(number: Any) -> Any:
    check_negative("abs", number)
    return np.abs(number)


def _square(number: Any) -> Any:
    if is_integer(number):
        check_overflow("*", number, number)
    return number * number


def _round(number: Any) -> Any:
    """Half away from zero, as C's ``round``."""
    number = number * 1.0
    whole = np.trunc(number)
    return whole + np.copysign(np.abs(number - whole) >= 0.5, number)


def _rint(number: Any) -> Any:
    """Half to even, as C's ``rint``, NumPy's ``round`` and ``TMath::Nint``."""
    return np.rint(number * 1.0)


def _root_choice(keeps: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """TMath::Max and TMath::Min: the first if it compares so with the second, else the second.

    With NaN the second, whichever of them it is.
    """

    def chosen(one: Any, other: Any) -> Any:
        if isinstance(one, ak.Array) or isinstance(other, ak.Array):
            one, other = ak.broadcast_arrays(one, other)
            return ak.where(keeps(one, other), one, other)
        return np.where(keeps(one, other), one, other)

    return chosen


def _fold(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def folded(*arguments: Any) -> Any:
        result = arguments[0]
        for argument in arguments[1:]:
            result = function(result, argument)
        return result

    return folded


# --- on values ---------------------------------------------------------------------------------


def _alternative(value: Value, default: Value) -> Value:
    """Alt$(x, d): x where the event, or the element, is known, else d."""
    if default.lists or (value.lists and value.there is not None):
        message = "Alt$ needs one number per event; take an element first, e.g. Alt$(x[0], 0)"
        raise ExpressionError(message)
    data, other = as_number(value.data), as_number(default.data)
    if value.lists:
        return _alternative_elements(data, value.known, other, default.there)
    if value.there is None:
        return Value(np.where(True, data, other))  # the type does not depend on what is missing
    there = None if default.there is None else value.there | default.there
    return Value(np.where(value.there, data, other), there)


def _alternative_elements(
    data: Data, known: Data | None, other: Data, given: Mask | None
) -> Value:
    known = spread(np.array(True) if known is None else known, data)
    if isinstance(data, ak.Array):
        filled = ak.where(known, *ak.broadcast_arrays(data, other))
    else:
        filled = np.where(known, data, spread(other, data))
    return Value(filled, None, None if given is None else known | spread(given, data))


def _masked(reducer: Callable[[Data], tuple[Any, Mask | None]]) -> Callable[..., Value]:
    def apply(value: Value, condition: Value) -> Value:
        """MaxIf$(x, c): over the elements whose condition holds."""
        if not value.lists or not condition.lists:
            message = "MaxIf$ and MinIf$ need two lists of equal lengths"
            raise ExpressionError(message)
        chosen = ak.from_regular(ak.Array(as_logical(condition.data)))
        reduced, there = reducer(ak.Array(value.data)[chosen])
        if value.known is not None:
            known = ak.Array(spread(value.known, value.data))[chosen]
            there = both(there, np.asarray(ak.all(known, axis=1)))
        return Value(reduced, both(there, both(value.there, condition.valid)))

    return apply


def _element(function: Callable[..., Any], least: int, most: int | None = None) -> Function:
    return Function("element", (least, least if most is None else most), function)


def _reducer(function: Callable[[Data], tuple[Any, Mask | None]]) -> Function:
    return Function("reduce", (1, 1), function)


_PLAIN = (
    "sqrt", "cbrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p",
    "sin", "cos", "tan", "arcsin", "arccos", "arctan",
    "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh",
    "floor", "ceil", "trunc", "sign", "isnan", "isfinite", "isinf", "degrees", "radians",
)  # fmt: skip
"""NumPy's functions of one argument, under NumPy's names."""

FUNCTIONS: Mapping[str, Function] = {
    **{name: _element(getattr(np, name), 1) for name in _PLAIN},
    "abs": _element(_abs, 1),
    "square": _element(_square, 1),
    "round": _element(_round, 1),
    "rint": _element(_rint, 1),
    "arctan2": _element(np.arctan2, 2),
    "hypot": _element(np.hypot, 2),
    "fmod": _element(np.fmod, 2),
    "copysign": _element(np.copysign, 2),
    "power": _element(_power, 2),
    "minimum": _element(_fold(np.minimum), 2, 99),
    "maximum": _element(_fold(np.maximum), 2, 99),
    "fmax": _element(_fold(np.fmax), 2, 99),
    "fmin": _element(_fold(np.fmin), 2, 99),
    "root_max": _element(_root_choice(np.greater_equal), 2),
    "root_min": _element(_root_choice(np.less_equal), 2),
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
    "ln": "log", "sq": "square", "nearbyint": "rint", "lround": "round", "llround": "round",
    # Python
    "len": "count", "num": "count", "absolute": "abs", "amax": "max", "amin": "min",
    # kinematics
    "DeltaPhi": "delta_phi", "deltaPhi": "delta_phi", "DeltaR": "delta_r", "deltaR": "delta_r",
}  # fmt: skip

_TMATH = {
    "Abs": "abs", "Sqrt": "sqrt", "Exp": "exp", "Log": "log", "Log10": "log10", "Log2": "log2",
    "Sin": "sin", "Cos": "cos", "Tan": "tan", "ASin": "arcsin", "ACos": "arccos", "ATan": "arctan",
    "ATan2": "arctan2", "SinH": "sinh", "CosH": "cosh", "TanH": "tanh", "ASinH": "arcsinh",
    "ACosH": "arccosh", "ATanH": "arctanh", "Power": "power", "Max": "root_max", "Min": "root_min",
    "Nint": "rint", "Floor": "floor", "Ceil": "ceil", "Sq": "square", "Hypot": "hypot",
    "IsNaN": "isnan", "Finite": "isfinite", "Sign": "copysign",
}  # fmt: skip

_VECOPS = {
    "Sum": "sum", "Mean": "mean", "Max": "max", "Min": "min", "Any": "any", "All": "all",
    "ArgMax": "argmax", "ArgMin": "argmin", "DeltaPhi": "delta_phi", "DeltaR": "delta_r",
}  # fmt: skip

_NUMPY_ROUND = {
    f"{module}.{name}" for module in ("np", "numpy", "ak") for name in ("round", "around")
}
"""Half to even; plain ``round`` and ``std::round`` are C's."""

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
    if name in _NUMPY_ROUND:
        return "rint"
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    name = _SPELLINGS.get(name) or _VECOPS.get(name, name)  # RDataFrame: using ROOT::VecOps
    return name if name in FUNCTIONS else None
