"""Figures by matplotlib: likelihood along a parameter, contours, pulls, impacts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.atomic import check_target
from rootml._internal.optional import optional_import
from rootml.sbi.likelihood._model import Nuisance

if TYPE_CHECKING:
    from rootml.sbi.inference._fit import FitResult
    from rootml.sbi.inference._impacts import Impacts
    from rootml.sbi.inference._scan import Contour, Profile


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


def profile(scan: Profile) -> Any:
    """t along a parameter."""
    made, axes = figure()
    order = np.argsort(scan.values)
    axes.plot(scan.values[order], scan.t[order], color="C0")
    for level, label in ((1.0, "68 %"), (4.0, "95 %")):
        if np.nanmax(scan.t) > 0.5 * level:
            axes.axhline(level, color="grey", linestyle=":", linewidth=1)
            axes.annotate(label, (1.0, level), xycoords=("axes fraction", "data"), fontsize=8)
    axes.axvline(scan.best, color="C0", linestyle="--", linewidth=1)
    axes.set(xlabel=scan.name, ylabel=r"$-2\,\ln\,L/L_{max}$", ylim=(0, None))
    return made


def contour(found: Contour) -> Any:
    """Curves in the plane of two parameters."""
    made, axes = figure(height=4.4)
    for style, (level, curve) in zip(("-", "--", ":", "-."), found.curves.items(), strict=False):
        closed = np.vstack([curve, curve[:1]])
        axes.plot(closed[:, 0], closed[:, 1], style, color="C0", label=f"{100 * level:.0f} %")
    axes.plot(*found.best, "+", color="black", label="best fit")
    axes.set(xlabel=found.x, ylabel=found.y)
    axes.legend(frameon=False)
    return made


def pulls(result: FitResult) -> Any:
    """(fitted - auxiliary measurement) / width of the Gaussian nuisances, with their errors."""
    shown: Mapping[str, Nuisance] = {
        name: p
        for name, p in result.like.parameters.items()
        if isinstance(p, Nuisance) and p.constraint == "gaussian" and name not in result.fixed
    }
    made, axes = figure(height=1.2 + 0.28 * max(len(shown), 2))
    places = np.arange(len(shown))[::-1]
    centre = [(result.values[k] - result.like.observed[k]) / p.width for k, p in shown.items()]
    width = [result.errors[k] / p.width for k, p in shown.items()]
    axes.axvspan(-1.0, 1.0, color="C2", alpha=0.2, linewidth=0)
    axes.axvline(0.0, color="grey", linewidth=1)
    axes.errorbar(centre, places, xerr=width, fmt="o", color="black", markersize=4)
    axes.set_yticks(places, list(shown))
    axes.set(xlabel="(fit - auxiliary) / width", xlim=(-2.5, 2.5))
    return made


def impacts(found: Impacts, most: int = 20) -> Any:
    """Shifts of the parameter of interest by each nuisance, greatest first."""
    rows = found.rows[:most]
    made, axes = figure(height=1.2 + 0.28 * max(len(rows), 2))
    places = np.arange(len(rows))[::-1]
    axes.barh(places, [row.up for row in rows], color="C0", label=r"$+1\,\sigma$", height=0.7)
    axes.barh(places, [row.down for row in rows], color="C1", label=r"$-1\,\sigma$", height=0.7)
    axes.axvline(0.0, color="grey", linewidth=1)
    axes.set_yticks(places, [row.nuisance for row in rows])
    axes.set(xlabel=f"shift of {found.name}")
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
