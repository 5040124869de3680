"""CatBoost's binary format (``.cbm``): FlatBuffers by ``model.fbs`` and ``features.fbs``.

Source: https://github.com/catboost/catboost, ``catboost/libs/model/flatbuffers``. The trees refer
to tests by number: first the borders of the numeric features, then the values of the one-hot ones,
then statistics of categories (CTR), which are not supported.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from rootml.bdt.readers._catboost_json import check_classes, loss_of
from rootml.bdt.readers._catboost_parts import MAX_OUTPUTS, Parts, Split, Tree, symmetric_tree
from rootml.bdt.readers._flatbuffers import Buffer, Table
from rootml.errors import ModelError, UnsupportedModelError

MAGIC = b"CBM1"
_FORMAT = "FlabuffersModel_v1"


class _Core(IntEnum):
    """Fields of ``TModelCore``."""

    FORMAT, TREES, INFO = range(3)


class _Trees(IntEnum):
    """Fields of ``TModelTrees``."""

    (
        OUTPUTS, SPLITS, SIZES, STARTS, CATEGORICAL, NUMERIC, ONE_HOT, CTR, VALUES, WEIGHTS, STEPS,
        LEAVES, TEXTS, ESTIMATED, SCALE, BIAS, BIASES, _, EMBEDDINGS,
    ) = range(19)  # fmt: skip


def parts_of_cbm(data: bytes) -> Parts:
    """The parts of a binary model.

    Raises:
        ModelError: Damaged.
        UnsupportedModelError: Another version of the format; texts, embeddings, CTR in tests.
    """
    size = int.from_bytes(data[4:8], "little")
    if data[:4] != MAGIC or size > len(data) - 8:
        message = f"a CatBoost model of {size:,} bytes in a file of {len(data):,}: it is truncated"
        raise ModelError(message)
    core = Buffer(data[8 : 8 + size]).root()
    if core.text(_Core.FORMAT) != _FORMAT:
        message = f"CatBoost's format {core.text(_Core.FORMAT)!r:.40}; supported: {_FORMAT}"
        raise UnsupportedModelError(message)
    trees = core.table(_Core.TREES)
    if trees.num_fields > len(_Trees):
        message = (
            f"a CatBoost model with {trees.num_fields} fields, {len(_Trees)} are known; was "
            "it written by a newer version?"
        )
        raise UnsupportedModelError(message)
    info = {one.text(0): one.text(1) for one in core.tables(_Core.INFO)}
    check_classes(info.get("class_params"))
    if trees.tables(_Trees.ESTIMATED):
        message = "texts and embeddings of CatBoost are not supported"
        raise UnsupportedModelError(message)
    columns = _Columns(trees)
    splits = columns.splits(trees, len(data))
    outputs = _outputs(trees)
    return Parts(
        names=columns.names(),
        categorical=set(columns.categorical.values()),
        nan_yes=columns.nan_yes,
        splits=splits,
        trees=_read_trees(trees, len(splits), outputs),
        scale=float(trees.number(_Trees.SCALE, "<f8", 1.0)),
        bias=_bias(trees, outputs),
        loss=loss_of(info.get("params")),
        version=info.get("catboost_version_info", ""),
    )


def _outputs(trees: Table) -> int:
    outputs = int(trees.number(_Trees.OUTPUTS, "<i4"))
    if not 1 <= outputs <= MAX_OUTPUTS:
        message = f"ApproxDimension is {outputs}, expected 1 to {MAX_OUTPUTS}"
        raise ModelError(message)
    return outputs


def _bias(trees: Table, outputs: int) -> NDArray[np.float64]:
    several = trees.array(_Trees.BIASES, "<f8").astype(np.float64)
    bias = several if len(several) else np.array([float(trees.number(_Trees.BIAS, "<f8"))])
    if len(bias) not in {1, outputs}:
        message = f"{len(bias)} biases for {outputs} outputs"
        raise ModelError(message)
    return np.broadcast_to(bias, (outputs,)).copy()


# --- features ------------------------------------------------------------------------------------


class _Columns:
    """Columns and names of the features, by their numbers among numeric and categorical ones."""

    def __init__(self, trees: Table) -> None:
        self._names: dict[int, str] = {}
        self.nan_yes: set[int] = set()
        self.numeric: dict[int, int] = {}
        self.categorical: dict[int, int] = {}
        for one in trees.tables(_Trees.NUMERIC):
            column = self._add(self.numeric, one, index=1, flat=2, name=4)
            treatment = int(one.number(5, "<i1"))
            if treatment not in {0, 1, 2}:
                message = f"NanValueTreatment is {treatment}, expected 0, 1 or 2"
                raise ModelError(message)
            if treatment == 2:
                self.nan_yes.add(column)
        for one in trees.tables(_Trees.CATEGORICAL):
            self._add(self.categorical, one, index=0, flat=1, name=2)
        for field in (_Trees.TEXTS, _Trees.EMBEDDINGS):
            other: dict[int, int] = {}
            for one in trees.tables(field):
                self._add(other, one, index=0, flat=1, name=2)

    def _add(self, kind: dict[int, int], one: Table, *, index: int, flat: int, name: int) -> int:
        number, column = (int(one.number(field, "<i4", -1)) for field in (index, flat))
        if number in kind or column in self._names:
            message = f"two features have the number {number} or the column {column}"
            raise ModelError(message)
        kind[number] = column
        self._names[column] = one.text(name)
        return column

    def names(self) -> list[str]:
        if sorted(self._names) != list(range(len(self._names))):
            message = "the columns of the features do not count from 0"
            raise ModelError(message)
        return [self._names[column] for column in range(len(self._names))]

    def splits(self, trees: Table, limit: int) -> list[Split]:
        """All tests in the order in which the trees number them; at most `limit`."""
        made: list[Split] = []
        for one in trees.tables(_Trees.NUMERIC):
            column = self.numeric[int(one.number(1, "<i4", -1))]
            made += [Split(column, border) for border in one.array(3, "<f4").tolist()]
            _check_count(len(made), limit)
        for one in trees.tables(_Trees.ONE_HOT):
            number = int(one.number(0, "<i4", -1))
            if number not in self.categorical:
                message = f"one-hot tests of number {number} of the categorical features"
                raise ModelError(message)
            values = one.array(1, "<u4").tolist()
            made += [Split(self.categorical[number], category=value) for value in values]
            _check_count(len(made), limit)
        return made


def _check_count(count: int, limit: int) -> None:
    if count > limit:
        message = f"{count} tests in a file of {limit} bytes"
        raise ModelError(message)


# --- trees ---------------------------------------------------------------------------------------


def _read_trees(trees: Table, num_splits: int, outputs: int) -> list[Tree]:
    splits = trees.array(_Trees.SPLITS, "<i4").astype(np.int64)
    sizes = trees.array(_Trees.SIZES, "<i4").astype(np.int64)
    if np.any(sizes < 0) or sizes.sum() != len(splits):
        message = f"trees of {sizes.sum()} tests, but {len(splits)} are listed"
        raise ModelError(message)
    steps = trees.array(_Trees.STEPS, "<u4")
    tests = splits[steps != 0] if len(steps) == len(splits) else splits  # leaves have none
    if np.any(tests < 0) or np.any(tests >= num_splits):
        if trees.tables(_Trees.CTR) and np.all(tests >= 0):
            message = (
                "tests of CatBoost's statistics of categories (CTR), which are not supported; "
                "numbers and one-hot categories are (one_hot_max_size=)"
            )
            raise UnsupportedModelError(message)
        message = f"a tree refers to test {tests.max()} of {num_splits}"
        raise ModelError(message)
    ends = np.cumsum(sizes)
    parts = np.split(splits, ends[:-1]) if len(sizes) else []
    value = trees.array(_Trees.VALUES, "<f8").astype(np.float64)
    if len(value) % outputs or not np.all(np.isfinite(value)):
        message = f"{len(value)} values of leaves for {outputs} outputs, or infinite ones"
        raise ModelError(message)
    value = value.reshape(-1, outputs)
    weight = trees.array(_Trees.WEIGHTS, "<f8").astype(np.float64)
    weight = weight if len(weight) == len(value) else np.zeros(len(value))
    if len(steps):
        return _other_trees(trees, parts, value, weight)
    return _symmetric_trees(parts, value, weight)


def _symmetric_trees(
    parts: list[NDArray[np.int64]], value: NDArray[np.float64], weight: NDArray[np.float64]
) -> list[Tree]:
    if any(len(part) > 30 for part in parts):
        message = "a symmetric tree of more than 30 tests"
        raise ModelError(message)
    ends = np.cumsum([0, *(1 << len(part) for part in parts)]).tolist()
    if ends[-1] != len(value):
        message = f"{len(value)} leaves for trees of {ends[-1]}"
        raise ModelError(message)
    return [
        symmetric_tree(part, value[a:b], weight[a:b])
        for part, a, b in zip(parts, ends[:-1], ends[1:], strict=True)
    ]


def _other_trees(
    trees: Table,
    parts: list[NDArray[np.int64]],
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> list[Tree]:
    """Trees of nodes with the distances of both children; a distance of 0 ends at a leaf."""
    count, outputs = sum(map(len, parts)), value.shape[1]
    steps = trees.array(_Trees.STEPS, "<u4").view("<u2").astype(np.int64).reshape(-1, 2)
    leaves = trees.array(_Trees.LEAVES, "<u4").astype(np.int64)
    if len(steps) != count or len(leaves) != count:
        message = f"{len(steps)} distances and {len(leaves)} leaves for {count} nodes"
        raise ModelError(message)
    ends = np.any(steps == 0, axis=1)
    if np.any(leaves[ends] % outputs) or np.any(leaves[ends] // outputs >= len(value)):
        message = f"a node refers to a leaf beyond the {len(value)} of the model"
        raise ModelError(message)
    made, start, first = [], 0, 0
    for part in parts:
        stop = start + len(part)
        leaf = leaves[start:stop] // outputs
        tree = _other_tree(part, steps[start:stop], leaf, value, weight, first)
        made.append(tree)
        start, first = stop, first + int(np.count_nonzero(tree.split < 0))
    return made


def _other_tree(
    split: NDArray[np.int64],
    steps: NDArray[np.int64],
    leaf: NDArray[np.int64],
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
    first: int,
) -> Tree:
    """One of them; a leaf that ends one side of an inner node gets a node of its own, at the end.

    Leaves are numbered within the tree: `first` is the number of its first one in the model.
    """
    count, node = len(split), np.arange(len(split))
    is_leaf = np.all(steps == 0, axis=1)
    child = np.where(is_leaf[:, None], -1, node[:, None] + steps)
    if np.any(child >= count):
        message = "a child is outside of its tree"
        raise ModelError(message)
    own = np.flatnonzero(~is_leaf & np.any(steps == 0, axis=1))
    side = (steps[own, 1] == 0).astype(np.int64)
    child[own, side] = count + np.arange(len(own))
    none = np.full(len(own), -1)
    number = np.r_[leaf, leaf[own]]
    ends = np.r_[is_leaf, none < 0]
    return Tree(
        split=np.r_[np.where(is_leaf, -1, split), none],
        no=np.r_[child[:, 0], none],
        yes=np.r_[child[:, 1], none],
        leaf=np.where(ends, number - first, 0),
        value=np.where(ends[:, None], value[np.where(ends, number, 0)], 0.0),
        weight=np.where(ends, weight[np.where(ends, number, 0)], 0.0),
    )
