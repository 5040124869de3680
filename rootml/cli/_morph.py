"""`rootml morph fit|apply|validate`: carry simulation onto data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rootml.dataset import Dataset

morph = typer.Typer(
    name="morph",
    help="Flows that carry simulation onto data.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Sim = Annotated[
    list[str], typer.Option("--sim", help="Simulation, e.g. 'mc_*.root:Events'; may be repeated.")
]
Data = Annotated[list[str], typer.Option("--data", help="Data, as --sim; may be repeated.")]
Cut = Annotated[str | None, typer.Option("--cut", help="Selection of events, e.g. 'nPhoton > 0'.")]
SimWeight = Annotated[
    str | None, typer.Option("--sim-weight", help="Branch, number or expression.")
]
DataWeight = Annotated[str | None, typer.Option("--data-weight", help="The same of the data.")]
Model = Annotated[Path, typer.Argument(help="File written by `rootml morph fit`.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@morph.command("fit")
def fit(
    model: Annotated[Path, typer.Argument(help="File to write.")],
    *,
    sim: Sim,
    data: Data,
    feature: Annotated[
        list[str], typer.Option("--feature", "-f", help="Branch to correct; repeat for more.")
    ],
    condition: Annotated[
        list[str],
        typer.Option("--condition", "-c", help="Branch that it depends on; repeat for more."),
    ],
    identity: Annotated[
        list[str] | None,
        typer.Option("--id", help="Branch that identifies an event; repeat for more."),
    ] = None,
    cut: Cut = None,
    sim_weight: SimWeight = None,
    data_weight: DataWeight = None,
    steps: Annotated[int, typer.Option(help="Steps of the training.", min=1)] = 6000,
    ensemble: Annotated[int, typer.Option(help="Bootstraps, for up and down.", min=0)] = 0,
    reweight: Annotated[str, typer.Option(help="boosted, binned or none.")] = "boosted",
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder of checkpoints, to go on after an interruption.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Learn the correction of simulation to data, and write it to MODEL."""
    from rootml.sbi.morphing import Morpher

    morpher = Morpher(
        feature,
        condition,
        id=identity or None,
        steps=steps,
        ensemble=ensemble,
        reweight=reweight,  # type: ignore[arg-type]  # checked there
        seed=seed,
    )
    morpher.fit(
        _open(sim, cut, sim_weight),
        _open(data, cut, data_weight),
        checkpoint=checkpoint,
        progress=False if quiet else None,
    )
    morpher.save(model)
    typer.echo(repr(morpher))
    typer.echo(f"written to {model}")


@morph.command("apply")
def apply(
    model: Model,
    *,
    sim: Sim,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the friend trees.")],
    suffix: Annotated[str, typer.Option(help="Put behind the names of branches.")] = "_corr",
    cut: Cut = None,
    variations: Annotated[
        bool | None,
        typer.Option("--variations/--no-variations", help="Write up and down of the ensemble."),
    ] = None,
    tree: Annotated[str, typer.Option(help="Name of the friend trees.")] = "Friends",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write corrected branches beside the events, as friend trees."""
    from rootml.sbi.morphing import Morpher

    applied = Morpher.load(model).apply(
        _open(sim, cut, None),
        output,
        suffix=suffix,
        variations=variations,
        tree=tree,
        overwrite=overwrite,
        progress=False if quiet else None,
    )
    typer.echo(str(applied))


@morph.command("validate")
def validate(
    model: Model,
    *,
    sim: Sim,
    data: Data,
    cut: Cut = None,
    sim_weight: SimWeight = None,
    data_weight: DataWeight = None,
    plots: Annotated[Path | None, typer.Option(help="Folder for pictures.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for the whole report as JSON.")
    ] = None,
    max_rows: Annotated[int, typer.Option(help="Rows of each domain to compare.")] = 200_000,
    classifier: Annotated[str, typer.Option(help="both, network or trees.")] = "both",
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare simulation with data before and after the correction."""
    from rootml.sbi.morphing import Morpher, validate

    report = validate(
        Morpher.load(model),
        _open(sim, cut, sim_weight),
        _open(data, cut, data_weight),
        max_rows=max_rows,
        classifier=classifier,  # type: ignore[arg-type]  # checked there
        seed=seed,
        progress=False if quiet else None,
    )
    typer.echo(json.dumps(report.numbers(), indent=2) if as_json else str(report))
    if output is not None:
        report.save(output)
        typer.echo(f"report: {output}", err=True)
    if plots is not None:
        pictures = report.plot(plots)
        typer.echo(f"{len(pictures)} pictures in {plots}", err=True)


def _open(paths: list[str], cut: str | None, weight: str | None) -> Dataset:
    """The selected events of all files as one dataset."""
    import rootml

    options: dict[str, Any] = {} if weight is None else {"weight": _number(weight)}
    dataset = rootml.open(paths[0] if len(paths) == 1 else paths, **options)
    return dataset if cut is None else dataset.filter(cut)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
