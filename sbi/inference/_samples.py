"""What the finite size of the samples behind ratios and Z(alpha) does to a fit.

Ratios learned from other training samples, or a reference sample with other events, give another
fit to the same data. Bootstraps show by how much: `rootml.sbi.training_uncertainty` for training
samples, `bootstrap_reference` for the reference. Their covariance can enter the likelihood as
nuisance parameters that move the other parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rootml._internal.reprs import Grid, HtmlRepr, Paragraph, Part
from rootml._internal.types import Float
from rootml._internal.validators import check_whole
from rootml.errors import ConvergenceError, DensityError, UsageError
from rootml.sbi.inference.fits._fit import FitResult, fit
from rootml.sbi.inference.minimum._minimise import invert
from rootml.sbi.likelihood._columns import RatioColumns
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._likelihood import Likelihood, mixture_of
from rootml.sbi.likelihood._parameters import Nuisance


@dataclass(frozen=True)
class SampleShifts(HtmlRepr):
    """Shifts of the fitted parameters from replica to replica.

    Attributes:
        names: The free parameters.
        shifts: ``(replica, parameter)``, relative to the nominal fit.
        errors: Statistical errors of the nominal fit, ``(parameter,)``.
    """

    names: tuple[str, ...]
    shifts: Float
    errors: Float

    @property
    def covariance(self) -> Float:
        """Covariance of the shifts of one replica, ``(parameter, parameter)``."""
        return np.asarray(np.cov(self.shifts, rowvar=False, ddof=1)).reshape(2 * [len(self.names)])

    @property
    def mean(self) -> Float:
        """Mean shift: a bias of the nominal columns against the replicas."""
        return np.asarray(self.shifts.mean(axis=0))

    def scaled(self, factor: float) -> SampleShifts:
        """All shifts times a factor."""
        return replace(self, shifts=self.shifts * factor)

    def to_json(self) -> dict[str, Any]:
        """As plain numbers."""
        return {
            "names": list(self.names),
            "shifts": self.shifts.tolist(),
            "errors": self.errors.tolist(),
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> SampleShifts:
        """The inverse of `to_json`.

        Raises:
            ValueError: Numbers that do not belong together.
        """
        names = tuple(map(str, given["names"]))
        shifts, errors = (np.asarray(given[key], np.float64) for key in ("shifts", "errors"))
        fits = shifts.ndim == 2 and shifts.shape[1:] == errors.shape == (len(names),)
        if not (fits and np.isfinite(shifts).all() and np.isfinite(errors).all()):
            message = f"shifts {shifts.shape}, errors {errors.shape} of {len(names)} parameters"
            raise ValueError(message)
        return cls(names, shifts, errors)

    def _grid(self) -> Grid:
        spread = np.sqrt(np.diag(self.covariance))
        rows = [
            (name, f"{mean:+.4g}", f"{sigma:.4g}", f"{sigma / error:.3f}")
            for name, mean, sigma, error in zip(
                self.names, self.mean, spread, self.errors, strict=True
            )
        ]
        return Grid(("parameter", "mean shift", "spread", "of its error"), rows)

    def __repr__(self) -> str:
        return f"{len(self.shifts)} replicas\n{self._grid()}"

    def _html_parts(self) -> list[Part]:
        return [Paragraph(f"{len(self.shifts)} replicas"), self._grid()]


def sample_shifts(
    result: FitResult, replicas: Iterable[tuple[Any, Any]], *, refit: bool = False
) -> SampleShifts:
    """How far the fit moves with other columns for the same events.

    Args:
        result: The nominal fit.
        replicas: Pairs (columns, reference) as for `Model.likelihood`, from `bootstrap_reference`.
            None: the nominal ones. Columns of single members of an ensemble do not show what
            finite training samples do: see `rootml.sbi.training_uncertainty`.
        refit: Fit again; False: one Newton step from the nominal minimum, which is exact for
            small shifts and takes one gradient per replica.

    Raises:
        UsageError: Fewer than two replicas, or one with other events.
        ConvergenceError: A fit did not converge.
    """
    result.require_valid()
    like = mixture_of(result.like, "sample_shifts")
    free = [i for i, name in enumerate(result.values) if name not in result.fixed]
    inverse = invert(like.nll_hessian(result.theta)[np.ix_(free, free)])
    if inverse is None:
        message = "the second derivatives at the nominal minimum are not positive definite"
        raise ConvergenceError(message)
    kept = {name: result.values[name] for name in result.fixed}
    rows = []
    for columns, reference in replicas:
        other = like.with_columns(
            like.columns if columns is None else columns,
            reference=like.reference if reference is None else reference,
        )
        if other.unbinned is None or like.unbinned is None:
            message = "sample_shifts needs an unbinned channel: only its columns are learned"
            raise UsageError(message)
        if other.unbinned.events.num_events != like.unbinned.events.num_events:
            message = (
                f"a replica has columns of {other.unbinned.events.num_events:,} events, the fit "
                f"of {like.unbinned.events.num_events:,}: other ratios are due, at the same events"
            )
            raise UsageError(message)
        if refit:
            moved = fit(other, fixed=kept, start=result.values).require_valid()
            rows.append((moved.theta - result.theta)[free])
        else:
            rows.append(-inverse @ other.nll_gradient(result.theta)[1][free])
    if len(rows) < 2:
        message = f"{len(rows)} replicas show no spread; give at least two"
        raise UsageError(message)
    names = tuple(list(result.values)[i] for i in free)
    errors = np.array([result.errors[name] for name in names])
    return SampleShifts(names, np.array(rows), errors)


def bootstrap_reference(
    like: Fittable, number: int, *, seed: int
) -> Iterable[tuple[None, RatioColumns]]:
    """Replicas in which each reference event enters a Poisson(1) number of times.

    Raises:
        UsageError: The likelihood has no reference events; less than two replicas.

    >>> from rootml.sbi import Model, Nuisance, Parameter, fit
    >>> rng = np.random.default_rng(2)
    >>> x, ref = rng.uniform(size=500), rng.uniform(size=400)
    >>> def columns(x):
    ...     return {"B": {"nominal": np.ones_like(x), "tilt": (0.8 + 0.4 * x, 1.2 - 0.4 * x)}}
    >>> model = Model({"B": "n"}, {"n": Parameter(500.0, 0.0)}, {"tilt": Nuisance()})
    >>> result = fit(model.likelihood(columns(x), reference=columns(ref)))
    >>> shifts = sample_shifts(result, bootstrap_reference(result.like, 20, seed=1))
    >>> shifts.shifts.shape
    (20, 2)
    """
    number, seed = check_whole("number", number, minimum=2), check_whole("seed", seed, minimum=0)
    reference = mixture_of(like, "bootstrap_reference").reference
    if reference is None:
        message = "the likelihood has no reference events to draw from"
        raise UsageError(message)
    return _poisson_copies(reference, number, seed)


def _poisson_copies(
    reference: RatioColumns, number: int, seed: int
) -> Iterator[tuple[None, RatioColumns]]:
    own = np.ones(reference.num_events) if reference.weights is None else reference.weights
    for child in np.random.SeedSequence(seed).spawn(number):
        draws = np.random.default_rng(child).poisson(1.0, reference.num_events)
        yield None, reference.with_weights(own * draws)


def principal_shifts(covariance: Float, *, min_share: float = 1e-3) -> Float:
    """Columns v_j with ``covariance = sum_j v_j v_j^T``, those of small size left out.

    Args:
        min_share: Of the largest eigenvalue of the covariance; smaller ones are left out, so give
            all parameters comparable units.

    >>> principal_shifts(np.diag([4.0, 0.0])).round(6)
    array([[2.],
           [0.]])
    """
    values, vectors = np.linalg.eigh(covariance)
    kept = [i for i in range(len(values))[::-1] if values[i] > min_share * max(values[-1], 0.0)]
    found = vectors[:, kept] * np.sqrt(values[kept])
    signs = np.where(found.sum(axis=0) < 0.0, -1.0, 1.0)
    return np.asarray(found * signs)


class ShiftedLikelihood(Likelihood):
    """A likelihood whose parameters are known only up to what finite samples shift them by.

    ``nll(theta, beta) = nll(theta - V beta) + beta^2 / 2``: profiling the unit-Gaussian `beta`
    adds ``V V^T`` to the covariance of theta, and leaves the minimum where it is.

    Args:
        like: The likelihood.
        shifts: What the samples do to its fit.
        prefix: The new parameters are called ``<prefix>0``, ``<prefix>1``, ...

    >>> from rootml.sbi import Model, Parameter, fit
    >>> like = Model({"S": "mu * 100"}, {"mu": Parameter(1.0)}).likelihood({"S": [1.0] * 100})
    >>> shifts = SampleShifts(("mu",), np.array([[0.1], [-0.1]]), np.array([0.1]))
    >>> round(fit(ShiftedLikelihood(like, shifts)).errors["mu"] ** 2, 6)  # 0.1^2 + 2 * 0.1^2
    0.03
    """

    def __init__(self, like: Likelihood, shifts: SampleShifts, *, prefix: str = "samples") -> None:
        super().__init__(like.model, like.unbinned, observed=like.observed, engine=like.engine)
        self.base = like
        self.shifts = shifts
        self.prefix = prefix
        self._inner = len(self._names)
        unit = np.where(shifts.errors > 0.0, shifts.errors, 1.0)  # sizes in statistical errors
        found = principal_shifts(shifts.covariance / np.outer(unit, unit)) * unit[:, None]
        self._matrix = np.zeros((self._inner, found.shape[1]))
        for row, name in zip(found, shifts.names, strict=True):
            self._matrix[self._names.index(name)] = row
        for j in range(found.shape[1]):
            name = f"{prefix}{j}"
            if name in self._parameters:
                message = f"the likelihood has a parameter {name!r} already; choose a prefix="
                raise UsageError(message)
            self._parameters[name] = Nuisance()
            self._names.append(name)
            self._limits.append((-np.inf, np.inf))
            self.observed[name] = 0.0

    def _split(self, theta: Sequence[float] | Float) -> tuple[Float, Float]:
        point = self._point(theta)
        beta = point[self._inner :]
        return point[: self._inner] - self._matrix @ beta, beta

    def nll(self, theta: Sequence[float] | Float, *, strict: bool = True) -> float:
        """Minus log L at `theta`, the new parameters last."""
        inner, beta = self._split(theta)
        return self.base.nll(inner, strict=strict) + 0.5 * float(beta @ beta)

    def nll_gradient(
        self, theta: Sequence[float] | Float, *, strict: bool = True
    ) -> tuple[float, Float]:
        """Minus log L and its gradient."""
        inner, beta = self._split(theta)
        value, gradient = self.base.nll_gradient(inner, strict=strict)
        return (
            value + 0.5 * float(beta @ beta),
            np.concatenate([gradient, beta - self._matrix.T @ gradient]),
        )

    def nll_hessian(self, theta: Sequence[float] | Float) -> Float:
        """Second derivatives."""
        return self._extend(self.base.nll_hessian(self._split(theta)[0]))

    def subsample(self) -> ShiftedLikelihood | None:
        """About the same function by a part of the events: see `Likelihood.subsample`."""
        base = self.base.subsample()
        if base is None:
            return None
        return self._with_base(base)

    def near(
        self, theta: Sequence[float] | Float, before: Likelihood | None = None
    ) -> ShiftedLikelihood | None:
        """About the same function near a point: see `Likelihood.near`."""
        earlier = before.base if isinstance(before, ShiftedLikelihood) else None
        base = self.base.near(self._split(theta)[0], earlier)
        return None if base is None else self._with_base(base)

    def anchored(self, theta: Sequence[float] | Float) -> ShiftedLikelihood:
        """The same function, of which `near` gives a better one: see `Likelihood.anchored`."""
        return self._with_base(self.base.anchored(self._split(theta)[0]))

    def _with_base(self, base: Likelihood) -> ShiftedLikelihood:
        other = copy(self)
        other.base = base
        return other

    def score_covariance(self, theta: Sequence[float] | Float) -> Float:
        """What the gradient varies by for weighted events."""
        return self._extend(self.base.score_covariance(self._split(theta)[0]))

    def _extend(self, inner: Float) -> Float:
        cross = -inner @ self._matrix
        corner = self._matrix.T @ inner @ self._matrix + np.eye(self._matrix.shape[1])
        return np.block([[inner, cross], [cross.T, corner]])

    def explain(self, point: Float) -> DensityError:
        """The error for a point without a likelihood."""
        return self.base.explain(self._split(point)[0])

    def with_columns(self, columns: Any, *, reference: Any = None) -> ShiftedLikelihood:
        """The same with other events."""
        moved = self.base.with_columns(columns, reference=reference)
        return ShiftedLikelihood(moved, self.shifts, prefix=self.prefix)

    def with_observed(self, **observed: float) -> ShiftedLikelihood:
        """The same with other outcomes of auxiliary measurements of the likelihood within."""
        moved = self.base.with_observed(**observed)
        return ShiftedLikelihood(moved, self.shifts, prefix=self.prefix)
