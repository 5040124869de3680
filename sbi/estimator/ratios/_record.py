"""`TrainingRecord`: samples, losses and norms of a training; saved with the ratios."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rootml._internal.reprs import Grid, HtmlRepr, Paragraph, Part
from rootml.sbi.estimator.inputs._samples import Sums
from rootml.sbi.estimator.inputs._shape_decision import ShapeDecision
from rootml.sbi.estimator.training._training import History


@dataclass(frozen=True)
class Norm:
    """The mean ratio under the reference, over held-out events.

    Attributes:
        mean: E_ref[r]; 1 for normalised densities. Few events dominate it if the signal lies in
            the tails of the reference; compare with `error`.
        error: Its statistical error.
        gain: Twice the increase of the log-likelihood by a calibration curve.
        calibrated: Whether the curve is used.
    """

    mean: float
    error: float
    gain: float
    calibrated: bool


@dataclass(frozen=True)
class TrainingRecord(HtmlRepr):
    """Samples, losses and norms of a training.

    Attributes:
        sums: The weights of each density.
        histories: The losses of each network.
        norms: E_ref[r] and calibration of each ratio.
        shapes: For each nuisance of each process, whether its shape was kept.
        seconds: Wall time of the training.
        notes: What users should know, in words.
        ranges: Lowest and highest value of each input over all training events, by name; empty:
            not known.
    """

    sums: Mapping[str, Sums]
    histories: tuple[History, ...] = ()
    norms: Mapping[str, Norm] = field(default_factory=dict)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    shapes: tuple[ShapeDecision, ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain numbers."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> TrainingRecord:
        """The inverse of `to_json`."""
        return cls(
            {name: Sums(**each) for name, each in given["sums"].items()},
            tuple(
                History(**{**h, "train": tuple(h["train"]), "held_out": tuple(h["held_out"])})
                for h in given["histories"]
            ),
            {name: Norm(**each) for name, each in given["norms"].items()},
            given["seconds"],
            tuple(given["notes"]),
            tuple(
                ShapeDecision(**{**each, "parts": tuple(each["parts"])})
                for each in given["shapes"]
            ),
            {name: (low, high) for name, (low, high) in given.get("ranges", {}).items()},
        )

    def sums_grid(self) -> Grid:
        """The weights of the samples."""
        rows = [
            (
                name, f"{s.events:,}", f"{s.sumw:.6g}", f"{s.effective_events:,.0f}",
                f"{100 * s.negative_fraction:.1f} %",
            )
            for name, s in self.sums.items()
        ]  # fmt: skip
        return Grid(("sample", "events", "sum of weights", "effective", "negative"), rows)

    def norms_grid(self) -> Grid:
        """Norms and calibration."""
        rows = [
            (
                name, f"{n.mean:.4f} +- {n.error:.4f}", f"{n.gain:.1f}",
                "curve" if n.calibrated else "as it is",
            )
            for name, n in self.norms.items()
        ]  # fmt: skip
        return Grid(("ratio", "mean under reference", "gain of a curve", "calibration"), rows)

    def shapes_grid(self) -> Grid:
        """Decisions on the shapes of nuisances; sizes in percent."""
        rows = [
            (
                s.process, s.nuisance, "kept" if s.kept else "dropped", f"{s.significance:.1f}",
                f"{s.gain:.1f} +- {s.gain_error:.1f}", f"{100 * s.size:.2f} %",
                f"{100 * s.missed:.2f} %",
            )
            for s in self.shapes
        ]  # fmt: skip
        header = ("process", "nuisance", "shape", "significance", "gain", "size", "could miss")
        return Grid(header, rows, left=3)

    def losses_grid(self) -> Grid:
        """Losses of the networks."""
        rows = [
            (
                str(number + 1), str(len(h.train)), f"{h.steps:,}", f"{h.train[-1]:.5f}",
                f"{h.held_out[h.best]:.5f}" if h.held_out else "-",
            )
            for number, h in enumerate(self.histories)
        ]  # fmt: skip
        return Grid(("network", "epochs", "steps", "loss", "held out"), rows)

    def grids(self) -> list[Grid]:
        """All grids that have rows."""
        return [
            grid
            for grid in (
                self.sums_grid(), self.losses_grid(), self.norms_grid(), self.shapes_grid()
            )
            if grid.rows
        ]  # fmt: skip

    def __str__(self) -> str:
        texts = [str(grid) for grid in self.grids()]
        texts += [f"note: {note}" for note in self.notes]
        return "\n\n".join(texts)

    __repr__ = __str__

    def _html_parts(self) -> Iterable[Part]:
        return [*self.grids(), *(Paragraph(note) for note in self.notes)]
