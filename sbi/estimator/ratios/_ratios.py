"""`Ratios`: learned density ratios of samples to a reference."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from rootml._internal.reprs import HtmlRepr, Part, facts_text
from rootml._internal.types import Float
from rootml.errors import (
    DensityError,
    EmptySelectionError,
    MissingColumnError,
    NonFiniteError,
    UsageError,
)
from rootml.sbi.estimator.graph._assemble import member_output
from rootml.sbi.estimator.graph._graph import Builder, Graph
from rootml.sbi.estimator.graph._normalisation import expectation
from rootml.sbi.estimator.graph._onnx import write_onnx
from rootml.sbi.estimator.graph._weighted import (
    Weights,
    fit_weights,
    members_at,
    weighted_graph,
    weights_note,
)
from rootml.sbi.estimator.inputs._event_sample import EventSample
from rootml.sbi.estimator.inputs._events import chunks
from rootml.sbi.estimator.inputs._samples import NOMINAL, output_name
from rootml.sbi.estimator.ratios._merge import merged
from rootml.sbi.estimator.ratios._range_watch import RangeWatch
from rootml.sbi.estimator.ratios._record import Norm, TrainingRecord
from rootml.sbi.likelihood._columns import RatioColumns
from rootml.sbi.likelihood._origin import DroppedShape, Origin

Scores: TypeAlias = "Callable[[Float], Float]"
"""From inputs `(rows, inputs)` to log ratios before calibration, `(rows, outputs)`."""


@dataclass(frozen=True)
class Ratios(HtmlRepr):
    """Density ratios of samples to a reference, as functions of an event.

    Made by `RatioEstimator.fit` or read by `RatioEstimator.load`; evaluated by NumPy in float64,
    without torch.

    Attributes:
        inputs: The columns or expressions that an event consists of, evaluated for a Dataset.
        names: Names of the inputs in a dict of columns.
        outputs: Names of the ratios, e.g. ``("S", "B.jes.up", "B.jes.down")``; that of the
            reference is 1 and not among them.
        reference: Name of the sample in the denominator.
        tree: Names of the variations of each process.
        members: Number of networks of the ensemble.
        record: Weights, losses and norms of the training.
        graph: The computation.
    """

    inputs: tuple[str, ...]
    names: tuple[str, ...]
    outputs: tuple[str, ...]
    reference: str
    tree: Mapping[str, tuple[str, ...]]
    members: int
    record: TrainingRecord
    graph: Graph
    scores: Scores | None = None

    # --- evaluation ----------------------------------------------------------------------------

    def log_ratio(
        self, data: Any, *, member: int | None = None, progress: bool | None = None
    ) -> Float:
        """Logarithms of the ratios, `(events, outputs)`.

        Args:
            data: A Dataset, a dict of columns, or an array `(events, inputs)`.
            member: One network of the ensemble (from 0) instead of the average.
        """
        return self._evaluate(data, member, progress)[0]

    def _evaluate(
        self,
        data: Any,
        member: int | None,
        progress: bool | None,
        sample: EventSample | None = None,
        watch: RangeWatch | None = None,
    ) -> tuple[Float, Float | None]:
        name = self._output(member)
        parts, weights = [], []
        for x, w in chunks(data, self.inputs, self.names, progress=progress):
            if watch is not None:
                watch.add(x)
            given = x if self.scores is None else check_scores(self.scores(x), x, self.outputs)
            parts.append(self.graph.run([name], x=given)[name])
            if sample is not None:
                sample.add(given)
            if w is not None:
                weights.append(w)
        return np.concatenate(parts), np.concatenate(weights) if weights else None

    def _output(self, member: int | None) -> str:
        if member is None:
            return "log_ratio"
        if not 0 <= member < self.members:
            message = f"member={member}: the ensemble has {self.members}, counted from 0"
            raise UsageError(message)
        return member_output(member)

    def columns(
        self, data: Any, *, member: int | None = None, progress: bool | None = None
    ) -> RatioColumns:
        """Ratio columns as `Model.likelihood` takes them, with the weights of the data.

        At 10,000 random events, or at all if there are fewer, the columns of each network of the
        ensemble are kept too, for the rough alarm of `rootml.sbi.fit`.

        More events beyond the range of the training than chance explains are named by the fit
        (`FitResult.notes`): their ratios are extrapolated.

        The columns of a variation whose shape was dropped (`TrainingRecord.shapes`) are those of
        the nominal density: its nuisance parameter changes yields only.

        ``{"S": r, "B": {"nominal": r, "jes": (r_up, r_down)}}``, float64; the column of the
        reference is 1.

        Args:
            data: A Dataset, a dict of columns, or an array `(events, inputs)`.
            member: One network of the ensemble (from 0) instead of the average; only it is
                evaluated. The spread of fits with single networks is not the uncertainty due to
                finite training samples: see `rootml.sbi.training_uncertainty`.

        Raises:
            EmptySelectionError: No events; the message says how to give data without any.
            MissingColumnError: An input that the data do not have.
            NonFiniteError: An input that is NaN or infinite, or a ratio that is.
            SchemaError: Columns that are not one number per event.
        """
        sample = EventSample() if member is None and self.members > 1 else None
        watch = RangeWatch(self.record, self.names)
        try:
            logs, weights = self._evaluate(data, member, progress, sample, watch)
        except EmptySelectionError as error:
            message = f"{error}; {self._how_to_be_empty()}"
            raise EmptySelectionError(message) from error
        origin = Origin(
            tuple(
                DroppedShape(s.process, s.nuisance, s.missed)
                for s in self.record.shapes
                if not s.kept
            ),
            beyond=watch.found(),
        )
        if sample is not None:
            origin = replace(origin, **self._at_members(sample))
        return RatioColumns(self._as_columns(logs), weights, origin=origin)

    def _how_to_be_empty(self) -> str:
        texts = [
            f"{process!r}: "
            + ("{'nominal': [], " + ", ".join(f"{n!r}: ([], [])" for n in nuisances) + "}"
               if nuisances else "[]")
            for process, nuisances in self.tree.items()
        ]  # fmt: skip
        columns = "{" + ", ".join(texts) + "}"
        return f"data without events are sbi.RatioColumns({columns}, may_be_empty=True)"

    def _at_members(self, sample: EventSample) -> dict[str, Any]:
        """The columns of each member of the ensemble at some events."""
        events, rows = sample.result()
        names = [self._output(number) for number in range(self.members)]
        logs = self.graph.run(names, x=rows)
        return {"sampled": events, "members": tuple(self._as_columns(logs[n]) for n in names)}

    def _as_columns(self, logs: Float) -> dict[str, Any]:
        """Columns of log ratios `(events, outputs)`."""
        with np.errstate(over="ignore"):  # RatioColumns names the events whose ratio is infinite
            found = dict(zip(self.outputs, np.exp(logs).T, strict=True))
        found[self.reference] = np.ones(len(logs))
        dropped = {(s.process, s.nuisance) for s in self.record.shapes if not s.kept}
        columns: dict[str, Any] = {}
        for process, nuisances in self.tree.items():
            nominal = np.ascontiguousarray(found[process])
            if not nuisances:
                columns[process] = nominal
                continue
            columns[process] = {NOMINAL: nominal}
            for nuisance in nuisances:
                sides = [output_name(process, nuisance, side) for side in ("up", "down")]
                columns[process][nuisance] = (
                    (nominal, nominal)
                    if (process, nuisance) in dropped
                    else tuple(np.ascontiguousarray(found[name]) for name in sides)
                )
        return columns

    # --- normalisation ---------------------------------------------------------------------------

    def renormalised(self, reference: Any, *, progress: bool | None = None) -> Ratios:
        """These ratios divided by E_ref[r] over independent events of the reference.

        The mean has a statistical error (`Norm.error` of the result's record) that shifts fitted
        yields, so this pays off only for large samples.

        Args:
            reference: Events that were not used in training or calibration, as `columns` takes.

        Raises:
            UsageError: Weights without a positive sum.
            DensityError: A mean ratio that is not positive and finite.
        """
        logs, weights = self._evaluate(reference, None, progress)
        mass = np.full(len(logs), 1.0) if weights is None else weights
        if not mass.sum() > 0.0:
            message = f"the weights of {len(mass):,} events of the reference sum to {mass.sum():g}"
            raise UsageError(message)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, error = expectation(np.exp(logs), mass / mass.sum())
        if not (np.isfinite(mean).all() and (mean > 0.0).all()):
            means = dict(zip(self.outputs, mean.tolist(), strict=True))
            message = f"the mean ratios over these events are {means}: they cannot be normalised"
            raise DensityError(message)
        graph = shifted(self.graph, np.log(mean), self.members)
        norms = {
            name: replace(old, mean=1.0, error=float(e / m))
            for (name, old), m, e in zip(self._norms().items(), mean, error, strict=True)
        }
        note = f"divided by E_ref[r] on {len(logs):,} independent events"
        record = replace(self.record, norms=norms, notes=(*self.record.notes, note))
        return replace(self, graph=graph, record=record)

    def _norms(self) -> dict[str, Norm]:
        unknown = Norm(1.0, 0.0, 0.0, calibrated=False)
        return {name: self.record.norms.get(name, unknown) for name in self.outputs}

    # --- ensembles -----------------------------------------------------------------------------

    @staticmethod
    def merge(parts: Sequence[Ratios]) -> Ratios:
        """One ensemble of all networks, trained apart with the same samples and other seeds.

        The ratio is the mean over all of them, also if one part was `weighted`.

        Raises:
            UsageError: Other samples, inputs, reference or decisions on shapes; or ratios of
                classifiers that are Python functions.
        """
        chosen = list(parts)
        if not chosen or any(each.scores is not None for each in chosen):
            message = "merge() takes ratios that RatioEstimator.fit learned, at least one"
            raise UsageError(message)
        same = ("inputs", "names", "outputs", "reference", "tree")
        members, record, graph = merged(chosen, same, len(chosen[0].outputs))
        return replace(chosen[0], members=members, record=record, graph=graph)

    def weighted(self, samples: Mapping[str, Any], *, progress: bool | None = None) -> Ratios:
        """These ratios with weights of the ensemble's members, instead of their mean.

        ``log r = c + sum_i w_i log r_i``, with weights of each process that maximise the
        likelihood of telling its events from those of the reference. The events must be
        independent of the training. `record.notes` gives the weights with their errors.

        Not better where events are few: with 4,000 events a sample, a fifth of them kept for the
        weights, the RMS shift of a signal strength from the exact fit was 1.7 and 1.3 standard
        deviations on two problems (six training sets each), where the mean of an ensemble trained
        on all events had 1.3 and 1.0.

        Args:
            samples: Events that were not used in training, ``{"S": Dataset, "B": Dataset}``, of
                the reference and of each process; or dicts of columns, or arrays. A process that
                has no sample keeps the mean of the logarithms. Variations take the weights of
                their process.

        Raises:
            MissingColumnError: No events of the reference.
            UsageError: Only one network, or weights without a positive sum.
            ConvergenceError: There are no such weights, as can happen with weights of both signs.

        Source: S. Benevedes, J. Thaler, https://arxiv.org/abs/2506.00113.
        """
        if self.members < 2 or self.scores is not None:
            message = f"weighted() needs an ensemble of networks; this has {self.members}"
            raise UsageError(message)
        for name in (self.reference, *samples):
            if name not in samples or name not in {self.reference, *self.tree}:
                known = [self.reference, *(n for n in self.tree if n != self.reference)]
                message = f"samples {list(samples)}: expected some of {known}, the first always"
                raise MissingColumnError(message)
        found = {}
        for column, name in enumerate(self.outputs):
            if name in samples:
                sides = (
                    self._at_members_of(samples[side], column, side, progress)
                    for side in (name, self.reference)
                )
                found[name] = fit_weights(*sides)
        equal = Weights.equal(self.members)
        each = [found.get(name.split(".")[0], equal) for name in self.outputs]
        graph = weighted_graph(self.graph, self.members, each)
        record = replace(self.record, notes=(*self.record.notes, weights_note(found)))
        return replace(self, graph=graph, record=record)

    def _at_members_of(
        self, data: Any, column: int, name: str, progress: bool | None
    ) -> tuple[Float, Float]:
        """Log ratios of all members and weights of a sample."""
        logs, weights = [], []
        for x, w in chunks(data, self.inputs, self.names, progress=progress):
            logs.append(members_at(self.graph, self.members, column, x))
            weights.append(np.ones(len(x)) if w is None else w)
        mass = np.concatenate(weights)
        if not mass.sum() > 0.0:
            message = f"sample {name!r}: its weights sum to {mass.sum():g}"
            raise UsageError(message)
        return np.concatenate(logs), mass

    # --- saving --------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, rows: int | None = None) -> None:
        """Write one ONNX file with everything from the inputs to the ratios, in float32.

        Input ``x`` `(rows, inputs)`; outputs ``ratio``, ``log_ratio`` `(rows, outputs)` and
        ``member0``, ... of each network. ROOT's SOFIE parses its operators;
        `RatioEstimator.load` reads it.

        Args:
            rows: Fixed number of rows, e.g. 1; None: any.

        Raises:
            UsageError: Ratios of a classifier that is a Python function.
        """
        if self.scores is not None:
            message = (
                "these ratios come from a classifier that is a Python function, which cannot be "
                "written to an ONNX file; save the classifier itself, or the ratio columns"
            )
            raise UsageError(message)
        write_onnx(Path(path), self.graph, self._facts(), rows=rows)

    def _facts(self) -> dict[str, Any]:
        return {
            "kind": "ratios",
            "inputs": list(self.inputs),
            "names": list(self.names),
            "outputs": list(self.outputs),
            "reference": self.reference,
            "tree": {name: list(each) for name, each in self.tree.items()},
            "members": self.members,
            "record": self.record.to_json(),
        }

    # --- representation --------------------------------------------------------------------------

    def _lines(self) -> list[tuple[str, str]]:
        return [
            ("Ratios", f"to {self.reference!r}"),
            ("inputs", ", ".join(self.inputs)),
            ("ratios", ", ".join(self.outputs)),
            ("ensemble", f"{self.members} network(s)" if self.scores is None else "a classifier"),
        ]

    def __repr__(self) -> str:
        return f"{facts_text(self._lines())}\n\n{self.record}"

    def _html_parts(self) -> Iterable[Part]:
        return [self._lines(), *self.record._html_parts()]


def shifted(graph: Graph, shift: Float, members: int) -> Graph:
    """The graph with `shift`, `(outputs,)`, subtracted from all log ratios."""
    build, ends = Builder.extending(graph)
    constant = build.constant(shift)
    names = [*map(member_output, range(members)), "log_ratio"]
    moved = {name: (build.add("Sub", ends[name], constant), len(shift)) for name in names}
    ratio = build.add("Exp", moved["log_ratio"][0])
    return build.graph(**moved, ratio=(ratio, len(shift)))


def check_scores(values: Float, x: Float, outputs: Sequence[str]) -> Float:
    """The log ratios of a classifier, `(events, outputs)`, after a check of shape and values."""
    if values.shape != (len(x), len(outputs)):
        message = f"the classifier gave {values.shape} for {len(x)} events, {len(outputs)} ratios"
        raise UsageError(message)
    bad = ~np.isfinite(values)
    if bad.any():
        rows, columns = np.nonzero(bad)
        message = (
            f"the classifier gives no finite log ratio for {len(np.unique(rows)):,} of "
            f"{len(x):,} events, first for {outputs[columns[0]]!r} at inputs {x[rows[0]].tolist()}"
        )
        raise NonFiniteError(message)
    return values
