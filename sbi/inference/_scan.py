"""The likelihood along one parameter and in the plane of two, all others refitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rootml._internal.reprs import Grid, HtmlRepr, Paragraph, Part
from rootml._internal.types import Float
from rootml.errors import ConvergenceError, DensityError, UsageError
from rootml.plot import Labels, Style, named, write
from rootml.plot import contour as draw_contour
from rootml.plot import scan as draw_scan
from rootml.sbi.inference._cabinetry import CabinetryResults, container
from rootml.sbi.inference._hepdata import table
from rootml.sbi.inference._minimise import limits
from rootml.sbi.inference._quantiles import check_level, chi2_quantile
from rootml.sbi.inference._quasi_newton import Conditional
from rootml.sbi.likelihood._fittable import Fittable, is_weighted
from rootml.sbi.likelihood._layout import Indices

if TYPE_CHECKING:
    import hepdata_lib
    import iminuit
    from matplotlib.axes import Axes

_WEIGHTED = "the data have weights that are not counts: t counts each weight as events"


class Scannable(Protocol):
    """What a scan needs of a fit; `FitResult` is one."""

    like: Fittable
    values: dict[str, float]
    errors: dict[str, float]
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

    def at_minimum(self) -> iminuit.Minuit:
        """Minuit, placed at the minimum."""
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


@dataclass(frozen=True)
class Contour:
    """Curves in the plane of two parameters on which the profile likelihood reaches levels.

    Attributes:
        x: Name of one parameter.
        y: Name of the other.
        curves: Per confidence level the closed curve, ``(point, 2)``.
        best: The fitted point.
    """

    x: str
    y: str
    curves: dict[float, Float]
    best: tuple[float, float]

    def plot(
        self,
        *,
        ax: Any = None,
        labels: Labels = None,
        units: Labels = None,
        style: Style = "plain",
        path: Any = None,
    ) -> Axes:
        """Draw the curves and the fitted point, see `rootml.plot.contour`.

        Args:
            ax, labels, units, style: As for all functions of `rootml.plot`.
            path: Write the picture there; None: notebooks show it.

        Returns:
            The axes.
        """
        look: Any = {"ax": ax, "labels": labels, "units": units, "style": style}
        return write(draw_contour(self.x, self.y, self.curves, best=self.best, **look), path)

    def __repr__(self) -> str:
        levels = ", ".join(f"{level:.3g}" for level in self.curves)
        return f"Contour of {self.x} and {self.y} at the levels {levels}"


def profile(result: Scannable, name: str, *, points: int, sigmas: float, values: Any) -> Profile:
    """See `FitResult.profile`."""
    result.check_free(name)
    result.require_valid()
    index = list(result.values).index(name)
    best = result.values[name]
    if values is None:
        low, high = (side[index] for side in limits(result.like))
        reach = sigmas * result.errors[name]
        values = np.linspace(max(best - reach, low), min(best + reach, high), points)
    grid = np.asarray(values, np.float64)
    if grid.ndim != 1 or not len(grid) or not np.isfinite(grid).all():
        message = f"values must be a list of finite numbers, not {grid.tolist()}"
        raise UsageError(message)
    t, theta = np.full(len(grid), np.nan), np.full((len(grid), len(result.values)), np.nan)
    for order in _outwards(grid, best):
        near = None
        for i in order:
            try:
                found = result.conditional({name: float(grid[i])}, near=near)
            except DensityError:  # no likelihood there: NaN, counted in `invalid`
                continue
            if found.valid:
                t[i] = 2.0 * (found.nll - result.nll)
                theta[i], near = found.theta, found
    note = _WEIGHTED if is_weighted(result.like) else ""
    return Profile(name, grid, t, theta, best, int(np.isnan(t).sum()), note)


def _outwards(grid: Float, best: float) -> tuple[Indices, Indices]:
    """Indices to the right and to the left of the minimum, nearest first: each fit starts from
    the one before it."""
    order = np.argsort(grid)
    right = order[grid[order] >= best]
    return right, order[grid[order] < best][::-1]


def contour(
    result: Scannable, x: str, y: str, *, levels: tuple[float, ...], points: int
) -> Contour:
    """See `FitResult.contour`."""
    for name in (x, y):
        result.check_free(name)
    if x == y:
        message = f"a contour is of two parameters, not of {x!r} and {y!r}"
        raise UsageError(message)
    for level in levels:
        check_level(level)
    minuit = result.at_minimum()
    curves = {}
    for level in levels:
        curve = np.asarray(minuit.mncontour(x, y, cl=level, size=points))
        if len(curve) > 1 and np.array_equal(curve[0], curve[-1]):
            curve = curve[:-1]
        if curve.ndim != 2 or len(curve) < points:
            message = f"MINOS closed no contour of {x!r} and {y!r} at the level {level}"
            raise ConvergenceError(message)
        curves[level] = curve
    return Contour(x, y, curves, (result.values[x], result.values[y]))
