"""From text to a syntax tree, in ROOT's spelling and in Python's.

Precedence, loosest first::

    c ? a : b     a if c else b
    ||  or
    &&  and
    not
    |
    &
    <  <=  >  >=  ==  !=          chains of the first four as in Python
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

import re
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from rootml.errors import ExpressionError
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
from rootml.expressions._spellings import (
    BOOLEANS,
    CASTS,
    CONSTANTS,
    CONSTRUCTORS,
    OPTIONS,
    VECTORS,
    casts_arguments,
    is_function,
    resolve,
    takes_sequence,
)
from rootml.expressions._tokens import Token, error_at, number_of, tokens_of
from rootml.expressions._vectors import METHODS

Dialect: TypeAlias = Literal["rootml", "draw"]
"""``"draw"``: a text written for TTree::Draw, with its own arithmetic."""

_MAX_DEPTH = 40
_ENTRY_WORDS = {"Entry$", "LocalEntry$", "Entries$", "LocalEntries$", "rdfentry_", "rdfslot_"}
_DRAW = {
    "/": "draw_divide", "%": "draw_modulo", "&&": "draw_and", "||": "draw_or",
    "<<": "draw_left_shift", ">>": "draw_right_shift",
}  # fmt: skip
_VECTOR = {"RVec", "ROOT::RVec", "ROOT::VecOps::RVec", "std::vector"}
_CONSTRUCT = {"Construct", "VecOps::Construct", "ROOT::VecOps::Construct"}
_METHODS = {"size", "at", "empty", "front", "back", "length"}


def parse_text(text: str, known: frozenset[str], dialect: Dialect = "rootml") -> Node:
    """The syntax tree of `text`; `known` columns with dots in their names are recognised.

    Raises:
        ExpressionError: Not an expression; a caret shows where.
    """
    if not text.strip():
        message = "an empty expression"
        raise ExpressionError(message)
    try:
        return _Parser(text, known, dialect).whole()
    except RecursionError as error:
        message = f"an expression of {len(text)} characters is nested too deeply"
        raise ExpressionError(message) from error


class _Parser:
    def __init__(self, text: str, known: frozenset[str], dialect: Dialect) -> None:
        self.text = text
        self.known = known
        self.draw = dialect == "draw"
        self.tokens = tokens_of(text)
        self.at = 0
        self.depth = 0

    # --- the tokens ---------------------------------------------------------------------------

    @property
    def token(self) -> Token:
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

    def error(self, problem: str, token: Token | None = None) -> ExpressionError:
        token = token or self.token
        found = "the end" if token.kind == "end" else repr(token.text)
        return error_at(self.text, token.position, f"{problem}, found {found}")

    # --- the grammar --------------------------------------------------------------------------

    def whole(self) -> Node:
        self.word("return")
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
            raise self.error("expected an operator" + self._comment_hint())
        return node

    def _comment_hint(self) -> str:
        if any(token.text == "//" for token in self.tokens[: self.at]):
            return " ('//' is floor division: comments are # ... or /* ... */)"
        return ""

    def choice(self) -> Node:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.error("nested too deeply")
        node = self.disjunction()
        if self.accept("?"):
            yes = self.choice()
            self.expect(":")
            node = self._chosen(node, yes, self.choice())
        elif self.word("if"):
            condition = self.disjunction()
            if not self.word("else"):
                raise self.error("expected 'else'")
            node = self._chosen(condition, node, self.choice())
        self.depth -= 1
        return node

    def _chosen(self, condition: Node, yes: Node, no: Node) -> Node:
        if self.draw:
            return Call("draw_where", (condition, yes, no))
        return Choice(condition, yes, no)

    def _left(self, operand: Callable[[], Node], *operators: str) -> Node:
        node = operand()
        while (operator := self.accept(*operators)) is not None:
            node = self._binary(operator, node, operand())
        return node

    def _binary(self, operator: str, left: Node, right: Node) -> Node:
        if self.draw and operator in _DRAW:
            return Call(_DRAW[operator], (left, right))
        return Binary(operator, left, right)

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
        if not operators:
            return self._membership(first)
        if self.draw and len(operators) > 1:
            raise self.error("TTree::Draw compares 0 or 1 in a < b < c: write a < b && b < c")
        if len(operators) > 1 and not {"==", "!="}.isdisjoint(operators):
            raise self.error(
                "'==' and '!=' after another comparison mean (a > b) == c in C++ and "
                "a > b && b == c in Python: write the one or the other"
            )
        return Comparison(first, tuple(operators), tuple(others))

    def _membership(self, value: Node) -> Node:
        """``x in (1, 2)`` and ``x not in (1, 2)``."""
        negated = self.token.text == "not" and self.tokens[self.at + 1].text == "in"
        if negated:
            self.at += 1
        if not self.word("in"):
            return value
        closing = {"(": ")", "[": "]", "{": "}"}.get(self.token.text)
        if closing is None:
            raise self.error("expected a list of values, e.g. x in (1, 2, 3)")
        self.at += 1
        found: Node | None = None
        while self.accept(closing) is None:
            equal = Comparison(value, ("==",), (self.choice(),))
            found = equal if found is None else Binary("||", found, equal)
            if self.token.text != closing:
                self.expect(",")
        if found is None:
            raise self.error("an empty list of values")
        return Unary("!", found) if negated else found

    def shift(self) -> Node:
        if self.draw:
            return self._left(self._draw_modulo, "+", "-")
        return self._left(self.sum, "<<", ">>")

    def _draw_modulo(self) -> Node:
        """TTree::Draw reads ``a % b * c`` as ``a % (b * c)``, and ``a + b << c`` as written so."""
        return self._left(self._draw_shift, "%")

    def _draw_shift(self) -> Node:
        return self._left(self.product, "<<", ">>")

    def sum(self) -> Node:
        return self._left(self.product, "+", "-")

    def product(self) -> Node:
        if self.draw:
            return self._left(self.unary, "*", "/")
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
        if self.draw:  # which reads a^b^c from the left
            while self.accept("^", "**"):
                base = Binary("**", base, self._signed_postfix())
            return base
        if self.accept("**"):
            return Binary("**", base, self._deeper(self.unary))
        return base

    def _signed_postfix(self) -> Node:
        sign = self.accept("-", "+")
        return self.postfix() if sign is None else Unary(sign, self.postfix())

    def postfix(self) -> Node:
        node = self._methods(self.primary())
        while self.accept("["):
            if self.token.text == "]":
                raise self.error("x[] of TTree::Draw is the whole list: write x")
            items = [self.item()]
            while self.accept(","):
                items.append(self.item())
            self.expect("]")
            if len(items) > 1 and items[0] == Slice(None, None, None):
                items = items[1:]  # awkward's spelling: the first axis is the events
            for item in items:
                node = self._indexed(node, item)
            node = self._methods(node)
        return node

    def _indexed(self, node: Node, item: Node | Slice) -> Node:
        plain = isinstance(item, (Slice, Number))
        return Call("draw_element", (node, item)) if self.draw and not plain else Index(node, item)  # type: ignore[arg-type]

    def _methods(self, node: Node) -> Node:
        """``x.size()`` of lists, ``x.Pt()`` of Lorentz vectors, and ``x.member`` of records."""
        while self.token.text in {".", "@"}:
            at = self.at + (2 if self.token.text == "@" else 1)
            name = self.tokens[at]
            if name.kind != "name":
                return node
            called = self.tokens[at + 1].text == "("
            self.at = at + 1 + called
            if called and name.text in _METHODS:
                node = self._method(name.text, node)
            elif called:
                node = self._vector_method(name, node)
            else:
                node = Call("member", (node, Text(name.text)))
        return node

    def _vector_method(self, name: Token, node: Node) -> Node:
        """A method of a vector, behind its opening parenthesis."""
        arguments, options = self._arguments(joined=False)
        if options or len(arguments) > 2:
            raise self.error(f"{name.text}() takes at most another vector and a bool", name)
        return Call("lorentz", (node, Text(name.text), *arguments))

    def _method(self, name: str, node: Node) -> Node:
        """A method, the token behind its opening parenthesis."""
        if name == "at":
            found: Node = Index(node, self.choice())
            if self.accept(","):  # RVec::at(position, fallback)
                found = Call("alternative", (found, self.choice()))
            self.expect(")")
            return found
        self.expect(")")
        if name in {"front", "back"}:
            return Index(node, Number(0) if name == "front" else Unary("-", Number(1)))
        size = Call("size", (node,))
        return Comparison(size, ("==",), (Number(0),)) if name == "empty" else size

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
        self.accept("@")  # TTree::Draw's mark of a container as a whole
        token = self.token
        self.at += 1
        if token.kind == "number":
            if re.match("0[0-9]+[uUlL]*$", token.text):
                problem = f"{token.text} is octal in C and refused by Python; write it without a 0"
                raise error_at(self.text, token.position, problem)
            return Number(number_of(token.text))
        if token.kind == "text":
            return Text(re.sub(r"\\(.)", r"\1", token.text[1:-1]))
        if token.kind == "name":
            return self._named(token)
        if token.text == "(":
            return self._cast() or self._grouped()
        raise self.error("expected a value", token)

    def _grouped(self) -> Node:
        node = self.choice()
        self.expect(")")
        return node

    def _type(self, closing: str) -> str | None:
        """The C++ type whose words come before `closing`; None: something else."""
        words, at = [], self.at
        while self.tokens[at].kind == "name":
            words.append(self.tokens[at].text)
            at += 1
        name = " ".join(words)
        if self.tokens[at].text != closing or name not in CASTS or name in self.known:
            return None
        self.at = at + 1
        return name

    def _cast(self) -> Node | None:
        """``(int)x``, behind the parenthesis."""
        name = self._type(")")
        if name is not None and self.draw:
            raise self.error(f"TTree::Draw ignores ({name}): write {name}(x), or leave it away")
        return None if name is None else Call(CASTS[name], (self._deeper(self.unary),))

    def _static_cast(self) -> Node:
        self.expect("<")
        name = self._type(">")
        if name is None:
            raise self.error("expected a type of numbers")
        self.expect("(")
        return Call(CASTS[name], (self._grouped(),))

    def _named(self, token: Token) -> Node:
        if token.text == "static_cast" and self.token.text == "<":
            return self._static_cast()
        name = self._dotted(token)
        if name in _CONSTRUCT and self.token.text == "<":
            return self._construct()
        if name in VECTORS or (name in _VECTOR and self.token.text == "<"):
            return self._vector(VECTORS.get(name))
        if name in self.known and self.token.text != "(":  # abs(x), also where there is an "abs"
            return Name(name)
        if self._is_method(name):
            operand, _, last = name.rpartition(".")
            self.expect("(")
            return self._vector_method(Token("name", last, token.position), Name(operand))
        if self.accept("("):
            return self._call(name, token)
        kind = self._template(name)
        if kind is not None:
            return self._call(name, token, kind)
        if name in BOOLEANS:
            return Boolean(BOOLEANS[name])
        self._check_word(name, token)
        return Number(CONSTANTS[name]) if name in CONSTANTS else Name(name)

    def _is_method(self, name: str) -> bool:
        """Whether ``name(`` is a method of a vector in a column that is not known here."""
        last = name.rpartition(".")[2]
        method = self.token.text == "(" and last != name and last in METHODS
        return method and not is_function(name)

    def _construct(self) -> Node:
        """``Construct<ROOT::Math::PtEtaPhiMVector>(pt, eta, phi, m)``: a list of vectors."""
        self.expect("<")
        token = self.token
        if token.text not in CONSTRUCTORS:
            raise self.error("expected a class of vectors, e.g. ROOT::Math::PtEtaPhiMVector")
        self.at += 1
        self.expect(">")
        self.expect("(")
        return self._call(token.text, token)

    def _template(self, name: str) -> str | None:
        """The type of ``f<type>(``, behind the parenthesis; None, and nothing read: no such."""
        if self.token.text != "<" or not is_function(name):
            return None
        at, self.at = self.at, self.at + 1
        kind = self._type(">")
        if kind is None or self.accept("(") is None:
            self.at = at
            return None
        if not casts_arguments(name):
            raise self.error(f"write {name}(...) without <{kind}>")
        return CASTS[kind]

    def _vector(self, kind: str | None) -> Node:
        """``RVec<int>{0, 1}`` and ``RVecI{0, 1}``: a list that is written out."""
        if kind is None:
            self.expect("<")
            name = self._type(">")
            if name is None:
                raise self.error("expected a type of numbers")
            kind = CASTS[name]
        if self.token.text != "{":
            raise self.error("expected the elements of the list in braces, e.g. RVecI{0, 1}")
        return Call("list_of", tuple(Call(kind, (item,)) for item in self._sequence()))

    def _check_word(self, name: str, token: Token) -> None:
        if name in _ENTRY_WORDS:
            problem = (
                f"{name} is not supported: an expression knows the columns, not the number of an "
                "entry; use a column that identifies events, e.g. event, or entry_range= to choose"
            )
            raise error_at(self.text, token.position, problem)
        if name == "Iteration$":
            problem = "Iteration$ is not supported: write local_index(x), the positions in a list"
            raise error_at(self.text, token.position, problem)
        if name.endswith("$"):
            problem = f"{name} needs a list in parentheses: {name}(x)"
            raise error_at(self.text, token.position, problem)

    def _dotted(self, token: Token) -> str:
        """The longest chain of names and dots that is a column, else the whole chain.

        Without the method of a ``std::vector`` that is called at its end.
        """
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
        if len(chain) > 1 and chain[-1] in _METHODS and self.tokens[at].text == "(":
            chain, at = chain[:-1], ends[-2]
        self.at = at
        return ".".join(chain)

    # --- calls --------------------------------------------------------------------------------

    def _call(self, name: str, token: Token, kind: str | None = None) -> Node:
        """A call, behind its parenthesis; `kind`: what ``f<kind>(...)`` casts arguments to."""
        arguments, options = self._arguments(joined=takes_sequence(name))
        if kind is not None:
            arguments = [Call(kind, (argument,)) for argument in arguments]
        try:
            return resolve(name, arguments, options, draw=self.draw)
        except ExpressionError as error:
            raise error_at(self.text, token.position, str(error)) from None

    def _arguments(self, *, joined: bool) -> tuple[list[Node], dict[str, Any]]:
        """Arguments by position, and by keyword.

        Args:
            joined: Whether ``f([a, b])`` is ``f(a, b)``, and not a list that is written out.
        """
        arguments: list[Node] = []
        options: dict[str, Any] = {}
        while self.accept(")") is None:
            option = self._option()
            if option is not None:
                options[option[0]] = option[1]
            elif self.token.text in {"[", "{"}:
                items = self._sequence()
                arguments += items if joined and not arguments else [Call("list_of", tuple(items))]
            else:
                arguments.append(self.choice())
            if self.token.text != ")":
                self.expect(",")
        return arguments, options

    def _sequence(self) -> list[Node]:
        """The elements of ``[a, b]`` or ``{a, b}``."""
        closing = "]" if self.tokens[self.at].text == "[" else "}"
        self.at += 1
        items = [self.choice()]
        while self.accept(","):
            items.append(self.choice())
        self.expect(closing)
        return items

    def _option(self) -> tuple[str, Any] | None:
        """``axis=1`` and other keyword arguments, whose values are constants."""
        token = self.token
        if token.text not in OPTIONS or self.tokens[self.at + 1].text != "=":
            return None
        self.at += 2
        negative = self.accept("-") is not None
        value = self.token
        self.at += 1
        if value.kind == "number":
            number = number_of(value.text)
            return token.text, -number if negative else number
        if value.text in BOOLEANS or value.text == "None":
            return token.text, BOOLEANS.get(value.text)
        if value.text in CONSTANTS:
            return token.text, CONSTANTS[value.text]
        problem = f"{token.text}= takes a constant"
        raise error_at(self.text, value.position, problem)
