"""Rows with a bar each, as a markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        figure: What was measured.
        value: The figure that the bar is about.
        text: It, with what it was made from.
        bar: The limit, or None for a row that only informs.
        at_most: Whether the bar is an upper limit.
        unit: Written behind the bar, e.g. ``"x"``.
    """

    figure: str
    value: float
    text: str
    bar: float | None = None
    at_most: bool = False
    unit: str = ""

    @property
    def passes(self) -> bool:
        """Whether the figure reaches its bar (a figure without one does)."""
        if self.bar is None:
            return True
        return self.value <= self.bar if self.at_most else self.value >= self.bar

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The row of the table."""
        if self.bar is None:
            return self.figure, self.text, "", ""
        bar = f"{'<=' if self.at_most else '>='} {self.bar:g}{self.unit}"
        return self.figure, self.text, bar, "PASS" if self.passes else "FALLS SHORT"


HEADER = ("figure", "measured", "bar", "")


def table(title: str, rows: Sequence[Row]) -> str:
    """A markdown section with one table, columns aligned for reading as plain text."""
    lines = [HEADER, *(row.cells for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(HEADER))]
    texts = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([f"### {title}", "", texts[0], rule, *texts[1:], ""])
