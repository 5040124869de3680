"""The Poisson term of binned channels, ``sum_b lambda_b - n_b log lambda_b``, with derivatives.

All bins of all samples stand in one long vector of *cells*; a cell has a nominal count, additive
shifts (histosys) and factors::

    lambda_b = sum over cells of bin b of (nominal + sum_k shift_k(alpha_k)) prod_m factor_m(theta)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float
from rootml.errors import DensityError
from rootml.sbi.likelihood._binned_samples import Modifier, Sample
from rootml.sbi.likelihood._interpolation import CODES, Factors

Indices: TypeAlias = npt.NDArray[np.intp]
# A factor of exactly 0 has no logarithmic derivative. This stands for it: products with it are
# zero for all purposes, and its derivatives come out right.
_NOTHING = 1e-100
_MIN_RATE = 1e-90  # expectations below are zero, see above


@dataclass(frozen=True, slots=True)
class _Entries:
    """Pairs of cell and parameter, with what happens at +1 and -1."""

    cell: Indices
    parameter: Indices
    high: Float
    low: Float


class BinnedTerm:
    """The term as a function of theta.

    Args:
        observed: Counts of each channel, ``(bin,)``.
        samples: Expected counts and what the parameters do to them.
        names: All parameters, in order.
    """

    def __init__(
        self, observed: Mapping[str, Float], samples: Sequence[Sample], names: Sequence[str]
    ) -> None:
        self.channels: list[str] = list(observed)
        self.number: int = len(names)
        self.counts = np.concatenate(list(observed.values()))
        self.starts = np.cumsum([0, *map(len, observed.values())])
        self._nominal = np.concatenate([sample.nominal for sample in samples])
        self._bin = np.concatenate(
            [
                self.starts[self.channels.index(sample.channel)] + np.arange(len(sample.nominal))
                for sample in samples
            ]
        )
        found = _modifier_entries(samples, {name: place for place, name in enumerate(names)})
        self._plain, self._effects, self._shapes = (
            _entries(found[kind]) for kind in ("factor", "effect", "shape")
        )
        self._effect_factors = Factors("code5", self._effects.high, self._effects.low)

    def expected(self, theta: Float) -> dict[str, Float]:
        """Expected counts per channel, ``(bin,)``."""
        rates = self.rates(theta)
        pairs = zip(self.starts[:-1], self.starts[1:], strict=True)
        return {
            name: rates[start:stop]
            for name, (start, stop) in zip(self.channels, pairs, strict=True)
        }

    def rates(self, theta: Float) -> Float:
        """Expected counts of all bins."""
        return self._sum(*self._cells(theta))

    def _sum(self, base: Float, factor: Float) -> Float:
        return np.asarray(np.bincount(self._bin, base * factor, len(self.counts)), np.float64)

    def _cells(self, theta: Float) -> tuple[Float, Float]:
        base = self._nominal.copy()
        shapes = self._shapes
        if len(shapes.cell):
            weights = _shape_weights(theta[shapes.parameter])[0]
            np.add.at(base, shapes.cell, weights[:, 0] * shapes.high + weights[:, 1] * shapes.low)
        factor = np.ones_like(base)
        np.multiply.at(factor, self._plain.cell, _plain_values(theta[self._plain.parameter]))
        effects = self._effects
        if len(effects.cell):
            values = self._effect_factors(theta[effects.parameter])[0]
            np.multiply.at(factor, effects.cell, values)
        return base, factor

    def value(self, theta: Float) -> float:
        """The term; NaN where an expectation is not positive."""
        return self._value(self.rates(theta))

    def _value(self, rates: Float) -> float:
        full = self.counts > 0.0
        if (rates < 0.0).any() or (rates[full] <= _MIN_RATE).any():
            return np.nan
        return float(rates.sum() - (self.counts[full] * np.log(rates[full])).sum())

    def gradient(self, theta: Float) -> tuple[float, Float]:
        """The term and its derivatives, ``(parameter,)``."""
        base, factor = self._cells(theta)
        rates = self._sum(base, factor)
        pull = self._pull(rates)[self._bin] * factor
        gradient, logs = self._derivatives(theta)[:2]
        return self._value(rates), pull @ gradient + (pull * base) @ logs

    def _pull(self, rates: Float) -> Float:
        """``1 - n / lambda`` per bin."""
        full = self.counts > 0.0
        ratio = np.zeros_like(rates)
        ratio[full] = self.counts[full] / rates[full]
        return 1.0 - ratio

    def hessian(self, theta: Float) -> Float:
        """Second derivatives, ``(parameter, parameter)``."""
        base, factor = self._cells(theta)
        rates = self._sum(base, factor)
        gradient, logs, hessian, log_hessian = self._derivatives(theta)
        jacobian = np.zeros((len(rates), self.number))
        np.add.at(jacobian, self._bin, factor[:, None] * (gradient + base[:, None] * logs))
        full = self.counts > 0.0
        scale = np.zeros_like(rates)
        scale[full] = self.counts[full] / rates[full] ** 2
        pull = self._pull(rates)[self._bin] * factor
        cross = (pull[:, None] * gradient).T @ logs
        product = (logs * (pull * base)[:, None]).T @ logs
        # cell by cell: for a factor that is a parameter these two cancel exactly, also near 0
        np.fill_diagonal(product, (pull * base) @ (logs**2 + log_hessian))
        second = cross + cross.T + product + np.diag(pull @ hessian)
        return np.asarray(jacobian.T @ (scale[:, None] * jacobian) + second)

    def _derivatives(self, theta: Float) -> tuple[Float, Float, Float, Float]:
        """Derivatives of additive parts and of log factors, first and second, (cell, param)."""
        shape = len(self._nominal), self.number
        gradient, logs, hessian, log_hessian = (np.zeros(shape) for _ in range(4))
        shapes = self._shapes
        if len(shapes.cell):
            weights = _shape_weights(theta[shapes.parameter])
            ends = np.stack([shapes.high, shapes.low], axis=1)
            np.add.at(gradient, (shapes.cell, shapes.parameter), (weights[1] * ends).sum(axis=1))
            np.add.at(hessian, (shapes.cell, shapes.parameter), (weights[2] * ends).sum(axis=1))
        plain = self._plain
        inverse = 1.0 / _plain_values(theta[plain.parameter])
        np.add.at(logs, (plain.cell, plain.parameter), inverse)
        np.add.at(log_hessian, (plain.cell, plain.parameter), -(inverse**2))
        effects = self._effects
        if len(effects.cell):
            value, first, second = self._effect_factors(theta[effects.parameter])
            at = effects.cell, effects.parameter
            np.add.at(logs, at, first / value)
            np.add.at(log_hessian, at, second / value - (first / value) ** 2)
        return gradient, logs, hessian, log_hessian

    def explain(self, theta: Float) -> DensityError:
        """The error for an expectation that is not positive."""
        for channel, rates in self.expected(theta).items():
            bad = np.flatnonzero(~(rates > _MIN_RATE))
            if len(bad):
                message = (
                    f"channel {channel!r} expects {rates[bad[0]]:.6g} events in bin {bad[0]} "
                    f"({len(bad)} of {len(rates)} bins are not positive)"
                )
                return DensityError(message)
        return DensityError("the binned channels have no finite likelihood here")


def _plain_values(values: Float) -> Float:
    return np.where(values == 0.0, _NOTHING, values)


def _shape_weights(alpha: Float) -> Float:
    polynomial = CODES["code4"].polynomial
    assert polynomial is not None
    return polynomial(alpha)


def _entries(rows: Sequence[tuple[int, int, float, float]]) -> _Entries:
    table = np.array(rows, np.float64).reshape(-1, 4)
    return _Entries(
        table[:, 0].astype(np.intp), table[:, 1].astype(np.intp), table[:, 2], table[:, 3]
    )


_Row: TypeAlias = tuple[int, int, float, float]


def _modifier_entries(
    samples: Sequence[Sample], where: Mapping[str, int]
) -> dict[str, list[_Row]]:
    """By kind of modifier: cell, parameter, and what happens at +1 and at -1."""
    rows: dict[str, list[_Row]] = {"factor": [], "effect": [], "shape": []}
    cell = 0
    for sample in samples:
        for modifier in sample.modifiers:
            for i, base in enumerate(sample.nominal.tolist()):
                name = modifier.names[i if len(modifier.names) > 1 else 0]
                ends = _ends(modifier, i, base)
                rows[modifier.kind].append((cell + i, where[name], *ends))
        cell += len(sample.nominal)
    return rows


def _ends(modifier: Modifier, place: int, nominal: float) -> tuple[float, float]:
    """Factors at +1 and -1, or shifts of the count; unused for a plain factor."""
    if modifier.kind == "factor":
        return 0.0, 0.0
    if modifier.kind == "effect":
        return modifier.high, modifier.low
    return modifier.high[place] - nominal, modifier.low[place] - nominal
