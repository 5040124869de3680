"""The route ``"columns"``: stock classes over ratio columns, which plain ROOT reads and fits.

::

    density(event) = sum_p nu_p(theta) r_p exp(-log Z_p(alpha)) prod_k f_pk(alpha_k) / nu(theta)

Per process the dataset has its nominal ratio, and per nuisance on its shape two columns: the
factors at +1 and -1, or for the log-quadratic interpolation the coefficients A and C of
``f = exp(A alpha + C alpha^2)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.likelihood._interpolation import CODES
from rootml.sbi.likelihood._layout import Factor
from rootml.sbi.roofit._data import make_variable
from rootml.sbi.roofit._effects import (
    LOG_QUADRATIC,
    Effect,
    exponent,
    log_quadratic,
    piecewise,
)
from rootml.sbi.roofit._log_z import approximate

if TYPE_CHECKING:
    from rootml.sbi.likelihood._likelihood import Likelihood
    from rootml.sbi.likelihood._unbinned import Unbinned
    from rootml.sbi.roofit._factory import Factory

Arrays = dict[str, Float]
LABELS = {True: ("slope", "curve"), False: ("up", "down")}


class ColumnDensity:
    """The density of an event over the reference's, from columns.

    Attributes:
        variables: The columns as RooRealVars, by their key.
        arrays: Their values at the observed events.
        density: The density, with integral 1.
        errors: Largest error of the formula of log Z, by process, in units of the NLL.
    """

    def __init__(
        self,
        factory: Factory,
        like: Likelihood,
        parameters: Mapping[str, Any],
        yields: Mapping[str, Any],
        total: Any,
        *,
        tolerance: float,
        reach: float,
    ) -> None:
        assert like.unbinned is not None
        self._shop = factory
        self._unbinned: Unbinned = like.unbinned
        self._parameters = parameters
        self._tolerance, self._reach = tolerance, reach
        self.variables: dict[str, Any] = {}
        self.arrays: Arrays = {}
        self.errors: dict[str, float] = {}
        terms = [self._term(p, process, yields[process]) for p, process in enumerate(yields)]
        summed = factory.sum("density_sum", "sum over processes", terms)
        title = "density over that of the reference"
        self.density = factory.make("RooRatio", "density", title, summed, total)

    def _term(self, number: int, process: str, rate: Any) -> Any:
        factory = self._shop
        columns = self._unbinned.columns
        ratio = self._column(
            process, f"r_{process}", f"p_{process} / p_ref", columns.ratio(process)
        )
        effects = [self._effect(f) for f in self._factors(number)]
        if not effects:
            return factory.product(f"term_{process}", f"{process} times its yield", [rate, ratio])
        log_z = self._log_z(number, process)
        factors = piecewise(factory, f"f_{process}", f"shape of {process} over nominal", effects)
        smooth = log_quadratic(effects)
        inner, variables = exponent(smooth, 1)
        text = f"exp({inner} - x[0])" if smooth else "exp(-x[0])"
        title = f"shape of {process} over nominal, normalised" if smooth else "1 / Z"
        grown = factory.formula(f"g_{process}", title, text, [log_z, *variables])
        return factory.product(
            f"term_{process}", f"{process} times its yield", [rate, ratio, *factors, grown]
        )

    def _factors(self, number: int) -> list[Factor]:
        return [f for f in self._unbinned.layout.factors if f.process == number]

    def _column(self, key: str, name: str, title: str, values: Float) -> Any:
        self.arrays[key] = values
        self.variables[key] = make_variable(self._shop, name, title)
        return self.variables[key]

    def _effect(self, factor: Factor) -> Effect:
        process = self._unbinned.layout.processes[factor.process]
        alpha = self._parameters[factor.nuisance]
        made = []
        for label, values in zip(
            LABELS[factor.code == LOG_QUADRATIC], self._two(factor, process), strict=True
        ):
            key = f"{process}.{factor.nuisance}.{label}"
            name = f"{process}_{factor.nuisance}_{label}"
            title = f"{label} of {factor.nuisance} ({factor.code}) on {process}"
            made.append(self._column(key, name, title, values))
        return Effect(alpha, factor.code, made[0], made[1])

    def _two(self, factor: Factor, process: str) -> tuple[Float, Float]:
        """Factors at +1 and -1, or A and C."""
        columns = self._unbinned.columns
        nominal = columns.ratio(process)
        up, down = (_over(side, nominal) for side in columns.variation(process, factor.nuisance))
        if factor.code != LOG_QUADRATIC:
            return up, down
        halves = CODES[LOG_QUADRATIC].exponential_columns
        assert halves is not None
        slope, curve = halves(up, down)
        return slope, curve

    def _log_z(self, number: int, process: str) -> Any:
        factors = self._factors(number)
        surrogate = approximate(
            _log_z_function(self._unbinned, number, [f.parameter for f in factors]),
            [f.code for f in factors],
            events=self._events(number),
            tolerance=self._tolerance,
            reach=self._reach,
            process=process,
        )
        self.errors[process] = surrogate.error
        alphas = [self._parameters[f.nuisance] for f in factors]
        title = f"log Z of {process}"
        return self._shop.formula(f"lnZ_{process}", title, surrogate.text(), alphas)

    def _events(self, number: int) -> float:
        """By how much an error of log Z is multiplied: about the events of the process.

        Those at the start values, but not fewer than a twentieth of all: a coefficient such as
        ``mu - sqrt(mu)`` may be 0 there.
        """
        start = [p.value for p in self._unbinned.model.all_parameters.values()]
        expected = self._unbinned.yields.values(np.array(start, np.float64))
        return max(abs(float(expected[number])), 0.05 * abs(self._unbinned.sum_of_weights), 1.0)


def _over(side: Float, nominal: Float) -> Float:
    """As in the core: an event that cannot be of the process has the factor 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((nominal == 0.0) & (side == 0.0), 1.0, side / nominal)


def _log_z_function(
    unbinned: Unbinned, number: int, parameters: list[int]
) -> Callable[[Float], float]:
    normaliser = unbinned.normaliser
    assert normaliser is not None
    theta = np.zeros(len(unbinned.layout.names))

    def log_z(alpha: Float) -> float:
        point = theta.copy()
        point[parameters] = alpha
        return float(normaliser.values(unbinned.layout.plan(point))[number])

    return log_z
