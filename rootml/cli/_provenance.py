"""`rootml provenance`: what files say they were made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rootml.cli import _datasets as given
from rootml.cli._output import echo, echo_facts, echo_json

EXAMPLES = """\b
Examples:
  rootml provenance friends/signal.root ratios.onnx
  rootml provenance analysis-output/fit --json"""


def provenance(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Friend trees, skims, ONNX, JSON and PNG files, folders of steps.",
        ),
    ],
    *,
    as_json: given.AsJson = False,
) -> None:
    """What files that rootml wrote were made from: inputs, versions, seed, commit.

    Exit code 1 if a file says nothing about it.
    """
    from rootml.analysis import provenance as read

    found = {str(path): read(path) for path in paths}
    if as_json:
        echo_json(found)
    for path, facts in {} if as_json else found.items():
        echo_facts([("file", path), *_lines(facts)])
        echo("")
    silent = [path for path, facts in found.items() if not facts]
    for path in silent:
        typer.echo(f"error: {path} says nothing about its making", err=True)
    if silent:
        raise typer.Exit(1)


def _lines(facts: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """One line for each fact: what lies deeper has the names above it in front."""
    for key, value in facts.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and value:
            yield from _lines(value, f"{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield (
                name,
                f"{len(value)}: " + ", ".join(str(each.get("path", each)) for each in value),
            )
        else:
            yield (name, "-" if value is None or value == "" else str(value))
