"""Yields as expressions in the parameters: parsed, differentiated, turned into plain functions.

The text is parsed by `rootml.expressions` (ROOT's spelling or Python's), then narrowed to
arithmetic: numbers, parameters, ``+ - * / **`` and a few smooth functions. Derivatives are trees
of the same kind. No text is ever given to `eval`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from rootml._internal.validators import is_number
from rootml.errors import ExpressionError, MissingParameterError, nearest
from rootml.expressions import Binary, Call, Name, Node, Number, Unary, parse

Theta: TypeAlias = Sequence[float]
Function: TypeAlias = Callable[[Theta], float]

_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sqrt": math.sqrt, "exp": math.exp, "log": math.log, "sin": math.sin, "cos": math.cos,
    "tanh": math.tanh,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Constant:
    """A number."""

    value: float

    def __str__(self) -> str:
        if math.isfinite(self.value) and self.value == int(self.value):
            return repr(int(self.value))
        return repr(self.value)


@dataclass(frozen=True, slots=True)
class Variable:
    """A parameter."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Operation:
    """``+ - * / **`` of two terms."""

    operator: str
    left: Term
    right: Term

    def __str__(self) -> str:
        if self.operator == "**":
            return f"pow({self.left}, {self.right})"
        return f"({self.left} {self.operator} {self.right})"


@dataclass(frozen=True, slots=True)
class Application:
    """A function of one term."""

    function: str
    argument: Term

    def __str__(self) -> str:
        return f"{self.function}({self.argument})"


Term: TypeAlias = Constant | Variable | Operation | Application
_ZERO, _ONE = Constant(0.0), Constant(1.0)


@dataclass(frozen=True, slots=True)
class Formula:
    """An expression in the parameters; prints in a spelling that C++, ROOT and we all read.

    >>> yields = Formula.parse("(mu - sqrt(mu)) * 300")
    >>> yields
    <Formula ((mu - sqrt(mu)) * 300)>
    >>> yields.function(["mu"])([4.0]), yields.derivative("mu").function(["mu"])([4.0])
    (600.0, 225.0)
    """

    tree: Term

    @staticmethod
    def parse(text: str | float) -> Formula:
        """The formula of `text`; a number is a constant.

        Raises:
            ExpressionError: Not arithmetic in the parameters; says what is not.
        """
        if isinstance(text, str):
            return _parse(text)
        if not is_number(text):
            message = f"a yield is a text or a finite number, not {text!r}"
            raise ExpressionError(message)
        return _parse(repr(float(text)))

    @property
    def names(self) -> frozenset[str]:
        """The parameters in it."""
        return _names(self.tree)

    def derivative(self, name: str) -> Formula:
        """The derivative by the parameter `name`."""
        return Formula(_derivative(self.tree, name))

    def function(self, parameters: Sequence[str]) -> Function:
        """A plain function of the values of `parameters`, in their order.

        It returns NaN where the formula is not defined (``sqrt(-1)``, ``1 / 0``).

        Raises:
            MissingParameterError: It has a parameter that is none of these.
        """
        for name in sorted(self.names - set(parameters)):
            message = f"{self} has the parameter {name!r}; available: {nearest(name, parameters)}"
            raise MissingParameterError(message)
        compiled = _compile(self.tree, {name: i for i, name in enumerate(parameters)})

        def guarded(theta: Theta) -> float:
            try:
                return compiled(theta)
            except (ValueError, ZeroDivisionError, OverflowError):
                return math.nan

        return guarded

    def __str__(self) -> str:
        return str(self.tree)

    def __repr__(self) -> str:
        return f"<Formula {self.tree}>"


@lru_cache(maxsize=1024)
def _parse(text: str) -> Formula:
    tree = _convert(parse(text).tree, text)
    if isinstance(tree, Constant) and not math.isfinite(tree.value):
        message = f"the yield {text!r} is {tree.value}, not a finite number"
        raise ExpressionError(message)
    return Formula(tree)


def _convert(node: Node, text: str) -> Term:
    if isinstance(node, Number):
        return Constant(float(node.value))
    if isinstance(node, Name):
        return Variable(node.name)
    if isinstance(node, Unary) and node.operator in {"-", "+"}:
        inner = _convert(node.operand, text)
        return inner if node.operator == "+" else _times(Constant(-1.0), inner)
    if isinstance(node, Binary) and node.operator in _BUILD:
        left, right = _convert(node.left, text), _convert(node.right, text)
        return (
            _power(left, right, text)
            if node.operator == "**"
            else _BUILD[node.operator](left, right)
        )
    if isinstance(node, Call):
        return _call(node, text)
    message = (
        f"{node} in the yield {text!r} is not arithmetic; a yield is made of numbers, parameters, "
        f"+ - * / ** and {', '.join(sorted(_FUNCTIONS))}"
    )
    raise ExpressionError(message)


def _call(node: Call, text: str) -> Term:
    arguments = [_convert(argument, text) for argument in node.arguments]
    if node.function == "power":
        return _power(arguments[0], arguments[1], text)
    if node.function == "square":
        return _times(arguments[0], arguments[0])
    if node.function not in _FUNCTIONS:
        message = (
            f"the function {node.function!r} in the yield {text!r} has no derivative here; "
            f"nearest: {nearest(node.function, _FUNCTIONS)}"
        )
        raise ExpressionError(message)
    return Application(node.function, arguments[0])


def _power(base: Term, exponent: Term, text: str) -> Term:
    if not isinstance(exponent, Constant):
        message = f"the exponent {exponent} in the yield {text!r} is not a number; use exp()"
        raise ExpressionError(message)
    return _raise(base, exponent.value)


# --- building, with what is trivial left out -----------------------------------------------------


def _plus(left: Term, right: Term) -> Term:
    if isinstance(left, Constant) and isinstance(right, Constant):
        return Constant(left.value + right.value)
    if left == _ZERO:
        return right
    return left if right == _ZERO else Operation("+", left, right)


def _minus(left: Term, right: Term) -> Term:
    if isinstance(left, Constant) and isinstance(right, Constant):
        return Constant(left.value - right.value)
    if left == _ZERO:
        return _times(Constant(-1.0), right)
    return left if right == _ZERO else Operation("-", left, right)


def _times(left: Term, right: Term) -> Term:
    if isinstance(left, Constant) and isinstance(right, Constant):
        return Constant(left.value * right.value)
    if _ZERO in {left, right}:
        return _ZERO
    if left == _ONE:
        return right
    return left if right == _ONE else Operation("*", left, right)


def _over(left: Term, right: Term) -> Term:
    if left == _ZERO:
        return _ZERO
    return left if right == _ONE else Operation("/", left, right)


def _raise(base: Term, exponent: float) -> Term:
    if exponent == 0.0:
        return _ONE
    return base if exponent == 1.0 else Operation("**", base, Constant(exponent))


_BUILD: dict[str, Callable[[Term, Term], Term]] = {
    "+": _plus, "-": _minus, "*": _times, "/": _over, "**": _plus,
}  # fmt: skip


# --- names, derivatives, functions ---------------------------------------------------------------


def _names(term: Term) -> frozenset[str]:
    if isinstance(term, Variable):
        return frozenset([term.name])
    if isinstance(term, Operation):
        return _names(term.left) | _names(term.right)
    return _names(term.argument) if isinstance(term, Application) else frozenset()


def _derivative(term: Term, name: str) -> Term:
    if isinstance(term, Constant):
        return _ZERO
    if isinstance(term, Variable):
        return _ONE if term.name == name else _ZERO
    if isinstance(term, Application):
        return _times(_outer(term), _derivative(term.argument, name))
    left, right = term.left, term.right
    by_left = _derivative(left, name)
    if term.operator == "**":
        assert isinstance(right, Constant)
        power = _times(right, _raise(left, right.value - 1.0))
        return _times(power, by_left)
    by_right = _derivative(right, name)
    if term.operator == "+":
        return _plus(by_left, by_right)
    if term.operator == "-":
        return _minus(by_left, by_right)
    if term.operator == "*":
        return _plus(_times(by_left, right), _times(left, by_right))
    return _minus(_over(by_left, right), _over(_times(left, by_right), _times(right, right)))


def _outer(term: Application) -> Term:
    inside = term.argument
    if term.function == "sqrt":
        return _over(Constant(0.5), term)
    if term.function == "exp":
        return term
    if term.function == "log":
        return _over(_ONE, inside)
    if term.function == "sin":
        return Application("cos", inside)
    if term.function == "cos":
        return _times(Constant(-1.0), Application("sin", inside))
    return _minus(_ONE, _times(term, term))  # tanh


def _compile(term: Term, indices: dict[str, int]) -> Function:
    if isinstance(term, Constant):
        value = term.value
        return lambda _: value
    if isinstance(term, Variable):
        index = indices[term.name]
        return lambda theta: theta[index]
    if isinstance(term, Application):
        outer, inner = _FUNCTIONS[term.function], _compile(term.argument, indices)
        return lambda theta: outer(inner(theta))
    left, right = _compile(term.left, indices), _compile(term.right, indices)
    if term.operator == "+":
        return lambda theta: left(theta) + right(theta)
    if term.operator == "-":
        return lambda theta: left(theta) - right(theta)
    if term.operator == "*":
        return lambda theta: left(theta) * right(theta)
    if term.operator == "/":
        return lambda theta: left(theta) / right(theta)
    return lambda theta: math.pow(left(theta), right(theta))
