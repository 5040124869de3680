"""Histograms: by label, data over simulation, scores of a classifier, training beside test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.statistics import ks_distance
from rootml._internal.types import Float
from rootml.errors import SchemaError, UsageError
from rootml.plot._axes import Labels, Style, axes_of, colour, legend, named, note, two_panels
from rootml.plot._bins import (
    by_label,
    common_axis,
    contents,
    data_errors,
    edges_of,
    filled,
    split_categories,
    total_errors,
)
from rootml.plot._comparisons import ratio_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def hist(
    histograms: Any,
    *,
    density: bool = False,
    stack: bool = False,
    log: bool = False,
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
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
    edges, name = common_axis(found)
    ax = axes_of(ax, style)
    if stack:
        _stack(ax, edges, found, labels)
    for number, (key, each) in enumerate({} if stack else found.items()):
        values, errors = contents(each, key, density=density)
        tint = colour(number)
        ax.stairs(values, edges, color=tint, label=named(key, labels), linewidth=1.6)
        _bars(ax, edges, values, errors, tint)
    ax.set_xlabel(named(name, labels, units))
    ax.set_ylabel("density" if density else _per_bin(edges, (units or {}).get(name, "")))
    ax.set_xlim(edges[0], edges[-1])
    _note_outside(ax, list(found.values()))
    _scale(ax, log=log)
    legend(ax, downwards=stack)
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
    edges, name = common_axis({"data": data, **found})
    upper, lower = two_panels(ax, style)
    _stack(upper, edges, found, labels)
    values, below, above = data_errors(data)
    centres, shown = (edges[1:] + edges[:-1]) / 2, values != 0
    upper.errorbar(
        centres[shown], values[shown], yerr=[below[shown], above[shown]], fmt="o", color="black",
        markersize=4, label=named("data", labels),
    )  # fmt: skip
    upper.set_ylabel(_per_bin(edges, (units or {}).get(name, "")))
    _note_outside(upper, [data, *found.values()])
    _scale(upper, log=log)
    legend(upper, downwards=True)
    total = np.sum([contents(each, key)[0] for key, each in found.items()], axis=0)
    known = total > 0
    relative = np.divide(
        total_errors(list(found.values())), total, out=np.zeros_like(total), where=known
    )
    _band(lower, edges, np.ones_like(total), relative)
    ratio, low, high = (
        np.divide(each, total, out=np.full_like(total, np.nan), where=known & shown)
        for each in (values, below, above)
    )
    far = np.abs(ratio - 1) + np.maximum(low, high)
    reach = float(np.clip(1.2 * np.nanmax(far, initial=0.1), 0.2, 1.0))
    ratio_points(lower, centres, ratio, low, high, reach=reach, tint="black")
    lower.axhline(1.0, color="grey", linewidth=1)
    lower.set(xlabel=named(name, labels, units), ylabel="data / sim.")
    for each in (upper, lower):
        each.set_xlim(edges[0], edges[-1])
    return upper, lower


def scores(
    score: Any,
    label: Any,
    weight: Any = None,
    *,
    bins: int | Sequence[float] = 40,
    log: bool = False,
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
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
    edges = edges_of(np.concatenate([values for values, _ in groups.values()]), bins)
    found = {name: filled(edges, *each) for name, each in groups.items()}
    return hist(found, density=True, log=log, ax=ax, labels=labels, units=units, style=style)


def overtraining(
    train: tuple[Any, Any, Any],
    test: tuple[Any, Any, Any],
    *,
    bins: int | Sequence[float] = 30,
    log: bool = False,
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
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
    edges = edges_of(np.concatenate(every), bins)
    ax = axes_of(ax, style)
    centres = (edges[1:] + edges[:-1]) / 2
    for number, key in enumerate(first):
        distance = ks_distance(first[key][0], second[key][0], first[key][1], second[key][1])
        values, _ = contents(filled(edges, *first[key]), key, density=True)
        points, errors = contents(filled(edges, *second[key]), key, density=True)
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


def steps(
    contents: Mapping[str, Any],
    edges: Any,
    *,
    name: str = "",
    what: str = "events per bin",
    log: bool = False,
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
    """Contents of bins without errors, as `numpy.histogram` gives them.

    Args:
        contents: ``{name: (bin,)}``.
        edges: `(bin + 1,)`.
        name: The quantity.
        what: What the contents are.
        log, ax, labels, units, style: As `hist`.

    Raises:
        SchemaError: Not one content per bin.
    """
    bounds = np.asarray(edges, dtype=np.float64)
    ax = axes_of(ax, style)
    for number, (key, each) in enumerate(contents.items()):
        values = np.asarray(each, dtype=np.float64)
        if values.shape != (len(bounds) - 1,):
            message = f"{key!r}: {values.shape} contents in {len(bounds) - 1} bins"
            raise SchemaError(message)
        look = {"color": colour(number), "linewidth": 1.6}
        ax.stairs(values, bounds, label=named(key, labels), **look)
    ax.set(xlabel=named(name, labels, units), ylabel=named(what, labels, units))
    ax.set_xlim(bounds[0], bounds[-1])
    _scale(ax, log=log)
    legend(ax)
    return ax


# --- drawing -------------------------------------------------------------------------------------


def _per_bin(edges: Float, unit: str) -> str:
    """What a bin counts: ``events / 10 GeV``, if there is a unit and all bins are as wide.

    >>> _per_bin(np.linspace(0, 300, 31), "GeV"), _per_bin(np.array([0.0, 1.0, 3.0]), "GeV")
    ('events / 10 GeV', 'events per bin')
    """
    widths = np.diff(edges)
    equal = bool(np.allclose(widths, widths[0], rtol=1e-6))
    return f"events / {float(widths.mean()):.4g} {unit}" if unit and equal else "events per bin"


def _stack(ax: Any, edges: Float, found: Mapping[str, Any], labels: Labels) -> None:
    """Histograms on top of each other, the error of their sum as a band."""
    base = np.zeros(len(edges) - 1)
    for number, (key, each) in enumerate(found.items()):
        top = base + contents(each, key)[0]
        ax.stairs(
            top, edges, baseline=base, fill=True, alpha=0.85, color=colour(number),
            label=named(key, labels),
        )  # fmt: skip
        base = top
    _band(ax, edges, base, total_errors(list(found.values())))


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
    elif ax.dataLim.y0 >= 0:
        ax.set_ylim(bottom=0.0)


def _note_outside(ax: Any, histograms: Sequence[Any]) -> None:
    """Say which part of the contents is outside of the bins."""
    outside = sum(_outside(each) for each in histograms)
    if outside:
        total = sum(float(each.values(flow=True).sum()) for each in histograms)
        note(ax, f"{100 * outside / total:.2g} % outside of the axis")


def _outside(histogram: Any) -> float:
    """Underflow and overflow: not a difference of sums, which rounding keeps from being 0."""
    values, traits = histogram.values(flow=True), histogram.axes[0].traits
    return float(
        (values[0] if traits.underflow else 0.0) + (values[-1] if traits.overflow else 0.0)
    )
