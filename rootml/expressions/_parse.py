"""From text to a syntax tree, in ROOT's spelling and in Python's.

Precedence, loosest first::

    c ? a : b     a if c else b
    ||  or
    &&  and
    not
    |
    &
    <  <=  >  >=  ==  !=          chained as in Python
    <<  >>
    +  -
    *  /  //  %
    -x  +x  !x  ~x
    **                            to the right
    x[...]  f(...)

``&`` and ``|`` bind looser than comparisons (unlike in Python), so ``a > 1 & b > 2`` means what
its author thinks; and tighter than ``&&`` and ``||``, as in C++, ROOT and Python: ``a | b && c``
is ``(a | b) && c``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rootml.errors import ExpressionError, nearest
from rootml.expressions._functions import CONSTANTS, FUNCTIONS, canonical_function
from rootml.expressions._nodes import (
    Binary,
    Boolean,
    Call,
    Choice,
    Comparison,
    Index,
    Name,
    Node,
    Number,
    Slice,
    Text,
    Unary,
)

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<number>0[xX][0-9a-fA-F]+[uUlL]*
      | (?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?[fFuUlL]*)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z_][A-Za-z0-9_]*)*\$?)
  | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
  | (?P<operator>\*\*|//|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%<>=!~&|^?:()\[\],.])
    """,
    re.VERBOSE,
)
_WORDS = {"and": "&&", "or": "||"}
_MAX_DEPTH = 40
_ENTRY_WORDS = {"Entry$", "LocalEntry$", "Entries$", "LocalEntries$", "Iteration$"}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def error_at(text: str, position: int, problem: str) -> ExpressionError:
    """The error, with a caret under the place where it is."""
    line = text.replace("\n", " ").replace("\t", " ")
    message = f"{problem}\n    {line}\n    {' ' * position}^"
    return ExpressionError(message)


def _tokens(text: str) -> list[_Token]:
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            problem = f"unexpected character {text[position]!r}"
            raise error_at(text, position, problem)
        kind = match.lastgroup or ""
        if kind != "space":
            word = match.group()
            operator = kind == "name" and word in _WORDS
            tokens.append(
                _Token("operator" if operator else kind, _WORDS.get(word, word), position)
            )
        position = match.end()
    tokens.append(_Token("end", "", len(text)))
    return tokens


def parse_text(text: str, known: frozenset[str]) -> Node:
    """The syntax tree of `text`; `known` columns with dots in their names are recognised.

    Raises:
        ExpressionError: Not an expression; a caret shows where.
    """
    if not text.strip():
        message = "an empty expression"
        raise ExpressionError(message)
    try:
        return _Parser(text, known).whole()
    except RecursionError as error:
        message = f"an expression of {len(text)} characters is nested too deeply"
        raise ExpressionError(message) from error


class _Parser:
    def __init__(self, text: str, known: frozenset[str]) -> None:
        self.text = text
        self.known = known
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0

    # --- the tokens ---------------------------------------------------------------------------

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def accept(self, *operators: str) -> str | None:
        if self.token.kind == "operator" and self.token.text in operators:
            self.at += 1
            return self.tokens[self.at - 1].text
        return None

    def expect(self, operator: str) -> None:
        if self.accept(operator) is None:
            raise self.error(f"expected {operator!r}")

    def word(self, word: str) -> bool:
        if self.token.kind == "name" and self.token.text == word:
            self.at += 1
            return True
        return False

    def error(self, problem: str, token: _Token | None = None) -> ExpressionError:
        token = token or self.token
        found = "the end" if token.kind == "end" else repr(token.text)
        before = self.tokens[self.at - 1].text
        if token.text == "." and token is self.token and before in self.known:
            found += (
                f": {before!r} is a column, of whose members none is one that expressions know; "
                f"select {before!r} as a whole to have them as a record"
            )
        return error_at(self.text, token.position, f"{problem}, found {found}")

    # --- the grammar --------------------------------------------------------------------------

    def whole(self) -> Node:
        node = self.choice()
        if self.token.kind != "end":
            if self.token.text == "^":
                raise error_at(
                    self.text,
                    self.token.position,
                    "'^' is a power in ROOT and exclusive-or in C and Python; write ** or pow()",
                )
            if self.token.text == "=":
                raise self.error("expected '==' for a comparison")
            raise self.error("expected an operator")
        return node

    def choice(self) -> Node:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.error("nested too deeply")
        node = self.disjunction()
        if self.accept("?"):
            yes = self.choice()
            self.expect(":")
            node = Choice(node, yes, self.choice())
        elif self.word("if"):
            condition = self.disjunction()
            if not self.word("else"):
                raise self.error("expected 'else'")
            node = Choice(condition, node, self.choice())
        self.depth -= 1
        return node

    def _left(self, operand: Callable[[], Node], *operators: str) -> Node:
        node = operand()
        while (operator := self.accept(*operators)) is not None:
            node = Binary(operator, node, operand())
        return node

    def disjunction(self) -> Node:
        return self._left(self.conjunction, "||")

    def conjunction(self) -> Node:
        return self._left(self.negation, "&&")

    def negation(self) -> Node:
        if self.word("not"):
            return Unary("!", self._deeper(self.negation))
        return self._left(self.bits, "|")

    def bits(self) -> Node:
        return self._left(self.bit, "&")

    def bit(self) -> Node:
        """An operand of ``&``; after one, ``not`` reaches as far as a comparison."""
        if self.word("not"):
            return Unary("!", self._deeper(self.bit))
        return self.comparison()

    def comparison(self) -> Node:
        first = self.shift()
        operators, others = [], []
        while (operator := self.accept("<", "<=", ">", ">=", "==", "!=")) is not None:
            operators.append(operator)
            others.append(self.shift())
        return Comparison(first, tuple(operators), tuple(others)) if operators else first

    def shift(self) -> Node:
        return self._left(self.sum, "<<", ">>")

    def sum(self) -> Node:
        return self._left(self.product, "+", "-")

    def product(self) -> Node:
        return self._left(self.unary, "*", "/", "//", "%")

    def unary(self) -> Node:
        operator = self.accept("-", "+", "!", "~")
        if operator is not None:
            operand = self._deeper(self.unary)
            return Unary(operator, operand)
        return self.power()

    def _deeper(self, rule: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.error("nested too deeply")
        node = rule()
        self.depth -= 1
        return node

    def power(self) -> Node:
        base = self.postfix()
        if self.accept("**"):
            return Binary("**", base, self._deeper(self.unary))
        return base

    def postfix(self) -> Node:
        node = self._sized(self.primary())
        while self.accept("["):
            items = [self.item()]
            while self.accept(","):
                items.append(self.item())
            self.expect("]")
            if len(items) > 1 and items[0] == Slice(None, None, None):
                items = items[1:]  # awkward's spelling: the first axis is the events
            for item in items:
                node = Index(node, item)
            node = self._sized(node)
        return node

    def _sized(self, node: Node) -> Node:
        """``x.size()``: the length of a list, in C++."""
        ahead = [token.text for token in self.tokens[self.at : self.at + 4]]
        if ahead != [".", "size", "(", ")"]:
            return node
        self.at += 4
        return Call("count", (node,))

    def item(self) -> Node | Slice:
        if self.token.text == ":":
            return self._slice(None)
        start = self.choice()
        return self._slice(start) if self.token.text == ":" else start

    def _slice(self, start: Node | None) -> Slice:
        ends = [None if start is None else self._constant(start)]
        while self.accept(":"):
            done = self.token.text in {":", "]", ","}
            ends.append(None if done else self._constant(self.choice()))
        if len(ends) > 3:
            raise self.error("a slice has at most three parts")
        if len(ends) == 3 and ends[2] == 0:
            raise self.error("the step of a slice cannot be 0")
        return Slice(ends[0], ends[1], ends[2] if len(ends) == 3 else None)

    def _constant(self, node: Node) -> int:
        sign = 1
        if isinstance(node, Unary) and node.operator == "-":
            sign, node = -1, node.operand
        if not isinstance(node, Number) or not isinstance(node.value, int):
            raise self.error("the ends of a slice must be whole numbers")
        return sign * node.value

    def primary(self) -> Node:
        token = self.token
        self.at += 1
        if token.kind == "number":
            if re.match("0[0-9]+[uUlL]*$", token.text):
                problem = f"{token.text} is octal in C and refused by Python; write it without a 0"
                raise error_at(self.text, token.position, problem)
            return Number(_number(token.text))
        if token.kind == "text":
            return Text(re.sub(r"\\(.)", r"\1", token.text[1:-1]))
        if token.kind == "name":
            return self._named(token)
        if token.text == "(":
            node = self.choice()
            self.expect(")")
            return node
        raise self.error("expected a value", token)

    def _named(self, token: _Token) -> Node:
        name = self._dotted(token)
        if name in self.known and self.token.text != "(":  # abs(x), also where there is an "abs"
            return Name(name)
        if self.accept("("):
            return self._call(name, token)
        if name in {"True", "true", "False", "false"}:
            return Boolean(name in {"True", "true"})
        if name in _ENTRY_WORDS:
            problem = (
                f"{name} is not supported: an expression knows the columns, not the number of an "
                "entry; use a column that identifies events, e.g. event, or entry_range= to choose"
            )
            raise error_at(self.text, token.position, problem)
        if name.endswith("$"):
            raise error_at(
                self.text, token.position, f"{name} needs a list in parentheses: {name}(x)"
            )
        return Number(CONSTANTS[name]) if name in CONSTANTS else Name(name)

    def _dotted(self, token: _Token) -> str:
        """The longest chain of names and dots that is a column, else the whole chain."""
        chain, ends = [token.text], [self.at]
        at = self.at
        while self.tokens[at].text == "." and self.tokens[at + 1].kind == "name":
            chain.append(self.tokens[at + 1].text)
            at += 2
            ends.append(at)
        for length in range(len(chain), 0, -1):
            if ".".join(chain[:length]) in self.known:
                self.at = ends[length - 1]
                return ".".join(chain[:length])
        self.at = at
        return ".".join(chain)

    def _axis(self) -> _Token | None:
        """``axis=1`` or ``axis=-1``, as awkward and NumPy call the list of each event."""
        token = self.token
        if token.text != "axis" or self.tokens[self.at + 1].text != "=":
            return None
        self.at += 2
        negative = self.accept("-")
        if self.token.text != "1":
            sign = "-" if negative else ""
            problem = (
                f"axis={sign}{self.token.text} is not supported: reducers work on the list of "
                "each event, which is axis=1 (or -1)"
            )
            raise error_at(self.text, token.position, problem)
        self.at += 1
        return token

    def _call(self, name: str, token: _Token) -> Node:
        arguments: list[Node] = []
        axis: _Token | None = None
        if name.endswith(".size") and self.tokens[self.at].text == ")":
            self.at += 1
            return Call("count", (Name(name.removesuffix(".size")),))
        if not self.accept(")"):
            arguments.append(self.choice())
            while axis is None and self.accept(","):
                axis = self._axis()
                if axis is None:
                    arguments.append(self.choice())
            self.expect(")")
        if name in {"TMath::Pi", "TMath::E"} and not arguments:
            return Number(CONSTANTS[name])
        function = canonical_function(name)
        if axis is not None and function is not None and FUNCTIONS[function].kind != "reduce":
            raise error_at(self.text, axis.position, f"{name} takes no axis")
        if function in {"max", "min"} and len(arguments) > 1:
            function = f"{function}imum"  # of numbers, not of the list of each event
        if function is None:
            problem = f"there is no function {name!r}; nearest: {nearest(name, FUNCTIONS)}"
            raise error_at(self.text, token.position, problem)
        least, most = FUNCTIONS[function].arity
        if not least <= len(arguments) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            problem = f"{name} takes {wanted} argument(s), not {len(arguments)}"
            raise error_at(self.text, token.position, problem)
        return Call(function, tuple(arguments))


def _number(text: str) -> int | float:
    if text[:2] in {"0x", "0X"}:
        return int(text.rstrip("uUlL"), 16)
    digits = text.rstrip("fFuUlL")
    if digits.isdigit():
        return int(digits)
    value = float(digits)
    if text[-1] in "fF":  # a float in C++: what a column of floats holds
        value = float(np.float32(value))
    if not math.isfinite(value):
        message = f"the number {text} is too large"
        raise ExpressionError(message)
    return value
