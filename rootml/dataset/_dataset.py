"""`Dataset`: which events of which files, and which columns of them; lazy and immutable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from rootml._internal.buffers import Allocate
from rootml._internal.event_hash import check_by
from rootml._internal.reprs import HtmlRepr, Part, shorten
from rootml._internal.validators import check_whole, named_options
from rootml.dataset._cutflow import Cutflow
from rootml.dataset._dependencies import Dependencies, dependencies
from rootml.dataset._describe import Description, describe, sample_facts
from rootml.dataset._identity import dataset_fingerprint, selection_key
from rootml.dataset._reader import EventBlock, Reader
from rootml.dataset._sample import (
    Define,
    Filter,
    Number,
    Sample,
    among_friends,
    check_dialect,
    check_entry_range,
    check_fit,
    check_named,
    check_normalisation,
    check_value,
    checked_text,
    extended,
    parse_selection,
    translated,
)
from rootml.dataset._scan_cache import ScanCache
from rootml.dataset._selection import SelectionIndex
from rootml.dataset._splits import Split, check_seed, fold_sides, split_sides
from rootml.dataset._tasks import MapTask, ReadTask
from rootml.errors import ExpressionError, StateError, UsageError, nearest
from rootml.execution import Executor, map_tasks
from rootml.expressions import Dialect, parse
from rootml.files import (
    FriendPaths,
    MatchedFriends,
    Unmatched,
    match_friends,
    matched_friends,
)
from rootml.partitions import DEFAULT_BYTES, Partition
from rootml.storage import ColumnType

if TYPE_CHECKING:
    import awkward as ak
    import hist
    import pandas as pd
    import pyarrow as pa
    from dask_awkward.lib.core import Array as DaskArray

    from rootml.batching import Batch, BatchLoader, Padded, Ragged, Resample

R = TypeVar("R")


class Dataset(HtmlRepr):
    """Selected events of one or several samples, with the columns to read of them.

    Made by `rootml.open`; every method returns a new dataset and reads nothing, unless it says so.
    A dataset can be pickled (without the client of `on`) and used from several threads.

    Attributes:
        samples: Files with their label, weight, cuts and definitions.

    >>> import pyarrow as pa, pyarrow.parquet, rootml
    >>> events = pa.table({"id": [1, 2, 3, 4], "pt": [10.0, 60.0, 35.0, 80.0]})
    >>> pa.parquet.write_table(events, "events.parquet")
    >>> data = rootml.open("events.parquet", label=1).filter("pt > 30")
    >>> data.select(["pt", "twice = 2 * pt"]).to_awkward().tolist()[0]
    {'pt': 60.0, 'twice': 120.0}
    """

    samples: tuple[Sample, ...]

    def __init__(
        self, samples: Sequence[Sample], *, _scan_cache: ScanCache | None = None,
        _executor: Executor | None = None,
    ) -> None:  # fmt: skip
        self.samples = tuple(samples)
        self._reader = Reader(self.samples, executor=_executor)
        self._scan_cache = ScanCache() if _scan_cache is None else _scan_cache

    def _with(self, change: Callable[[Sample], Sample], *, same_events: bool = False) -> Dataset:
        """The dataset with every sample changed; `same_events` keeps what a scan has found."""
        return Dataset(
            [change(sample) for sample in self.samples],
            _scan_cache=self._scan_cache if same_events else None,
            _executor=self._reader.executor,
        )

    # --- which events -------------------------------------------------------------------------

    @named_options
    def filter(
        self, cut: str, *, name: str | None = None, dialect: Dialect | None = None
    ) -> Dataset:
        """Keep the events that pass `cut`, an expression in ROOT's spelling or Python's.

        An event whose cut is unknown, because it lacks an element (``Jet_pt[0]``), fails.

        Args:
            name: What the cutflow calls it; default: its text.
            dialect: ``"draw"`` for a cut that was written for ``TTree::Draw``: x/0 is 0, sqrt(-4)
                is 2, and an event passes if one element of a list does. ``"rootml"``: everything
                else. None: as given to `rootml.open`.

        Raises:
            ExpressionError: It cannot be parsed. Columns are looked up at the first reading.
        """
        cut = checked_text(cut, "a cut is the text of an expression")
        chosen = self._dialect if dialect is None else check_dialect(dialect)
        name = cut if name is None else name
        cut = translated(cut, chosen, cut=True)
        self._check_syntax(cut)

        def change(sample: Sample) -> Sample:
            return replace(sample, cuts=(*sample.cuts, Filter(name, cut, sample.level)))

        return self._with(change)

    @property
    def _dialect(self) -> Dialect:
        return self.samples[0].dialect

    def _check_syntax(self, text: str) -> None:
        """Say now what cannot be parsed; a column may have any name, so look before refusing."""
        try:
            parse(text)
        except ExpressionError:
            for number in range(len(self.samples)):
                self._reader.resolved_sample(number).resolve(text)

    @named_options
    def split(
        self,
        *,
        test: float,
        validation: float | None = None,
        by: str | Sequence[str] | None = None,
        seed: int = 0,
    ) -> tuple[Dataset, ...]:
        """Divide the events at random into ``(train, test)`` or ``(train, validation, test)``.

        The side of an event is a hash of `by` (see `rootml.dataset._splits`), so it is the same
        in every skim, file order and run, and whatever else is cut. The test side does not
        depend on `validation`. A split of a split is independent of the first.

        Args:
            test, validation: Fractions of the events.
            by: Columns or expressions that identify an event, integers or strings, e.g.
                ``["run", "luminosityBlock", "event"]``. None: the name of the file and the entry
                in it, which is **not** stable under skimming.
            seed: Another seed is another division.

        Raises:
            UsageError: Fractions that leave nothing to train on.
        """
        return tuple(
            self._side(side)
            for side in split_sides(test, validation, by=check_by(by), seed=check_seed(seed))
        )

    @named_options
    def folds(
        self, n: int, *, by: str | Sequence[str] | None = None, seed: int = 0
    ) -> list[tuple[Dataset, Dataset]]:
        """`n` pairs ``(train, test)``: each event is in exactly one test side; as `split`.

        Raises:
            UsageError: Fewer than two folds.
        """
        return [
            (self._side(train), self._side(test))
            for train, test in fold_sides(n, by=check_by(by), seed=check_seed(seed))
        ]

    def _side(self, side: Split) -> Dataset:
        def change(sample: Sample) -> Sample:
            before = sum(isinstance(cut, Split) for cut in sample.cuts)
            return replace(sample, cuts=(*sample.cuts, side.after(before)))

        return self._with(change)

    @named_options
    def with_entry_range(self, start: int | None, stop: int | None) -> Dataset:
        """Entries ``[start, stop)`` of each sample, counted over its files; as in `rootml.open`.

        Raises:
            UsageError: Not 0 <= start <= stop.
        """
        entry_range = check_entry_range((start, stop))
        return self._with(lambda sample: replace(sample, entry_range=entry_range))

    def __radd__(self, other: Any) -> Dataset:
        """So that ``sum([a, b, c])`` unites datasets: it begins with 0."""
        if isinstance(other, int) and other == 0:
            return self
        return NotImplemented

    def __add__(self, other: Dataset) -> Dataset:
        """The events of both, those of `self` first.

        Raises:
            SchemaError: Different columns are selected, or only one side has labels.
        """
        if not isinstance(other, Dataset):
            return NotImplemented
        check_fit(self.samples[0], other.samples[0])
        order = self.samples[0].outputs
        return Dataset(
            [*self.samples, *(replace(sample, outputs=order) for sample in other.samples)],
            _executor=self._reader.executor or other._reader.executor,
        )

    # --- which columns ------------------------------------------------------------------------

    def define(
        self,
        definitions: Mapping[str, str | Number] | None = None,
        /,
        *,
        missing: Number | None = None,
        **more: str | Number,
    ) -> Dataset:
        """Add derived columns: ``define(HT="Sum$(Jet_pt)")``, or as a dict for any name.

        Args:
            missing: What events get that lack an element. None: an error, once such an event gets
                as far as an output, a label or a weight; in a cut it makes the cut unknown.

        Raises:
            UsageError: A name that is defined already. That of a column is refused at reading.
            ExpressionError: A text that cannot be parsed.
        """
        return self._define(self._definitions({**(definitions or {}), **more}, missing))

    def redefine(
        self,
        definitions: Mapping[str, str | Number] | None = None,
        /,
        *,
        missing: Number | None = None,
        **more: str | Number,
    ) -> Dataset:
        """Replace columns, as RDataFrame's ``Redefine``: ``redefine(Jet_pt="1.02 * Jet_pt")``.

        In the new text the name means what it was before. Cuts, definitions, label and weight
        that were given before keep the old values; those given later, and the selected columns,
        have the new ones.

        Args:
            definitions: Names of columns of the files or of definitions, and their new texts.
            missing: As in `define`.

        Raises:
            UsageError: Nothing to redefine. At reading: no such column, or one that tells the
                events of a split apart.
            ExpressionError: A text that cannot be parsed.

        >>> import pyarrow as pa, pyarrow.parquet, rootml
        >>> pa.parquet.write_table(pa.table({"pt": [10.0, 60.0, 35.0]}), "events.parquet")
        >>> data = rootml.open("events.parquet").filter("pt > 30").redefine(pt="pt / 2")
        >>> data.filter("pt < 20").to_awkward().tolist()
        [{'pt': 17.5}]
        """
        new = self._definitions({**(definitions or {}), **more}, missing)
        return self._define([replace(each, replaces=True) for each in new])

    def _definitions(
        self, texts: Mapping[str, str | Number], missing: Number | None
    ) -> list[Define]:
        if not texts:
            message = "nothing to define: give name='expression'"
            raise UsageError(message)
        for name, text in texts.items():
            if not isinstance(text, (Real, np.bool_)):
                checked_text(text, f"{name}= takes the text of an expression")
        return [
            Define(name, translated(str(text).strip(), self._dialect), missing)
            for name, text in texts.items()
        ]

    def _define(self, new: Sequence[Define]) -> Dataset:
        for define in new:
            self._check_syntax(define.text)

        def change(sample: Sample) -> Sample:
            mine = [replace(each, level=sample.level) for each in new]
            return replace(sample, definitions=extended(sample, mine))

        return self._with(change, same_events=True)

    def select(self, columns: str | Iterable[str] | None = None, /, **more: str) -> Dataset:
        """Choose the columns to read, in this order: names, expressions, ``"alias = expression"``.

        Args:
            columns: A text that is exactly the name of a column is that column.
            more: Further ones as ``alias="expression"``.

        Raises:
            UsageError: Nothing, or a name twice.
        """
        new, outputs = parse_selection(columns, more)
        if self._dialect == "draw":
            new = [replace(each, text=translated(each.text, "draw")) for each in new]
            check_named(outputs)
        defined = self._define(new) if new else self
        return defined._with(lambda sample: replace(sample, outputs=outputs), same_events=True)

    @named_options
    def vary(self, name: str, *, suffix: str | None = None, tree: str | None = None) -> Dataset:
        """A systematic variation: other branches, or another tree of the same files.

        Args:
            name: What it is called, e.g. ``"jesUp"``.
            suffix: Every column X that is used (in cuts, definitions, outputs, label, weight) is
                replaced by ``X + suffix`` where there is one; outputs keep their names, and
                `sum_of_weights` stays nominal: varied weights over the nominal sum.
            tree: The tree with the varied events, over which ``sum_of_weights="weight"`` sums.

        Raises:
            MissingColumnError: No column that is used has such a variation.
            UsageError: Neither or both of `suffix` and `tree`.
        """
        if (suffix is None) == (tree is None) or not (suffix or tree):
            message = f"vary({name!r}): give suffix= (branches) or tree= (another tree)"
            raise UsageError(message)

        def change(sample: Sample) -> Sample:
            title = f"{sample.title} [{name}]"
            if tree is not None:
                return replace(sample, title=title, files=sample.files.with_tree(tree))
            return replace(sample, title=title, suffixes=(*sample.suffixes, str(suffix)))

        varied = self._with(change)
        if suffix is not None:
            varied._reader.resolved_samples()
        return varied

    @named_options
    def with_label(self, label: Number | str | None) -> Dataset:
        """The same events with another label: a number, a column or an expression; None: none."""
        checked = translated(check_value(label, "label"), self._dialect)
        return self._with(lambda sample: replace(sample, label=checked, label_level=sample.level))

    @named_options
    def with_weight(
        self,
        weight: Number | str | None,
        *,
        cross_section: float | None = None,
        luminosity: float | None = None,
        sum_of_weights: float | str | None = None,
    ) -> Dataset:
        """The same events with another weight and normalisation, as `rootml.open` takes them."""
        checked = translated(check_value(weight, "weight"), self._dialect)
        normalisation = check_normalisation(cross_section, luminosity, sum_of_weights)
        return self._with(
            lambda sample: replace(
                sample, weight=checked, normalisation=normalisation, weight_level=sample.level
            )
        )

    # --- what it is ---------------------------------------------------------------------------

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns; without `select` all that can be read and all samples have."""
        return self._reader.columns

    def types(self) -> dict[str, ColumnType]:
        """The types of the columns; opens the first file of each sample.

        Raises:
            SchemaError: Samples whose columns do not fit together.
            MissingColumnError, ExpressionError, UnsupportedTypeError: A column that is not there,
                or cannot be computed or read.
        """
        return self._reader.types()

    @property
    def has_selection(self) -> bool:
        """Whether there is any cut, split or fold."""
        return any(sample.cuts for sample in self.samples)

    @property
    def has_label(self) -> bool:
        """Whether the samples have labels."""
        return all(sample.label is not None for sample in self.samples)

    @property
    def has_weight(self) -> bool:
        """Whether any sample has a weight or a normalisation; those without weigh 1."""
        return any(sample.weighted for sample in self.samples)

    @property
    def reserved(self) -> frozenset[str]:
        """Selected columns that are nothing but a label or a weight: no inputs for a training."""
        all_resolved = self._reader.resolved_samples()
        return frozenset(
            name
            for resolved in all_resolved
            for name, expression in resolved.outputs.items()
            if expression in {resolved.label, resolved.weight}
        )

    @property
    def fingerprint(self) -> str:
        """Identity of files, selection, label, weight and columns; opens all files.

        Copies of the same files in another folder have the same.
        """
        return dataset_fingerprint(self._reader)

    def verify(self) -> None:
        """See that the files that were opened are the same as then; one `stat` per local file.

        Raises:
            ChangedFileError: One was written since.
            MissingFileError: One is gone.
        """
        for sample in self.samples:
            sample.files.verify()

    def close(self) -> None:
        """Forget open tables; they are opened again when something is read."""
        for sample in self.samples:
            sample.files.close()

    def dependencies(self) -> list[Dependencies]:
        """For each sample the columns of its files, and those behind its cuts, label and weight.

        Opens the first file of each sample.

        Raises:
            MissingColumnError, ExpressionError: As `types`.
        """
        return [dependencies(resolved) for resolved in self._reader.resolved_samples()]

    # --- where work runs ---------------------------------------------------------------------

    @property
    def executor(self) -> Executor | None:
        """The cluster of `on`; None: work runs in threads of this process."""
        return self._reader.executor

    def on(self, client: Any) -> Dataset:
        """The same events; passes over them are made on a Dask cluster instead of in threads here.

        That goes for ``scan``, ``cutflow``, ``describe``, ``to_awkward``, ``to_arrow``, ``skim``,
        ``write_friend`` (with a function) and ``batches``, for scores of forests and for morphing,
        and for datasets made from this one.
        Results are the same, bit for bit and in the same order, whatever the number of workers.

        Work is sent as plain futures over ranges of entries, about two per thread of the cluster
        at a time. A partition that fails is tried three times in all, one whose worker dies as
        often as Dask is configured to (``distributed.scheduler.allowed-failures``); then there is
        one error with the file and the range of entries; `skim` and `write_friend`, called again,
        go on with the files that are not finished. Workers need the same packages, and see
        the same paths; `skim` of several files is written by the workers, one file each.

        Args:
            client: A `distributed.Client`; None: in threads here again.

        Raises:
            UsageError: Something else, or an asynchronous client.
            MissingPackageError: Dask is not installed.
            ClusterError: From reading: a cluster that is gone, or fails again and again.

        On the cores of this machine::

            from distributed import Client, LocalCluster

            with LocalCluster(n_workers=4, threads_per_worker=2) as cluster, Client(cluster) as c:
                paths = data.on(c).skim("skims/")

        Dask's nanny tells glibc to give memory back to the system at once
        (``MALLOC_TRIM_THRESHOLD_=65536``), which then zeroes each page again: a scan takes three
        times as long. Where that is so, work of ours lets the worker process keep up to 128 MB; a
        value of your own in ``distributed.nanny.pre-spawn-environ`` stays.

        On a batch system (``pip install dask-jobqueue``; at CERN ``dask-lxplus``)::

            from dask_jobqueue import HTCondorCluster

            cluster = HTCondorCluster(cores=1, memory="2 GB", disk="1 GB")
            cluster.scale(200)
            loader = data.on(cluster.get_client()).batches(1024, shuffle=True)

        On Kubernetes (``pip install dask-kubernetes``), with an image that has rootml::

            from dask_kubernetes.operator import KubeCluster

            cluster = KubeCluster(name="skims", image="registry.example.org/me/rootml:latest")
            cluster.adapt(minimum=1, maximum=50)
            table = data.on(cluster.get_client()).to_arrow()
        """
        from rootml.execution._dask import DaskExecutor

        executor = None if client is None else DaskExecutor(client)
        return Dataset(self.samples, _scan_cache=self._scan_cache, _executor=executor)

    # --- reading ------------------------------------------------------------------------------

    def partitions(self, target_bytes: int | None = None) -> tuple[Partition, ...]:
        """Ranges of entries to read at one go, in the order of samples, files and entries.

        They begin and end at cluster boundaries and take about `target_bytes` (default 16 MB)
        decoded; a single larger cluster stays whole. They depend on the data and on `target_bytes`
        alone. Opens all files.

        Raises:
            MissingFileError, MissingTreeError, CorruptFileError: A file that cannot be opened.
            UsageError: An entry range beyond the end.
        """
        return self._reader.partitions(DEFAULT_BYTES if target_bytes is None else target_bytes)

    @named_options
    def scan(
        self,
        *,
        target_bytes: int | None = None,
        saved: str | os.PathLike[str] | None = None,
        progress: bool | None = None,
        threads: int | None = None,
    ) -> SelectionIndex:
        """Find out which events are selected; remembered by this dataset and those made from it.

        One pass over the columns of cuts, splits, label and weight; without any cut nothing is
        read.

        Args:
            target_bytes: For the partitions of the index, as in `partitions`.
            saved: A file to take the index from, or to write it to if there is none yet.
            progress: Show a bar; None: on a terminal.
            threads: None: one per core.

        Raises:
            ChangedFileError: A file was written since it was opened, or since the index was saved.
            StateError: The saved index belongs to other data.
        """
        return self._scan_cache.index(
            self._reader, target_bytes, saved=saved, progress=progress, threads=threads
        )

    def read(
        self,
        partition: Partition,
        columns: Sequence[str] | None = None,
        *,
        index: SelectionIndex | None = None,
        label: bool = False,
        weight: bool = False,
        ids: bool = False,
        allocate: Allocate = np.empty,
    ) -> EventBlock:
        """Read the selected events of a partition.

        Args:
            columns: Names of columns of this dataset; None: all of them.
            index: Which events are selected, from `scan`; without it the cuts are evaluated.
            label, weight: Whether to give them too.
            ids: Whether to give the entry numbers.
            allocate: Makes the arrays that selected rows are copied to.

        Raises:
            StateError: `index` belongs to another selection.
            MissingElementError: A selected event lacks an element of a column.
            ChangedFileError, CorruptFileError: As `rootml.storage.Table.read`.
        """
        mask = None
        if index is not None:
            self._check_index(index)
            mask = index.mask_of(partition)
        return self._reader.block(
            partition,
            columns,
            mask=mask,
            select=index is None,
            label=label,
            weight=weight,
            ids=ids,
            allocate=allocate,
        )

    def read_task(
        self,
        columns: Sequence[str] | None = None,
        *,
        label: bool = False,
        weight: bool = False,
        ids: bool = False,
    ) -> ReadTask:
        """What reads the selected events of one partition after another, here or on a cluster.

        Most programs want `map_partitions`. This is for those that choose the partitions
        themselves: called with a `SelectedPartition` (from `SelectionIndex.select`) it gives an
        `EventBlock`. It can be pickled; sent once, it serves all partitions.

        Args:
            columns, label, weight, ids: As `read`.
        """
        if weight:
            self._reader.find_scales()
        names = None if columns is None else tuple(columns)
        return ReadTask(self._reader, names, label, weight, ids)

    def file_partitions(self, sample: int, file: int) -> list[Partition]:
        """All entries of one file, selected or not, in ranges that are cheap to read at one go.

        Args:
            sample: Number of the sample in `samples`.
            file: Number of the file in the sample.
        """
        return self._reader.file_partitions(sample, file)

    @named_options
    def map_partitions(
        self,
        function: Callable[[EventBlock], R],
        *,
        columns: Sequence[str] | None = None,
        label: bool = False,
        weight: bool = False,
        ids: bool = False,
        progress: bool | None = None,
        threads: int | None = None,
        what: str = "reading",
    ) -> Iterator[R]:
        """Call a function with the selected events of one partition after another.

        Calls run side by side, in threads of this process or on the cluster of `on`. Results come
        in the order of the dataset, the same whatever the number of workers. Partitions without a
        selected event are left out; the data are scanned first, if they have not been yet. Memory
        holds a few partitions and the results that were not taken yet.

        Args:
            function: Gets an `EventBlock` and returns what is wanted of it, best something small.
                For a cluster it must be picklable, as must its results.
            columns: Names of selected columns; None: all of them.
            label, weight: Whether blocks have them.
            ids: Whether blocks have the entry numbers.
            progress: Show a bar; None: on a terminal.
            threads: None: one per core, 16 for files on a server.
            what: Name of the bar.

        Raises:
            MissingColumnError: One of `columns` is not selected.
            MissingElementError: A selected event lacks an element of a column.
            RootmlError: Whatever `function` raises of ours, with the partition in front.

        A histogram without ever having all events in memory:

        >>> import numpy as np, pyarrow as pa, pyarrow.parquet, rootml
        >>> events = pa.table({"pt": [10.0, 60.0, 35.0, 80.0], "w": [1.0, 0.5, 2.0, 1.0]})
        >>> pa.parquet.write_table(events, "events.parquet")
        >>> data = rootml.open("events.parquet", weight="w").filter("pt > 20")
        >>> def fill(block):
        ...     return np.histogram(block.columns["pt"], [0, 50, 100], weights=block.weight)[0]
        >>> sum(data.map_partitions(fill, columns=["pt"], weight=True)).tolist()
        [2.0, 1.5]

        On a cluster the same, from ``data.on(client).map_partitions(fill, ...)``.
        """
        index = self.scan(progress=progress, threads=threads)
        task = MapTask(self.read_task(columns, label=label, weight=weight, ids=ids), function)
        return map_tasks(
            task,
            index.selected(),
            threads=threads,
            progress=progress,
            what=what,
            executor=self.executor,
        )

    def _check_index(self, index: SelectionIndex) -> None:
        if not self._scan_cache.owns(index) and index.key != selection_key(self._reader):
            message = f"{self}: the index belongs to another selection, {index}"
            raise StateError(message)

    @named_options
    def to_awkward(
        self,
        *,
        label: bool = False,
        weight: bool = False,
        progress: bool | None = None,
        threads: int | None = None,
    ) -> ak.Array:
        """All selected events in memory: one record per event, its fields are the columns.

        Args:
            label, weight: Add them, as fields of these names.
            progress: Show a bar; None: on a terminal.
            threads: None: one per core.

        Raises:
            MissingElementError: A selected event lacks an element of a column.
            UsageError: A column is called "label" or "weight" already, or events have no label.
        """
        from rootml.dataset._memory import to_awkward

        return to_awkward(self._blocks(progress, threads, label=label, weight=weight))

    @named_options
    def to_pandas(
        self,
        *,
        label: bool = False,
        weight: bool = False,
        progress: bool | None = None,
        threads: int | None = None,
    ) -> pd.DataFrame:
        """All selected events as a `pandas.DataFrame`: one row per event, in their own dtypes.

        Args:
            label, weight, progress, threads: As `to_awkward`.

        Raises:
            UnsupportedTypeError: A column of lists or arrays: a data frame has one value per row.
            MissingPackageError: pandas is not installed.
        """
        from rootml.dataset._memory import check_flat, to_pandas

        check_flat(self.types(), str(self))
        return to_pandas(self._blocks(progress, threads, label=label, weight=weight))

    def head(self, n: int = 5) -> ak.Array:
        """The first `n` selected events, as `to_awkward`; reads no more than it needs.

        >>> import pyarrow as pa, pyarrow.parquet, rootml
        >>> pa.parquet.write_table(pa.table({"pt": [10.0, 60.0, 35.0]}), "events.parquet")
        >>> rootml.open("events.parquet").filter("pt > 20").head(1).tolist()
        [{'pt': 60.0}]
        """
        from rootml.dataset._memory import to_awkward

        left = check_whole("n", n, minimum=0)
        blocks = [self._reader.empty_block()]
        for partition in self.partitions():
            if left <= 0:
                break
            blocks.append(self._reader.block(partition))
            left -= blocks[-1].num_rows
        return to_awkward(blocks)[:n]

    def _blocks(
        self,
        progress: bool | None,
        threads: int | None,
        *,
        label: bool = False,
        weight: bool = False,
    ) -> list[EventBlock]:
        """All selected events; one block without rows if there are none."""
        blocks = self.map_partitions(
            _itself, label=label, weight=weight, progress=progress, threads=threads
        )
        return list(blocks) or [self._reader.empty_block(label=label, weight=weight)]

    @named_options
    def to_arrow(self, *, progress: bool | None = None, threads: int | None = None) -> pa.Table:
        """All selected events as a `pyarrow.Table`, one chunk per partition.

        Raises:
            MissingElementError: A selected event lacks an element of a column.
            UnsupportedTypeError: A column that Arrow does not know.
        """
        from rootml.dataset._memory import to_arrow

        return to_arrow(self._blocks(progress, threads))

    def to_dask(self) -> DaskArray:
        """The selected events as a lazy dask-awkward array: as `to_awkward`, by partitions.

        Cuts are evaluated when a partition is computed; nothing is scanned or read now, but the
        files are opened. All selected columns are read, so `select` what is needed before.

        Raises:
            MissingPackageError: Dask or dask-awkward is not installed.
        """
        from rootml.dataset._to_dask import to_dask

        return to_dask(self._reader)

    @named_options
    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        inputs: Sequence[str] | Mapping[str, Sequence[str] | Padded | Ragged] | None = None,
        targets: str | Sequence[str] | Padded | Ragged | None = None,
        observers: Sequence[str] | Mapping[str, str | Padded | Ragged] | None = None,
        weights: bool | None = None,
        dtype: Any = "float32",
        balance: Literal["weights", "resample"] | Resample | None = None,
        buffer_bytes: int | str = "1 GB",
        unit_bytes: int | str = "16 MB",
        cache: str | os.PathLike[str] | None = None,
        nonfinite: Literal["error", "keep"] | float = "error",
        threads: int | None = None,
        progress: bool | None = None,
        transform: Callable[[Batch, np.random.Generator], Batch] | None = None,
        stall_seconds: float | None = 60.0,
    ) -> BatchLoader:
        """Batches for a training loop, each selected event once per epoch.

        A batch is ``x``, ``(x, y)`` or ``(x, y, w)``; with `observers` it ends in a dict. This is
        ``rootml.batching.BatchLoader(self, batch_size, ...)``, which says more on each argument.

        Args:
            batch_size: Rows per batch; a short last batch has fewer.
            shuffle: Mix the rows over the whole dataset; else they come in its order.
            seed: Of the order and of resampling.
            drop_last: Leave out a short last batch.
            inputs: Columns of ``x`` (None: all that are neither target nor observer), or a dict of
                named inputs: lists of columns, `Padded` or `Ragged`.
            targets: Columns of ``y`` instead of the label.
            observers: Columns carried beside in their own dtype.
            weights: Whether there is a ``w``; None: if there is a label or target.
            dtype: Of ``x``: "float32", "float64", "float16" or "bfloat16".
            balance: ``"weights"`` or ``"resample"`` (or a `Resample`): classes of equal weight, or
                of equal numbers of rows.
            buffer_bytes: Memory for decoded rows, over all workers of a rank.
            unit_bytes: Decoded size of what is read at one go.
            cache: A folder for shuffling on disk what does not fit into memory.
            nonfinite: What NaN and infinity in an input do: ``"error"``, ``"keep"``, or a number
                that replaces them.
            threads: Decoding threads; None: the cores, at most 4.
            progress: Show a bar on long first passes; None: on a terminal.
            transform: A function of each batch and a random generator of its own.
            stall_seconds: Log where the loader waits if no batch comes for so long; None: never.

        Raises:
            UsageError: Options that make no sense, contradict each other, or are misspelt.
            MissingColumnError: A name that is not a column; the message lists the nearest.
            UnsupportedTypeError: A column that cannot be used as asked.
        """
        from rootml.batching import BatchLoader

        return BatchLoader(
            self,
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
            inputs=inputs,
            targets=targets,
            observers=observers,
            weights=weights,
            dtype=dtype,
            balance=balance,
            buffer_bytes=buffer_bytes,
            unit_bytes=unit_bytes,
            cache=cache,
            nonfinite=nonfinite,
            threads=threads,
            progress=progress,
            transform=transform,
            stall_seconds=stall_seconds,
        )

    # --- writing ------------------------------------------------------------------------------

    @named_options
    def write_friend(
        self,
        folder: str | os.PathLike[str],
        values: Any,
        *,
        tree: str = "Friends",
        format: str | None = None,  # noqa: A002 - the word users know
        overwrite: bool = False,
        progress: bool | None = None,
        threads: int | None = None,
    ) -> list[str]:
        """Write values of the selected events beside them, as friend trees: one file per input.

        A friend has all entries of its input in their order. Where nothing is selected, floats are
        NaN, integers 0, lists empty, and ``<name>_valid`` is false. Read it back with
        ``rootml.open(files, friends="folder/*.root")``, or ROOT's ``AddFriend``.

        Args:
            folder: Made if need be. Files are named as the inputs.
            values: ``{name: array}``, one value (a number, a fixed array or a list of numbers) per
                selected event in the order of the dataset, which is that of ``batches()`` without
                shuffling; or an iterable of such, batch after batch; or a function of the selected
                columns ``{name: column}`` that gives such, called in threads, one partition at a
                time; or several ``(dataset, values)``, whose events together are those of this
                dataset: scores out of fold, from ``folds()``.
            tree: Name of the friend tree.
            format: "root" (TTree), "rntuple", "parquet", "arrow"; None: ROOT, or as the inputs.

        Returns:
            Paths of the files, in the order of the inputs.

        Raises:
            UsageError: Too many or too few values, or a file that is there already.
            SchemaError: An event with several values or none, or values of several types.
            UnsupportedTypeError: Values that are not numbers.

        >>> import pyarrow as pa, pyarrow.parquet, rootml
        >>> pa.parquet.write_table(pa.table({"pt": [10.0, 60.0, 35.0]}), "in.parquet")
        >>> data = rootml.open("in.parquet").filter("pt > 30")
        >>> data.write_friend("friends", {"score": [0.75, 0.5]})
        ['friends/in.parquet']
        >>> rootml.open("friends/in.parquet").to_awkward().tolist()[:2]
        [{'score': nan, 'score_valid': False}, {'score': 0.75, 'score_valid': True}]
        """
        from rootml.output._friend_writer import write_friend

        return write_friend(
            self,
            folder,
            values,
            tree=tree,
            format=format,
            overwrite=overwrite,
            progress=progress,
            threads=threads,
        )

    @named_options
    def with_friends(
        self,
        paths: FriendPaths,
        *,
        by: str | Sequence[str] | None = None,
        unmatched: Unmatched = "error",
    ) -> Dataset:
        """The same events with the columns of friend trees beside their own.

        With `by`, the first use of a friend's column makes a pass over the ids of all friends; 16
        bytes per event are kept, in a temporary file if there are more than four million. Each
        partition then reads the clusters of the friends in which its events are, so friends in
        about the order of the files are read once.

        Args:
            paths: Files as `rootml.open` takes them as ``friends=``: what `write_friend` gave, or
                ``{alias: paths}``. Each input needs its friend, unless `by` is given.
            by, unmatched: As in `rootml.open`.

        Raises:
            UsageError: An input without friend, or paths that cannot be assigned.
            MissingFileError: No such file.
            SchemaError: With `by`, at reading: an event that is twice among the friends, or, with
                ``unmatched="error"``, one that is not.

        >>> import pyarrow as pa, pyarrow.parquet, rootml
        >>> pa.parquet.write_table(pa.table({"pt": [10.0, 60.0]}), "in.parquet")
        >>> data = rootml.open("in.parquet")
        >>> paths = data.write_friend("scores", {"score": [0.25, 0.5]})
        >>> data.with_friends(paths).select(["pt", "score"]).to_awkward().tolist()[1]
        {'pt': 60.0, 'score': 0.5}
        >>> other = pa.table({"event": [8, 7], "tau": [0.5, 0.25]})
        >>> pa.parquet.write_table(other, "other.parquet")
        >>> pa.parquet.write_table(pa.table({"event": [7, 8, 9]}), "events.parquet")
        >>> data = rootml.open("events.parquet")
        >>> data = data.with_friends("other.parquet", by="event", unmatched="drop")
        >>> data.select(["event", "tau"]).to_awkward().tolist()
        [{'event': 7, 'tau': 0.25}, {'event': 8, 'tau': 0.5}]
        """
        specs = [spec for sample in self.samples for spec in sample.files.specs]
        files = list(dict.fromkeys(spec.path for spec in specs))
        if by is not None or unmatched != "error":
            return self._with_matched(matched_friends(files, paths, by, unmatched))
        links = dict(zip(files, match_friends(files, paths), strict=True))
        return self._with(lambda sample: replace(sample, files=sample.files.with_friends(links)))

    def _with_matched(self, friends: Sequence[MatchedFriends]) -> Dataset:
        def change(sample: Sample) -> Sample:
            dropped = [each for each in friends if each.unmatched == "drop"]
            cuts = [among_friends(each, sample.level) for each in dropped]
            files = sample.files.with_matched(friends)
            return replace(sample, files=files, cuts=(*sample.cuts, *cuts))

        return self._with(change)

    @named_options
    def skim(
        self,
        folder: str | os.PathLike[str],
        *,
        format: str | None = None,  # noqa: A002 - the word users know
        tree: str | None = None,
        overwrite: bool = False,
        progress: bool | None = None,
        threads: int | None = None,
    ) -> list[str]:
        """Write the selected events to new files, one per input, with the selected columns.

        An input without a selected event gives a file without entries. Labels and weights are said
        when the skim is opened: select the columns that they, cuts and splits will need. Called
        again after an interruption, it goes on with the files that are not finished yet; so does
        `write_friend`.

        Args:
            folder: Made if need be. Files are named as the inputs.
            format: "root" (TTree), "rntuple", "parquet", "arrow"; None: ROOT, or as the inputs.
            tree: Name of the trees; None: as in the input.

        Returns:
            Paths of the files, in the order of the inputs.

        Raises:
            UsageError: A file that is there already.
            UnsupportedTypeError: A column that the format cannot hold.
        """
        from rootml.output._skim import skim

        return skim(
            self,
            folder,
            format=format,
            tree=tree,
            overwrite=overwrite,
            progress=progress,
            threads=threads,
        )

    # --- looking at it ------------------------------------------------------------------------

    @named_options
    def hist(
        self,
        column: str,
        *,
        bins: int | Sequence[float] = 50,
        range: tuple[float, float] | None = None,  # noqa: A002 - NumPy's word
        by_label: bool | None = None,
        progress: bool | None = None,
        threads: int | None = None,
    ) -> hist.Hist[Any]:
        """A histogram of the selected events with their weights: a `hist.Hist`.

        Filled partition by partition, in threads or on the cluster of `on`; draw it with
        `rootml.plot.hist`. Of lists each element counts, with the weight of its event. Values
        outside of the bins are in the underflow and the overflow.

        Args:
            column: A column or an expression.
            bins: Number of bins, or their edges.
            range: Where the bins begin and end; None: at the smallest and the largest value, which
                takes a pass over the column.
            by_label: A category axis ``label`` in front; None: if there are labels.
            progress: Show a bar; None: on a terminal.
            threads: None: one per core.

        Raises:
            UsageError: Bins that make no sense, or more labels than classes have.
            NonFiniteError: NaN or infinity, which no bin holds.
            UnsupportedTypeError: A column without numbers.
            EmptySelectionError: No value, and no range.

        >>> import pyarrow as pa, pyarrow.parquet, rootml
        >>> events = pa.table({"pt": [10.0, 60.0, 35.0], "w": [1.0, 0.5, 2.0]})
        >>> pa.parquet.write_table(events, "events.parquet")
        >>> data = rootml.open("events.parquet", weight="w")
        >>> data.hist("pt", bins=[0, 20, 40, 80]).values().tolist()
        [1.0, 2.0, 0.5]
        """
        from rootml.dataset._histogram import Extent, Fill, check_bins, empty_histogram, span_of

        one = self.select([column])
        (name,) = one.columns
        run = partial(one.map_partitions, progress=progress, threads=threads)
        edges = check_bins(bins, range)
        if edges is None:
            edges = check_bins(bins, span_of(list(run(Extent(name), what="range")), str(self)))
        label = self.has_label if by_label is None else by_label
        found = one.scan(progress=progress, threads=threads).labels if label else {}
        empty = empty_histogram(name, edges, list(found))
        parts = run(Fill(name, empty), label=label, weight=self.has_weight, what="filling")
        filled: hist.Hist[Any] = sum(parts, empty)
        return filled

    def cutflow(self, *, progress: bool | None = None, threads: int | None = None) -> Cutflow:
        """Events and sums of weights after each cut, per label; scans the data."""
        index = self.scan(progress=progress, threads=threads)
        index._selection.steps(progress=progress, threads=threads)
        return index.cutflow

    def describe(self, *, progress: bool | None = None, threads: int | None = None) -> Description:
        """Files, formats, columns, selected fraction, and weights per label; scans the data."""
        index = self.scan(progress=progress, threads=threads)
        sums = index._selection.steps(progress=progress, threads=threads)
        return describe(self._reader, index, sums)

    def __len__(self) -> int:
        """Number of selected events, once they were scanned.

        Raises:
            UsageError: They were not; counting them takes a pass over the data.
        """
        rows = self._scan_cache.num_rows
        if rows is None:
            message = f"{self}: the number of selected events is known after scan()"
            raise UsageError(message)
        return rows

    def __bool__(self) -> bool:
        """True, also before a scan."""
        return True

    if not TYPE_CHECKING:  # else type checkers would believe in every name

        def __getattr__(self, name: str) -> Any:  # never returns
            message = f"'Dataset' object has no attribute {name!r}"
            if not name.startswith("_"):
                known = [each for each in dir(type(self)) if not each.startswith("_")]
                message += f"; nearest: {nearest(name, known, limit=3)}; columns: select([...])"
            raise AttributeError(message)

    def __str__(self) -> str:
        titles = " + ".join(sample.title for sample in self.samples[:3])
        if len(self.samples) > 3:
            titles += f" + {len(self.samples) - 3} more"
        return f"<Dataset {titles}>"

    def __repr__(self) -> str:
        return f"<Dataset {', '.join(f'{name}: {text}' for name, text in self._facts())}>"

    def _facts(self) -> list[tuple[str, str]]:
        """What is known without opening a file."""
        facts = [("samples", " + ".join(sample_facts(sample) for sample in self.samples))]
        for name, texts in (
            ("cuts", [cut.name for cut in self.samples[0].cuts]),
            ("defined", list(dict.fromkeys(each.name for each in self.samples[0].definitions))),
            ("columns", list(self.samples[0].outputs or ())),
        ):
            if texts:
                facts.append((name, shorten(texts, 12)))
        return facts

    def _html_title(self) -> str:
        return "rootml.Dataset"

    def _html_parts(self) -> Iterable[Part]:
        return [self._facts()]


def _itself(block: EventBlock) -> EventBlock:
    """The function of a pass that wants the events themselves; has a name, to be picklable."""
    return block
