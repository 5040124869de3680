"""Members of records: of leaf lists and objects, by the names that files give them."""

from __future__ import annotations

from typing import Any

import awkward as ak

from rootml.errors import ExpressionError, nearest
from rootml.expressions._values import Value, both, is_strings, of_column


def member(value: Value, name: Value) -> Value:
    """``x.name`` of a record, or of each record of a list.

    Raises:
        ExpressionError: The member does not exist; the message lists those that do.
    """
    text = str(name.data)
    fields = fields_of(value.data)
    if text not in fields:
        known = f"nearest: {nearest(text, fields)}" if fields else "it is not a record"
        message = f"there is no member {text!r}; {known}"
        raise ExpressionError(message)
    found = of_column(plain_numbers(value.data[fields[text]]))
    known_ = both(value.known, found.known)
    return Value(found.data, both(value.there, found.there), known_)


def is_record(data: Any) -> bool:
    """Whether there is one record per event, and not a list of them."""
    return isinstance(data, ak.Array) and bool(ak.to_layout(data).is_record)


def fields_of(data: Any) -> dict[str, str]:
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


def plain_numbers(data: Any) -> Any:
    """One number per event as NumPy has it, also of records that were picked from lists."""
    layout: Any = ak.to_layout(data)
    if layout.is_indexed and not layout.is_option:
        layout = layout.project()
    return ak.to_numpy(layout) if layout.is_numpy else data
