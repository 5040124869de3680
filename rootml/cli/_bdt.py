"""`rootml bdt info|compile|explain|convert|bench`: decision forests of any library."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from rootml.cli import _datasets as given
from rootml.cli._output import echo, echo_facts, echo_grid, echo_json
from rootml.errors import MissingColumnError

if TYPE_CHECKING:
    from rootml.bdt import Forest
    from rootml.dataset import Dataset

_EXAMPLES = """\b
Examples:
  rootml bdt info model.json --importance gain
  rootml bdt explain model.json 'mc_*.root:Events' --cut 'nJet > 1'
  rootml bdt convert model.json model.onnx
  rootml bdt bench model.json --rows 100000"""

bdt = typer.Typer(
    name="bdt",
    epilog=_EXAMPLES,
    help="Decision forests: look, compile, explain, convert; see also rootml predict.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ModelFile = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", help="XGBoost .json or .ubj, LightGBM, ONNX, TMVA XML, .forest.json."
    ),
]
Missing = Annotated[
    float | None,
    typer.Option("--missing", metavar="NUMBER", help="Value that stands for missing, e.g. -999."),
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        "-c",
        metavar="FEATURE=EXPR",
        help="What a feature is, e.g. 'f0=Jet_pt[0]'; repeatable.",
    ),
]
Engine = Annotated[str, typer.Option("--engine", metavar="NAME", help="llvm or numpy.")]
Isa = Annotated[
    str | None,
    typer.Option("--isa", metavar="NAME", help="avx512vbmi, avx512, avx2, x86-64, neon."),
]
Threads = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="Default: one per core.", min=1)
]


@bdt.command("info")
def info(
    model: ModelFile,
    *,
    importance: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", help="Also weight, gain, cover, total_gain or total_cover by feature."
        ),
    ] = None,
    missing: Missing = None,
    as_json: given.AsJson = False,
) -> None:
    """What a model file holds: trees, features, objective, link."""
    forest = load_forest(model, missing)
    ranked = [] if importance is None else _ranked(forest, importance)
    if as_json:
        found = _facts(forest)
        if importance is not None:
            found["importance"] = dict(ranked)
        echo_json(found)
        return
    from rootml._internal.reprs import Grid

    echo_facts(forest._facts())
    if importance is not None:
        rows = [(name, f"{value:.6g}") for name, value in ranked]
        echo("")
        echo_grid(Grid(("feature", importance), rows))


@bdt.command("compile")
def compile_model(
    model: ModelFile, *, engine: Engine = "llvm", isa: Isa = None, as_json: given.AsJson = False
) -> None:
    """Compile a model for this machine, so that the code lies in the cache for later jobs."""
    from rootml.bdt.engine.binding._cache import cache_folder

    forest = load_forest(model, None)
    start = time.perf_counter()
    made = forest.compile(cast("Any", engine), isa=isa)
    seconds = time.perf_counter() - start
    folder = cache_folder() if engine == "llvm" else None
    if as_json:
        echo_json({"engine": made.engine, "isa": made.isa, "seconds": seconds, "cache": folder})
        return
    echo_facts([*made._facts(), ("seconds", f"{seconds:.2f}"), ("cache", str(folder or "none"))])


@bdt.command("explain")
def explain(
    model: ModelFile,
    files: given.Files = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Also write friend trees there."),
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the score.")] = "score",
    column: Column = None,
    tree: given.Tree = None,
    friends: given.Friends = None,
    define: given.Define = None,
    cut: given.Cut = None,
    missing: Missing = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files.")] = False,
    as_json: given.AsJson = False,
) -> None:
    """How much each feature moves the margins of the selected events (SHAP).

    Prints the mean size of the contributions. With -o they are written
    beside the files, as <name>_from_<feature>, with the scores.
    """
    import numpy as np

    from rootml._internal.reprs import Grid

    forest = load_forest(model, missing)
    data = given.Given(
        files=files or (), tree=tree, friends=friends or (), define=define or (), cut=cut or ()
    ).dataset()
    data = data.select(columns_of(forest, column or []))
    check_features(data, forest.names)
    compiled = forest.compile()
    found = np.asarray(compiled.contributions(data)).reshape(-1, forest.num_features + 1)
    sizes = np.abs(found[:, :-1]).mean(axis=0).tolist()
    ranked = sorted(zip(forest.names, sizes, strict=True), key=lambda pair: -pair[1])
    paths = []
    if output is not None:
        paths = compiled.write_friend(
            data, output, name=name, contributions=True, overwrite=overwrite
        )
    if as_json:
        echo_json({"mean_size": dict(ranked), "bias": float(found[:, -1].mean()), "files": paths})
        return
    rows = [(feature, f"{size:.6g}") for feature, size in ranked]
    echo_grid(Grid(("feature", "mean |contribution|"), rows))
    for path in paths:
        echo(str(path))


@bdt.command("convert")
def convert(
    model: ModelFile,
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="File to write.")],
    *,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="FORMAT", help="onnx, cpp or json; from the ending if left out."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="Of the C++ class; from the file if left out."
        ),
    ] = None,
    rounds: Annotated[
        str | None,
        typer.Option(
            "--rounds", metavar="FROM:TO", help="Only these rounds of boosting, e.g. 0:100."
        ),
    ] = None,
    missing: Missing = None,
    as_json: given.AsJson = False,
) -> None:
    """Write a model as ONNX, as a C++ header, or as our own JSON."""
    endings = {".onnx": "onnx", ".hpp": "cpp", ".h": "cpp", ".hh": "cpp", ".hxx": "cpp",
               ".json": "json"}  # fmt: skip
    kind = to or endings.get(output.suffix, "")
    if kind not in {"onnx", "cpp", "json"}:
        message = f"cannot tell a format from {output.name!r}; give --to onnx, cpp or json"
        raise typer.BadParameter(message)
    if name is not None and kind != "cpp":
        message = f"--name names a C++ class, but {output.name} will be {kind}"
        raise typer.BadParameter(message)
    forest = load_forest(model, missing)
    if rounds is not None:
        forest = forest.iterations(*_range(rounds))
    if kind == "onnx":
        forest.to_onnx(output)
    elif kind == "cpp":
        forest.to_cpp(output, name=name)
    else:
        forest.save(output)
    if as_json:
        echo_json({"file": output, "format": kind, "bytes": output.stat().st_size})
    else:
        echo(str(output))


@bdt.command("bench")
def bench(
    model: ModelFile,
    *,
    rows: Annotated[
        int, typer.Option("--rows", "-n", metavar="N", min=1, help="Random events.")
    ] = 100_000,
    turns: Annotated[
        int, typer.Option("--turns", min=1, metavar="N", help="The median of so many.")
    ] = 5,
    threads: Annotated[int, typer.Option("--threads", metavar="N", min=1)] = 1,
    engine: Engine = "llvm",
    isa: Isa = None,
    missing: Missing = None,
    against: Annotated[
        bool, typer.Option("--peer/--no-peer", help="Also XGBoost, if it is its model.")
    ] = True,
    as_json: given.AsJson = False,
) -> None:
    """How fast a model is here, on random events.

    Events are made to go everywhere in the trees. XGBoost is its own
    inplace_predict, in turns with ours, with as many threads.
    """
    from rootml._internal.reprs import Grid
    from rootml.cli import _bdt_bench as benchmark

    forest = load_forest(model, missing)
    made = forest.compile(cast("Any", engine), isa=isa, threads=threads)
    scores: dict[str, Any] = {f"rootml {made.engine}": made.predict_margin}
    other = benchmark.peer(forest, model, threads) if against else None
    if other is not None:
        scores["xgboost"] = other
    speeds = benchmark.in_turns(scores, benchmark.random_rows(forest, rows), turns)
    ours = speeds[0].ns
    if as_json:
        engines = [
            {"name": speed.name, "ns_per_event": speed.ns, "events_per_second": 1e9 / speed.ns,
             "ratio": speed.ns / ours, "equal": speed.equal, "seconds": speed.seconds}
            for speed in speeds
        ]  # fmt: skip
        echo_json({"rows": rows, "threads": threads, "isa": made.isa, "engines": engines})
        return
    echo_facts([*made._facts(), ("events", f"{rows:,}, the median of {turns} turns")])
    echo("")
    table = [
        (
            speed.name, f"{speed.ns:,.1f}", f"{1e9 / speed.ns:,.0f}", f"{speed.ns / ours:.1f}",
            {None: "", True: "yes", False: "no"}[speed.equal],
        )
        for speed in speeds
    ]  # fmt: skip
    echo_grid(Grid(("engine", "ns/event", "events/s", "ratio", "equal margins"), table))


# --- pieces --------------------------------------------------------------------------------------


def load_forest(path: Path, missing: float | None) -> Forest:
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


def columns_of(forest: Forest, given: list[str]) -> list[str]:
    """What to select: each feature by its name, or as the expression given for it."""
    from rootml.errors import nearest

    expressions = {}
    for text in given:
        feature, equals, expression = text.partition("=")
        if not equals or not expression.strip():
            message = f"--column {text!r}: give it as FEATURE=EXPRESSION"
            raise typer.BadParameter(message)
        if feature.strip() not in forest.names:
            message = f"--column {text!r}: the model has {nearest(feature, forest.names)}"
            raise typer.BadParameter(message)
        expressions[feature.strip()] = expression.strip()
    if forest.feature_names is None and len(expressions) < forest.num_features:
        lacking = next(name for name in forest.names if name not in expressions)
        message = f"the model has no feature names: give each, as --column {lacking}=Jet_pt[0]"
        raise typer.BadParameter(message)
    return [
        f"{name} = {expressions[name]}" if name in expressions else name for name in forest.names
    ]


def check_features(data: Dataset, names: Sequence[str]) -> None:
    """See that all features can be had.

    Raises:
        MissingColumnError: One cannot; the message shows how to declare it.
    """
    try:
        data.types()
    except MissingColumnError as error:
        hint = f"--column '{names[0]}=pt'"
        message = f"{error}; say what a feature is with --column, e.g. {hint}"
        raise MissingColumnError(message) from None


def _range(text: str) -> tuple[int, int]:
    begin, colon, end = text.partition(":")
    if not colon or not begin.isdecimal() or not end.isdecimal():
        message = f"--rounds {text!r}: give the first and the one behind the last, as 0:100"
        raise typer.BadParameter(message)
    return int(begin), int(end)
