"""Makes RooFit objects with unique names, each with an owner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rootml.sbi.roofit._formulas import number
from rootml.sbi.roofit._names import Names
from rootml.sbi.roofit._ownership import Owner
from rootml.sbi.roofit._root import RootObject, import_root


class Factory:
    """Makes the objects of one likelihood.

    Attributes:
        root: The ROOT module.
        owner: Who owns what is made.
        names: Who is called what.
    """

    def __init__(self, owner: Owner) -> None:
        self.root = import_root()
        self.owner = owner
        self.names = Names()
        self._constants: dict[float, Any] = {}

    def make(self, kind: str, name: str, title: str, *arguments: Any) -> RootObject:
        """``ROOT.kind(name, title, *arguments)``."""
        made = getattr(self.root, kind)(self.names(name), title, *arguments)
        return self.owner.own(made)

    def arguments(self, items: Iterable[Any]) -> RootObject:
        """A RooArgList."""
        listed = self.root.RooArgList()
        for item in items:
            listed.add(item)
        return listed

    def set_of(self, items: Iterable[Any]) -> RootObject:
        """A RooArgSet."""
        found = self.root.RooArgSet()
        for item in items:
            found.add(item)
        return found

    def constant(self, value: float) -> RootObject:
        """A RooConstVar; one per value."""
        if value not in self._constants:
            made = self.root.RooConstVar(self.names(f"c{number(value)}"), number(value), value)
            self._constants[value] = self.owner.own(made)
        return self._constants[value]

    def formula(self, name: str, title: str, text: str, variables: Sequence[Any]) -> RootObject:
        """A RooFormulaVar of ``x[0]``, ``x[1]``, ...; a constant if there is no variable."""
        if not variables:
            return self.constant(float(text.strip("()")))
        # ROOT's constructor with a title and a formula
        args = self.arguments(variables)
        return self.owner.own(self.root.RooFormulaVar(self.names(name), title, text, args))

    def product(self, name: str, title: str, items: Sequence[Any]) -> RootObject:
        """A RooProduct, or the only factor."""
        if len(items) == 1:
            return items[0]
        return self.make("RooProduct", name, title, self.arguments(items))

    def sum(self, name: str, title: str, items: Sequence[Any]) -> RootObject:
        """A RooAddition, or the only term."""
        if len(items) == 1:
            return items[0]
        return self.make("RooAddition", name, title, self.arguments(items))
