"""Objects whose members are columns of their own: split ones, and TClonesArrays.

A split ``TClonesArray`` ``ca`` of vectors is, in the file, a column ``ca`` with the number of them
and columns ``ca.fP`` and ``ca.fE``. `with_members` finds those that an expression is about::

    ca.Pt()       stored_vector('TLorentzVector', ca.fP, ca.fE), its Pt
    ca[0].Pt()    element 0 of stored_vector(...), its Pt
    cl[0].id      cl.id[0]
    lep.p4.Pt()   stored_vector('ROOT::Math::PtEtaPhiMVector', lep.p4.fCoordinates.fPt, ...), ...

so that only these are read, and the rest of the object need not be readable at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rootml.expressions._expression import Expression
from rootml.expressions._nodes import (
    Binary,
    Call,
    Choice,
    Index,
    Name,
    Node,
    Slice,
    Text,
    Unary,
    map_children,
)
from rootml.expressions._vectors import KINDS
from rootml.storage import Columns

_OF_LISTS = {"size", "count"}
_SELECTING = {"Take", "Reverse", "concatenate"}
_BASES = ("TLorentzVector", "TVector3")
"""Classes whose part of a derived object is a column of its own."""
_FIRST = frozenset(kind.members[0] for kind in KINDS.values())


def with_members(expression: Expression, columns: Columns) -> Expression:
    """The expression with the columns of members in the place of split objects.

    Args:
        columns: Those of the files; names that are not among them stay.
    """
    changed = _Members(columns).changed(expression.tree, vector=False)
    return expression if changed == expression.tree else Expression(changed)


@dataclass(frozen=True, slots=True)
class _Chain:
    """``name[i].member[j]``: a column, the members behind it, and the indices, outermost first."""

    name: str
    members: tuple[str, ...] = ()
    indices: tuple[tuple[bool, Node | Slice], ...] = ()


def _chain(node: Node) -> _Chain | None:
    match node:
        case Name(name):
            return _Chain(name)
        case Index(operand, index):
            drawn = False
        case Call("draw_element", (operand, index)):
            drawn = True
        case Call("member", (operand, Text(name))):
            inner = _chain(operand)
            if inner is None:
                return None
            return _Chain(inner.name, (*inner.members, name), inner.indices)
        case _:
            return None
    inner = _chain(operand)
    if inner is None:
        return None
    return _Chain(inner.name, inner.members, (*inner.indices, (drawn, index)))


class _Members:
    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def changed(self, node: Node, *, vector: bool) -> Node:
        """The tree with members; `vector`: whether a column here stands for vectors."""
        chain = _chain(node)
        if chain is not None:
            return self._of_chain(node, chain, vector=vector)
        match node:
            case Call("lorentz", (operand, name, *others)):
                inner = [self.changed(each, vector=True) for each in (operand, *others)]
                return Call("lorentz", (inner[0], name, *inner[1:]))
            case Call(function, arguments) if function in _OF_LISTS:
                inner = [self.changed(each, vector=True) for each in arguments]
                return Call(function, tuple(inner), node.axis)
            case Binary("+" | "-" | "*" | "/") | Unary("-" | "+") | Choice():
                return map_children(node, lambda each: self.changed(each, vector=vector))
            case Call(function) if function in _SELECTING:
                return map_children(node, lambda each: self.changed(each, vector=vector))
            case Index(operand, index):
                chosen = self._index(index)
                return Index(self.changed(operand, vector=vector), chosen)
        return map_children(node, lambda each: self.changed(each, vector=False))

    def _index(self, index: Node | Slice) -> Node | Slice:
        return index if isinstance(index, Slice) else self.changed(index, vector=False)

    def _of_chain(self, node: Node, chain: _Chain, *, vector: bool) -> Node:
        found: Node | None = None
        if vector or chain.indices or chain.members:
            found = self._found(chain)
        if found is None:
            if isinstance(node, Name):
                return node
            return self._inside(node, vector=vector)
        for drawn, index in chain.indices:
            chosen = self._index(index)
            if drawn and not isinstance(chosen, Slice):
                found = Call("draw_element", (found, chosen))
            else:
                found = Index(found, chosen)
        return found

    def _inside(self, node: Node, *, vector: bool) -> Node:
        """The same node; what stands in its indices may be about split objects, too."""
        match node:
            case Index(operand, index):
                return Index(self.changed(operand, vector=vector), self._index(index))
        return map_children(node, lambda each: self.changed(each, vector=False))

    def _found(self, chain: _Chain) -> Node | None:
        """The columns behind a chain without its indices; None: it is not a split object."""
        if chain.name not in self.columns:
            return None
        for stem in self._stems(chain):
            found = self._vector(stem)
            if found is not None:
                return found
        if not chain.members:
            return None
        for stem in self._stems(chain):
            if stem in self.columns:
                return Name(stem)
        return None

    def _stems(self, chain: _Chain) -> Iterator[str]:
        """What the names of the columns behind a chain may begin with."""
        for path in self._paths(chain.name):
            whole = path.removesuffix(".")
            own = whole.rpartition("/")[2]
            inner = ".".join(chain.members)
            if not inner:
                yield from (path, f"{path}/{own}", whole)
                continue
            yield from (f"{path}/{own}.{inner}", f"{path}/{inner}", f"{whole}.{inner}")

    def _paths(self, name: str) -> Iterator[str]:
        """A column by its name, and by its path in a tree."""
        listed = self.columns.canonical(name)
        yield listed
        for path, other in self.columns.aliases.items():
            if other == listed and "/" in path:
                yield path

    def _vector(self, stem: str) -> Node | None:
        """A vector whose members are columns; its class is known by them."""
        own = stem.rpartition("/")[2].removesuffix(".")
        for inner in (f"{stem}/{own}.", f"{stem}/", f"{stem}."):
            if f"{inner}fE" in self.columns and f"{inner}fP" in self.columns:
                return _stored("TLorentzVector", [Name(f"{inner}fP"), Name(f"{inner}fE")])
            for base in _BASES:
                if inner + base in self.columns:
                    return Name(inner + base)
            found = self._of_math(f"{inner}fCoordinates") or self._of_math(
                f"{inner}fCoordinates/{inner.rpartition('/')[2]}fCoordinates"
            )
            if found is not None:
                return found
        return None

    def _of_math(self, stem: str) -> Node | None:
        """A vector of ROOT::Math by its coordinates."""
        if not any(f"{stem}.{first}" in self.columns for first in _FIRST):
            return None
        for kind in KINDS.values():
            names = [f"{stem}.{name}" for name in kind.members]
            if not kind.old and all(name in self.columns for name in names):
                return _stored(kind.title, [Name(name) for name in names])
        return None


def _stored(title: str, parts: list[Name]) -> Node:
    return Call("stored_vector", (Text(title), *parts))
