"""`rootml predict`: scores of a forest or a network, as friend trees beside the files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from rootml.cli import _datasets as given
from rootml.cli._bdt import (
    Engine,
    Isa,
    Missing,
    check_features,
    columns_of,
    load_forest,
)
from rootml.cli._output import echo, echo_json
from rootml.errors import MissingFileError, UnsupportedTypeError

if TYPE_CHECKING:
    from rootml._internal.onnx_network import Network
    from rootml.dataset import Dataset

EXAMPLES = """\b
Examples:
  rootml predict model.json 'mc_*.root:Events' -o friends/ --cut 'nJet > 1'
  rootml predict model.onnx data.toml -o friends/ -c HT -c 'lead=Jet_pt[0]'
  rootml predict tagger.onnx 'mc_*.root:Events' -o friends/ -c Jet_pt -c Jet_eta"""

ModelFile = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", help="A forest (XGBoost, LightGBM, ONNX, TMVA, ...) or an ONNX network."
    ),
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        "-c",
        metavar="FEATURE=EXPR",
        help="What a feature is; for a network without names of features also just EXPR, in "
        "their order. Repeatable.",
    ),
]


def predict(
    model: ModelFile,
    files: given.Files = None,
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "--out", "-o", metavar="FOLDER", help="Folder of the friend trees."
        ),
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the score.")] = "score",
    column: Column = None,
    tree: given.Tree = None,
    friends: given.Friends = None,
    define: given.Define = None,
    cut: given.Cut = None,
    margin: Annotated[
        bool, typer.Option("--margin", help="Of a forest: margins, not predictions.")
    ] = False,
    missing: Missing = None,
    engine: Engine = "llvm",
    isa: Isa = None,
    threads: given.Threads = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files.")] = False,
    quiet: given.Quiet = False,
    as_json: given.AsJson = False,
) -> None:
    """Score files into friend trees: one beside each file, one entry per entry.

    Features that are lists, such as Jet_pt, are scored element by element,
    and the scores are lists again. Events that --cut, or the cuts of a TOML
    file, leave out have NaN (integers 0, lists no elements) and
    <name>_valid = false.
    """
    if not model.exists():
        message = f"no such file: {str(model)!r}"
        raise MissingFileError(message)
    data = given.Given(
        files=files or (), tree=tree, friends=friends or (), define=define or (), cut=cut or ()
    ).dataset()
    options: dict[str, Any] = {"overwrite": overwrite, "threads": threads}
    if quiet:
        options["progress"] = False
    if _is_network(model):
        _check_forest_options(margin=margin, missing=missing, isa=isa, engine=engine)
        paths = _write_network(model, data, output, name, column or [], options)
    else:
        forest = load_forest(model, missing)
        data = data.select(columns_of(forest, column or []))
        check_features(data, forest.names)
        compiled = forest.compile(cast("Any", engine), isa=isa)
        paths = compiled.write_friend(data, output, name=name, margin=margin, **options)
    if as_json:
        echo_json({"files": paths})
    else:
        echo("\n".join(map(str, paths)))


def _is_network(model: Path) -> bool:
    if model.suffix.lower() != ".onnx":
        return False
    from rootml._internal.onnx_network import is_forest

    return not is_forest(model)


def _check_forest_options(*, margin: bool, missing: Any, isa: Any, engine: str) -> None:
    """Refuse options that mean nothing for a network."""
    asked = {"--margin": margin, "--missing": missing is not None, "--isa": isa is not None,
             "--engine": engine != "llvm"}  # fmt: skip
    for option, there in asked.items():
        if there:
            message = f"{option} is of forests; this model is a network"
            raise typer.BadParameter(message)


def _write_network(
    model: Path,
    data: Dataset,
    output: Path,
    name: str,
    column: list[str],
    options: dict[str, Any],
) -> list[str]:
    from rootml._internal.onnx_network import ElementScores, Network

    network = Network(model)
    data = data.select(_features(network, column))
    check_features(data, data.columns)
    for feature, kind in data.types().items():
        lists = kind.kind == "jagged" and kind.depth == 1
        if kind.dtype is None or not (lists or kind.kind == "scalar"):
            message = (
                f"the feature {feature!r} is {kind} ({kind.kind}): a number or a list of numbers "
                "per event is wanted"
            )
            raise UnsupportedTypeError(message)
    score = ElementScores(partial(network.scores, name=name), data.columns)
    return data.write_friend(output, score, **options)


def _features(network: Network, column: list[str]) -> list[str]:
    """What to select, in the order of the inputs.

    Raises:
        typer.BadParameter: Too few or too many, or a name that is no input.
    """
    named = network.features
    if named is not None:
        example = f"{named[0]}=Jet_pt[0] (the inputs are {', '.join(named)})"
        texts = dict(given.assignment(text, "--column", example) for text in column)
        unknown = [name for name in texts if name not in named]
        if unknown:
            message = f"--column {unknown[0]!r}: the inputs are {', '.join(named)}"
            raise typer.BadParameter(message)
        return [f"{name} = {texts[name]}" if name in texts else name for name in named]
    if len(column) != network.num_features:
        inputs = ", ".join(f"{max(1, each.width)} of {each.name!r}" for each in network.inputs)
        message = (
            f"the network takes {network.num_features} numbers without names ({inputs}), and "
            f"--column is given {len(column)} times: give each in order, as -c HT -c "
            "'lead=Jet_pt[0]'"
        )
        raise typer.BadParameter(message)
    return column
