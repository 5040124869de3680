"""`rootml sbi fit|limit|diagnose`: fits of saved models, and tests of learned ratios."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rootml._internal.progress import working
from rootml.cli import _datasets as given
from rootml.cli._output import echo, echo_json, echo_report, note
from rootml.errors import UsageError

if TYPE_CHECKING:
    from rootml.sbi import Fittable

_EXAMPLES = """\b
Examples:
  rootml sbi fit model.json --minos mu --impacts mu --plots pictures/
  rootml sbi limit model.json mu --level 0.9
  rootml sbi diagnose ratios.onnx --sample 'S=sig_*.root:Events' --sample B=bkg.toml
  rootml sbi diagnose ratios.onnx --sample S=sig.toml --sample B=bkg.toml --fit model.json"""

sbi = typer.Typer(
    name="sbi",
    epilog=_EXAMPLES,
    help="Likelihood ratios: fits, limits, diagnostics.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ModelFile = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model file written by rootml.sbi.save.")
]


@sbi.command("fit")
def fit(
    model: ModelFile,
    *,
    fix: Annotated[
        list[str] | None,
        typer.Option(
            "--fix", metavar="NAME=VALUE", help="Hold a parameter, e.g. mu=1; repeatable."
        ),
    ] = None,
    minos: Annotated[
        list[str] | None,
        typer.Option("--minos", metavar="NAME", help="Also the interval of a parameter."),
    ] = None,
    impacts: Annotated[
        str | None,
        typer.Option("--impacts", metavar="NAME", help="Also what each nuisance does to it."),
    ] = None,
    plots: Annotated[
        Path | None, typer.Option("--plots", metavar="FOLDER", help="Folder for pictures.")
    ] = None,
    as_json: given.AsJson = False,
) -> None:
    """Fit the data of a model file. Exit code 1 if there is no valid minimum."""
    from rootml.sbi import fit as run

    held = dict(_assignment(text) for text in fix or [])
    with working("fitting"):
        result = run(_likelihood(model), fixed=held)
    found: dict[str, Any] = {
        "valid": result.valid, "values": result.values, "errors": result.errors,
        "covariance": result.covariance.tolist(), "nll": result.nll,
        "problems": result.problems, "at_limit": result.at_limit, "fixed": result.fixed,
    }  # fmt: skip
    lines = [repr(result)]
    if result.valid:
        with working("intervals"):
            found["minos"] = {name: result.minos(name) for name in minos or []}
        lines += [f"{name} in [{low:.6g}, {high:.6g}]" for name, (low, high) in
                  found["minos"].items()]  # fmt: skip
        if impacts is not None:
            lines.append(repr(_impacts(result, impacts, found, plots)))
        if plots is not None:
            _pictures(result, minos or [], plots)
    if as_json:
        echo_json(found)
    else:
        echo("\n".join(lines))
    result.require_valid()


def _impacts(result: Any, name: str, found: dict[str, Any], plots: Path | None) -> Any:
    from rootml.sbi import impacts

    table = impacts(result, name)
    found["impacts"] = {row.nuisance: [row.up, row.down] for row in table.rows}
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        table.plot(path=plots / f"impacts-{name}.png")
    return table


def _pictures(result: Any, names: list[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if any(
        getattr(each, "constraint", "") == "gaussian" and name not in result.fixed
        for name, each in result.like.parameters.items()
    ):
        result.plot(path=folder / "pulls.png")
    for name in names:
        result.plot(name, path=folder / f"profile-{name}.png")


@sbi.command("limit")
def limit(
    model: ModelFile,
    parameter: Annotated[
        str, typer.Argument(metavar="PARAMETER", help="The parameter of interest.")
    ],
    *,
    level: Annotated[float, typer.Option(metavar="NUMBER", help="Confidence level.")] = 0.95,
    as_json: given.AsJson = False,
) -> None:
    """The upper limit on a parameter by CLs, observed and expected (asymptotic)."""
    from rootml.sbi import limit as run

    with working("fitting"):
        found = run(_likelihood(model), parameter, level=level)
    facts = {"observed": found.observed, "expected": list(found.expected), "level": level}
    if as_json:
        echo_json(facts)
    else:
        echo(repr(found))


@sbi.command("diagnose")
def diagnose(
    ratios: Annotated[
        Path, typer.Argument(metavar="RATIOS", help="The ONNX file of a ratio estimator.")
    ],
    *,
    sample: Annotated[
        list[str],
        typer.Option("--sample", metavar="NAME=FILES",
                     help="Events it has not seen, NAME=FILES, e.g. "
                     "'S=sig_*.root:Events' or S=sig.toml; repeat for more."),
    ],
    weight: Annotated[
        str | None, typer.Option("--weight", metavar="VALUE", help="Branch, number or expression.")
    ] = None,
    tree: given.Tree = None,
    define: given.Define = None,
    cut: given.Cut = None,
    fit: Annotated[Path | None, typer.Option("--fit", metavar="MODEL",
                                             help="The likelihood that the ratios are for, as "
                                             "rootml.sbi.save writes it: every check says the "
                                             "smallest bias of its fit that it sees.")] = None,
    plots: Annotated[Path | None, typer.Option("--plots", metavar="FOLDER",
                                               help="Folder for pictures.")] = None,
    classifier: Annotated[
        bool, typer.Option(help="Train a second classifier as a test.")
    ] = True,
    as_json: given.AsJson = False,
) -> None:  # fmt: skip
    """Test learned ratios on other events.

    Exit code 1: a check failed; 3: none failed, but something that matters was not tested.
    """
    from rootml.sbi import RatioEstimator
    from rootml.sbi import diagnose as run

    samples = {}
    for text in sample:
        name, files = given.assignment(text, "--sample", "S=sig_*.root:Events")
        samples[name] = given.Given(
            files=[files], tree=tree, weight=weight, define=define or (), cut=cut or ()
        ).dataset()
    like = None if fit is None else _likelihood(fit)
    with working("testing"):
        report = run(RatioEstimator.load(ratios), samples, fit=like, classifier=classifier)
    if plots is not None:
        report.plot(plots)
        note(f"pictures are in {plots}")
    if as_json:
        rows = [
            {
                "topic": c.topic, "of": c.subject, "number": c.what,
                "value": c.value if math.isfinite(c.value) else None,
                "ok": c.ok, "tested": c.tested,
                "sees": c.sees if c.sees is None or math.isfinite(c.sees) else None,
            }
            for c in report.checks
        ]  # fmt: skip
        echo_json({"checks": rows, "ok": not report.failed and not report.gaps})
    else:
        echo_report(str(report))
    report.require_ok()
    if report.gaps:
        raise typer.Exit(3)


def _likelihood(path: Path) -> Fittable:
    from rootml.sbi import Model, load

    found = load(path)
    if isinstance(found, Model):
        message = (
            f"{path} holds a model without data; save a likelihood: "
            "rootml.sbi.save(model.likelihood(columns), ...)"
        )
        raise UsageError(message)
    return found  # type: ignore[no-any-return]


def _assignment(text: str) -> tuple[str, float]:
    name, value = given.assignment(text, "--fix", "mu=1")
    try:
        return name, float(value)
    except ValueError as error:
        message = f"--fix {text!r}: {value!r} is not a number"
        raise typer.BadParameter(message) from error
