"""What should be reproduced beside what was: closure, calibration, quantiles, toys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rootml._internal.types import Float
from rootml._internal.validators import check_choice
from rootml.errors import SchemaError
from rootml.plot._axes import Labels, Style, axes_of, colour, legend, named, two_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Quantiles = tuple[Any, Any, Any]


def closure(
    truth: Any,
    estimates: Mapping[str, Any],
    edges: Any,
    *,
    name: str = "",
    what: str = "events per bin",
    below: Literal["residuals", "ratio"] = "residuals",
    start: Any = None,
    log: bool | None = False,
    ax: Sequence[Any] | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> tuple[Any, Any]:
    """What should be reproduced beside what was, with residuals or ratios below.

    Nothing leaves the lower panel unseen: its range holds all residuals, and a ratio beyond it is
    an arrow.

    Args:
        truth: ``(contents, errors)``, `(bin,)` each.
        estimates: ``{name: (contents, errors)}``, in the same bins.
        edges: `(bin + 1,)`.
        name: The quantity.
        what: What the contents are.
        below: (estimate - truth) in standard deviations of both, or estimate / truth.
        start: Contents before anything was done to them, drawn above as a dotted line.
        log: A logarithmic scale; None: where a few bins would hide the others.
        ax: The upper and the lower axes; None: a new figure.
        labels, units, style: As for all functions of `rootml.plot`. The labels of ``"target"`` and
            ``"start"`` are written in the legend.

    Returns:
        The upper and the lower axes.

    Raises:
        SchemaError: Arrays of other lengths.

    >>> import rootml.plot
    >>> truth, fit = ([90.0, 40.0], [9.5, 6.3]), ([85.0, 44.0], [2.0, 2.0])
    >>> upper, lower = rootml.plot.closure(truth, {"fit": fit}, [0, 1, 2], name="x")
    >>> lower.get_xlabel(), lower.get_ylabel()
    ('x', 'residual / $\\\\sigma$')
    """
    check_choice("below", below, ("residuals", "ratio"))
    bounds = np.asarray(edges, dtype=np.float64)
    wanted, sigma = _bins(truth, bounds, "truth")
    upper, lower = two_panels(ax, style)
    centres = (bounds[1:] + bounds[:-1]) / 2
    upper.errorbar(
        centres, wanted, yerr=sigma, fmt="o", color="black", markersize=4,
        label=named("target", labels),
    )  # fmt: skip
    if start is not None:
        contents, _ = _bins((start, np.zeros(len(centres))), bounds, "start")
        look = {"color": "dimgrey", "linestyle": ":", "linewidth": 1.4}
        upper.stairs(contents, bounds, label=named("start", labels), **look)
    pairs = {key: _bins(each, bounds, key) for key, each in estimates.items()}
    for number, (key, (values, _)) in enumerate(pairs.items()):
        look = {"color": colour(number), "linewidth": 1.6}
        upper.stairs(values, bounds, label=named(key, labels), **look)
    draw = _residuals if below == "residuals" else _ratios
    draw(lower, bounds, (wanted, sigma), pairs)
    lower.set_xlabel(named(name, labels, units))
    if np.all(np.diff(bounds) == 1):  # bins of whole numbers
        lower.xaxis.get_major_locator().set_params(integer=True)
    upper.set_ylabel(named(what, labels, units))
    for each in (upper, lower):
        each.set_xlim(bounds[0], bounds[-1])
    _scale(upper, [wanted, *(values for values, _ in pairs.values())], log)
    legend(upper)
    return upper, lower


def _residuals(
    ax: Any, edges: Float, truth: tuple[Float, Float], pairs: Mapping[str, tuple[Float, Float]]
) -> None:
    ax.axhspan(-1, 1, color="grey", alpha=0.25, linewidth=0)
    ax.axhline(0.0, color="grey", linewidth=1)
    for number, (values, errors) in enumerate(pairs.values()):
        both = np.hypot(truth[1], errors)
        pulls = np.divide(values - truth[0], both, out=np.full_like(both, np.nan), where=both > 0)
        ax.plot((edges[1:] + edges[:-1]) / 2, pulls, "o", color=colour(number), markersize=3)
    _symmetric(ax, 2.5)
    ax.set_ylabel("residual / $\\sigma$")


def _symmetric(ax: Any, least: float) -> None:
    """Make the vertical axis hold all that is drawn, and as much above as below zero."""
    low, high = ax.get_ylim()
    reach = max(least, abs(low), abs(high))
    ax.set_ylim(-reach, reach)


def _ratios(
    ax: Any, edges: Float, truth: tuple[Float, Float], pairs: Mapping[str, tuple[Float, Float]]
) -> None:
    wanted, sigma = truth
    good = wanted > 0
    relative = np.divide(sigma, wanted, out=np.zeros_like(sigma), where=good)
    look = {"color": "grey", "alpha": 0.4, "linewidth": 0}
    ax.stairs(1 + relative, edges, baseline=1 - relative, fill=True, **look)
    ax.axhline(1.0, color="grey", linewidth=1)
    centres = (edges[1:] + edges[:-1]) / 2
    for number, (values, errors) in enumerate(pairs.values()):
        ratio, error = (
            np.divide(each, wanted, out=np.full_like(each, np.nan), where=good)
            for each in (values, errors)
        )
        ratio_points(ax, centres, ratio, error, error, reach=0.5, tint=colour(number))
    ax.set_ylabel("ratio")


def ratio_points(
    ax: Any, x: Float, ratio: Float, below: Float, above: Float, *, reach: float, tint: str
) -> None:
    """Points with errors from 1 - reach to 1 + reach; those beyond as arrows at the edge."""
    known = np.isfinite(ratio)
    seen = known & (np.abs(ratio - 1) <= reach)
    errors = [below[seen], above[seen]]
    ax.errorbar(x[seen], ratio[seen], yerr=errors, fmt="o", color=tint, markersize=3.5)
    for sign, marker in ((1, "^"), (-1, "v")):
        out = known & (sign * (ratio - 1) > reach)
        edge = np.full(np.count_nonzero(out), 1 + sign * 0.93 * reach)
        ax.plot(x[out], edge, marker, color=tint, markersize=5)
    ax.set_ylim(1 - reach, 1 + reach)


def _scale(ax: Any, contents: Sequence[Float], log: bool | None) -> None:
    """A logarithmic axis if asked for, or where the highest bin would hide the others."""
    values = np.concatenate(contents)
    positive = values[values > 0]
    if log is None:
        log = bool(len(positive)) and bool(positive.max() > 40 * np.median(positive))
    if log:
        ax.set_yscale("log")
        ax.set_ylim(max(positive.min(), positive.max() * 1e-6) / 2, positive.max() * 2)
    elif len(values) and values.min() >= 0:
        ax.set_ylim(bottom=0.0)


def _bins(pair: Any, edges: Float, name: str) -> tuple[Float, Float]:
    values, errors = (np.asarray(each, dtype=np.float64) for each in pair)
    if not values.shape == errors.shape == (len(edges) - 1,):
        message = f"{name!r}: {values.shape} contents in {len(edges) - 1} bins"
        raise SchemaError(message)
    return values, errors


def calibration(
    said: Any,
    observed: Any,
    errors: Any,
    *,
    pulls: Any = None,
    name: str = "predicted probability",
    what: str = "observed fraction",
    ax: Sequence[Any] | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> tuple[Any, Any]:
    """Does a probability mean the fraction that it says? With residuals below.

    Args:
        said: Mean probability per bin, `(bin,)`.
        observed: Fraction of the events that are signal there, `(bin,)`.
        errors: Of `observed`, `(bin,)`.
        pulls: (observed - said) in standard deviations; None: computed of the three.
        name, what: The quantities on the axes.
        ax: The upper and the lower axes; None: a new figure.
        labels, units, style: As for all functions of `rootml.plot`.

    Returns:
        The upper and the lower axes.

    Raises:
        SchemaError: Arrays of different lengths.
    """
    x, y, sigma = (np.asarray(each, dtype=np.float64) for each in (said, observed, errors))
    if not x.shape == y.shape == sigma.shape:
        message = (
            f"said {x.shape}, observed {y.shape} and errors {sigma.shape}: one of each per bin"
        )
        raise SchemaError(message)
    if pulls is None:
        pulls = np.divide(y - x, sigma, out=np.full_like(x, np.nan), where=sigma > 0)
    upper, lower = two_panels(ax, style)
    upper.plot([0, 1], [0, 1], color="grey", linewidth=1)
    upper.errorbar(x, y, yerr=sigma, fmt="o", color=colour(0), markersize=4)
    upper.set_ylabel(named(what, labels, units))
    lower.axhspan(-1, 1, color="grey", alpha=0.25, linewidth=0)
    lower.axhline(0.0, color="grey", linewidth=1)
    lower.plot(x, pulls, "o", color=colour(0), markersize=4)
    _symmetric(lower, 2.5)
    lower.set(xlabel=named(name, labels, units), ylabel="residual / $\\sigma$")
    for each in (upper, lower):
        each.set_xlim(0, 1)
    return upper, lower


def efficiency(
    curves: Mapping[str, tuple[Any, Any]],
    edges: Any,
    *,
    name: str = "",
    what: str = "efficiency",
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
    """Efficiencies, or other fractions, in bins of a quantity, with their errors.

    Args:
        curves: ``{name: (efficiency, error)}``, `(bin,)` each; NaN: not known.
        edges: `(bin + 1,)`.
        name: The quantity.
        what: What the fractions are.
        ax, labels, units, style: As for all functions of `rootml.plot`.

    Raises:
        SchemaError: Arrays of other lengths.

    >>> import rootml.plot
    >>> ax = rootml.plot.efficiency({"signal": ([0.4, 0.6], [0.1, 0.1])}, [0, 50, 100], name="pt")
    >>> float(ax.get_ylim()[0]), float(ax.get_xlim()[1])
    (0.0, 100.0)
    """
    bounds = np.asarray(edges, dtype=np.float64)
    ax = axes_of(ax, style)
    centres, half = (bounds[1:] + bounds[:-1]) / 2, np.diff(bounds) / 2
    least = 0.0
    for number, (key, pair) in enumerate(curves.items()):
        values, errors = _bins(pair, bounds, key)
        ax.errorbar(
            centres, values, xerr=half, yerr=errors, fmt="o", markersize=4, color=colour(number),
            label=named(key, labels),
        )  # fmt: skip
        least = min(least, float(np.nanmin(values - errors, initial=0.0)))
    ax.set(xlabel=named(name, labels, units), ylabel=named(what, labels, units))
    ax.set_xlim(bounds[0], bounds[-1])
    ax.set_ylim(bottom=1.1 * least)
    legend(ax)
    return ax


def quantiles(
    x: Any,
    samples: Mapping[str, Quantiles],
    *,
    target: Quantiles,
    name: str = "",
    what: str = "",
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
    """Median and central 68.3 % of one quantity in slices of another, beside the target's.

    Args:
        x: Where the slices are, `(slice,)`.
        samples: ``{name: (low, median, high)}``, `(slice,)` each.
        target: The same of what should be reproduced: a line and a band.
        name: The quantity whose slices these are.
        what: The quantity whose quantiles these are.
        ax, labels, units, style: As for all functions of `rootml.plot`.
    """
    at = np.asarray(x, dtype=np.float64)
    ax = axes_of(ax, style)
    low, middle, high = (np.asarray(each, dtype=np.float64) for each in target)
    ax.fill_between(at, low, high, color="0.85", label=named("target", labels))
    ax.plot(at, middle, color="black", linewidth=1.2)
    step = 0.012 * (np.ptp(at) or 1.0)
    for number, (key, sample) in enumerate(samples.items()):
        low, middle, high = (np.asarray(each, dtype=np.float64) for each in sample)
        place = at + (number - (len(samples) - 1) / 2) * step
        ax.errorbar(
            place, middle, yerr=[middle - low, high - middle], fmt="o", markersize=4,
            color=colour(number), label=named(key, labels),
        )  # fmt: skip
    ax.set(xlabel=named(name, labels, units), ylabel=named(what, labels, units))
    legend(ax)
    return ax


def toys(
    pulls: Any,
    *,
    name: str = "",
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
    """Pulls of many fits beside the normal distribution, whose width is 1.

    Args:
        pulls: (fit - true value) / error, `(toy,)`.
        name: The parameter.
        ax, labels, units, style: As for all functions of `rootml.plot`.

    Raises:
        SchemaError: No toys.
    """
    values = np.asarray(pulls, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        message = f"pulls of shape {values.shape}: expected one per toy"
        raise SchemaError(message)
    ax = axes_of(ax, style)
    width = 0.5 if len(values) < 1000 else 0.25
    reach = float(np.clip(np.ceil(np.abs(values).max() + width), 4.0, 8.0))
    edges = np.linspace(-reach, reach, round(2.0 * reach / width) + 1)
    counts, _ = np.histogram(values, edges)
    text = f"{len(values):,} toys: mean {values.mean():+.2f}, width {_width(values)}"
    if beyond := len(values) - int(counts.sum()):
        text += f", {beyond:,} beyond"
    ax.stairs(counts, edges, fill=True, alpha=0.35, color=colour(0), label=text)
    grid = np.linspace(-reach, reach, 200)
    scale = len(values) * width / np.sqrt(2 * np.pi)
    ax.plot(grid, scale * np.exp(-0.5 * grid**2), color="black", label="normal, width 1")
    written = named(name, labels)
    ax.set(xlabel=f"({written} $-$ true) / error", ylabel=named("toys", labels, units))
    ax.set_ylim(bottom=0.0)
    ax.set_xlim(-reach, reach)
    legend(ax, ncols=1)
    return ax


def _width(values: Float) -> str:
    return f"{values.std(ddof=1):.2f}" if len(values) > 1 else "unknown"


def agreement(
    x: Any,
    y: Any,
    *,
    name: str = "",
    what: str = "",
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
    """One number beside another of the same thing, a point each, with the line where both agree.

    Args:
        x, y: `(point,)`.
        name, what: What is on the horizontal and on the vertical axis.
        ax, labels, units, style: As for all functions of `rootml.plot`.

    Raises:
        SchemaError: Arrays of different lengths, or empty ones.
    """
    one, other = (np.asarray(each, dtype=np.float64) for each in (x, y))
    if one.shape != other.shape or not one.size:
        message = f"x {one.shape} and y {other.shape}: expected one point each"
        raise SchemaError(message)
    ax = axes_of(ax, style, width=4.8, height=4.6)
    ends = [min(one.min(), other.min()), max(one.max(), other.max())]
    ax.plot(ends, ends, color="grey", linewidth=1)
    ax.plot(one, other, ".", color=colour(0), markersize=4)
    ax.set(xlabel=named(name, labels, units), ylabel=named(what, labels, units))
    return ax
