"""What CatBoost's two file formats have in common, before it becomes a `Forest`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootml.errors import ModelError

MAX_DEPTH = 16  # CatBoost's own limit for symmetric trees
MAX_OUTPUTS = 2**16


class Split(NamedTuple):
    """A test: ``x > border``, or that the hash of a category's text is `category`."""

    feature: int
    border: float = 0.0
    category: int | None = None


@dataclass(frozen=True)
class Tree:
    """One tree, its root first; arrays with one element per node.

    Attributes:
        split: Index of the test in `Parts.splits`; -1 in a leaf.
        no: The child where the test does not hold; -1 in a leaf.
        yes: The child where it holds.
        leaf: CatBoost's number of the leaf; 0 elsewhere.
        value: Shape (nodes, outputs); zero in inner nodes.
        weight: Sum of the weights of training events; zero in inner nodes.
    """

    split: NDArray[np.int64]
    no: NDArray[np.int64]
    yes: NDArray[np.int64]
    leaf: NDArray[np.int64]
    value: NDArray[np.float64]
    weight: NDArray[np.float64]


@dataclass(frozen=True)
class Parts:
    """A model as its file holds it.

    Attributes:
        names: Of all features, in the order of the columns of the training data.
        categorical: The columns that hold categories.
        nan_yes: The columns in which the test holds for NaN; it does not in others.
        splits: Tests that the trees refer to.
        texts: From hashes to the texts of categories, where the file has them.
        scale, bias: Sums of leaves are multiplied by the first, then the second is added.
        loss: Name of the loss function.
        version: Of CatBoost.
    """

    names: list[str]
    categorical: set[int]
    nan_yes: set[int]
    splits: list[Split]
    trees: list[Tree]
    scale: float
    bias: NDArray[np.float64]
    loss: str
    version: str
    texts: dict[int, str] = field(default_factory=dict)


def symmetric_tree(
    splits: NDArray[np.int64], value: NDArray[np.float64], weight: NDArray[np.float64]
) -> Tree:
    """The tree in which all nodes of a level make the same test.

    The result of test i is bit i of the leaf's number, so the last test is that of the root.

    Args:
        splits: Shape (depth,).
        value: Shape (leaves, outputs).
        weight: Shape (leaves,), or empty.

    Raises:
        ModelError: Not two to the power of the depth leaves, or a deeper tree than CatBoost makes.
    """
    depth, leaves = len(splits), len(value)
    if depth > MAX_DEPTH or leaves != 1 << depth or len(weight) not in {0, leaves}:
        message = (
            f"a symmetric tree of {depth} tests with {leaves} leaves and {len(weight)} weights"
        )
        raise ModelError(message)
    inner = leaves - 1
    node = np.arange(inner)
    none = np.full(leaves, -1)
    level = np.repeat(np.arange(depth), 1 << np.arange(depth))
    outputs = value.shape[1]
    return Tree(
        split=np.r_[splits[::-1][level], none].astype(np.int64),
        no=np.r_[2 * node + 1, none],
        yes=np.r_[2 * node + 2, none],
        leaf=np.r_[node * 0, np.arange(leaves)],
        value=np.concatenate([np.zeros((inner, outputs)), value]),
        weight=np.concatenate([np.zeros(inner), weight if len(weight) else np.zeros(leaves)]),
    )


def city_hash(text: bytes) -> int:
    """CatBoost's hash of a category: the lower 32 bits of CityHash64 1.0, for 1 to 7 bytes.

    Source: ``HashLen0to16`` of https://github.com/google/cityhash.

    >>> city_hash(b"1")
    1121341681
    """
    size, mask = len(text), (1 << 64) - 1
    if size >= 4:
        low, high = (int.from_bytes(part, "little") for part in (text[:4], text[-4:]))
        u, v, multiplier = size + (low << 3), high, 0x9DDFEA08EB382D69
        a = (u ^ v) * multiplier & mask
        b = (v ^ a ^ a >> 47) * multiplier & mask
        return ((b ^ b >> 47) * multiplier) & 0xFFFFFFFF
    y = text[0] + (text[size >> 1] << 8)
    z = size + (text[-1] << 2)
    mixed = (y * 0x9AE16A3B2F90404F ^ z * 0xC949D7C7509E6557) & mask
    return ((mixed ^ mixed >> 47) * 0x9AE16A3B2F90404F) & 0xFFFFFFFF


@cache
def whole_number_hashes(count: int = 10_000) -> Mapping[int, str]:
    """From hashes to the numbers 0 to `count` - 1, as texts; where two have one hash, neither."""
    texts = [str(number) for number in range(count)]
    hashes = [city_hash(text.encode()) for text in texts]
    made = dict(zip(hashes, texts, strict=True))
    if len(made) < count:
        values, counts = np.unique(hashes, return_counts=True)
        for value in values[counts > 1].tolist():
            del made[value]
    return made
