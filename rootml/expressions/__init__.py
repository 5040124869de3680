"""Cuts and derived columns: one parser, one evaluator, for ROOT's spelling and for Python's.

``parse`` makes an `Expression`; `cut_mask` and `column_values` apply it to columns of a partition.
No text is ever given to `eval` or to an interpreter.

    >>> import numpy as np, awkward as ak
    >>> columns = {"nJet": np.array([0, 2]), "Jet_pt": ak.Array([[], [40.0, 20.0]])}
    >>> cut_mask(parse("nJet < 1 || Jet_pt[0] > 30"), columns, 2)
    array([ True,  True])
    >>> column_values(parse("Sum$(Jet_pt)"), columns, 2)
    array([ 0., 60.])

What is missing. ``Jet_pt[0]`` of an event without jets is *unknown*, and so is what is computed
from it: logic is three-valued (true || unknown is true, false && unknown is false), ``?:`` needs
only the branch that it takes, and an event whose cut stays unknown fails, also under ``!``. In
lists it is the elements that are unknown, one by one: ``Muon_pt > Jet_pt[0]`` keeps its length.
``any`` is true if one element is known to be true, false if all are known to be false, else
unknown; ``all`` likewise; every other reducer of a list with an unknown element is unknown
(``Length$`` is not: it counts). ``Alt$(x, d)`` and ``missing=`` put a number in the place of what
is unknown. Of an empty list sums are 0, any is false, all is true, max, min and mean are missing.

Indices. Only a literal ``[-1]`` counts from the end: a *computed* index that is negative
(NanoAOD's -1: there is none) or past the end gives a missing element, also in lists of them:
``Sum$(Jet_idx >= 0 ? Lep_pt[Jet_idx] : 0)``. This is not what NumPy and awkward do.

Numbers. Integers that may not fit into 64 bits are an error, they never wrap around. A NaN in a
list makes its ``max`` and ``min`` NaN (ROOT: only if it comes first). ``round`` and ``std::round``
go half away from zero as in C; ``rint``, ``np.round`` and ``TMath::Nint`` half to even. ``fmax``
and ``fmin`` ignore NaN as in C, ``np.maximum`` does not, and ``TMath::Max(a, b)`` is b with a NaN.

The rooms: `_parse` (text to tree), `_nodes` (the tree), `_values` (data and the third truth
value), `_functions` (the table of functions), `_integers` (what 64 bits hold), `_index` (elements
and slices), `_vectors` and `_coordinates` (methods of vectors), `_split` (members that are
columns), `_evaluate` (tree to values), `_staged` (cuts, numbers before lists).
"""

from __future__ import annotations

from rootml.expressions._expression import (
    Expression,
    column_values,
    cut_mask,
    expression_type,
    from_draw,
    parse,
    resolve_names,
)
from rootml.expressions._nodes import Binary, Call, Name, Node, Number, Unary
from rootml.expressions._parse import Dialect
from rootml.expressions._values import filled_lists

__all__ = [
    "Binary",
    "Call",
    "Dialect",
    "Expression",
    "Name",
    "Node",
    "Number",
    "Unary",
    "column_values",
    "cut_mask",
    "expression_type",
    "filled_lists",
    "from_draw",
    "parse",
    "resolve_names",
]
