"""Pictures of comparisons: features with ratios, correlations, ROC curves, profiles."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.optional import optional_import
from rootml._internal.types import Float
from rootml.sbi.morphing.validation._slices import Slice
from rootml.sbi.morphing.validation._two_sample import TwoSample
from rootml.sbi.morphing.validation._validate_compare import Comparison, Histogram

DATA = "black"
COLOURS = ("tab:blue", "tab:red", "tab:green", "tab:purple", "tab:orange")
_DPI = 130
MAX_NUMBERS = 12


@dataclass(frozen=True, eq=False)
class Results:
    """What the pictures show.

    Attributes:
        features, conditions: Names of the columns.
        correlations: Linear correlations in the data, `(columns, columns)`, features first.
        samples: By name, each compared with the data.
        conditions_only, floor: Two more ROC curves, if they were measured.
    """

    features: tuple[str, ...]
    conditions: tuple[str, ...]
    correlations: Float
    samples: Mapping[str, Comparison]
    conditions_only: TwoSample | None = None
    floor: TwoSample | None = None

    @property
    def coloured(self) -> list[tuple[str, str]]:
        """Names of the samples and their colours."""
        return [(name, COLOURS[i % len(COLOURS)]) for i, name in enumerate(self.samples)]


def plot_results(results: Results, folder: Path) -> list[str]:
    """Draw all pictures; see `ClosureReport.plot`."""
    figures = optional_import("matplotlib.figure", feature="ClosureReport.plot()", extra="plot")
    folder.mkdir(parents=True, exist_ok=True)
    names = file_names([f"feature_{name}" for name in results.features])
    pictures: list[tuple[str, Any]] = [
        (name, _feature(results, j, figures)) for j, name in enumerate(names)
    ]
    pictures.append(("correlations", _correlations(results, figures)))
    pictures.append(("roc", _roc(results, figures)))
    names = file_names([f"profile_{name}" for name in results.conditions])
    pictures += [
        (name, _profiles(results, condition, figures))
        for name, condition in zip(names, results.conditions, strict=True)
    ]
    paths = []
    for name, figure in pictures:
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=_DPI)
        paths.append(str(path))
    return paths


def file_names(titles: Sequence[str]) -> list[str]:
    """Names that every file system takes, each once.

    >>> file_names(["pt / m", "pt * m"])
    ['pt_m', 'pt_m_1']
    """
    found: list[str] = []
    for title in titles:
        plain = re.sub(r"[^\w.+-]+", "_", title).strip("_") or "column"
        number, name = 0, plain
        while name in found:
            number += 1
            name = f"{plain}_{number}"
        found.append(name)
    return found


# --- features ----------------------------------------------------------------------------------


def _feature(results: Results, number: int, figures: Any) -> Any:
    figure = figures.Figure(figsize=(6.4, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.3))
    shown = [(n, c, results.samples[n].features[number]) for n, c in results.coloured]
    first: Histogram = shown[0][2].histogram
    centres, half = _middles(first.edges)
    for name, colour, result in shown:
        label = f"{name}: χ²/ndf {result.chi_square.per_ndf:.2f}, KS {result.ks.value:.4f}"
        look = {"color": colour, "linewidth": 1.5}
        above.stairs(result.histogram.sample, first.edges, label=label, **look)
        _ratio(below, result.histogram, colour)
    above.errorbar(
        centres,
        first.reference,
        first.reference_error,
        half,
        fmt="o",
        markersize=3,
        color=DATA,
        label="data",
    )
    _scale(above, [first.reference, *(result.histogram.sample for *_, result in shown)])
    above.set_ylabel("fraction per bin (overflow in the outer ones)")
    above.legend(frameon=False, fontsize=9)
    good = first.reference > 0
    relative = np.divide(
        first.reference_error, first.reference, where=good, out=np.zeros_like(centres)
    )
    below.stairs(1 + relative, first.edges, baseline=1 - relative, fill=True, color="0.8")
    below.axhline(1, color=DATA, linewidth=0.8)
    below.set_ylabel("ratio to data")
    below.set_xlabel(results.features[number])
    below.set_xlim(first.edges[0], first.edges[-1])
    figure.align_ylabels([above, below])
    return figure


def _middles(edges: Float) -> tuple[Float, Float]:
    return (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2


def _scale(axes: Any, contents: list[Float]) -> None:
    """A logarithmic axis where the highest bin would hide the others; room for the legend."""
    values = np.concatenate(contents)
    positive = values[values > 0]
    if positive.max() > 40 * np.median(positive):
        axes.set_yscale("log")
        low = max(positive.min(), positive.max() * 1e-6)
        axes.set_ylim(low / 2, positive.max() * (positive.max() / low) ** 0.35)
    else:
        axes.set_ylim(min(0.0, values.min() * 1.1), positive.max() * 1.35)


def _ratio(axes: Any, histogram: Histogram, colour: str) -> None:
    """Ratios with the sample's errors; those beyond 0.5 to 1.5 as triangles at the border."""
    centres, half = _middles(histogram.edges)
    good = histogram.reference > 0
    ratio, error = (
        np.divide(x, histogram.reference, where=good, out=np.full_like(x, np.nan))
        for x in (histogram.sample, histogram.sample_error)
    )
    low, high = 0.5, 1.5
    inside = good & (ratio > low) & (ratio < high)
    look = {"color": colour, "linestyle": "none"}
    axes.errorbar(centres[inside], ratio[inside], error[inside], half[inside], marker=".", **look)
    for where, marker, place in ((ratio >= high, "^", high), (ratio <= low, "v", low)):
        inward = place + (0.03 if place == low else -0.03)
        axes.plot(centres[where], np.full(where.sum(), inward), marker, markersize=4, **look)
    axes.set_ylim(low, high)


# --- correlations ------------------------------------------------------------------------------


def _correlations(results: Results, figures: Any) -> Any:
    columns = (*results.features, *results.conditions)
    size = max(3.4, 0.62 * len(columns) + 1.4)
    shown = results.coloured
    figure = figures.Figure(
        figsize=(size * (1 + len(shown)) + 1, size + 0.4), layout="constrained"
    )
    panels = np.atleast_1d(figure.subplots(1, 1 + len(shown)))
    image = _matrix(panels[0], 100 * results.correlations, columns, 100.0)
    panels[0].set_title("correlation in data [%]")
    figure.colorbar(image, ax=panels[0], shrink=0.8)
    differences = [100 * results.samples[name].correlations for name, _ in shown]
    largest = max(float(np.abs(each).max()) for each in differences)
    for panel, (name, _), each in zip(panels[1:], shown, differences, strict=True):
        image = _matrix(panel, each, columns, max(largest, 1.0))
        mean = 100 * results.samples[name].correlation_differences.mean()
        panel.set_title(f"{name} $-$ data [%], mean {mean:.2f}")
    figure.colorbar(image, ax=panels[1:], shrink=0.8)
    return figure


def _matrix(axes: Any, values: Float, names: tuple[str, ...], largest: float) -> Any:
    image = axes.imshow(values, cmap="RdBu_r", vmin=-largest, vmax=largest)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    if len(names) <= MAX_NUMBERS:
        for (i, j), value in np.ndenumerate(values):
            if i != j:
                text = f"{round(value, 0 if largest > 60 else 1) + 0.0:g}"  # no -0
                colour = "white" if abs(value) > 0.65 * largest else "black"
                axes.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
    return image


# --- ROC ---------------------------------------------------------------------------------------


def _roc(results: Results, figures: Any) -> Any:
    figure = figures.Figure(figsize=(5.6, 5.4), layout="constrained")
    axes = figure.subplots()
    curves = [
        (name, results.samples[name].classifier, colour, "-") for name, colour in results.coloured
    ]
    if results.conditions_only is not None:
        curves.append(("conditions alone", results.conditions_only, "tab:orange", "--"))
    if results.floor is not None:
        curves.append(("data against data", results.floor, "0.4", ":"))
    for name, test, colour, style in curves:
        axes.plot(
            test.efficiency_sample,
            test.efficiency_reference,
            style,
            color=colour,
            label=f"{name}: AUC {test.auc:.4f} ± {test.error:.4f}",
        )
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=0.8, zorder=0)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="simulation accepted", ylabel="data accepted")
    axes.set_aspect("equal")
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    return figure


# --- profiles ----------------------------------------------------------------------------------


def _profiles(results: Results, condition: str, figures: Any) -> Any:
    count = len(results.features)
    across = count if count < 4 else math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    figure = figures.Figure(figsize=(4.2 * across, 3.2 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel, feature in zip(panels, results.features, strict=False):
        _profile(panel, results, condition, feature)
    for panel in panels[count:]:
        panel.set_axis_off()
    panels[0].legend(frameon=False, fontsize=8)
    figure.suptitle("median (points, line) and central 68.3 % (bars, band)", fontsize=10)
    return figure


def _profile(axes: Any, results: Results, condition: str, feature: str) -> None:
    shown = results.coloured
    for number, (name, colour) in enumerate(shown):
        slices = [
            part
            for part in results.samples[name].slices
            if (part.condition, part.feature) == (condition, feature)
        ]
        positions = _positions(slices)
        if number == 0:
            _band(axes, slices)
        shift = (number - (len(shown) - 1) / 2) * 0.012 * (positions[-1] - positions[0] or 1)
        quantiles = np.array([part.sample for part in slices])
        low, middle, high = quantiles.T
        axes.errorbar(
            positions + shift,
            middle,
            np.array([middle - low, high - middle]),
            fmt="o",
            markersize=4,
            color=colour,
            label=name,
        )
    axes.set(xlabel=condition, ylabel=feature)


def _positions(slices: list[Slice]) -> npt.NDArray[np.float64]:
    """Where the points stand: in the middle, but in open tails near the populated end."""
    middles = [(part.low + part.high) / 2 for part in slices]
    widths = [part.high - part.low for part in slices]
    if len(slices) > 2:
        if widths[-1] > 3 * widths[-2]:
            middles[-1] = slices[-1].low + widths[-2]
        if widths[0] > 3 * widths[1]:
            middles[0] = slices[0].high - widths[1]
    return np.array(middles)


def _band(axes: Any, slices: list[Slice]) -> None:
    positions = _positions(slices)
    low, middle, high = np.array([part.reference for part in slices]).T
    axes.fill_between(positions, low, high, color="0.85", label="data")
    axes.plot(positions, middle, color=DATA, linewidth=1.2)
