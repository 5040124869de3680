"""Many data sets, each fitted: here, in processes, or on a cluster, and resumable.

Toys are equal to the last bit for any number of workers, on CPUs of one kind: toy number i of a
seed depends on nothing else, and linear algebra has one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from rootml._internal.progress import long_step
from rootml._internal.validators import check_number, check_whole, is_a
from rootml.errors import UsageError
from rootml.sbi.inference.toys._combined_toys import CombinedSource
from rootml.sbi.inference.toys._records import Row
from rootml.sbi.inference.toys._toy_source import (
    MIN_RATIO,
    Generator,
    Toys,
    ToySource,
    as_generator,
)
from rootml.sbi.inference.toys._toy_task import Task, ToyResults, collect
from rootml.sbi.inference.toys._work import Item, Todo, Where, work_through
from rootml.sbi.likelihood._combined import CombinedLikelihood
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._likelihood import Likelihood, mixture_of
from rootml.sbi.likelihood._model import Model

Source: TypeAlias = ToySource | CombinedSource
Generators: TypeAlias = Generator | str | Mapping[str, Any] | None
_KEPT = 2  # points whose toys are kept ready: they come point by point


class AnyTask(Protocol):
    """What is done with each toy, as plain data."""

    @property
    def truth(self) -> Mapping[str, float]:
        """Where toys are drawn."""
        ...

    def run(self, source: Toys, number: int) -> Row:
        """The row of one toy."""
        ...

    def header(self) -> dict[str, Any]:
        """All that rows depend on but for the source, as JSON data."""
        ...


@long_step("toys")
def toys(
    model: Model | CombinedLikelihood,
    reference: Any = None,
    *,
    number: int,
    seed: int,
    truth: Mapping[str, float] | None = None,
    tests: Sequence[Mapping[str, float]] = (),
    fixed: Mapping[str, float] | None = None,
    generator: Generators = None,
    min_ratio: float = MIN_RATIO,
    workers: int = 1,
    client: Any = None,
    folder: str | Path | None = None,
    engine: str = "auto",
    progress: bool | None = None,
) -> ToyResults:
    """Draw data sets from a model and fit each.

    Without a generator, events are drawn from the reference events with the weights that they
    have at the truth. The effective number of these, ``(sum w)^2 / sum w^2``, is part of the
    results: far from where the reference is dense it becomes small, and toys repeat events.

    Args:
        model: A model; or a combination of likelihoods, whose parts are drawn independently but
            for the outcomes of auxiliary measurements that several of them share.
        reference: Columns at reference events, to draw from and for Z(alpha). Of a combination:
            these columns by part; needed where a part has no reference events of its own.
        number: How many.
        seed: The same seed gives the same toys, for any number of workers.
        truth: Values to draw at; parameters left out have their start values.
        tests: Further fits of each toy, with these parameters held.
        fixed: Parameters held in all fits.
        generator: ``generator(rng, truth)`` gives the columns of one toy instead of drawing from
            the reference, or its name, ``"package.module:function"``. Or a `DensitySource`: it
            draws new events of the reference's density, of which those are kept that the expected
            density at the truth asks for, so that toys are not limited by a sample. Of a
            combination: these by part.
        min_ratio: Refuse fewer effective reference events than this times the expected number.
        workers: Processes of this machine.
        client: A `distributed.Client`: toys are fitted on its cluster. Each worker gets the
            reference events once.
        folder: Keep finished toys there; a call with the same arguments goes on where the last one
            stopped, also with a larger `number`, and with other `workers` or `client`.
        progress: Show a bar; None: on a terminal.

    Raises:
        StateError: The folder holds toys of another model, truth or seed.
        UsageError: Too few effective reference events; a folder that cannot be written to; a
            generator that cannot be sent to other processes.
        ClusterError: The cluster is gone or keeps failing; what is finished is in the folder.

    >>> import numpy as np
    >>> from rootml.sbi import Model, Parameter
    >>> model = Model({"S": "mu * 100"}, {"mu": Parameter(1.0, lower=0.0)})
    >>> results = toys(model, {"S": np.ones(200)}, number=20, seed=1)
    >>> len(results), round(float(results.errors.mean()), 2), results.effective
    (20, 0.1, 200.0)
    """
    check_whole("number", number, minimum=1)
    if not is_a(model, Model | CombinedLikelihood):
        message = f"toys() takes a Model or CombinedLikelihood, not a {type(model).__name__}"
        if is_a(model, Likelihood):
            message += ": give toys(like.model, like.reference, ...)"
        raise UsageError(message)
    seed = check_whole("seed", seed, minimum=0)
    source = source_of(model, reference, generator=generator, engine=engine, min_ratio=min_ratio)
    for test in tests:
        source.point(test)
    point = source.point(truth or {})
    task = Task(point, seed, tuple(map(dict, tests)), dict(fixed or {}))
    where = Where(client, workers, folder, progress)
    (found,) = fitted_toys(source, [Ensemble(task, where.inside())], number, where, caller="toys")
    return found


# --- what other constructions draw and fit -------------------------------------------------------


def source_of(
    model: Model | CombinedLikelihood,
    reference: Any = None,
    *,
    generator: Generators = None,
    engine: str = "auto",
    min_ratio: float = MIN_RATIO,
) -> Source:
    """What toys are drawn from; see `toys`."""
    min_ratio = check_number("min_ratio", min_ratio, minimum=0.0)
    if isinstance(model, CombinedLikelihood):
        by_part: dict[str, Any] = {"reference": reference or {}, "generator": generator or {}}
        for what, given in by_part.items():
            if not is_a(given, Mapping):
                message = (
                    f"{what}= of a combination is a dict by part, {{{next(iter(model.parts))!r}: "
                    f"...}}, not a {type(given).__name__}"
                )
                raise UsageError(message)
        return CombinedSource(
            model, by_part["reference"], by_part["generator"], min_ratio=min_ratio
        )
    if is_a(generator, Mapping):
        message = "generator= by part is for a CombinedLikelihood"
        raise UsageError(message)
    single: Any = generator
    return ToySource(
        model, reference, generator=as_generator(single), engine=engine, min_ratio=min_ratio
    )


def source_like(like: Fittable, reference: Any, generator: Generators, what: str) -> Source:
    """What toys of a likelihood's model are drawn from.

    Args:
        reference: None: the likelihood's own reference events.
        what: The function that needs it, for errors.

    Raises:
        UsageError: No mixture of columns, or a combination of others.
    """
    if isinstance(like, CombinedLikelihood):
        return source_of(like, reference, generator=generator)
    mixture = mixture_of(like, what)
    events = mixture.reference if reference is None else reference
    return source_of(mixture.model, events, generator=generator, engine=mixture.engine)


@dataclass(frozen=True)
class Ensemble:
    """Toys at one point.

    Attributes:
        task: What is done with each.
        folder: Where they are kept.
        name: For errors: of which ensemble of several.
    """

    task: AnyTask
    folder: Path | None = None
    name: str = ""


class _Run:
    """Draws and fits toys of several ensembles; sent to where toys are made."""

    def __init__(self, source: Source, tasks: Sequence[AnyTask]) -> None:
        self._source, self._tasks = source, tasks
        self._ready: dict[int, Toys] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_source": self._source, "_tasks": self._tasks}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_source"], state["_tasks"])  # type: ignore[misc]

    def __call__(self, item: Item) -> Row:
        return self._tasks[item.task].run(self.toys(item.task), item.key)

    def toys(self, task: int) -> Toys:
        """The toys at the point of a task; a process keeps those of the last points."""
        with self._lock:
            if task not in self._ready:
                while len(self._ready) >= _KEPT:
                    del self._ready[next(iter(self._ready))]
                self._ready[task] = self._source.at(self._tasks[task].truth)
            return self._ready[task]


def run_toys(
    source: Source, ensembles: Sequence[Ensemble], number: int, where: Where, *, caller: str
) -> list[list[Row]]:
    """The rows of so many toys of each ensemble, all of them worked on together.

    Args:
        caller: The function that takes ``client=``, for errors.

    Raises:
        UsageError: Too few effective reference events, before any toy is drawn.
    """
    run = _Run(source, [each.task for each in ensembles])
    found = source_header(source)
    todo = [
        Todo(lambda task=each.task: found() | task.header(), range(number), each.folder, each.name)  # type: ignore[misc]
        for each in ensembles
    ]
    return work_through(run, todo, where, what="toys", key="toy", caller=caller, before=run.toys)


def fitted_toys(
    source: Source, ensembles: Sequence[Ensemble], number: int, where: Where, *, caller: str
) -> list[ToyResults]:
    """Toys of several ensembles whose tasks are fits; see `run_toys`."""
    rows = run_toys(source, ensembles, number, where, caller=caller)
    return [
        collect(mine, each.task, source.names)  # type: ignore[arg-type]
        for mine, each in zip(rows, ensembles, strict=True)
    ]


def source_header(source: Source) -> Callable[[], dict[str, Any]]:
    """What toys depend on, computed once, and only if it is wanted."""
    known: list[dict[str, Any]] = []

    def header() -> dict[str, Any]:
        if not known:
            known.append(source.header())
        return known[0]

    return header


def point_folder(where: Where, value: float, *more: str) -> Path | None:
    """Where toys of one value of a parameter are kept, in the folder of a construction."""
    return where.inside("-".join([f"at-{value!r}", *more]))
