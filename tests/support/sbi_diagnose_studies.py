"""Known ratios and wrong ones, with a fit that they move: what `diagnose` must see.

Signal and background in two features; the signal's are correlated. The wrong log ratios are those
that trainings give: too flat, of a wrong norm, with a ripple, without the correlation, smeared.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import stats

from rootml import sbi
from rootml.sbi.diagnostics._checks import all_checks
from rootml.sbi.diagnostics._fit_response import FitResponse, HeldOut
from rootml.sbi.diagnostics._fit_shift import shift_checks
from rootml.sbi.diagnostics._pairs import Events, Pair
from rootml.sbi.diagnostics._report import Report
from rootml.sbi.diagnostics._verdict import judge

LogRatio = Callable[[Any], Any]
FRACTION = 0.3
BACKGROUND = stats.multivariate_normal([0.0, 0.0], np.eye(2))


def signal(correlation: float = 0.1, width: float = 1.0) -> Any:
    """A Gaussian whose first feature has this width."""
    cross = correlation * width
    return stats.multivariate_normal([0.5, 0.0], [[width**2, cross], [cross, 1.0]])


def exact(x: Any) -> Any:
    return signal().logpdf(x) - BACKGROUND.logpdf(x)


def defect(form: str, size: float = 1.0) -> LogRatio:
    """The exact log ratio and `size` times what is wrong with it."""
    wide = np.sqrt(1.0 + 0.09 * size)  # smeared by 0.3 at size 1
    errors: dict[str, LogRatio] = {
        "exact": lambda x: 0.0 * x[:, 0],
        "log r x 0.9": lambda x: -0.1 * exact(x),
        "r x 1.05": lambda x: np.full(len(x), np.log(1.05)),
        "0.2 sin(10 x)": lambda x: 0.2 * np.sin(10.0 * x[:, 0]),
        "no x y": lambda x: signal(0.0).logpdf(x) - signal().logpdf(x),
        "r x 1.02": lambda x: np.full(len(x), np.log(1.02)),
        "a wrong tail": lambda x: -0.4 * np.maximum(exact(x) - 0.8, 0.0),
    }
    if form == "smeared":
        return lambda x: signal(0.1 / wide, wide).logpdf(x) - BACKGROUND.logpdf(x)
    return lambda x: exact(x) + size * errors[form](x)


FORMS = ("log r x 0.9", "r x 1.05", "0.2 sin(10 x)", "no x y", "smeared")
OTHERS = ("r x 1.02", "a wrong tail")


@cache
def expected_events(number: int = 50_000) -> tuple[Any, Any]:
    """Events of signal and background, and weights that add up to 1."""
    rng = np.random.default_rng(7)
    x = [law.rvs(number, random_state=rng) for law in (signal(), BACKGROUND)]
    weights = np.repeat([FRACTION / number, (1.0 - FRACTION) / number], number)
    return np.concatenate(x), weights


def power_of_the_best_test(form: str, *, events: int = 10_000, false_alarms: float) -> float:
    """How often a test that knows the form of a defect finds it, by Neyman and Pearson.

    All that is known of the densities p and q are events, and that both are normalised. So a test
    of ``log r + c delta`` against c = 0 has to allow for any q. With s = r / (1 + r), the overlap
    w = p q / (p + q), B its integral, the least favourable q leaves the noncentrality
    ``events * (int w delta^2 + 2 (int w delta)^2 / (1 - 2 B))``; the first term is what the labels
    of the events know, the second what the norms know. Two-sided: it does not know the sign.
    """
    x, _ = expected_events()
    delta = np.asarray(defect(form)(x) - exact(x))
    chance = 1.0 / (1.0 + np.exp(-exact(x)))
    overlap = chance * (1.0 - chance)
    square, mean, whole = (2.0 * np.mean(overlap * g) for g in (delta**2, delta, 1.0))
    information = events * (square + 2.0 * mean**2 / (1.0 - 2.0 * whole))
    cut = stats.norm.isf(0.5 * false_alarms)
    return float(stats.norm.sf(cut - np.sqrt(information)))


def fit(observed: float, log_ratio: LogRatio, *, thinned: int = 1) -> sbi.FitResult:
    """Of the signal strength and the background, to the expected data."""
    x, weights = expected_events()
    x, weights = x[::thinned], weights[::thinned] * thinned * observed
    model = sbi.Model(
        {"S": f"mu * {FRACTION * observed}", "B": f"n * {(1.0 - FRACTION) * observed}"},
        {"mu": sbi.Parameter(1.0), "n": sbi.Parameter(1.0)},
    )
    columns = sbi.RatioColumns({"S": np.exp(log_ratio(x)), "B": np.ones(len(x))}, weights)
    return sbi.fit(model.likelihood(columns)).require_valid()


@cache
def _nominal() -> sbi.FitResult:
    return fit(1000.0, exact)


def true_bias(log_ratio: LogRatio) -> float:
    """Shift of mu over its error where 1000 events are observed, by refitting."""
    nominal = _nominal()
    moved = fit(1000.0, log_ratio).values["mu"] - nominal.values["mu"]
    return float(moved / nominal.errors["mu"])


def size_for(form: str, observed: float, bias: float) -> float:
    """Size of a defect that moves mu by so many sigma where so many events are observed."""
    target = bias / float(np.sqrt(observed / 1000.0))
    size = 1.0
    for _ in range(20):  # the bias is nearly linear in the size
        step = target / abs(true_bias(defect(form, size)))
        size *= step
        if abs(step - 1.0) < 0.01:
            return size
    message = f"no size of {form!r} gives a bias of {bias} sigma"
    raise AssertionError(message)


def report(
    seed: int, log_ratio: LogRatio, *, events: int = 10_000, observed: float | None = None,
    classifier: bool = False,
) -> Report:  # fmt: skip
    """The checks on `events` of each sample; with a fit, if events are observed."""
    rng = np.random.default_rng([seed, events])
    x = [law.rvs(events, random_state=rng) for law in (signal(), BACKGROUND)]
    logs = [log_ratio(each) for each in x]
    mass = np.full(events, 1.0 / events)
    pair = Pair("S", ("x", "y"), Events(x[0], mass), Events(x[1], mass), logs[0], logs[1])
    response = None
    if observed is not None:
        held_out = {
            name: HeldOut(each, mass, _both(log), own=True)
            for name, each, log in zip(("S", "B"), x, logs, strict=True)
        }
        known: Any = SimpleNamespace(tree={"S": (), "B": ()}, record=SimpleNamespace(shapes=()))
        response = FitResponse(fit(observed, log_ratio, thinned=10), known, held_out)
    found = all_checks(pair, classifier=classifier, seed=seed, response=response)
    findings = [finding for _, each, _ in found for finding in each]
    findings += [] if response is None else shift_checks(response)
    return Report(tuple(judge(findings)))


def _both(log_ratio: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {"S": log_ratio, "B": np.zeros(len(log_ratio))}
