"""Rows with a bar each, as a markdown table."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger("benchmarks")


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


def report(
    opening: str, tables: Iterable[tuple[str, Iterable[Row]]], output: Path | None = None
) -> int:
    """Print tables as they are measured, then how many bars were reached.

    Args:
        opening: On what it was measured.
        tables: Title and rows of each; a row is measured when it is asked for.
        output: A file for the same text.

    Returns:
        An exit code: 1 if a figure falls short of its bar.
    """
    sections, rows = [f"{opening}\n"], []
    print(sections[0], flush=True)
    for title, measured in tables:
        found = []
        for row in measured:
            logger.info(" | ".join(row.cells))
            found.append(row)
        rows += found
        sections.append(table(title, found))
        print(sections[-1], flush=True)
    judged = [row for row in rows if row.bar is not None]
    short = [row for row in judged if not row.passes]
    sections.append(f"{len(judged) - len(short)} of {len(judged)} bars reached.\n")
    print(sections[-1])
    if output:
        output.write_text("\n".join(sections), encoding="utf-8")
    return 1 if short else 0
