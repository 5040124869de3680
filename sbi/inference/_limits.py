"""Discovery significance and upper limits, asymptotic and by toys.

Test statistics and asymptotic formulas of Cowan, Cranmer, Gross, Vitells (arXiv 1007.1727); CLs of
Read (J. Phys. G 28 (2002) 2693). Nuisance parameters are profiled; toys and Asimov data take them
from the conditional fit to the data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.linear_algebra import single_threaded
from rootml._internal.optional import optional_import
from rootml._internal.progress import long_step
from rootml._internal.reprs import HtmlRepr, Part, facts_text
from rootml._internal.types import Float
from rootml._internal.validators import check_whole
from rootml.errors import ConvergenceError, UsageError
from rootml.plot import Labels, Style, named, write
from rootml.plot import limit as draw_limit
from rootml.sbi.inference._samples import ShiftedLikelihood
from rootml.sbi.inference.fits._cabinetry import CabinetryResults, container
from rootml.sbi.inference.fits._fit import FitResult, fit, newton_fit
from rootml.sbi.inference.fits._hepdata import table
from rootml.sbi.inference.minimum._quantiles import check_level, normal_quantile, normal_tail
from rootml.sbi.inference.toys._asimov import asimov
from rootml.sbi.inference.toys._toy_task import Task, ToyResults, child_seeds
from rootml.sbi.inference.toys._toys import (
    Ensemble,
    Generators,
    Source,
    fitted_toys,
    point_folder,
    source_like,
)
from rootml.sbi.inference.toys._work import FEATURE, Where
from rootml.sbi.likelihood._combined import CombinedLikelihood
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._likelihood import Likelihood, mixture_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BANDS = (-2, -1, 0, 1, 2)


class Statistic:
    """Fits of one likelihood for tests of one parameter, each made once.

    Args:
        like: The likelihood.
        name: The parameter of interest.
        null: Its value without a signal; the smallest physical value.
    """

    def __init__(self, like: Fittable, name: str, *, null: float = 0.0) -> None:
        self.like = like
        self.name = name
        self.null = null
        self.best = fit(like).require_valid()
        self.best.check_free(name)
        self._held: dict[float, FitResult] = {}

    def held(self, value: float) -> FitResult:
        """The fit with the parameter held."""
        if value not in self._held:
            found = self._newton(value)
            if found is None:
                found = fit(self.like, fixed={self.name: value}, start=self.best.values)
            if not found.valid:
                message = f"no minimum with {self.name} = {value}: {'; '.join(found.problems)}"
                raise ConvergenceError(message)
            self._held[value] = found
        return self._held[value]

    def known(self) -> list[float]:
        """Values of which the fit has been made."""
        return list(self._held)

    def _newton(self, value: float) -> FitResult | None:
        """Newton steps from the nearest fit; None: they fail, also by way of points between."""
        near = min((*self._held, self.fitted), key=lambda other: abs(other - value))
        known, found = self._held.get(near, self.best), None
        for points in (1, 4):
            for place in np.linspace(near, value, points + 1)[1:].tolist():
                held = {self.name: place}
                found = newton_fit(self.like, fixed=held, start=known.predicted(held))
                if found is None:
                    break
                known = found
            if found is not None:
                break
        return found

    @property
    def fitted(self) -> float:
        """The parameter's value at the minimum."""
        return self.best.values[self.name]

    def discovery(self) -> float:
        """q0: how much worse the null is; 0 for a downward fluctuation."""
        if self.fitted <= self.null:
            return 0.0
        return max(2.0 * (self.held(self.null).nll - self.best.nll), 0.0)

    def upper(self, value: float) -> float:
        """q~: how much worse `value` is than the best at or above the null; 0 if that is above."""
        if self.fitted >= value:
            return 0.0
        floor = self.best if self.fitted >= self.null else self.held(self.null)
        return max(2.0 * (self.held(value).nll - floor.nll), 0.0)


@dataclass(frozen=True)
class Discovery(HtmlRepr):
    """A test of the absence of a signal.

    Attributes:
        name: The parameter of interest.
        q0: The test statistic.
        significance: In standard deviations.
        p_value: Of the null.
        fit: The fit with the signal.
        toys: Behind the p-value; None: the asymptotic formula.
        bound: No toy reaches q0: `p_value` is an upper limit at 95 % confidence, `significance` a
            lower one.
    """

    name: str
    q0: float
    significance: float
    p_value: float
    fit: FitResult
    toys: ToyResults | None = None
    bound: bool = False

    def _facts(self) -> list[tuple[str, str]]:
        value, error = self.fit.values[self.name], self.fit.errors[self.name]
        by = "asymptotic" if self.toys is None else f"{len(self.toys)} toys"
        more, less = ("> ", "< ") if self.bound else ("", "")
        return [
            (self.name, f"{value:.5g} +- {error:.2g}"),
            ("q0", f"{self.q0:.4f}"),
            ("significance", f"{more}{self.significance:.3f}"),
            ("p-value", f"{less}{self.p_value:.4g} ({by})"),
        ]

    def __repr__(self) -> str:
        return facts_text(self._facts())

    def _html_parts(self) -> list[Part]:
        return [self._facts()]


@long_step("significance")
def discovery(
    like: Fittable, name: str, *, null: float = 0.0, toys_null: ToyResults | None = None
) -> Discovery:
    """The significance of a signal.

    Args:
        name: The parameter of interest.
        null: Its value without a signal.
        toys_null: Toys drawn at the null with the test ``{name: null}``, see `toys`; their
            distribution then replaces the asymptotic one.

    Raises:
        ConvergenceError: A fit is not valid.

    >>> from rootml.sbi import Model, Parameter
    >>> model = Model({"S": "s", "B": "50"}, {"s": Parameter(10.0, lower=0.0)})
    >>> like = model.likelihood({"S": [1.0] * 80, "B": [1.0] * 80})
    >>> round(discovery(like, "s").significance, 4)  # sqrt(2 (80 log(80 / 50) - 30))
    3.8988
    """
    statistic = Statistic(like, name, null=null)
    q0 = statistic.discovery()
    if toys_null is None:
        root = math.sqrt(q0)
        return Discovery(name, q0, root, normal_tail(root), statistic.best)
    values = toys_null.statistic(_test_of(toys_null, name, null))
    above = toys_null.values[:, toys_null.index(name)] > null
    q = np.where(above, values, 0.0)[np.isfinite(values)]
    if not len(q):
        message = f"none of {len(toys_null)} toys has a valid fit with and without {name!r}"
        raise ConvergenceError(message)
    beyond = int((q >= _tied(q0)).sum())
    p = beyond / len(q) if beyond else _upper_bound(len(q))
    significance = -normal_quantile(p)
    return Discovery(name, q0, significance, p, statistic.best, toys_null, bound=beyond == 0)


def _tied(q: float) -> float:
    """Where toys count as large as q: equal data give equal statistics, but for rounding."""
    return q - 1e-6 * (1.0 + q)


def _upper_bound(number: int) -> float:
    """The 95 % upper limit on a probability of which no case was seen: ``1 - 0.05^(1 / n)``."""
    return float(-math.expm1(math.log(0.05) / number))


def _test_of(results: ToyResults, name: str, value: float) -> int:
    for number, test in enumerate(results.tests):
        if dict(test) == {name: value}:
            return number
    message = f"the toys have no test {{{name!r}: {value}}}; they have {list(results.tests)}"
    raise UsageError(message)


_BANDS = ("expected-2", "expected-1", "expected", "expected+1", "expected+2")


@dataclass(frozen=True)
class Limit(HtmlRepr):
    """An upper limit by CLs.

    Attributes:
        name: The parameter.
        level: Its confidence level.
        observed: The limit.
        expected: Limits expected without a signal, at -2, -1, 0, +1, +2 standard deviations; NaN
            (by toys only): outside of the values.
        method: ``"asymptotic"`` or ``"toys"``.
        values: Where CLs was computed for a figure, ``(point,)``.
        curves: CLs there: ``"observed"``, ``"expected"``, ``"expected-1"``...
        error: Statistical error of the observed limit; 0 for the asymptotic one.
    """

    name: str
    level: float
    observed: float
    expected: tuple[float, ...]
    method: str
    values: Float = field(repr=False)
    curves: Mapping[str, Float] = field(repr=False)
    error: float = 0.0

    def plot(
        self,
        *,
        ax: Any = None,
        labels: Labels = None,
        units: Labels = None,
        style: Style = "plain",
        path: Any = None,
    ) -> Axes:
        """Draw CLs against the parameter, see `rootml.plot.limit`.

        Args:
            ax, labels, units, style: As for all functions of `rootml.plot`.
            path: Write the picture there; None: notebooks show it.

        Returns:
            The axes.
        """
        bands = [self.curves[key] for key in _BANDS]
        look: Any = {"ax": ax, "labels": labels, "units": units, "style": style}
        drawn = draw_limit(
            self.name, self.values, self.curves["observed"], bands, level=self.level, **look
        )
        return write(drawn, path)

    def to_hepdata(
        self, name: str, *, labels: Labels = None, units: Labels = None, digits: int = 5
    ) -> list[Any]:
        """Two `hepdata_lib.Table`: the limits, and CLs along the parameter.

        Args:
            name: Of the first table; the second is ``"<name> CLs"``.
            labels, units: As for the pictures.
            digits: Significant digits of errors, and of values without errors.

        Raises:
            MissingPackageError: hepdata_lib is not installed.
        """
        quantity = named(self.name, labels, units)
        low2, low1, median, high1, high2 = self.expected
        bands = {"1 s.d.": [[low1 - median, high1 - median]],
                 "2 s.d.": [[low2 - median, high2 - median]]}  # fmt: skip
        cls = {key: np.asarray(self.curves[key]) for key in ("observed", *_BANDS)}
        middle = cls["expected"]
        spread = {
            f"{width} s.d.": np.sort(np.stack(
                [cls[f"expected{sign}{width}"] - middle for sign in "-+"], axis=1), axis=1)
            for width in (1, 2)
        }  # fmt: skip
        level = f"{100 * self.level:.4g} % CL"
        return [
            table(
                name, f"Upper limits at {level} ({self.method})",
                independent={"limit on": [quantity]},
                dependent={"observed": ([self.observed], {}), "expected": ([median], bands)},
                digits=digits,
            ),
            table(
                f"{name} CLs", f"CLs along {quantity}", independent={quantity: self.values},
                dependent={
                    "observed CLs": (cls["observed"], {}), "expected CLs": (middle, spread),
                },
                digits=digits,
            ),
        ]  # fmt: skip

    def to_cabinetry(self) -> CabinetryResults:
        """A `cabinetry.fit.LimitResults`.

        Raises:
            MissingPackageError: cabinetry is not installed.
        """
        return container(
            "LimitResults", observed_limit=self.observed, expected_limit=np.array(self.expected),
            observed_CLs=np.asarray(self.curves["observed"]),
            expected_CLs=np.stack([self.curves[key] for key in _BANDS], axis=1),
            poi_values=self.values, confidence_level=self.level,
        )  # fmt: skip

    def _facts(self) -> list[tuple[str, str]]:
        low2, low1, median, high1, high2 = self.expected
        error = f" +- {self.error:.2g}" if self.error else ""
        return [
            (f"limit on {self.name}", f"{self.observed:.5g}{error}"),
            ("expected", f"{median:.5g}"),
            ("68 % band", f"{low1:.5g} to {high1:.5g}"),
            ("95 % band", f"{low2:.5g} to {high2:.5g}"),
            ("method", f"CLs at {100 * self.level:.4g} %, {self.method}"),
        ]

    def __repr__(self) -> str:
        return facts_text(self._facts())

    def _html_parts(self) -> list[Part]:
        return [self._facts()]


@dataclass(frozen=True)
class CLs(HtmlRepr):
    """CLs of one value of a parameter, asymptotically.

    Attributes:
        name: The parameter.
        value: The value that is tested.
        observed: CLs of the data.
        expected: CLs expected without a signal, at -2, -1, 0, +1, +2 standard deviations.
        q: The test statistic q~ of the data.
        q_expected: That of the Asimov data without a signal.
    """

    name: str
    value: float
    observed: float
    expected: tuple[float, ...]
    q: float
    q_expected: float

    def _facts(self) -> list[tuple[str, str]]:
        return [
            (f"CLs of {self.name} = {self.value:g}", f"{self.observed:.5g}"),
            ("expected", f"{self.expected[2]:.5g}"),
            ("68 % band", f"{self.expected[1]:.5g} to {self.expected[3]:.5g}"),
            ("q", f"{self.q:.5g}"),
        ]

    def __repr__(self) -> str:
        return facts_text(self._facts())

    def _html_parts(self) -> list[Part]:
        return [self._facts()]


@long_step("CLs")
def cls(
    like: Fittable, name: str, value: float, *, null: float = 0.0, reference: Any = None
) -> CLs:
    """CLs of one value of a parameter with q~, asymptotically: excluded at 95 % if below 0.05.

    Args:
        name: The parameter of interest.
        value: The value to test, above `null`.
        null: Its value without a signal.
        reference: Reference events for the Asimov data; None: those of the likelihood.

    Raises:
        ConvergenceError: A fit is not valid.
        UsageError: A value that is not above the null; no reference events.

    References:
        Asymptotic formulae, https://arxiv.org/abs/1007.1727; CLs,
        https://doi.org/10.1088/0954-3899/28/10/313

    >>> from rootml.sbi import Model, Parameter
    >>> model = Model({"S": "s", "B": "50"}, {"s": Parameter(5.0, lower=0.0)})
    >>> like = model.likelihood({"S": np.ones(55), "B": np.ones(55)})
    >>> round(cls(like, "s", 19.309, reference={"S": np.ones(9), "B": np.ones(9)}).observed, 4)
    0.05
    """
    if not value > null:
        message = f"CLs tests a value above that without a signal, {null:g}, not {value:g}"
        raise UsageError(message)
    data = Statistic(like, name, null=null)
    expected = Statistic(_expected_null(data, reference), name, null=null)
    solve = _Solver(data, expected, 0.05)
    band = tuple(solve.cls(value, number) for number in BANDS)
    return CLs(name, value, solve.cls(value, None), band, data.upper(value), expected.upper(value))


@long_step("limit")
def limit(
    like: Fittable,
    name: str,
    *,
    level: float = 0.95,
    null: float = 0.0,
    reference: Any = None,
    points: int = 25,
) -> Limit:
    """The upper limit on a parameter by CLs with q~, asymptotically.

    Args:
        name: The parameter of interest.
        level: Confidence level.
        null: Its value without a signal.
        reference: Reference events for the Asimov data; None: those of the likelihood.
        points: For the figure.

    Raises:
        ConvergenceError: A fit is not valid, or no limit was found.
        UsageError: No reference events, or no mixture of columns.

    >>> from rootml.sbi import Model, Parameter
    >>> model = Model({"S": "s", "B": "50"}, {"s": Parameter(5.0, lower=0.0)})
    >>> like = model.likelihood({"S": np.ones(55), "B": np.ones(55)})
    >>> limit(like, "s", reference={"S": np.ones(9), "B": np.ones(9)})
    limit on s  19.309
    expected    15.168
    ...
    """
    check_level(level)
    data = Statistic(like, name, null=null)
    expected = Statistic(_expected_null(data, reference), name, null=null)
    solve = _Solver(data, expected, 1.0 - level)
    observed = solve.root(None)
    band = tuple(solve.root(number) for number in BANDS)
    values = np.linspace(null, 1.2 * max(observed, band[-1]), points + 1)[1:]
    curves = {_label(n): np.array([solve.cls(v, n) for v in values]) for n in (None, *BANDS)}
    return Limit(name, level, observed, band, "asymptotic", values, curves)


def _label(number: int | None) -> str:
    if number is None:
        return "observed"
    return "expected" if number == 0 else f"expected{number:+d}"


def _expected_null(data: Statistic, reference: Any) -> Fittable:
    """Asimov data without a signal, nuisances as in the conditional fit."""
    truth = data.held(data.null).values
    if not isinstance(data.like, CombinedLikelihood):
        return _null_asimov(data.like, truth, reference)
    if reference is not None:
        message = "reference= is for one likelihood: the parts of this one have their own"
        raise UsageError(message)
    parts = data.like.parts.items()
    return CombinedLikelihood({name: _null_asimov(part, truth, None) for name, part in parts})


def _null_asimov(given: Fittable, truth: Mapping[str, float], reference: Any) -> Likelihood:
    like = mixture_of(given, "limit")
    events = like.reference if reference is None else reference
    names = like.model.all_parameters
    made = asimov(
        like.model, events, engine=like.engine, **{k: v for k, v in truth.items() if k in names}
    )
    if isinstance(like, ShiftedLikelihood):
        return ShiftedLikelihood(made, like.shifts, prefix=like.prefix)
    return made


class _Solver:
    """CLs as a function of the parameter, and where it falls to alpha."""

    def __init__(self, data: Statistic, expected: Statistic, alpha: float) -> None:
        self.data, self.expected, self.alpha = data, expected, alpha

    def cls(self, value: float, number: int | None) -> float:
        """CLs observed (None), or expected at so many standard deviations."""
        sigma = math.sqrt(self.expected.upper(value))
        if number is not None:
            # median and bands under the null: the test statistic's root is sigma - number
            return normal_tail(sigma - number) / normal_tail(-number)
        q = self.data.upper(value)
        root = math.sqrt(q)
        if sigma == 0.0:
            return 1.0
        if root <= sigma:
            both, null = normal_tail(root), normal_tail(root - sigma)
        else:
            both = normal_tail((q + sigma**2) / (2.0 * sigma))
            null = normal_tail((q - sigma**2) / (2.0 * sigma))
        return both / null if null > 0.0 else 0.0

    def _bracket(self, number: int | None, guess: float) -> tuple[float, float]:
        """The nearest known values around the root; where there are none, the null and a guess."""
        known = sorted(v for v in self.expected.known() if v > self.data.null)
        above = [v for v in known if self.cls(v, number) < self.alpha]
        high = min(above, default=max([guess, *known]))
        low = max((v for v in known if v < high), default=self.data.null)
        return low, high

    def _step(self) -> float:
        """A first guess of how far the limit is: an error of the parameter, or what halves L.

        With no events the fit stands at its limit and has no error; there -log L rises linearly.
        """
        name, null = self.data.name, self.data.null
        step = max(fit.errors[name] for fit in (self.data.best, self.expected.best))
        if step > 0.0:
            return step
        step = max(abs(self.data.best.like.parameters[name].value or 0.0), 1e-3)
        for _ in range(60):
            if self.expected.upper(null + step) > 1e-3:
                return step
            step *= 2.0
        return step

    def root(self, number: int | None) -> float:
        """Where CLs is alpha."""
        optimise = optional_import("scipy.optimize", feature="sbi.limit", extra="sbi")
        null = self.data.null
        step = self._step()
        low, high = self._bracket(number, max(self.data.fitted, null) + 2.0 * step)
        for _ in range(60):
            if self.cls(high, number) < self.alpha:
                break
            low, high = high, null + 1.6 * (high - null)
        else:
            message = f"CLs does not fall to {self.alpha} up to {self.data.name} = {high:.4g}"
            raise ConvergenceError(message)
        function = lambda value: self.cls(value, number) - self.alpha  # noqa: E731
        width = high - null
        return float(optimise.brentq(function, low, high, xtol=1e-5 * width, rtol=1e-9))


@long_step("limit by toys")
def limit_by_toys(
    like: Fittable,
    name: str,
    *,
    values: Any,
    number: int,
    seed: int,
    level: float = 0.95,
    null: float = 0.0,
    reference: Any = None,
    generator: Generators = None,
    workers: int = 1,
    client: Any = None,
    folder: str | Path | None = None,
    progress: bool | None = None,
) -> Limit:
    """The same with the distributions of q~ from toys, at given values of the parameter.

    Args:
        like: A `Likelihood`, or a `CombinedLikelihood` of these.
        values: Where CLs is computed, increasing; the limit is interpolated between them.
        number: Toys per value and hypothesis.
        seed: Of all toys.
        reference: To draw from; None: the likelihood's own. Of a combination by part.
        generator, workers, client: See `toys`; toys of all values are worked on together.
        folder: Keep finished toys there, in a folder for each value; a call with the same
            arguments goes on where the last one stopped.
        progress: Show a bar; None: on a terminal.

    Raises:
        ConvergenceError: CLs does not cross ``1 - level`` between the values.
        UsageError: No mixture of columns; values that do not increase; see also `toys`.
        ClusterError, StateError: See `toys`.
    """
    check_level(level)
    grid = rising(values)
    number = check_whole("number", number, minimum=1)
    source = source_like(like, reference, generator, "limit_by_toys")
    where = Where(client, workers, folder, progress)
    with single_threaded(FEATURE):
        data = Statistic(like, name, null=null)
        for value in (*grid.tolist(), null):
            data.held(value)
    ensembles = _hypotheses(data, grid, source, where, child_seeds(seed, len(grid), 2))
    found = fitted_toys(source, ensembles, number, where, caller="limit_by_toys")
    curves: dict[str, list[float]] = {_label(n): [] for n in (None, *BANDS)}
    errors, fewest = [], number
    for value, *both in zip(grid.tolist(), found[::2], found[1::2], strict=True):
        q = [_upper_of(toys.require_valid(), name, value, null) for toys in both]
        observed = data.upper(value)
        cls, error = _ratio(q[0], q[1], observed)
        fewest = min(fewest, int((q[1] >= _tied(observed)).sum()))
        curves["observed"].append(cls)
        errors.append(error)
        for n in BANDS:
            point = float(np.quantile(q[1], normal_tail(n)))
            curves[_label(n)].append(_ratio(q[0], q[1], point)[0])
    arrays = {key: np.array(curve) for key, curve in curves.items()}
    alpha = 1.0 - level
    found_at = {key: _crossing(grid, curve, alpha) for key, curve in arrays.items()}
    limit_at = found_at["observed"]
    if math.isnan(limit_at):
        curve = arrays["observed"]
        message = (
            f"CLs is {curve[0]:.3g} at {name} = {grid[0]:.4g} and {curve[-1]:.3g} at "
            f"{grid[-1]:.4g}: it does not fall to {alpha:.3g} between these values"
        )
        if fewest < _FEW:
            message += f"; only {fewest} of {number:,} toys {_ALIKE}: draw more toys"
        raise ConvergenceError(message)
    slope = abs(np.interp(limit_at, grid, np.gradient(arrays["observed"], grid)))
    error = float(np.interp(limit_at, grid, errors) / max(slope, 1e-300))
    band = tuple(found_at[_label(n)] for n in BANDS)
    return Limit(name, level, limit_at, band, "toys", grid, arrays, error)


_FEW = 10
_ALIKE = "without a signal are as far from one as the data"


def _hypotheses(
    data: Statistic, grid: Float, source: Source, where: Where, seeds: list[list[int]]
) -> list[Ensemble]:
    """At each value toys with the signal and without it."""
    name, null, found = data.name, data.null, []
    for value, own in zip(grid.tolist(), seeds, strict=True):
        tests = {name: value}, {name: null}
        for hypothesis, at, own_seed in zip(("with", "without"), (value, null), own, strict=True):
            truth = {key: data.held(at).values[key] for key in source.names}
            found.append(
                Ensemble(
                    Task(truth, own_seed, tests, {}), point_folder(where, value, hypothesis),
                    f" {hypothesis} {name} = {value:g}",
                )
            )  # fmt: skip
    return found


def rising(values: Any) -> Float:
    """Values of a parameter at which toys are drawn.

    Raises:
        UsageError: None, or not finite, or not increasing.
    """
    grid = np.asarray(values, np.float64)
    fine = grid.ndim == 1 and len(grid) > 0 and np.isfinite(grid).all()
    if not (fine and (np.diff(grid) > 0.0).all()):
        message = f"values= must be increasing numbers, not {values!r}"
        raise UsageError(message)
    return grid


def _upper_of(results: ToyResults, name: str, value: float, null: float) -> Float:
    """q~ of every valid toy."""
    fitted = results.values[:, results.index(name)]
    best = np.where(fitted >= null, results.nll, results.conditional[:, 1])
    q = np.maximum(2.0 * (results.conditional[:, 0] - best), 0.0)
    q = np.where(fitted >= value, 0.0, q)
    return np.asarray(q[results.valid & np.isfinite(q)])


def _ratio(signal: Float, null: Float, q: float) -> tuple[float, float]:
    """CLs and its binomial error."""
    edge = _tied(q)
    both, alone = float((signal >= edge).mean()), float((null >= edge).mean())
    if alone == 0.0:
        bound = _upper_bound(len(null))
        return min(max(both, _upper_bound(len(signal))) / bound, 1.0), 1.0
    if both == 0.0:
        bound = min(_upper_bound(len(signal)) / alone, 1.0)
        few = alone * len(null) < _FEW  # 0 of one such toy would exclude any signal
        return (bound if few else 0.0), bound
    cls = both / alone
    relative = (1.0 - both) / max(both * len(signal), 1.0) + (1.0 - alone) / (alone * len(null))
    return cls, cls * math.sqrt(relative)


def _crossing(grid: Float, curve: Float, alpha: float) -> float:
    """Where a curve falls to alpha, by linear interpolation; NaN: not between the values."""
    below = np.flatnonzero(curve < alpha)
    if not len(below) or below[0] == 0:
        return math.nan
    i = int(below[0])
    share = (curve[i - 1] - alpha) / (curve[i - 1] - curve[i])
    return float(grid[i - 1] + share * (grid[i] - grid[i - 1]))
