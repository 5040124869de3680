"""Curves: ROC, likelihood scans and contours, limits, closure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rootml._internal.statistics import roc_area
from rootml._internal.types import Float
from rootml.errors import SchemaError, UsageError
from rootml.plot._axes import Labels, Style, axes_of, colour, headroom, legend, named, new_figure

_LEVELS = ((1.0, "68.3 %"), (4.0, "95.4 %"), (9.0, "99.7 %"))


def roc(
    curves: Mapping[str, tuple[Any, Any, Any]],
    *,
    ax: Any = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Any:
    """ROC curves with their areas: background efficiency over signal efficiency.

    With weights of any sign an efficiency can leave the range from 0 to 1; it is drawn as it is.

    Args:
        curves: ``{name: (score, label, weight)}``: a larger score is more like label 1; the weight
            may be None.
        ax, labels, units, style: As for all functions of `rootml.plot`.

    Raises:
        UsageError: Not exactly the labels 0 and 1, or weights that add up to nothing.

    >>> import numpy as np, rootml.plot
    >>> one = (np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]), None)
    >>> rootml.plot.roc({"dnn": one}).get_legend_handles_labels()[1]
    ['dnn (AUC 0.750 ± 0.250)']
    """
    ax = axes_of(ax, style, width=5.0, height=4.6)
    for number, (name, (score, label, weight)) in enumerate(curves.items()):
        signal, background = two_classes(score, label, weight)
        area, error = roc_area(signal[0], background[0], signal[1], background[1])
        x, y, _ = efficiencies(signal, background)
        text = f"{named(name, labels)} (AUC {area:.3f} ± {error:.3f})"
        ax.plot(x, y, color=colour(number), label=text, linewidth=1.6)
    ax.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    ax.set(
        xlabel=named("signal efficiency", labels, units),
        ylabel=named("background efficiency", labels, units),
    )
    ax.margins(0.02)
    legend(ax, loc="upper left")
    return ax


def two_classes(
    score: Any, label: Any, weight: Any
) -> tuple[tuple[Float, Float], tuple[Float, Float]]:
    """Scores and weights of label 1, and of label 0.

    Raises:
        UsageError: Other labels, or one class only.
    """
    from rootml.plot._histograms import by_label

    groups = by_label(score, label, weight)
    if set(groups) != {"0", "1"}:
        message = f"expected events of label 0 and of label 1, found the labels {sorted(groups)}"
        raise UsageError(message)
    return groups["1"], groups["0"]


def efficiencies(
    signal: tuple[Float, Float], background: tuple[Float, Float]
) -> tuple[Float, Float, Float]:
    """Fractions of the weight of both classes at or above each threshold, and the thresholds."""
    values = np.concatenate([signal[0], background[0]])
    is_signal = np.arange(len(values)) < len(signal[0])
    weights = np.concatenate([signal[1], background[1]])
    order = np.argsort(-values, kind="stable")
    values, weights, is_signal = values[order], weights[order], is_signal[order]
    last = np.append(values[1:] < values[:-1], True)  # equal scores pass together
    x, y = (
        np.concatenate([[0.0], np.cumsum(np.where(mine, weights, 0.0))[last]])
        / _positive(weights[mine].sum())
        for mine in (is_signal, ~is_signal)
    )
    return x, y, np.concatenate([[np.inf], values[last]])


def _positive(total: float) -> float:
    if not total > 0:
        message = f"the weights of a class add up to {total:g}: efficiencies are not defined"
        raise UsageError(message)
    return total


def scan(
    name: str,
    values: Any,
    t: Any,
    *,
    best: float | None = None,
    ax: Any = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Any:
    """A likelihood scan of one parameter, with lines where 68 and 95 % intervals end.

    Args:
        name: The parameter.
        values: `(point,)`.
        t: ``-2 log(L / L_max)``, `(point,)`, or ``{name: (point,)}`` for several curves.
        best: Where the minimum is; None: not drawn.
        ax, labels, units, style: As for all functions of `rootml.plot`.
    """
    ax = axes_of(ax, style)
    curves = t if isinstance(t, Mapping) else {"": t}
    at = np.asarray(values, dtype=np.float64)
    order = np.argsort(at)
    top = 0.0
    for number, (key, each) in enumerate(curves.items()):
        curve = np.asarray(each, dtype=np.float64)
        if curve.shape != at.shape:
            message = f"{len(at)} values of {name!r} and a curve of shape {curve.shape}"
            raise SchemaError(message)
        top = max(top, float(np.nanmax(curve)))
        text = named(key, labels) if key else None
        ax.plot(at[order], curve[order], color=colour(number), linewidth=1.6, label=text)
    for level, text in _LEVELS:
        if top > 0.5 * level:
            ax.axhline(level, color="grey", linestyle=":", linewidth=1)
            ax.annotate(
                text, (0.99, level), xycoords=("axes fraction", "data"), fontsize="small",
                ha="right", va="bottom", color="dimgrey",
            )  # fmt: skip
    if best is not None:
        ax.axvline(best, color="black", linestyle="--", linewidth=1)
    ax.set(xlabel=named(name, labels, units), ylabel=r"$-2\,\Delta\ln L$", ylim=(0, None))
    ax.set_xlim(at.min(), at.max())
    legend(ax)
    return ax


def limit(
    name: str,
    values: Any,
    observed: Any,
    expected: Any,
    *,
    level: float = 0.95,
    ax: Any = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Any:
    """CLs over a parameter: observed, expected with its bands, and the line of the limit.

    Args:
        name: The parameter.
        values: `(point,)`.
        observed: CLs of the data, `(point,)`; None: there are none yet.
        expected: CLs `(5, point)` of background-only data at -2, -1, 0, 1, 2 standard deviations.
        level: Confidence level of the limit: values with CLs below ``1 - level`` are excluded.
        ax, labels, units, style: As for all functions of `rootml.plot`.

    Raises:
        SchemaError: Arrays of other shapes.
    """
    at, bands = np.asarray(values, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if bands.shape != (5, len(at)):
        message = f"expected= is an array (5, {len(at)}), one row per quantile, not {bands.shape}"
        raise SchemaError(message)
    ax = axes_of(ax, style)
    order = np.argsort(at)
    at, bands = at[order], np.sort(bands[:, order], axis=0)
    ax.fill_between(at, bands[0], bands[4], color="#ffdf7f", label=r"expected $\pm 2\,\sigma$")
    ax.fill_between(at, bands[1], bands[3], color="#85d1fb", label=r"expected $\pm 1\,\sigma$")
    ax.plot(at, bands[2], color="black", linestyle="--", label="expected")
    if observed is not None:
        ax.plot(
            at, np.asarray(observed)[order], "o-", color="black", markersize=3, label="observed"
        )
    ax.axhline(1 - level, color=colour(2), linewidth=1, label=f"{100 * level:.3g} % CL")
    ax.set(xlabel=named(name, labels, units), ylabel=r"CL$_s$", ylim=(0, None))
    ax.set_xlim(at[0], at[-1])
    legend(ax, loc="upper right")
    return ax


def closure(
    truth: Any,
    estimates: Mapping[str, Any],
    edges: Any,
    *,
    name: str = "",
    ax: Sequence[Any] | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> tuple[Any, Any]:
    """What should be reproduced beside what was, with residuals in standard deviations below.

    Args:
        truth: ``(contents, errors)``, `(bin,)` each.
        estimates: ``{name: (contents, errors)}``, in the same bins.
        edges: `(bin + 1,)`.
        name: The quantity.
        ax: The upper and the lower axes; None: a new figure.
        labels, units, style: As for all functions of `rootml.plot`.

    Returns:
        The upper and the lower axes.

    Raises:
        SchemaError: Arrays of other lengths.
    """
    bounds = np.asarray(edges, dtype=np.float64)
    wanted, sigma = _bins(truth, bounds, "truth")
    if ax is None:
        upper, lower = new_figure(6.0, 5.5).subplots(2, 1, sharex=True, height_ratios=(3, 1))
    else:
        upper, lower = ax
    axes_of(upper, style)
    centres = (bounds[1:] + bounds[:-1]) / 2
    upper.errorbar(
        centres, wanted, yerr=sigma, fmt="o", color="black", markersize=4,
        label=named("target", labels),
    )  # fmt: skip
    lower.axhspan(-1, 1, color="grey", alpha=0.25, linewidth=0)
    lower.axhline(0.0, color="grey", linewidth=1)
    for number, (key, each) in enumerate(estimates.items()):
        values, errors = _bins(each, bounds, key)
        tint = colour(number)
        upper.stairs(values, bounds, color=tint, label=named(key, labels), linewidth=1.6)
        both = np.hypot(sigma, errors)
        pulls = np.divide(values - wanted, both, out=np.zeros_like(both), where=both > 0)
        lower.plot(centres, pulls, "o", color=tint, markersize=3)
    low, high = lower.get_ylim()
    reach = max(2.5, 1.1 * abs(low), 1.1 * abs(high))
    lower.set_ylim(-reach, reach)
    lower.set(xlabel=named(name, labels, units), ylabel="residual / $\\sigma$")
    upper.set(ylabel="events per bin")
    upper.set_xlim(bounds[0], bounds[-1])
    headroom(upper)
    legend(upper)
    return upper, lower


def _bins(pair: Any, edges: Float, name: str) -> tuple[Float, Float]:
    values, errors = (np.asarray(each, dtype=np.float64) for each in pair)
    if not values.shape == errors.shape == (len(edges) - 1,):
        message = f"{name!r}: {values.shape} contents in {len(edges) - 1} bins"
        raise SchemaError(message)
    return values, errors
