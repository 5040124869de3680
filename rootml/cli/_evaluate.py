"""`rootml evaluate`: how good a score is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rootml.cli import _datasets as given
from rootml.cli._complete import columns_of
from rootml.cli._output import echo, echo_json, note

EXAMPLES = """\b
Examples:
  rootml evaluate --sample 1=sig.root:Events --sample 0=bkg.root:Events --score dnn
  rootml evaluate test.toml --train train.toml --score dnn --report report.html
  rootml evaluate test.toml --model model.json --by MET_pt --by 'nJet=0,2,4,8'"""


def evaluate(
    files: given.Files = None,
    *,
    score: Annotated[
        str | None,
        typer.Option("--score", metavar="VALUE", help="Column or expression; larger: signal.",
                     autocompletion=columns_of),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="FILE", help="A decision forest, for its score if --score "
                     "is not given, and for what its features do."),
    ] = None,
    train: Annotated[
        list[str] | None,
        typer.Option("--train", metavar="FILE", help="Files or TOML files of the events of the "
                     "training, with the options of the others; repeatable."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="COLUMN[=EDGES]", help="Efficiencies in bins of a column, "
                     "e.g. MET_pt or 'nJet=0,2,4,8'; repeatable."),
    ] = None,
    point: Annotated[
        list[float] | None,
        typer.Option("--point", metavar="NUMBER", help="Signal efficiency of a working point; "
                     "repeatable."),
    ] = None,
    sample: given.SampleOption = None,
    tree: given.Tree = None,
    label: given.Label = None,
    weight: given.Weight = None,
    friends: given.Friends = None,
    define: given.Define = None,
    cut: given.Cut = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write all to one HTML file."),
    ] = None,
    quiet: given.Quiet = False,
    as_json: given.AsJson = False,
) -> None:  # fmt: skip
    """Area under the ROC curve, working points, training beside test.

    Labels are 1 for signal and 0 for background; weights may have any sign.
    """
    from rootml.evaluation import evaluate as run
    from rootml.evaluation._evaluate import DEFAULT_POINTS

    if score is None and model is None:
        message = "give --score COLUMN, or --model FILE of a decision forest."
        raise typer.BadParameter(message)
    same: dict[str, Any] = {
        "tree": tree, "label": label, "weight": weight, "friends": friends or (),
        "define": define or (), "cut": cut or (),
    }  # fmt: skip
    found = run(
        given.Given(files=files or (), sample=sample or (), **same).dataset(),
        score,
        train=given.Given(files=train, **same).dataset() if train else None,
        model=None if model is None else _load(model),
        by=dict(_bins(text) for text in by or []),
        working_points=point or DEFAULT_POINTS,
        progress=False if quiet else None,
    )
    if as_json:
        echo_json(found.to_dict())
    else:
        echo(str(found))
    if report is not None:
        found.report(report)
        note(f"the report is in {report}")


def _load(path: Path) -> Any:
    from rootml import bdt

    return bdt.load(path).compile()


def _bins(text: str) -> tuple[str, list[float] | None]:
    """``COLUMN`` or ``COLUMN=EDGE,EDGE,...``."""
    name, equals, edges = text.partition("=")
    if not equals:
        return text, None
    try:
        return name.strip(), [float(each) for each in edges.split(",")]
    except ValueError:
        message = f"--by {text!r}: expected a column, or edges of bins as 'nJet=0,2,4,8'"
        raise typer.BadParameter(message) from None
