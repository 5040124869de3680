"""What each nuisance parameter does to a parameter of interest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rootml._internal.linear_algebra import single_threaded
from rootml._internal.progress import long_step
from rootml._internal.reprs import Grid, HtmlRepr, Part
from rootml._internal.validators import check_choice
from rootml.plot import Labels, Style, named, write
from rootml.plot import impacts as draw_impacts
from rootml.sbi.inference.fits._cabinetry import CabinetryResults, container, in_widths
from rootml.sbi.inference.fits._fit import FitResult, fit
from rootml.sbi.inference.fits._hepdata import table
from rootml.sbi.inference.minimum._minimise import invert, within
from rootml.sbi.inference.toys._work import FEATURE, Item, Todo, Where, work_through
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._parameters import Nuisance

if TYPE_CHECKING:
    import hepdata_lib

_GOAL = 1e-6  # EDM of the conditional fits: 0.0014 standard deviations


@dataclass(frozen=True, slots=True)
class Impact:
    """Shifts of the parameter of interest when one nuisance is held a deviation off its fit.

    Attributes:
        nuisance: Its name.
        up: Shift with the nuisance one standard deviation (of the fit) above, or at its limit if
            that is nearer; NaN: no minimum.
        down: The same below.
        pull: Its fitted value from its auxiliary measurement, in widths of the constraint; NaN
            without a Gaussian constraint.
        error: Its error in these widths.
    """

    nuisance: str
    up: float
    down: float
    pull: float
    error: float


@dataclass(frozen=True)
class Impacts(HtmlRepr):
    """Impacts on one parameter, largest first.

    Attributes:
        name: The parameter of interest.
        total: Its error in the full fit.
        statistical: Its error with all constrained nuisances held at their fitted values.
        rows: One per free nuisance.
        fit: The fit.
    """

    name: str
    total: float
    statistical: float
    rows: list[Impact]
    fit: FitResult

    def plot(
        self,
        *,
        most: int | None = 30,
        ax: Any = None,
        labels: Labels = None,
        units: Labels = None,
        style: Style = "plain",
        path: Any = None,
    ) -> tuple[Any, Any]:
        """Draw the largest impacts with the pulls, see `rootml.plot.impacts`.

        Args:
            most: So many of them; None: all.
            ax, labels, units, style: As for all functions of `rootml.plot`.
            path: Write the picture there; None: notebooks show it.

        Returns:
            The axes with the pulls and those with the impacts.
        """
        keys = ("up", "down", "pull", "error")
        up, down, pulls, errors = ([getattr(row, key) for row in self.rows] for key in keys)
        names = [row.nuisance for row in self.rows]
        look: Any = {"ax": ax, "labels": labels, "units": units, "style": style, "most": most}
        drawn = draw_impacts(self.name, names, up, down, pulls=pulls, errors=errors, **look)
        written: tuple[Any, Any] = write(drawn, path)
        return written

    def to_hepdata(
        self, name: str, *, labels: Labels = None, units: Labels = None, digits: int = 5
    ) -> hepdata_lib.Table:
        """A `hepdata_lib.Table` of impacts and pulls, the largest first.

        Args:
            name: Of the table.
            labels, units: As for the pictures.
            digits: Significant digits of errors, and of values without errors.

        Raises:
            MissingPackageError: hepdata_lib is not installed.
        """
        quantity = named(self.name, labels, units)
        columns = {
            "up": (f"impact on {quantity}, +1 s.d.", {}),
            "down": (f"impact on {quantity}, -1 s.d.", {}),
            "pull": ("pull", {"fit": [row.error for row in self.rows]}),
        }
        return table(
            name, f"Impacts of nuisance parameters on {quantity}",
            independent={"nuisance": [named(row.nuisance, labels) for row in self.rows]},
            dependent={
                title: ([getattr(row, key) for row in self.rows], errors)
                for key, (title, errors) in columns.items()
            },
            digits=digits,
        )  # fmt: skip

    def to_cabinetry(self) -> CabinetryResults:
        """A `cabinetry.fit.RankingResults`, for ``cabinetry.visualize.ranking``.

        cabinetry also shows impacts before the fit: with a nuisance held at plus and minus the
        width of its Gaussian constraint from its fitted value (0 without one). They are fitted
        here, two fits per nuisance.

        Raises:
            MissingPackageError: cabinetry is not installed.
        """
        names = [row.nuisance for row in self.rows]
        before = np.array([[self._before(name, sign) for name in names] for sign in (1.0, -1.0)])
        values = {name: self.fit.values[name] for name in names}
        bestfit, uncertainty = in_widths(self.fit.like, values, self.fit.errors)
        return container(
            "RankingResults", bestfit=bestfit, uncertainty=uncertainty, labels=names,
            prefit_up=before[0], prefit_down=before[1],
            postfit_up=np.array([row.up for row in self.rows]),
            postfit_down=np.array([row.down for row in self.rows]),
        )  # fmt: skip

    def _before(self, nuisance: str, sign: float) -> float:
        """The shift with a nuisance held a width off; NaN: no minimum there."""
        parameter = self.fit.like.parameters[nuisance]
        if not isinstance(parameter, Nuisance) or parameter.constraint != "gaussian":
            return 0.0
        place = self.fit.values[nuisance] + sign * parameter.width
        moved = self.fit.refit(within(self.fit.like, {nuisance: place}))
        return moved.values[self.name] - self.fit.values[self.name] if moved.valid else math.nan

    def _grid(self) -> Grid:
        rows = [
            (r.nuisance, f"{r.up:+.4g}", f"{r.down:+.4g}", f"{r.pull:+.3f}", f"{r.error:.3f}")
            for r in self.rows
        ]
        rows.append((f"all on {self.name}", f"{self.total:.4g}", "", "", ""))
        rows.append(("statistical", f"{self.statistical:.4g}", "", "", ""))
        return Grid(("nuisance", "up", "down", "pull", "error"), rows)

    def __repr__(self) -> str:
        return str(self._grid())

    def _html_parts(self) -> list[Part]:
        return [self._grid()]


@long_step("impacts")
def impacts(
    like: Fittable | FitResult,
    name: str,
    *,
    method: Literal["refit", "linear"] = "refit",
    workers: int = 1,
    client: Any = None,
    folder: str | Path | None = None,
    progress: bool | None = None,
) -> Impacts:
    """Hold each nuisance one standard deviation off, refit, and note where `name` goes.

    Args:
        like: A likelihood, or a fit of it.
        name: The parameter of interest.
        method: ``"linear"`` refits nothing: the shift is ``covariance / error``, as exact as the
            likelihood is a parabola.
        workers: Processes of this machine, see `toys`.
        client: A `distributed.Client`.
        folder: Keep finished impacts there; a call with the same arguments goes on where the last
            one stopped.
        progress: Show a bar; None: on a terminal.

    Raises:
        ConvergenceError: The fit itself is not valid.
        StateError: The folder holds impacts of another fit or parameter.
        UsageError: A likelihood that cannot be sent to other processes; a folder that cannot be
            written to.
        ClusterError: The cluster is gone or keeps failing; what is finished is in the folder.

    >>> from rootml.sbi import Model, Nuisance, Parameter
    >>> model = Model({"S": "mu * 900", "B": "100"}, {"mu": Parameter(1.0)},
    ...               {"lumi": Nuisance(yields={"S": 1.02, "B": 1.02})})
    >>> found = impacts(model.likelihood({"S": [1.0] * 1000, "B": [1.0] * 1000}), "mu")
    >>> [row.nuisance for row in found.rows], round(found.rows[0].up, 4)
    (['lumi'], -0.0218)
    """
    check_choice("method", method, ("refit", "linear"))
    with single_threaded(FEATURE):
        result = like if isinstance(like, FitResult) else fit(like)
    result.check_free(name)
    result.require_valid()
    constrained = [
        key
        for key, p in result.like.parameters.items()
        if isinstance(p, Nuisance) and key not in result.fixed and key != name
    ]
    where = Where(client, workers, folder, progress)
    todo = Todo(partial(_header, result, name), constrained, where.inside())
    if method == "linear":
        shifts = {key: _linear(result, name, key) for key in constrained}
    else:
        (found,) = work_through(
            _Refits(result, name), [todo], where, what="impacts", key="nuisance", caller="impacts"
        )
        shifts = {row["nuisance"]: (row["up"], row["down"]) for row in found}
    rows = [_impact(result, key, *shifts[key]) for key in constrained]
    rows.sort(key=lambda row: -max(abs(row.up), abs(row.down)))
    alone = _statistical(result, name, constrained)
    return Impacts(name, result.errors[name], alone, rows, result)


def _header(result: FitResult, name: str) -> dict[str, Any]:
    """What impacts depend on: the fit."""
    return {
        "parameter": name, "values": result.values, "errors": result.errors, "nll": result.nll,
        "fixed": result.fixed,
    }  # fmt: skip


def _statistical(result: FitResult, name: str, constrained: list[str]) -> float:
    """The error with nuisances held at their fitted values: the minimum stays where it is."""
    held = {key: result.values[key] for key in (*constrained, *result.fixed)}
    free = [i for i, key in enumerate(result.values) if key not in held]
    if result.hessian is not None and not result.at_limit:
        inverse = invert(result.hessian[np.ix_(free, free)])
        if inverse is not None:
            place = free.index(list(result.values).index(name))
            return float(np.sqrt(inverse[place, place]))
    return fit(result.like, fixed=held, start=result.values).errors[name]


def _linear(result: FitResult, name: str, nuisance: str) -> tuple[float, float]:
    """The shifts of a likelihood that is a parabola."""
    i, k = (list(result.values).index(key) for key in (name, nuisance))
    error = result.errors[nuisance]
    shift = float(result.covariance[i, k]) / error if error > 0.0 else math.nan
    return shift, -shift


@dataclass(frozen=True)
class _Refits:
    """The shifts of the parameter of interest by fits with a nuisance held; sent to workers."""

    result: FitResult
    name: str

    def __call__(self, item: Item) -> dict[str, Any]:
        result, nuisance = self.result, item.key
        shifts: list[float] = []
        place, bend = list(result.values).index(self.name), None
        for sign in (1.0, -1.0):
            moved_to = result.values[nuisance] + sign * result.errors[nuisance]
            held = within(result.like, {nuisance: moved_to})
            moved = result.conditional(held, goal=_GOAL, bend=bend)
            # what a straight line missed on one side is, to second order, the same on the other
            bend = moved.theta - result.straight(held) if moved.valid else None
            shift = float(moved.theta[place] - result.theta[place])
            shifts.append(shift if moved.valid else math.nan)
        return {"nuisance": nuisance, "up": shifts[0], "down": shifts[1]}


def _impact(result: FitResult, nuisance: str, up: float, down: float) -> Impact:
    parameter = result.like.parameters[nuisance]
    pull = error = float("nan")
    if isinstance(parameter, Nuisance) and parameter.constraint == "gaussian":
        pull = (result.values[nuisance] - result.like.observed[nuisance]) / parameter.width
        error = result.errors[nuisance] / parameter.width
    return Impact(nuisance, up, down, pull, error)
