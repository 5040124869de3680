"""Trees built as one that was parsed before: only their numbers are read.

While a record is parsed, the bytes that decide the result are noted: names, versions, lengths,
leaves. A record of the same length that has the same bytes in these places gives the same branches
at the same positions; numbers of entries, positions of baskets and the like are read from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from rootml.storage.ttree._branches import Branch, Tree

T = TypeVar("T")
Positions: TypeAlias = "npt.NDArray[np.int64]"
Ranges: TypeAlias = "list[tuple[Positions, int | Positions]]"
"""Where bytes begin that decide something, and how many each time."""
Bytes: TypeAlias = "npt.NDArray[np.uint8]"
_MAX_TEMPLATES = 8
_MAX_BYTES = 4 << 20
_FIRST = 4096
"""Bytes of a record that are compared first: another tree differs there."""


@dataclass(frozen=True, slots=True)
class Template(Generic[T]):
    """What was parsed from a record, and the bytes that decided it.

    Attributes:
        data: The record.
        used: 255 at each of these bytes, else 0.
    """

    keylen: int
    branches_at: int
    data: npt.NDArray[np.uint8]
    used: npt.NDArray[np.uint8]
    result: T

    @classmethod
    def of(cls, tree: Tree, noted: Ranges, result: T) -> Template[T]:
        """The template of a tree that was just parsed."""
        used = np.zeros(len(tree.data), np.uint8)
        for starts, widths in noted:
            used[_spread(starts, widths)] = 255
        data = np.frombuffer(tree.data, np.uint8)
        return cls(tree.keylen, tree.branches_at, data, used, result)

    def fits(self, tree: Tree) -> bool:
        """Whether parsing this tree would give the same."""
        same = (self.keylen, self.branches_at) == (tree.keylen, tree.branches_at)
        if not same or len(tree.data) != len(self.data):
            return False
        other = np.frombuffer(tree.data, np.uint8)
        return _agree(*(each[:_FIRST] for each in (self.data, other, self.used))) and _agree(
            self.data, other, self.used
        )


def _agree(one: Bytes, other: Bytes, used: Bytes) -> bool:
    return not ((one ^ other) & used).any()


class Templates(Generic[T]):
    """Those that were used last; threads may lose one another's."""

    def __init__(self) -> None:
        self._known: tuple[Template[T], ...] = ()

    def find(self, tree: Tree) -> T | None:
        """What is known of a tree built like this one."""
        for template in self._known:
            if template.fits(tree):
                return template.result
        return None

    def keep(self, template: Template[T]) -> None:
        """For the next trees; not of a record that takes much memory."""
        if len(template.data) > _MAX_BYTES:
            return
        self._known = (template, *self._known[: _MAX_TEMPLATES - 1])


_BRANCHES: Templates[list[Branch]] = Templates()


def branches_of(tree: Tree) -> list[Branch]:
    """As `Tree.branches`."""
    known = _BRANCHES.find(tree)
    if known is not None:
        return [tree.like(branch) for branch in known]
    noted: list[tuple[int, int]] = []
    found = replace(tree, noted=noted).branches()  # others may be using the tree
    ends = np.array(noted, np.int64)
    _BRANCHES.keep(Template.of(tree, [(ends[:, 0], ends[:, 1] - ends[:, 0])], found))
    return found


def _spread(starts: Positions, widths: int | Positions) -> Positions:
    """All positions of some ranges."""
    if isinstance(widths, int):
        return (starts[:, None] + np.arange(widths)).reshape(-1)
    firsts = np.cumsum(widths) - widths
    return np.repeat(starts - firsts, widths) + np.arange(widths.sum())
