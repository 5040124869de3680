"""Pictures of comparisons by `rootml.plot`: features with ratios, correlations, ROC, profiles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml import plot
from rootml._internal.types import Float
from rootml.sbi.morphing.validation._slices import Slice
from rootml.sbi.morphing.validation._two_sample import TwoSample
from rootml.sbi.morphing.validation._validate_compare import Comparison

Look = Mapping[str, Any]
Picture = Callable[[], Any]


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


def draw(results: Results, look: Look) -> dict[str, Any]:
    """All pictures by name, each in a figure of its own: the axes."""
    with plot.many_figures():
        return {name: picture() for name, picture in _pictures(results, look)}


def draw_files(results: Results, look: Look, folder: Path) -> list[str]:
    """Write all pictures; their paths, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, picture in _pictures(results, look):
        path = folder / f"{name}.png"
        plot.write(picture(), path)
        paths.append(str(path))
    return paths


def _pictures(results: Results, look: Look) -> Iterator[tuple[str, Picture]]:
    """Names of the files without suffix, and what draws each."""
    for j, name in enumerate(file_names([f"feature_{name}" for name in results.features])):
        yield name, partial(_feature, results, j, look)
    yield "correlations", partial(_correlations, results, look)
    yield "roc", partial(_roc, results, look)
    names = file_names([f"profile_{name}" for name in results.conditions])
    for name, condition in zip(names, results.conditions, strict=True):
        yield name, partial(_profiles, results, condition, look)


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


def _data(look: Look, texts: Mapping[str, str]) -> dict[str, Any]:
    """The look, with these names in the legend where the user has not said others."""
    return {**look, "labels": {"target": "data", **texts, **(look["labels"] or {})}}


def _feature(results: Results, number: int, look: Look) -> Any:
    shown = {name: each.features[number] for name, each in results.samples.items()}
    first = next(iter(shown.values())).histogram
    texts = {
        name: f"{name}: χ²/ndf {each.chi_square.per_ndf:.2f}, KS {each.ks.value:.4f}"
        for name, each in shown.items()
    }
    return plot.closure(
        (first.reference, first.reference_error),
        {name: (e.histogram.sample, e.histogram.sample_error) for name, e in shown.items()},
        first.edges, name=results.features[number], below="ratio", log=None,
        what="fraction per bin (overflow in the outer ones)", **_data(look, texts),
    )  # fmt: skip


def _correlations(results: Results, look: Look) -> Any:
    columns = (*results.features, *results.conditions)
    axes = plot.panels(1 + len(results.samples), size=2.6 + 0.42 * max(3, len(columns)))
    plot.correlation(
        columns, results.correlations, ax=axes[0], title="correlation in data", **look
    )
    differences = {name: each.correlations for name, each in results.samples.items()}
    largest = max(float(np.abs(each).max()) for each in differences.values())
    for ax, (name, each) in zip(axes[1:], differences.items(), strict=True):
        mean = 100 * results.samples[name].correlation_differences.mean()
        title = f"correlation, {name} $-$ data, mean {mean:.2f}"
        plot.correlation(columns, each, reach=max(largest, 0.01), ax=ax, title=title, **look)
    return axes


def _roc(results: Results, look: Look) -> Any:
    tests = {name: each.classifier for name, each in results.samples.items()}
    tests |= {
        name: test
        for name, test in (
            ("conditions alone", results.conditions_only),
            ("data against data", results.floor),
        )
        if test is not None
    }
    texts = {
        "signal efficiency": "simulation accepted",
        "background efficiency": "data accepted",
        **{name: f"{name} (AUC {t.auc:.4f} ± {t.error:.4f})" for name, t in tests.items()},
    }
    curves = {name: (t.efficiency_sample, t.efficiency_reference) for name, t in tests.items()}
    return plot.roc(curves, **_data(look, texts))


def _profiles(results: Results, condition: str, look: Look) -> Any:
    axes = plot.panels(len(results.features))
    for ax, feature in zip(axes, results.features, strict=True):
        _profile(ax, results, condition, feature, look)
    return axes


def _profile(ax: Any, results: Results, condition: str, feature: str, look: Look) -> None:
    slices = {
        name: [p for p in each.slices if (p.condition, p.feature) == (condition, feature)]
        for name, each in results.samples.items()
    }
    first = next(iter(slices.values()))
    samples = {name: _columns([part.sample for part in each]) for name, each in slices.items()}
    target = _columns([part.reference for part in first])
    texts = {"target": "data: median, central 68 %"}
    plot.quantiles(
        _positions(first), samples, target=target, name=condition, what=feature, ax=ax,
        **_data(look, texts),
    )  # fmt: skip


def _columns(rows: Sequence[tuple[float, float, float]]) -> tuple[Float, Float, Float]:
    low, middle, high = np.array(rows, np.float64).T
    return low, middle, high


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
