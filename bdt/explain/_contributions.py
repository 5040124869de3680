"""Contributions of the features to margins (SHAP), by the compiled kernel."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml._internal.types import Float
from rootml.bdt._forest import Forest
from rootml.bdt._inputs import Table, blanked, category_codes
from rootml.bdt.engine.binding._host import host_target
from rootml.bdt.engine.binding._jit import load
from rootml.bdt.engine.tables._traversal import set_words
from rootml.bdt.explain._kernel import BLOCK, TABLES, Shape, kernel_ir
from rootml.bdt.explain._paths import expected, make_paths, node_means
from rootml.bdt.explain._tables import (
    LEFT_LEAF,
    RIGHT_LEAF,
    along_means,
    categorical_columns,
    make_layout,
    reals,
    rule,
)

PIECE = 4096
"""Rows at a time: a multiple of `BLOCK`."""


@dataclass(frozen=True)
class Program:
    """Trees and their numbers, ready to run.

    Attributes:
        shape: Of the kernel.
        call: The kernel.
        record: Addresses and numbers in the order of `TABLES`.
        arrays: What the record points at.
    """

    shape: Shape
    call: Any
    record: NDArray[np.int64]
    arrays: tuple[NDArray[Any], ...]


class Explainer:
    """Contributions of one forest; safe to use from several threads.

    Raises:
        UsageError: The model does not hold the weights of its nodes.
    """

    def __init__(self, forest: Forest, *, isa: str | None = None) -> None:
        self._forest = forest
        self._paths = make_paths(forest)
        starts, bits = set_words(forest)
        self._words = _words(forest, starts)
        self._layout = make_layout(forest, self._paths, starts, bits)
        self._shape = Shape(
            dtype=forest.dtype,
            input_dtype=forest.input_dtype,
            strict=forest.comparison == "<",
            points=len(rule(self._paths.features)[0]),
            sets=forest.has_categories,
        )
        self._target = host_target(isa)
        self._codes = categorical_columns(forest)
        self._means = node_means(forest, self._paths.share)
        self._bias = expected(forest, self._means)

    # --- what users get --------------------------------------------------------------------------

    def contributions(self, table: Table) -> Float:
        """Shape (rows, outputs, features + 1); the last is the bias."""
        return self._explain(table, self._exact)

    def approximate(self, table: Table) -> Float:
        """As `contributions`, from the means of the nodes along the path."""
        return self._explain(table, self._along_means)

    def _explain(self, table: Table, program: Callable[[int], Program]) -> Float:
        forest = self._forest
        made = np.empty((table.num_rows, forest.num_outputs, forest.num_features + 1))
        made[..., -1] = self._bias
        for start in range(0, table.num_rows, PIECE):
            stop = min(start + PIECE, table.num_rows)
            x = self._columns(table, start, stop)
            for output in range(forest.num_outputs):
                sums = self._sums(x, program(output))
                made[start:stop, output, :-1] = sums.T[: stop - start]
        return made

    def interactions(self, table: Table) -> Float:
        """Shape (rows, outputs, features + 1, features + 1); sums over a row: contributions."""
        forest = self._forest
        features = forest.num_features
        shape = (table.num_rows, forest.num_outputs, features + 1, features + 1)
        made = np.zeros(shape)
        for start in range(0, table.num_rows, PIECE):
            stop = min(start + PIECE, table.num_rows)
            x = self._columns(table, start, stop)
            for output in range(forest.num_outputs):
                self._interact(x, output, made[start:stop, output])
        made[..., -1, -1] = self._bias
        return made

    def _interact(self, x: NDArray[Any], output: int, made: Float) -> None:
        """Half the difference that knowing a feature makes; the rest is on the diagonal."""
        rows, features = len(made), self._forest.num_features
        alone = self._sums(x, self._exact(output))
        for feature in np.unique(self._layout.ints[:, 1]).tolist():
            known, unknown = (
                self._sums(x, self._program(output, feature, number)) for number in (1.0, 0.0)
            )
            made[:, feature, :features] = (0.5 * (known - unknown)).T[:rows]
        main = alone.T[:rows] - made[:, :features, :features].sum(axis=2)
        index = np.arange(features)
        made[:, index, index] += main

    # --- the kernel ------------------------------------------------------------------------------

    def _columns(self, table: Table, start: int, stop: int) -> NDArray[Any]:
        """Columns of the rows, padded to whole blocks, and codes of the categorical ones."""
        forest = self._forest
        x = blanked(table.block(start, stop, forest.input_dtype), forest)
        padded = -(-len(x) // BLOCK) * BLOCK
        made = np.zeros((forest.num_features + len(self._codes), padded), forest.input_dtype)
        made[: forest.num_features, : len(x)] = x.T
        for i, column in enumerate(self._codes.tolist()):
            codes = category_codes(x[:, column], forest.category_rule)
            made[forest.num_features + i, : len(x)] = codes
        return made

    def _sums(self, x: NDArray[Any], program: Program) -> Float:
        """Shape (features, padded rows): contributions of a program's trees, without the bias."""
        forest = self._forest
        sums = np.zeros((forest.num_features, x.shape[1]))
        size = program.shape.work(forest.num_features, self._layout.most_nodes)
        work = np.zeros(size + 64, np.uint8)
        first = work.ctypes.data + -work.ctypes.data % 64
        program.call(
            program.record.ctypes.data, x.ctypes.data, sums.ctypes.data, first, x.shape[1]
        )
        return sums / forest.divisor if forest.divisor != 1 else sums

    @functools.cache  # noqa: B019 - lives as long as the model
    def _kernel(self, points: int) -> tuple[Shape, Any]:
        shape = dataclasses.replace(self._shape, points=points)
        library = load(lambda: kernel_ir(shape, self._target), shape.key, self._target)
        pointer = ctypes.c_void_p
        arguments = (pointer, pointer, pointer, pointer, ctypes.c_int64)
        return shape, library.function("explain", None, *arguments)

    @functools.cache  # noqa: B019 - lives as long as the model
    def _exact(self, output: int) -> Program:
        return self._program(output, -1, 1.0)

    @functools.cache  # noqa: B019 - lives as long as the model
    def _along_means(self, output: int) -> Program:
        """Every child counts as a leaf that holds its mean, and every feature as known."""
        column = output if self._forest.leaf_width > 1 else 0
        ints = self._layout.ints.copy()
        ints[:, 2] |= LEFT_LEAF | RIGHT_LEAF
        numbers = along_means(self._forest, self._paths, self._layout, self._means[:, column])
        return self._select(output, -1, ints, numbers, 1)

    def _program(self, output: int, feature: int, known: float) -> Program:
        """The trees of an output.

        Args:
            feature: One that is taken as known (1) or unknown (0), with the trees that test it
                alone; -1: none, and all trees.
        """
        column = output if self._forest.leaf_width > 1 else 0
        numbers = reals(self._forest, self._paths, self._layout, column, feature, known)
        return self._select(output, feature, self._layout.ints, numbers, self._shape.points)

    def _select(
        self, output: int, feature: int, ints: NDArray[Any], numbers: NDArray[Any], points: int
    ) -> Program:
        forest, layout = self._forest, self._layout
        trees = np.ones(len(layout.tree), bool)
        if forest.leaf_width == 1:
            trees = forest.tree_output[layout.tree] == output
        if feature >= 0:
            tests = np.add.reduceat((ints[:, 1] == feature).astype(np.int64), layout.start[:-1])
            trees &= tests > 0
        nodes = np.repeat(trees, np.diff(layout.start))
        arrays = (
            np.r_[0, np.cumsum(np.diff(layout.start)[trees])].astype(np.int64),
            np.ascontiguousarray(ints[nodes]),
            np.ascontiguousarray(numbers[nodes]),
            np.ascontiguousarray(forest.threshold[layout.node[nodes]]),
            self._words,
        )
        values = dict(zip(TABLES[1:6], (array.ctypes.data for array in arrays), strict=True))
        values |= {
            "trees": int(trees.sum()), "features": forest.num_features,
            "most_nodes": layout.most_nodes,
        }  # fmt: skip
        record = np.array([values[name] for name in TABLES], np.int64)
        return Program(*self._kernel(points), record, arrays)


def _words(forest: Forest, starts: NDArray[np.int64]) -> NDArray[np.uint32]:
    """The bits of all category sets behind one another, and one word more."""
    words = np.zeros(int(starts[-1]) + 1, np.uint32)
    place = np.repeat(starts[:-1], np.diff(forest.category_offset)) + forest.category_values // 32
    np.bitwise_or.at(words, place, np.uint32(1) << (forest.category_values % 32).astype(np.uint32))
    return words
