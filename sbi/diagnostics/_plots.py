"""Pictures of a `Report`: what each kind of curve is, for the functions of `rootml.plot`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rootml import plot

Look = Mapping[str, Any]


def draw(curves: Mapping[str, Any], look: Look) -> dict[str, Any]:
    """All pictures by name, each in a figure of its own: the axes."""
    with plot.many_figures():
        return {
            title: _DRAW[kind](name, content, look)
            for title, (kind, name, content) in curves.items()
        }


def draw_files(curves: Mapping[str, Any], look: Look, folder: Path) -> list[Path]:
    """Write all pictures; their paths, in order."""
    paths: list[Path] = []
    for title, (kind, name, content) in curves.items():
        path = folder / f"{re.sub(r'[^A-Za-z0-9]+', '-', title).strip('-').lower()}.png"
        while path in paths:
            path = path.with_stem(path.stem + "-2")
        plot.write(_DRAW[kind](name, content, look), path)
        paths.append(path)
    return paths


def _calibration(name: str, content: Mapping[str, Any], look: Look) -> Any:
    return plot.calibration(
        content["said"], content["observed"], content["error"], pulls=content["pull"],
        name="r / (1 + r)", what=f"observed fraction of {name}", **look,
    )  # fmt: skip


def _closure(name: str, features: Mapping[str, Any], look: Look) -> Any:
    pairs = plot.panels(len(features), residuals=True)
    written = {"target": name, "start": "reference", **(look["labels"] or {})}
    for pair, (feature, content) in zip(pairs, features.items(), strict=True):
        plot.closure(
            (content["sample"], content["sample error"]),
            {"reference, reweighted": (content["reweighted"], content["reweighted error"])},
            content["edges"], name=feature, what="fraction of events", start=content["reference"],
            ax=pair, **{**look, "labels": written},
        )  # fmt: skip
    return pairs


def _tails(name: str, content: Mapping[str, Any], look: Look) -> Any:
    sample, reference = content["sample"], content["reference"]
    return plot.steps(
        {name: sample, "reference": reference}, content["edges"], name="log r",
        what="fraction of events", log=True, **look,
    )  # fmt: skip


def _alpha(name: str, content: Mapping[str, Any], look: Look) -> Any:
    curves = {name: (content["z"], content["error"])}
    what = r"$Z(\alpha)\,/\,Z(0)$"
    nuisance = name.rpartition(".")[2]
    return plot.band(content["alpha"], curves, name=nuisance, what=what, expected=1.0, **look)


def _pulls(name: str, content: Mapping[str, Any], look: Look) -> Any:
    return plot.toys(content["pulls"], name=name, **look)


def _shifts(name: str, content: Mapping[str, Any], look: Look) -> Any:
    written = (look["labels"] or {}).get(name, name)
    return plot.agreement(
        np.asarray(content["exact"]), np.asarray(content["fit"]),
        name=f"{written}, exact likelihood", what=f"{written}, learned ratios", **look,
    )  # fmt: skip


_DRAW: dict[str, Callable[[str, Mapping[str, Any], Look], Any]] = {
    "alpha": _alpha,
    "calibration": _calibration,
    "closure": _closure,
    "pulls": _pulls,
    "shifts": _shifts,
    "tails": _tails,
}
