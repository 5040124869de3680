"""`FittedParameter`: one parameter of a fit, for reading and printing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rootml._internal.rounding import rounded

Interval = tuple[float, float]


@dataclass(frozen=True)
class FittedParameter:
    """One parameter of a fit.

    Attributes:
        name: Its name.
        value: Its value at the minimum.
        error: Its standard deviation by the second derivatives; 0 if it was fixed.
        weighted_error: For weighted data the standard deviation by the spread of the weighted
            events; None: the data are not weighted.
        fixed: Whether it was not varied.
        limit: The limit at which it stands, "lower" or "upper"; "" if at none. Its error is not
            a standard deviation there.
        acts_on: What it acts on, in words.

    >>> from rootml.sbi import Model, Parameter, fit
    >>> model = Model({"S": "mu * 10"}, {"mu": Parameter(1.0, lower=0.0)})
    >>> mu = fit(model.likelihood({"S": [1.0] * 12}))["mu"]
    >>> mu
    mu = 1.20 +- 0.35 (yield of S)
    >>> round(mu.up, 3), round(mu.down, 3)
    (0.381, -0.314)
    """

    name: str
    value: float
    error: float
    weighted_error: float | None
    fixed: bool
    limit: str
    acts_on: tuple[str, ...]
    _minos: Callable[[str], Interval] = field(repr=False, compare=False)

    @property
    def up(self) -> float:
        """The upper error by MINOS, positive.

        Raises:
            ConvergenceError: The fit is not valid, or MINOS found no end.
        """
        return self._minos(self.name)[1] - self.value

    @property
    def down(self) -> float:
        """The lower error by MINOS, negative.

        Raises:
            ConvergenceError: The fit is not valid, or MINOS found no end.
        """
        return self._minos(self.name)[0] - self.value

    def __repr__(self) -> str:
        best = self.error if self.weighted_error is None else self.weighted_error
        value, error = rounded(self.value, best)
        text = f"{self.name} = {value}" if self.fixed else f"{self.name} = {value} +- {error}"
        notes = ["fixed"] if self.fixed else []
        notes += [f"at its {self.limit} limit"] if self.limit else []
        notes += ["error of weighted events"] if self.weighted_error is not None else []
        notes += self.acts_on
        return f"{text} ({'; '.join(notes)})" if notes else text
