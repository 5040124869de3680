"""Gaussianisation: a feature of one domain to a standard normal variable, and back, by a table.

Knots ``(x, z)`` ascend in both. Where two have the same x, that value is an *atom*: it owns the
whole interval of z, and which z of it an event gets is drawn at random. Where two have the same z,
no event lies between their x: a *gap* in the support. So::

    forward:  k = last knot with x_k <= x
              z = Phi^-1(u_low[k] + draw * (u_high[k] - u_low[k]))    if x is x_k and u_high[k] > 0
              z = straight line from knot k to knot k + 1             otherwise
    inverse:  k = last knot with z_k <= z;  x = straight line from knot k to knot k + 1
    beyond the first and last knot: straight lines with the slope of the tail, or flat where the
    support has an edge (an atom, or a density that does not thin out)

The inverse gives atoms and edges exactly and nothing inside a gap, whatever z.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Bool, Float
from rootml.errors import StateError
from rootml.sbi.morphing.preprocessing._normal import normal_quantile

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Table:
    """Knots of one feature in one domain.

    Attributes:
        x, z: `(knots,)`, both ascending.
        u_low, u_high: `(knots,)` the probabilities that an atom owns, at its last knot; for other
            values with several knots both are the middle; else 0.
        slopes: dz/dx below the first and above the last knot; 0: the support ends there.
        integer: Whether all values were integers: results are rounded.
        ends: `(2,)`, the range of values that the table was made for, with the little that a tail
            may reach beyond the largest value of the sample.
        sentinels: Values outside of this range that are atoms.
    """

    x: Float
    z: Float
    u_low: Float
    u_high: Float
    slopes: Float
    integer: bool
    ends: Float
    sentinels: Float

    def inside(self, x: Float) -> Bool:
        """Which values `(rows,)` the table was made for."""
        within = (x >= self.ends[0]) & (x <= self.ends[1])
        known: Bool = within | np.isin(x, self.sentinels) if len(self.sentinels) else within
        return known

    def clip(self, x: Float) -> Float:
        """Values outside moved to the nearer end."""
        found: Float = np.where(self.inside(x), x, np.clip(x, *self.ends))
        return found

    def forward(self, x: Float, draws: Float) -> Float:
        """z of values `(rows,)`, given a uniform number for each."""
        last = len(self.x) - 1
        k = np.searchsorted(self.x, x, side="right") - 1
        inner = np.clip(k, 0, last - 1)
        x0, z0 = self.x[inner], self.z[inner]
        width = self.x[inner + 1] - x0
        share = (x - x0) / np.where(width > 0, width, 1.0)
        z = z0 + share * (self.z[inner + 1] - z0)
        z = np.where(k < 0, self.z[0] + (x - self.x[0]) * self.slopes[0], z)
        z = np.where(k >= last, self.z[-1] + (x - self.x[-1]) * self.slopes[1], z)
        at = np.maximum(k, 0)
        rows = np.flatnonzero((self.u_high[at] > 0) & (self.x[at] == x))
        low, high = self.u_low[at[rows]], self.u_high[at[rows]]
        z[rows] = normal_quantile(low + draws[rows] * (high - low))
        return z

    def atom(self, x: Float) -> npt.NDArray[np.intp]:
        """Which atom values `(rows,)` are, a place in `atoms`; -1: none."""
        atoms = self.atoms
        if not len(atoms):
            return np.full(len(x), -1)
        at = np.minimum(np.searchsorted(atoms, x), len(atoms) - 1)
        return np.where(atoms[at] == x, at, -1)

    def inverse(self, z: Float) -> Float:
        """Values `(rows,)` of z."""
        last = len(self.z) - 1
        k = np.searchsorted(self.z, z, side="right") - 1
        inner = np.clip(k, 0, last - 1)
        x0, z0 = self.x[inner], self.z[inner]
        width = self.z[inner + 1] - z0
        share = (z - z0) / np.where(width > 0, width, 1.0)
        x = x0 + share * (self.x[inner + 1] - x0)
        below, above = self.stretch
        x = np.where(k < 0, self.x[0] + (z - self.z[0]) * below, x)
        x = np.where(k >= last, self.x[-1] + (z - self.z[-1]) * above, x)
        return np.rint(x) if self.integer else x

    @property
    def stretch(self) -> Float:
        """dx/dz beyond the ends."""
        steep = self.slopes > 0
        return np.where(steep, 1.0 / np.where(steep, self.slopes, 1.0), 0.0)

    @property
    def atoms(self) -> Float:
        """Values that are atoms."""
        found: Float = self.x[self.u_high > self.u_low]
        return found

    def arrays(self) -> Arrays:
        """All attributes as arrays."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], where: str) -> Table:
        """The table that `arrays` was made of.

        Raises:
            StateError: Nothing that `Table` could have made.
        """
        try:
            names = ("x", "z", "u_low", "u_high", "slopes", "ends", "sentinels")
            numbers = [np.asarray(arrays[name], np.float64) for name in names]
            integer = bool(arrays["integer"])
        except (KeyError, TypeError, ValueError) as error:
            message = f"{where}: a table of a feature is incomplete: {error!r}"
            raise StateError(message) from error
        x, z, u_low, u_high, slopes, ends, sentinels = numbers
        good = x.ndim == 1 and len(x) >= 2 and x.shape == z.shape == u_low.shape == u_high.shape
        if not (
            good
            and slopes.shape == ends.shape == (2,)
            and sentinels.ndim == 1
            and all(np.isfinite(each).all() for each in numbers)
            and (np.diff(x) >= 0).all()
            and (np.diff(z) >= 0).all()
            and ((u_low >= 0) & (u_high <= 1) & (slopes >= 0).all()).all()
        ):
            message = f"{where}: a table of a feature is damaged: its knots do not ascend"
            raise StateError(message)
        return cls(x, z, u_low, u_high, slopes, integer, ends, sentinels)


@dataclass(frozen=True, slots=True)
class Intervals:
    """The probabilities that are left to chance.

    Attributes:
        index: `(rows, features)`, which interval a value owns; 0: it is no atom.
        low, high: Ends of the intervals; the first is not used.
    """

    index: npt.NDArray[Any]
    low: Float
    high: Float

    def take(self, rows: Any) -> Intervals:
        """Some of the rows."""
        return Intervals(self.index[rows], self.low, self.high)

    def draw(self, z: npt.NDArray[np.float32], rows: Any, rng: np.random.Generator) -> None:
        """Draw the z of atoms anew, in place, for the rows that `z` was taken from."""
        index = self.index[rows]
        on = np.nonzero(index)
        k = index[on]
        low = self.low[k]
        z[on] = normal_quantile(low + rng.random(len(k)) * (self.high[k] - low))


def join_intervals(parts: Sequence[Intervals | None], rows: Sequence[int]) -> Intervals | None:
    """Of several parts, with so many rows each, one after another."""
    present = [part for part in parts if part is not None]
    if not present:
        return None
    columns = present[0].index.shape[1]
    low, high, index, count = [np.zeros(1)], [np.zeros(1)], [], 0
    for part, number in zip(parts, rows, strict=True):
        if part is None:
            index.append(np.zeros((number, columns), np.uint8))
            continue
        kind = np.min_scalar_type(count + len(part.low))
        shifted = part.index.astype(kind)
        shifted[shifted > 0] += kind.type(count)
        index.append(shifted)
        low.append(part.low[1:])
        high.append(part.high[1:])
        count += len(part.low) - 1
    return Intervals(np.concatenate(index), np.concatenate(low), np.concatenate(high))


@dataclass(frozen=True, slots=True)
class Gaussianiser:
    """The tables of all features in one domain."""

    tables: tuple[Table, ...]

    def forward(self, features: Float, draws: Float) -> npt.NDArray[np.float32]:
        """float32 z `(rows, features)` of values and uniform numbers of that shape."""
        z = np.empty(features.shape, np.float32)
        for j, table in enumerate(self.tables):
            z[:, j] = table.forward(features[:, j], draws[:, j])
        return z

    def inside(self, features: Float) -> Bool:
        """Which of the values `(rows, features)` the tables were made for."""
        columns = zip(self.tables, features.T, strict=True)
        return np.stack([table.inside(column) for table, column in columns], axis=1)

    def clip(self, features: Float) -> Float:
        """Values `(rows, features)`, those outside moved to the nearer end."""
        columns = zip(self.tables, features.T, strict=True)
        return np.stack([table.clip(column) for table, column in columns], axis=1)

    def inverse(self, z: npt.NDArray[Any]) -> Float:
        """float64 values `(rows, features)`."""
        x = np.empty(z.shape)
        for j, table in enumerate(self.tables):
            x[:, j] = table.inverse(z[:, j].astype(np.float64))
        return x

    def intervals(self, features: Float) -> Intervals | None:
        """What atoms own, for each of the values `(rows, features)`; None: there are no atoms."""
        counts = [len(table.atoms) for table in self.tables]
        if not sum(counts):
            return None
        starts = np.cumsum([1, *counts])
        index = np.zeros(features.shape, np.min_scalar_type(int(starts[-1])))
        for j, table in enumerate(self.tables):
            at = table.atom(features[:, j])
            index[:, j] = np.where(at < 0, 0, starts[j] + at)
        owned = [table.u_high > table.u_low for table in self.tables]
        ends = [
            np.concatenate([getattr(t, end)[on] for t, on in zip(self.tables, owned, strict=True)])
            for end in ("u_low", "u_high")
        ]
        return Intervals(index, np.append(0.0, ends[0]), np.append(0.0, ends[1]))

    def arrays(self) -> Arrays:
        """Everything by name, ``<feature number>.<attribute>``."""
        return {
            f"{j}.{name}": values
            for j, table in enumerate(self.tables)
            for name, values in table.arrays().items()
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], features: int, where: str) -> Gaussianiser:
        """The reverse of `arrays`."""
        return cls(tuple(Table.from_arrays(part(arrays, f"{j}."), where) for j in range(features)))


def part(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The entries whose name begins with `prefix`, without it."""
    return {name[len(prefix) :]: each for name, each in arrays.items() if name.startswith(prefix)}


@dataclass(frozen=True, slots=True)
class Conditions:
    """From conditions to the context of the flow, two columns for each.

    The first is Gaussianised (both domains together), which resolves where events are many, the
    second a compressed scale, ``asinh((c - mean) / width)``, which keeps distances.

    Attributes:
        names: What they are called.
        tables: Of the first columns.
        mean, width: `(conditions,)` of the second.
        low, high: `(conditions,)`: the range in which both domains have events; outside of it
            nothing was learned.
    """

    names: tuple[str, ...]
    tables: tuple[Table, ...]
    mean: Float
    width: Float
    low: Float
    high: Float

    @property
    def columns(self) -> int:
        """Columns of the context, the switch among them."""
        return 2 * len(self.names) + 1

    def inside(self, values: Float) -> npt.NDArray[np.bool_]:
        """Which of `(rows, conditions)` lie in the range, one by one; NaN does not."""
        return (values >= self.low) & (values <= self.high)

    def context(self, values: Float) -> npt.NDArray[np.float32]:
        """float32 `(rows, columns)`; the last column is the switch, 0: simulation."""
        context = np.zeros((len(values), self.columns), np.float32)
        nothing = np.full(len(values), 0.5)
        for j, table in enumerate(self.tables):
            context[:, 2 * j] = table.forward(values[:, j], nothing)
            context[:, 2 * j + 1] = np.arcsinh((values[:, j] - self.mean[j]) / self.width[j])
        return context

    def arrays(self) -> Arrays:
        """Everything but the names."""
        numbers = {name: getattr(self, name) for name in ("mean", "width", "low", "high")}
        return {**Gaussianiser(self.tables).arrays(), **numbers}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Any], names: Sequence[str], where: str
    ) -> Conditions:
        """The reverse of `arrays`.

        Raises:
            StateError: Nothing that it could have made.
        """
        tables = Gaussianiser.from_arrays(arrays, len(names), where).tables
        try:
            numbers = [np.asarray(arrays[n], np.float64) for n in ("mean", "width", "low", "high")]
        except KeyError as error:
            message = f"{where}: the scale of the conditions is incomplete: {error!r}"
            raise StateError(message) from error
        good = all(each.shape == (len(names),) and np.isfinite(each).all() for each in numbers)
        if not good or not (numbers[1] > 0).all():
            message = f"{where}: the scale of the conditions is damaged"
            raise StateError(message)
        return cls(tuple(names), tables, *numbers)
