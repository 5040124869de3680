"""Fractions of both classes that pass a threshold: over all events, and in bins of a quantity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.reprs import Grid, HtmlRepr, Part
from rootml._internal.statistics import weighted_quantiles
from rootml._internal.types import Float
from rootml.errors import EmptySelectionError, UsageError
from rootml.evaluation._scored import Scored
from rootml.plot import Labels, Style, efficiency, write
from rootml.plot._curves import efficiencies

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUMBER = 10


@dataclass(frozen=True, slots=True)
class WorkingPoint:
    """Events with a score of at least `threshold` are called signal.

    Attributes:
        threshold: The score.
        signal, background: Fractions of the weight of both classes that pass.
        signal_error, background_error: Their standard deviations for this threshold: binomial,
            with weights ``sqrt(sum w^2 (passes - efficiency)^2) / sum w``.
    """

    threshold: float
    signal: float
    background: float
    signal_error: float = 0.0
    background_error: float = 0.0

    @property
    def rejection(self) -> float:
        """One over the background efficiency; infinite where nothing passes."""
        return 1 / self.background if self.background else float("inf")


def working_point(
    signal: tuple[Float, Float], background: tuple[Float, Float], wanted: float
) -> WorkingPoint:
    """The highest threshold that at least such a fraction of the signal passes."""
    x, y, thresholds = efficiencies(signal, background)
    first = int(np.flatnonzero(x >= wanted * (1 - 1e-12))[0])
    cut = float(thresholds[first])
    errors = [_fraction(score >= cut, weight)[1] for score, weight in (signal, background)]
    return WorkingPoint(cut, float(x[first]), float(y[first]), *errors)


def _fraction(passes: Any, weight: Float) -> tuple[float, float]:
    """The fraction of the weight that passes, and its error; NaN without weight."""
    total = float(weight.sum())
    if not total > 0:
        return float("nan"), float("nan")
    share = float(weight[passes].sum()) / total
    return share, float(np.sqrt(np.square(weight * (passes - share)).sum())) / total


def _percent(value: float, error: float) -> str:
    """An efficiency as text; "-" where it is not known."""
    return "-" if np.isnan(value) else f"{100 * value:.2f} ± {100 * error:.2f} %"


@dataclass(frozen=True, repr=False)
class BinnedEfficiency(HtmlRepr):
    """Efficiencies of both classes in bins of a quantity, at each working point.

    Attributes:
        name: The quantity.
        edges: `(bin + 1,)`; the last bin holds its upper edge.
        points: The working points.
        signal, signal_error, background, background_error: `(working point, bin)`; NaN in bins
            where the weights of a class do not add up to more than 0.
        outside: How many events are in no bin.
    """

    name: str
    edges: Float
    points: tuple[WorkingPoint, ...]
    signal: Float
    signal_error: Float
    background: Float
    background_error: Float
    outside: int

    def plot(
        self,
        point: int = 0,
        *,
        ax: Any = None,
        labels: Labels = None,
        units: Labels = None,
        style: Style = "plain",
        path: Any = None,
    ) -> Axes:
        """Draw the efficiencies at one working point, see `rootml.plot.efficiency`.

        Args:
            point: Number of the working point.
            ax, labels, units, style: As for all functions of `rootml.plot`.
            path: Write the picture there; None: notebooks show it.

        Returns:
            The axes.
        """
        at = self.points[point]
        curves = {
            "signal": (self.signal[point], self.signal_error[point]),
            "background": (self.background[point], self.background_error[point]),
        }
        drawn = efficiency(
            curves, self.edges, name=self.name, what=f"efficiency of score >= {at.threshold:.4g}",
            ax=ax, labels=labels, units=units, style=style,
        )  # fmt: skip
        return write(drawn, path)

    def to_dict(self) -> dict[str, Any]:
        """The numbers as lists; NaN where an efficiency is not known."""
        keys = ("edges", "signal", "signal_error", "background", "background_error")
        return {**{key: getattr(self, key).tolist() for key in keys}, "outside": self.outside}

    def _grid(self) -> Grid:
        header = [self.name, *(f"{side} {100 * p.signal:.3g} %" for p in self.points
                               for side in ("signal", "background"))]  # fmt: skip
        rows = []
        for number, (low, high) in enumerate(zip(self.edges, self.edges[1:], strict=False)):
            cells = [
                _percent(value[k, number], error[k, number])
                for k in range(len(self.points))
                for value, error in (
                    (self.signal, self.signal_error),
                    (self.background, self.background_error),
                )
            ]
            rows.append((f"{low:.5g} to {high:.5g}", *cells))
        return Grid(tuple(header), rows)

    def __str__(self) -> str:
        note = f"\n{self.outside:,} events are outside of the bins" if self.outside else ""
        return f"{self._grid()}{note}"

    __repr__ = __str__

    def _html_title(self) -> str:
        return f"efficiencies in bins of {self.name}"

    def _html_parts(self) -> list[Part]:
        facts = [("events outside of the bins", f"{self.outside:,}")] if self.outside else []
        return [facts, self._grid()]


def binned(
    name: str, edges: Sequence[float] | None, read: Scored, points: tuple[WorkingPoint, ...]
) -> BinnedEfficiency:
    """Efficiencies in bins of one of the columns that were read.

    Args:
        edges: None: bins of equal weight in absolute value, of both classes together.

    Raises:
        UsageError: Not rising edges.
    """
    values = read.columns[name]
    bounds = _quantile_edges(values, read.weight) if edges is None else _checked(name, edges)
    place = np.searchsorted(bounds, values, side="right") - 1
    place[values == bounds[-1]] = len(bounds) - 2
    inside = (place >= 0) & (place < len(bounds) - 1)
    if not inside.any():
        message = f"by={name!r}: no event is in the bins from {bounds[0]:g} to {bounds[-1]:g}"
        raise EmptySelectionError(message)
    shape = (len(points), len(bounds) - 1)
    found = {label: (np.full(shape, np.nan), np.full(shape, np.nan)) for label in (1, 0)}
    for label, (shares, errors) in found.items():
        for number in range(shape[1]):
            mine = (place == number) & (read.label == label)
            score, weight = read.score[mine], read.weight[mine]
            for k, point in enumerate(points):
                shares[k, number], errors[k, number] = _fraction(score >= point.threshold, weight)
    outside = int(np.count_nonzero(~inside))
    return BinnedEfficiency(name, bounds, points, *found[1], *found[0], outside)


def _quantile_edges(values: Float, weight: Float) -> Float:
    inner = weighted_quantiles(values, np.linspace(0, 1, NUMBER + 1)[1:-1], np.abs(weight))
    edges = np.unique(np.concatenate([[values.min()], inner, [values.max()]]))
    return edges if len(edges) > 1 else np.array([edges[0] - 0.5, edges[0] + 0.5])


def _checked(name: str, edges: Any) -> Float:
    bounds = np.asarray(edges, dtype=np.float64)
    if bounds.ndim != 1 or len(bounds) < 2 or not (np.diff(bounds) > 0).all():
        message = f"by={{{name!r}: {edges!r}}}: expected rising edges of bins"
        raise UsageError(message)
    return bounds
