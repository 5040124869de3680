"""Curves: ROC, likelihood scans and contours, limits, bands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.statistics import roc_area
from rootml._internal.types import Float
from rootml.errors import SchemaError, UsageError
from rootml.plot._axes import Labels, Style, axes_of, colour, legend, named
from rootml.plot._bins import by_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEVELS = ((1.0, "68.3 %"), (4.0, "95.4 %"), (9.0, "99.7 %"))


def roc(
    curves: Mapping[str, tuple[Any, ...]],
    *,
    log: bool = False,
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
    """ROC curves with their areas: background efficiency over signal efficiency.

    With weights of any sign an efficiency can leave the range from 0 to 1; it is drawn as it is.

    Args:
        curves: ``{name: (score, label, weight)}``: a larger score is more like label 1; the weight
            may be None. Or ``{name: (signal efficiency, background efficiency)}`` of a curve that
            is known already, which is drawn without an area.
        log: A logarithmic scale of the background efficiency, for good scores.
        ax, labels, units, style: As for all functions of `rootml.plot`.

    Raises:
        UsageError: Not exactly the labels 0 and 1, or weights that add up to nothing.

    >>> import numpy as np, rootml.plot
    >>> one = (np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]), None)
    >>> rootml.plot.roc({"dnn": one}).get_legend_handles_labels()[1]
    ['dnn (AUC 0.750 ± 0.250)']
    """
    ax = axes_of(ax, style, width=5.0, height=4.6)
    for number, (name, curve) in enumerate(curves.items()):
        x, y, area = _roc_curve(curve)
        ax.plot(x, y, color=colour(number), label=f"{named(name, labels)}{area}", linewidth=1.6)
    chance = np.concatenate([np.geomspace(1e-9, 0.01, 50), np.linspace(0.01, 1, 100)])
    chance = chance if log else np.array([0.0, 1.0])
    ax.plot(chance, chance, color="grey", linestyle=":", linewidth=1)
    ax.set(
        xlabel=named("signal efficiency", labels, units),
        ylabel=named("background efficiency", labels, units),
    )
    ax.margins(0.02)
    inverted = sum(float((line.get_ydata() - line.get_xdata()).mean()) for line in ax.lines) > 0
    if log:
        drawn = np.concatenate([line.get_ydata() for line in ax.lines[:-1]])
        ax.set_yscale("log")
        ax.set_ylim(0.5 * float(np.min(drawn[drawn > 0.0], initial=0.1)), 1.5)
        legend(ax)
        return ax
    corner = "lower right" if inverted else "upper left"  # what is beyond the diagonal is free
    ax.legend(frameon=False, fontsize="small", loc=corner)
    return ax


def _roc_curve(curve: tuple[Any, ...]) -> tuple[Any, Any, str]:
    """Efficiencies of signal and background, and the area as a text."""
    if len(curve) == 2:
        return *curve, ""
    signal, background = two_classes(*curve)
    area, error = roc_area(signal[0], background[0], signal[1], background[1])
    x, y, _ = efficiencies(signal, background)
    return x, y, f" (AUC {area:.3f} ± {error:.3f})"


def two_classes(
    score: Any, label: Any, weight: Any
) -> tuple[tuple[Float, Float], tuple[Float, Float]]:
    """Scores and weights of label 1, and of label 0.

    Raises:
        UsageError: Other labels, or one class only.
    """
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
    levels: bool = True,
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
    """A likelihood scan of one parameter, with lines where its intervals end.

    These are the intervals of 68.3, 95.4 and 99.7 % of one parameter; their ends are interpolated
    between points of the first curve.

    Args:
        name: The parameter.
        values: `(point,)`.
        t: ``-2 log(L / L_max)``, `(point,)`, or ``{name: (point,)}`` for several curves.
        best: Where the minimum is; None: not drawn.
        levels: Draw the lines of the intervals.
        ax, labels, units, style: As for all functions of `rootml.plot`.

    Raises:
        SchemaError: Arrays of different lengths.
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
    main = np.asarray(next(iter(curves.values())), dtype=np.float64)[order]
    middle = float(at[order][np.nanargmin(main)]) if best is None else best
    for level, text in _LEVELS if levels else ():
        if top > level:
            ends = crossings(at[order], main, level)
            ax.axhline(level, color="grey", linestyle=":", linewidth=1)
            ax.vlines(ends, 0, level, color="grey", linestyle=":", linewidth=1)
            ax.annotate(
                text, (middle, level), xytext=(4, 1), textcoords="offset points",
                fontsize="small", va="bottom", color="dimgrey",
            )  # fmt: skip
    if best is not None:
        ax.axvline(best, color="black", linestyle="--", linewidth=1)
    ax.set(xlabel=named(name, labels, units), ylabel=r"$-2\,\Delta\ln L$", ylim=(0, None))
    ax.set_xlim(at.min(), at.max())
    legend(ax)
    return ax


def crossings(x: Float, y: Float, level: float) -> Float:
    """Where a curve crosses a level, interpolated between its points, `(crossing,)`.

    >>> crossings(np.array([0.0, 1.0, 2.0]), np.array([2.0, 0.0, 4.0]), 1.0).tolist()
    [0.5, 1.25]
    """
    above = y - level
    here = np.flatnonzero(above[:-1] * above[1:] < 0)
    share = above[here] / (above[here] - above[here + 1])
    found: Float = np.append(x[here] + share * (x[here + 1] - x[here]), x[above == 0])
    return np.sort(found)


def contour(
    x: str,
    y: str,
    curves: Mapping[float, Any],
    *,
    best: tuple[float, float] | None = None,
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
    """Regions of confidence in the plane of two parameters.

    Args:
        x, y: The parameters.
        curves: ``{confidence level: (point, 2)}``, closed or not.
        best: Where the minimum is; None: not drawn.
        ax, labels, units, style: As for all functions of `rootml.plot`.

    Raises:
        SchemaError: Arrays of other shapes.

    >>> import rootml.plot
    >>> ax = rootml.plot.contour("mu", "jes", {0.68: [(0, 0), (1, 0), (0, 1)]})
    >>> ax.get_legend_handles_labels()[1]
    ['68 %']
    """
    ax = axes_of(ax, style, width=5.4, height=4.8)
    looks = ("-", "--", "-.", ":")
    for number, level in enumerate(sorted(curves)):
        curve = np.asarray(curves[level], dtype=np.float64)
        if curve.ndim != 2 or curve.shape[1] != 2:
            message = f"the contour at {level:g} has the shape {curve.shape}, not (point, 2)"
            raise SchemaError(message)
        closed = np.vstack([curve, curve[:1]])
        look = {"color": colour(number), "linestyle": looks[number % len(looks)]}
        ax.plot(closed[:, 0], closed[:, 1], label=f"{100 * level:.3g} %", linewidth=1.6, **look)
    if best is not None:
        ax.plot(*best, "P", color="black", markersize=6, linestyle="none", label="best fit")
    ax.set(xlabel=named(x, labels, units), ylabel=named(y, labels, units))
    legend(ax)
    return ax


def band(
    x: Any,
    curves: Mapping[str, tuple[Any, Any]],
    *,
    name: str = "",
    what: str = "",
    expected: float | None = None,
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
    """Curves with their errors as bands.

    Args:
        x: `(point,)`.
        curves: ``{name: (values, errors)}``, `(point,)` each.
        name: The quantity on the horizontal axis.
        what: That on the vertical one.
        expected: Draw a line at this value; None: none.
        ax, labels, units, style: As for all functions of `rootml.plot`.

    Raises:
        SchemaError: Arrays of other lengths.
    """
    at = np.asarray(x, dtype=np.float64)
    ax = axes_of(ax, style)
    for number, (key, pair) in enumerate(curves.items()):
        values, errors = (np.asarray(each, dtype=np.float64) for each in pair)
        if not values.shape == errors.shape == at.shape:
            message = (
                f"{key!r}: values {values.shape} and errors {errors.shape} at {len(at)} points"
            )
            raise SchemaError(message)
        tint = colour(number)
        ax.fill_between(at, values - errors, values + errors, color=tint, alpha=0.3, linewidth=0)
        ax.plot(at, values, color=tint, linewidth=1.6, label=named(key, labels) or None)
    if expected is not None:
        ax.axhline(expected, color="grey", linewidth=1)
    ax.set(xlabel=named(name, labels, units), ylabel=named(what, labels, units))
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
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
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
    written = named(name, labels)
    curves = {"expected": (bands[2], "--")}
    if observed is not None:
        curves["observed"] = (np.asarray(observed, dtype=np.float64)[order], "o-")
    for key, (curve, look) in curves.items():
        text = _upper_limit(at, curve, 1 - level, written, (units or {}).get(name, ""))
        ax.plot(at, curve, look, color="black", markersize=3, label=f"{key}{text}")
    ax.axhline(1 - level, color=colour(2), linewidth=1, label=f"{100 * level:.3g} % CL")
    ax.set(xlabel=named(name, labels, units), ylabel=r"CL$_s$", ylim=(0, None))
    ax.set_xlim(at[0], at[-1])
    legend(ax, ncols=1)
    return ax


def _upper_limit(x: Float, y: Float, level: float, name: str, unit: str) -> str:
    """The limit as a text, if the curve falls below the level within the axis."""
    ends = crossings(x, y, level)
    return f": {name} < {ends[-1]:.3g} {unit}".rstrip() if len(ends) and y[-1] < level else ""
