"""What commands print: results on standard output, everything else on standard error.

With ``--json`` there is one JSON document on standard output and nothing else. JSON has no NaN and
no infinity: they become the texts "NaN", "Infinity" and "-Infinity", which Python's ``float`` and
JavaScript's ``Number`` take (as in the JSON of protocol buffers).

Tables fit the terminal: wide text is folded, and where numbers do not fit side by side, each row
becomes a few lines. What goes into a file or a pipe is never folded nor cut.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import typer

from rootml._internal.jsonable import jsonable
from rootml._internal.reprs import Grid, facts_text

_FOLD = 12
_SHORT = {"sum of weights": "sum w", "cumulative": "of all", "compression": "packing"}
_GAP = 2


def echo(text: str) -> None:
    """Text on standard output."""
    typer.echo(text)


def note(text: str) -> None:
    """A message on standard error."""
    typer.echo(f"note: {text}", err=True)


def echo_json(content: Any) -> None:
    """One JSON document on standard output: indented for people, one line for programs."""
    indent = 2 if sys.stdout.isatty() else None
    typer.echo(json.dumps(jsonable(content), indent=indent, allow_nan=False))


_COLOURS = {"LOOK": "yellow", "NOT TESTED": "yellow", "ok": "green", "error:": "red"}
_VERDICT = re.compile(r"\b(?:LOOK|NOT TESTED)\b|\bok$", re.MULTILINE)


def styled(word: str, *, err: bool = False) -> str:
    """A word of judgement in its colour; as it is where no terminal shows it.

    Args:
        err: It goes to standard error.
    """
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return word
    return typer.style(word, fg=_COLOURS[word], bold=True if word != "ok" else None)


def echo_report(text: str) -> None:
    """A text whose verdicts, LOOK, NOT TESTED and ok, have their colours on a terminal."""
    typer.echo(_VERDICT.sub(lambda match: styled(match.group()), text))


def width() -> int | None:
    """Columns of the terminal; None where standard output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def echo_facts(facts: Sequence[tuple[str, str]]) -> None:
    """``name   value`` lines; long values go on below themselves."""
    columns = width()
    if not facts:
        return
    if columns is None:
        typer.echo(facts_text(facts))
        return
    first = max(len(name) for name, _ in facts) + _GAP
    for name, value in facts:
        room = max(columns - first, 20)
        lines = textwrap.wrap(value, room, break_on_hyphens=False) or [""]
        typer.echo(f"{name:<{first}}{lines[0]}".rstrip())
        for line in lines[1:]:
            typer.echo(f"{'':<{first}}{line}")


def echo_grid(grid: Grid) -> None:
    """A table."""
    columns = width()
    if columns is not None and _least_width(grid) > columns:
        grid = replace(grid, header=tuple(_SHORT.get(name, name) for name in grid.header))
    if columns is None:
        typer.echo(str(grid))
    elif _least_width(grid) <= columns:
        _echo_rich(grid, columns)
    else:
        _echo_records(grid)


def _least_width(grid: Grid) -> int:
    """With text folded to `_FOLD` and numbers whole."""
    table = [grid.header, *grid.rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(grid.header))]
    folded = [min(w, _FOLD) if i < grid.left else w for i, w in enumerate(widths)]
    return sum(folded) + _GAP * (len(folded) - 1)


def _echo_rich(grid: Grid, columns: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for number, name in enumerate(grid.header):
        is_text = number < grid.left
        side = "left" if is_text else "right"
        table.add_column(
            Text(name), justify=side, no_wrap=not is_text, overflow="fold"  # type: ignore[arg-type]
        )  # fmt: skip
    for row in grid.rows:
        table.add_row(*(Text(text) for text in row))
    Console(width=columns, highlight=False).print(table)


def _echo_records(grid: Grid) -> None:
    for row in grid.rows:
        typer.echo(row[0])
        facts = list(zip(grid.header[1:], row[1:], strict=True))
        typer.echo(textwrap.indent(facts_text(facts), "  "))
