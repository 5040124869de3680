"""Histograms: by label, data over simulation, scores of a classifier, training beside test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rootml._internal.optional import optional_import
from rootml._internal.statistics import ks_distance
from rootml._internal.types import Float, Weights
from rootml.errors import SchemaError, UsageError
from rootml.plot._axes import Labels, Style, axes_of, colour, headroom, legend, named, new_figure


def hist(
    histograms: Any,
    *,
    density: bool = False,
    stack: bool = False,
    log: bool = False,
    ax: Any = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Any:
    """Histograms with their statistical errors.

    Args:
        histograms: A `hist.Hist` of one axis; one with a category axis in front (what
            `Dataset.hist` gives for labelled data); or ``{name: histogram}``.
        density: Scale each to area 1.
        stack: Draw them on top of each other.
        log: A logarithmic scale.
        ax, labels, units, style: As for all functions of `rootml.plot`.

    Returns:
        The axes.

    Raises:
        UsageError: Not such histograms, `stack` with `density`, or an area that is not positive.

    >>> import hist as hist_package, numpy as np, rootml.plot
    >>> h = hist_package.Hist.new.Reg(5, 0, 1, name="score").Weight().fill(np.linspace(0, 1, 50))
    >>> rootml.plot.hist({"signal": h}).get_xlabel()
    'score'
    """
    if stack and density:
        message = "stack=True and density=True contradict each other"
        raise UsageError(message)
    found = split_categories(histograms)
    edges, name = _common_axis(found)
    ax = axes_of(ax, style)
    base = np.zeros(len(edges) - 1)
    for number, (key, each) in enumerate(found.items()):
        values, errors = _contents(each, key, density=density)
        written = named(key, labels)
        if stack:
            options = {"baseline": base, "fill": True, "alpha": 0.85}
            ax.stairs(base + values, edges, color=colour(number), label=written, **options)
            base = base + values
        else:
            ax.stairs(values, edges, color=colour(number), label=written, linewidth=1.6)
            _bars(ax, edges, values, errors, colour(number))
    if stack:
        _band(ax, edges, base, _total_errors(list(found.values())))
    ax.set(xlabel=named(name, labels, units), ylabel="density" if density else "events per bin")
    ax.set_xlim(edges[0], edges[-1])
    _note_outside(ax, list(found.values()))
    _scale(ax, log=log)
    legend(ax)
    return ax


def data_mc(
    data: Any,
    simulation: Any,
    *,
    log: bool = False,
    ax: Sequence[Any] | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> tuple[Any, Any]:
    """Data over stacked simulation, and their ratio below.

    The band is the statistical error of the simulation. The errors of unweighted data are the
    central 68.3 % intervals of Poisson means (Garwood), those of weighted data the square root of
    the sum of squared weights. Nothing leaves the ratio panel unseen: a point beyond its range is
    an arrow.

    Args:
        data: A histogram of one axis.
        simulation: As `histograms` of `hist`, with the same bins.
        log: A logarithmic scale.
        ax: The upper and the lower axes; None: a new figure.
        labels, units, style: As for all functions of `rootml.plot`.

    Returns:
        The upper and the lower axes.

    Raises:
        SchemaError: Different bins.
    """
    found = split_categories(simulation)
    edges, name = _common_axis({"data": data, **found})
    if ax is None:
        figure = new_figure(6.0, 5.5)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    else:
        upper, lower = ax
    hist(found, stack=True, log=log, ax=upper, labels=labels, units=units, style=style)
    values, below, above = _data_errors(data)
    centres, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    shown = values != 0
    upper.errorbar(
        centres[shown], values[shown], yerr=[below[shown], above[shown]], fmt="o", color="black",
        markersize=4, label=named("data", labels),
    )  # fmt: skip
    upper.set_xlabel("")
    upper.tick_params(labelbottom=False)
    upper.relim()
    upper.autoscale(axis="y")
    _scale(upper, log=log)
    legend(upper)
    total = np.sum([_contents(each, key)[0] for key, each in found.items()], axis=0)
    error = _total_errors(list(found.values()))
    known = total > 0
    relative = np.divide(error, total, out=np.zeros_like(total), where=known)
    _band(lower, edges, np.ones_like(total), np.where(known, relative, 0.0))
    ratio, low, high = (
        np.divide(each, total, out=np.full_like(total, np.nan), where=known & shown)
        for each in (values, below, above)
    )
    _ratio_points(lower, centres, ratio, low, high)
    lower.axhline(1.0, color="grey", linewidth=1)
    lower.set(xlabel=named(name, labels, units), ylabel="data / sim.")
    lower.set_xlim(centres[0] - half[0], centres[-1] + half[-1])
    return upper, lower


def scores(
    score: Any,
    label: Any,
    weight: Any = None,
    *,
    bins: int | Sequence[float] = 40,
    log: bool = False,
    ax: Any = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Any:
    """The distribution of a score for each label, each of area 1.

    Args:
        score, label: Arrays `(events,)`.
        weight: `(events,)`, of any sign; None: 1.
        bins: Number of bins, or their edges.
        log, ax, labels, units, style: As `hist`.

    Raises:
        UsageError: Scores that are not finite, or arrays of different lengths.
    """
    groups = by_label(score, label, weight)
    edges = _edges(np.concatenate([values for values, _ in groups.values()]), bins)
    found = {name: _filled(edges, *each) for name, each in groups.items()}
    return hist(found, density=True, log=log, ax=ax, labels=labels, units=units, style=style)


def overtraining(
    train: tuple[Any, Any, Any],
    test: tuple[Any, Any, Any],
    *,
    bins: int | Sequence[float] = 30,
    log: bool = False,
    ax: Any = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Any:
    """Scores of training events (filled) beside those of test events (points), for each label.

    The legend has the Kolmogorov-Smirnov distance of both.

    Args:
        train, test: ``(score, label, weight)`` each; the weight may be None.
        bins, log, ax, labels, units, style: As `scores`.

    Raises:
        UsageError: Labels that only one of both has.
    """
    first, second = by_label(*train), by_label(*test)
    if first.keys() != second.keys():
        message = f"training has the labels {sorted(first)}, test has {sorted(second)}"
        raise UsageError(message)
    every = [values for group in (first, second) for values, _ in group.values()]
    edges = _edges(np.concatenate(every), bins)
    ax = axes_of(ax, style)
    centres = (edges[1:] + edges[:-1]) / 2
    for number, key in enumerate(first):
        distance = ks_distance(first[key][0], second[key][0], first[key][1], second[key][1])
        values, _ = _contents(_filled(edges, *first[key]), key, density=True)
        points, errors = _contents(_filled(edges, *second[key]), key, density=True)
        written = named(key, labels)
        ax.stairs(
            values, edges, fill=True, alpha=0.35, color=colour(number), label=f"{written}, train"
        )
        ax.errorbar(
            centres, points, yerr=errors, fmt="o", markersize=3, color=colour(number),
            label=f"{written}, test (KS distance {distance:.3f})",
        )  # fmt: skip
    ax.set(xlabel=named("score", labels, units), ylabel="density")
    ax.set_xlim(edges[0], edges[-1])
    _scale(ax, log=log)
    legend(ax)
    return ax


# --- numbers -------------------------------------------------------------------------------------


def split_categories(histograms: Any) -> dict[str, Any]:
    """Histograms of one axis by name.

    Raises:
        UsageError: Something else.
    """
    if isinstance(histograms, Mapping) and histograms:
        return dict(histograms)
    axes: Any = getattr(histograms, "axes", ())
    if len(axes) == 1:
        return {"": histograms}
    if len(axes) == 2 and axes[0].traits.discrete:
        return {str(value): histograms[number, :] for number, value in enumerate(axes[0])}
    message = (
        "a histogram has one axis, or a category axis and another one; or give {name: histogram}; "
        f"not {type(histograms).__name__} of {len(axes)} axes"
    )
    raise UsageError(message)


def _common_axis(histograms: Mapping[str, Any]) -> tuple[Float, str]:
    """The edges that all share, and the name of the quantity.

    Raises:
        SchemaError: They have different edges.
    """
    edges: Float | None = None
    name = ""
    for key, each in histograms.items():
        (axis,) = each.axes
        mine = np.asarray(axis.edges, dtype=np.float64)
        name = name or axis.label or axis.name
        if edges is not None and not np.array_equal(edges, mine):
            message = f"histogram {key!r} has other bins than the first one"
            raise SchemaError(message)
        edges = mine
    assert edges is not None
    return edges, name


def _contents(histogram: Any, name: str, *, density: bool = False) -> tuple[Float, Float]:
    """Contents of the bins and their errors; `density`: per width, of area 1."""
    values = np.asarray(histogram.values(), dtype=np.float64)
    errors = np.sqrt(_variances(histogram))
    if not density:
        return values, errors
    area = float(values.sum())
    if not area > 0:
        message = f"density=True: the contents of {name!r} add up to {area:g}"
        raise UsageError(message)
    scale = 1.0 / (area * np.diff(histogram.axes[0].edges))
    return values * scale, errors * scale


def _variances(histogram: Any) -> Float:
    found = histogram.variances()
    if found is None:
        message = "a histogram without variances has no errors: fill it with storage Weight"
        raise UsageError(message)
    return np.asarray(found, dtype=np.float64)


def _total_errors(histograms: Sequence[Any]) -> Float:
    total: Float = np.sqrt(np.sum([_variances(each) for each in histograms], axis=0))
    return total


def _data_errors(histogram: Any) -> tuple[Float, Float, Float]:
    """Contents, and errors below and above."""
    values, errors = _contents(histogram, "data")
    if not np.allclose(values, np.square(errors)):  # weighted
        return values, errors, errors
    stats = optional_import("scipy.stats", feature="rootml.plot.data_mc()", extra="sbi")
    tail = (1 - 0.682689492) / 2
    low = np.where(values > 0, stats.chi2.ppf(tail, 2 * values) / 2, 0.0)
    high = stats.chi2.ppf(1 - tail, 2 * values + 2) / 2
    return values, values - low, high - values


def by_label(score: Any, label: Any, weight: Any) -> dict[str, tuple[Float, Float]]:
    """Scores and weights of the events of each label, by its text.

    Raises:
        UsageError: Arrays of different lengths, or scores or weights that are not finite.
    """
    values = np.asarray(score, dtype=np.float64)
    names = np.asarray(label)
    weights = np.ones(len(values)) if weight is None else np.asarray(weight, dtype=np.float64)
    if values.ndim != 1 or not values.shape == names.shape == weights.shape:
        message = (
            f"score {values.shape}, label {names.shape} and weight {weights.shape}: expected one "
            "number per event each"
        )
        raise UsageError(message)
    for what, each in (("score", values), ("weight", weights)):
        bad = int(np.count_nonzero(~np.isfinite(each)))
        if bad:
            message = f"{bad:,} of {len(each):,} events have a {what} that is NaN or infinite"
            raise UsageError(message)
    if not len(values):
        message = "there are no events"
        raise UsageError(message)
    return {
        f"{value:g}" if names.dtype.kind in "iuf" else str(value): (
            values[names == value],
            weights[names == value],
        )
        for value in np.unique(names)
    }


def _edges(values: Float, bins: int | Sequence[float]) -> Float:
    if isinstance(bins, int):
        return np.asarray(np.histogram_bin_edges(values, bins), dtype=np.float64)
    return np.asarray(bins, dtype=np.float64)


def _filled(edges: Float, values: Float, weights: Weights) -> Any:
    package = optional_import("hist", feature="rootml.plot", extra="plot")
    axis = package.axis.Variable(edges, name="score", flow=True)
    inside = np.where(values == edges[-1], np.nextafter(edges[-1], -np.inf), values)
    return package.Hist(axis, storage=package.storage.Weight()).fill(inside, weight=weights)


# --- drawing -------------------------------------------------------------------------------------


def _bars(ax: Any, edges: Float, values: Float, errors: Float, tint: str) -> None:
    centres = (edges[1:] + edges[:-1]) / 2
    ax.errorbar(centres, values, yerr=errors, fmt="none", color=tint, linewidth=1)


def _band(ax: Any, edges: Float, values: Float, errors: Float) -> None:
    ax.stairs(
        values + errors, edges, baseline=values - errors, fill=True, color="grey", alpha=0.4,
        label="stat. error", linewidth=0,
    )  # fmt: skip


def _scale(ax: Any, *, log: bool) -> None:
    if log:
        ax.set_yscale("log")
        headroom(ax, 1.4)
    else:
        low, high = ax.get_ylim()
        lowest = min((float(line.min()) for line in _drawn(ax)), default=0.0)
        ax.set_ylim(0.0 if lowest >= 0 else low, high)
        headroom(ax)


def _note_outside(ax: Any, histograms: Sequence[Any]) -> None:
    """Say which part of the contents is outside of the bins."""
    inside = sum(float(each.values().sum()) for each in histograms)
    total = sum(float(each.values(flow=True).sum()) for each in histograms)
    if total != inside and total:
        share = 100 * (1 - inside / total)
        ax.set_title(f"{share:.2g} % outside of the axis", fontsize="small", loc="right")


def _drawn(ax: Any) -> list[Any]:
    found = [
        np.asarray(patch.get_data().values) for patch in ax.patches if hasattr(patch, "get_data")
    ]
    return [values for values in found if len(values)]


def _ratio_points(ax: Any, x: Float, ratio: Float, below: Float, above: Float) -> None:
    """Points with errors; those beyond the range of the axis as arrows at its edge."""
    known = np.isfinite(ratio)
    spread = np.nanmax(np.abs(ratio[known] - 1) + np.maximum(below, above)[known], initial=0.1)
    reach = float(np.clip(1.2 * spread, 0.2, 1.0))
    ax.set_ylim(1 - reach, 1 + reach)
    seen = known & (np.abs(ratio - 1) <= reach)
    ax.errorbar(
        x[seen], ratio[seen], yerr=[below[seen], above[seen]], fmt="o", color="black", markersize=4
    )
    for sign, marker in ((1, "^"), (-1, "v")):
        out = known & (sign * (ratio - 1) > reach)
        edge = np.full(np.count_nonzero(out), 1 + sign * 0.93 * reach)
        ax.plot(x[out], edge, marker, color="black", markersize=5)
