"""Does the model describe the data? Counts in bins of the expected density, against the fit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.progress import long_step
from rootml._internal.reprs import HtmlRepr, Part, facts_text
from rootml._internal.types import Float
from rootml._internal.validators import check_whole, is_a
from rootml.errors import ConvergenceError, UsageError
from rootml.plot import Labels, Style, closure, write
from rootml.sbi.inference.fits._fit import FitResult, fit, fit_near
from rootml.sbi.inference.minimum._minimise import within
from rootml.sbi.inference.minimum._quantiles import chi2_tail
from rootml.sbi.inference.toys._toy_source import Toys
from rootml.sbi.inference.toys._toy_task import toy_rng
from rootml.sbi.inference.toys._toys import Ensemble, Generators, run_toys, source_like
from rootml.sbi.inference.toys._work import Where
from rootml.sbi.likelihood._combined import CombinedLikelihood
from rootml.sbi.likelihood._fittable import Fittable, is_weighted
from rootml.sbi.likelihood._layout import Indices
from rootml.sbi.likelihood._likelihood import Likelihood, mixture_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class GoodnessOfFit(HtmlRepr):
    """A comparison of counts with their expectations at the fitted point.

    Attributes:
        observed: Counts per bin; first those of the unbinned channel, then binned channels.
        expected: What the fit expects there.
        deviance: ``2 sum (e - n + n log(n / e))``, plus the auxiliary measurements' part.
        degrees: Number of bins and auxiliary measurements less the fitted parameters.
        p_value: Probability of a deviance as great, by the chi^2 approximation.
        toys: Deviances of fitted toys, if there were any, ``(toy,)``.
    """

    observed: Float
    expected: Float
    deviance: float
    degrees: int
    p_value: float
    toys: Float | None = None

    @property
    def p_toys(self) -> float:
        """The same probability from the toys.

        Raises:
            UsageError: There are none.
        """
        if self.toys is None:
            message = "no toys were drawn: goodness_of_fit(result, toys=200, seed=1)"
            raise UsageError(message)
        edge = self.deviance - 1e-9 * (1.0 + self.deviance)  # equal counts, but for rounding
        return float((self.toys >= edge).mean())

    def plot(
        self,
        *,
        ax: Any = None,
        labels: Labels = None,
        units: Labels = None,
        style: Style = "plain",
        path: Any = None,
    ) -> tuple[Axes, Axes]:
        """Draw counts beside the fit, bin by bin, see `rootml.plot.closure`.

        Residuals are in Poisson standard deviations of the expectation.

        Args:
            ax, labels, units, style: As for all functions of `rootml.plot`.
            path: Write the picture there; None: notebooks show it.

        Returns:
            The upper and the lower axes.
        """
        edges = np.arange(len(self.observed) + 1) - 0.5
        written = {"target": "data", "bin": "bin of the test", **(labels or {})}
        drawn = closure(
            (self.observed, np.sqrt(self.expected)),
            {"fit": (self.expected, np.zeros_like(self.expected))},
            edges, name="bin", ax=ax, labels=written, units=units, style=style,
        )  # fmt: skip
        return write(drawn, path)

    def _facts(self) -> list[tuple[str, str]]:
        facts = [
            ("deviance", f"{self.deviance:.2f} for {self.degrees} degrees of freedom"),
            ("p-value", f"{self.p_value:.4g}"),
            ("bins", f"{len(self.observed)}, smallest expectation {self.expected.min():.3g}"),
        ]
        if self.toys is not None:
            p, number = self.p_toys, len(self.toys)
            error = math.sqrt(p * (1.0 - p) / number)
            facts.insert(2, ("by toys", f"{p:.4g} +- {error:.2g} ({number:,} toys)"))
        return facts

    def __repr__(self) -> str:
        return facts_text(self._facts())

    def _html_parts(self) -> list[Part]:
        return [self._facts()]


@long_step("goodness of fit")
def goodness_of_fit(
    result: FitResult,
    *,
    bins: int = 20,
    toys: int = 0,
    seed: int = 0,
    reference: Any = None,
    generator: Generators = None,
    workers: int = 1,
    client: Any = None,
    folder: str | Path | None = None,
    progress: bool | None = None,
) -> GoodnessOfFit:
    """Test a fit by the saturated deviance.

    Unbinned events are counted in bins of the fitted density over that of the reference, whose
    edges are quantiles of the expectation; the expectation comes from the reference events. (The
    value of an unbinned likelihood itself does not tell how well a model fits: Heinrich,
    physics/0310167.) The test sees what that ratio sees; `sbi`'s reweighting closure looks at
    features.

    Where bins expect few events, or events have weights, the deviance does not follow chi^2; toys
    tell what it follows.

    Args:
        result: A fit of a `Likelihood`, or of a `CombinedLikelihood` of these.
        bins: For the unbinned channel, of each part.
        toys: How many to draw at the fitted point, each fitted and compared with its own fit.
        seed: Of the toys.
        reference: To draw toys from; None: the likelihood's own. Of a combination by part.
        generator, workers, client: See `rootml.sbi.toys`.
        folder: Keep the toys' deviances there; a call with the same arguments goes on where the
            last one stopped.
        progress: Show a bar; None: on a terminal.

    Raises:
        UsageError: An unbinned channel without reference events; no mixture of columns; toys of
            weighted events, which are not counts; see also `rootml.sbi.toys`.
        ConvergenceError: The fit is not valid, or that of more than 1 % of the toys.
        ClusterError, StateError: See `rootml.sbi.toys`.

    >>> from rootml.sbi import Model, Parameter, fit
    >>> model = Model({"B": "n"}, {"n": Parameter(90.0, lower=0.0)})
    >>> x = np.linspace(0.0, 2.0, 400)                  # the reference is flat, the density falls
    >>> like = model.likelihood({"B": 2.0 - x[:100]}, reference={"B": 2.0 - x})
    >>> goodness_of_fit(fit(like), bins=4).p_value < 1e-6  # nothing was seen at the far end
    True
    """
    if not is_a(result, FitResult):
        message = f"goodness_of_fit takes the result of sbi.fit, not a {type(result).__name__}"
        raise UsageError(message)
    bins = check_whole("bins", bins, minimum=1)
    toys = check_whole("toys", toys, minimum=0)
    seed = check_whole("seed", seed, minimum=0)
    found = _compared(result, bins)
    if not toys:
        return found
    if any(is_weighted(like) for like in _parts(result.like).values()):
        message = "toys of weighted events: how they fluctuate is not in the model, toys=0"
        raise UsageError(message)
    source = source_like(result.like, reference, generator, "goodness_of_fit")
    truth = {name: result.values[name] for name in source.names}
    held = {name: truth[name] for name in result.fixed if name in truth}
    where = Where(client, workers, folder, progress)
    ensemble = Ensemble(_Deviances(truth, seed, bins, held), where.inside())
    (rows,) = run_toys(source, [ensemble], toys, where, caller="goodness_of_fit")
    deviances = [row["deviance"] for row in rows if row["deviance"] is not None]
    if toys - len(deviances) > 0.01 * toys:
        message = f"{toys - len(deviances)} of {toys} toys have no valid fit"
        raise ConvergenceError(message)
    return replace(found, toys=np.array(deviances))


@dataclass(frozen=True)
class _Deviances:
    """Toys at the fitted point, each fitted and compared with its fit."""

    truth: Mapping[str, float]
    seed: int
    bins: int
    fixed: Mapping[str, float]

    def header(self) -> dict[str, Any]:
        """All of it as JSON data."""
        return {
            "truth": dict(self.truth), "seed": self.seed, "bins": self.bins,
            "fixed": dict(self.fixed),
        }  # fmt: skip

    def run(self, source: Toys, number: int) -> dict[str, Any]:
        """The deviance of toy `number`; None: no valid fit."""
        like = source.draw(toy_rng(self.seed, number))
        start = within(like, source.truth)
        again = (
            fit(like, fixed=self.fixed, start=start)
            if source.hessian is None
            else fit_near(like, fixed=self.fixed, start=start, hessian=source.hessian)
        )
        deviance = _deviance(again, self.bins)[2] if again.valid else None
        return {"toy": number, "deviance": deviance}


def _parts(like: Fittable) -> dict[str, Likelihood]:
    """The mixtures of which a likelihood is made, by name."""
    if not isinstance(like, CombinedLikelihood):
        return {"": mixture_of(like, "goodness_of_fit")}
    found: dict[str, Likelihood] = {}
    for name, part in like.parts.items():
        found |= {f"{name}/{inner}".rstrip("/"): each for inner, each in _parts(part).items()}
    return found


def _compared(result: FitResult, bins: int) -> GoodnessOfFit:
    """The test of one fit, without toys."""
    n, e, deviance = _deviance(result.require_valid(), bins)
    free = len(result.values) - len(result.fixed)
    degrees = len(n) + len(result.like.observed) - free
    if degrees < 1:
        message = f"{len(n)} bins cannot test {free} fitted parameters; use more bins"
        raise UsageError(message)
    return GoodnessOfFit(n, e, deviance, degrees, chi2_tail(deviance, degrees))


def _deviance(result: FitResult, bins: int) -> tuple[Float, Float, float]:
    """Counts and expectations per bin, and the deviance."""
    observed, expected = [np.empty(0)], [np.empty(0)]
    parts = _parts(result.like)
    for name, like in parts.items():
        theta = np.array([result.values[key] for key in like.parameters])
        for counts in _counts(like, theta, bins, f" of part {name!r}" if name else ""):
            observed.append(counts[0])
            expected.append(counts[1])
    n, e = np.concatenate(observed), np.concatenate(expected)
    full = n > 0.0
    deviance = 2.0 * float((e - n).sum() + (n[full] * np.log(n[full] / e[full])).sum())
    deviance += 2.0 * result.like.constraint_excess(result.theta)  # type: ignore[attr-defined]
    return n, e, deviance


def _counts(
    like: Likelihood, theta: Float, bins: int, where: str
) -> Iterator[tuple[Float, Float]]:
    """Observed and expected counts of the channels of one likelihood."""
    if like.unbinned is not None:
        if not like.unbinned.has_reference:
            message = (
                f"goodness_of_fit needs reference events{where}: pass reference= to likelihood()"
            )
            raise UsageError(message)
        yield _unbinned(like, theta, bins)
    if like.binned is not None:
        term = like.binned.bind(list(like.parameters))
        yield term.counts, term.rates(theta)


def _unbinned(like: Likelihood, theta: Float, bins: int) -> tuple[Float, Float]:
    unbinned, reference = like.unbinned, like.reference
    assert unbinned is not None
    assert reference is not None
    own = np.ones(reference.num_events) if reference.weights is None else reference.weights
    density = unbinned.densities(theta, reference)
    weights = density * own * (unbinned.yields.values(theta).sum() / (density @ own))
    order = np.argsort(density)
    cumulative = np.cumsum(weights[order])
    places = np.searchsorted(cumulative, cumulative[-1] * np.arange(1, bins) / bins)
    edges = _between(density[order], np.minimum(places, len(order) - 1))
    expected = np.bincount(np.digitize(density, edges), weights, len(edges) + 1)
    ours = np.digitize(unbinned.densities(theta), edges)
    events = unbinned.events
    weight = np.ones(events.num_events) if events.weights is None else events.weights
    counts = np.bincount(ours, weight, len(edges) + 1)
    return np.asarray(counts, np.float64), np.asarray(expected, np.float64)


def _between(rising: Float, places: Indices) -> Float:
    """Edges just below some of the values: half-way to the next smaller one, each once.

    Of few different values a bin holds one or several whole ones; no bin is without any.
    """
    first = np.unique(np.searchsorted(rising, rising[places], side="left"))
    first = first[first > 0]
    return np.asarray(0.5 * (rising[first - 1] + rising[first]))
