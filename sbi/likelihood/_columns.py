"""Columns of density ratios: per process at nominal and at +-1 of nuisances, event by event."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml._internal.reprs import Grid, HtmlRepr, Paragraph, Part
from rootml._internal.types import Float
from rootml._internal.validators import is_a
from rootml.errors import MissingColumnError, NonFiniteError, SchemaError, UsageError, nearest
from rootml.sbi.likelihood._origin import Origin

NOMINAL = "nominal"
Pair: TypeAlias = tuple[Float, Float]


class RatioColumns(HtmlRepr, Mapping[str, Mapping[str, Any]]):
    """Density ratios of every process to the reference, for a number of events.

    Args:
        ratios: ``{"S": r, "B": {"nominal": r, "jes": (r_up, r_down)}}``; arrays of shape
            ``(event,)``. float32 is kept as it is (and read as float64); others are made float64.
            r_up and r_down are densities over the reference's, too.
        weights: One per event, e.g. of simulation or Asimov data; None: all 1.
        may_be_empty: Allow no events, as data of a small expectation may have.
        asimov: The weights are expected counts, as those of Asimov data: errors of fits are
            those of counts. Other weights are taken for those of weighted events.
        origin: How the ratios were made; `Ratios.columns` says so.

    Raises:
        SchemaError: No dict; arrays of several lengths, masked, or not one number per event.
        NonFiniteError: NaN or infinity; names process, count and the first events.
        UsageError: No events, or weights that sum to zero.

    As a mapping: process to ``{"nominal": r, "jes": (r_up, r_down)}``.

    >>> background = {"nominal": [1, 1], "jes": ([1.1, 1], [0.9, 1])}
    >>> columns = RatioColumns({"S": [2.0, 0.5], "B": background})
    >>> len(columns.ratio("S")), columns.nuisances("B"), columns.num_events
    (2, ('jes',), 2)
    """

    def __init__(
        self,
        ratios: Mapping[str, Any],
        weights: Any = None,
        *,
        may_be_empty: bool = False,
        asimov: bool = False,
        origin: Origin | None = None,
    ) -> None:
        if not is_a(ratios, Mapping | None):
            message = (
                "columns are a dict of one array per process, e.g. {'S': ratios, 'B': ratios}, "
                f"not a {type(ratios).__name__}"
            )
            raise SchemaError(message)
        if not ratios:
            message = "no columns were given; one per process, e.g. {'S': ratios, 'B': ratios}"
            raise UsageError(message)
        self._store: dict[str, dict[str, Any]] = {
            process: _process(process, given) for process, given in ratios.items()
        }
        first = next(iter(self._store))
        self.num_events: int = len(self._store[first][NOMINAL])
        self._check_lengths(first)
        if self.num_events == 0 and not may_be_empty:
            message = (
                "the columns hold no events; if none were observed, say so: "
                "RatioColumns({'S': [], 'B': []}, may_be_empty=True)"
            )
            raise UsageError(message)
        self.weights: Float | None = (
            None if weights is None else _weights(weights, self.num_events)
        )
        self.asimov = asimov
        self.origin: Origin = Origin() if origin is None else origin

    def _check_lengths(self, first: str) -> None:
        for process, label, array in self._kept():
            if len(array) != self.num_events:
                message = (
                    f"the column {label} of process {process!r} has {len(array)} events, that of "
                    f"{first!r} has {self.num_events}"
                )
                raise SchemaError(message)

    def __getitem__(self, process: str) -> Mapping[str, Any]:
        if process not in self._store:
            message = f"no column for process {process!r}; available: {nearest(process, self)}"
            raise MissingColumnError(message)
        return {
            name: _double(value) if name == NOMINAL else (_double(value[0]), _double(value[1]))
            for name, value in self._store[process].items()
        }

    def _of(self, process: str) -> Mapping[str, Any]:
        """The arrays of a process as they are kept."""
        return self._store[process] if process in self._store else self[process]

    def __iter__(self) -> Iterator[str]:
        return iter(self._store)

    def __len__(self) -> int:
        return len(self._store)

    def ratio(self, process: str) -> Float:
        """The nominal ratios of one process, ``(event,)``."""
        return _double(self._of(process)[NOMINAL])

    def nuisances(self, process: str) -> tuple[str, ...]:
        """The nuisances that change the shape of a process."""
        return tuple(name for name in self._of(process) if name != NOMINAL)

    def variation(self, process: str, nuisance: str) -> Pair:
        """Ratios at +1 and -1 of a nuisance."""
        up, down = self._of(process)[nuisance]
        return _double(up), _double(down)

    @property
    def sum_of_weights(self) -> float:
        """The number of events, weighted."""
        return float(self.num_events) if self.weights is None else float(self.weights.sum())

    def arrays(self) -> Iterator[tuple[str, str, Float]]:
        """All arrays as (process, label, values); labels are nominal, jes.up, jes.down."""
        for process, label, array in self._kept():
            yield process, label, _double(array)

    def _kept(self) -> Iterator[tuple[str, str, npt.NDArray[Any]]]:
        """The same, float32 where it was given."""
        for process, columns in self._store.items():
            for name, value in columns.items():
                if name == NOMINAL:
                    yield process, NOMINAL, value
                else:
                    yield process, f"{name}.up", value[0]
                    yield process, f"{name}.down", value[1]

    def take(self, events: npt.NDArray[Any]) -> RatioColumns:
        """The events of these indices (or of this mask), with their weights.

        What is known of the ensemble's members is not kept.
        """
        ratios = {
            process: {
                name: value[events] if name == NOMINAL else (value[0][events], value[1][events])
                for name, value in columns.items()
            }
            for process, columns in self._store.items()
        }
        weights = None if self.weights is None else self.weights[events]
        return RatioColumns(
            ratios, weights, may_be_empty=True, asimov=self.asimov,
            origin=Origin(self.origin.dropped),
        )  # fmt: skip

    def part(self, events: slice) -> RatioColumns:
        """Some events that follow each other, without a copy."""
        found = copy(self)
        found._store = {
            process: {
                name: value[events] if name == NOMINAL else (value[0][events], value[1][events])
                for name, value in columns.items()
            }
            for process, columns in self._store.items()
        }
        found.weights = None if self.weights is None else self.weights[events]
        found.num_events = len(range(*events.indices(self.num_events)))
        found.origin = Origin(self.origin.dropped)
        return found

    def with_weights(self, weights: Any, *, asimov: bool = False) -> RatioColumns:
        """The same events with other weights; None: all 1.

        Args:
            asimov: The weights are expected counts.
        """
        return RatioColumns(
            self._store, weights, may_be_empty=True, asimov=asimov, origin=self.origin
        )

    def scaled(self, factors: Mapping[str, float]) -> RatioColumns:
        """The same with all ratios of some processes multiplied."""
        members = tuple(_scaled(member, factors) for member in self.origin.members)
        return RatioColumns(
            _scaled(self._store, factors), self.weights, may_be_empty=True, asimov=self.asimov,
            origin=replace(self.origin, members=members),
        )  # fmt: skip

    @property
    def weighted(self) -> bool:
        """Whether the events have weights that are not counts: some are not 1, none Asimov."""
        return are_weights(self.weights, asimov=self.asimov)

    def means(self) -> dict[str, tuple[float, float]]:
        """Per process the weighted mean of its ratios and the mean's statistical error.

        Over events of the reference the mean of a density ratio is 1.
        """
        weights = np.ones(self.num_events) if self.weights is None else self.weights
        found = {}
        for process in self:
            ratio = self.ratio(process)
            mean = float(weights @ ratio / weights.sum())
            spread = np.sqrt(((weights * (ratio - mean)) ** 2).sum()) / abs(weights.sum())
            found[process] = mean, float(spread)
        return found

    def sha256(self) -> str:
        """A checksum of all names, values and weights."""
        digest = hashlib.sha256()
        for process, label, array in self.arrays():
            digest.update(f"{process}/{label}/{len(array)};".encode())
            digest.update(np.ascontiguousarray(array).data)
        if self.weights is not None:
            digest.update(b"weights;")
            digest.update(self.weights.data)
        return digest.hexdigest()

    def _grid(self) -> Grid:
        rows = [
            (process, label, f"{array.min():.4g}", f"{array.mean():.4g}", f"{array.max():.4g}")
            for process, label, array in self.arrays()
            if len(array)
        ]
        return Grid(("process", "column", "smallest", "mean", "largest"), rows, left=2)

    def __repr__(self) -> str:
        weighted = "" if self.weights is None else f", sum of weights {self.sum_of_weights:,.6g}"
        return f"{self.num_events:,} events{weighted}\n{self._grid()}"

    def _html_parts(self) -> list[Part]:
        return [Paragraph(f"{self.num_events:,} events"), self._grid()]


def _double(array: npt.NDArray[Any]) -> Float:
    return np.asarray(array, np.float64)


def are_weights(weights: Float | None, *, asimov: bool) -> bool:
    """Whether weights are not counts: some are not 1, and they are not those of Asimov data."""
    return weights is not None and not asimov and bool((weights != 1.0).any())


def as_columns(given: Any, *, may_be_empty: bool = False) -> RatioColumns:
    """`given`, or Columns made of a dict."""
    if isinstance(given, RatioColumns):
        return given
    return RatioColumns(given, may_be_empty=may_be_empty)


def _scaled(store: Mapping[str, Any], factors: Mapping[str, float]) -> dict[str, Any]:
    def scaled(given: Any, factor: float) -> Any:  # of the kind of `given`
        if isinstance(given, Mapping):
            return {name: scaled(value, factor) for name, value in given.items()}
        return tuple(side * factor for side in given) if is_a(given, tuple) else given * factor

    return {process: scaled(given, factors.get(process, 1.0)) for process, given in store.items()}


def _process(process: str, given: Any) -> dict[str, Any]:
    if not is_a(process, str):
        message = f"columns: a process has a name, not {process!r}"
        raise SchemaError(message)
    if not isinstance(given, Mapping):
        return {NOMINAL: _array(given, process, NOMINAL)}
    if NOMINAL not in given:
        message = f"the columns of process {process!r} have no {NOMINAL!r}, only {sorted(given)}"
        raise MissingColumnError(message)
    found: dict[str, Any] = {NOMINAL: _array(given[NOMINAL], process, NOMINAL)}
    for name, pair in given.items():
        if name == NOMINAL:
            continue
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            message = (
                f"the nuisance {name!r} of process {process!r} needs two arrays (r_up, r_down)"
            )
            raise SchemaError(message)
        up, down = pair
        found[name] = (
            _array(up, process, f"{name}.up"), _array(down, process, f"{name}.down")
        )  # fmt: skip
    return found


def _array(given: Any, process: str, label: str) -> npt.NDArray[Any]:
    if np.ma.is_masked(given):
        events = np.flatnonzero(np.ma.getmaskarray(given))
        message = (
            f"the column {label} of process {process!r} is masked for {len(events):,} of "
            f"{len(given):,} events, first number {events[0]}: leave them out, or fill them"
        )
        raise SchemaError(message)
    try:
        values = np.asarray(given)
    except ValueError as error:  # lists of several lengths; awkward's missing values
        message = f"the column {label} of process {process!r} is no array of numbers: {error}"
        raise SchemaError(message) from error
    if values.ndim != 1 or values.dtype.kind not in "fiub":
        message = (
            f"the column {label} of process {process!r} must hold one number per event, not "
            f"{values.dtype} of shape {values.shape}"
        )
        raise SchemaError(message)
    kind = np.float32 if values.dtype == np.float32 else np.float64
    array = np.ascontiguousarray(values, kind)
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum(dtype=np.float64)  # one pass; the second only where something is wrong
    if not np.isfinite(total):
        refuse(~np.isfinite(array), array, f"process {process!r}, column {label}: NaN or infinite")
    return array


def refuse(bad: npt.NDArray[np.bool_], values: npt.NDArray[Any], what: str) -> None:
    """Raise NonFiniteError if any event is `bad`, with the count and the first of them."""
    events = np.flatnonzero(bad)
    if len(events):
        raise NonFiniteError(offending(events, values, what, len(bad)))


def offending(events: npt.NDArray[Any], values: npt.NDArray[Any], what: str, total: int) -> str:
    """``what for 3 of 100 events, the first are 5 (nan), 7 (inf)``."""
    first = ", ".join(f"{int(i)} ({values[i]:.6g})" for i in events[:5])
    return f"{what} for {len(events):,} of {total:,} events; the first are number {first}"


def _weights(given: Any, number: int) -> Float:
    weights = np.ascontiguousarray(given, np.float64)
    if weights.shape != (number,):
        message = f"weights of shape {weights.shape} for {number} events"
        raise SchemaError(message)
    refuse(~np.isfinite(weights), weights, "weights: NaN or infinite")
    with np.errstate(over="ignore", invalid="ignore"):
        total, size = weights.sum(), np.abs(weights).sum()
    if not np.isfinite(size):
        message = f"the weights of {number} events are so large that their sum is {size:g}"
        raise UsageError(message)
    if number and abs(total) <= 1e-12 * size:
        message = f"the weights of {number} events sum to {weights.sum():g}"
        raise UsageError(message)
    return weights
