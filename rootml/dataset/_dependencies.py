"""Which columns of the files stand behind what a sample gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rootml.dataset._resolved_sample import ResolvedSample
from rootml.storage import ColumnType


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The columns of the files of one sample, and what needs which of them.

    Attributes:
        sample: Title of the sample.
        columns: All columns of its files (with friends), by name.
        cuts, label, weight: Names of the columns that cuts and splits, label and weight need.
        unreadable: Columns that cannot be read, where no columns are selected: they are left out.
    """

    sample: str
    columns: Mapping[str, ColumnType]
    cuts: tuple[str, ...]
    label: tuple[str, ...]
    weight: tuple[str, ...]
    unreadable: tuple[str, ...]


def dependencies(resolved: ResolvedSample) -> Dependencies:
    """What stands behind a sample."""
    return Dependencies(
        str(resolved.sample),
        resolved.columns,
        tuple(resolved.needs(resolved.cut_expressions)),
        tuple(resolved.needs([resolved.label])),
        tuple(resolved.needs([resolved.weight])),
        unreadable(resolved),
    )


def unreadable(resolved: ResolvedSample) -> tuple[str, ...]:
    """Columns that cannot be read and are left out, because none are selected."""
    if resolved.sample.outputs is not None:
        return ()
    return tuple(name for name, kind in resolved.columns.items() if kind.kind == "unsupported")
