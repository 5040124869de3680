"""What is done with each toy, and the arrays that come of many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rootml._internal.reprs import Grid, HtmlRepr, Paragraph, Part
from rootml._internal.types import Float
from rootml.errors import ConvergenceError, DensityError, MissingParameterError, nearest
from rootml.plot import Labels, Style, write
from rootml.plot import toys as draw_toys
from rootml.sbi.inference.fits._fit import FitResult, fit, fit_near
from rootml.sbi.inference.minimum._minimise import within
from rootml.sbi.inference.toys._toy_source import Toys
from rootml.sbi.likelihood._combined import CombinedLikelihood
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._likelihood import Likelihood

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GOAL = 1e-6  # EDM of minima before the last step: t is known to better than twice that


@dataclass(frozen=True)
class Task:
    """What is done for each toy; everything that its outcome depends on.

    Attributes:
        truth: Parameter values that toys are drawn at.
        seed: Toy number i draws from the i-th child of this seed.
        tests: Points of which each toy's conditional minimum is wanted: parameters held there.
        fixed: Parameters that are not varied in any fit.
    """

    truth: Mapping[str, float]
    seed: int
    tests: tuple[Mapping[str, float], ...]
    fixed: Mapping[str, float]

    def header(self) -> dict[str, Any]:
        """All of it as JSON data."""
        return {
            "truth": dict(self.truth), "seed": self.seed, "tests": [dict(t) for t in self.tests],
            "fixed": dict(self.fixed),
        }  # fmt: skip

    def run(self, source: Toys, number: int) -> dict[str, Any]:
        """Draw and fit toy `number`; plain data."""
        like = source.draw(toy_rng(self.seed, number))
        best = self._fitted(like, within(like, source.truth), source.hessian)
        conditional = [self._held(like, best, test) for test in self.tests]
        return {
            "toy": number,
            "values": list(best.values.values()),
            "errors": list(best.errors.values()),
            "nll": best.nll,
            "valid": best.valid,
            "conditional": conditional,
            "events": _events(like),
            "effective": source.effective if math.isfinite(source.effective) else None,
        }

    def _held(self, like: Fittable, best: FitResult, test: Mapping[str, float]) -> float:
        """Minus log L with parameters held; NaN without a minimum or a likelihood there."""
        try:
            if best.valid:
                held = best.conditional(test, goal=_GOAL)
                return held.nll if held.valid else math.nan
            found = fit(like, fixed={**self.fixed, **test}, start=best.values)
        except DensityError:
            return math.nan
        return found.nll if found.valid else math.nan

    def _fitted(
        self, like: Fittable, start: Mapping[str, float], hessian: Float | None
    ) -> FitResult:
        """The fit, by steps from the truth where its Hessian is known."""
        if hessian is None:
            return fit(like, fixed=self.fixed, start=start)
        return fit_near(like, fixed=self.fixed, start=start, hessian=hessian, goal=_GOAL)


def _events(like: Fittable) -> float:
    """Unbinned events, of all parts."""
    if isinstance(like, CombinedLikelihood):
        return sum(map(_events, like.parts.values()))
    unbinned = like.unbinned if isinstance(like, Likelihood) else None
    return 0.0 if unbinned is None else unbinned.sum_of_weights


@dataclass(frozen=True)
class ToyResults(HtmlRepr):
    """Fits of toys, in their order.

    Attributes:
        names: Parameters.
        truth: The values toys were drawn at, ``(parameter,)``.
        values: Fitted values, ``(toy, parameter)``.
        errors: Their errors.
        nll: Minus log L at each minimum, ``(toy,)``.
        conditional: Minus log L with parameters held, ``(toy, test)``.
        tests: What was held.
        valid: Which fits converged; statistics below leave the others out, and say how many.
        events: Unbinned events of each toy.
        effective: The effective number of reference events behind them, ``(sum w)^2 / sum w^2``
            with the weights at the truth; of several likelihoods the smallest; infinite: toys are
            made of new events.
    """

    names: tuple[str, ...]
    truth: Float
    values: Float
    errors: Float
    nll: Float
    conditional: Float
    tests: tuple[Mapping[str, float], ...]
    valid: npt.NDArray[np.bool_]
    events: Float
    effective: float = math.inf

    def __len__(self) -> int:
        return len(self.nll)

    def index(self, name: str) -> int:
        """The place of a parameter."""
        if name not in self.names:
            message = f"no parameter {name!r}; available: {nearest(name, self.names)}"
            raise MissingParameterError(message)
        return self.names.index(name)

    def pulls(self, name: str) -> Float:
        """(fitted - true) / error of the valid toys; those without an error are left out.

        A parameter at its limit has none if its likelihood is straight there, as without events.
        """
        i = self.index(name)
        good = self.valid & (self.errors[:, i] > 0.0)
        return np.asarray((self.values[good, i] - self.truth[i]) / self.errors[good, i])

    def coverage(self, name: str, *, sigmas: float = 1.0) -> float:
        """How often the truth lies within so many errors of the fit, see `pulls`.

        Raises:
            ConvergenceError: No toy has an error of the parameter.
        """
        pulls = self.pulls(name)
        if not len(pulls):
            message = f"none of {len(self)} toys has an error of {name!r}: it was fixed, or is at "
            raise ConvergenceError(message + "its limit in each")
        return float((np.abs(pulls) < sigmas).mean())

    def _left_out(self) -> list[str]:
        """Which parameters have toys without an error, and how many; not those that were fixed."""
        found = []
        for i, name in enumerate(self.names):
            without = self.valid & ~(self.errors[:, i] > 0.0)
            fixed = not self.errors[:, i].any() and (self.values[:, i] == self.truth[i]).all()
            if without.any() and not fixed:
                found.append(f"{name} ({int(without.sum()):,})")
        return found

    def statistic(self, test: int = 0) -> Float:
        """``t = 2 (conditional - best)`` of each toy for one of the tests; NaN: no fit."""
        t = 2.0 * (self.conditional[:, test] - self.nll)
        return np.where(self.valid, np.maximum(t, 0.0), np.nan)

    def require_valid(self, *, max_failed: float = 0.01) -> ToyResults:
        """Itself, if at most this fraction of the fits failed.

        Raises:
            ConvergenceError: More did.
        """
        failed = int((~self.valid).sum())
        if failed > max_failed * len(self):
            message = f"{failed} of {len(self)} toys have no valid fit"
            raise ConvergenceError(message)
        return self

    def plot(
        self,
        name: str,
        *,
        ax: Any = None,
        labels: Labels = None,
        units: Labels = None,
        style: Style = "plain",
        path: Any = None,
    ) -> Axes:
        """Draw the pulls of a parameter beside a normal distribution, see `rootml.plot.toys`.

        Args:
            name: The parameter.
            ax, labels, units, style: As for all functions of `rootml.plot`.
            path: Write the picture there; None: notebooks show it.

        Returns:
            The axes.
        """
        look: Any = {"ax": ax, "labels": labels, "units": units, "style": style}
        return write(draw_toys(self.pulls(name), name=name, **look), path)

    def _grid(self) -> Grid:
        rows = []
        for i, name in enumerate(self.names):
            pulls = self.pulls(name)
            if not len(pulls):
                continue
            rows.append((
                name, f"{self.truth[i]:.5g}", f"{self.values[self.valid, i].mean():.5g}",
                f"{pulls.mean():+.3f} +- {pulls.std() / math.sqrt(len(pulls)):.3f}",
                f"{pulls.std():.3f}", f"{(np.abs(pulls) < 1.0).mean():.3f}",
            ))  # fmt: skip
        return Grid(("parameter", "truth", "mean", "mean pull", "pull width", "coverage"), rows)

    def _summary(self) -> str:
        behind = ""
        if math.isfinite(self.effective):
            behind = f", from {self.effective:,.0f} effective reference events"
        text = f"{len(self)} toys, {int((~self.valid).sum())} without a valid fit{behind}"
        left_out = self._left_out()
        if left_out:
            text += f"; at limits without an error, and not among pulls: {', '.join(left_out)}"
        return text

    def __repr__(self) -> str:
        return f"{self._summary()}\n{self._grid()}"

    def _html_parts(self) -> list[Part]:
        return [Paragraph(self._summary()), self._grid()]


def toy_rng(seed: int, number: int) -> np.random.Generator:
    """The random numbers of a toy: child `number` of the seed."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))


def child_seeds(seed: int, number: int, each: int) -> list[list[int]]:
    """Independent seeds, `each` for every one of `number` points; none is shared with other seeds.

    >>> child_seeds(1, 2, 1) != child_seeds(2, 2, 1)
    True
    """
    children = np.random.SeedSequence(seed).spawn(number)
    return [child.generate_state(each, np.uint64).tolist() for child in children]


def collect(rows: Sequence[Mapping[str, Any]], task: Task, names: Sequence[str]) -> ToyResults:
    """Rows of plain data as arrays."""
    conditional = np.array([r["conditional"] for r in rows], np.float64)
    return ToyResults(
        tuple(names),
        np.array([task.truth[name] for name in names]),
        np.array([r["values"] for r in rows], np.float64),
        np.array([r["errors"] for r in rows], np.float64),
        np.array([r["nll"] for r in rows], np.float64),
        conditional.reshape(len(rows), len(task.tests)),
        task.tests,
        np.array([r["valid"] for r in rows], bool),
        np.array([r["events"] for r in rows], np.float64),
        min((e for e in (r.get("effective") for r in rows) if e is not None), default=math.inf),
    )
