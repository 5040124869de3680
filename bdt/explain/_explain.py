"""What a model can tell about its scores, as functions from a table to arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import Forest
from rootml.bdt._inputs import Table
from rootml.bdt.explain._leaves import PIECE, Leaves, Margins

if TYPE_CHECKING:
    from rootml.bdt.explain._contributions import Explainer

What = Literal["leaf", "trees", "contributions", "approximate", "interactions"]


class Explanations:
    """Of one forest; each thing is made when it is first asked for.

    Args:
        forest: What scores.
        engine: Makes an engine for a forest.
        compiled: Whether leaves are found by compiled code; contributions always are.
        isa: Instructions of the kernels.
    """

    def __init__(
        self,
        forest: Forest,
        engine: Callable[[Forest], Margins],
        *,
        compiled: bool,
        isa: str | None,
    ) -> None:
        self.forest, self._engine = forest, engine
        self._compiled, self._isa = compiled, isa

    def of(self, what: What, table: Table) -> NDArray[Any]:
        """The rows of `table`, first axis."""
        made: NDArray[Any] = getattr(self, what)(table)
        return made

    @cached_property
    def _explainer(self) -> Explainer:
        from rootml.bdt.explain._contributions import Explainer  # needs llvmlite

        return Explainer(self.forest, isa=self._isa)

    def _leaves(self, ids: NDArray[Any]) -> Leaves:
        compiled = self._compiled
        isa = self._isa if compiled else None
        return Leaves(self.forest, ids, self._engine, compiled=compiled, isa=isa)

    @cached_property
    def _positions(self) -> NDArray[np.int64]:
        """Of each node within its tree."""
        forest = self.forest
        first = np.repeat(forest.tree_offset[:-1], np.diff(forest.tree_offset))
        return np.arange(forest.num_nodes) - first

    @cached_property
    def _numbered(self) -> Leaves:
        ids = self.forest.leaf_id
        return self._placed if ids is None else self._leaves(ids.astype(np.int64))

    @cached_property
    def _placed(self) -> Leaves:
        return self._leaves(self._positions)

    def leaf(self, table: Table) -> NDArray[np.int32]:
        """Shape (rows, trees): the leaf reached, by the library's number of it."""
        if not self.forest.num_trees:
            return np.zeros((table.num_rows, 0), np.int32)
        return self._numbered(table)

    def nodes(self, table: Table) -> NDArray[np.int64]:
        """Shape (rows, trees): the leaf reached, as index among all nodes."""
        if not self.forest.num_trees:
            return np.zeros((table.num_rows, 0), np.int64)
        return self._placed(table) + self.forest.tree_offset[:-1]

    def trees(self, table: Table) -> NDArray[Any]:
        """Shape (rows, trees), or (rows, trees, outputs): what each tree adds."""
        value = self.forest.value
        value = value if value.shape[1] > 1 else value[:, 0]
        made = np.empty((table.num_rows, self.forest.num_trees, *value.shape[1:]), value.dtype)
        for start in range(0, table.num_rows, PIECE):
            part = table.rows(start, min(start + PIECE, table.num_rows))
            made[start : start + PIECE] = value[self.nodes(part)]
        return made

    def contributions(self, table: Table) -> NDArray[Any]:
        """Shape (rows, features + 1), or (rows, outputs, features + 1)."""
        return self._squeezed(self._explainer.contributions(table))

    def interactions(self, table: Table) -> NDArray[Any]:
        """Shape (rows, features + 1, features + 1), or with outputs behind the rows."""
        return self._squeezed(self._explainer.interactions(table))

    def approximate(self, table: Table) -> NDArray[Any]:
        """As `contributions`, by the means along the path."""
        return self._squeezed(self._explainer.approximate(table))

    def _squeezed(self, values: NDArray[Any]) -> NDArray[Any]:
        return values[:, 0] if self.forest.num_outputs == 1 else values


def with_cover(forest: Forest, nodes: NDArray[np.int64], weight: NDArray[Any] | None) -> Forest:
    """A copy whose weights of the nodes are those of events, from the leaves they reach."""
    total = np.zeros(forest.num_nodes)
    for column in nodes.T:
        total += np.bincount(column, weight, minlength=forest.num_nodes)
    inner = np.flatnonzero(forest.feature >= 0)
    for depth in range(forest.depth - 1, -1, -1):
        level = inner[forest.node_depth[inner] == depth]
        total[level] = total[forest.left[level]] + total[forest.right[level]]
    return forest.replace(cover=total)
