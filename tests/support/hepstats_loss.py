"""A peak on an exponential as a loss that hepstats fits: its interface without zfit.

hepstats takes any object with the methods of zfit that it calls. These are the least it needs:
parameters, a density, data with weights, the extended likelihood, iminuit as minimiser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import iminuit
import numpy as np
from sbi_problems import Array, SignalBackground

PROBLEM = SignalBackground()


class Value:
    """A parameter with its value and its bounds."""

    floating = True

    def __init__(self, name: str, start: float, low: float, high: float) -> None:
        self.name, self.limits, self._value = name, (low, high), start

    def value(self) -> float:
        return self._value

    def __array__(self, *options: Any, **more: Any) -> Array:
        return np.asarray(self._value)

    def set_value(self, value: float) -> Any:
        """Set it; as a context, only inside of it."""
        before, self._value = self._value, float(value)

        @contextmanager
        def inside() -> Iterator[None]:
            yield
            self._value = before

        return inside()


class Sample:
    """Events, with weights."""

    space = SimpleNamespace(
        limit1d=(PROBLEM.low, PROBLEM.high), area=lambda: PROBLEM.high - PROBLEM.low
    )
    obs = ("x",)

    def __init__(self, obs: Any, array: Array, weights: Array | None = None) -> None:  # noqa: ARG002
        self.array, self.weights = array, np.ones(len(array)) if weights is None else weights

    @property
    def nevents(self) -> float:
        return float(self.weights.sum())

    def set_weights(self, weights: Array) -> None:
        self.weights = weights


class Toys(Sample):
    """Events drawn anew by every `resample`: Poisson numbers of both processes."""

    def __init__(self, model: Yields, rng: np.random.Generator) -> None:
        super().__init__(None, np.zeros(0))
        self.model, self.rng = model, rng
        self.params = {p.name: p for p in model.get_params()}
        self.truth = {p.name: p.value() for p in model.get_params()}

    def resample(self, param_values: Mapping[Value, float]) -> None:
        truth = self.truth | {p.name: value for p, value in param_values.items()}
        scaled = SignalBackground(PROBLEM.events * truth["n"])
        self.array = scaled.draw(self.rng, truth["mu"] / truth["n"])
        self.weights = np.ones(len(self.array))


class Yields:
    """``mu S + n B``, an extended density."""

    is_extended = True
    space = Sample.space

    def __init__(self, mu: Value, n: Value, rng: np.random.Generator) -> None:
        self.mu, self.n, self.rng = mu, n, rng

    def get_params(self) -> list[Value]:
        return [self.mu, self.n]

    def get_yield(self) -> float:
        signal, background = PROBLEM.yields
        return self.mu.value() * signal + self.n.value() * background

    def ext_pdf(self, x: Array) -> Array:
        signal, background = PROBLEM.yields
        return np.asarray(
            self.mu.value() * signal * PROBLEM.signal(x)
            + self.n.value() * background * PROBLEM.background(x)
        )

    def pdf(self, x: Array) -> Array:
        return self.ext_pdf(x) / self.get_yield()

    def create_sampler(self, n: int) -> Toys:  # noqa: ARG002
        return Toys(self, self.rng)

    sample = integrate = create_sampler


class Loss:
    """Minus the extended log likelihood."""

    constraints: tuple[Any, ...] = ()

    def __init__(self, model: list[Yields], data: list[Any]) -> None:
        self.model, self.data = model, data

    def create_new(self, model: Any, data: Any, constraints: Any) -> Loss:  # noqa: ARG002
        return Loss(model, data)

    def get_params(self) -> list[Value]:
        return self.model[0].get_params()

    def value(self) -> float:
        (model,), (data,) = self.model, self.data
        density = model.ext_pdf(data.array)
        if not (density > 0.0).all():
            return 1e10
        return float(model.get_yield() - data.weights @ np.log(density))


class Found:
    """The result of a fit; iterating gives the values, as hepstats sets them."""

    valid = converged = True
    covariance: Callable[..., Any] | None = None

    def __init__(self, loss: Loss, fmin: float) -> None:
        self.loss, self.fmin = loss, fmin
        self.params = {p: {"value": p.value()} for p in loss.get_params()}

    def __iter__(self) -> Iterator[float]:
        return (each["value"] for each in self.params.values())


class Minuit:
    """MIGRAD."""

    verbosity = 0

    def minimize(self, loss: Loss) -> Found:
        params = [p for p in loss.get_params() if p.floating]

        def function(values: Array) -> float:
            for p, value in zip(params, values, strict=True):
                p.set_value(value)
            return loss.value()

        minuit = iminuit.Minuit(function, [p.value() for p in params])
        minuit.errordef = iminuit.Minuit.LIKELIHOOD
        minuit.limits = [p.limits for p in params]
        minuit.tol = 1e-3
        minuit.migrad()
        return Found(loss, function(np.array(minuit.values)))


def loss(x: Array, seed: int = 0) -> Loss:
    """Of some data; the signal strength may be a little below 0, as in `likelihood`."""
    mu, n = Value("mu", 1.0, -0.8, 5.0), Value("n", 1.0, 0.5, 2.0)
    return Loss([Yields(mu, n, np.random.default_rng(seed))], [Sample(None, x)])
