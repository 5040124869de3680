"""How functions, constants and methods are spelled in ROOT, C++, NumPy and awkward.

`resolve` makes the node of a call. A spelling means what it means in the library that it belongs
to: ``DeltaR`` takes (eta1, eta2, phi1, phi2) as ROOT does, ``delta_r`` (eta1, phi1, eta2, phi2);
``Mean`` of an empty list is 0 as in ROOT, ``np.mean`` is missing. What means one thing here and
another thing there is refused, with the ways to say it that are not ambiguous.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from rootml.errors import ExpressionError, nearest
from rootml.expressions._functions import FUNCTIONS
from rootml.expressions._nodes import (
    Binary,
    Boolean,
    Call,
    Comparison,
    Index,
    Node,
    Number,
    Text,
    Unary,
)
from rootml.expressions._vectors import KINDS, VECTOR_FUNCTIONS

Builder = Callable[..., Node]
Options = Mapping[str, Any]

_TMATH_CONSTANTS = {
    "Pi": math.pi, "TwoPi": 2 * math.pi, "PiOver2": math.pi / 2, "PiOver4": math.pi / 4,
    "InvPi": 1 / math.pi, "RadToDeg": 180 / math.pi, "DegToRad": math.pi / 180, "E": math.e,
    "Sqrt2": math.sqrt(2), "Ln10": math.log(10), "LogE": math.log10(math.e),
    "C": 2.99792458e8, "Infinity": math.inf, "QuietNaN": math.nan,
}  # fmt: skip

CONSTANTS: Mapping[str, float] = {
    "pi": math.pi, "nan": math.nan, "inf": math.inf,
    **{f"TMath::{name}": value for name, value in _TMATH_CONSTANTS.items()},
    "ROOT::Math::Pi": math.pi,
    **{
        f"{module}.{name}": value
        for module in ("np", "numpy", "math")
        for name, value in {
            "pi": math.pi, "e": math.e, "nan": math.nan, "inf": math.inf, "tau": 2 * math.pi,
        }.items()
    },
    "M_PI": math.pi, "M_PI_2": math.pi / 2, "M_PI_4": math.pi / 4, "M_1_PI": 1 / math.pi,
    "M_E": math.e, "M_SQRT2": math.sqrt(2), "M_LN2": math.log(2), "M_LN10": math.log(10),
    "NAN": math.nan, "INFINITY": math.inf, "std::numbers::pi": math.pi, "kPi": math.pi,
}  # fmt: skip
BOOLEANS = {
    "True": True, "true": True, "kTRUE": True, "False": False, "false": False, "kFALSE": False,
}  # fmt: skip

_INTEGERS = {
    "char": "int8", "signed char": "int8", "short": "int16", "int": "int32", "signed": "int32",
    "signed int": "int32", "long": "int64", "long int": "int64", "long long": "int64",
    "unsigned char": "uint8", "unsigned short": "uint16", "unsigned": "uint32",
    "unsigned int": "uint32", "unsigned long": "uint64", "unsigned long long": "uint64",
    "Char_t": "int8", "Short_t": "int16", "Int_t": "int32", "Long_t": "int64",
    "Long64_t": "int64", "UChar_t": "uint8", "UShort_t": "uint16", "UInt_t": "uint32",
    "ULong_t": "uint64", "ULong64_t": "uint64", "size_t": "uint64", "int8_t": "int8",
    "int16_t": "int16", "int32_t": "int32", "int64_t": "int64", "uint8_t": "uint8",
    "uint16_t": "uint16", "uint32_t": "uint32", "uint64_t": "uint64",
}  # fmt: skip
CASTS: Mapping[str, str] = {
    **_INTEGERS,
    **{f"std::{name}": kind for name, kind in _INTEGERS.items() if name.endswith("_t")},
    "float": "float32", "Float_t": "float32", "double": "float64", "long double": "float64",
    "Double_t": "float64", "bool": "bool", "Bool_t": "bool",
}  # fmt: skip
"""C++ types, as the functions that convert to them."""


VECTORS: Mapping[str, str] = {
    f"{space}RVec{letter}": kind
    for space in ("", "ROOT::", "ROOT::VecOps::")
    for letter, kind in {
        "B": "bool", "C": "int8", "I": "int32", "L": "int64", "U": "uint32", "UL": "uint64",
        "F": "float32", "D": "float64",
    }.items()
}  # fmt: skip
"""ROOT's names of vectors, and the type of their elements."""


_MATH_VECTORS = {
    "PtEtaPhiM": "PtEtaPhiM", "PtEtaPhiE": "PtEtaPhiE", "PxPyPzM": "PxPyPzM",
    "PxPyPzE": "PxPyPzE", "XYZT": "PxPyPzE", "XYZ": "XYZ", "Polar3D": "Polar3D",
    "RhoEtaPhi": "RhoEtaPhi", "RhoZPhi": "RhoZPhi", "XY": "XY", "Polar2D": "Polar2D",
}  # fmt: skip
CONSTRUCTORS: Mapping[str, str] = {
    **{name: name for name in ("TLorentzVector", "TVector3", "TVector2")},
    **{
        f"{space}{name}Vector{letter}": f"ROOT::Math::{kind}Vector"
        for space in ("ROOT::Math::", "Math::", "")
        for letter in ("", "D", "F")
        for name, kind in _MATH_VECTORS.items()
    },
}
"""ROOT's classes of vectors by the names of their constructors."""


def _vector_function(name: str) -> str | None:
    """A function of ``ROOT::Math::VectorUtil`` by the name that `_vectors` has for it."""
    bare = name.removeprefix("ROOT::Math::").removeprefix("Math::")
    return bare if bare in VECTOR_FUNCTIONS else None


def _binary(operator: str) -> Builder:
    return lambda one, other: Binary(operator, one, other)


def _compare(operator: str) -> Builder:
    return lambda one, other: Comparison(one, (operator,), (other,))


def _ordered(function: str, *order: int) -> Builder:
    return lambda *arguments: Call(function, tuple(arguments[number] for number in order))


def _dot(one: Node, other: Node) -> Node:
    return Call("sum", (Binary("*", one, other),))


def _xor(one: Node, other: Node) -> Node:
    sides = [Comparison(side, ("!=",), (Number(0),)) for side in (one, other)]
    return Comparison(sides[0], ("!=",), (sides[1],))


def _invariant_mass(pt: Node, eta: Node, phi: Node, mass: Node) -> Node:
    """ROOT::VecOps::InvariantMass: of all objects of the event together."""

    def product(*parts: Node) -> Node:
        whole = parts[0]
        for part in parts[1:]:
            whole = Binary("*", whole, part)
        return whole

    def total(part: Node) -> Node:
        return Call("sum", (part,))

    px, py = (product(pt, Call(name, (phi,))) for name in ("cos", "sin"))
    pz = product(pt, Call("sinh", (eta,)))
    momentum = product(pt, Call("cosh", (eta,)))
    energy = Call("sqrt", (Binary("+", product(momentum, momentum), product(mass, mass)),))
    squares = [Call("square", (total(part),)) for part in (energy, px, py, pz)]
    rest: Node = squares[0]
    for part in squares[1:]:
        rest = Binary("-", rest, part)
    return Call("sqrt", (rest,))


_BUILT: Mapping[str, tuple[tuple[int, int], Builder]] = {
    "DeltaR": ((4, 4), _ordered("delta_r", 0, 2, 1, 3)),
    "DeltaR2": ((4, 4), _ordered("delta_r2", 0, 2, 1, 3)),
    "InvariantMass": ((4, 4), _invariant_mass),
    "Dot": ((2, 2), _dot),
    "Where": ((3, 3), _ordered("where", 0, 1, 2)),
    "logical_and": ((2, 2), _binary("&&")),
    "logical_or": ((2, 2), _binary("||")),
    "logical_xor": ((2, 2), _xor),
    "logical_not": ((1, 1), lambda one: Unary("!", one)),
    "bitwise_and": ((2, 2), _binary("&")),
    "bitwise_or": ((2, 2), _binary("|")),
    "left_shift": ((2, 2), _binary("<<")),
    "right_shift": ((2, 2), _binary(">>")),
    "invert": ((1, 1), lambda one: Unary("~", one)),
    "negative": ((1, 1), lambda one: Unary("-", one)),
    "add": ((2, 2), _binary("+")),
    "subtract": ((2, 2), _binary("-")),
    "multiply": ((2, 2), _binary("*")),
    "divide": ((2, 2), _binary("/")),
    "true_divide": ((2, 2), _binary("/")),
    "floor_divide": ((2, 2), _binary("//")),
    "greater": ((2, 2), _compare(">")),
    "greater_equal": ((2, 2), _compare(">=")),
    "less": ((2, 2), _compare("<")),
    "less_equal": ((2, 2), _compare("<=")),
    "equal": ((2, 2), _compare("==")),
    "not_equal": ((2, 2), _compare("!=")),
    "firsts": ((1, 1), lambda one: Index(one, Number(0))),
    "count_nonzero": ((1, 1), lambda one: Call("sum", (Call("bool", (one,)),))),
    "empty": ((1, 1), lambda one: Comparison(Call("size", (one,)), ("==",), (Number(0),))),
}
"""What is written with other nodes, and how many arguments it takes."""

_SPELLINGS = {
    # ROOT's TTreeFormula
    "Sum$": "sum", "Length$": "count", "Max$": "max", "Min$": "min", "MaxIf$": "max_if",
    "MinIf$": "min_if", "Alt$": "alternative", "Any$": "any", "All$": "all",
    # C and C++
    "fabs": "abs", "pow": "power", "asin": "arcsin", "acos": "arccos", "atan": "arctan",
    "atan2": "arctan2", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
    "ln": "log", "sq": "square", "nearbyint": "rint", "lround": "round", "llround": "round",
    "tgamma": "gamma", "lgamma": "gammaln", "std::clamp": "clip",
    # Python, NumPy and awkward
    "len": "size", "num": "size", "absolute": "abs", "amax": "max", "amin": "min",
    "product": "prod", "np.remainder": "mod", "numpy.remainder": "mod",
    "fill_none": "alternative", "rad2deg": "degrees", "deg2rad": "radians",
    # ROOT's other classes
    "TVector2::Phi_mpi_pi": "phi_mpi_pi", "Phi_mpi_pi": "phi_mpi_pi",
    "TVector2::Phi_0_2pi": "phi_0_2pi", "Phi_0_2pi": "phi_0_2pi",
}  # fmt: skip

_TMATH = {
    "Abs": "abs", "Sqrt": "sqrt", "Exp": "exp", "Log": "log", "Log10": "log10", "Log2": "log2",
    "Sin": "sin", "Cos": "cos", "Tan": "tan", "ASin": "arcsin", "ACos": "arccos", "ATan": "arctan",
    "ATan2": "arctan2", "SinH": "sinh", "CosH": "cosh", "TanH": "tanh", "ASinH": "arcsinh",
    "ACosH": "arccosh", "ATanH": "arctanh", "Power": "power", "Max": "root_max", "Min": "root_min",
    "Nint": "rint", "Floor": "floor", "Ceil": "ceil", "Sq": "square", "Hypot": "hypot",
    "IsNaN": "isnan", "Finite": "isfinite", "Sign": "copysign", "SignBit": "signbit",
    "Even": "even", "Odd": "odd", "Range": "range", "Erf": "erf", "Erfc": "erfc",
    "Gamma": "gamma", "LnGamma": "gammaln", "Freq": "ndtr", "Gaus": "gauss",
    "BreitWigner": "breit_wigner", "FloorNint": "floor", "CeilNint": "ceil",
    "Prob": "probability", "Poisson": "poisson", "Factorial": "factorial", "Binomial": "binom",
    "ErfInverse": "erfinv", "NormQuantile": "ndtri",
}  # fmt: skip

_VECOPS = {
    "Sum": "sum", "Mean": "Mean", "Max": "max", "Min": "min", "Any": "any", "All": "all",
    "ArgMax": "argmax", "ArgMin": "argmin", "DeltaPhi": "delta_phi", "Product": "prod",
    "StdDev": "StdDev", "Var": "Var", "Sort": "sort", "StableSort": "sort", "Argsort": "Argsort",
    "StableArgsort": "Argsort", "Reverse": "Reverse", "Nonzero": "Nonzero", "Take": "Take",
    "Concatenate": "concatenate", "Combinations": "Combinations", "Enumerate": "local_index",
    "InvariantMasses": "InvariantMasses",
}  # fmt: skip

_MATH_OF_VECTORS = frozenset({
    "abs", "fdim", "fmod", "remainder", "exp", "exp2", "expm1", "log", "log10", "log2", "log1p",
    "pow", "sqrt", "cbrt", "hypot", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh",
    "cosh", "tanh", "asinh", "acosh", "atanh", "floor", "ceil", "trunc", "round", "lround",
    "llround", "erf", "erfc", "lgamma", "tgamma",
})  # fmt: skip
"""What ROOT::VecOps computes for each element, under the names of C."""

_NUMPY_ROUND = {
    f"{module}.{name}" for module in ("np", "numpy", "ak") for name in ("round", "around")
}
"""Half to even; plain ``round`` and ``std::round`` are C's."""

_PREFIXES = ("np.", "numpy.", "ak.", "math.", "std::", "ROOT::Math::", "TMath::")
_ARRAY_MODULES = ("np.", "numpy.", "ak.")

_DRAW = {
    "sqrt": "draw_sqrt", "log": "draw_log", "log10": "draw_log10", "arccos": "draw_acos",
    "arcsin": "draw_asin", "exp": "draw_exp", "arccosh": "draw_acosh", "arctanh": "draw_atanh",
    "sign": "draw_sign", "alternative": "draw_alternative", "max": "draw_max",
    "min": "draw_min", "max_if": "draw_max_if", "min_if": "draw_min_if",
}  # fmt: skip
"""Functions that TTree::Draw computes in another way; those of ``TMath::`` are the real ones."""

_REFUSED = {
    "deltaR": (
        "deltaR is (eta1, phi1, eta2, phi2) in CMS software, and ROOT's DeltaR (eta1, eta2, phi1, "
        "phi2); write DeltaR(...) for ROOT's order, or delta_r(...) for the other one"
    ),
    "deltaPhi": (
        "deltaPhi is phi1 - phi2 in CMS software, and ROOT's DeltaPhi phi2 - phi1; write "
        "DeltaPhi(phi1, phi2) or delta_phi(phi1, phi2) for phi2 - phi1, and turn them round for "
        "the other one"
    ),
    "Filter": "functions as arguments are not supported: write x[condition]",
    "Map": "functions as arguments are not supported: apply the function to the list itself",
    "combinations": "write Combinations(x, 2), which gives lists of positions, and Take",
    "cartesian": "write Combinations(x, y), which gives lists of positions, and Take",
    "argcombinations": "write Combinations(x, 2), which gives lists of positions",
    "argcartesian": "write Combinations(x, y), which gives lists of positions",
    "mask": "write where(condition, x, ...), or x[condition] for the elements",
    "zip": "records cannot be made in expressions; define their columns one by one",
    "Range": "write local_index(x) for the positions 0, 1, 2, ... in a list x",
    "Drop": "write x[condition] with those that stay",
    "Intersect": "write x[(x == 1) || (x == 2)], or define the columns that you compare",
    "ravel": "there is no list over events; flatten(x, axis=2) joins the lists of an event",
}

_SWITCHES = {"ascending", "keepdims", "clip", "stable"}
OPTIONS = frozenset({"axis", "ddof", "nan", "mask_identity", *_SWITCHES})
"""Keyword arguments that some function takes."""


def canonical_function(name: str) -> str | None:
    """The canonical name of a function, however it is spelled; None if there is none.

    >>> canonical_function("TMath::Abs"), canonical_function("np.sqrt"), canonical_function("Sum$")
    ('abs', 'sqrt', 'sum')
    """
    found = _find(name)
    return found if found in FUNCTIONS else None


def _find(name: str) -> str | None:
    """The name of a function of `FUNCTIONS` or of `_BUILT`."""
    if name.startswith("TMath::") and name.removeprefix("TMath::") in _TMATH:
        return _TMATH[name.removeprefix("TMath::")]
    if name.startswith("TMath::"):
        return None
    for prefix in ("ROOT::VecOps::", "VecOps::"):
        if name.startswith(prefix):
            bare = name.removeprefix(prefix)
            return _VECOPS.get(bare) or (bare if bare in _BUILT else _of_vectors(bare))
    if name in _NUMPY_ROUND:
        return "rint"
    if name in _SPELLINGS:
        return _SPELLINGS[name]
    bare = _bare(name)
    if bare in CASTS and bare not in {"float", "bool"} and bare == name.removeprefix("std::"):
        return CASTS[bare]
    if bare in FUNCTIONS or bare in _BUILT:
        return bare
    return _SPELLINGS.get(bare) or _VECOPS.get(bare)  # RDataFrame: using ROOT::VecOps


def _of_vectors(name: str) -> str | None:
    """The function of numbers that ROOT::VecOps has for its vectors too, such as ``sqrt``."""
    function = _SPELLINGS.get(name, name)
    element = function in FUNCTIONS and FUNCTIONS[function].kind == "element"
    return function if element and name in _MATH_OF_VECTORS else None


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name.removeprefix("ROOT::VecOps::").removeprefix("VecOps::")


def is_function(name: str) -> bool:
    """Whether there is a function of this name."""
    return _find(name) is not None


def casts_arguments(name: str) -> bool:
    """Whether ``f<type>(...)`` of C++ converts its arguments: functions of numbers do."""
    found = _find(name) or ""
    if found in {"max", "min", "DeltaR", "DeltaR2"}:
        return True
    return found in FUNCTIONS and FUNCTIONS[found].kind == "element"


def takes_sequence(name: str) -> bool:
    """Whether ``f([a, b])`` is ``f(a, b)``: the lists that are joined, or compared."""
    return _find(name) in {"concatenate", "max", "min", "maximum", "minimum"}


def resolve(name: str, arguments: list[Node], options: Options, *, draw: bool = False) -> Node:
    """The node of a call.

    Args:
        options: Keyword arguments, of constants.
        draw: Whether it is written for TTree::Draw.

    Raises:
        ExpressionError: No such function, or other arguments than these.
    """
    if name in CONSTANTS and not arguments and name.startswith(("TMath::", "ROOT::Math::")):
        return Number(CONSTANTS[name])
    bare = name.removeprefix("ak.").removeprefix("ROOT::VecOps::")
    if bare in _REFUSED:
        raise ExpressionError(_REFUSED[bare])
    if name in CONSTRUCTORS:
        _refuse_options(name, options)
        return _constructed(CONSTRUCTORS[name], arguments)
    util = _vector_function(name)
    if util is not None:
        _refuse_options(name, options)
        return _of_two_vectors(name, util, arguments)
    function = _find(name)
    if function is None:
        known = _TMATH if name.startswith("TMath::") else _KNOWN
        message = f"there is no function {name!r}; nearest: {nearest(_bare(name), known)}"
        raise ExpressionError(message)
    arguments, options = _positional_axis(name, function, arguments, dict(options))
    if function in {"max", "min"} and len(arguments) > 1:
        function = f"{function}imum"  # of numbers, not of the list of each event
    if function == "nan_to_num" and len(arguments) == 1:
        arguments = [*arguments, Number(options.pop("nan", 0))]
    _check_arity(name, function, len(arguments))
    if draw and not name.startswith(("TMath::", "ROOT::")):
        function = _DRAW.get(function, function)
    if function in _BUILT:
        _refuse_options(name, {key: value for key, value in options.items() if key != "axis"})
        return _BUILT[function][1](*arguments)
    return _with_options(name, function, arguments, options)


def _constructed(title: str, arguments: list[Node]) -> Node:
    wanted = len(KINDS[title].members)
    if len(arguments) != wanted:
        message = f"{title} takes {wanted} numbers, not {len(arguments)}"
        raise ExpressionError(message)
    return Call("new_vector", (Text(title), *arguments))


def _of_two_vectors(name: str, function: str, arguments: list[Node]) -> Node:
    if len(arguments) != 2:
        message = f"{name} takes 2 vectors, not {len(arguments)}"
        raise ExpressionError(message)
    return Call("lorentz", (arguments[0], Text(function), arguments[1]))


def _positional_axis(
    name: str, function: str, arguments: list[Node], options: dict[str, Any]
) -> tuple[list[Node], dict[str, Any]]:
    """``np.max(x, 1)``: the second argument of a reducer is the axis."""
    reduces = function in FUNCTIONS and FUNCTIONS[function].kind == "reduce"
    if not (reduces and len(arguments) == 2 and name.startswith(_ARRAY_MODULES)):
        return arguments, options
    axis = arguments[1]
    sign = 1
    if isinstance(axis, Unary) and axis.operator == "-":
        sign, axis = -1, axis.operand
    if not isinstance(axis, Number) or not isinstance(axis.value, int):
        message = f"the second argument of {name} is the axis, a whole number"
        raise ExpressionError(message)
    return arguments[:1], options | {"axis": sign * axis.value}


def _check_arity(name: str, function: str, number: int) -> None:
    arity = _BUILT[function][0] if function in _BUILT else FUNCTIONS[function].arity
    least, most = arity
    if not least <= number <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        message = f"{name} takes {wanted} argument(s), not {number}"
        raise ExpressionError(message)


def _with_options(name: str, function: str, arguments: list[Node], options: Any) -> Node:
    """A call with what keyword arguments say."""
    given = "axis" in options
    axis = options.pop("axis", None)
    options.pop("stable", None)
    if options.get("mask_identity") is False:
        options.pop("mask_identity")
    function = _corrected(name, function, options)
    keep = bool(options.pop("keepdims", False))
    for key in ("ascending", "clip"):
        if key in options and function in {"sort", "argsort", "pad_none"}:
            arguments = [*arguments, Boolean(bool(options.pop(key)))]
    _refuse_options(name, options)
    reduces = FUNCTIONS[function].kind == "reduce"
    if given or (function == "flatten" and name.startswith(_ARRAY_MODULES)):
        _check_axis(name, function, axis, reduces=reduces)
    node = Call(function, tuple(arguments), axis if reduces else None)
    return Call("as_list", (node,)) if keep and reduces else node


def _corrected(name: str, function: str, options: dict[str, Any]) -> str:
    """`ddof` of std and var: 0, or 1 as ROOT has it."""
    ddof = options.pop("ddof", 0)
    if ddof == 0:
        return function
    if ddof == 1 and function in {"std", "var"}:
        message = (
            f"{name}(ddof=1) of one number is NaN in NumPy and 0 in ROOT; write StdDev(x) or "
            "Var(x) for ROOT's"
        )
        raise ExpressionError(message)
    message = f"{name} takes no ddof={ddof}"
    raise ExpressionError(message)


def _check_axis(name: str, function: str, axis: Any, *, reduces: bool) -> None:
    if function == "flatten":
        if axis != 2:
            message = (
                f"axis={axis} of {name} joins the lists of all events; flatten(x, axis=2) joins "
                "the lists of lists of each event"
            )
            raise ExpressionError(message)
        return
    within = {
        "sort", "argsort", "local_index", "concatenate", "pad_none", "alternative", "is_none",
        "drop_none",
    }  # fmt: skip
    if not reduces and function not in within:
        message = f"{name} takes no axis"
        raise ExpressionError(message)
    if axis in ({1, -1, 2} if reduces else {1, -1}):
        return
    message = (
        f"axis={axis} is not supported: reducers work on the list of each event, which is axis=1 "
        "(or -1)"
    )
    raise ExpressionError(message)


def _refuse_options(name: str, options: Options) -> None:
    for key, value in options.items():
        message = f"{name} takes no {key}={value}"
        raise ExpressionError(message)


_INTERNAL = {
    "as_list", "list_of", "lorentz", "max_if", "member", "min_if", "new_vector", "stored_vector",
}  # fmt: skip
_KNOWN = sorted(
    name
    for name in {*FUNCTIONS, *_BUILT, *_SPELLINGS, *_VECOPS} - _INTERNAL
    if not name.startswith(("draw_", "root_"))
)
"""What errors offer as the nearest names."""
