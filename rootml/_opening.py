"""`rootml.open`: from what a user says of files to a dataset of one sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rootml._files import Files, FileSpec
from rootml._friends import match_friends
from rootml._sample import (
    Number,
    Sample,
    check_entry_range,
    check_normalisation,
    check_value,
)
from rootml.dataset import Dataset
from rootml.storage import expand_paths


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
) -> Dataset:
    """See `rootml.open`."""
    found = expand_paths(paths)
    links = match_friends([path for path, _ in found], friends)
    specs = [
        FileSpec(path, tree, friend) for (path, tree), friend in zip(found, links, strict=True)
    ]
    sample = Sample(
        Files(specs),
        _title(paths, specs),
        label=check_value(label, "label"),
        weight=check_value(weight, "weight"),
        normalisation=check_normalisation(cross_section, luminosity, sum_of_weights),
        entry_range=check_entry_range(entry_range),
    )
    return Dataset([sample])


def _title(paths: Any, specs: Sequence[FileSpec]) -> str:
    if isinstance(paths, str):
        return paths
    more = f" and {len(specs) - 1} more" if len(specs) > 1 else ""
    return f"{specs[0].where}{more}"
