"""Upper limits by CLs with the distributions of the test statistic from toys.

Nuisance parameters are profiled; toys take them from the conditional fit to the data.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from rootml._internal.linear_algebra import single_threaded
from rootml._internal.progress import long_step
from rootml._internal.types import Float
from rootml._internal.validators import check_whole
from rootml.errors import ConvergenceError, UsageError
from rootml.sbi.inference.limits._limit import BANDS, Limit, label_of
from rootml.sbi.inference.limits._statistic import Statistic, tied, upper_bound
from rootml.sbi.inference.minimum._quantiles import as_numbers, check_level, normal_tail
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
from rootml.sbi.likelihood._fittable import Fittable

_FEW = 10
_ALIKE = "without a signal are as far from one as the data"


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
    curves: dict[str, list[float]] = {label_of(n): [] for n in (None, *BANDS)}
    errors, fewest = [], number
    for value, *both in zip(grid.tolist(), found[::2], found[1::2], strict=True):
        q = [_upper_of(toys.require_valid(), name, value, null) for toys in both]
        observed = data.upper(value)
        cls, error = _ratio(q[0], q[1], observed)
        fewest = min(fewest, int((q[1] >= tied(observed)).sum()))
        curves["observed"].append(cls)
        errors.append(error)
        for n in BANDS:
            point = float(np.quantile(q[1], normal_tail(n)))
            curves[label_of(n)].append(_ratio(q[0], q[1], point)[0])
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
    band = tuple(found_at[label_of(n)] for n in BANDS)
    return Limit(name, level, limit_at, band, "toys", grid, arrays, error)


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
    grid = as_numbers("values", values)
    if not (np.diff(grid) > 0.0).all():
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
    edge = tied(q)
    both, alone = float((signal >= edge).mean()), float((null >= edge).mean())
    if alone == 0.0:
        bound = upper_bound(len(null))
        return min(max(both, upper_bound(len(signal))) / bound, 1.0), 1.0
    if both == 0.0:
        bound = min(upper_bound(len(signal)) / alone, 1.0)
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
