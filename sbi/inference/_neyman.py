"""Neyman construction: intervals that cover by construction, from toys."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.linear_algebra import single_threaded
from rootml._internal.progress import long_step
from rootml._internal.reprs import Grid, HtmlRepr, Part
from rootml._internal.types import Float
from rootml._internal.validators import check_whole
from rootml.errors import ConvergenceError
from rootml.plot import Labels, Style, write
from rootml.plot import scan as draw_scan
from rootml.sbi.inference.fits._fit import LEVEL
from rootml.sbi.inference.limits._by_toys import rising
from rootml.sbi.inference.limits._statistic import Statistic, tied
from rootml.sbi.inference.minimum._quantiles import check_level
from rootml.sbi.inference.toys._toy_task import Task, child_seeds
from rootml.sbi.inference.toys._toys import (
    Ensemble,
    Generators,
    fitted_toys,
    point_folder,
    source_like,
)
from rootml.sbi.inference.toys._work import FEATURE, Where
from rootml.sbi.likelihood._fittable import Fittable

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Neyman(HtmlRepr):
    """A confidence belt of one parameter.

    Attributes:
        name: The parameter.
        level: Confidence level.
        values: True values, ``(point,)``.
        critical: The quantile of t over toys drawn there; asymptotically that of chi^2.
        t: t of the data there.
        invalid: Toys without a valid fit, left out, per value.
    """

    name: str
    level: float
    values: Float
    critical: Float
    t: Float
    invalid: tuple[int, ...]

    @property
    def accepted(self) -> list[bool]:
        """Which values are in the confidence set."""
        return [bool(a) for a in tied(self.t) <= self.critical]

    def interval(self) -> tuple[float, float]:
        """The ends of the accepted values, interpolated where t crosses the critical value.

        Raises:
            ConvergenceError: No value is accepted, or the set reaches the end of the values.
        """
        excess = tied(self.t) - self.critical
        inside = np.flatnonzero(excess <= 0.0)
        if not len(inside) or inside[0] == 0 or inside[-1] == len(excess) - 1:
            message = (
                f"the values {self.values[0]:.4g} to {self.values[-1]:.4g} of {self.name!r} do "
                "not bracket the interval"
            )
            raise ConvergenceError(message)
        ends = []
        for out, into in ((inside[0] - 1, inside[0]), (inside[-1] + 1, inside[-1])):
            share = excess[out] / (excess[out] - excess[into])
            ends.append(float(self.values[out] + share * (self.values[into] - self.values[out])))
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
        """Draw t of the data and the critical t of the toys, see `rootml.plot.scan`.

        Args:
            ax, labels, units, style: As for all functions of `rootml.plot`.
            path: Write the picture there; None: notebooks show it.

        Returns:
            The axes. Values are accepted where the data are below the toys.
        """
        look: Any = {"ax": ax, "labels": labels, "units": units, "style": style}
        curves = {"data": self.t, f"{100 * self.level:.3g} % of toys": self.critical}
        return write(draw_scan(self.name, self.values, curves, levels=False, **look), path)

    def _grid(self) -> Grid:
        rows = [
            (f"{v:.5g}", f"{c:.4f}", f"{t:.4f}", "yes" if accepted else "no")
            for v, c, t, accepted in zip(
                self.values, self.critical, self.t, self.accepted, strict=True
            )
        ]
        return Grid((self.name, "critical t", "t of the data", "accepted"), rows)

    def __repr__(self) -> str:
        return str(self._grid())

    def _html_parts(self) -> list[Part]:
        return [self._grid()]


@long_step("Neyman belt")
def neyman(
    like: Fittable,
    name: str,
    *,
    values: Any,
    number: int,
    seed: int,
    level: float = LEVEL,
    reference: Any = None,
    generator: Generators = None,
    workers: int = 1,
    client: Any = None,
    folder: str | Path | None = None,
    progress: bool | None = None,
) -> Neyman:
    """Draw toys at each value, and accept it if the data's t is not among the largest.

    ``t = -2 log L(value, others refitted) / L_max`` orders the toys; nuisances are drawn at their
    conditional fit to the data (a profile construction).

    Args:
        like: A `Likelihood`, or a `CombinedLikelihood` of these.
        values: True values of the parameter, increasing.
        number: Toys per value.
        seed: Of all toys.
        level: Confidence level.
        reference: To draw from; None: the likelihood's own. Of a combination by part.
        generator, workers, client: See `toys`; toys of all values are worked on together.
        folder: Keep finished toys there, in a folder for each value; a call with the same
            arguments goes on where the last one stopped.
        progress: Show a bar; None: on a terminal.

    Raises:
        ConvergenceError: More than 1 % of the toys have no valid fit.
        UsageError: No mixture of columns; values that do not increase; see also `toys`.
        ClusterError, StateError: See `toys`.
    """
    grid, level = rising(values), check_level(level)
    number = check_whole("number", number, minimum=1)
    source = source_like(like, reference, generator, "neyman")
    where = Where(client, workers, folder, progress)
    with single_threaded(FEATURE):
        data = Statistic(like, name)
        held = [data.held(value) for value in grid.tolist()]
    seeds = child_seeds(seed, len(grid), 1)
    ensembles = [
        Ensemble(
            Task({k: fit.values[k] for k in source.names}, own_seed, ({name: value},), {}),
            point_folder(where, value), f" at {name} = {value:g}",
        )
        for value, fit, (own_seed,) in zip(grid.tolist(), held, seeds, strict=True)
    ]  # fmt: skip
    found = fitted_toys(source, ensembles, number, where, caller="neyman")
    t = [results.require_valid().statistic() for results in found]
    return Neyman(
        name, level, grid,
        np.array([_critical(each[np.isfinite(each)], level) for each in t]),
        np.array([max(2.0 * (fit.nll - data.best.nll), 0.0) for fit in held]),
        tuple(int(np.isnan(each).sum()) for each in t),
    )  # fmt: skip


def _critical(t: Float, level: float) -> float:
    """The smallest t at or below which at least this share of the toys lies."""
    return float(np.quantile(t, level, method="inverted_cdf"))
