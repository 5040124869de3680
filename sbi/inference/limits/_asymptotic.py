"""CLs and upper limits by the asymptotic formulas.

Nuisance parameters are profiled; Asimov data take them from the conditional fit to the data.

Sources: G. Cowan, K. Cranmer, E. Gross, O. Vitells, https://arxiv.org/abs/1007.1727; CLs: A. L.
Read, https://doi.org/10.1088/0954-3899/28/10/313.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rootml._internal.optional import optional_import
from rootml._internal.progress import long_step
from rootml._internal.validators import check_number, check_whole
from rootml.errors import ConvergenceError, UsageError
from rootml.sbi.inference._samples import ShiftedLikelihood
from rootml.sbi.inference.limits._limit import BANDS, CLs, Limit, label_of
from rootml.sbi.inference.limits._statistic import Statistic
from rootml.sbi.inference.minimum._quantiles import check_level, normal_tail
from rootml.sbi.inference.toys._asimov import asimov
from rootml.sbi.likelihood._combined import CombinedLikelihood
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._likelihood import Likelihood, mixture_of


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
    value, null = check_number("value", value), check_number("null", null)
    if not value > null:
        message = f"CLs tests a value above that without a signal, {null:g}, not {value:g}"
        raise UsageError(message)
    data = Statistic(like, name, null=null)
    expected = Statistic(expected_null(data, reference), name, null=null)
    solve = Solver(data, expected, 0.05)
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
    points = check_whole("points", points, minimum=1)
    data = Statistic(like, name, null=null)
    expected = Statistic(expected_null(data, reference), name, null=null)
    solve = Solver(data, expected, 1.0 - level)
    observed = solve.root(None)
    band = tuple(solve.root(number) for number in BANDS)
    values = np.linspace(null, 1.2 * max(observed, band[-1]), points + 1)[1:]
    curves = {label_of(n): np.array([solve.cls(v, n) for v in values]) for n in (None, *BANDS)}
    return Limit(name, level, observed, band, "asymptotic", values, curves)


def expected_null(data: Statistic, reference: Any) -> Fittable:
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


class Solver:
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
