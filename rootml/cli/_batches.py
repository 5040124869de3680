"""`rootml batches`: what a training loop would get, and how fast."""

from __future__ import annotations

import itertools
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rootml.cli import _datasets as given
from rootml.cli._output import echo, echo_facts, echo_grid, echo_json, note
from rootml.errors import UnsupportedTypeError

if TYPE_CHECKING:
    from rootml._internal.reprs import Grid
    from rootml.batching import BatchLoader
    from rootml.batching.inputs._batch import Batch
    from rootml.dataset import Dataset

EXAMPLES = """\b
Examples:
  rootml batches sig.root:Events --columns 'MET_pt,HT = Sum$(Jet_pt)'
  rootml batches sig.root:Events --padded 'jets=Jet_pt,Jet_eta:8'
  rootml batches --sample 1=sig.root --sample 0=bkg.root --shuffle --bench
  rootml batches data.toml --batch-size 8192 --shuffle --bench --epochs 3 --json"""

_ROWS = 5
_SHOWN = 8
_IDENTITIES = {
    "event", "eventnumber", "evt", "run", "runnumber", "lumi", "ls", "lumiblock",
    "luminosityblock", "mcchannelnumber", "bunchcrossing",
}  # fmt: skip
"""Columns that tell events apart: no inputs, and seldom exact as float32."""
DEFAULT_SIZE = 1024


def batches(
    files: given.Files = None,
    *,
    sample: given.SampleOption = None,
    tree: given.Tree = None,
    label: given.Label = None,
    weight: given.Weight = None,
    friends: given.Friends = None,
    entries: given.Entries = None,
    define: given.Define = None,
    cut: given.Cut = None,
    columns: given.Columns = None,
    padded: Annotated[
        list[str] | None,
        typer.Option("--padded", metavar="NAME=COLUMNS:LENGTH",
                     help="Lists as an input of their own, filled up to a length: "
                     "NAME=COLUMNS:LENGTH, e.g. 'jets=Jet_pt,Jet_eta:8'; repeatable."),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", "-b", metavar="N", min=1,
                     help=f"Rows per batch; default: {DEFAULT_SIZE}, or all if there are fewer."),
    ] = None,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Mix the rows.")] = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the order.")] = 0,
    balance: Annotated[
        str | None, typer.Option("--balance", metavar="HOW",
                                 help="weights or resample: equal classes.")
    ] = None,
    buffer: Annotated[
        str, typer.Option("--buffer", metavar="SIZE", help="Memory for decoded rows.")
    ] = "1 GB",
    nonfinite: Annotated[
        str | None,
        typer.Option("--nonfinite", metavar="WHAT",
                     help="NaN and infinity in inputs: error, keep, or a number "
                     "that replaces them; default: error, if columns are chosen."),
    ] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", metavar="DTYPE", help="Of the batches: float32 or float64.")
    ] = "float32",
    bench: Annotated[
        bool, typer.Option("--bench", help="Run epochs through and say how fast they are.")
    ] = False,
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Of --bench.")] = 2,
    threads: given.Threads = None,
    quiet: given.Quiet = False,
    as_json: given.AsJson = False,
) -> None:  # fmt: skip
    """The first batch of a training; loader speed.

    Without --columns all columns of one number per event are taken, but not the
    numbers of run and event. --bench reads without a model behind: what a training
    adds comes on top.
    """
    data = given.Given(
        files=files or (), sample=sample or (), tree=tree, label=label, weight=weight,
        friends=friends or (), entries=entries, define=define or (), cut=cut or (),
        columns=columns or (),
    ).dataset()  # fmt: skip
    if not padded and not _chosen(data):
        data, nonfinite = _plain_columns(data), nonfinite or "keep"
    rows = data.scan(progress=False if quiet else None).num_rows
    size = batch_size or max(1, min(DEFAULT_SIZE, rows))
    how: Any = balance  # checked there
    fill: Any = given.number(nonfinite or "error")
    loader = data.batches(
        size, shuffle=shuffle, seed=seed, balance=how, buffer_bytes=buffer, threads=threads,
        inputs=_inputs(data, padded or []), progress=False if quiet else None,
        nonfinite=fill, dtype=dtype, weights=data.has_weight,
    )  # fmt: skip
    try:
        speed, first = _run(loader, epochs) if bench else ([], _first(loader))
        described = loader.describe()
    finally:
        loader.close()
    shapes, columns_ = _shapes(first), _columns(loader, first)
    if not as_json:
        _show(shapes, columns_, first.num_rows)
        echo("")
        echo_facts(list(described.rows))
        if bench:
            echo("")
            echo_grid(_speeds(speed))
        return
    shown = range(min(_ROWS, first.num_rows))
    facts: dict[str, Any] = {
        "rows": loader.num_rows, "batches": len(loader), "batch_size": loader.batch_size,
        "mode": loader.mode, "shapes": shapes,
        "first_rows": [{name: values[row] for name, values in columns_} for row in shown],
    }  # fmt: skip
    if bench:
        facts |= {"epochs": [run.facts() for run in speed], "seconds": described.seconds}
    echo_json(facts)


# --- what to read --------------------------------------------------------------------------------


def _plain_columns(data: Dataset) -> Dataset:
    """Select the columns of one number per event, and say what is left out.

    Raises:
        UnsupportedTypeError: There is none.
    """
    from rootml._internal.reprs import shorten

    types = data.types()
    values = [value for sample in data.samples for value in (sample.label, sample.weight)]
    texts = {str(value) for value in values if value is not None}
    plain = [
        name for name, kind in types.items()
        if kind.kind == "scalar" and name not in texts and name.lower() not in _IDENTITIES
    ]  # fmt: skip
    rest = [name for name in types if name not in plain and name not in texts]
    if not plain:
        lists = [name for name, kind in types.items() if kind.kind == "jagged" and kind.depth == 1]
        hint = f", or --padded 'objects={lists[0]}:8'" if lists else ""
        message = f"no column of {data} is one number per event: choose with --columns{hint}"
        raise UnsupportedTypeError(message)
    if rest:
        note(
            f"inputs are the columns of one number per event, {len(plain)} of {len(types)}; left "
            f"out: {shorten(rest)}; choose with --columns and --padded"
        )
    return data.select(plain)


def _chosen(data: Dataset) -> bool:
    return any(sample.outputs is not None for sample in data.samples)


def _inputs(data: Dataset, padded: list[str]) -> Any:
    """None, or the matrix of the chosen columns and the padded inputs, by name."""
    if not padded:
        return None
    from rootml.batching import Padded
    from rootml.dataset import Dataset

    everything = Dataset([replace(sample, outputs=None) for sample in data.samples])
    lists: dict[str, Any] = {}
    for text in padded:
        name, rest = given.assignment(text, "--padded", "jets=Jet_pt,Jet_eta:8")
        names, colon, length = rest.rpartition(":")
        if not colon or not length.strip().isdecimal() or int(length) < 1:
            message = f"--padded {text!r}: the length is missing, as in jets=Jet_pt,Jet_eta:8"
            raise typer.BadParameter(message)
        lists[name] = Padded(given.expanded(everything, [names]), length=int(length))
    if not _chosen(data):
        return lists
    used = {column for each in lists.values() for column in each.columns} | data.reserved
    flat = [n for n, kind in data.types().items() if kind.kind == "scalar" and n not in used]
    return {"event": flat, **lists} if flat else lists


# --- the first batch -----------------------------------------------------------------------------


def _first(loader: BatchLoader) -> Batch:
    with closing(loader.iterate(epoch=0)) as stream:
        return next(stream)


def _arrays(name: str, part: Any) -> list[tuple[str, Any]]:
    """The arrays of a part of a batch, under the names by which a training finds them."""
    if isinstance(part, dict):
        return [pair for key, value in part.items() for pair in _arrays(f"{name}[{key!r}]", value)]
    if hasattr(part, "mask"):
        return [(f"{name}.values", part.values), (f"{name}.mask", part.mask)]
    return [] if part is None else [(name, part)]


def _all_arrays(batch: Batch) -> list[tuple[str, Any]]:
    parts = (("x", batch.x), ("y", batch.y), ("w", batch.w))
    return [pair for name, part in parts for pair in _arrays(name, part)]


def _shapes(batch: Batch) -> dict[str, str]:
    return {name: f"{array.dtype} {array.shape}" for name, array in _all_arrays(batch)}


def _columns(loader: BatchLoader, batch: Batch) -> list[tuple[str, Any]]:
    """Names and first values of all inputs, of the target and the weight."""
    found: list[tuple[str, Any]] = []
    for spec in loader.spec.inputs:
        part: Any = batch.x[spec.name] if isinstance(batch.x, dict) else batch.x
        for i, feature in enumerate(spec.features):
            if spec.kind == "flat":
                found.append((feature, part[:, i]))
                continue
            pairs = zip(part.values[:_ROWS, :, i], part.mask[:_ROWS], strict=True)
            found.append((f"{spec.name}: {feature}", [row[mask] for row, mask in pairs]))
    return found + [(n, v) for n, v in (("y", batch.y), ("w", batch.w)) if v is not None]


def _show(shapes: dict[str, str], columns: list[tuple[str, Any]], rows: int) -> None:
    from rootml._internal.reprs import Grid

    echo("first batch: " + ", ".join(f"{name} {shape}" for name, shape in shapes.items()))
    shown = columns if len(columns) <= _SHOWN + 2 else [*columns[:_SHOWN], *columns[-2:]]
    table = [
        (str(row), *(_cell(values[row]) for _, values in shown)) for row in range(min(_ROWS, rows))
    ]
    echo_grid(Grid(("", *(name for name, _ in shown)), table))
    if len(shown) < len(columns):
        echo(f"({len(columns) - len(shown)} more columns)")


def _cell(value: Any) -> str:
    if getattr(value, "ndim", 0):
        return "[" + " ".join(f"{each:.4g}" for each in value) + "]"
    return f"{value:.6g}"


# --- the speed -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Epoch:
    """One pass over the data.

    Attributes:
        first: Seconds until the first batch.
        decoded_bytes: Of what the batches hold.
        stages: Seconds per stage, added up over threads.
    """

    rows: int = 0
    batches: int = 0
    seconds: float = 0.0
    first: float = 0.0
    decoded_bytes: int = 0
    stages: dict[str, float] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        return {
            "events": self.rows, "batches": self.batches, "seconds": self.seconds,
            "first_batch_seconds": self.first, "events_per_second": self.rows / self.seconds,
            "bytes_per_second": self.decoded_bytes / self.seconds, "stages": self.stages,
        }  # fmt: skip


def _run(loader: BatchLoader, epochs: int) -> tuple[list[_Epoch], Batch]:
    """Epochs one after the other, and the very first batch."""
    found, kept = [], []
    for epoch in range(epochs):
        run, first = _one(loader, epoch)
        found.append(run)
        kept.append(first)
    return found, kept[0]


def _one(loader: BatchLoader, epoch: int) -> tuple[_Epoch, Batch]:
    before = dict(loader.describe().seconds)
    found, start = _Epoch(), time.perf_counter()
    stream = loader.iterate(epoch=epoch)
    kept = next(stream)
    found.first = time.perf_counter() - start
    for batch in itertools.chain([kept], stream):
        found.rows += batch.num_rows
        found.batches += 1
        found.decoded_bytes += sum(array.nbytes for _, array in _all_arrays(batch))
    found.seconds = time.perf_counter() - start
    after = loader.describe().seconds
    found.stages = {stage: spent - before.get(stage, 0.0) for stage, spent in after.items()}
    return found, kept


def _speeds(speed: list[_Epoch]) -> Grid:
    from rootml._internal.reprs import Grid

    stages = list(dict.fromkeys(stage for run in speed for stage in run.stages))
    header = ("epoch", "events", "events/s", "MB/s", "seconds", "first batch", *stages)
    rows = [
        (
            str(number), f"{run.rows:,}", f"{run.rows / run.seconds:,.0f}",
            f"{run.decoded_bytes / run.seconds / 1e6:,.1f}", f"{run.seconds:.3f}",
            f"{run.first:.3f}", *(f"{run.stages.get(stage, 0.0):.3f}" for stage in stages),
        )
        for number, run in enumerate(speed)
    ]  # fmt: skip
    return Grid(header, rows)
