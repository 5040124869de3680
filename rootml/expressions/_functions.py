"""The functions of the expression language, by canonical name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import awkward as ak
import numpy as np

from rootml.errors import ExpressionError
from rootml.expressions import _elementwise as element
from rootml.expressions import _lists as lists
from rootml.expressions import _members as members
from rootml.expressions import _reducers as reducers
from rootml.expressions import _vectors as vectors
from rootml.expressions._values import (
    Data,
    Mask,
    Value,
    as_number,
    leaf_dtype,
    number_by_number,
    spread,
)


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


def _draw_alternative(value: Value, default: Value) -> Value:
    """``Alt$`` of TTree::Draw, which iterates over a list in another way."""
    if value.lists:
        message = "Alt$ of a list: take an element first, e.g. Alt$(x[0], 0)"
        raise ExpressionError(message)
    return _alternative(value, default)


def _float(value: Value) -> Value:
    """``float(x)``, where C++ and Python agree; see `_elementwise.float_`."""
    exact = leaf_dtype(value.data) in {np.dtype(np.float32), np.dtype(np.float16)}
    convert = element.to_float64 if exact else element.float_
    return replace(value, data=number_by_number(convert, as_number(value.data)))


def _element(function: Callable[..., Any], least: int, most: int | None = None) -> Function:
    return Function("element", (least, least if most is None else most), function)


def _reducer(function: Callable[[Data], tuple[Any, Mask | None]]) -> Function:
    return Function("reduce", (1, 1), function)


def _by_evaluator(*_: Value) -> Value:
    """Stands for what the evaluator does itself."""
    raise NotImplementedError


def _special(function: Callable[..., Value], least: int, most: int | None = None) -> Function:
    return Function("special", (least, least if most is None else most), function)


_PLAIN = (
    "sqrt", "cbrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p",
    "sin", "cos", "tan", "arcsin", "arccos", "arctan",
    "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh",
    "floor", "ceil", "trunc", "sign", "isnan", "isfinite", "isinf", "degrees", "radians",
    "signbit",
)  # fmt: skip
"""NumPy's functions of one argument, under NumPy's names."""

_MANY = 99

FUNCTIONS: Mapping[str, Function] = {
    **{name: _element(getattr(np, name), 1) for name in _PLAIN},
    "abs": _element(element.absolute, 1),
    "square": _element(element.square, 1),
    "round": _element(element.round_, 1),
    "rint": _element(element.rint, 1),
    "arctan2": _element(np.arctan2, 2),
    "hypot": _element(np.hypot, 2),
    "fmod": _element(np.fmod, 2),
    "mod": _element(element.modulo, 2),
    "remainder": _element(element.remainder, 2),
    "fdim": _element(element.fdim, 2),
    "copysign": _element(np.copysign, 2),
    "power": _element(element.power, 2),
    "minimum": _element(element.fold(np.minimum), 2, _MANY),
    "maximum": _element(element.fold(np.maximum), 2, _MANY),
    "fmax": _element(element.fold(np.fmax), 2, _MANY),
    "fmin": _element(element.fold(np.fmin), 2, _MANY),
    "root_max": _element(element.root_choice(np.greater_equal), 2),
    "root_min": _element(element.root_choice(np.less_equal), 2),
    "clip": _element(element.clip, 3),
    "range": _element(element.range_, 3),
    "even": _element(element.even, 1),
    "odd": _element(element.odd, 1),
    "nan_to_num": _element(element.nan_to_num, 2),
    "erf": _element(element.special("erf"), 1),
    "erfc": _element(element.special("erfc"), 1),
    "gamma": _element(element.special("gamma"), 1),
    "gammaln": _element(element.special("gammaln"), 1),
    "ndtr": _element(element.special("ndtr"), 1),
    "ndtri": _element(element.special("ndtri"), 1),
    "erfinv": _element(element.special("erfinv"), 1),
    "binom": _element(element.binomial, 2),
    "probability": _element(element.probability, 2),
    "poisson": _element(element.poisson, 2),
    "factorial": _element(element.factorial, 1),
    "gauss": _element(element.gauss, 1, 4),
    "breit_wigner": _element(element.breit_wigner, 1, 3),
    "phi_mpi_pi": _element(element.phi_mpi_pi, 1),
    "phi_0_2pi": _element(element.phi_0_2pi, 1),
    "delta_phi": _element(element.delta_phi, 2),
    "delta_r": _element(element.delta_r, 4),
    "delta_r2": _element(element.delta_r2, 4),
    "InvariantMasses": _element(element.invariant_masses, 8),
    "bool": _element(element.to_bool, 1),
    "float": _special(_float, 1),
    "float32": _element(element.to_float32, 1),
    "float64": _element(element.to_float64, 1),
    **{
        name: _element(element.to_integer(name), 1)
        for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    },
    "sum": _reducer(reducers.sum_),
    "prod": _reducer(reducers.product),
    "count": _reducer(reducers.count),
    "size": _reducer(reducers.count),
    "any": _reducer(reducers.any_),
    "all": _reducer(reducers.all_),
    "max": _reducer(reducers.max_),
    "min": _reducer(reducers.min_),
    "mean": _reducer(reducers.mean),
    "std": _reducer(reducers.std),
    "var": _reducer(reducers.var),
    "Mean": _reducer(reducers.root_mean),
    "StdDev": _reducer(reducers.root_std),
    "Var": _reducer(reducers.root_var),
    "argmax": _reducer(reducers.argmax),
    "argmin": _reducer(reducers.argmin),
    "max_if": _special(reducers.masked(reducers.max_), 2),
    "min_if": _special(reducers.masked(reducers.min_), 2),
    "alternative": _special(_alternative, 2),
    "where": _special(_by_evaluator, 3),  # a Choice
    "sort": _special(lists.sort, 1, 2),
    "argsort": _special(lists.argsort, 1, 2),
    "Argsort": _special(lists.argsort, 1),
    "Reverse": _special(lists.reverse, 1),
    "Nonzero": _special(lists.nonzero, 1),
    "local_index": _special(lists.local_index, 1),
    "concatenate": _special(lists.concatenate, 1, _MANY),
    "Take": _special(lists.take, 2, 3),
    "Combinations": _special(lists.combinations, 2),
    "pad_none": _special(lists.pad_none, 2, 3),
    "drop_none": _special(lists.drop_none, 1),
    "is_none": _special(lists.is_none, 1),
    "as_list": _special(lists.as_list, 1),
    "flatten": _special(lists.flatten, 1),
    "zeros_like": _special(lists.like(0), 1),
    "ones_like": _special(lists.like(1), 1),
    "list_of": _special(_by_evaluator, 1, _MANY),
    "member": _special(members.member, 2),
    "lorentz": _special(vectors.method, 2, 4),
    "new_vector": _special(_by_evaluator, 3, 5),
    "stored_vector": _special(vectors.stored_vector, 3, 5),
    "draw_divide": _element(element.draw_divide, 2),
    "draw_modulo": _element(element.draw_modulo, 2),
    "draw_sqrt": _element(element.draw_sqrt, 1),
    "draw_log": _element(element.draw_positive(np.log), 1),
    "draw_log10": _element(element.draw_positive(np.log10), 1),
    "draw_acos": _element(element.draw_within(np.arccos), 1),
    "draw_asin": _element(element.draw_within(np.arcsin), 1),
    "draw_exp": _element(element.draw_exp, 1),
    "draw_acosh": _element(element.draw_acosh, 1),
    "draw_atanh": _element(element.draw_within(np.arctanh), 1),
    "draw_sign": _element(element.draw_sign, 1),
    "draw_alternative": _special(_draw_alternative, 2),
    "draw_left_shift": _element(element.draw_shift(np.left_shift, "<<"), 2),
    "draw_right_shift": _element(element.draw_shift(np.right_shift, ">>"), 2),
    "draw_max": _reducer(reducers.draw_max),
    "draw_min": _reducer(reducers.draw_min),
    "draw_max_if": _special(reducers.masked(reducers.draw_max), 2),
    "draw_min_if": _special(reducers.masked(reducers.draw_min), 2),
    "draw_and": _special(_by_evaluator, 2),
    "draw_or": _special(_by_evaluator, 2),
    "draw_where": _special(_by_evaluator, 3),
    "draw_cut": _special(_by_evaluator, 1),
    "draw_element": _special(_by_evaluator, 2),
}
