"""`rootml.open`: from the arguments of a user to a dataset of one sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rootml._internal.validators import options_of
from rootml.dataset import Dataset
from rootml.dataset._sample import (
    Number,
    Sample,
    check_dialect,
    check_entry_range,
    check_normalisation,
    check_value,
    translated,
)
from rootml.expressions import Dialect
from rootml.files import Unmatched
from rootml.files._files import Files, FileSpec
from rootml.files._friends import match_friends
from rootml.storage import Remote, expand_paths
from rootml.storage.remote import redact


@options_of("rootml.open")
def open_dataset(
    paths: Any,
    *,
    label: Number | str | None = None,
    weight: Number | str | None = None,
    cross_section: float | None = None,
    luminosity: float | None = None,
    sum_of_weights: float | str | None = None,
    entry_range: tuple[int | None, int | None] | None = None,
    friends: Any = None,
    by: str | Sequence[str] | None = None,
    unmatched: Unmatched = "error",
    remote: Remote | None = None,
    dialect: Dialect = "rootml",
) -> Dataset:
    """A dataset of one sample: files of one kind of events, read when they are needed.

    Args:
        paths: Path, glob, URL, ``"file:tree"``, ``{file: tree}``, or a list of these.
            Relative ones belong to the working folder of now, wherever the program goes later.
        label: A number, a column or an expression; None: no label.
        weight: A number, a column or an expression; None: 1.
        cross_section, luminosity: Scale the weights to ``cross_section * luminosity``, events in
            all (`luminosity`: None stands for 1); need `sum_of_weights`.
        sum_of_weights: What the weights are divided by: a number; ``"tree:expression"``, summed
            over another tree of the same files (``"Runs:genEventSumw"``); or an expression summed
            over all events of the files (``"weight"``: the weight of this sample), whatever is
            cut. `Dataset.vary` with ``suffix=`` leaves it nominal, however it is spelt.
        entry_range: Entries ``(start, stop)``, counted over the files.
        friends: Files of friend trees: paths, or ``{alias: paths}`` for several friends.
        by: Columns that tell events apart, such as ``["run", "luminosityBlock", "event"]``: the
            events of friends are found by them, in whatever order and file they are. None: entry
            `i` of a friend belongs to entry `i` of the file.
        unmatched: What happens to events that the friends lack: ``"error"``; ``"drop"``: they are
            cut away, as the cutflow says; ``"fill"``: NaN, 0, false, "" or an empty list. The
            column ``<alias>_matched`` tells them.
        remote: How URLs are read: time limits, tries, a cache; None: as `rootml.storage.Remote()`.
        dialect: ``"draw"``: cuts, definitions, label and weight are written for ``TTree::Draw``,
            whose arithmetic differs (see the guide to expressions).

    Raises:
        MissingFileError: A file that does not exist, or a pattern that matches nothing.
        RemoteError: A server that cannot be reached to list what matches a pattern.
        UsageError: Arguments that make no sense.

    >>> import pyarrow as pa, pyarrow.parquet, rootml
    >>> pa.parquet.write_table(pa.table({"w": [1.0, 3.0]}), "events.parquet")
    >>> data = rootml.open("events.parquet", weight="w", cross_section=2.0, sum_of_weights="w")
    >>> data.scan().total.sumw
    2.0
    """
    found = expand_paths(paths, remote=remote)
    matched = by is not None or unmatched != "error"
    links = match_friends([path for path, _ in found], None if matched else friends)
    specs = [
        FileSpec(path, tree, friend) for (path, tree), friend in zip(found, links, strict=True)
    ]
    sample = Sample(
        Files(specs),
        _title(paths, specs),
        label=translated(check_value(label, "label"), check_dialect(dialect)),
        weight=translated(check_value(weight, "weight"), dialect),
        normalisation=check_normalisation(cross_section, luminosity, sum_of_weights),
        entry_range=check_entry_range(entry_range),
        dialect=dialect,
    )
    data = Dataset([sample])
    return data.with_friends(friends, by=by, unmatched=unmatched) if matched else data


def _title(paths: Any, specs: Sequence[FileSpec]) -> str:
    if isinstance(paths, str):
        return redact(paths)
    more = f" and {len(specs) - 1} more" if len(specs) > 1 else ""
    return f"{specs[0].where}{more}"
