"""Interpolation codes in stock classes of RooFit.

Our factors multiply, for every code; in the numbers of ROOT 6.40's PiecewiseInterpolation that is
5 for code 5, 6 for code 4 (its multiplicative version) and 1 for code 1, all in one object of
nominal 1; code 0 adds, so it has an object of its own per nuisance. Log-quadratic is a formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rootml.sbi.roofit._factory import Factory

LOG_QUADRATIC = "log-quadratic"
_MULTIPLICATIVE = {"code1": 1, "code4": 6, "code5": 5}


@dataclass(frozen=True)
class Effect:
    """What one nuisance does: a factor between two RooFit objects.

    Attributes:
        alpha: The nuisance.
        code: Its interpolation.
        first: The factor at +1; log-quadratic: the coefficient of alpha.
        second: The factor at -1; log-quadratic: the coefficient of alpha squared.
    """

    alpha: Any
    code: str
    first: Any
    second: Any


def piecewise(factory: Factory, name: str, title: str, effects: Sequence[Effect]) -> list[Any]:
    """Factors for all effects that are not log-quadratic."""
    together = [e for e in effects if e.code in _MULTIPLICATIVE]
    alone = [e for e in effects if e.code == "code0"]
    groups = [group for group in (together, *([e] for e in alone)) if group]
    return [_piecewise(factory, name, title, group) for group in groups]


def _piecewise(factory: Factory, name: str, title: str, effects: Sequence[Effect]) -> Any:
    made = factory.make(
        "PiecewiseInterpolation", name, title, factory.constant(1.0),
        factory.arguments(e.second for e in effects), factory.arguments(e.first for e in effects),
        factory.arguments(e.alpha for e in effects),
    )  # fmt: skip
    made.setPositiveDefinite(False)
    for effect in effects:
        made.setInterpCode(effect.alpha, _MULTIPLICATIVE.get(effect.code, 0))
    return made


def exponent(effects: Sequence[Effect], first: int = 0) -> tuple[str, list[Any]]:
    """Text and variables of ``sum_k a_k (A_k + a_k C_k)``; variables numbered from `first`."""
    terms: list[str] = []
    variables: list[Any] = []
    for effect in effects:
        place = first + len(variables)
        terms.append(f"x[{place}]*(x[{place + 1}] + x[{place}]*x[{place + 2}])")
        variables += [effect.alpha, effect.first, effect.second]
    return " + ".join(terms), variables


def log_quadratic(effects: Sequence[Effect]) -> list[Effect]:
    """Those of this kind."""
    return [e for e in effects if e.code == LOG_QUADRATIC]
