"""What a loader will do, and where its time went."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rootml._internal.reprs import HtmlRepr, Part
from rootml._internal.sizes import format_bytes
from rootml.batching.order._plan import Mode
from rootml.batching.order._shuffle_quality import measure_quality

if TYPE_CHECKING:
    from rootml.batching.adapters._source import BatchSource
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
class LoaderDescription(HtmlRepr):
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

    def _html_title(self) -> str:
        return "rootml.batching.BatchLoader"

    def _html_parts(self) -> Iterable[Part]:
        return [self.rows]


def describe(loader: BatchSource, source: EpochSource) -> LoaderDescription:
    """The description of a loader; plans the first epoch if that is not done yet."""
    options, spec, timing = source.options, loader.spec, source.timing
    mode = source.policy.mode(1)
    rows = [
        ("dataset", str(source.dataset)),
        ("rows per epoch", f"{source.index.num_rows:,}" + _shard(loader)),
        ("batches", f"{len(loader):,} of {loader.spec.batch_size:,}" + _tail(loader)),
        ("order", MODES[mode] if options.shuffle else MODES["sequential"]),
        *_quality(loader, source, mode),
        *_inputs(loader),
        ("target", ", ".join(spec.targets) if spec.targets else "none"),
        ("weight", _weight(source)),
        ("observers", ", ".join(f"{n} ({d})" for n, d in spec.observers.items()) or "none"),
        ("dtype", f"{options.dtype}; NaN and infinity: {options.nonfinite}"),
        ("units", _units(source)),
        ("memory", _memory(source, mode)),
        ("decoding threads", str(options.threads)),
    ]
    if timing.rows:
        rows.append(("delivered so far", f"{timing.rows:,} rows in {timing.batches:,} batches"))
    rows += [(f"time: {stage}", f"{spent:.3f} s") for stage, spent in timing.seconds.items()]
    return LoaderDescription(tuple(rows), dict(timing.seconds))


def loader_facts(loader: BatchSource, source: EpochSource) -> list[tuple[str, str]]:
    """What a loader was asked for; without a look at the events."""
    options, spec = source.options, loader.spec
    facts = [
        ("dataset", str(source.dataset)),
        ("batches of", f"{options.batch_size:,}"),
        ("order", f"shuffled, seed {options.seed}" if options.shuffle else MODES["sequential"]),
        *_inputs(loader),
        ("target", ", ".join(spec.targets) if spec.targets else "none"),
        ("weight", "yes" if spec.has_weight else "none"),
    ]
    if loader.world > 1:
        facts.insert(3, ("rank", f"{loader.rank} of {loader.world}"))
    return facts


def _shard(loader: BatchSource) -> str:
    if loader.world == 1:
        return ""
    return f"; rank {loader.rank} of {loader.world} gets {loader.num_rows:,}"


def _tail(loader: BatchSource) -> str:
    last = loader.num_rows - (len(loader) - 1) * loader.spec.batch_size
    return "" if last == loader.spec.batch_size else f", the last of {last:,}"


def _quality(loader: BatchSource, source: EpochSource, mode: Mode) -> list[tuple[str, str]]:
    if mode != "pool":
        return []
    sharding = source.policy.sharding(mode, loader.world, 1)
    schedule = source.plan(mode, loader.epoch, ()).schedule(sharding, loader.rank, 0)
    measured = measure_quality(schedule, source.index.epoch_counts(loader.epoch))
    return [("shuffle quality", str(measured or "not measured: too many rows"))]


def _inputs(loader: BatchSource) -> list[tuple[str, str]]:
    lines = []
    for spec in loader.spec.inputs:
        shape = {"flat": "", "padded": f" x {spec.length} elements + mask", "ragged": " ragged"}
        names = ", ".join(spec.features[:8]) + (", ..." if len(spec.features) > 8 else "")
        lines.append(
            (f"input {spec.name}", f"{len(spec.features)} features{shape[spec.kind]}: {names}")
        )
    return lines


def _weight(source: EpochSource) -> str:
    factors = source.layout.class_weights
    if factors is None:
        return "yes" if source.layout.weight else "none"
    shown = ", ".join(f"{label:g}: {factor:.4g}" for label, factor in factors.items())
    return f"balanced by factors per label: {shown}"


def _units(source: EpochSource) -> str:
    counts = source.index.counts
    return (
        f"{len(counts):,} in {len(set(source.index.sources.tolist()))} source(s), "
        f"the largest of {int(counts.max()):,} rows"
    )


def _memory(source: EpochSource, mode: str) -> str:
    total = format_bytes(source.policy.resident_bytes)
    size = f"{source.policy.row_bytes} bytes per row, {total} in all"
    if mode == "sequential":
        return f"{size}; {source.options.threads + 1} units at a time"
    return f"{size}; buffer of {format_bytes(source.options.buffer_bytes)}"
