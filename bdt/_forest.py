"""`Forest`: what every reader makes, and what the engines and writers take.

All trees lie behind one another in flat arrays, one element per node. How a forest is evaluated,
in pseudo-code::

    x = cast(row, input_dtype)                  # as the library does; overflow gives infinity
    x[f] = NaN     where x[f] == missing        # only if `missing` is a number
    x[f] = NaN     where zero_missing[f] and abs(x[f]) <= ZERO
    error          if any x[f] is NaN and not allow_nan
    sum[:] = base  if base_first else 0         # in the dtype of `value`
    for t in trees:                             # in this order, each addition rounded
        n = tree_offset[t]
        while feature[n] >= 0:
            v = x[feature[n]]
            if isnan(v):             n = left[n] if default_left[n] else right[n]
            elif category[n] >= 0:   n = left[n] if v in set(category[n]) else right[n]
            else:                    n = left[n] if v < threshold[n] else right[n]   # or <=
        if leaf_width == 1:  sum[tree_output[t]] += value[n, 0]
        else:                sum[:] += value[n, :]
    sum = sum / divisor                         # only if divisor != 1
    sum = sum + base                            # only if not base_first
    margin = sum;  prediction = link(margin)

Weights of trees (dart, learning rates, boosting weights) are in `value` already, multiplied as
the library does it.

The methods `compile`, `save`, `to_onnx` and `to_cpp` import the engine and the writers when they
are called. These take a `Forest`: this circle of imports is harmless, and the only one here.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rootml._internal.atomic import check_target
from rootml._internal.reprs import Facts, HtmlRepr, facts_text, shorten
from rootml._internal.validators import check_choice
from rootml.bdt._structure import check_offsets, level_depths
from rootml.errors import ModelError, UsageError, nearest

if TYPE_CHECKING:
    from rootml.bdt._model import EngineName, Model

Floats = NDArray[np.float32] | NDArray[np.float64]
Comparison = Literal["<", "<="]
CategoryRule = Literal["exact", "floor", "truncate"]
Importance = Literal["cover", "gain", "total_cover", "total_gain", "weight"]
Library = Literal[
    "catboost", "hep_ml", "lightgbm", "onnx", "rootml", "sklearn", "tmva", "xgboost"
]  # fmt: skip
Link = Literal[
    "argmax", "exp", "hinge", "identity", "increments", "probit", "sigmoid", "signed_square",
    "softmax", "softmax_zero", "softplus", "sorted", "tanh",
]  # fmt: skip

ZERO = float(np.float32(1e-35))
"""LightGBM's zero: what `Forest.zero_missing` takes for missing is within +-ZERO."""

MAX_FEATURES = 2**24
"""More are taken for a damaged file."""

_NODES: dict[str, DTypeLike] = {
    "feature": np.int32, "left": np.int32, "right": np.int32, "category": np.int32,
    "default_left": np.bool_,
}  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Forest(HtmlRepr):
    """Trees of any library in flat arrays; immutable, checked when it is made.

    Users get one from `rootml.bdt.load`. Arrays are read-only; those of nodes have one element
    per node of the whole forest.

    Attributes:
        tree_offset: int64, shape (trees + 1,): where each tree begins; its first node is its root.
        feature: int32: the column that a node tests; -1 in a leaf.
        threshold: `input_dtype`: what it is compared with (0 in leaves and categorical nodes);
            may be infinite, never NaN.
        left: int32: the child where the test holds, as index in the whole forest; -1 in a leaf.
        right: int32: the child where it does not.
        default_left: bool: whether NaN goes to `left`.
        value: Shape (nodes, leaf width), float32 or float64, which is the dtype of all additions:
            what a leaf adds, zero elsewhere. The width is 1, or `num_outputs` for trees with
            vectors in their leaves.
        tree_output: int32, shape (trees,): the output that a tree of width 1 adds to.
        base: Shape (outputs,), dtype of `value`: the margin without any tree.
        num_features: How many columns the input has.
        category: int32: index of the node's category set; -1 in numeric nodes and leaves, as is
            what is left out.
        category_offset: int64, shape (sets + 1,): where each set begins in `category_values`.
        category_values: int32: the members of the sets, >= 0, rising within a set.
        comparison: The test of numeric nodes, ``x < threshold`` or ``x <= threshold``.
        category_rule: Which category a float is. "floor": its integer part if it is >= 0.
            "truncate": rounded towards zero if that is >= 0, so -0.5 is category 0. "exact":
            itself if it is an integer. Every other value, and a category above all members, is
            not in any set and goes right.
        base_first: Whether sums begin with `base`, or `base` is added to the finished sum.
        divisor: Finished sums are divided by it, before a late base: 1, or the number of trees
            where the library averages.
        missing: A value that counts as NaN, compared after the cast to `input_dtype`; NaN for
            none.
        zero_missing: bool, shape (num_features,): columns in which values within `ZERO` of 0
            count as NaN; none if left out.
        allow_nan: Whether NaN (after the two steps above) is accepted; else it is an error.
        link: How the library makes a prediction from a margin; in the dtype of `value`, by the
            formula of `library`. "argmax": index of the largest, the first of equals. "hinge":
            ``m > 0``. "increments": each one larger than the one before by
            ``1e-6 + log1p(exp(m))``. "signed_square": ``sign(m) * m**2``. "softplus":
            ``log1p(exp(m))``. "sorted": in rising order. "tanh": ``2 / (1 + exp(-2 m)) - 1``.
            "softmax_zero": softmax over the nonzero ones.
        link_scale: Factor on the margin inside "sigmoid" (LightGBM's ``sigmoid=``) and "softmax"
            (AdaBoost of several classes).
        library: Which library trained the model, or whose file format it is.
        library_version: Its version, as the model gives it; "" where it does not.
        objective: The library's name of the loss; "" where unknown.
        feature_names: One for each feature, or None.
        feature_types: The library's words for them, or None.
        feature_categories: For each feature the names of the categories 0, 1, ... that the model
            was trained with, or None for a feature without names; None if no feature has names.
        trees_per_iteration: Trees that one round of boosting added.
        best_iteration: Index of the best round, where early stopping recorded one. Information:
            nothing is cut off; `iterations` does that.
        gain: float64, improvement of the loss by each node's split, or None.
        cover: float64, sum of weights (hessians, samples) in each node, or None.
        leaf_id: int32, the library's own number of each leaf within its tree; None if that is the
            position of the node in the tree.

    Raises:
        ModelError: Arrays that do not fit together, a child outside its tree, a node reached
            twice or never, an unknown column or category set, a NaN threshold.

    >>> import numpy as np
    >>> stump = Forest(
    ...     tree_offset=[0, 3], feature=[0, -1, -1], threshold=np.float32([30, 0, 0]),
    ...     left=[1, -1, -1], right=[2, -1, -1], default_left=[True, False, False],
    ...     value=np.float32([[0], [-1], [1]]), tree_output=[0], base=np.float32([0.5]),
    ...     num_features=1, feature_names=("pt",), link="sigmoid",
    ... )
    >>> stump.num_trees, stump.depth, stump.importance("weight")
    (1, 1, {'pt': 1.0})
    """

    tree_offset: NDArray[np.int64]
    feature: NDArray[np.int32]
    threshold: Floats
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    default_left: NDArray[np.bool_]
    value: Floats
    tree_output: NDArray[np.int32]
    base: Floats
    num_features: int
    category: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    category_offset: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    category_values: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    comparison: Comparison = "<"
    category_rule: CategoryRule = "floor"
    base_first: bool = True
    divisor: float = 1.0
    missing: float = math.nan
    zero_missing: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    allow_nan: bool = True
    link: Link = "identity"
    link_scale: float = 1.0
    library: Library = "rootml"
    library_version: str = ""
    objective: str = ""
    feature_names: tuple[str, ...] | None = None
    feature_types: tuple[str, ...] | None = None
    feature_categories: tuple[tuple[str | int | float, ...] | None, ...] | None = None
    trees_per_iteration: int = 1
    best_iteration: int | None = None
    gain: NDArray[np.float64] | None = None
    cover: NDArray[np.float64] | None = None
    leaf_id: NDArray[np.int32] | None = None

    # --- making and checking ---------------------------------------------------------------------

    def __post_init__(self) -> None:
        if not 1 <= self.num_features <= MAX_FEATURES:
            message = f"a forest of {self.num_features} features; from 1 to {MAX_FEATURES}"
            raise ModelError(message)
        self._set("feature", self.feature, np.int32)
        count = len(self.feature)
        if len(self.category) == 0:  # left out
            self._set("category", np.full(count, -1), np.int32)
        if len(self.zero_missing) == 0:
            self._set("zero_missing", np.zeros(self.num_features), np.bool_)
        for name, dtype in _NODES.items():
            self._set(name, getattr(self, name), dtype, (count,))
        for name in ("tree_offset", "category_offset"):
            self._set(name, getattr(self, name), np.int64)
        for name in ("tree_output", "category_values"):
            self._set(name, getattr(self, name), np.int32)
        self._set("zero_missing", self.zero_missing, np.bool_, (self.num_features,))
        self._set("threshold", self.threshold, _float_dtype("threshold", self.threshold), (count,))
        dtype = _float_dtype("value", self.value)
        self._set("value", self.value, dtype, (count, self.leaf_width))
        self._set("base", self.base, dtype, (len(self.base),))
        for name in ("gain", "cover"):
            if getattr(self, name) is not None:
                self._set(name, getattr(self, name), np.float64, (count,))
        if self.leaf_id is not None:
            self._set("leaf_id", self.leaf_id, np.int32, (count,))
        self._check()

    def _set(
        self, name: str, array: Any, dtype: DTypeLike, shape: tuple[int, ...] | None = None
    ) -> None:
        """Store a field as a read-only array of `dtype`; integers must survive the cast."""
        given = np.asarray(array)
        made = np.ascontiguousarray(given, dtype=dtype)
        if made.dtype.kind in "ib" and given.size and not np.array_equal(made, given):
            message = f"{name} of a forest does not fit {made.dtype}: {given.min()}..{given.max()}"
            raise ModelError(message)
        if shape is not None and made.shape != shape:
            message = f"{name} of a forest must have the shape {shape}, it has {made.shape}"
            raise ModelError(message)
        if made.flags.writeable:
            made = made.view()
            made.flags.writeable = False
        object.__setattr__(self, name, made)

    def _check(self) -> None:
        check_offsets(self.tree_offset, self.num_nodes)
        self._check_words()
        inner = self.feature >= 0
        if np.any(self.feature < -1):
            message = f"a node has the feature {self.feature.min()}"
            raise ModelError(message)
        children = [self.left[~inner], self.right[~inner]]
        if np.any(inner != (self.left >= 0)) or any(np.any(child != -1) for child in children):
            message = "a node with a feature has two children, one with feature -1 none"
            raise ModelError(message)
        if np.any(self.feature >= self.num_features):
            message = (
                f"a node tests feature {self.feature.max()}; the model has "
                f"{self.num_features}, counted from 0"
            )
            raise ModelError(message)
        if self.node_depth.min(initial=0) < 0:
            message = f"{np.sum(self.node_depth < 0)} nodes cannot be reached from any root"
            raise ModelError(message)
        if np.any(np.isnan(self.threshold)):
            message = "a threshold is NaN"
            raise ModelError(message)
        self._check_categories(inner)
        if len(self.tree_output) != self.num_trees or (
            self.num_trees
            and not 0 <= self.tree_output.min() <= self.tree_output.max() < self.num_outputs
        ):
            message = f"tree_output must name one of {self.num_outputs} outputs for each tree"
            raise ModelError(message)

    def _check_words(self) -> None:
        for name, choices in (("comparison", Comparison), ("category_rule", CategoryRule),
                              ("link", Link), ("library", Library)):  # fmt: skip
            if (given := getattr(self, name)) not in get_args(choices):
                message = f"{name}={given!r}; one of {nearest(str(given), get_args(choices))}"
                raise ModelError(message)
        if self.num_outputs < 1 or self.leaf_width not in {1, self.num_outputs}:
            message = (
                f"{self.num_outputs} outputs and leaves of width {self.leaf_width}: a forest has "
                "at least one output, and leaves hold one value or one for each"
            )
            raise ModelError(message)
        if not self.divisor or not math.isfinite(self.divisor) or self.trees_per_iteration < 1:
            message = f"divisor={self.divisor}, trees_per_iteration={self.trees_per_iteration}"
            raise ModelError(message)
        for name in ("feature_names", "feature_types", "feature_categories"):
            words = getattr(self, name)
            if words is not None and len(words) != self.num_features:
                message = f"{len(words)} {name} for {self.num_features} features"
                raise ModelError(message)

    def _check_categories(self, inner: NDArray[np.bool_]) -> None:
        offset, values = self.category_offset, self.category_values
        if offset[0] != 0 or offset[-1] != len(values) or np.any(np.diff(offset) < 0):
            message = "category_offset must begin with 0 and rise to len(category_values)"
            raise ModelError(message)
        if np.any(self.category < -1) or np.any(self.category >= self.num_category_sets):
            message = (
                "a node tests a category set that does not exist (the forest has "
                f"{self.num_category_sets})"
            )
            raise ModelError(message)
        if np.any((self.category >= 0) & ~inner):
            message = "a leaf has a category set"
            raise ModelError(message)
        rising = np.diff(values.astype(np.int64)) > 0
        starts = offset[1:-1]
        rising[starts[(starts > 0) & (starts < len(values))] - 1] = True
        if not np.all(rising) or values.min(initial=0) < 0:
            message = "the members of a category set must rise and be >= 0"
            raise ModelError(message)

    # --- sizes -----------------------------------------------------------------------------------

    @property
    def num_trees(self) -> int:
        """How many trees."""
        return len(self.tree_offset) - 1

    @property
    def num_nodes(self) -> int:
        """Nodes of all trees, leaves among them."""
        return len(self.feature)

    @property
    def num_outputs(self) -> int:
        """Margins per event: classes, targets or quantiles; 1 for binary classification."""
        return len(self.base)

    @property
    def leaf_width(self) -> int:
        """Values per leaf: 1, or `num_outputs` for trees with vectors in their leaves."""
        return int(np.shape(self.value)[1]) if np.ndim(self.value) == 2 else 0

    @property
    def num_category_sets(self) -> int:
        """Category sets that nodes share."""
        return len(self.category_offset) - 1

    @property
    def num_iterations(self) -> int:
        """Rounds of boosting."""
        return -(-self.num_trees // self.trees_per_iteration)

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """float32 or float64: what inputs are cast to before the comparisons."""
        return self.threshold.dtype

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64: leaves, additions, margins."""
        return self.value.dtype

    @property
    def has_categories(self) -> bool:
        """Whether any node tests a category."""
        return bool(np.any(self.category >= 0))

    @cached_property
    def node_depth(self) -> NDArray[np.int32]:
        """int32, one per node: how many tests lead to it, 0 in a root."""
        depth = level_depths(self.tree_offset, self.left, self.right)
        depth.flags.writeable = False
        return depth

    @cached_property
    def tree_depth(self) -> NDArray[np.int32]:
        """int32, shape (trees,): the longest path; 0 for a tree of one leaf."""
        if not self.num_trees:
            return np.zeros(0, dtype=np.int32)
        return np.maximum.reduceat(self.node_depth, self.tree_offset[:-1])

    @property
    def depth(self) -> int:
        """Of the deepest tree."""
        return int(self.tree_depth.max(initial=0))

    def category_set(self, index: int) -> NDArray[np.int32]:
        """Members of one set, rising."""
        return self.category_values[self.category_offset[index] : self.category_offset[index + 1]]

    # --- questions of users ----------------------------------------------------------------------

    def compile(
        self, engine: EngineName = "llvm", *, threads: int | None = None, isa: str | None = None
    ) -> Model:
        """A `Model` that scores with code for this machine's processor.

        Args:
            engine: "llvm": compiled by llvmlite, cached on disk. "numpy": as exact,
                slower, needs nothing.
            threads: How many threads predictions use by default; None: the caller's only.
            isa: Instructions to use: "avx512vbmi", "avx512", "avx2", "x86-64", "neon"; None: the
                best that this processor has.

        Raises:
            MissingPackageError: llvmlite, of the extra `bdt`, is not installed.
            UsageError: An unknown engine, instructions that the machine lacks.
        """
        from rootml.bdt._model import compile_forest

        return compile_forest(self, engine=engine, threads=threads, isa=isa)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features; ``f0, f1, ...`` where the model has none."""
        return self.feature_names or tuple(f"f{i}" for i in range(self.num_features))

    def replace(self, **changes: Any) -> Forest:
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def iterations(self, begin: int, end: int) -> Forest:
        """Only the rounds of boosting from `begin` to before `end`, as ``iteration_range`` does.

        An average is then taken over these rounds only. The base stays, also from a later round
        on, for which CatBoost's ``ntree_start`` leaves its bias out.

        Raises:
            UsageError: Rounds that do not exist, or a sum that is not divided by their number
                (TMVA's AdaBoost).
        """
        if not 0 <= begin < end <= self.num_iterations:
            message = (
                f"iterations({begin}, {end}): the model has rounds 0 to {self.num_iterations}, "
                "the end excluded"
            )
            raise UsageError(message)
        if self.divisor not in {1.0, float(self.num_iterations)}:
            message = f"iterations() of a weighted average: the sum is divided by {self.divisor}"
            raise UsageError(message)
        averaged = self.divisor != 1.0
        best = self.best_iteration
        return self._trees(
            begin * self.trees_per_iteration,
            min(end * self.trees_per_iteration, self.num_trees),
            divisor=float(end - begin) if averaged else 1.0,
            best_iteration=best - begin if best is not None and begin <= best < end else None,
        )

    def _trees(self, first: int, last: int, **changes: Any) -> Forest:
        start, stop = self.tree_offset[first], self.tree_offset[last]
        names = ["feature", "threshold", "default_left", "value", "category"]
        optional = ("gain", "cover", "leaf_id")
        names += [name for name in optional if getattr(self, name) is not None]
        cut = {name: getattr(self, name)[start:stop] for name in names}
        for name in ("left", "right"):
            child = getattr(self, name)[start:stop]
            cut[name] = np.where(child >= 0, child - start, -1)
        cut["tree_offset"] = self.tree_offset[first : last + 1] - start
        return self.replace(**cut, tree_output=self.tree_output[first:last], **changes)

    def with_cover(self, data: Any, weight: Any = None) -> Forest:
        """A copy whose `cover` is counted from events, for models that do not hold it.

        Args:
            data: Events, as for `Model.predict`.
            weight: One for each of them, not negative; None: 1.

        Raises:
            UsageError: Not one weight for each event, or a negative one.
        """
        return self.compile("numpy")._counted(data, weight)

    def importance(self, kind: Importance = "gain") -> dict[str, float]:
        """How much each feature matters, as XGBoost's ``get_score`` counts; 0 if never used.

        Args:
            kind: "weight": number of nodes that test it. "total_gain", "total_cover": sums over
                those nodes of the loss reduction, of the weight of the events; "gain", "cover":
                the same per node.

        Raises:
            UsageError: An unknown kind, or gains that the model's file does not hold.
        """
        check_choice("kind", kind, get_args(Importance))
        inner = self.feature >= 0
        used = self.feature[inner]
        counts = np.bincount(used, minlength=self.num_features).astype(np.float64)
        if kind == "weight":
            return dict(zip(self.names, counts.tolist(), strict=True))
        source = getattr(self, kind.removeprefix("total_"))
        if source is None:
            message = (
                f"importance({kind!r}): the model does not hold it; 'weight' is always available"
            )
            raise UsageError(message)
        sums = np.bincount(used, weights=source[inner], minlength=self.num_features)
        if not kind.startswith("total_"):
            sums = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
        return dict(zip(self.names, sums.tolist(), strict=True))

    # --- writing ---------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the forest as our own JSON (``*.forest.json``), which `rootml.bdt.load` reads.

        The file holds every field, and every float exactly.

        Raises:
            MissingFileError: The folder does not exist.
        """
        from rootml.bdt.writers._forest_json import write_forest_json

        check_target(path).write_text(write_forest_json(self), encoding="utf-8")

    def to_onnx(self, path: str | Path) -> None:
        """Write an ONNX model: input ``features``, outputs ``margin`` and ``prediction``.

        ONNX Runtime on one thread gives this library's own margins, bit for bit; on several it
        may add the trees in another order when rows are few. Predictions agree to a few ulp: the
        runtime has its own exp. Where NaN is an error for the library, the model lets it pass.

        Raises:
            MissingFileError: The folder does not exist.
            MissingPackageError: The package onnx is not installed.
            UnsupportedModelError: A link that ONNX has no operator for ("probit").
        """
        from rootml.bdt.writers._onnx import onnx_model

        check_target(path).write_bytes(onnx_model(self).SerializeToString())

    def to_cpp(self, path: str | Path, *, name: str | None = None) -> None:
        """Write a C++17 header with a struct `name` (from the name of the file, if left out).

        ``float operator()(const float*) const`` gives the prediction of one event (``double``
        where the library computes in float64), `margin` and `predict` write to an array, for one
        event or for many behind one another. Margins have the library's own bits; do not compile
        with ``-ffast-math``. Where NaN is an error for the library, the result is NaN.

        Raises:
            MissingFileError: The folder does not exist.
            UsageError: A `name` that C++ does not take.
            UnsupportedModelError: A forest of millions of nodes, or the link "probit".
        """
        from rootml.bdt.writers._cpp import class_name, cpp_header

        target = check_target(path)
        target.write_text(cpp_header(self, class_name(target, name)), encoding="utf-8")

    # --- repr ------------------------------------------------------------------------------------

    def _facts(self) -> list[tuple[str, str]]:
        library = " ".join(filter(None, (self.library, self.library_version)))
        facts = [
            ("trees", f"{self.num_trees:,} (depth {self.depth}, {self.num_nodes:,} nodes)"),
            ("features", f"{self.num_features}: {shorten(self.names)}"),
            ("outputs", f"{self.num_outputs}, {self.dtype}"),
            ("objective", f"{self.objective or 'unknown'} (link: {self.link})"),
            ("trained by", library),
            ("tests", f"x {self.comparison} threshold, {self.input_dtype}"),
        ]
        if self.has_categories:
            facts.append(("categories", f"{self.num_category_sets:,} sets"))
        if not math.isnan(self.missing):
            facts.append(("missing", str(self.missing)))
        if self.best_iteration is not None:
            facts.append(("best iteration", f"{self.best_iteration} of {self.num_iterations}"))
        return facts

    def __repr__(self) -> str:
        return "Forest\n" + facts_text([(f"  {name}", value) for name, value in self._facts()])

    def _html_title(self) -> str:
        return "rootml.bdt.Forest"

    def _html_parts(self) -> list[Facts]:
        return [self._facts()]


def _float_dtype(name: str, array: Any) -> np.dtype[Any]:
    dtype = np.asarray(array).dtype
    if dtype not in {np.dtype(np.float32), np.dtype(np.float64)}:
        message = f"{name} of a forest must be float32 or float64, it is {dtype}"
        raise ModelError(message)
    return dtype
