"""A fit as tables, as text and as JSON data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from rootml._internal.reprs import Grid
from rootml._internal.rounding import rounded
from rootml._internal.types import Float
from rootml.sbi.inference.fits._fitted_parameter import FittedParameter
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._parameters import Nuisance

_ACTIONS = 3  # shown in a table; `FittedParameter.acts_on` has all


class Fitted(Protocol):
    """What tables need of a fit; `FitResult` is one."""

    like: Fittable
    covariance: Float
    nll: float
    edm: float
    valid: bool
    problems: list[str]
    calls: tuple[int, int]

    @property
    def notes(self) -> list[str]:
        """Dropped shapes and rough alarms."""
        ...

    @property
    def weighted(self) -> bool:
        """Whether the data have weights that are not counts."""
        ...

    def parameters(self) -> Iterable[FittedParameter]:
        """All parameters."""
        ...


def facts(result: Fitted) -> list[tuple[str, str]]:
    """What is to be said of the fit as a whole."""
    found = [
        ("minimum", "valid" if result.valid else "INVALID"),
        ("NLL", f"{result.nll:.6f}"),
        ("EDM", f"{result.edm:.1e}"),
        ("calls", f"{result.calls[0]} values, {result.calls[1]} gradients"),
    ]
    return found + [("note", text) for text in (*result.problems, *result.notes)]


def grid(result: Fitted) -> Grid:
    """Values and errors; both kinds of errors for weighted data."""
    header = ("parameter", "value", "error", *(["weighted error"] * result.weighted), "")
    rows = [_row(p, valid=result.valid) for p in result.parameters()]
    return Grid(header, rows)


def _row(p: FittedParameter, *, valid: bool) -> tuple[str, ...]:
    plain = [] if p.weighted_error is None else [p.error]
    best = p.error if p.weighted_error is None else p.weighted_error
    value, error, *more = rounded(p.value, best if valid else 0.0, *plain)
    note = "fixed" if p.fixed else f"at its {p.limit} limit" if p.limit else ""
    if p.weighted_error is None:
        return p.name, value, error, note
    return p.name, value, more[0], error, note


def summary(result: Fitted) -> Grid:
    """Values, errors, pulls, and what each parameter acts on."""
    table = grid(result)
    rows = [
        (row[0], _actions(p.acts_on), *row[1:-1], _pull(result, p), row[-1])
        for row, p in zip(table.rows, result.parameters(), strict=True)
    ]
    return Grid(("parameter", "acts on", *table.header[1:-1], "pull", ""), rows, left=2)


def _pull(result: Fitted, p: FittedParameter) -> str:
    """(fitted - auxiliary measurement) / width of a Gaussian nuisance."""
    declared = result.like.parameters[p.name]
    if not isinstance(declared, Nuisance) or declared.constraint != "gaussian" or p.fixed:
        return ""
    pull = (p.value - result.like.observed[p.name]) / declared.width
    return f"{round(pull, 2) + 0.0:+.2f}"  # no -0.00


def _actions(texts: tuple[str, ...]) -> str:
    more = f", {len(texts) - _ACTIONS} more" if len(texts) > _ACTIONS else ""
    return ", ".join(texts[:_ACTIONS]) + more


def as_dict(result: Fitted) -> dict[str, Any]:
    """Everything as plain numbers, lists and texts; what is not finite is None."""
    found: dict[str, Any] = {
        "valid": result.valid, "nll": result.nll, "edm": result.edm, "calls": list(result.calls),
        "problems": list(result.problems), "notes": list(result.notes),
        "parameters": {p.name: _parameter(result, p) for p in result.parameters()},
        "covariance": result.covariance.tolist(),
    }  # fmt: skip
    plain: dict[str, Any] = _finite(found)
    return plain


def _parameter(result: Fitted, p: FittedParameter) -> dict[str, Any]:
    declared = result.like.parameters[p.name]
    found = {
        "value": p.value, "error": p.error, "fixed": p.fixed, "at_limit": p.limit or None,
        "constraint": declared.constraint if isinstance(declared, Nuisance) else "none",
        "acts_on": list(p.acts_on),
    }  # fmt: skip
    return found if p.weighted_error is None else found | {"weighted_error": p.weighted_error}


def _finite(given: Any) -> Any:
    if isinstance(given, Mapping):
        return {key: _finite(each) for key, each in given.items()}
    if isinstance(given, list):
        return [_finite(each) for each in given]
    return None if isinstance(given, float) and not math.isfinite(given) else given
