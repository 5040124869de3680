"""What a loader will do, and where its time went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rootml._internal.reprs import facts_html, titled_html
from rootml.batching._bytes import format_bytes
from rootml.batching.order._plan import Mode
from rootml.batching.order._shuffle_quality import measure_mixing

if TYPE_CHECKING:
    from rootml.batching._loader import BatchLoader
    from rootml.batching.rows._epoch_source import EpochSource

MODES = {
    "sequential": "in the order of the dataset",
    "resident": "mode (a) resident: all selected rows in memory, a global permutation per epoch",
    "disk": "mode (b) disk: random shards on disk, a uniform permutation per epoch",
    "pool": (
        "mode (c) pool: several units of every source open, batches in proportion to the rows "
        "left; a file sorted inside is not mixed (cache=folder does)"
    ),
}


@dataclass(frozen=True, slots=True)
class LoaderDescription:
    """A table of what a loader does; shows itself as text and as html.

    Attributes:
        rows: Label and value of each line.
        seconds: Seconds per stage so far, added up over threads.
    """

    rows: tuple[tuple[str, str], ...]
    seconds: dict[str, float]

    def __repr__(self) -> str:
        width = max(len(label) for label, _ in self.rows)
        return "\n".join(f"{label:<{width}}  {value}" for label, value in self.rows)

    def _repr_html_(self) -> str:
        return titled_html("rootml.batching.BatchLoader", facts_html(self.rows))


def describe(loader: BatchLoader, epochs: EpochSource) -> LoaderDescription:
    """The description of a loader; plans the first epoch if that is not done yet."""
    options, spec, timing = epochs.options, loader.spec, epochs.timing
    mode = epochs.mode(1)
    rows = [
        ("dataset", str(loader.dataset)),
        ("rows per epoch", f"{epochs.num_rows:,}" + _shard(loader)),
        ("batches", f"{len(loader):,} of {loader.batch_size:,}" + _tail(loader)),
        ("order", MODES[mode] if options.shuffle else MODES["sequential"]),
        *_mixing(loader, epochs, mode),
        *_inputs(loader),
        ("target", ", ".join(spec.targets) if spec.targets else "none"),
        ("weight", _weight(epochs)),
        ("observers", ", ".join(f"{n} ({d})" for n, d in spec.observers.items()) or "none"),
        ("dtype", f"{options.dtype}; NaN and infinity: {options.nonfinite}"),
        ("units", _units(epochs)),
        ("memory", _memory(epochs, mode)),
        ("decoding threads", str(options.threads)),
    ]
    if timing.rows:
        rows.append(("delivered so far", f"{timing.rows:,} rows in {timing.batches:,} batches"))
    rows += [(f"time: {stage}", f"{spent:.3f} s") for stage, spent in timing.seconds.items()]
    return LoaderDescription(tuple(rows), dict(timing.seconds))


def loader_html(loader: BatchLoader, epochs: EpochSource) -> str:
    """What a loader was asked for, as HTML; without a look at the events."""
    options, spec = epochs.options, loader.spec
    facts = [
        ("dataset", str(loader.dataset)),
        ("batches of", f"{options.batch_size:,}"),
        ("order", f"shuffled, seed {options.seed}" if options.shuffle else MODES["sequential"]),
        *_inputs(loader),
        ("target", ", ".join(spec.targets) if spec.targets else "none"),
        ("weight", "yes" if spec.has_weight else "none"),
    ]
    if loader.world > 1:
        facts.insert(3, ("rank", f"{loader.rank} of {loader.world}"))
    return titled_html("rootml.batching.BatchLoader", facts_html(facts))


def _shard(loader: BatchLoader) -> str:
    if loader.world == 1:
        return ""
    return f"; rank {loader.rank} of {loader.world} gets {loader.num_rows:,}"


def _tail(loader: BatchLoader) -> str:
    last = loader.num_rows - (len(loader) - 1) * loader.batch_size
    return "" if last == loader.batch_size else f", the last of {last:,}"


def _mixing(loader: BatchLoader, epochs: EpochSource, mode: Mode) -> list[tuple[str, str]]:
    if mode != "pool":
        return []
    sharing = epochs.sharing(mode, loader.world, 1)
    walk = epochs.plan(mode, loader.epoch, ()).walk(sharing, loader.rank, 0)
    measured = measure_mixing(walk, epochs.counts(loader.epoch))
    return [("mixing", "not measured: too many rows" if measured is None else str(measured))]


def _inputs(loader: BatchLoader) -> list[tuple[str, str]]:
    lines = []
    for spec in loader.spec.inputs:
        shape = {"flat": "", "padded": f" x {spec.length} places + mask", "ragged": " ragged"}
        names = ", ".join(spec.features[:8]) + (", ..." if len(spec.features) > 8 else "")
        lines.append(
            (f"input {spec.name}", f"{len(spec.features)} features{shape[spec.kind]}: {names}")
        )
    return lines


def _weight(epochs: EpochSource) -> str:
    factors = epochs.layout.class_weights
    if factors is None:
        return "yes" if epochs.layout.weight else "none"
    shown = ", ".join(f"{label:g}: {factor:.4g}" for label, factor in factors.items())
    return f"balanced by factors per label: {shown}"


def _units(epochs: EpochSource) -> str:
    counts = epochs.chosen.counts
    return (
        f"{len(counts):,} in {len(set(epochs.chosen.sources.tolist()))} source(s), "
        f"the largest of {int(counts.max()):,} rows"
    )


def _memory(epochs: EpochSource, mode: str) -> str:
    total = format_bytes(epochs.resident_bytes)
    size = f"{epochs.row_bytes} bytes per row, {total} in all"
    if mode == "sequential":
        return f"{size}; {epochs.options.threads + 1} units at a time"
    return f"{size}; buffer of {format_bytes(epochs.options.buffer_bytes)}"
