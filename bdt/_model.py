"""`Model`: a compiled forest, as users hold it."""

from __future__ import annotations

import functools
import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from rootml._internal.reprs import Facts, HtmlRepr, facts_text, shorten
from rootml._internal.validators import check_choice, check_whole, named_options
from rootml.bdt._dataset_scores import NamedScore, score_dataset
from rootml.bdt._forest import Forest
from rootml.bdt._inputs import Table, as_input
from rootml.bdt._threads import call_helpers
from rootml.bdt.engine.binding._numpy import NumpyEngine
from rootml.bdt.explain._explain import Explanations, What, with_cover
from rootml.dataset import Dataset
from rootml.errors import UsageError

EngineName = Literal["llvm", "numpy"]
Scores = Any
"""A NumPy array; for awkward lists an awkward array. Not a union: each caller would have
to check which of the two it is, although the input decides."""
_PIECE = 1 << 16
"""Rows that are scored at once: a multiple of the block of the kernels."""


class Engine(Protocol):
    """What scores."""

    name: str

    def margins(self, table: Table, out: NDArray[Any]) -> None:
        """Margins of all rows into `out`, C-contiguous, shape (rows, outputs)."""

    def predictions(self, margins: NDArray[Any]) -> NDArray[Any]:
        """From margins, shape (rows, outputs), which may be overwritten."""


class Model(HtmlRepr):
    """A forest made ready to score; made by `Forest.compile`. Safe to use from several threads.

    Inputs of `predict` and `predict_margin`:

    - NumPy array of shape (rows, features), of float32 or float64 and any strides: not copied;
    - list of columns, one array per feature; or a mapping from names to columns;
    - structured array, pandas DataFrame, Arrow table or record batch, awkward records: columns are
      found by the names of the features, further ones are not looked at. Nulls count as missing;
    - awkward lists of records (jets of events): one score per jet, in the same lists; columns that
      are one number per event are spread over the event's jets;
    - a `rootml` Dataset, read partition by partition: one score per selected event. If it is on a
      cluster (`Dataset.on`), each worker compiles the model for itself, and scores what it reads.

    Integers are cast to the float type in which the model compares, if no value changes, else that
    is an error. float64 is cast to float32 where the library itself does (XGBoost).

    Attributes:
        forest: What was compiled.
        engine: "llvm" or "numpy".
        threads: How many threads `predict` uses by default; 1 means the caller's only.

    >>> import numpy as np
    >>> stump = Forest(
    ...     tree_offset=[0, 3], feature=[0, -1, -1], threshold=np.float32([30, 0, 0]),
    ...     left=[1, -1, -1], right=[2, -1, -1], default_left=[True, False, False],
    ...     value=np.float32([[0], [-1], [1]]), tree_output=[0], base=np.float32([0.5]),
    ...     num_features=1, feature_names=("pt",),
    ... )
    >>> model = stump.compile()
    >>> model.predict({"pt": [20.0, 40.0, np.nan]})
    array([-0.5,  1.5, -0.5], dtype=float32)
    """

    def __init__(
        self,
        forest: Forest,
        *,
        engine: EngineName = "llvm",
        threads: int | None = None,
        isa: str | None = None,
    ) -> None:
        self.forest = forest
        self.engine: EngineName = engine
        self.threads: int = _check_threads(threads)
        self._isa = isa
        self._engine = _make_engine(forest, engine, isa)
        self._quick = getattr(self._engine, "score_few", None) if _is_plain(forest) else None
        make: Callable[[Forest], Engine] = functools.partial(_make_engine, engine=engine, isa=isa)
        self._explanations = Explanations(forest, make, compiled=engine == "llvm", isa=isa)

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to another process, it is compiled there, for the processor there."""
        options: Any = {"engine": self.engine, "threads": self.threads, "isa": self._isa}
        return functools.partial(compile_forest, **options), (self.forest,)

    # --- scores ----------------------------------------------------------------------------------

    def predict(self, data: Any, *, threads: int | None = None) -> Scores:
        """Predictions as the library that trained the model makes them.

        Args:
            data: See the class.
            threads: How many threads this call uses; None: as compiled. On a cluster this is the
                number for each task.

        Returns:
            float32 or float64 (the type of the library's sums), shape (rows,), or (rows, outputs)
            where the model has several; awkward lists for awkward lists.

        Raises:
            MissingColumnError, UsageError, SchemaError, UnsupportedTypeError, CastError: The
                input does not fit the model; the message names the column.
        """
        quick = self._quick if threads is None else None
        if quick is not None and (found := quick(data, True)) is not None:
            return found
        return self._scores(data, threads, margin=False)

    def predict_margin(self, data: Any, *, threads: int | None = None) -> Scores:
        """Sums of the leaves and the base, before the link; else as `predict`.

        Equal bit by bit to ``Booster.predict(DMatrix(x), output_margin=True)`` of XGBoost.
        """
        quick = self._quick if threads is None else None
        if quick is not None and (found := quick(data, False)) is not None:
            return found
        return self._scores(data, threads, margin=True)

    def _scores(self, data: Any, threads: int | None, *, margin: bool) -> Any:
        number = self.threads if threads is None else _check_threads(threads)
        if isinstance(data, Dataset):
            score = functools.partial(self._scores, threads=number, margin=margin)
            return score_dataset(data, score, self.forest.feature_names)
        given = as_input(data, self.forest)
        return given.restore(self._flat(given.table, number, margin=margin))

    def _flat(self, table: Table, threads: int, *, margin: bool) -> NDArray[Any]:
        """Scores of all rows, shape (rows,) or (rows, outputs)."""
        forest = self.forest
        if not forest.allow_nan:
            table.check_nan(forest.names)
        count = table.num_rows
        as_is = margin or forest.link == "identity"
        compiled: Any = self._engine if threads > 1 and self.engine == "llvm" else None
        if compiled is not None and compiled.can_share(link=not as_is):
            scores = np.empty((count, forest.num_outputs), forest.dtype)
            compiled.share(table, scores, threads=threads, link=not as_is)
            return scores[:, 0] if scores.shape[1] == 1 else scores
        margins = np.empty((0 if as_is else count, forest.num_outputs), forest.dtype)
        width = 1 if forest.link == "argmax" and not margin else forest.num_outputs
        scores = np.empty((count, width), forest.dtype)
        pieces = list(range(0, count, _PIECE if threads == 1 else _share(count, threads)))
        stops = [*pieces[1:], count][: len(pieces)]

        def run(start: int, stop: int) -> None:
            part = table if stop - start == count else table.rows(start, stop)
            if as_is:
                self._engine.margins(part, scores[start:stop])
                return
            self._engine.margins(part, margins[start:stop])
            scores[start:stop] = self._engine.predictions(margins[start:stop])

        if threads == 1 or len(pieces) <= 1:
            for start, stop in zip(pieces, stops, strict=True):
                run(start, stop)
        else:
            _in_threads(run, list(zip(pieces, stops, strict=True)), threads)
        return scores[:, 0] if width == 1 else scores

    # --- explanations ----------------------------------------------------------------------------

    def predict_leaf(self, data: Any, *, threads: int | None = None) -> Scores:
        """The leaf that each event reaches in each tree, by the library's number of it.

        That is the node's number in the tree for XGBoost and scikit-learn, the leaf's number for
        LightGBM.

        Args:
            data, threads: As for `predict`.

        Returns:
            int32, shape (rows, trees).
        """
        return self._explain(data, threads, "leaf")

    def predict_trees(self, data: Any, *, threads: int | None = None) -> Scores:
        """What each tree adds to the margin.

        Args:
            data, threads: As for `predict`.

        Returns:
            The type of the margins, shape (rows, trees); (rows, trees, outputs) where leaves hold
            vectors. Where the library averages, the mean over the trees is the margin.
        """
        return self._explain(data, threads, "trees")

    @named_options
    def contributions(
        self,
        data: Any,
        *,
        approximate: bool = False,
        interactions: bool = False,
        threads: int | None = None,
    ) -> Scores:
        """How much each feature moves the margin of each event (SHAP values).

        What is not known of an event is averaged over by the weights of the nodes, as TreeSHAP
        does (``pred_contribs`` of XGBoost, ``pred_contrib`` of LightGBM, the path-dependent
        TreeExplainer of shap).

        Args:
            data: As for `predict`.
            approximate: Follow the means of the nodes along the path instead (Saabas): quick to
                understand, but unfair to features that are tested far down.
            interactions: Share each contribution among pairs of features.
            threads: As for `predict`.

        Returns:
            float64, shape (rows, features + 1), or (rows, outputs, features + 1) where the model
            has several outputs. The last column is the bias, the margin that is expected before
            the event is known; the sum over a row is the margin. Interactions have features + 1
            twice, are symmetric, and sum to the contributions.

        Raises:
            MissingPackageError: llvmlite is not installed.
            UsageError: The model does not hold the weights of its nodes (ONNX, TMVA); see
                `Forest.with_cover`. Or `approximate` and `interactions` together.

        References:
            Lundberg et al., https://arxiv.org/abs/1802.03888
        """
        what: What = "approximate" if approximate else "contributions"
        if interactions:
            if approximate:
                message = "interactions=True and approximate=True: interactions are exact only"
                raise UsageError(message)
            what = "interactions"
        return self._explain(data, threads, what)

    def _explain(self, data: Any, threads: int | None, what: What) -> Any:
        number = self.threads if threads is None else _check_threads(threads)
        if isinstance(data, Dataset):
            explain = functools.partial(self._explain, threads=number, what=what)
            return score_dataset(data, explain, self.forest.feature_names)
        given = as_input(data, self.forest)
        if not self.forest.allow_nan:
            given.table.check_nan(self.forest.names)
        of = functools.partial(self._explanations.of, what)
        rows = given.table.num_rows
        share = _share(rows, number)
        if number == 1 or rows <= share:
            return given.restore(of(given.table))
        of(given.table.rows(0, 0))  # tables and kernels are made once, before the threads
        parts = [given.table.rows(a, min(a + share, rows)) for a in range(0, rows, share)]
        with ThreadPoolExecutor(min(number, len(parts))) as pool:
            found = list(pool.map(of, parts))
        return given.restore(np.concatenate(found))

    def _counted(self, data: Any, weight: Any) -> Forest:
        """See `Forest.with_cover`."""
        nodes = self._explanations.nodes(as_input(data, self.forest).table)
        if weight is not None:
            weight = np.asarray(weight, np.float64)
            if weight.shape != (len(nodes),) or not (weight >= 0).all():
                message = f"weight of the shape {weight.shape}; one >= 0 for each of {len(nodes)}"
                raise UsageError(message)
        return with_cover(self.forest, nodes, weight)

    # --- datasets --------------------------------------------------------------------------------

    @named_options
    def write_friend(
        self,
        data: Dataset,
        folder: str | os.PathLike[str],
        *,
        name: str = "score",
        margin: bool = False,
        contributions: bool = False,
        tree: str = "Friends",
        format: str | None = None,  # noqa: A002 - the word users know
        overwrite: bool = False,
        progress: bool | None = None,
        threads: int | None = None,
    ) -> list[str]:
        """Score the selected events of a dataset into friend trees beside its files.

        Partitions are read, scored and written one after the other, in threads of
        `Dataset.write_friend`, whose contract holds: all entries in their order, NaN and
        ``<name>_valid = false`` where the selection fails.

        Args:
            data: Its columns hold the features, by name.
            folder: Where the friends go.
            name: Of the score; with several outputs ``score_0``, ``score_1``, ...
            margin: Write margins instead of predictions.
            contributions: Write contributions to the margin as well (see `contributions`):
                ``<name>_from_<feature>``, and ``<name>_expected`` for the bias.
            tree, format, overwrite, progress, threads: As `Dataset.write_friend`.

        Returns:
            Paths of the files.
        """
        score = functools.partial(self._scores, threads=1, margin=margin)
        explain: Any = None
        if contributions:
            explain = functools.partial(self._explain, threads=1, what="contributions")
        return data.write_friend(
            folder, NamedScore(name, score, explain, self.forest.names), tree=tree,
            format=format, overwrite=overwrite, progress=progress, threads=threads,
        )  # fmt: skip

    # --- repr ------------------------------------------------------------------------------------

    @property
    def isa(self) -> str:
        """The instructions and the processor that were compiled for; "numpy" of that engine."""
        return str(getattr(self._engine, "target", "numpy"))

    def _facts(self) -> list[tuple[str, str]]:
        forest = self.forest
        return [
            ("trees", f"{forest.num_trees:,} (depth {forest.depth}, {forest.num_nodes:,} nodes)"),
            ("features", f"{forest.num_features}: {shorten(forest.names)}"),
            ("outputs", f"{forest.num_outputs}, {forest.dtype}"),
            ("objective", f"{forest.objective or 'unknown'} (link: {forest.link})"),
            ("engine", self.engine),
            ("ISA", self.isa),
            ("threads", str(self.threads)),
        ]

    def __repr__(self) -> str:
        return "Model\n" + facts_text([(f"  {name}", value) for name, value in self._facts()])

    def _html_title(self) -> str:
        return "rootml.bdt.Model"

    def _html_parts(self) -> list[Facts]:
        return [self._facts()]


def compile_forest(
    forest: Forest,
    *,
    engine: EngineName = "llvm",
    threads: int | None = None,
    isa: str | None = None,
) -> Model:
    """See `Forest.compile`."""
    return Model(forest, engine=engine, threads=threads, isa=isa)


def _make_engine(forest: Forest, engine: str, isa: str | None) -> Engine:
    check_choice("engine", engine, get_args(EngineName))
    if engine == "numpy":
        if isa is not None:
            message = f"isa={isa!r} is for engine='llvm'; NumPy chooses its own"
            raise UsageError(message)
        return NumpyEngine(forest)
    from rootml.bdt.engine.binding._host import require_llvm

    require_llvm()
    from rootml.bdt.engine.binding._llvm import LlvmEngine

    return LlvmEngine(forest if forest.num_trees else _with_a_leaf(forest), isa=isa)


def _with_a_leaf(forest: Forest) -> Forest:
    """For a forest without trees: one leaf of -0.0, which changes no bit of any sum."""
    return forest.replace(
        tree_offset=[0, 1], feature=[-1], left=[-1], right=[-1], category=[-1],
        default_left=[False], threshold=np.zeros(1, forest.input_dtype), tree_output=[0],
        value=np.full((1, forest.leaf_width), -0.0, forest.dtype), gain=None, cover=None,
    )  # fmt: skip


def _is_plain(forest: Forest) -> bool:
    """Whether scores are the sums of leaves on the base, with NaN as the only missing value."""
    return (
        forest.allow_nan and forest.base_first and forest.divisor == 1.0
        and math.isnan(forest.missing) and not forest.zero_missing.any()
    )  # fmt: skip


def _check_threads(threads: Any) -> int:
    return 1 if threads is None else check_whole("threads", threads, minimum=1)


def _in_threads(
    run: Callable[[int, int], None], pieces: Sequence[tuple[int, int]], threads: int
) -> None:
    """Run all pieces, the caller's thread among those that do; the others end with this call."""
    left = deque(pieces)

    def work(_: int) -> None:
        while True:
            try:
                piece = left.popleft()
            except IndexError:
                return
            run(*piece)

    finish = call_helpers(work, min(threads, len(pieces)) - 1)
    try:
        work(0)
    finally:
        finish()


def _share(count: int, threads: int) -> int:
    """Rows of one thread's piece: whole blocks, several pieces per thread."""
    even = -(-count // threads)
    return max(512, min(_PIECE, -(-even // 512) * 512))
