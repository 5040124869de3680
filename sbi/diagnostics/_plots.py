"""Pictures of a `Report`, one PNG each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rootml._internal.optional import optional_import

_WIDTH, _HEIGHT = 5.2, 3.9


def draw(curves: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write all pictures; their paths, in order."""
    paths = []
    for title, (kind, name, content) in curves.items():
        figure = _DRAW[kind](name, content)
        path = folder / f"{re.sub(r'[^A-Za-z0-9]+', '-', title).strip('-').lower()}.png"
        while path in paths:
            path = path.with_stem(path.stem + "-2")
        figure.savefig(path, dpi=130)
        paths.append(path)
    return paths


def _figure(rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    module = optional_import("matplotlib.figure", feature="Report.plot", extra="plot")
    size = (_WIDTH * columns, _HEIGHT * rows)
    figure = module.Figure(figsize=options.pop("figsize", size), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _calibration(name: str, content: Mapping[str, Any]) -> Any:
    figure, axes = _figure(
        2, 1, sharex=True, figsize=(_WIDTH, 4.6), gridspec_kw={"height_ratios": [3, 1]}
    )
    top, bottom = axes[:, 0]
    top.plot([0, 1], [0, 1], color="grey", linewidth=1)
    top.errorbar(content["said"], content["observed"], content["error"], fmt="o", markersize=3)
    top.set(ylabel=f"observed fraction of {name}", xlim=(0, 1), ylim=(0, 1))
    bottom.axhline(0, color="grey", linewidth=1)
    bottom.plot(content["said"], content["pull"], "o", markersize=3)
    reach = max(3.5, 1.1 * float(np.abs(content["pull"]).max()))
    bottom.set(xlabel="r / (1 + r)", ylabel="pull", ylim=(-reach, reach))
    return figure


def _closure(name: str, panels: Mapping[str, Any]) -> Any:
    columns = 2 if len(panels) in {2, 4} else min(3, len(panels))
    rows = -(-len(panels) // columns)
    size = (4.2 * columns, 4.2 * rows)
    ratios = [3, 1] * rows
    figure, axes = _figure(2 * rows, columns, figsize=size, gridspec_kw={"height_ratios": ratios})
    for number, (feature, panel) in enumerate(panels.items()):
        row, column = divmod(number, columns)
        _closure_panel(axes[2 * row, column], axes[2 * row + 1, column], name, feature, panel)
    for number in range(len(panels), rows * columns):
        row, column = divmod(number, columns)
        for axis in axes[2 * row : 2 * row + 2, column]:
            axis.set_axis_off()
    return figure


def _closure_panel(
    top: Any, bottom: Any, name: str, feature: str, panel: Mapping[str, Any]
) -> None:
    edges = panel["edges"]
    middle = 0.5 * (edges[1:] + edges[:-1])
    top.stairs(panel["reference"], edges, color="grey", linestyle=":", label="reference")
    top.stairs(panel["reweighted"], edges, color="C0", label="reference, reweighted")
    top.errorbar(
        middle, panel["sample"], panel["sample error"], fmt="k.", markersize=3, label=name
    )
    top.set(ylabel="fraction of events", ylim=(0, None))
    top.margins(x=0)
    top.tick_params(labelbottom=False)
    top.legend(frameon=False, fontsize=7)
    full = (panel["sample"] > 0) & (panel["reweighted"] > 0)
    shown = panel["sample"][full]
    error = np.hypot(
        panel["sample error"][full] / shown,
        panel["reweighted error"][full] / panel["reweighted"][full],
    )
    ratio = panel["reweighted"][full] / shown
    bottom.axhline(1, color="grey", linewidth=1)
    bottom.errorbar(middle[full], ratio, ratio * error, fmt="C0.", markersize=3)
    bottom.set(xlabel=feature, ylabel="ratio", ylim=(0.8, 1.2), xlim=top.get_xlim())


def _tails(name: str, content: Mapping[str, Any]) -> Any:
    figure, axes = _figure()
    axis = axes[0, 0]
    axis.stairs(content["reference"], content["edges"], color="grey", label="reference")
    axis.stairs(content["sample"], content["edges"], color="C0", label=name)
    axis.set(xlabel="log r", ylabel="fraction of events", yscale="log")
    axis.legend(frameon=False)
    return figure


def _alpha(name: str, content: Mapping[str, Any]) -> Any:
    figure, axes = _figure()
    axis = axes[0, 0]
    low, high = content["z"] - content["error"], content["z"] + content["error"]
    axis.fill_between(content["alpha"], low, high, color="C0", alpha=0.3, linewidth=0)
    axis.plot(content["alpha"], content["z"], color="C0")
    axis.axhline(1, color="grey", linewidth=1)
    axis.set(xlabel=name, ylabel=r"$Z(\alpha)\,/\,Z(0)$")
    return figure


def _pulls(name: str, content: Mapping[str, Any]) -> Any:
    figure, axes = _figure()
    axis = axes[0, 0]
    pulls = content["pulls"]
    reach = max(4.0, float(np.abs(pulls).max()))
    bins = int(np.clip(np.sqrt(len(pulls)), 8, 40))
    edges = np.linspace(-reach, reach, bins + 1)
    axis.hist(pulls, edges, histtype="step", color="C0", label=f"{len(pulls)} toys")
    grid = np.linspace(-reach, reach, 200)
    scale = len(pulls) * (edges[1] - edges[0]) / np.sqrt(2 * np.pi)
    axis.plot(grid, scale * np.exp(-0.5 * grid**2), color="grey", label="normal")
    axis.axvline(pulls.mean(), color="C0", linestyle="--", linewidth=1)
    axis.set(xlabel=f"({name} - true) / error", ylabel="toys")
    axis.legend(frameon=False)
    return figure


def _shifts(name: str, content: Mapping[str, Any]) -> Any:
    figure, axes = _figure()
    axis = axes[0, 0]
    exact, fit = content["exact"], content["fit"]
    ends = [min(exact.min(), fit.min()), max(exact.max(), fit.max())]
    axis.plot(ends, ends, color="grey", linewidth=1)
    axis.plot(exact, fit, ".", markersize=3)
    axis.set(xlabel=f"{name}, exact likelihood", ylabel=f"{name}, learned ratios")
    return figure


_DRAW: dict[str, Callable[[str, Mapping[str, Any]], Any]] = {
    "alpha": _alpha,
    "calibration": _calibration,
    "closure": _closure,
    "pulls": _pulls,
    "shifts": _shifts,
    "tails": _tails,
}
