"""How the columns of an unbinned channel lie in one matrix, and their weights at a point.

Rows of the matrix, each of shape ``(event,)`` and contiguous: the nominal ratios, one per process;
the columns X of the exponential factors, grouped by process; the columns B of the polynomial
factors, grouped by process and nuisance (see `_morph`). A `Plan` holds the numbers by which an
evaluation multiplies them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float
from rootml.errors import MissingColumnError, NonFiniteError, UsageError, nearest
from rootml.sbi.likelihood._columns import NOMINAL, RatioColumns, offending
from rootml.sbi.likelihood._interpolation import CODES, takes_logarithms
from rootml.sbi.likelihood._parameters import Nuisance
from rootml.sbi.likelihood._store import Events, Store

if TYPE_CHECKING:
    from rootml.sbi.likelihood._model import Model

Indices: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Factor:
    """One nuisance on the shape of one process: its exponential and polynomial rows."""

    process: int
    parameter: int
    nuisance: str
    code: str
    exponential: slice
    polynomial: slice


@dataclass(frozen=True, slots=True)
class Group:
    """Polynomial rows of one factor that are in use."""

    process: int
    parameter: int
    rows: Indices  # positions among the polynomial rows


@dataclass(frozen=True, slots=True)
class Plan:
    """Weights of the rows at one point, and which rows matter there.

    Attributes:
        weights: ``(3, row)``: weights of the morphing rows and their first and second derivatives.
        exponential: Per process the rows in use (row numbers of the matrix).
        groups: Polynomial factors in use, in the order of processes.
        tables: The same two as the compiled kernels read them: ``(row, 2)``, row number and
            process, and ``(row, 3)``, row number, process, group; the row numbers of both.
        point: The values of the parameters that shapes depend on, as bytes: what is equal for
            equal points.
    """

    weights: Float
    exponential: list[Indices]
    groups: list[Group]
    tables: tuple[Indices, Indices, Indices]
    point: bytes


@dataclass(frozen=True, slots=True)
class _InUse:
    """What a plan says of the rows that are in use there."""

    rows: npt.NDArray[np.bool_]
    exponential: list[Indices]
    groups: list[Group]
    tables: tuple[Indices, Indices, Indices]


@dataclass(frozen=True, slots=True)
class SecondTables:
    """Rows in use with their places among the parameters of their process.

    Attributes:
        exponential: ``(row, 3)``: row number, process, place among the process's parameters.
        polynomial: ``(row, 4)``: the same and the group; sorted by group.
        parameters: ``(process, place)``: parameter numbers, -1 behind the last.
        shapers: ``(process, place)``: the same as places among `all_shapers`.
        all_shapers: The parameters of all shapes.
    """

    exponential: Indices
    polynomial: Indices
    parameters: Indices
    shapers: Indices
    all_shapers: Indices


class Layout:
    """Rows of an unbinned channel.

    Args:
        model: Its processes and nuisances.
        columns: Which nuisances have columns.
        names: All parameters of the likelihood, in order.

    Attributes:
        shapers: Places of the parameters that shapes depend on.
    """

    def __init__(self, model: Model, columns: RatioColumns, names: Sequence[str]) -> None:
        self.processes: list[str] = list(model.processes)
        self.names: list[str] = list(names)
        _check_processes(self.processes, columns)
        self.factors: list[Factor] = []
        exponential = polynomial = 0
        for p, process in enumerate(self.processes):
            for nuisance in columns.nuisances(process):
                code = _code(model, process, nuisance)
                ends = (
                    exponential + _width(code, "exponential_columns"),
                    (polynomial + _width(code, "polynomial_columns")),
                )
                self.factors.append(
                    Factor(
                        p, self.names.index(nuisance), nuisance, code,
                        slice(exponential, ends[0]), slice(polynomial, ends[1]),
                    )
                )  # fmt: skip
                exponential, polynomial = ends
        self.first_exponential: int = len(self.processes)
        self.first_polynomial: int = self.first_exponential + exponential
        self.num_rows: int = self.first_polynomial + polynomial
        self._by_code = _by_code(self.factors)
        self.shapers = np.array(sorted({f.parameter for f in self.factors}), np.int64)
        self._last: Plan | None = None
        self._in_use: _InUse | None = None
        self.row_parameter = self._row_parameter()
        self._row_place = self._places_of_rows()
        self._second: tuple[tuple[Indices, ...], SecondTables] | None = None

    @property
    def shaped(self) -> list[int]:
        """The processes whose shape changes with a nuisance."""
        return sorted({factor.process for factor in self.factors})

    def _row_parameter(self) -> Indices:
        where = np.full(self.num_rows, -1, np.int64)
        for factor in self.factors:
            where[self.first_exponential :][factor.exponential] = factor.parameter
            where[self.first_polynomial :][factor.polynomial] = factor.parameter
        return where

    def _places_of_rows(self) -> Indices:
        """Of the morphing rows in a flat ``(process, parameter)``."""
        where = np.empty(self.num_rows - self.first_exponential, np.int64)
        for factor in self.factors:
            place = factor.process * len(self.names) + factor.parameter
            where[factor.exponential] = place
            where[self.first_polynomial - self.first_exponential :][factor.polynomial] = place
        return where

    def slopes(self, plan: Plan, sums: Float) -> Float:
        """Derivatives by each parameter of sums over events, ``(process, parameter)``.

        Args:
            sums: Of all rows, ``(row,)``: see `_kernels`.
        """
        shape = len(self.processes), len(self.names)
        first = self.first_exponential
        terms = plan.weights[1, first:] * sums[first:]
        found = np.bincount(self._row_place, terms, minlength=shape[0] * shape[1])
        return np.asarray(found, np.float64).reshape(shape)

    def second_tables(self, plan: Plan) -> SecondTables:
        """What second derivatives need of the rows in use."""
        known = self._second
        if known is None or known[0] is not plan.tables:
            self._second = known = plan.tables, _second_tables(self, plan)
        return known[1]

    def store(self, columns: RatioColumns, what: str, *, double: bool) -> Store:
        """The rows for some events in blocks; see `matrix`.

        Args:
            double: float64 for any number of events.
        """

        def fill(events: slice) -> Float:
            try:
                return self.matrix(columns.part(events), what)
            except NonFiniteError:
                self.matrix(columns, what)  # the same error with the numbers of all events
                raise

        self.check_columns(columns, what)
        return Store.filled(fill, rows=self.num_rows, events=columns.num_events, double=double)

    def check_columns(self, columns: RatioColumns, what: str) -> None:
        """Refuse columns of other processes or nuisances.

        Raises:
            MissingColumnError: A process or nuisance without columns.
        """
        _check_processes(self.processes, columns)
        for p, process in enumerate(self.processes):
            ours = {f.nuisance for f in self.factors if f.process == p}
            if ours != set(columns.nuisances(process)):
                message = (
                    f"the {what} columns of process {process!r} have the nuisances "
                    f"{sorted(columns.nuisances(process))}, those of the data {sorted(ours)}"
                )
                raise MissingColumnError(message)

    def events(self, columns: RatioColumns, what: str, *, blocks: bool, double: bool) -> Events:
        """Events for the sums: in blocks for the compiled ones."""
        if not blocks:
            rows: Store | Float = self.matrix(columns, what)
            kept: RatioColumns | None = columns
        else:
            rows = store = self.store(columns, what, double=double)
            kept = None if store.single else columns
        return Events(rows, columns.weights, kept, columns.asimov, columns.origin)

    def columns(self, events: Events) -> RatioColumns:
        """The columns of events, as precise as their rows where nothing else was kept."""
        if events.columns is not None:
            return events.columns
        rows = events.rows
        matrix = rows.matrix(slice(None)) if isinstance(rows, Store) else rows
        ratios: dict[str, dict[str, Any]] = {}
        for p, process in enumerate(self.processes):
            ratios[process] = {NOMINAL: matrix[p]}
        for factor in self.factors:
            up, down = CODES[factor.code].sides(
                matrix[self.first_exponential :][factor.exponential],
                matrix[self.first_polynomial :][factor.polynomial],
            )
            nominal = matrix[factor.process]
            ratios[self.processes[factor.process]][factor.nuisance] = (
                nominal * up, nominal * down
            )  # fmt: skip
        return RatioColumns(
            ratios, events.weights, may_be_empty=True, asimov=events.asimov, origin=events.origin
        )

    def matrix(self, columns: RatioColumns, what: str) -> Float:
        """The rows for some events, ``(row, event)``.

        Raises:
            MissingColumnError: A process or nuisance without columns.
            NonFiniteError: A variation whose ratio to nominal has no logarithm.
        """
        self.check_columns(columns, what)
        matrix = np.empty((self.num_rows, columns.num_events))
        for p, process in enumerate(self.processes):
            matrix[p] = columns.ratio(process)
        for factor in self.factors:
            self._fill(matrix, factor, columns, what)
        return matrix

    def _fill(self, matrix: Float, factor: Factor, columns: RatioColumns, what: str) -> None:
        process = self.processes[factor.process]
        nominal = columns.ratio(process)
        sides = [
            _relative(side, nominal, f"{what}: process {process!r}, {factor.nuisance}.{label}",
                      logarithm=takes_logarithms(factor.code))
            for label, side in zip(
                ("up", "down"), columns.variation(process, factor.nuisance), strict=True
            )
        ]  # fmt: skip
        code = CODES[factor.code]
        if code.exponential_columns is not None:
            matrix[self.first_exponential : self.first_polynomial][factor.exponential] = (
                code.exponential_columns(*sides)
            )
        if code.polynomial_columns is not None:
            matrix[self.first_polynomial :][factor.polynomial] = code.polynomial_columns(*sides)

    def values(self, plan: Plan) -> Float:
        """The values of the parameters `shapers` at a plan."""
        return np.frombuffer(plan.point, np.float64)

    def plan(self, theta: Float) -> Plan:
        """The weights of the rows at a point; the last one is kept.

        Fits move one parameter at a time when they take derivatives: often none of those that
        matter here.
        """
        point = theta[self.shapers].tobytes()
        last = self._last  # read once: other threads may put theirs there
        if last is None or last.point != point:
            self._last = last = self._make_plan(theta, point)
        return last

    def _make_plan(self, theta: Float, point: bytes) -> Plan:
        weights = np.zeros((3, self.num_rows))
        for code, parameters, pairs in self._by_code:
            alpha = theta[parameters]
            kind = CODES[code]
            for function, first, rows, which, column in (
                (kind.exponential, self.first_exponential, *pairs[0]),
                (kind.polynomial, self.first_polynomial, *pairs[1]),
            ):
                if function is not None:
                    weights[:, first + rows] = function(alpha)[:, which, column]
        used = (weights != 0.0).any(axis=0)
        known = self._in_use
        if known is None or not np.array_equal(known.rows, used):
            exponential, groups = self._exponential_rows(used), self._groups(used)
            known = _InUse(used, exponential, groups, _tables(exponential, groups))
            self._in_use = known
        return Plan(weights, known.exponential, known.groups, known.tables, point)

    def _exponential_rows(self, used: npt.NDArray[np.bool_]) -> list[Indices]:
        found: list[Indices] = []
        for p in range(len(self.processes)):
            places = [f.exponential for f in self.factors if f.process == p]
            if not places:
                found.append(np.empty(0, np.int64))
                continue
            rows = self.first_exponential + np.arange(places[0].start, places[-1].stop)
            found.append(rows[used[rows]])
        return found

    def _groups(self, used: npt.NDArray[np.bool_]) -> list[Group]:
        groups = []
        for factor in self.factors:
            rows = self.first_polynomial + np.arange(
                factor.polynomial.start, factor.polynomial.stop
            )
            if len(rows) and used[rows].any():
                groups.append(Group(factor.process, factor.parameter, rows))
        return groups


def _tables(exponential: list[Indices], groups: list[Group]) -> tuple[Indices, Indices, Indices]:
    """See `Plan.tables`."""
    first = [(row, p) for p, rows in enumerate(exponential) for row in rows]
    second = [(row, group.process, g) for g, group in enumerate(groups) for row in group.rows]
    tables = np.array(first, np.int64).reshape(-1, 2), np.array(second, np.int64).reshape(-1, 3)
    return *tables, np.concatenate([table[:, 0] for table in tables])


def _second_tables(layout: Layout, plan: Plan) -> SecondTables:
    owners: list[list[int]] = []
    for p, rows in enumerate(plan.exponential):
        mine = set(layout.row_parameter[rows].tolist())
        mine |= {group.parameter for group in plan.groups if group.process == p}
        owners.append(sorted(mine))
    parameters = np.full((len(owners), max([1, *map(len, owners)])), -1, np.int64)
    for p, mine_sorted in enumerate(owners):
        parameters[p, : len(mine_sorted)] = mine_sorted
    shapers = np.array(sorted(set().union(*owners)), np.int64)
    exponential = [
        (row, p, owners[p].index(int(layout.row_parameter[row])))
        for p, rows in enumerate(plan.exponential)
        for row in rows
    ]
    polynomial = [
        (row, group.process, owners[group.process].index(group.parameter), g)
        for g, group in enumerate(plan.groups)
        for row in group.rows
    ]
    return SecondTables(
        np.array(exponential, np.int64).reshape(-1, 3),
        np.array(polynomial, np.int64).reshape(-1, 4),
        parameters,
        np.searchsorted(shapers, parameters).astype(np.int64),
        shapers,
    )


def _check_processes(processes: list[str], columns: RatioColumns) -> None:
    for process in processes:
        if process not in set(columns):
            message = (
                f"the model's process {process!r} has no column; available: "
                f"{nearest(process, columns)}"
            )
            raise MissingColumnError(message)
    for process in columns:
        if process not in processes:
            message = (
                f"there is a column for {process!r}, which is not a process of the model; it has "
                f"{nearest(process, processes)}"
            )
            raise UsageError(message)


def _code(model: Model, process: str, nuisance: str) -> str:
    found = model.all_parameters.get(nuisance)
    if not isinstance(found, Nuisance):
        message = (
            f"the columns of process {process!r} vary with {nuisance!r}, which is not a nuisance "
            f"of the model; it has {nearest(nuisance, model.nuisances)}"
        )
        raise UsageError(message)
    return found.interpolation


def _width(code: str, which: str) -> int:
    function = getattr(CODES[code], which)
    return 0 if function is None else len(function(np.ones(1), np.ones(1)))


def _relative(side: Float, nominal: Float, what: str, *, logarithm: bool) -> Float:
    """``side / nominal``; where both are 0 the event cannot be of this process: 1."""
    empty = (nominal == 0.0) & (side == 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(empty, 1.0, side / nominal)
    bad = ~(np.isfinite(ratio) & (ratio > 0.0)) if logarithm else ~np.isfinite(ratio)
    if bad.any():
        events = np.flatnonzero(bad)
        kind = "has no positive ratio to nominal" if logarithm else "has no ratio to nominal"
        raise NonFiniteError(offending(events, side, f"{what} {kind}", len(side)))
    return ratio


_Pairs: TypeAlias = tuple[Indices, Indices, Indices]


def _by_code(factors: list[Factor]) -> list[tuple[str, Indices, tuple[_Pairs, _Pairs]]]:
    """Per code: its parameters, and (row, which parameter, which column) of both kinds."""
    found = []
    for code in sorted({factor.code for factor in factors}):
        ours = [factor for factor in factors if factor.code == code]
        parameters = sorted({factor.parameter for factor in ours})
        kinds = tuple(
            _triples([(getattr(f, kind), parameters.index(f.parameter)) for f in ours])
            for kind in ("exponential", "polynomial")
        )
        found.append((code, np.array(parameters, np.int64), (kinds[0], kinds[1])))
    return found


def _triples(entries: list[tuple[slice, int]]) -> _Pairs:
    rows, which, column = [], [], []
    for place, parameter in entries:
        for j, row in enumerate(range(place.start, place.stop)):
            rows.append(row)
            which.append(parameter)
            column.append(j)
    return np.array(rows, np.int64), np.array(which, np.int64), np.array(column, np.int64)
