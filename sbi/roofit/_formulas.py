"""Yields as text for RooFormulaVar, printed from our own tree, never from the user's string.

Parameters appear by place (``x[2]``), so that no name can mean anything to cling. Numbers are
written as doubles: ``1 / 2`` is 0 in C++.
"""

from __future__ import annotations

from collections.abc import Sequence

from rootml.sbi.likelihood._expressions import (
    Application,
    Constant,
    Formula,
    Operation,
    Term,
    Variable,
)


def text(formula: Formula, parameters: Sequence[str]) -> str:
    """The formula in terms of ``x[i]``, `parameters` being x.

    >>> text(Formula.parse("mu**2 * (1 / 2) - sqrt(mu)"), ["alpha", "mu"])
    '((pow(x[1], 2.0) * (1.0 / 2.0)) - sqrt(x[1]))'
    """
    indices = {name: i for i, name in enumerate(parameters)}
    return _print(formula.tree, indices)


def number(value: float) -> str:
    """A double that reads back the same.

    >>> number(300), number(-0.1)
    ('300.0', '(-0.1)')
    """
    shown = repr(float(value))
    return f"({shown})" if shown.startswith("-") else shown


def _print(term: Term, indices: dict[str, int]) -> str:
    if isinstance(term, Constant):
        return number(term.value)
    if isinstance(term, Variable):
        return f"x[{indices[term.name]}]"
    if isinstance(term, Application):
        return f"{term.function}({_print(term.argument, indices)})"
    return _operation(term, indices)


def _operation(term: Operation, indices: dict[str, int]) -> str:
    left, right = _print(term.left, indices), _print(term.right, indices)
    if term.operator == "**":
        return f"pow({left}, {right})"
    return f"({left} {term.operator} {right})"
