"""From text to tokens: the words, numbers and operators of an expression."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from rootml.errors import ExpressionError

_TOKEN = re.compile(
    r"""
    (?P<space>\s+ | /\*.*?\*/ | \#[^\n]*)
  | (?P<number>0[xX][0-9a-fA-F]+[uUlL]*
      | 0[bB][01]+[uUlL]*
      | (?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?[fFuUlL]*)
  | (?P<name>[^\W\d]\w*(?:::[^\W\d]\w*)*\$?)
  | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
  | (?P<operator>\*\*|//|<<|>>|<=|>=|==|!=|&&|\|\||->|[-+*/%<>=!~&|^?:()\[\]{},.@])
    """,
    re.VERBOSE | re.DOTALL,
)
_WORDS = {"and": "&&", "or": "||"}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text.

    Attributes:
        kind: ``"number"``, ``"name"``, ``"text"``, ``"operator"`` or ``"end"``.
        position: Of its first character.
    """

    kind: str
    text: str
    position: int


def error_at(text: str, position: int, problem: str) -> ExpressionError:
    """The error, with a caret under the character at `position`."""
    line = text.replace("\n", " ").replace("\t", " ")
    message = f"{problem}\n    {line}\n    {' ' * position}^"
    return ExpressionError(message)


def tokens_of(text: str) -> list[Token]:
    """All tokens, without spaces and comments, and one of kind ``"end"``.

    Raises:
        ExpressionError: A character that no token begins with.
    """
    end = len(text.rstrip().rstrip(";"))  # the end of a C++ statement
    tokens, position = [], 0
    while position < end:
        match = _TOKEN.match(text, position, end)
        if match is None:
            raise error_at(text, position, _unexpected(text, position))
        kind = match.lastgroup or ""
        if kind != "space":
            tokens.append(_token(kind, match.group(), position))
        position = match.end()
    tokens.append(Token("end", "", end))
    return tokens


def _token(kind: str, word: str, position: int) -> Token:
    if kind == "name" and word in _WORDS:
        return Token("operator", _WORDS[word], position)
    return Token(kind, "." if word == "->" else word, position)


def _unexpected(text: str, position: int) -> str:
    if text[position] == ";":
        return (
            "an expression is one statement, and ';' ends it: define the steps before it by name, "
            "e.g. define(step='...')"
        )
    return f"unexpected character {text[position]!r}"


def number_of(text: str) -> int | float:
    """The value of a number token.

    Raises:
        ExpressionError: Too large for a double.
    """
    if text[:2].lower() in {"0x", "0b"}:
        return int(text.rstrip("uUlL"), 0)
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
