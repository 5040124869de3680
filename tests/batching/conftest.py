"""Datasets over files whose every value follows from the event's id."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from event_files import FILE_ROWS, write_events

import rootml


@pytest.fixture(scope="session")
def event_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[list[str]]]:
    """`event_files("ttree")`: paths of the background files and of the signal files."""
    made: dict[str, list[list[str]]] = {}

    def files(format_: str) -> list[list[str]]:
        if format_ not in made:
            folder = tmp_path_factory.mktemp(format_)
            first, made[format_] = 0, []
            for sample, sizes in enumerate(FILE_ROWS):
                paths = []
                for number, rows in enumerate(sizes):
                    ids = np.arange(first, first + rows, dtype=np.int64)
                    paths.append(write_events(folder / f"s{sample}_{number}", ids, format_))
                    first += rows
                made[format_].append(paths)
        return made[format_]

    return files


@pytest.fixture(scope="session")
def events(event_files: Callable[[str], list[list[str]]]) -> Callable[[str], rootml.Dataset]:
    """`events("ttree")`: background and signal with labels 0 and 1 and weights."""

    def dataset(format_: str) -> rootml.Dataset:
        background, signal = event_files(format_)
        return rootml.open(background, label=0, weight="weight") + rootml.open(
            signal, label=1, weight="weight"
        )

    return dataset
