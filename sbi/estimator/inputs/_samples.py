"""The samples of a training: their densities, checks, and how events are divided."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from rootml.dataset import Dataset
from rootml.errors import (
    EmptySelectionError,
    MissingColumnError,
    SchemaError,
    UnsupportedTypeError,
    UsageError,
    nearest,
)
from rootml.sbi.estimator.inputs._settings import By, spawned_seed

NOMINAL = "nominal"
REFERENCE = "reference"
"""Name of a reference that is not one of the samples."""


@dataclass(frozen=True, slots=True)
class Sums:
    """The weights of a sample.

    Attributes:
        events: Number of events.
        sumw: Sum of their weights.
        sumw2: Sum of the squares of their weights.
        negative: Number of events of negative weight.
    """

    events: int
    sumw: float
    sumw2: float
    negative: int

    @property
    def effective_events(self) -> float:
        """Number of unweighted events with equal precision."""
        return self.sumw**2 / self.sumw2 if self.sumw2 > 0 else 0.0

    @property
    def negative_fraction(self) -> float:
        """Fraction of the events that have negative weights."""
        return self.negative / self.events if self.events else 0.0


@dataclass(frozen=True)
class Density:
    """One density that the classifier tells from the others.

    Attributes:
        process: Name of the sample.
        nuisance: Name of a variation, None for the nominal density.
        side: "up" or "down" of a variation.
    """

    process: str
    dataset: Dataset
    nuisance: str | None = None
    side: str | None = None

    @property
    def name(self) -> str:
        """``B``, ``B.jes.up``."""
        return output_name(self.process, self.nuisance, self.side)


def output_name(process: str, nuisance: str | None, side: str | None) -> str:
    """The name of a density.

    >>> output_name("B", "jes", "up"), output_name("S", None, None)
    ('B.jes.up', 'S')
    """
    return process if nuisance is None else f"{process}.{nuisance}.{side}"


@dataclass(frozen=True)
class Samples:
    """All densities, and which of them is the reference.

    Attributes:
        densities: In the order of the classes of the network.
        reference: Number of the reference among them.
        tree: Names of the variations of each process.
    """

    densities: tuple[Density, ...]
    reference: int
    tree: Mapping[str, tuple[str, ...]]

    @property
    def targets(self) -> tuple[int, ...]:
        """Numbers of all densities but the reference."""
        return tuple(k for k in range(len(self.densities)) if k != self.reference)

    def nominal(self) -> Samples:
        """The nominal densities only."""
        chosen = [k for k, d in enumerate(self.densities) if d.nuisance is None]
        densities = tuple(self.densities[k] for k in chosen)
        return Samples(densities, chosen.index(self.reference), dict.fromkeys(self.tree, ()))

    def variations(self) -> list[list[Density]]:
        """For each process with variations: its nominal density, then "up", "down" of each."""
        groups = [[d for d in self.densities if d.process == name] for name in self.tree]
        return [group for group in groups if len(group) > 1]

    def map(self, change: Any) -> Samples:
        """These samples with `change` applied to every dataset."""
        changed = [replace(d, dataset=change(d.dataset)) for d in self.densities]
        return replace(self, densities=tuple(changed))

    def union(self) -> Dataset:
        """All events in one dataset; the label is the number of the density."""
        labelled = [d.dataset.with_label(k) for k, d in enumerate(self.densities)]
        return reduce(lambda left, right: left + right, labelled)

    def datasets(self) -> dict[str, Dataset]:
        """The events of each density, by name."""
        return {density.name: density.dataset for density in self.densities}

    def sums(self) -> dict[str, Sums]:
        """The weights of each density, by name."""
        return {density.name: sums_of(density.dataset) for density in self.densities}


def sums_of(dataset: Dataset) -> Sums:
    """Sums of the weights of the selected events; scans the data."""
    total = dataset.scan().total
    return Sums(total.count, total.sumw, total.sumw2, total.negative)


def parse_samples(samples: Any, reference: Any) -> Samples:
    """The densities in the samples that a user gave.

    Raises:
        UsageError: Not ``{name: Dataset}`` or ``{name: {"nominal": Dataset, nuisance: (up,
            down)}}``, or nothing to learn.
        MissingColumnError: The reference is not one of the samples.
    """
    if not isinstance(samples, Mapping) or not samples:
        message = f"samples: give {{name: Dataset}}, not {type(samples).__name__}"
        raise UsageError(message)
    densities: list[Density] = []
    tree: dict[str, tuple[str, ...]] = {}
    for process, given in samples.items():
        _check_name(process)
        found = list(_parse_process(process, given))
        densities += found
        tree[process] = tuple(dict.fromkeys(d.nuisance for d in found if d.nuisance is not None))
    if isinstance(reference, Dataset):
        if REFERENCE in tree:
            message = f"a sample is called {REFERENCE!r}, and so is the dataset given as reference"
            raise UsageError(message)
        densities.append(Density(REFERENCE, reference))
        number = len(densities) - 1
    else:
        number = _find(densities, reference)
    if len(densities) < 2:
        message = f"the only sample {densities[0].name!r} is the reference: nothing to learn"
        raise UsageError(message)
    return Samples(tuple(densities), number, tree)


def _check_name(process: Any) -> None:
    if not isinstance(process, str) or not process or "." in process:
        message = f"samples: {process!r} is not a valid name of a sample: use a text without dots"
        raise UsageError(message)


def _parse_process(process: str, given: Any) -> list[Density]:
    if isinstance(given, Dataset):
        return [Density(process, given)]
    if not isinstance(given, Mapping) or not isinstance(given.get(NOMINAL), Dataset):
        message = (
            f"sample {process!r}: give a Dataset, or {{'nominal': Dataset, 'jes': (up, down)}}, "
            f"not {given!r:.80}"
        )
        raise UsageError(message)
    found = [Density(process, given[NOMINAL])]
    for nuisance, pair in given.items():
        if nuisance == NOMINAL:
            continue
        good = isinstance(pair, tuple | list) and len(pair) == 2
        if not good or not all(isinstance(each, Dataset) for each in pair):
            message = f"sample {process!r}: variation {nuisance!r} needs two Datasets (up, down)"
            raise UsageError(message)
        for side, dataset in zip(("up", "down"), pair, strict=True):
            found.append(Density(process, dataset, str(nuisance), side))
    return found


def _find(densities: Sequence[Density], reference: Any) -> int:
    names = [d.name for d in densities if d.nuisance is None]
    if reference not in names:
        message = (
            f"reference={reference!r}: give a Dataset, or the name of one of the samples: "
            f"{nearest(str(reference), names)}"
        )
        raise MissingColumnError(message)
    return next(k for k, d in enumerate(densities) if d.name == reference)


def check_samples(samples: Samples, inputs: Sequence[str]) -> tuple[Samples, dict[str, Sums]]:
    """The samples with the inputs as their only columns, and their weights.

    Raises:
        MissingColumnError, UnsupportedTypeError: An input that a sample does not have as a number
            per event.
        EmptySelectionError: A sample without selected events.
        UsageError: Weights without a positive sum.
    """
    selected = []
    for density in samples.densities:
        dataset = select_inputs(density.dataset, inputs, density.name)
        selected.append(replace(density, dataset=dataset))
    samples = replace(samples, densities=tuple(selected))
    sums = samples.sums()
    for name, each in sums.items():
        check_sums(each, f"sample {name!r}")
    return samples, sums


def select_inputs(dataset: Dataset, columns: Sequence[str], name: str) -> Dataset:
    """The dataset with these columns; errors name the sample."""
    try:
        chosen = dataset.select(list(columns))
        types = chosen.types()
    except (MissingColumnError, SchemaError, UnsupportedTypeError) as error:
        message = f"sample {name!r}: {error}"
        raise type(error)(message) from error
    for column, kind in types.items():
        if kind.kind != "scalar":
            message = (
                f"sample {name!r}: {column!r} is {kind}; an input must be one number per event"
            )
            raise UnsupportedTypeError(message)
    return chosen


def check_sums(sums: Sums, what: str) -> None:
    """Raise unless there are events and their weights add up to something positive."""
    if sums.events == 0:
        message = f"{what}: no event is selected"
        raise EmptySelectionError(message)
    if not math.isfinite(sums.sumw) or sums.sumw <= 1e-9 * math.sqrt(sums.events * sums.sumw2):
        message = (
            f"{what}: the weights of its {sums.events:,} events ({sums.negative:,} of them "
            f"negative) add up to {sums.sumw:.6g}; a density needs a positive sum"
        )
        raise UsageError(message)


# --- dividing ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Division:
    """The parts of a dataset for the training of one member.

    Attributes:
        train: For the training.
        stop: A part of the held-out events, for early stopping.
        held: All held-out events, for calibration and normalisation. That some of them decided
            when to stop moves norms far less than fewer events would.
    """

    train: Any
    stop: Any
    held: Any


STOP_FRACTION = 0.3
"""Fraction of the held-out events that decides when to stop."""


def divide(dataset: Dataset, folds: int, fold: int, *, by: By, seed: int) -> Division:
    """The division for a network that holds out one of the folds."""
    train, held = dataset.folds(folds, by=by, seed=seed)[fold]
    stop, _ = held.split(test=1 - STOP_FRACTION, by=by, seed=seed)
    return Division(train, stop, held)


def poisson_copies(dataset: Dataset, *, by: By, seed: int, max_copies: int = 8) -> Dataset:
    """A Poisson bootstrap: each event 0, 1, 2, ... times, decided by a hash of its identity.

    Splits select the events that occur at least once, of these the ones that occur at least twice,
    and so on; the replica is the sum of these datasets. It is streamed like any other dataset and
    is the same in each epoch.
    """
    selected, before = dataset, 1.0
    parts = []
    for k in range(1, max_copies + 1):
        tail = 1 - sum(math.exp(-1) / math.factorial(j) for j in range(k))
        selected = selected.split(test=1 - tail / before, by=by, seed=spawned_seed(seed, k))[0]
        if selected.scan().num_rows == 0:
            break
        parts.append(selected)
        before = tail
    if not parts:
        message = f"{dataset}: a bootstrap replica of so few events is empty"
        raise EmptySelectionError(message)
    return reduce(lambda left, right: left + right, parts)
