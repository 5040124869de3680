"""Vectors of ROOT as values: one per event, or lists of them; their methods and arithmetic.

A vector is an awkward record as files hold it: ``TLorentzVector`` with fP and fE, ``TVector3``
with fX, fY, fZ, and those of ``ROOT::Math`` with fCoordinates. What is computed makes such records
too. A record of lists, as a split list of objects is read, counts as a list of records. Members
say which class it is, and `_coordinates` what its methods give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

from rootml.errors import ExpressionError, nearest
from rootml.expressions._coordinates import (
    PtEtaPhiE,
    PtEtaPhiM,
    PxPyPzE,
    PxPyPzM,
    TLorentzVector,
    Vector,
)
from rootml.expressions._coordinates_3d import (
    Cartesian,
    Cartesian2D,
    Cylindrical,
    CylindricalEta,
    Polar,
    Polar2D,
    TVector2,
    TVector3,
)
from rootml.expressions._elementwise import phi_mpi_pi
from rootml.expressions._members import fields_of, plain_numbers
from rootml.expressions._values import (
    Data,
    Value,
    as_number,
    combined,
    flat,
    leaf_dtype,
    number_by_number,
    of_column,
    same_offsets,
)

Kind = type[Vector]
_OF_MATH: tuple[Kind, ...] = (
    PxPyPzE, PxPyPzM, PtEtaPhiM, PtEtaPhiE,
    Cartesian, Polar, CylindricalEta, Cylindrical, Cartesian2D, Polar2D,
)  # fmt: skip
_OLD: tuple[Kind, ...] = (TLorentzVector, TVector3, TVector2)
KINDS: Mapping[str, Kind] = {kind.title: kind for kind in (*_OF_MATH, *_OLD)}
"""Classes by their names in ROOT."""
_COORDINATES = {frozenset(kind.members): kind for kind in _OF_MATH}
_OF_OBJECTS = {"fUniqueID", "fBits", "TObject"}


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """Vectors of one class.

    Attributes:
        kind: What class they are of.
        parts: What it stores, one value each: numbers per event, or lists of them.
    """

    kind: Kind
    parts: tuple[Value, ...]


def holds_records(data: Data) -> bool:
    """Whether there are records, or lists of records."""
    if not isinstance(data, ak.Array):
        return False
    layout: Any = data.layout
    while layout.is_list or layout.is_option or layout.is_indexed:
        if layout.parameter("__array__") is not None:
            return False
        layout = layout.content
    return bool(layout.is_record)


def vectors_of(value: Value) -> Vectors:
    """The vectors that a value is.

    Raises:
        ExpressionError: It is something else.
    """
    if not holds_records(value.data):
        message = "this is not a vector, but values without members"
        raise ExpressionError(message)
    kind, members = _recognised(value.data)
    parts = []
    for member in members:
        found = of_column(plain_numbers(member))
        numbers = Value(_floats(found.data), found.there, found.known)
        parts.append(combined(numbers.data, (numbers, _mask_of(value, numbers))))
    return Vectors(kind, tuple(parts))


def _mask_of(value: Value, numbers: Value) -> Value:
    """What is known of records, for the numbers in them."""
    if numbers.lists:
        return Value(numbers.data, value.there, value.known)
    return Value(numbers.data, value.there)


def _recognised(data: Any) -> tuple[Kind, list[Any]]:
    """The class of records, and the arrays of what it stores."""
    fields = fields_of(data)
    if "fCoordinates" in fields:
        inner = data[fields["fCoordinates"]]
        kind = _COORDINATES.get(frozenset(_short(ak.fields(inner))))
        if kind is not None:
            known = fields_of(inner)
            return kind, [inner[known[name]] for name in kind.members]
    flat_names = _short(name for name in fields if "fCoordinates." in name)
    if frozenset(flat_names) in _COORDINATES:
        kind = _COORDINATES[frozenset(flat_names)]
        return kind, [data[flat_names[name]] for name in kind.members]
    if {"fP", "fE"} <= set(fields):
        kind, parts = _recognised(data[fields["fP"]])
        if kind is TVector3:
            return TLorentzVector, [*parts, data[fields["fE"]]]
    own = set(_short(ak.fields(data))) - _OF_OBJECTS
    for kind in (TVector3, TVector2):
        if own == set(kind.members):
            return kind, [data[fields[name]] for name in kind.members]
    message = f"this is not a vector, but a record of {nearest('fP', sorted(own))}"
    raise ExpressionError(message)


def _short(names: Any) -> dict[str, str]:
    """Names of members by their last part: of ``fCoordinates.fPt`` that is ``fPt``.

    Those that begin with @ are uproot's, for bytes between members.
    """
    short = {name.rpartition(".")[2]: name for name in names}
    return {key: name for key, name in short.items() if not key.startswith("@")}


def _floats(data: Data) -> Data:
    numbers = as_number(data)
    if leaf_dtype(numbers) != np.float64:
        numbers = number_by_number(lambda whole: whole.astype(np.float64), numbers)
    if not isinstance(numbers, ak.Array) and numbers.ndim > 1:  # fixed arrays are lists too
        return ak.from_regular(ak.Array(numbers), axis=None)
    return numbers


def value_of(kind: Kind, parts: Sequence[Value]) -> Value:
    """Records of a class from what it stores."""
    whole = combined(parts[0].data, parts)
    arrays = dict(zip(kind.members, (part.data for part in parts), strict=True))
    if kind is TLorentzVector:
        momentum = [arrays[name] for name in TVector3.members]
        inner = ak.zip(dict(zip(TVector3.members, momentum, strict=True)))
        data = ak.zip({"fP": inner, "fE": arrays["fT"]})
    elif kind.old:
        data = ak.zip(arrays)
    else:
        data = ak.zip({"fCoordinates": ak.zip(arrays)})
    return Value(data, whole.there, whole.known)


def as_vectors(value: Value) -> Value:
    """A record of lists as the list of vectors that it is; anything else as it is."""
    if not (isinstance(value.data, ak.Array) and ak.to_layout(value.data).is_record):
        return value
    try:
        found = vectors_of(value)
    except ExpressionError:
        return value
    return value_of(found.kind, found.parts) if found.parts[0].lists else value


def stored_vector(title: Value, *parts: Value) -> Value:
    """A vector whose members are columns of their own; fP of a TLorentzVector is one."""
    kind = KINDS[str(title.data)]
    if kind is TLorentzVector and len(parts) == 2:
        momentum = vectors_of(parts[0])
        parts = (*momentum.parts, parts[1])
    return value_of(kind, _as_floats(parts))


def new_vector(title: Value, *parts: Value, num_events: int) -> Value:
    """A vector as its constructor makes it."""
    kind = KINDS[str(title.data)]
    if len(parts) != len(kind.members):
        message = f"{kind.title} is made of {len(kind.members)} numbers, not of {len(parts)}"
        raise ExpressionError(message)
    numbers = _as_floats(parts)
    found = _computed(lambda *each: kind.made(*each).parts, numbers)
    return value_of(kind, [_of_all_events(part, num_events) for part in found])


def _of_all_events(part: Value, num_events: int) -> Value:
    if part.lists or part.data.ndim:
        return part
    return Value(np.full(num_events, part.data[()]), part.there)


def _as_floats(parts: Sequence[Value]) -> tuple[Value, ...]:
    return tuple(Value(_floats(part.data), part.there, part.known) for part in parts)


def _computed(function: Callable[..., Any], operands: Sequence[Value]) -> list[Value]:
    """What a function of numbers gives for each; it returns a tuple of arrays."""
    data = _each(function, *(operand.data for operand in operands))
    return [combined(each, operands) for each in data]


def _each(function: Callable[..., Any], *operands: Data) -> tuple[Data, ...]:
    """``function`` of the numbers in lists, however deep these are."""
    if not any(isinstance(operand, ak.Array) for operand in operands):
        return tuple(np.broadcast_arrays(*function(*operands)))
    known = [flat(operand) for operand in operands]
    first = known[0]
    if first is not None and all(k is not None and same_offsets(k[0], first[0]) for k in known):
        offsets = ak.index.Index64(first[0])
        found = np.broadcast_arrays(*function(*(each[1] for each in known if each is not None)))
        return tuple(
            ak.Array(ak.contents.ListOffsetArray(offsets, ak.contents.NumpyArray(array.copy())))
            for array in found
        )
    return _broadcast(function, operands)


def _broadcast(function: Callable[..., Any], operands: Sequence[Data]) -> tuple[Data, ...]:
    """Of lists and numbers per event, which go with each element."""
    constants = {
        number: operand
        for number, operand in enumerate(operands)
        if not isinstance(operand, ak.Array) and operand.ndim == 0
    }

    def apply(layouts: Any, **_: Any) -> Any:
        if not all(layout.is_numpy for layout in layouts):
            return None
        numbers = iter([layout.data for layout in layouts])
        whole = [
            constants[number] if number in constants else next(numbers)
            for number in range(len(operands))
        ]
        found = np.broadcast_arrays(*function(*whole))
        return tuple(ak.contents.NumpyArray(array.copy()) for array in found)

    arrays = [each for number, each in enumerate(operands) if number not in constants]
    try:
        found = ak.transform(apply, *arrays)
    except ValueError as error:
        message = "lists of vectors of different lengths meet"
        raise ExpressionError(message) from error
    return found if isinstance(found, tuple) else (found,)


# --- methods -------------------------------------------------------------------------------------


def _spelled(**names: str) -> dict[str, str]:
    """What is computed, by the names that ROOT's classes have for it."""
    return {name: attribute for attribute, text in names.items() for name in text.split()}


_PLANE = _spelled(x="X Px x px", y="Y Py y py", phi="Phi phi")
_METHODS: Mapping[int, Mapping[str, str]] = {
    4: _PLANE | _spelled(
        z="Z Pz z pz", energy="E T Energy e t energy", pt="Pt Perp pt", pt2="Perp2 Pt2 perp2",
        p="P R r", p2="P2", rho="Rho rho", eta="Eta PseudoRapidity eta", theta="Theta theta",
        cos_theta="CosTheta", m="M Mag mass mag", m2="M2 Mag2 mass2 mag2", mt="Mt mt",
        mt2="Mt2 mt2", et="Et", et2="Et2", rapidity="Rapidity", beta="Beta", gamma="Gamma",
        plus="Plus", minus="Minus",
    ),
    3: _PLANE | _spelled(
        z="Z Pz z pz", rho="Rho rho Perp Pt pt", rho2="Perp2 perp2", r="R r Mag mag",
        r2="Mag2 mag2", eta="Eta PseudoRapidity eta", theta="Theta theta", cos_theta="CosTheta",
    ),
    2: _PLANE | _spelled(r="R r Mod", r2="Mod2 Mag2 mag2"),
}  # fmt: skip


def method(value: Value, name: Value, *arguments: Value) -> Value:
    """A method of a vector, such as ``Pt()`` or ``DeltaR(other)``.

    Raises:
        ExpressionError: No such method, other arguments, or no vector.
    """
    vectors, text = vectors_of(value), str(name.data)
    known = _METHODS[vectors.kind.dimension]
    if text in known and not arguments:
        kind, attribute = vectors.kind, known[text]
        return _computed(lambda *parts: (getattr(kind(*parts), attribute)(),), vectors.parts)[0]
    if text in _VECTORS and not arguments:
        return _VECTORS[text](vectors)
    if text in _OF_TWO and arguments:
        return _of_two(text, vectors, arguments)
    if text in known or text in _VECTORS or text in _OF_TWO:
        message = f"{text}() takes {'another vector' if text in _OF_TWO else 'no argument'}"
        raise ExpressionError(message)
    names = [*known, *_VECTORS, *(each for each in _OF_TWO if ":" not in each)]
    message = f"{vectors.kind.title} has no method {text}(); nearest: {nearest(text, names)}"
    raise ExpressionError(message)


def _vect(vectors: Vectors) -> Value:
    """The spatial part."""
    if vectors.kind.dimension != 4:
        message = "Vect() is the spatial part of a Lorentz vector, and this is none"
        raise ExpressionError(message)
    kind = TVector3 if vectors.kind.old else Cartesian
    whole = vectors.kind
    return value_of(kind, _computed(lambda *p: whole(*p).components[:3], vectors.parts))


def _unit(vectors: Vectors) -> Value:
    """The vector of length 1 in its direction; a vector of length 0 stays."""
    kind = vectors.kind
    if kind.dimension == 4:
        message = "Unit() of a Lorentz vector: write Vect().Unit()"
        raise ExpressionError(message)

    def scaled(*parts: Any) -> Any:
        vector: Any = kind(*parts)
        length = vector.r()
        some = vector.r2() > 0 if kind is TVector3 else length != 0
        return vector.scaled(np.where(some, 1 / length, 1.0)).parts

    return value_of(kind, _computed(scaled, vectors.parts))


_VECTORS: Mapping[str, Callable[[Vectors], Value]] = {"Vect": _vect, "Unit": _unit, "unit": _unit}


def _of_two(name: str, one: Vectors, arguments: Sequence[Value]) -> Value:
    """A method with another vector as its argument."""
    other, flags = vectors_of(arguments[0]), arguments[1:]
    if len(flags) > (name == "DeltaR"):
        message = f"{name}() takes another vector" + " and a bool" * (name == "DeltaR")
        raise ExpressionError(message)
    if flags:  # useRapidity
        if flags[0].data.ndim or leaf_dtype(flags[0].data).kind != "b":
            message = "the second argument of DeltaR() is true or false"
            raise ExpressionError(message)
        name = "DrRapidityPhi" if flags[0].data else name
    function, least = _OF_TWO[name]
    for side in (one, other):
        if side.kind.dimension < least:
            message = f"{name}() is not a method of {side.kind.title}"
            raise ExpressionError(message)
    size = len(one.parts)

    def apply(*parts: Any) -> Any:
        return function(one.kind(*parts[:size]), other.kind(*parts[size:]))

    found = _computed(apply, (*one.parts, *other.parts))
    if name != "Cross":
        return found[0]
    made = _computed(lambda *p: one.kind.cartesian(*p).parts, found)
    return value_of(one.kind, made)


def _wrapped(angle: Any) -> Any:
    """To (-pi, pi], as ROOT::Math::LorentzVector::DeltaR."""
    up = np.floor(angle / (2 * np.pi) + 0.5)
    down = np.floor(0.5 - angle / (2 * np.pi))
    turned = np.where(angle > 0, angle - 2 * np.pi * up, angle + 2 * np.pi * down)
    return np.where((angle > np.pi) | (angle <= -np.pi), turned, angle)


def _delta_phi(one: Any, other: Any) -> Any:
    return (phi_mpi_pi(one.phi() - other.phi()),)


def _distance(attribute: str) -> Callable[[Any, Any], Any]:
    def distance(one: Any, other: Any) -> Any:
        along = getattr(one, attribute)() - getattr(other, attribute)()
        angle = one.phi() - other.phi()
        around = phi_mpi_pi(angle) if one.old else _wrapped(angle)
        return (np.sqrt(along * along + around * around),)

    return distance


def _util_delta_phi(one: Any, other: Any) -> Any:
    """ROOT::Math::VectorUtil::DeltaPhi: of the second minus the first."""
    angle = other.phi() - one.phi()
    below = np.where(angle <= -np.pi, angle + 2 * np.pi, angle)
    return (np.where(angle > np.pi, angle - 2 * np.pi, below),)


def _util_delta_r2(one: Any, other: Any) -> Any:
    (around,) = _util_delta_phi(one, other)
    return (around**2 + (other.eta() - one.eta()) ** 2,)


def _util_delta_r(one: Any, other: Any) -> Any:
    return (np.sqrt(_util_delta_r2(one, other)[0]),)


def _product(one: Any, other: Any) -> Any:
    """Of the spatial parts."""
    return sum(a * b for a, b in zip(one.components[:3], other.components[:3], strict=False))


def _dot(one: Any, other: Any) -> Any:
    if one.dimension == other.dimension == 4:
        return (one.energy() * other.energy() - _product(one, other),)
    return (_product(one, other),)


def _cosine(one: Any, other: Any, of_nothing: float) -> Any:
    """Of the angle between them; `of_nothing`: where one has no length."""
    lengths = _product(one, one) * _product(other, other)
    cosine = np.clip(_product(one, other) / np.sqrt(lengths), -1, 1)
    return np.where(lengths <= 0, of_nothing, cosine)


def _angle(one: Any, other: Any) -> Any:
    """TVector3::Angle, which is 0 for a vector of no length."""
    return (np.arccos(_cosine(one, other, 1.0)),)


def _util_angle(one: Any, other: Any) -> Any:
    """ROOT::Math::VectorUtil::Angle, which is pi / 2 for a vector of no length."""
    return (np.arccos(_cosine(one, other, 0.0)),)


def _util_cosine(one: Any, other: Any) -> Any:
    return (_cosine(one, other, 0.0),)


def _cross(one: Any, other: Any) -> Any:
    (x, y, z), (u, v, w) = one.components[:3], other.components[:3]
    return y * w - v * z, z * u - w * x, x * v - u * y


def _mass_of_two(one: Any, other: Any) -> Any:
    sums = (a + b for a, b in zip(one.components, other.components, strict=True))
    return (PxPyPzE(*sums).m(),)


def _mass2_of_two(one: Any, other: Any) -> Any:
    sums = (a + b for a, b in zip(one.components, other.components, strict=True))
    return (PxPyPzE(*sums).m2(),)


UTIL = "VectorUtil::"
_OF_TWO: Mapping[str, tuple[Callable[[Any, Any], Any], int]] = {
    "DeltaPhi": (_delta_phi, 2),
    "DeltaR": (_distance("eta"), 3),
    "DrEtaPhi": (_distance("eta"), 3),
    "DrRapidityPhi": (_distance("rapidity"), 4),
    "Dot": (_dot, 2),
    "Angle": (_angle, 3),
    "Cross": (_cross, 3),
    f"{UTIL}DeltaPhi": (_util_delta_phi, 2),
    f"{UTIL}DeltaR": (_util_delta_r, 3),
    f"{UTIL}DeltaR2": (_util_delta_r2, 3),
    f"{UTIL}Angle": (_util_angle, 3),
    f"{UTIL}CosTheta": (_util_cosine, 3),
    f"{UTIL}InvariantMass": (_mass_of_two, 4),
    f"{UTIL}InvariantMass2": (_mass2_of_two, 4),
}
"""Methods with another vector, functions of ROOT::Math::VectorUtil, and the least dimension."""
METHODS = frozenset().union(*_METHODS.values(), _VECTORS, _OF_TWO)
"""The names of all methods."""
VECTOR_FUNCTIONS = frozenset(name for name in _OF_TWO if name.startswith(UTIL))


# --- arithmetic ----------------------------------------------------------------------------------


def arithmetic(operator: str, left: Value, right: Value) -> Value:
    """``a + b``, ``a - b``, ``a * 2``, ``2 * a``, ``a / 2``, and ``a * b`` of T classes.

    Raises:
        ExpressionError: Something else.
    """
    sides = [holds_records(side.data) for side in (left, right)]
    if all(sides):
        return _of_vectors(operator, vectors_of(left), vectors_of(right))
    vectors = vectors_of(left if sides[0] else right)
    if operator == "*" or (operator == "/" and sides[0]):
        factor = _as_floats([right if sides[0] else left])[0]
        return _scaled(vectors, factor, divide=operator == "/")
    message = f"'{operator}' between {vectors.kind.title} and a number"
    raise ExpressionError(message)


def _of_vectors(operator: str, one: Vectors, other: Vectors) -> Value:
    if operator == "*" and one.kind.old and other.kind is one.kind:
        return _of_two("Dot", one, [value_of(other.kind, other.parts)])
    if operator not in {"+", "-"} or one.kind.dimension != other.kind.dimension:
        message = f"'{operator}' between {one.kind.title} and {other.kind.title}"
        raise ExpressionError(message)
    size, sign = len(one.parts), 1 if operator == "+" else -1

    def apply(*parts: Any) -> Any:
        sides = one.kind(*parts[:size]).components, other.kind(*parts[size:]).components
        return one.kind.cartesian(*(a + sign * b for a, b in zip(*sides, strict=True))).parts

    return value_of(one.kind, _computed(apply, (*one.parts, *other.parts)))


def _scaled(vectors: Vectors, factor: Value, *, divide: bool) -> Value:
    kind = vectors.kind

    def apply(*parts: Any) -> Any:
        size = 1 / parts[-1] if divide else parts[-1]
        return kind(*parts[:-1]).scaled(size).parts

    return value_of(kind, _computed(apply, (*vectors.parts, factor)))


def chosen(choice: Callable[..., Value], condition: Value, yes: Value, no: Value) -> Value:
    """``condition ? a : b``, by `choice` between numbers.

    Raises:
        ExpressionError: Vectors of two classes.
    """
    one, other = vectors_of(yes), vectors_of(no)
    if one.kind is not other.kind:
        message = f"a choice between {one.kind.title} and {other.kind.title}"
        raise ExpressionError(message)
    pairs = zip(one.parts, other.parts, strict=True)
    return value_of(one.kind, [choice(condition, *pair) for pair in pairs])


def negative(value: Value) -> Value:
    """``-a``."""
    return _scaled(vectors_of(value), Value(np.array(-1.0)), divide=False)
