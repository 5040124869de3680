"""Fits: values, errors, intervals, and an honest account of how the minimum was found."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rootml._internal.progress import long_step
from rootml._internal.reprs import Grid, HtmlRepr, Part, facts_text
from rootml._internal.types import Float
from rootml._internal.validators import check_whole
from rootml.errors import (
    ConvergenceError,
    DensityError,
    MissingParameterError,
    UsageError,
    nearest,
)
from rootml.plot import Labels, Style, write
from rootml.plot import pulls as draw_pulls
from rootml.sbi.inference.fits import _finite_samples, _fit_tables
from rootml.sbi.inference.fits._cabinetry import CabinetryResults, container, in_widths
from rootml.sbi.inference.fits._contour import Contour
from rootml.sbi.inference.fits._contour import contour as scan_contour
from rootml.sbi.inference.fits._dropped_shapes import dropped_shapes
from rootml.sbi.inference.fits._extrapolation import extrapolations
from rootml.sbi.inference.fits._fitted_parameter import FittedParameter
from rootml.sbi.inference.fits._hepdata import table
from rootml.sbi.inference.fits._scan import Profile
from rootml.sbi.inference.fits._scan import profile as scan_profile
from rootml.sbi.inference.minimum._account import (
    WEIGHTED,
    covariance_of,
    is_close,
    limit_note,
    problems_of,
    side_of,
    touching,
)
from rootml.sbi.inference.minimum._curvature import Curvature
from rootml.sbi.inference.minimum._flat import flat_directions, steps_of
from rootml.sbi.inference.minimum._minimise import (
    Minimum,
    Objective,
    check_strategy,
    invert,
    limits,
    prepare,
    start_of,
    within,
)
from rootml.sbi.inference.minimum._minos import end_of_interval
from rootml.sbi.inference.minimum._quantiles import check_level, chi2_quantile
from rootml.sbi.inference.minimum._quasi_newton import (
    Conditional,
    conditional_from,
    predicted,
)
from rootml.sbi.inference.minimum._search import (
    QUICK_GOAL,
    migrad_minimum,
    newton_minimum,
    quick_minimum,
)
from rootml.sbi.likelihood._acts_on import acts_on
from rootml.sbi.likelihood._fittable import Fittable, anchored, check_fittable, is_weighted
from rootml.sbi.likelihood._parameters import Nuisance, Parameter

if TYPE_CHECKING:
    import iminuit
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)

LEVEL = 0.6826894921370859
_MINOS_GOAL = 1e-9  # EDM of the fits that find an end


@dataclass
class FitResult(HtmlRepr):
    """The outcome of a fit.

    ``fit["mu"]`` is one parameter, with MINOS errors as ``.up`` and ``.down``; `summary` a table
    with what each parameter acts on; `to_dict` everything as JSON data.

    Attributes:
        like: What was fitted.
        values: Parameter values at the minimum.
        errors: Their standard deviations by the second derivatives; 0 for fixed ones. For
            weighted data see `weighted_errors`.
        covariance: ``(parameter, parameter)`` in the order of ``like.parameters``; rows of fixed
            parameters are 0. A parameter that stands at its limit counts as held for all others;
            its own variance is what it would be without the limit.
        nll: Minus log L at the minimum.
        edm: Estimated distance to the minimum (EDM), in units of -log L.
        valid: Whether this is a minimum: the EDM is small, the second derivatives are positive,
            and no direction is flat.
        problems: What is wrong or worth knowing, in words; empty if nothing.
        at_limit: Parameters held by one of their limits; their errors are no standard deviations.
        fixed: Parameters that were not varied.
        calls: Evaluations of the likelihood, and of its gradient (with the value, in one pass).
        flat: Directions along which the likelihood does not change: by how much each parameter
            moves, e.g. ``[{"a": 1.0, "b": -0.96}]``; such a fit is not valid.

    >>> from rootml.sbi import Model, Nuisance, Parameter
    >>> model = Model({"S": "mu * 10"}, {"mu": Parameter(1.0, lower=0.0)},
    ...               {"lumi": Nuisance(yields={"S": 1.02})})
    >>> result = fit(model.likelihood({"S": [1.0] * 12}))
    >>> result["mu"]
    mu = 1.20 +- 0.35 (yield of S)
    >>> print(result.summary())
    parameter  acts on                value  error   pull
    mu         yield of S              1.20   0.35
    lumi       yield of S +2/-1.96 %    0.0    1.0  +0.00
    """

    like: Fittable
    values: dict[str, float]
    errors: dict[str, float]
    covariance: Float
    nll: float
    edm: float
    valid: bool
    problems: list[str]
    at_limit: list[str]
    fixed: list[str]
    calls: tuple[int, int]
    flat: list[dict[str, float]] = field(default_factory=list)
    _minuit: Any = field(repr=False, default=None)
    _hessian: Float | None = field(repr=False, default=None)
    _seen: Float | None = field(repr=False, default=None)  # where the Hessian was taken

    def __getstate__(self) -> dict[str, Any]:
        kept = {key: value for key, value in self.__dict__.items() if key != "_anchored"}
        return kept | {"_minuit": None}  # it cannot be sent to another process

    @property
    def theta(self) -> Float:
        """The values in the order of ``like.parameters``."""
        return np.array(list(self.values.values()))

    @property
    def hessian(self) -> Float | None:
        """Second derivatives at the minimum, ``(parameter, parameter)``; None: there are none.

        0 for fixed parameters.
        """
        return self._hessian

    @property
    def correlation(self) -> Float:
        """The correlation matrix; 0 for fixed parameters."""
        sigma = np.sqrt(np.diag(self.covariance))
        scale = np.where(sigma > 0.0, sigma, 1.0)
        return np.asarray(self.covariance / np.outer(scale, scale))

    def require_valid(self) -> FitResult:
        """Itself, if the fit converged.

        Raises:
            ConvergenceError: It did not; says how it ended.
        """
        if not self.valid:
            message = f"the fit did not converge: {'; '.join(self.problems)}"
            raise ConvergenceError(message)
        return self

    def minos(self, name: str, *, level: float = LEVEL) -> tuple[float, float]:
        """The interval in which -2 log L, minimised over all others, stays below a quantile.

        Weighted events count as if each weight was a count (a warning is logged).

        Args:
            level: Its confidence level; the quantile is that of chi^2 with one degree of freedom.

        Returns:
            Lower and upper end; an end beyond the parameter's limit is the limit.

        Raises:
            ConvergenceError: The fit is not valid, or an end was not found.
            UsageError: A level that is not between 0 and 1.
        """
        self.check_free(name)
        check_level(level)
        if self.weighted:
            log.warning("MINOS counts weighted events as events; see FitResult.weighted_errors")
        self.require_valid()
        edge = chi2_quantile(level, 1) ** 0.5
        ends = [self.end(name, edge=edge, sign=sign) for sign in (-1.0, 1.0)]
        if None in ends:
            return self._minos_by_minuit(name, level)
        return float(ends[0]), float(ends[1])  # type: ignore[arg-type]

    def end(self, name: str, *, edge: float, sign: float) -> float | None:
        """One end of the interval in which sqrt(-2 log L / L_max) stays below an edge.

        Args:
            edge: 1 for the interval of one standard deviation.
            sign: 1 for the upper end, -1 for the lower one.

        Returns:
            The end, or the limit if that is nearer; None: it was not found.
        """
        index = list(self.values).index(name)
        best = self.values[name]
        limit = limits(self.like)[int(sign > 0.0)][index]
        if best == limit:
            return float(limit)

        def at(value: float, near: Conditional | None) -> tuple[Conditional, float] | None:
            try:
                found = self.conditional({name: value}, near=near, goal=_MINOS_GOAL)
            except DensityError:
                return None
            return (found, float(found.gradient[index])) if found.valid else None

        first = best + sign * self._reach(index, edge)
        return end_of_interval(at, best, self.nll, first, edge=edge, limit=float(limit))

    def _reach(self, index: int, edge: float) -> float:
        """About how far from the minimum sqrt(-2 log L / L_max) reaches an edge.

        Where no events are seen, a parameter stands at its limit without an error, and -log L
        rises in a straight line.
        """
        error = float(np.sqrt(self.covariance[index, index]))
        if error > 0.0:
            return edge * error
        slope = abs(float(self.like.nll_gradient(self.theta, strict=False)[1][index]))
        reach = 0.5 * edge**2 / slope if slope > 0.0 else 0.0
        return reach or max(abs(float(self.theta[index])), 1e-3)

    def _minos_by_minuit(self, name: str, level: float) -> tuple[float, float]:
        """The interval by Minuit's search for crossings."""
        minuit = self.at_minimum()
        minuit.minos(name, cl=level)
        found = minuit.merrors[name]
        index = list(self.values).index(name)
        low, high = (side[index] for side in limits(self.like))
        ends = []
        for side, ok, at_limit, limit in (
            (found.lower, found.lower_valid, found.at_lower_limit, low),
            (found.upper, found.upper_valid, found.at_upper_limit, high),
        ):
            if not (ok or at_limit):
                message = f"MINOS found no end of the interval of {name!r}:\n{found}"
                raise ConvergenceError(message)
            ends.append(float(limit if at_limit else minuit.values[name] + side))
        return ends[0], ends[1]

    def profile(
        self, name: str, *, points: int = 31, sigmas: float = 3.2, values: Any = None,
        progress: bool | None = None,
    ) -> Profile:  # fmt: skip
        """``-2 log L / L_max`` along one parameter, all others refitted. See `Profile`.

        Args:
            points: How many values, the fitted one among them.
            sigmas: On both sides the values end where the square root of this is as large, found
                by conditional fits, or at the parameter's limit.
            values: These values instead.
            progress: Show a bar; None: on a terminal.

        Raises:
            ConvergenceError: The fit is not valid.
            UsageError: Values that are not finite numbers.
        """
        return scan_profile(
            self, name, points=points, sigmas=sigmas, values=values, progress=progress
        )

    def contour(
        self, x: str, y: str, *, levels: tuple[float, ...] = (LEVEL, 0.95), points: int = 80,
        progress: bool | None = None,
    ) -> Contour:  # fmt: skip
        """Where two parameters' profile likelihood reaches confidence levels. See `Contour`.

        Args:
            points: About how many on each curve, each a conditional fit; more where it bends.
            progress: Show a bar; None: on a terminal.

        Raises:
            ConvergenceError: The fit is not valid, or a curve does not close.
            UsageError: Twice the same parameter, or a level that is not between 0 and 1.
        """
        return scan_contour(self, x, y, levels=levels, points=points, progress=progress)

    # --- by name -------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> FittedParameter:
        """One parameter.

        Raises:
            MissingParameterError: No such parameter; names the nearest.
        """
        if name not in self.values:
            message = f"no parameter {name!r}; available: {nearest(name, self.values)}"
            raise MissingParameterError(message)
        errors = self.weighted_errors if self.weighted else {}
        return FittedParameter(
            name, self.values[name], self.errors[name], errors.get(name), name in self.fixed,
            side_of(self.like.parameters[name], self.values[name]) * (name in self.at_limit),
            tuple(self._acts_on[name]), self.minos,
        )  # fmt: skip

    def parameters(self) -> list[FittedParameter]:
        """All parameters, in order."""
        return [self[name] for name in self.values]

    @cached_property
    def _acts_on(self) -> dict[str, list[str]]:
        return acts_on(self.like)

    def summary(self) -> Grid:
        """A table of values, errors, pulls, and what each parameter acts on."""
        return _fit_tables.summary(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, lists and texts, ready for `json.dumps`."""
        return _fit_tables.as_dict(self)

    # --- weighted data, finite samples -----------------------------------------------------------

    @property
    def weighted(self) -> bool:
        """Whether the data have weights that are not counts: `errors` are wrong for them."""
        return is_weighted(self.like)

    @cached_property
    def weighted_errors(self) -> dict[str, float]:
        """Standard deviations for weighted events: the roots of `weighted_covariance`."""
        sigma = np.sqrt(np.diag(self.weighted_covariance()))
        return dict(zip(self.values, sigma.tolist(), strict=True))

    @cached_property
    def notes(self) -> list[str]:
        """What the fit cannot show: dropped shapes, extrapolations, rough alarms; in words.

        Computed when first asked, as printing does. A dropped shape is one that held-out events of
        the training did not show (`ShapeDecision`); the largest effect that may have been missed
        is given in standard deviations of the observed data. Events beyond the range of the
        training have extrapolated ratios. An alarm, rough by nature, says that
        the finite training samples or the finite reference sample may move a parameter without a
        constraint by more than 0.3 of its error: `training_uncertainty` and
        `bootstrap_reference` measure it.
        """
        if not self.valid:
            return []
        index = [i for i, name in enumerate(self.values) if name not in self.at_limit]
        covariance = np.zeros_like(self.covariance)
        covariance[np.ix_(index, index)] = self.covariance[np.ix_(index, index)]
        errors = self.weighted_errors if self.weighted else self.errors
        interesting = [
            name
            for name, parameter in self.like.parameters.items()
            if isinstance(parameter, Parameter) and name not in (*self.fixed, *self.at_limit)
        ]
        found = _finite_samples.spreads(self.like, self.theta, covariance)
        return [
            *dropped_shapes(self.like, self.theta),
            *extrapolations(self.like),
            *_finite_samples.alarms(found, errors, interesting),
        ]

    def weighted_covariance(self) -> Float:
        """The covariance for weighted events, ``H^-1 (sum w^2 s s^T + constraints) H^-1``.

        For simulated or background-subtracted data, whose weights are not counts. The plain
        covariance is right for counts and for Asimov data. (arXiv 1911.01303.)
        """
        index = [i for i, name in enumerate(self.values) if name not in self.fixed]
        scores = self.like.score_covariance(self.theta)
        some = np.zeros_like(self.covariance)
        some[np.ix_(index, index)] = scores[np.ix_(index, index)]
        return np.asarray(self.covariance @ some @ self.covariance)

    def plot(
        self,
        name: str | None = None,
        *,
        ax: Any = None,
        labels: Labels = None,
        units: Labels = None,
        style: Style = "plain",
        path: Any = None,
    ) -> Axes:
        """Draw the pulls of the nuisances; with a name, the likelihood along that parameter.

        Args:
            name: A parameter, see `Profile.plot`; None: pulls, see `rootml.plot.pulls`.
            ax, labels, units, style: As for all functions of `rootml.plot`.
            path: Write the picture there; None: notebooks show it.

        Returns:
            The axes.

        Raises:
            UsageError: No nuisance with a Gaussian constraint was fitted: there are no pulls.
        """
        look: Any = {"ax": ax, "labels": labels, "units": units, "style": style}
        if name is not None:
            return self.profile(name).plot(**look, path=path)
        shown = {
            name: p
            for name, p in self.like.parameters.items()
            if isinstance(p, Nuisance) and p.constraint == "gaussian" and name not in self.fixed
        }
        if not shown:
            message = (
                "no nuisance with a Gaussian constraint was fitted, so there are no pulls; "
                f"plot a parameter: {nearest('', self.values)}"
            )
            raise UsageError(message)
        pulls = [(self.values[k] - self.like.observed[k]) / p.width for k, p in shown.items()]
        errors = [self.errors[k] / p.width for k, p in shown.items()]
        return write(draw_pulls(list(shown), pulls, errors, **look), path)

    def to_cabinetry(self) -> CabinetryResults:
        """A `cabinetry.fit.FitResults`, for ``cabinetry.visualize.pulls`` and the like.

        Nuisances with a Gaussian constraint are in its widths, from the auxiliary measurement, as
        cabinetry draws them; other parameters as they are.

        Raises:
            MissingPackageError: cabinetry is not installed.
        """
        values, errors = in_widths(self.like, self.values, self.errors)
        return container(
            "FitResults", bestfit=values, uncertainty=errors, labels=list(self.values),
            corr_mat=self.correlation, best_twice_nll=2.0 * self.nll,
        )  # fmt: skip

    def to_hepdata(self, name: str, *, labels: Labels = None, digits: int = 5) -> list[Any]:
        """Two `hepdata_lib.Table`: the parameters with errors, and their correlations.

        Args:
            name: Of the first table; the second is ``"<name> correlations"``.
            labels: How parameters are written.
            digits: Significant digits of errors, and of values without errors.

        Raises:
            MissingPackageError: hepdata_lib is not installed.
        """
        names = [(labels or {}).get(each, each) for each in self.values]
        free = [number for number, each in enumerate(self.values) if each not in self.fixed]
        values, errors = list(self.values.values()), list(self.errors.values())
        pairs = [(i, j) for i in free for j in free]
        places = {key: [names[p[k]] for p in pairs] for k, key in enumerate(("first", "second"))}
        rho = [self.correlation[i, j] for i, j in pairs]
        return [
            table(
                name, "Parameters of the fit", independent={"parameter": names},
                dependent={"value": (values, {"fit": errors})}, digits=digits,
            ),
            table(
                f"{name} correlations", "Correlations of the fitted parameters",
                independent=places, dependent={"correlation": (rho, {})}, digits=digits,
            ),
        ]  # fmt: skip

    def refit(
        self, held: Mapping[str, float], *, start: Mapping[str, float] | None = None
    ) -> FitResult:
        """Fit the same likelihood again with these and the fixed parameters held.

        Args:
            held: Parameters to hold, with their values.
            start: Where the others start; None: where this fit's covariance expects them.
        """
        kept = {name: self.values[name] for name in self.fixed}
        place = self.predicted(held) if start is None else dict(start)
        return fit_near(self.like, fixed=kept | dict(held), start=place, hessian=self._hessian)

    def conditional(
        self,
        held: Mapping[str, float],
        *,
        near: Conditional | None = None,
        goal: float = 1e-6,
        bend: Float | None = None,
    ) -> Conditional:
        """The minimum with parameters held, without errors: see `Conditional`.

        Args:
            held: Parameters to hold, with their values.
            near: A conditional minimum nearby to start from; None: this fit.
            goal: The EDM at which to stop.
            bend: By how much the start is moved from `straight`, ``(parameter,)``.
        """
        free, place = self._placed(held)
        if self._curvature is not None:
            at = Conditional(self.theta, self.nll, np.zeros(len(place)), self._curvature, True)
            found = conditional_from(
                self._anchored, at if near is None else near, place, free, goal, bend=bend
            )
            if found is not None:
                return found
        again = self.refit(held, start=self.predicted(held))
        slopes = self.like.nll_gradient(again.theta, strict=False)[1]
        return Conditional(again.theta, again.nll, slopes, self._curvature, again.valid)

    @cached_property
    def _anchored(self) -> Fittable:
        """The likelihood, ready for fits nearby."""
        return anchored(self.like, self.theta if self._seen is None else self._seen)

    @cached_property
    def _curvature(self) -> Curvature | None:
        """The Hessian, with its inverse for all free parameters."""
        if self._hessian is None:
            return None
        found = Curvature(self._hessian)
        found.inverse(np.array([name not in self.fixed for name in self.values]))
        return found

    def straight(self, held: Mapping[str, float]) -> Float:
        """Where the Hessian expects the minimum with parameters held, ``(parameter,)``."""
        free, place = self._placed(held)
        if self._curvature is None:
            return place
        moved = np.where(free, 0.0, place - self.theta)
        return predicted(self._curvature, self.theta, free, moved, limits(self.like))

    def _placed(self, held: Mapping[str, float]) -> tuple[npt.NDArray[np.bool_], Float]:
        """Which parameters are free if some are held, and the values with these."""
        free = np.array([n not in self.fixed and n not in held for n in self.values])
        place = np.array([held.get(name, value) for name, value in self.values.items()])
        return free, place

    def predicted(self, held: Mapping[str, float]) -> dict[str, float]:
        """Where the other parameters go, to first order, if some are held elsewhere."""
        names = list(self.values)
        index = [names.index(name) for name in held if name not in self.fixed]
        others = [i for i, name in enumerate(names) if name not in (*held, *self.fixed)]
        if self._hessian is None or not index or not others:
            return dict(self.values)
        inverse = invert(self._hessian[np.ix_(others, others)])
        if inverse is None:
            return dict(self.values)
        theta = self.theta
        moved = np.array([held[names[i]] for i in index]) - theta[index]
        theta[others] -= inverse @ (self._hessian[np.ix_(others, index)] @ moved)
        return within(self.like, dict(zip(names, theta.tolist(), strict=True)))

    def check_free(self, name: str) -> None:
        """Refuse a name that is not a varied parameter of this fit."""
        if name not in self.values:
            message = f"no parameter {name!r}; available: {nearest(name, self.values)}"
            raise MissingParameterError(message)
        if name in self.fixed:
            message = f"{name!r} was fixed in this fit"
            raise UsageError(message)

    def at_minimum(self) -> iminuit.Minuit:
        """Minuit, placed at the minimum that was found."""
        self.require_valid()
        if self._minuit is None:  # it was not needed
            kept = {name: self.values[name] for name in self.fixed}
            place, free = start_of(self.like, fixed=kept, start=self.values)
            self._minuit = prepare(Objective(self.like, free), place)
        moved = not np.array_equal(np.array(self._minuit.values), self.theta)
        if moved or self._minuit.fmin is None:
            inside = np.clip(self.theta, *_inner_limits(self.like))
            self._minuit.values = inside
            self._minuit.strategy = 1
            self._minuit.migrad()
        return self._minuit

    def __repr__(self) -> str:
        return f"{facts_text(_fit_tables.facts(self))}\n{_fit_tables.grid(self)}"

    def _html_title(self) -> str:
        return "rootml.sbi.FitResult"

    def _html_parts(self) -> list[Part]:
        return [_fit_tables.facts(self), _fit_tables.grid(self)]


@long_step("fitting")
def fit(
    like: Fittable,
    *,
    fixed: Mapping[str, float] | None = None,
    start: Mapping[str, float] | None = None,
    gradient: bool = True,
    strategy: int | None = None,
    calls: int | None = None,
) -> FitResult:
    """Maximise a likelihood.

    Quasi-Newton steps from the analytic Hessian at the start find the minimum, Newton steps
    refine it, and the inverse of the Hessian there is the covariance. Where they fail, or if one
    of the last three arguments is given, Minuit's MIGRAD finds the minimum.

    Args:
        like: A `Likelihood`, or anything else that is `Fittable`.
        fixed: Parameters to hold, with their values.
        start: Start values other than the parameters' own.
        gradient: Give MIGRAD the analytic gradient; False: its own finite differences.
        strategy: Minuit's strategy; None: quasi-Newton steps, and MIGRAD (strategy 0) if need be.
        calls: Maximum number of evaluations of the likelihood; None means Minuit's own limit.

    Raises:
        MissingParameterError: `fixed` or `start` names an unknown parameter.
        UsageError: A start that is not a number or outside its range; an unknown strategy.
        DensityError: The density is not positive at the start.

    >>> from rootml.sbi import Model, Parameter
    >>> model = Model({"S": "mu * 3"}, {"mu": Parameter(0.5, lower=0.0)})
    >>> result = fit(model.likelihood({"S": [1.0] * 6}))
    >>> round(result.values["mu"], 6), round(result.errors["mu"], 5)
    (2.0, 0.8165)
    """
    check_fittable(like)
    check_strategy(strategy or 0)
    calls = None if calls is None else check_whole("calls", calls, minimum=1)
    first, free = start_of(like, fixed=fixed or {}, start=start or {})
    objective = Objective(like, free)
    if gradient and strategy is None and calls is None:
        found = quick_minimum(like, objective, first, free)
        if found is not None:
            return _account(like, objective, found, free)
    minimum, minuit = migrad_minimum(
        like, objective, first, free, gradient=gradient, strategy=strategy or 0, calls=calls
    )
    return _account(like, objective, minimum, free, minuit)


def fit_near(
    like: Fittable, *, fixed: Mapping[str, float], start: Mapping[str, float],
    hessian: Float | None = None, goal: float = QUICK_GOAL,
) -> FitResult:  # fmt: skip
    """The same from a start near the minimum: Newton steps, and MIGRAD only where these fail."""
    found = newton_fit(like, fixed=fixed, start=start, hessian=hessian, goal=goal)
    return fit(like, fixed=fixed, start=start) if found is None else found


def newton_fit(
    like: Fittable, *, fixed: Mapping[str, float], start: Mapping[str, float],
    hessian: Float | None = None, goal: float = QUICK_GOAL,
) -> FitResult | None:  # fmt: skip
    """The same by Newton steps alone; None: they find no minimum.

    Args:
        hessian: Second derivatives nearby; None: those at the start.
        goal: The EDM at which the last step is taken without another look.
    """
    theta, free = start_of(like, fixed=fixed, start=start)
    objective = Objective(like, free)
    found = newton_minimum(like, objective, theta, free, hessian, goal)
    return None if found is None else _account(like, objective, found, free)


def _account(
    like: Fittable,
    objective: Objective,
    minimum: Minimum,
    free: npt.NDArray[np.bool_],
    minuit: Any = None,
) -> FitResult:
    """The result, with what there is to say about it."""
    names = list(like.parameters)
    covariance, whole = covariance_of(minimum, free)
    held = minimum.blocked | touching(like, minimum.theta, covariance, free)
    at_limit = [name for name, here in zip(names, held, strict=True) if here]
    flat = [steps_of(each, names) for each in flat_directions(minimum, free)]
    valid = whole and is_close(minimum)
    exhausted = minuit is not None and minuit.fmin and minuit.fmin.has_reached_call_limit
    problems = problems_of(
        like, objective, minimum, whole=whole, exhausted=bool(exhausted), flat=flat, free=free
    )
    values = dict(zip(names, minimum.theta.tolist(), strict=True))
    problems += [limit_note(name, like.parameters[name], values[name]) for name in at_limit]
    problems += [WEIGHTED] if is_weighted(like) else []
    sigma = np.sqrt(np.diag(covariance))
    return FitResult(
        like, values,
        dict(zip(names, sigma.tolist(), strict=True)), covariance, minimum.value, minimum.edm,
        valid, problems, at_limit, [n for n, f in zip(names, free, strict=True) if not f],
        (objective.values, objective.gradients), flat, minuit, minimum.hessian,
        minimum.seen,
    )  # fmt: skip


def _inner_limits(like: Fittable) -> tuple[Float, Float]:
    """Limits, a hair inwards: Minuit's transformation has no derivative at the limits."""
    low, high = limits(like)
    width = np.where(np.isfinite(high - low), high - low, 1.0)
    return low + 1e-9 * width, high - 1e-9 * width
