"""The likelihood along one parameter, all others refitted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rootml._internal.progress import track
from rootml._internal.reprs import Grid, HtmlRepr, Paragraph, Part
from rootml._internal.types import Float
from rootml._internal.validators import check_number, check_whole
from rootml.errors import ConvergenceError, DensityError
from rootml.plot import Labels, Style, named, write
from rootml.plot import scan as draw_scan
from rootml.sbi.inference.fits._cabinetry import CabinetryResults, container
from rootml.sbi.inference.fits._hepdata import table
from rootml.sbi.inference.minimum._minimise import limits
from rootml.sbi.inference.minimum._quantiles import (
    as_numbers,
    check_level,
    chi2_quantile,
)
from rootml.sbi.inference.minimum._quasi_newton import Conditional
from rootml.sbi.likelihood._fittable import Fittable, is_weighted
from rootml.sbi.likelihood._layout import Indices

if TYPE_CHECKING:
    import hepdata_lib
    from matplotlib.axes import Axes

_FARTHEST = 10.0
_LOWER = -1e-3  # t below: not the rounding of -log L
_WEIGHTED = "the data have weights that are not counts: t counts each weight as events"


class Scannable(Protocol):
    """What a scan needs of a fit; `FitResult` is one."""

    like: Fittable
    values: dict[str, float]
    errors: dict[str, float]
    covariance: Float
    nll: float
    valid: bool

    @property
    def theta(self) -> Float:
        """The values as an array."""
        ...

    def check_free(self, name: str) -> None:
        """Refuse a name that is not a varied parameter."""
        ...

    def require_valid(self) -> Scannable:
        """Refuse a fit that did not converge."""
        ...

    def conditional(
        self, held: dict[str, float], *, near: Conditional | None = None
    ) -> Conditional:
        """The minimum with some parameters held."""
        ...

    def end(self, name: str, *, edge: float, sign: float) -> float | None:
        """Where sqrt(t) reaches an edge on one side; None: not found."""
        ...


@dataclass(frozen=True)
class Profile(HtmlRepr):
    """``t = -2 log (L(value, others refitted) / L_max)`` along one parameter.

    Attributes:
        name: The parameter.
        values: Where, ``(point,)``.
        t: The test statistic, ``(point,)``.
        theta: All parameters at each point, ``(point, parameter)``.
        best: The fitted value.
        invalid: Points whose fit did not converge or that have no likelihood: their t is NaN.
        note: What is to be known of t, in words; "" if nothing.
    """

    name: str
    values: Float
    t: Float
    theta: Float
    best: float
    invalid: int
    note: str = ""

    def interval(self, level: float = 0.6826894921370859) -> tuple[float, float]:
        """The ends between which t stays below the quantile, by linear interpolation of sqrt(t).

        Raises:
            ConvergenceError: The scan does not reach an end.
        """
        edge = chi2_quantile(check_level(level), 1) ** 0.5
        ends = []
        for sign in (-1.0, 1.0):
            side = np.flatnonzero((self.values - self.best) * sign > 0.0)
            side = side[np.argsort(np.abs(self.values[side] - self.best))]
            x = np.append(self.best, self.values[side])
            root = np.append(0.0, np.sqrt(np.maximum(self.t[side], 0.0)))
            stops = np.flatnonzero(~(root < edge))  # the first outwards: beyond it, or NaN
            if not len(stops) or np.isnan(root[stops[0]]):
                message = f"the scan of {self.name!r} ends before t reaches {edge**2:.3g}"
                raise ConvergenceError(message)
            after = int(stops[0])
            share = (edge - root[after - 1]) / (root[after] - root[after - 1])
            ends.append(float(x[after - 1] + share * (x[after] - x[after - 1])))
        return ends[0], ends[1]

    def plot(
        self,
        *,
        ax: Any = None,
        labels: Labels = None,
        units: Labels = None,
        style: Style = "plain",
        path: Any = None,
    ) -> Axes:
        """Draw t with the ends of the intervals, see `rootml.plot.scan`.

        Args:
            ax, labels, units, style: As for all functions of `rootml.plot`.
            path: Write the picture there; None: notebooks show it.

        Returns:
            The axes.
        """
        look: Any = {"ax": ax, "labels": labels, "units": units, "style": style}
        return write(draw_scan(self.name, self.values, self.t, best=self.best, **look), path)

    def to_cabinetry(self) -> CabinetryResults:
        """A `cabinetry.fit.ScanResults`; its error is half the interval of one deviation.

        Raises:
            ConvergenceError: The scan does not reach the ends of that interval.
            MissingPackageError: cabinetry is not installed.
        """
        low, high = self.interval()
        return container(
            "ScanResults", name=self.name, bestfit=self.best, uncertainty=0.5 * (high - low),
            parameter_values=self.values, delta_nlls=self.t,
        )  # fmt: skip

    def to_hepdata(
        self, name: str, *, labels: Labels = None, units: Labels = None, digits: int = 5
    ) -> hepdata_lib.Table:
        """A `hepdata_lib.Table` of the scan.

        Args:
            name: Of the table.
            labels, units: As for the pictures.
            digits: Significant digits of errors, and of values without errors.

        Raises:
            MissingPackageError: hepdata_lib is not installed.
        """
        quantity = named(self.name, labels, units)
        return table(
            name, f"-2 log likelihood ratio along {quantity}",
            independent={quantity: self.values},
            dependent={"$-2\\Delta\\ln L$": (self.t, {})}, digits=digits,
        )  # fmt: skip

    def _grid(self) -> Grid:
        rows = [(f"{value:.6g}", f"{t:.4f}") for value, t in zip(self.values, self.t, strict=True)]
        return Grid((self.name, "-2 log L / L_max"), rows)

    def __repr__(self) -> str:
        return f"{self._grid()}\nnote: {self.note}" if self.note else str(self._grid())

    def _html_parts(self) -> list[Part]:
        return [self._grid(), *([Paragraph(self.note)] if self.note else [])]


def profile(
    result: Scannable,
    name: str,
    *,
    points: int,
    sigmas: float,
    values: Any,
    progress: bool | None,
) -> Profile:
    """See `FitResult.profile`."""
    result.check_free(name)
    result.require_valid()
    index = list(result.values).index(name)
    best = result.values[name]
    if values is None:
        sigmas = check_number("sigmas", sigmas, above=0.0)
        values = _range(result, name, check_whole("points", points, minimum=1), sigmas)
    grid = as_numbers("values", values)
    t, theta = np.full(len(grid), np.nan), np.full((len(grid), len(result.values)), np.nan)
    near: Conditional | None = None
    order = _outwards(grid, best)
    for i in track(order, total=len(order), what=f"scan of {name}", enabled=progress):
        if near is not None and (grid[i] - best) * (near.theta[index] - best) < 0.0:
            near = None  # the other side
        try:
            found = result.conditional({name: float(grid[i])}, near=near)
        except DensityError:  # no likelihood there: NaN, counted in `invalid`
            continue
        if found.valid:
            t[i] = 2.0 * (found.nll - result.nll)
            theta[i], near = found.theta, found
    notes = [_WEIGHTED] if is_weighted(result.like) else []
    lowest = int(np.nanargmin(t)) if np.isfinite(t).any() else 0
    if t[lowest] < _LOWER:
        notes.append(
            f"the fit is not the lowest minimum: t is {t[lowest]:.4g} at {name} = "
            f"{grid[lowest]:.6g}; fit again from there, with start="
        )
    return Profile(name, grid, t, theta, best, int(np.isnan(t).sum()), "; ".join(notes))


def _range(result: Scannable, name: str, points: int, sigmas: float) -> Float:
    """Values from where sqrt(t) is `sigmas` on one side to where it is on the other, `(point,)`.

    The fitted value is one of them. An end that is not found is where the error puts it, and none
    is more than `_FARTHEST` times as far.
    """
    best = result.values[name]
    ends = []
    for sign, side in zip((-1.0, 1.0), limits(result.like), strict=True):
        found = result.end(name, edge=sigmas, sign=sign)
        reach = sigmas * result.errors[name] * (1.0 if found is None else _FARTHEST)
        if found is not None and not reach:  # at a limit, without an error
            reach = math.inf
        limit = sign * (side[list(result.values).index(name)] if found is None else found)
        ends.append(sign * min(sign * best + reach, limit))
    low, high = ends
    if points < 3 or best in {low, high}:
        return np.linspace(low, high, points)
    left = int(np.clip(round((points - 1) * (best - low) / (high - low)), 1, points - 2))
    right = points - left
    return np.append(np.linspace(low, best, left + 1)[:-1], np.linspace(best, high, right))


def _outwards(grid: Float, best: float) -> Indices:
    """Indices to the right and then to the left of the minimum, nearest first: each fit starts
    from the one before it."""
    order = np.argsort(grid)
    return np.append(order[grid[order] >= best], order[grid[order] < best][::-1])
