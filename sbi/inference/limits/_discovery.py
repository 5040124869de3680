"""The significance of a signal, asymptotic and by toys.

Source: G. Cowan, K. Cranmer, E. Gross, O. Vitells, https://arxiv.org/abs/1007.1727.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rootml._internal.progress import long_step
from rootml._internal.reprs import HtmlRepr, Part, facts_text
from rootml.errors import ConvergenceError, UsageError
from rootml.sbi.inference.fits._fit import FitResult
from rootml.sbi.inference.limits._statistic import Statistic, tied, upper_bound
from rootml.sbi.inference.minimum._quantiles import normal_quantile, normal_tail
from rootml.sbi.inference.toys._toy_task import ToyResults
from rootml.sbi.likelihood._fittable import Fittable


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
    beyond = int((q >= tied(q0)).sum())
    p = beyond / len(q) if beyond else upper_bound(len(q))
    significance = -normal_quantile(p)
    return Discovery(name, q0, significance, p, statistic.best, toys_null, bound=beyond == 0)


def _test_of(results: ToyResults, name: str, value: float) -> int:
    for number, test in enumerate(results.tests):
        if dict(test) == {name: value}:
            return number
    message = f"the toys have no test {{{name!r}: {value}}}; they have {list(results.tests)}"
    raise UsageError(message)
