"""`rootml sbi fit|limit|diagnose`: fits of saved models, and tests of learned ratios."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rootml.errors import UsageError

if TYPE_CHECKING:
    from rootml.sbi import Likelihood

sbi = typer.Typer(
    name="sbi",
    help="Likelihood ratios: fits, limits, diagnostics.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ModelFile = Annotated[Path, typer.Argument(help="A model file written by rootml.sbi.save.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@sbi.command("fit")
def fit(
    model: ModelFile,
    *,
    fix: Annotated[
        list[str] | None, typer.Option("--fix", help="Hold a parameter, e.g. mu=1; repeatable.")
    ] = None,
    minos: Annotated[
        list[str] | None, typer.Option("--minos", help="Also the interval of a parameter.")
    ] = None,
    impacts: Annotated[
        str | None, typer.Option("--impacts", help="Also what each nuisance does to it.")
    ] = None,
    plots: Annotated[Path | None, typer.Option("--plots", help="Folder for pictures.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fit the data of a model file. Exit code 1 if there is no valid minimum."""
    from rootml.sbi import fit as run

    result = run(_likelihood(model), fixed=dict(_assignment(text) for text in fix or []))
    found: dict[str, Any] = {
        "valid": result.valid, "values": result.values, "errors": result.errors,
        "covariance": result.covariance.tolist(), "nll": result.nll,
        "problems": result.problems, "at_limit": result.at_limit, "fixed": result.fixed,
    }  # fmt: skip
    lines = [repr(result)]
    if result.valid:
        found["minos"] = {name: result.minos(name) for name in minos or []}
        lines += [f"{name} in [{low:.6g}, {high:.6g}]" for name, (low, high) in
                  found["minos"].items()]  # fmt: skip
        if impacts is not None:
            lines.append(repr(_impacts(result, impacts, found, plots)))
        if plots is not None:
            _pictures(result, minos or [], plots)
    typer.echo(json.dumps(found) if as_json else "\n".join(lines))
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
    result.plot(path=folder / "pulls.png")
    for name in names:
        result.plot(name, path=folder / f"profile-{name}.png")


@sbi.command("limit")
def limit(
    model: ModelFile,
    parameter: Annotated[str, typer.Argument(help="The parameter of interest.")],
    *,
    level: Annotated[float, typer.Option(help="Confidence level.")] = 0.95,
    as_json: AsJson = False,
) -> None:
    """The upper limit on a parameter by CLs, observed and expected (asymptotic)."""
    from rootml.sbi import limit as run

    found = run(_likelihood(model), parameter, level=level)
    facts = {"observed": found.observed, "expected": list(found.expected), "level": level}
    typer.echo(json.dumps(facts) if as_json else repr(found))


@sbi.command("diagnose")
def diagnose(
    ratios: Annotated[Path, typer.Argument(help="The ONNX file of a ratio estimator.")],
    *,
    sample: Annotated[
        list[str],
        typer.Option("--sample", help="Events it has not seen, NAME=FILES, e.g. "
                     "'S=sig_*.root:Events'; repeat for more."),
    ],
    weight: Annotated[
        str | None, typer.Option("--weight", help="Branch, number or expression.")
    ] = None,
    cut: Annotated[str | None, typer.Option("--cut", help="Selection of events.")] = None,
    plots: Annotated[Path | None, typer.Option("--plots", help="Folder for pictures.")] = None,
    classifier: Annotated[
        bool, typer.Option(help="Train a second classifier as a test.")
    ] = True,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Test learned ratios on other events. Exit code 1 if a check failed."""
    import rootml
    from rootml.sbi import RatioEstimator
    from rootml.sbi import diagnose as run

    samples = {}
    for text in sample:
        name, files = _split(text, "--sample S=sig_*.root:Events")
        data = rootml.open(files, weight=weight)
        samples[name] = data if cut is None else data.filter(cut)
    report = run(RatioEstimator.load(ratios), samples, classifier=classifier)
    if plots is not None:
        report.plot(plots)
    if as_json:
        rows = [
            {"topic": c.topic, "of": c.subject, "number": c.what, "value": c.value, "ok": c.ok}
            for c in report.checks
        ]
        typer.echo(json.dumps(rows))
    else:
        typer.echo(str(report))
    report.require_ok()


def _likelihood(path: Path) -> Likelihood:
    from rootml.sbi import Likelihood, load

    found = load(path)
    if not isinstance(found, Likelihood):
        message = (
            f"{path} holds a model without data; save a likelihood: "
            "rootml.sbi.save(model.likelihood(columns), ...)"
        )
        raise UsageError(message)
    return found


def _assignment(text: str) -> tuple[str, float]:
    name, value = _split(text, "--fix mu=1")
    try:
        return name, float(value)
    except ValueError as error:
        message = f"{value!r} in {text!r} is no number"
        raise UsageError(message) from error


def _split(text: str, example: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        message = f"{text!r} is not of the form {example}"
        raise UsageError(message)
    return name, value
