"""What a dataset is, in figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rootml._internal.reprs import Grid, HtmlRepr, Part, facts_text, percent, shorten
from rootml._internal.sizes import format_bytes
from rootml.dataset._column_groups import MANY, grouped
from rootml.dataset._dependencies import unreadable
from rootml.dataset._reader import Reader
from rootml.dataset._sample import Sample
from rootml.dataset._selection import SelectionIndex
from rootml.dataset._splits import Split
from rootml.dataset._weight_sums import Label, Steps, Sums, add_sums


@dataclass(frozen=True, slots=True)
class Description(HtmlRepr):
    """What a dataset is; prints as two tables, in notebooks too.

    Attributes:
        num_files: Input files.
        num_entries: Entries in them (within the entry range).
        num_rows: Selected entries.
        formats: Storage formats.
        columns: Names and types of the columns.
        stored_bytes: Estimated compressed size of the columns that are read, in all files.
        labels: Sums of weights of the selected events, by label.
        notes: What else is worth knowing.
    """

    num_files: int
    num_entries: int
    num_rows: int
    formats: tuple[str, ...]
    columns: dict[str, str]
    stored_bytes: int
    labels: dict[Label, Sums]
    notes: tuple[str, ...]

    @property
    def selected_fraction(self) -> float:
        """Selected entries over all; 0 of nothing."""
        return self.num_rows / self.num_entries if self.num_entries else 0.0

    def _facts(self) -> list[tuple[str, str]]:
        share = percent(self.num_rows, self.num_entries)
        return [
            ("files", f"{self.num_files:,} ({', '.join(self.formats)})"),
            ("entries", f"{self.num_entries:,}"),
            ("selected", f"{self.num_rows:,} ({share})"),
            ("columns", self._columns()),
            ("to read", _size_text(self.stored_bytes)),
            *(("note", note) for note in self.notes),
        ]

    def _columns(self) -> str:
        """In words; many of them have a table of their own."""
        if len(self.columns) > MANY:
            return f"{len(self.columns):,}, in groups below"
        return ", ".join(f"{name} ({kind})" for name, kind in self.columns.items())

    def _groups(self) -> list[Grid]:
        """That table, if there are many columns."""
        return [grouped(self.columns)] if len(self.columns) > MANY else []

    def _grid(self) -> Grid:
        header = ("label", "events", "sum of weights", "sum of squares", "effective", "negative")
        rows = [
            (
                "none" if label is None else str(label),
                f"{sums.count:,}",
                f"{sums.sumw:.6g}",
                f"{sums.sumw2:.6g}",
                f"{sums.effective:.1f}",
                percent(sums.negative, sums.count),
            )
            for label, sums in self.labels.items()
        ]
        return Grid(header, rows)

    def __str__(self) -> str:
        parts = [facts_text(self._facts()), self._grid(), *self._groups()]
        return "\n\n".join(map(str, parts))

    __repr__ = __str__

    def _html_title(self) -> str:
        return "rootml.Dataset"

    def _html_parts(self) -> Iterable[Part]:
        return [self._facts(), self._grid(), *self._groups()]


def describe(reader: Reader, index: SelectionIndex, sums: Sequence[Steps]) -> Description:
    """The figures of a dataset, from its selection."""
    labels: dict[Label, Sums] = {}
    for steps in sums:
        labels = add_sums(labels, steps[-1])
    infos = [info for sample in reader.samples for info in sample.files.infos()]
    types = reader.types()
    return Description(
        num_files=len(infos),
        num_entries=index.num_entries,
        num_rows=index.num_rows,
        formats=tuple(sorted({info.format for info in infos})),
        columns={name: str(types[name]) for name in reader.columns},
        stored_bytes=_stored_bytes(reader),
        labels=dict(sorted(labels.items(), key=lambda item: str(item[0]))),
        notes=tuple(_notes(reader)),
    )


def _size_text(stored_bytes: int) -> str:
    """Small trees lie in their own record, which does not say how large they are."""
    if not stored_bytes:
        return "size not recorded"
    return f"about {format_bytes(stored_bytes)}, compressed"


def _stored_bytes(reader: Reader) -> int:
    """From the reference file of each sample, by entries."""
    result = 0.0
    for resolved in reader.resolved_samples():
        files = resolved.sample.files
        outputs = [resolved.outputs[name] for name in reader.columns]
        names = resolved.needs(
            [*outputs, *resolved.cut_expressions, resolved.label, resolved.weight]
        )
        table = files.table(files.reference())
        entries = sum(
            stop - start for _, start, stop in resolved.sample.file_ranges(files.infos())
        )
        if names and table.num_entries:
            result += table.stored_bytes(names) * entries / table.num_entries
    return int(result)


def _notes(reader: Reader) -> list[str]:
    notes = []
    all_resolved = reader.resolved_samples()
    for resolved, casts in zip(all_resolved, reader.casts(), strict=True):
        notes += [
            f"{name!r} is {resolved.output_types()[name]} in {resolved.sample}, read as {dtype}"
            for name, dtype in casts.items()
        ]
        if resolved.sample.outputs is None:
            bad = unreadable(resolved)
            left_out = [name for name in resolved.outputs if name not in reader.columns]
            if bad:
                notes.append(f"columns of {resolved.sample} that cannot be read: {shorten(bad)}")
            if left_out:
                notes.append(f"only {resolved.sample} has: {shorten(left_out)}")
    cuts = [
        cut for resolved in all_resolved for cut in resolved.sample.cuts if isinstance(cut, Split)
    ]
    if any(cut.by is None for cut in cuts):
        notes.append(
            "split by file name and entry number: not stable under skimming, give by= for that"
        )
    return notes


def sample_facts(sample: Sample) -> str:
    """One line on a sample, without opening a file."""
    label = "" if sample.label is None else f", label {sample.label}"
    weight = "" if sample.weight is None else f", weight {sample.weight}"
    return f"{sample.title} ({len(sample.files)} file(s){label}{weight})"
