"""`rootml run`: the steps of an analysis file."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rootml._internal.reprs import Grid
from rootml.cli import _datasets as given
from rootml.cli._output import echo, echo_grid, echo_json, styled

if TYPE_CHECKING:
    from rootml.analysis import Analysis, Ended, Planned

EXAMPLES = """\b
Examples:
  rootml run analysis.toml --dry            what would be done, and why
  rootml run analysis.toml                  what is not up to date
  rootml run analysis.toml --only fit
  rootml run analysis.toml --force forest   though it is up to date; all: everything"""


def run(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A TOML file with samples and steps.")
    ],
    *,
    dry: Annotated[bool, typer.Option("--dry", help="Print the plan and do nothing.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="STEP", help="Run no other step; repeatable."),
    ] = None,
    force: Annotated[
        list[str] | None,
        typer.Option("--force", metavar="STEP", help="Run a step though it is up to date, or its "
                     "files were changed by hand; 'all': every step. Repeatable."),
    ] = None,
    quiet: given.Quiet = False,
    as_json: given.AsJson = False,
) -> None:  # fmt: skip
    """Run an analysis: training, scores, ratios, fits, pictures, one report.

    Steps whose files, settings and versions are unchanged are skipped. What
    is finished stays, so the same command goes on after an interruption.
    Exit code 3: something in the report has to be looked at.
    """
    from rootml.analysis import load_analysis

    analysis = load_analysis(file)
    if dry:
        _show_plan(analysis.plan(only=only or (), force=force or ()), as_json=as_json)
        return
    begun = time.monotonic()
    ended = analysis.run(
        only=only or (),
        force=force or (),
        progress=False if quiet else None,
        on_begin=None if as_json else _say_begin,
        on_end=None if as_json else _say_end,
    )
    if as_json:
        echo_json({"steps": [_facts(each) for each in ended], "report": analysis.report})
    else:
        _say_all(analysis, ended, time.monotonic() - begun)
    if any(each.record.outcome["problems"] for each in ended):
        raise typer.Exit(3)


def _show_plan(planned: list[Planned], *, as_json: bool) -> None:
    if as_json:
        echo_json({"steps": [vars(each) for each in planned]})
        return
    rows = [(each.name, each.kind, each.action, each.reason) for each in planned]
    echo_grid(Grid(("step", "kind", "", "why"), rows, left=4))


def _facts(each: Ended) -> dict[str, object]:
    return {
        "name": each.name, "kind": each.kind, "ran": each.ran, "seconds": each.seconds,
        **each.record.outcome, "outputs": list(each.record.outputs),
    }  # fmt: skip


def _say_begin(planned: Planned) -> None:
    sys.stderr.write(f"{planned.name}: running ({planned.reason})\n")
    sys.stderr.flush()


def _say_end(ended: Ended) -> None:
    outcome = ended.record.outcome
    word = styled("LOOK" if outcome["problems"] else "ok")
    how = f"{ended.seconds:.1f} s" if ended.ran else "up to date"
    echo(f"{word}  {ended.name} ({ended.kind}), {how}")
    for name, value in outcome["facts"]:
        echo(f"      {name}: {value}")
    for text in outcome["problems"]:
        echo(f"      {styled('LOOK')}  {text}")
    for text in outcome.get("notes", ()):
        echo(f"      note: {text}")
    sys.stdout.flush()


def _say_all(analysis: Analysis, ended: list[Ended], seconds: float) -> None:
    ran = sum(each.ran for each in ended)
    echo(f"{ran} of {len(ended)} steps ran, {seconds:.1f} s. The report: {analysis.report}")
