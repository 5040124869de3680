"""`rootml bdt info|compile|predict|convert`: decision forests of any library."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from rootml.errors import UsageError

if TYPE_CHECKING:
    from rootml.bdt import Forest

bdt = typer.Typer(
    name="bdt",
    help="Decision forests: look at, compile, score files, convert.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ModelFile = Annotated[
    Path, typer.Argument(help="XGBoost .json or .ubj, LightGBM, ONNX, TMVA XML, .forest.json.")
]
Missing = Annotated[
    float | None, typer.Option("--missing", help="Value that stands for missing, e.g. -999.")
]
Engine = Annotated[str, typer.Option("--engine", help="llvm or numpy.")]
Isa = Annotated[str | None, typer.Option("--isa", help="avx512vbmi, avx512, avx2, x86-64, neon.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@bdt.command("info")
def info(
    model: ModelFile,
    *,
    importance: Annotated[
        str | None,
        typer.Option(help="Also weight, gain, cover, total_gain or total_cover by feature."),
    ] = None,
    missing: Missing = None,
    as_json: AsJson = False,
) -> None:
    """What a model file holds: trees, features, objective, link."""
    forest = _load(model, missing)
    ranked = [] if importance is None else _ranked(forest, importance)
    if as_json:
        found = _facts(forest)
        if importance is not None:
            found["importance"] = dict(ranked)
        typer.echo(json.dumps(found))
        return
    from rootml._repr import Grid

    typer.echo(repr(forest))
    if importance is not None:
        rows = [(name, f"{value:.6g}") for name, value in ranked]
        typer.echo(f"\n{Grid(('feature', importance), rows)}")


@bdt.command("compile")
def compile_model(
    model: ModelFile, *, engine: Engine = "llvm", isa: Isa = None, as_json: AsJson = False
) -> None:
    """Compile a model for this machine, so that the code lies in the cache for later jobs."""
    from rootml.bdt.engine._cache import cache_folder

    forest = _load(model, None)
    start = time.perf_counter()
    made = forest.compile(cast("Any", engine), isa=isa)
    seconds = time.perf_counter() - start
    folder = cache_folder() if engine == "llvm" else None
    if as_json:
        found = {
            "engine": made.engine, "isa": made.isa, "seconds": seconds,
            "cache": None if folder is None else str(folder),
        }  # fmt: skip
        typer.echo(json.dumps(found))
        return
    typer.echo(f"{made!r}\n  seconds   {seconds:.2f}\n  cache     {folder or 'none'}")


@bdt.command("predict")
def predict(
    model: ModelFile,
    files: Annotated[list[str], typer.Argument(help="Files, e.g. 'mc_*.root:Events'.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the friend trees.")],
    name: Annotated[str, typer.Option(help="Name of the score.")] = "score",
    column: Annotated[
        list[str] | None,
        typer.Option("--column", "-c", help="What a feature is, e.g. 'f0=Jet_pt[0]'; repeatable."),
    ] = None,
    cut: Annotated[str | None, typer.Option("--cut", help="Score only these events.")] = None,
    margin: Annotated[bool, typer.Option("--margin", help="Margins, not predictions.")] = False,
    missing: Missing = None,
    engine: Engine = "llvm",
    isa: Isa = None,
    threads: Annotated[int | None, typer.Option(help="Partitions at a time.", min=1)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score files into friend trees: one beside each file, one entry per entry."""
    import rootml

    forest = _load(model, missing)
    data = rootml.open(files)
    if cut is not None:
        data = data.filter(cut)
    data = data.select(_columns(forest, column or []))
    options: dict[str, Any] = {"overwrite": overwrite}
    if threads is not None:
        options["threads"] = threads
    if quiet or as_json:
        options["progress"] = False
    compiled = forest.compile(cast("Any", engine), isa=isa)
    paths = compiled.write_friend(data, output, name=name, margin=margin, **options)
    typer.echo(json.dumps({"files": [str(path) for path in paths]}) if as_json else
               "\n".join(map(str, paths)))  # fmt: skip


@bdt.command("convert")
def convert(
    model: ModelFile,
    output: Annotated[Path, typer.Argument(help="File to write.")],
    *,
    to: Annotated[
        str | None, typer.Option("--to", help="onnx, cpp or json; from the ending if left out.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the C++ class; from the file if left out.")
    ] = None,
    rounds: Annotated[
        str | None, typer.Option("--rounds", help="Only these rounds of boosting, e.g. 0:100.")
    ] = None,
    missing: Missing = None,
) -> None:
    """Write a model as ONNX, as a C++ header, or as our own JSON."""
    endings = {".onnx": "onnx", ".hpp": "cpp", ".h": "cpp", ".hh": "cpp", ".hxx": "cpp",
               ".json": "json"}  # fmt: skip
    kind = to or endings.get(output.suffix, "")
    if kind not in {"onnx", "cpp", "json"}:
        message = f"cannot tell a format from {output.name!r}; give --to onnx, cpp or json"
        raise UsageError(message)
    if name is not None and kind != "cpp":
        message = f"--name is of a C++ class; {output.name} is to be {kind}"
        raise UsageError(message)
    forest = _load(model, missing)
    if rounds is not None:
        forest = forest.iterations(*_range(rounds))
    if kind == "onnx":
        forest.to_onnx(output)
    elif kind == "cpp":
        forest.to_cpp(output, name=name)
    else:
        forest.save(output)
    typer.echo(str(output))


# --- pieces --------------------------------------------------------------------------------------


def _load(path: Path, missing: float | None) -> Forest:
    from rootml.bdt import load

    return load(path, missing=missing)


def _facts(forest: Forest) -> dict[str, Any]:
    return {
        "trees": forest.num_trees,
        "nodes": forest.num_nodes,
        "depth": forest.depth,
        "rounds": forest.num_iterations,
        "best_iteration": forest.best_iteration,
        "features": list(forest.names),
        "outputs": forest.num_outputs,
        "objective": forest.objective,
        "link": forest.link,
        "library": forest.library,
        "library_version": forest.library_version,
        "input_dtype": str(forest.input_dtype),
        "dtype": str(forest.dtype),
        "category_sets": forest.num_category_sets,
        "missing": None if math.isnan(forest.missing) else forest.missing,
    }


def _ranked(forest: Forest, kind: str) -> list[tuple[str, float]]:
    found = forest.importance(cast("Any", kind))
    return sorted(found.items(), key=lambda pair: -pair[1])


def _columns(forest: Forest, given: list[str]) -> list[str]:
    """What to select: each feature by its name, or as the expression given for it."""
    from rootml.errors import nearest

    expressions = {}
    for text in given:
        feature, equals, expression = text.partition("=")
        if not equals or not expression.strip():
            message = f"--column {text!r}: give it as FEATURE=EXPRESSION"
            raise UsageError(message)
        if feature.strip() not in forest.names:
            message = f"--column {text!r}: the model has {nearest(feature, forest.names)}"
            raise UsageError(message)
        expressions[feature.strip()] = expression.strip()
    if forest.feature_names is None and len(expressions) < forest.num_features:
        lacking = next(name for name in forest.names if name not in expressions)
        message = f"the model has no names of features: give each, as --column {lacking}=Jet_pt[0]"
        raise UsageError(message)
    return [
        f"{name} = {expressions[name]}" if name in expressions else name for name in forest.names
    ]


def _range(text: str) -> tuple[int, int]:
    begin, colon, end = text.partition(":")
    if not colon or not begin.isdecimal() or not end.isdecimal():
        message = f"--rounds {text!r}: give the first and the one behind the last, as 0:100"
        raise UsageError(message)
    return int(begin), int(end)
