"""Members of records, and what Lorentz vectors compute from theirs.

The names are those of ROOT's classes: ``TLorentzVector`` (fP.fX, fP.fY, fP.fZ, fE) and
``ROOT::Math::LorentzVector`` in its coordinates (fCoordinates.fPt, fEta, fPhi, fM, ...).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np

from rootml.errors import ExpressionError, nearest
from rootml.expressions._values import Value, both, is_strings, number_by_number, of_column

Momentum = tuple[Any, Any, Any, Any]
"""px, py, pz, energy: arrays of one shape."""


def member(value: Value, name: Value) -> Value:
    """``x.name`` of a record, or of each record of a list.

    Raises:
        ExpressionError: The member does not exist; the message lists those that do.
    """
    text = str(name.data)
    fields = _fields(value.data)
    if text not in fields:
        known = f"nearest: {nearest(text, fields)}" if fields else "it is not a record"
        message = f"there is no member {text!r}; {known}"
        raise ExpressionError(message)
    found = of_column(_plain_numbers(value.data[fields[text]]))
    return Value(found.data, both(value.there, found.there), found.known)


def is_record(data: Any) -> bool:
    """Whether there is one record per event, and not a list of them."""
    return isinstance(data, ak.Array) and bool(ak.to_layout(data).is_record)


def _fields(data: Any) -> dict[str, str]:
    """The fields of a record by the names of its members: of ``fCoordinates.fPt`` also ``fPt``.

    A split object gives its members such names. Those of tuples are ``_0``, ``_1``, ..., as
    RNTuple has them, and of pairs also ``first`` and ``second``.
    """
    known = ak.fields(data) if isinstance(data, ak.Array) and not is_strings(data) else []
    short = {name.rpartition(".")[2].partition("[")[0]: name for name in reversed(known)}
    if known and ak.is_tuple(data):  # std::tuple, and std::pair of an RNTuple
        short |= {f"_{name}": name for name in known}
        if len(known) == 2:
            short |= {"first": "0", "second": "1"}
    return {name: name for name in known} | {key: short[key] for key in short if key not in known}


def _plain_numbers(data: Any) -> Any:
    """One number per event as NumPy has it, also of records that were picked from lists."""
    layout: Any = ak.to_layout(data)
    if layout.is_indexed and not layout.is_option:
        layout = layout.project()
    return ak.to_numpy(layout) if layout.is_numpy else data


def lorentz(value: Value, name: Value) -> Value:
    """A method of a Lorentz vector, such as ``Pt``.

    Raises:
        ExpressionError: No such method, or no Lorentz vector.
    """
    text = str(name.data)
    if text not in METHODS:
        message = f"there is no method {text}(); nearest: {nearest(text, METHODS)}"
        raise ExpressionError(message)
    momentum = _momentum(value.data)
    with np.errstate(all="ignore"):
        data = number_by_number(METHODS[text], *(part * 1.0 for part in momentum))
    return Value(data, value.there)


_NO_RECORD = (
    "values without members; the members of a split TClonesArray are columns of their own, "
    "which `rootml inspect` lists: compute with those"
)


def _momentum(data: Any) -> Momentum:
    fields = _fields(data)
    if {"fP", "fE"} <= set(fields):
        parts = [*_parts(data[fields["fP"]], "fX", "fY", "fZ"), data[fields["fE"]]]
    elif "fCoordinates" in fields:
        parts = _from_coordinates(data[fields["fCoordinates"]])
    else:
        shown = f"a record of {nearest('fP', fields)}" if fields else _NO_RECORD
        message = f"this is not a Lorentz vector, but {shown}"
        raise ExpressionError(message)
    x, y, z, t = map(_plain_numbers, parts)
    return x, y, z, t


def _parts(data: Any, *names: str) -> list[Any]:
    fields = _fields(data)
    return [data[fields[name]] for name in names]


def _from_coordinates(data: Any) -> list[Any]:
    fields = set(_fields(data))
    if {"fX", "fY", "fZ", "fT"} <= fields:
        return _parts(data, "fX", "fY", "fZ", "fT")
    if {"fX", "fY", "fZ", "fM"} <= fields:
        x, y, z, mass = (part * 1.0 for part in _parts(data, "fX", "fY", "fZ", "fM"))
        return [x, y, z, _energy(x * x + y * y + z * z, mass)]
    if {"fPt", "fEta", "fPhi"} <= fields and fields & {"fM", "fE"}:
        pt, eta, phi = (part * 1.0 for part in _parts(data, "fPt", "fEta", "fPhi"))
        x, y, z = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
        if "fE" in fields:
            return [x, y, z, *_parts(data, "fE")]
        return [x, y, z, _energy(x * x + y * y + z * z, _parts(data, "fM")[0] * 1.0)]
    message = f"coordinates of a Lorentz vector that are not known: {nearest('fPt', fields)}"
    raise ExpressionError(message)


def _energy(momentum2: Any, mass: Any) -> Any:
    """With a mass below zero standing for a space-like vector, as in ROOT."""
    return np.sqrt(np.maximum(momentum2 + np.sign(mass) * mass * mass, 0.0))


def _signed_root(number: Any) -> Any:
    return np.sign(number) * np.sqrt(np.abs(number))


def _pt(x: Any, y: Any, z: Any, t: Any) -> Any:
    del z, t
    return np.sqrt(x * x + y * y)


def _p(x: Any, y: Any, z: Any, t: Any) -> Any:
    del t
    return np.sqrt(x * x + y * y + z * z)


def _eta(x: Any, y: Any, z: Any, t: Any) -> Any:
    """The pseudorapidity; along the beam 1e11, as TVector3 has it."""
    along = np.where(z == 0, 0.0, np.sign(z) * 1e11)
    return np.where(x * x + y * y > 0, np.arcsinh(z / _pt(x, y, z, t)), along)


def _mass2(x: Any, y: Any, z: Any, t: Any) -> Any:
    return t * t - (x * x + y * y + z * z)


METHODS: dict[str, Callable[..., Any]] = {
    **{name: lambda x, y, z, t: x for name in ("Px", "X")},  # noqa: ARG005
    **{name: lambda x, y, z, t: y for name in ("Py", "Y")},  # noqa: ARG005
    **{name: lambda x, y, z, t: z for name in ("Pz", "Z")},  # noqa: ARG005
    **{name: lambda x, y, z, t: t for name in ("E", "T", "Energy")},  # noqa: ARG005
    **dict.fromkeys(("Pt", "Perp", "pt"), _pt),
    **dict.fromkeys(("P", "Rho"), _p),
    **dict.fromkeys(("Eta", "PseudoRapidity", "eta"), _eta),
    **{name: lambda x, y, z, t: np.arctan2(y, x) for name in ("Phi", "phi")},  # noqa: ARG005
    **{name: lambda *parts: _signed_root(_mass2(*parts)) for name in ("M", "Mag", "mass")},
    **dict.fromkeys(("M2", "Mag2"), _mass2),
    "Theta": lambda x, y, z, t: np.arctan2(_pt(x, y, z, t), z),
    "CosTheta": lambda x, y, z, t: z / _p(x, y, z, t),
    "Rapidity": lambda x, y, z, t: 0.5 * np.log((t + z) / (t - z)),  # noqa: ARG005
    "Et": lambda x, y, z, t: t * _pt(x, y, z, t) / _p(x, y, z, t),
    "Beta": lambda x, y, z, t: _p(x, y, z, t) / t,
    "Gamma": lambda x, y, z, t: 1 / np.sqrt(1 - (_p(x, y, z, t) / t) ** 2),
}
"""Methods of TLorentzVector without arguments."""
