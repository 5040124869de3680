"""A picture: data over simulation, or histograms of samples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rootml import plot
from rootml.analysis._settings import edges, flag, numbers, setting, table, text, texts
from rootml.analysis._step import Context, Outcome, Selecting
from rootml.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Histogram(Selecting):
    """Histograms of a column, filled with weights and errors; numbers go to a JSON file.

    Attributes:
        column: A column or an expression; of lists each element counts.
        samples: Simulation, stacked if there are data.
        data: A sample; none: no ratio panel.
        bins: Number of bins, or their edges.
        range: Where the bins begin and end, with a number of bins.
        log: A logarithmic scale.
        density: Scale each to area 1; without data.
        labels: How names are written, e.g. ``{ mjj = "$m_{jj}$" }``.
        units: Units of columns.
        style: "plain", "CMS" or "ATLAS", with text; see `rootml.plot`.
    """

    kind: ClassVar[str] = "histogram"

    column: str = setting(text)
    samples: tuple[str, ...] = setting(texts)
    data: str | None = setting(text, None)
    bins: int | tuple[float, ...] = setting(edges, 40)
    range: tuple[float, ...] | None = setting(numbers, None)
    log: bool = setting(flag, False)
    density: bool = setting(flag, False)
    labels: dict[str, str] = setting(table(text), {})
    units: dict[str, str] = setting(table(text), {})
    style: str = setting(text, "plain")

    def __post_init__(self) -> None:
        if self.range is not None and len(self.range) != 2:
            message = f"range={list(self.range)}: expected two numbers, [low, high]"
            raise UsageError(message)
        if isinstance(self.bins, int) and self.range is None:
            message = f"bins={self.bins}: give range = [low, high], or the edges of the bins"
            raise UsageError(message)
        if self.density and self.data is not None:
            message = "density = true is for samples without data"
            raise UsageError(message)

    def sample_names(self) -> tuple[str, ...]:
        return self.samples if self.data is None else (*self.samples, self.data)

    def texts(self) -> tuple[str, ...]:
        return (self.column,) if self.cut is None else (self.column, self.cut)

    def run(self, context: Context) -> Outcome:
        filled = {name: self._fill(name, context) for name in self.sample_names()}
        look: Any = {"labels": self.labels, "units": self.units, "style": self.style,
                     "log": self.log}  # fmt: skip
        simulation = {name: filled[name] for name in self.samples}
        if self.data is None:
            axes = plot.hist(simulation, density=self.density, **look)
        else:
            axes = plot.data_mc(filled[self.data], simulation, **look)
        context.picture("histogram", axes)
        context.json("histogram.json", {name: _numbers(each) for name, each in filled.items()})
        facts = [(name, f"{each.sum(flow=True).value:.6g}") for name, each in filled.items()]
        return Outcome([("column", self.column), *facts])

    def _fill(self, name: str, context: Context) -> Any:
        (data,) = context.data([name], friends=self.friends, cut=self.cut)
        limits: Any = self.range
        bins: Any = self.bins
        return data.hist(
            self.column, bins=bins, range=limits, by_label=False, progress=context.progress
        )

    def open(self, folder: Path) -> Any:
        """Edges, contents, errors, and what is outside, by sample, as a dict."""
        found = json.loads((folder / "histogram.json").read_text(encoding="utf-8"))
        found.pop("provenance")
        return found


def _numbers(histogram: Any) -> dict[str, Any]:
    below, *_, above = histogram.values(flow=True)
    variances = histogram.variances()
    return {
        "edges": histogram.axes[0].edges,
        "contents": histogram.values(),
        "errors": np.sqrt(histogram.values() if variances is None else variances),
        "underflow": float(below),
        "overflow": float(above),
    }
