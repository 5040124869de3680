"""Several forests as one: their nodes, one forest after the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import Forest


def joined_nodes(forests: Sequence[Forest]) -> dict[str, Any]:
    """The fields of a `Forest` that describe its nodes, for the trees of several forests.

    Thresholds and leaves must have one dtype, and the forests one comparison and category rule.
    """
    nodes = np.cumsum([0, *(forest.num_nodes for forest in forests)]).tolist()
    sets = np.cumsum([0, *(forest.num_category_sets for forest in forests)]).tolist()
    members = np.cumsum([0, *(len(forest.category_values) for forest in forests)]).tolist()

    def joined(name: str, shifts: Sequence[int] = ()) -> NDArray[Any]:
        parts = [getattr(forest, name) for forest in forests]
        pairs = itertools.zip_longest(parts, shifts[: len(parts)], fillvalue=0)
        return np.concatenate([np.where(part < 0, part, part + shift) for part, shift in pairs])

    offsets = [forest.tree_offset[1:] + n for forest, n in zip(forests, nodes, strict=False)]
    ends = [forest.category_offset[1:] + n for forest, n in zip(forests, members, strict=False)]
    plain = ["threshold", "default_left", "value", "category_values"]
    plain += [
        name
        for name in ("gain", "cover")
        if all(getattr(forest, name) is not None for forest in forests)
    ]
    return {
        "tree_offset": np.concatenate([[0], *offsets]),
        "feature": joined("feature"),
        "left": joined("left", nodes),
        "right": joined("right", nodes),
        "category": joined("category", sets),
        "category_offset": np.concatenate([[0], *ends]),
        **{name: np.concatenate([getattr(each, name) for each in forests]) for name in plain},
    }
