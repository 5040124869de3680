"""What needs no ROOT: its absence, names, formulas, log Z."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import numpy as np
import pytest

from rootml import sbi
from rootml.errors import MissingPackageError, UsageError
from rootml.sbi.likelihood._expressions import Formula
from rootml.sbi.roofit import _root, to_roofit
from rootml.sbi.roofit._formulas import text
from rootml.sbi.roofit._log_z import approximate
from rootml.sbi.roofit._names import Names
from rootml.sbi.roofit._piecewise import interpolate


def test_missing_root(monkeypatch: pytest.MonkeyPatch) -> None:
    like = sbi.Model({"S": "mu * 3"}, {"mu": 1.0}).likelihood({"S": [1.0, 2.0]})
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "ROOT":
            raise ModuleNotFoundError(name=name)
        return real(name, *arguments, **options)

    _root.import_root.cache_clear()
    _root.bridge.cache_clear()
    monkeypatch.setitem(sys.modules, "ROOT", None)
    monkeypatch.setattr(builtins, "__import__", refuse)
    try:
        with pytest.raises(MissingPackageError, match=r"rootml\[root\]"):
            to_roofit(like, "nll")
    finally:
        _root.import_root.cache_clear()
        _root.bridge.cache_clear()


def test_unknown_route_needs_no_root() -> None:
    like = sbi.Model({"S": "mu * 3"}, {"mu": 1.0}).likelihood({"S": [1.0, 2.0]})
    with pytest.raises(UsageError, match="one of 'columns'"):
        to_roofit(like, "histogram")  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"tolerance": 0.0}, {"reach": 0.5}], ids=str)
def test_bad_options(options: dict[str, float]) -> None:
    like = sbi.Model({"S": "mu * 3"}, {"mu": 1.0}).likelihood({"S": [1.0, 2.0]})
    with pytest.raises(UsageError, match="must exceed"):
        to_roofit(like, **options)  # type: ignore[arg-type]


def test_names_are_unique_and_harmless() -> None:
    names = Names()
    given = ["a", "a", "a[0]", "a_0", "1", "", "x,y;z", "é"]
    found = [names(name) for name in given]
    assert len(set(found)) == len(given)
    assert all(name.isascii() and name.isidentifier() for name in found)


@pytest.mark.parametrize(
    "source", ["mu * 1 / 2", "1 / 3 * mu**2", "-mu * (1 - 2)", "exp(-mu / 3) + log(mu) - 1e-300"]
)
def test_numbers_are_doubles(source: str) -> None:
    """Every number has a point or an exponent: C++ would divide whole numbers."""
    import re

    printed = text(Formula.parse(source), ["mu"])
    for number in re.findall(r"(?<![\w\[.])\d[\d.e+-]*", printed):
        assert "." in number or "e" in number, printed
    x = [2.0]
    value = Formula.parse(source).function(["mu"])(x)
    plain = {"x": x, "exp": np.exp, "log": np.log, "pow": pow}
    import ast

    assert float(_evaluate(ast.parse(printed, mode="eval").body, plain)) == pytest.approx(value)


def _evaluate(node: Any, names: dict[str, Any]) -> Any:
    """A calculator for what `text` prints."""
    import ast
    import operator

    operators = {
        ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
        ast.Div: operator.truediv,
    }  # fmt: skip
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp):
        return -_evaluate(node.operand, names)
    if isinstance(node, ast.BinOp):
        return operators[type(node.op)](_evaluate(node.left, names), _evaluate(node.right, names))
    if isinstance(node, ast.Subscript):
        return names["x"][_evaluate(node.slice, names)]
    return names[node.func.id](*(_evaluate(a, names) for a in node.args))


def test_pieces_meet_where_they_join() -> None:
    made = interpolate(
        lambda x: np.abs(x) + 0.1 * np.sin(x), (-3.0, 0.0, 3.0), lambda x: np.full_like(x, 1e-9)
    )
    x = np.array([-3.0, -1.7, -1e-9, 0.0, 1e-9, 2.9, 3.0])
    assert made(x) == pytest.approx(np.abs(x) + 0.1 * np.sin(x), abs=1e-8)
    assert made(np.zeros(1))[0] == 0.0


def cumulants(correlation: float, spread: float) -> Any:
    """log E exp(alpha . A) of correlated Gaussians and a skewed part, in closed form."""

    def log_z(alpha: np.ndarray) -> float:
        gauss = 0.5 * spread**2 * ((alpha**2).sum() + 2 * correlation * alpha[0] * alpha[1])
        return float(gauss - np.log1p(-0.02 * alpha.sum()))

    return log_z


def test_log_z_is_met_where_the_fit_has_not_looked() -> None:
    log_z = cumulants(0.6, 0.05)
    made = approximate(
        log_z, ["log-quadratic"] * 2, events=1e4, tolerance=1e-3, reach=5.0, process="B"
    )
    points = np.random.default_rng(99).normal(size=(500, 2))
    truth = np.array([log_z(point) for point in points])
    allowed = 1e-3 * (1 + 0.5 * (points**2).sum(axis=1)) / 1e4
    assert (np.abs(made(points) - truth) <= 1.5 * allowed).all()
    assert made.error <= 1e-3
    assert made(np.zeros((1, 2)))[0] == 0.0


def test_log_z_without_a_formula() -> None:
    rough = np.random.default_rng(1).normal(size=1000)

    def log_z(alpha: np.ndarray) -> float:
        return float(rough[int(np.abs(alpha * 997).sum()) % 1000] * 1e-3 * (alpha != 0).all())

    with pytest.raises(UsageError, match="'B' in its 2 nuisances"):
        approximate(
            log_z, ["log-quadratic"] * 2, events=1e4, tolerance=1e-3, reach=5.0, process="B"
        )
