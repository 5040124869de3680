"""`rootml morph fit|apply|validate`: carry simulation onto data."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rootml.cli import _datasets as given
from rootml.cli._output import echo, echo_json, note

if TYPE_CHECKING:
    from rootml.dataset import Dataset

_EXAMPLES = """\b
Examples:
  rootml morph fit photons.morph --sim mc.toml --data data.toml \\
      -f r9 -f sieie -c pt -c eta --id run --id event
  rootml morph apply photons.morph --sim 'mc_*.root:Events' -o corrected/
  rootml morph validate photons.morph --sim mc.toml --data data.toml --plots closure/"""

morph = typer.Typer(
    name="morph",
    epilog=_EXAMPLES,
    help="Flows that carry simulation onto data.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Sim = Annotated[
    list[str],
    typer.Option(
        "--sim",
        metavar="FILES",
        help="Simulation, e.g. 'mc_*.root:Events' or mc.toml; repeatable.",
    ),
]
Data = Annotated[
    list[str], typer.Option("--data", metavar="FILES", help="Data, as --sim; repeatable.")
]
SimWeight = Annotated[
    str | None, typer.Option("--sim-weight", metavar="VALUE", help="Branch, number or expression.")
]
DataWeight = Annotated[
    str | None, typer.Option("--data-weight", metavar="VALUE", help="The same of the data.")
]
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="File written by `rootml morph fit`.")
]


@morph.command("fit")
def fit(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="File to write.")],
    *,
    sim: Sim,
    data: Data,
    feature: Annotated[
        list[str],
        typer.Option(
            "--feature", "-f", metavar="COLUMN", help="Branch to correct; repeat for more."
        ),
    ],
    condition: Annotated[
        list[str],
        typer.Option(
            "--condition",
            "-c",
            metavar="COLUMN",
            help="Branch that it depends on; repeat for more.",
        ),
    ],
    identity: Annotated[
        list[str] | None,
        typer.Option(
            "--id", metavar="COLUMN", help="Branch that identifies an event; repeat for more."
        ),
    ] = None,
    cut: given.Cut = None,
    sim_weight: SimWeight = None,
    data_weight: DataWeight = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Steps of the training; without: they follow the events.", min=1
        ),
    ] = None,
    ensemble: Annotated[
        int, typer.Option(metavar="N", help="Bootstraps, for up and down.", min=0)
    ] = 0,
    reweight: Annotated[
        str, typer.Option(metavar="HOW", help="network, boosted, binned or none.")
    ] = "network",
    seed: Annotated[int, typer.Option(metavar="N", help="Of everything random.")] = 0,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder of checkpoints, to go on after an interruption."
        ),
    ] = None,
    quiet: given.Quiet = False,
    as_json: given.AsJson = False,
) -> None:
    """Learn the correction of simulation to data, and write it to MODEL."""
    from rootml._internal.atomic import check_target
    from rootml.sbi.morphing import Morpher

    check_target(model)  # before the training, not after it
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
        _open(data, cut, data_weight, "--data-weight"),
        checkpoint=checkpoint,
        progress=False if quiet else None,
    )
    morpher.save(model)
    if as_json:
        facts = {"features": feature, "conditions": condition, "id": identity or [], "seed": seed}
        echo_json({"file": model, "bytes": model.stat().st_size, **facts})
    else:
        echo(repr(morpher))
        note(f"written to {model}")


@morph.command("apply")
def apply(
    model: Model,
    *,
    sim: Sim,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder of the friend trees.")
    ],
    suffix: Annotated[
        str, typer.Option(metavar="TEXT", help="Put behind the names of branches.")
    ] = "_corr",
    cut: given.Cut = None,
    variations: Annotated[
        bool | None,
        typer.Option("--variations/--no-variations", help="Write up and down of the ensemble."),
    ] = None,
    tree: Annotated[
        str, typer.Option(metavar="TREE", help="Name of the friend trees.")
    ] = "Friends",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files.")] = False,
    quiet: given.Quiet = False,
    as_json: given.AsJson = False,
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
    if as_json:
        echo_json(dataclasses.asdict(applied))
    else:
        echo(str(applied))


@morph.command("validate")
def validate(
    model: Model,
    *,
    sim: Sim,
    data: Data,
    cut: given.Cut = None,
    sim_weight: SimWeight = None,
    data_weight: DataWeight = None,
    plots: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder for pictures.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File for the whole report as JSON."),
    ] = None,
    max_rows: Annotated[
        int, typer.Option(metavar="N", help="Rows of each domain to compare.")
    ] = 200_000,
    classifier: Annotated[
        str, typer.Option(metavar="KIND", help="both, network or trees.")
    ] = "both",
    seed: Annotated[int, typer.Option(metavar="N", help="Of everything random.")] = 0,
    pairs: Annotated[
        str | None,
        typer.Option(metavar="HOW", help="event: compare the same events in both samples too."),
    ] = None,
    quiet: given.Quiet = False,
    as_json: given.AsJson = False,
) -> None:
    """Compare simulation with data before and after the correction."""
    from rootml.sbi.morphing import Morpher, validate

    report = validate(
        Morpher.load(model),
        _open(sim, cut, sim_weight),
        _open(data, cut, data_weight, "--data-weight"),
        max_rows=max_rows,
        classifier=classifier,  # type: ignore[arg-type]  # checked there
        seed=seed,
        pairs=pairs,  # type: ignore[arg-type]  # checked there
        progress=False if quiet else None,
    )
    if as_json:
        echo_json(report.numbers())
    else:
        echo(str(report))
    if output is not None:
        report.save(output)
        note(f"the report is in {output}")
    if plots is not None:
        pictures = report.plot(plots)
        note(f"{len(pictures)} pictures are in {plots}")


def _open(
    paths: list[str], cut: list[str] | None, weight: str | None, option: str = "--sim-weight"
) -> Dataset:
    """The selected events of all files as one dataset."""
    return given.Given(
        files=paths, cut=cut or (), weight=weight, names={"weight": option}
    ).dataset()
