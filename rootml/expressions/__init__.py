"""Cuts and derived columns: one parser, one evaluator, for ROOT's spelling and for Python's.

``parse`` makes an `Expression`; `cut_mask` and `column_values` apply it to columns of a partition.
No text is ever given to `eval` or to an interpreter.

    >>> import numpy as np, awkward as ak
    >>> columns = {"nJet": np.array([0, 2]), "Jet_pt": ak.Array([[], [40.0, 20.0]])}
    >>> cut_mask(parse("nJet < 1 || Jet_pt[0] > 30"), columns, 2)
    array([ True,  True])
    >>> column_values(parse("Sum$(Jet_pt)"), columns, 2)
    array([ 0., 60.])

The rooms: `_parse` (text to tree), `_nodes` (the tree), `_values` (data and the third truth
value), `_functions` (the table of functions), `_integers` (what 64 bits hold), `_index` (elements
and slices), `_evaluate` (tree to values).
"""

from __future__ import annotations

from rootml.expressions._expression import (
    Expression,
    column_values,
    cut_mask,
    expression_type,
    parse,
    resolve_names,
)
from rootml.expressions._values import filled_lists

__all__ = [
    "Expression",
    "column_values",
    "cut_mask",
    "expression_type",
    "filled_lists",
    "parse",
    "resolve_names",
]
