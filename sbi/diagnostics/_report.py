"""`Report`: what diagnostics found, as numbers with a verdict, and as pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from rootml._internal.reprs import Grid, HtmlRepr, Paragraph, Part
from rootml.errors import ConvergenceError
from rootml.plot import Labels, Style


@dataclass(frozen=True)
class Check:
    """One number with its meaning.

    Attributes:
        topic: What kind of check: "calibration", "closure", "normalisation", "tails",
            "shapes", "fits".
        subject: Of which ratio, feature or parameter.
        what: What the number is.
        value: The number.
        error: Its statistical error; None means there is none.
        expected: What it should be; None means there is no right value.
        probability: How often a right ratio would look as bad by chance; None: no test.
        ok: Whether it is as it should be; None: nothing to hold it against.
        remark: What to do about it, if it is not.
        tested: Whether the events were enough to tell; what was not tested has not passed.
        threshold: The check fails if `probability` is not above this; None: no test.
        sees: Smallest bias of the fit, in its sigma, that the check sees in 9 of 10 cases; None:
            no fit was given, or the check is none of ratios. Of a kept shape, the share of its
            constraint that must be noise to be seen.
    """

    topic: str
    subject: str
    what: str
    value: float
    error: float | None = None
    expected: float | None = None
    probability: float | None = None
    ok: bool | None = None
    remark: str = ""
    tested: bool = True
    threshold: float | None = None
    sees: float | None = None

    def row(self) -> tuple[str, ...]:
        """As texts for a table."""
        error = "" if self.error is None else f" +- {self.error:.2g}"
        expected = "" if self.expected is None else f"{self.expected:.5g}"
        chance = "" if self.probability is None else f"{self.probability:.2g}"
        verdict = {None: "", True: "ok", False: "LOOK"}[self.ok] if self.tested else "NOT TESTED"
        sees = "" if self.sees is None else f"{self.sees:.2g}" if self.sees > 1e-3 else "0"
        return (
            self.topic, self.subject, self.what, f"{self.value:.5g}{error}", expected, chance,
            sees, verdict,
        )  # fmt: skip


HEADER = ("topic", "of", "number", "value", "expected", "probability", "sees", "")
_SEES = HEADER.index("sees")

SHIFT = "shift of the fit / sigma"


def _coarse(seen: Sequence[float]) -> list[str]:
    """One line for all checks that do not see small enough biases."""
    if not seen:
        return []
    low, high = min(seen), max(seen)
    ends = f"{low:.2g}" if len(seen) == 1 else f"{low:.2g} to {high:.2g}"
    checks = "1 check sees" if len(seen) == 1 else f"{len(seen)} checks see"
    line = f"{checks} a bias of the fit only from {ends} sigma on"
    return [f"{line}: too few held-out events"]


@dataclass(frozen=True)
class Report(HtmlRepr):
    """What `rootml.sbi.diagnose` found; prints as a table, in notebooks too.

    Attributes:
        checks: All numbers.
        notes: How they were found: which events, how many.
        curves: What the pictures show, by name of the picture.
    """

    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    curves: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that are not as they should be."""
        return tuple(check for check in self.checks if check.ok is False)

    @property
    def untested(self) -> tuple[Check, ...]:
        """The checks for which there were too few events; they have not passed."""
        return tuple(check for check in self.checks if not check.tested)

    @property
    def gaps(self) -> tuple[Check, ...]:
        """The untested checks that matter.

        These are all of them; but where the shift of the fit itself was tested, for all of its
        parameters of interest, a check that is only too coarse leaves no doubt of the fit.
        """
        shifts = [check for check in self.checks if check.what == SHIFT]
        whole = bool(shifts) and all(check.tested for check in shifts)
        return tuple(
            c for c in self.untested if not whole or c.sees is None or c.topic == "shapes"
        )

    def topic(self, name: str) -> tuple[Check, ...]:
        """The checks of one topic."""
        return tuple(check for check in self.checks if check.topic == name)

    def require_ok(self) -> Report:
        """Itself, if no check failed.

        Raises:
            ConvergenceError: Some did; names them.
        """
        if self.failed:
            texts = [f"{c.subject}: {c.what} = {c.value:.4g}" for c in self.failed[:5]]
            message = f"{len(self.failed)} checks of the ratios failed: {'; '.join(texts)}"
            raise ConvergenceError(message)
        return self

    @overload
    def plot(
        self, folder: None = None, *, labels: Labels = None, units: Labels = None,
        style: Style = "plain",
    ) -> dict[str, Any]: ...  # fmt: skip

    @overload
    def plot(
        self, folder: str | os.PathLike[str], *, labels: Labels = None, units: Labels = None,
        style: Style = "plain",
    ) -> list[str]: ...  # fmt: skip

    def plot(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        labels: Labels = None,
        units: Labels = None,
        style: Style = "plain",
    ) -> list[str] | dict[str, Any]:
        """Draw calibration, closure, tails and what else was checked, a picture each.

        Args:
            folder: Write one PNG per picture there; it is made if need be. None: notebooks show
                the pictures.
            labels, units, style: As for all functions of `rootml.plot`.

        Returns:
            The paths; without a folder the axes by name of the picture.
        """
        from rootml.sbi.diagnostics._plots import draw, draw_files

        look: Any = {"labels": labels, "units": units, "style": style}
        if folder is None:
            return draw(self.curves, look)
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        return [str(path) for path in draw_files(self.curves, look, target)]

    def _grid(self) -> Grid:
        rows = [check.row() for check in self.checks]
        if any(row[_SEES] for row in rows):
            return Grid(HEADER, rows, left=3)
        shorter = [(*row[:_SEES], *row[_SEES + 1 :]) for row in rows]
        return Grid((*HEADER[:_SEES], *HEADER[_SEES + 1 :]), shorter, left=3)

    def _remarks(self) -> list[str]:
        return [f"{c.subject}: {c.remark}" for c in self.failed if c.remark]

    def _missing(self) -> list[str]:
        coarse = [c.sees for c in self.untested if c.sees is not None and c.topic != "shapes"]
        others = [c for c in self.untested if c.remark and (c.sees is None or c.topic == "shapes")]
        return [f"{c.subject}: {c.remark}" for c in others] + _coarse(coarse)

    def __str__(self) -> str:
        lines = [str(self._grid()), ""]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"LOOK  {remark}" for remark in dict.fromkeys(self._remarks())]
        lines += [f"NOT TESTED  {remark}" for remark in dict.fromkeys(self._missing())]
        missing = f", {len(self.untested)} not tested" if self.untested else ""
        lines.append(f"{len(self.checks)} checks, {len(self.failed)} to look at{missing}")
        return "\n".join(lines)

    __repr__ = __str__

    def _html_title(self) -> str:
        return "rootml.sbi.Report"

    def _html_parts(self) -> list[Part]:
        notes = [Paragraph(note) for note in self.notes]
        remarks = [Paragraph(each, bold="LOOK") for each in dict.fromkeys(self._remarks())]
        missing = [Paragraph(e, bold="NOT TESTED") for e in dict.fromkeys(self._missing())]
        return [self._grid(), *notes, *remarks, *missing]
