"""How far an error of a ratio moves a fit: the linear response of its parameters.

The extended likelihood of N events is ``-sum log D + nu`` with ``D = sum_p nu_p r_p f_p / Z_p``
(f_p: the morphing of p by nuisance parameters, 1 at 0; Z_p: its norm). Its gradient is 0 in the
mean at the true parameters. If log r_p is off by delta(x), the gradient moves, and the fit by the
covariance H^-1 times that. For parameter j in units of its error, with ``c = H^-1[j] / error_j``::

    bias_j = sum over expected events of a_p(x) delta(x)  -  sum_n c_n nu_p Cov_p(delta, slope_n)
    a_p    = d u / d log r_p,   u = c . d log D / d theta,   slope_n = d log f_p / d alpha_n

so the bias is linear in the error. The second term is the change of Z_p's derivatives. The
expected events are the held-out events of every process, weighted to its yield at the fitted
parameters, with nuisances of shapes at 0. The ratio of a variation has no bias there in the mean,
whatever its error; it has one where the nuisance is at +-1. So its bias is found there, with the
events of the variation in place of the nominal ones, the covariance of that point, and delta less
its mean, which Z_p divides out.

The same expected events measure the bias itself, whatever the error is (`FitResponse.shifts`)::

    bias_j = sum_p nu_p E_p[u] - c . d nu / d theta

where every E_p is over held-out events of p.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from rootml._internal.types import Float
from rootml.errors import UsageError, nearest
from rootml.sbi.diagnostics._pairs import Directions
from rootml.sbi.estimator import Ratios
from rootml.sbi.inference._samples import ShiftedLikelihood
from rootml.sbi.inference.fits._fit import FitResult
from rootml.sbi.likelihood._columns import NOMINAL, RatioColumns
from rootml.sbi.likelihood._combined import CombinedLikelihood
from rootml.sbi.likelihood._interpolation import factors
from rootml.sbi.likelihood._likelihood import Likelihood
from rootml.sbi.likelihood._parameters import Nuisance

Point: TypeAlias = "tuple[str, str] | None"
"""A nuisance and "up" or "down", for +1 or -1, all others at 0; None: all at 0."""
_ALPHA = {"up": 1.0, "down": -1.0}


@dataclass(frozen=True)
class HeldOut:
    """Held-out events that stand for one process.

    Attributes:
        x: `(event, feature)`.
        mass: Weights, adding up to one, `(event,)`.
        logs: Gives log r of every density at these events, by name of the ratio.
        own: Whether they are events of the process, not the reference weighted by its ratio.
    """

    x: Float
    mass: Float
    logs: Callable[[], Mapping[str, Float]]
    own: bool


@dataclass(frozen=True)
class Shift:
    """What held-out events say of the bias of one parameter, in its errors.

    Attributes:
        point: Where the nuisances are, in words; empty: at 0.
    """

    parameter: str
    point: str
    value: float
    error: float


class FitResponse:
    """The response of a fit's parameters of interest to errors of ratios.

    Args:
        fit: The fit; its covariance and its parameters are used.
        ratios: What is tested.
        samples: Held-out events by name: of every process of the fit, and of variations.
    """

    def __init__(self, fit: FitResult, ratios: Ratios, samples: Mapping[str, HeldOut]) -> None:
        self.fit = fit
        self.parameters = _of_interest(fit)
        self._ratios = ratios
        self._samples = samples
        self._last: tuple[Point, list[Channel]] | None = None
        self._information: Float = np.zeros(0)  # second derivatives by the channels, at nominal
        if not (nominal := self._channels(None)):
            message = (
                "fit= has no unbinned channel whose processes are "
                f"{nearest(next(iter(ratios.tree)), ratios.tree)}, those of the ratios"
            )
            raise UsageError(message)
        self.replaced = sorted({p for c in nominal for p in c.replaced})
        self._yields = [c.yields for c in nominal]

    def _channels(self, point: Point) -> list[Channel]:
        """Unbinned channels at a point; the last ones are kept."""
        if self._last is None or self._last[0] != point:
            self._last = None  # first, so that two are never in memory
            found = [
                Channel(like, self.fit, self._ratios, self._samples, point)
                for like in _unbinned(self.fit)
            ]
            self._set_rows(found, point)
            self._last = point, found
        return self._last[1]

    def _set_rows(self, channels: Sequence[Channel], point: Point) -> None:
        """Give channels their rows of the covariance over errors."""
        names = list(self.fit.values)
        sums = np.zeros((len(names), len(names)))
        for channel in channels:
            place = [names.index(name) for name in channel.names]
            sums[np.ix_(place, place)] += channel.hessian()
        if point is None:
            self._information = sums
        covariance = self._covariance(sums - self._information)
        index = [names.index(name) for name in self.parameters]
        errors = np.array([self.fit.errors[name] for name in self.parameters])
        for channel in channels:
            place = [names.index(name) for name in channel.names]
            channel.set_rows(covariance[np.ix_(index, place)] / errors[:, None])

    def _covariance(self, change: Float) -> Float:
        """The fit's covariance with this change of its second derivatives.

        That is the covariance of the fit if the nuisances were at another point.
        """
        covariance = self.fit.covariance
        if isinstance(self.fit.like, ShiftedLikelihood):
            covariance = _covariance_within(self.fit, self.fit.like)
        if not change.any():
            return covariance
        free = np.flatnonzero(np.diag(covariance) > 0.0)
        block = np.ix_(free, free)
        moved = np.zeros_like(covariance)
        moved[block] = np.linalg.inv(np.linalg.inv(covariance[block]) + change[block])
        return moved

    def biases(self, name: str, directions: Directions) -> Float:
        """By errors of one ratio, each of size 1: ``(direction, parameter of interest)``."""
        process, point = _split(name)
        found = [
            directions(c.x, c.logs[name]).T @ weights
            for c in self._channels(point)
            if (weights := c.influence(process)) is not None
        ]
        if not found:
            count = directions(np.zeros((1, self._channels(None)[0].x.shape[1])), np.zeros(1))
            return np.zeros((count.shape[1], len(self.parameters)))
        return np.asarray(sum(found))

    def shifts(self) -> list[Shift]:
        """The bias of each parameter of interest by all ratios together.

        At the nominal, and for nuisances at +-1 whose variations have held-out events.
        """
        points = {_split(name)[1] for name, held_out in self._samples.items() if held_out.own}
        used = {n for c in self._channels(None) for each in c.shapes.values() for n in each}
        ordered = sorted(p for p in points if p is not None and p[0] in used)
        return [shift for point in (None, *ordered) for shift in self._shifts(point)]

    def _shifts(self, point: Point) -> list[Shift]:
        each = [c.shift() for c in self._channels(point)]
        value = np.sum([v for v, _ in each], axis=0)
        error = np.sqrt(np.sum([e**2 for _, e in each], axis=0))
        words = "" if point is None else f"{point[0]} = {_ALPHA[point[1]]:+.0f}"
        return [
            Shift(name, words, float(v), float(e))
            for name, v, e in zip(self.parameters, value, error, strict=True)
        ]

    def expected(self, process: str) -> float:
        """Events of a process that the fit expects."""
        return float(sum(yields.get(process, 0.0) for yields in self._yields))


def _split(name: str) -> tuple[str, Point]:
    """Process and point of a ratio: ``B.jes.up`` is B at jes = +1."""
    process, _, variation = name.partition(".")
    nuisance, _, side = variation.rpartition(".")
    return process, ((nuisance, side) if variation else None)


def _of_interest(fit: FitResult) -> list[str]:
    """Free parameters that are no nuisances; all free ones, if there are none."""
    free = [n for n, error in fit.errors.items() if error > 0.0 and n not in fit.fixed]
    chosen = [n for n in free if not isinstance(fit.like.parameters[n], Nuisance)] or free
    if not chosen:
        message = "fit= has no free parameter with an error: nothing that a bias could be of"
        raise UsageError(message)
    return chosen


def _unbinned(fit: FitResult) -> list[Likelihood]:
    """The unbinned channels."""
    like = fit.like
    parts = like.parts.values() if isinstance(like, CombinedLikelihood) else [like]
    return [p for p in parts if isinstance(p, Likelihood) and p.columns is not None]


def _covariance_within(fit: FitResult, like: ShiftedLikelihood) -> Float:
    """By which a gradient moves the minimum: without what finite samples add to the errors."""
    names = list(fit.values)
    inner = list(like.base.parameters)
    free = [n for n in inner if n not in fit.fixed]
    theta = np.array([fit.values[n] for n in inner])
    some = [inner.index(n) for n in free]
    inverse = np.linalg.inv(like.base.nll_hessian(theta)[np.ix_(some, some)])
    covariance = np.zeros_like(fit.covariance)
    place = [names.index(n) for n in free]
    covariance[np.ix_(place, place)] = inverse
    return covariance


class Channel:
    """One unbinned channel with its expected events: held-out events, one process after another.

    Attributes:
        x: `(event, feature)`.
        logs: log r by name of the ratio, `(event,)`.
        weights: Expected number of events, `(event,)`.
        shapes: Nuisances that change the shape of each process.
        replaced: Processes without events of their own.
    """

    def __init__(
        self, like: Likelihood, fit: FitResult, ratios: Ratios, samples: Mapping[str, HeldOut],
        point: Point,
    ) -> None:  # fmt: skip
        self.like = like
        self.processes = list(like.model.processes)
        self.shapes = _shapes(like, ratios)
        self._point = point
        used = [self._sample(process, samples) for process in self.processes]
        logs = [sample.logs() for sample in used]
        self.replaced = [p for p, s in zip(self.processes, used, strict=True) if not s.own]
        self.x = np.concatenate([s.x for s in used])
        self.logs = {name: np.concatenate([each[name] for each in logs]) for name in logs[0]}
        self.mass = np.concatenate([s.mass for s in used])
        self.owner = np.repeat(np.arange(len(used)), [len(s.mass) for s in used])
        self.names = list(like.model.all_parameters)
        self._theta = self._values(fit)
        self._yields, self._jacobian = like.model.yields().gradient(self._theta)
        self.weights = self._yields[self.owner] * self.mass

    def set_rows(self, rows: Float) -> None:
        """The covariance over errors, ``(parameter of interest, parameter of the channel)``."""
        self._rows = rows
        self._rise = self._jacobian @ rows.T  # (process, parameter of interest)

    def hessian(self) -> Float:
        """Second derivatives for the expected events, ``(parameter, parameter)``."""
        like = self.like.base if isinstance(self.like, ShiftedLikelihood) else self.like
        return like.with_columns(self._columns()).nll_hessian(self._theta)

    def _columns(self) -> RatioColumns:
        """Of the expected events, weighted."""
        assert self.like.columns is not None
        ratios = {}
        for process in self.processes:
            nominal = np.exp(self.logs[process])
            ratios[process] = {NOMINAL: nominal}
            for nuisance in self.like.columns.nuisances(process):
                kept = nuisance in self.shapes[process]
                names = (f"{process}.{nuisance}.{side}" for side in ("up", "down"))
                ratios[process][nuisance] = (
                    tuple(np.exp(self.logs[n]) for n in names) if kept else (nominal, nominal)
                )
        return RatioColumns(ratios, self.weights)

    @property
    def yields(self) -> dict[str, float]:
        """Expected events of each process."""
        return dict(zip(self.processes, self._yields.tolist(), strict=True))

    def _sample(self, process: str, samples: Mapping[str, HeldOut]) -> HeldOut:
        """Events of a process at the point; nominal events, weighted, if there are no others."""
        if process not in samples:
            message = (
                f"fit= has a process {process!r}, of which the ratios know nothing; they have "
                f"{nearest(process, samples)}"
            )
            raise UsageError(message)
        nominal = samples[process]
        if not self._varied(process):
            return nominal
        name = self._output(process)
        if name in samples:
            return samples[name]
        logs = nominal.logs()
        mass = nominal.mass * np.exp(logs[name] - logs[process])
        return HeldOut(nominal.x, mass / mass.sum(), nominal.logs, own=False)

    def _varied(self, process: str) -> bool:
        return self._point is not None and self._point[0] in self.shapes[process]

    def _output(self, process: str) -> str:
        """Name of the ratio that is the process's density at the point."""
        if self._point is None or not self._varied(process):
            return process
        return f"{process}.{self._point[0]}.{self._point[1]}"

    def _alpha(self, nuisance: str) -> float:
        at = self._point is not None and nuisance == self._point[0]
        return _ALPHA[self._point[1]] if at and self._point else 0.0

    def _values(self, fit: FitResult) -> Float:
        """The fitted values, with nuisances of shapes at the point: what the events represent."""
        shaped = {nuisance for each in self.shapes.values() for nuisance in each}
        return np.array([self._alpha(n) if n in shaped else fit.values[n] for n in self.names])

    def _log_slope(self, nuisance: str, up: Float, down: Float) -> Float:
        """d log f / d alpha at the point, from log(up / nominal) and log(down / nominal)."""
        alpha = self._alpha(nuisance)
        code = self.like.model.nuisances[nuisance].interpolation
        if alpha == 0.0:  # for all codes in the mean of both sides, to first order
            return 0.5 * (up - down)
        value, slope, _ = factors(code, np.full(len(up), alpha), np.exp(up), np.exp(down))
        return np.asarray(slope / value)

    def _slope(self, process: str, nuisance: str) -> Float:
        """d log (f / Z) / d alpha at the point, ``(event,)``."""
        up, down = (
            self.logs[f"{process}.{nuisance}.{side}"] - self.logs[process]
            for side in ("up", "down")
        )
        return np.asarray(
            self._log_slope(nuisance, up, down) - self._norm_slope(process, nuisance)
        )

    def _reference(self, process: str) -> tuple[RatioColumns, Float, Float]:
        """Reference events; their weights at nominal, and at the point."""
        reference = self.like.reference
        assert reference is not None, "a shape without reference is refused by the likelihood"
        weights = 1.0 if reference.weights is None else reference.weights
        nominal = reference.ratio(process) * weights
        if self._point is None or not self._varied(process):
            return reference, nominal, nominal
        up, down = reference.variation(process, self._point[0])
        return reference, nominal, (up if self._point[1] == "up" else down) * weights

    def _norm_slope(self, process: str, nuisance: str) -> float:
        """d log Z / d alpha at the point, over the likelihood's reference events."""
        reference, _, mass = self._reference(process)
        base = reference.ratio(process)
        up, down = (np.log(side / base) for side in reference.variation(process, nuisance))
        return float(mass @ self._log_slope(nuisance, up, down) / mass.sum())

    def _log_norm(self, process: str) -> float:
        """log Z at the point."""
        if not self._varied(process):
            return 0.0
        _, nominal, mass = self._reference(process)
        return float(np.log(mass.sum() / nominal.sum()))

    @cached_property
    def _parts(self) -> tuple[Float, Float, Float]:
        """D `(event,)`, r f / Z `(process, event)`, numerators of u `(process, parameter, event)`.

        All are over the largest of the event.
        """
        logs = np.stack([self.logs[self._output(p)] - self._log_norm(p) for p in self.processes])
        ratios = np.exp(logs - logs.max(axis=0))  # a factor of an event cancels in what follows
        rise = np.repeat(self._rise[:, :, None], len(self.mass), axis=2)
        for p, process in enumerate(self.processes):
            for nuisance in self.shapes[process]:
                c = self._rows[:, self.names.index(nuisance)]
                rise[p] += self._yields[p] * c[:, None] * self._slope(process, nuisance)
        return self._yields @ ratios, ratios, ratios[:, None, :] * rise

    @cached_property
    def _score(self) -> Float:
        """u = c . d log D / d theta, ``(parameter of interest, event)``."""
        density, _, parts = self._parts
        return np.asarray(parts.sum(axis=0) / density)

    def influence(self, process: str) -> Float | None:
        """Bias by an error of log r, at the point, at each event: ``(event, parameter)``.

        None: the channel does not use this ratio.
        """
        if process not in self.processes or (self._point and not self._varied(process)):
            return None
        p = self.processes.index(process)
        density, ratios, parts = self._parts
        found = self.weights * (parts[p] - self._score * self._yields[p] * ratios[p]) / density
        mine = np.where(self.owner == p, self.weights, 0.0)
        total = mine.sum()
        if not total:
            return np.asarray(found.T)
        for nuisance in self.shapes[process]:
            c = self._rows[:, self.names.index(nuisance)]
            slope = self._slope(process, nuisance)
            found = found - c[:, None] * mine * (slope - mine @ slope / total)
        if self._point:
            found = found - found.sum(axis=1)[:, None] * mine / total
        return np.asarray(found.T)

    def shift(self) -> tuple[Float, Float]:
        """Bias of each parameter of interest by held-out events, and its error."""
        value = self._score @ self.weights - self._rise.sum(axis=0)
        variance = np.zeros(len(value))
        for p in range(len(self.processes)):
            mine = self.owner == p
            score, mass = self._score[:, mine], self.mass[mine]
            rest = mass * (score - (score @ mass)[:, None])
            variance += self._yields[p] ** 2 * np.square(rest).sum(axis=1)
        return np.asarray(value), np.sqrt(variance)


def _shapes(like: Likelihood, ratios: Ratios) -> dict[str, Sequence[str]]:
    """Nuisances that change the shape of each process, dropped ones left out."""
    assert like.columns is not None
    dropped = {(s.process, s.nuisance) for s in ratios.record.shapes if not s.kept}
    return {
        process: [
            n
            for n in like.columns.nuisances(process)
            if n in like.model.nuisances
            and n in ratios.tree.get(process, ())
            and (process, n) not in dropped
        ]
        for process in like.model.processes
    }
