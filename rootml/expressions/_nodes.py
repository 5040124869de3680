"""The syntax tree of an expression: small frozen nodes, and the text they print to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written: integers stay exact."""

    value: int | float

    def __str__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, slots=True)
class Boolean:
    """``true`` or ``false``."""

    value: bool

    def __str__(self) -> str:
        return "True" if self.value else "False"


@dataclass(frozen=True, slots=True)
class Text:
    """A quoted string, to compare string columns with."""

    value: str

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"


@dataclass(frozen=True, slots=True)
class Name:
    """A column."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Unary:
    """``-x``, ``+x``, ``!x`` (also spelled ``not``), ``~x``."""

    operator: str
    operand: Node

    def __str__(self) -> str:
        return f"({self.operator}{self.operand})"


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic, shifts, ``&`` and ``|``, ``&&`` and ``||``."""

    operator: str
    left: Node
    right: Node

    def __str__(self) -> str:
        return f"({self.left} {self.operator} {self.right})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """``a < b <= c``: each neighbour pair, all of them true."""

    first: Node
    operators: tuple[str, ...]
    others: tuple[Node, ...]

    def __str__(self) -> str:
        tail = "".join(
            f" {operator} {other}"
            for operator, other in zip(self.operators, self.others, strict=True)
        )
        return f"({self.first}{tail})"


@dataclass(frozen=True, slots=True)
class Choice:
    """``condition ? yes : no``."""

    condition: Node
    yes: Node
    no: Node

    def __str__(self) -> str:
        return f"({self.condition} ? {self.yes} : {self.no})"


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the table in `_functions`, by its canonical name.

    `axis` is the list level that a reducer was asked for: 1, 2, ... or -1; None: its default.
    """

    function: str
    arguments: tuple[Node, ...]
    axis: int | None = None

    def __str__(self) -> str:
        axis = "" if self.axis is None else f", axis={self.axis}"
        return f"{self.function}({', '.join(map(str, self.arguments))}{axis})"


@dataclass(frozen=True, slots=True)
class Slice:
    """``start:stop:step`` within an index."""

    start: int | None
    stop: int | None
    step: int | None

    def __str__(self) -> str:
        start, stop = ("" if end is None else str(end) for end in (self.start, self.stop))
        return f"{start}:{stop}" + ("" if self.step is None else f":{self.step}")


@dataclass(frozen=True, slots=True)
class Index:
    """``x[i]``: one list level, per event."""

    operand: Node
    index: Node | Slice

    def __str__(self) -> str:
        return f"{self.operand}[{self.index}]"


Node: TypeAlias = (
    Number | Boolean | Text | Name | Unary | Binary | Comparison | Choice | Call | Index
)

_PARTS = (Number, Boolean, Text, Name, Unary, Binary, Comparison, Choice, Call, Index)


def as_written(node: Node) -> str:
    """The text for messages: members and methods of objects as one writes them.

    >>> as_written(Call("lorentz", (Call("member", (Name("lep"), Text("p4"))), Text("Pt"))))
    'lep.p4.Pt()'
    """
    return str(_written(node))


def _written(node: Node) -> Node:
    node = map_children(node, _written)
    match node:
        case Call("lorentz", (operand, Text(name), *others)) if "::" in name:
            return Name(f"{name}({', '.join(map(str, (operand, *others)))})")
        case Call("lorentz", (operand, Text(name), *others)):
            return Name(f"{operand}.{name}({', '.join(map(str, others))})")
        case Call("member", (operand, Text(name))):
            return Name(f"{operand}.{name}")
        case Call("new_vector" | "stored_vector", (Text(name), *parts)):
            return Name(f"{name}({', '.join(map(str, parts))})")
    return node


def _children(node: Node) -> Iterator[Node]:
    for field in fields(node):
        value = getattr(node, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, _PARTS):
                yield item


def names_in(node: Node) -> frozenset[str]:
    """The columns that a tree refers to."""
    if isinstance(node, Name):
        return frozenset([node.name])
    return frozenset().union(*(names_in(child) for child in _children(node)))


def map_names(node: Node, change: Callable[[str], str]) -> Node:
    """The same tree with every column name changed."""
    if isinstance(node, Name):
        return Name(change(node.name))
    return map_children(node, lambda child: map_names(child, change))


def map_children(node: Node, change: Callable[[Node], Node]) -> Node:
    """The same node with every node in it changed."""

    def mapped(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(mapped(item) for item in value)
        return change(value) if isinstance(value, _PARTS) else value

    changes = {field.name: mapped(getattr(node, field.name)) for field in fields(node)}
    return replace(node, **changes)  # type: ignore[arg-type]
