"""Figures by matplotlib, of plain arrays: profiles, contours, pulls, impacts, limits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rootml._internal.atomic import check_target
from rootml._internal.optional import optional_import
from rootml.sbi.likelihood._interpolation import Array


def figure(*, height: float = 3.8, width: float = 5.2) -> tuple[Any, Any]:
    """A figure with one pair of axes, without touching pyplot's state or a screen."""
    module = optional_import("matplotlib.figure", feature="plots of sbi", extra="plot")
    made = module.Figure(figsize=(width, height), layout="constrained")
    return made, made.add_subplot()


def finish(made: Any, path: Any) -> Any:
    """Write `made` to `path`, or a stream, if there is one."""
    if path is not None:
        target = check_target(path) if isinstance(path, (str, os.PathLike)) else path
        made.savefig(target, dpi=150)
    return made


def profile(name: str, values: Array, t: Array, *, best: float) -> Any:
    """``t = -2 log L / L_max`` along a parameter, ``(point,)`` both."""
    made, axes = figure()
    order = np.argsort(values)
    axes.plot(values[order], t[order], color="C0")
    for level, label in ((1.0, "68 %"), (4.0, "95 %")):
        if np.nanmax(t) > 0.5 * level:
            axes.axhline(level, color="grey", linestyle=":", linewidth=1)
            axes.annotate(label, (1.0, level), xycoords=("axes fraction", "data"), fontsize=8)
    axes.axvline(best, color="C0", linestyle="--", linewidth=1)
    axes.set(xlabel=name, ylabel=r"$-2\,\ln\,L/L_{max}$", ylim=(0, None))
    return made


def contour(x: str, y: str, curves: Mapping[float, Array], *, best: tuple[float, float]) -> Any:
    """Curves ``(point, 2)`` in the plane of two parameters, by confidence level."""
    made, axes = figure(height=4.4)
    for style, (level, curve) in zip(("-", "--", ":", "-."), curves.items(), strict=False):
        closed = np.vstack([curve, curve[:1]])
        axes.plot(closed[:, 0], closed[:, 1], style, color="C0", label=f"{100 * level:.0f} %")
    axes.plot(*best, "+", color="black", label="best fit")
    axes.set(xlabel=x, ylabel=y)
    axes.legend(frameon=False)
    return made


def pulls(names: Sequence[str], values: Sequence[float], errors: Sequence[float]) -> Any:
    """(fitted - auxiliary measurement) / width of nuisances, with their errors in widths."""
    made, axes = figure(height=1.2 + 0.28 * max(len(names), 2))
    rows = np.arange(len(names))[::-1]
    axes.axvspan(-1.0, 1.0, color="C2", alpha=0.2, linewidth=0)
    axes.axvline(0.0, color="grey", linewidth=1)
    axes.errorbar(values, rows, xerr=errors, fmt="o", color="black", markersize=4)
    axes.set_yticks(rows, list(names))
    axes.set(xlabel="(fit - auxiliary) / width", xlim=(-2.5, 2.5))
    return made


def impacts(
    name: str, nuisances: Sequence[str], up: Sequence[float], down: Sequence[float]
) -> Any:
    """Shifts of the parameter `name` by each nuisance at plus and minus one deviation."""
    made, axes = figure(height=1.2 + 0.28 * max(len(nuisances), 2))
    rows = np.arange(len(nuisances))[::-1]
    axes.barh(rows, up, color="C0", label=r"$+1\,\sigma$", height=0.7)
    axes.barh(rows, down, color="C1", label=r"$-1\,\sigma$", height=0.7)
    axes.axvline(0.0, color="grey", linewidth=1)
    axes.set_yticks(rows, list(nuisances))
    axes.set(xlabel=f"shift of {name}")
    axes.legend(frameon=False, fontsize=8)
    return made


def limit(values: Any, curves: Mapping[str, Any], *, name: str, line: float) -> Any:
    """CLs along a parameter: observed, expected, and their bands."""
    made, axes = figure()
    for width, colour in ((2, "#FFDF7F"), (1, "#85D1FB")):
        low, high = curves[f"expected-{width}"], curves[f"expected+{width}"]
        axes.fill_between(values, low, high, color=colour, label=rf"$\pm{width}\,\sigma$")
    axes.plot(values, curves["expected"], "--", color="black", label="expected")
    axes.plot(values, curves["observed"], "-", color="black", label="observed")
    axes.axhline(line, color="red", linewidth=1)
    axes.set(xlabel=name, ylabel=r"$CL_s$", ylim=(0, 1))
    axes.legend(frameon=False, fontsize=8)
    return made
