"""Fixtures that all tests share: real files, made files, CERN's ROOT where it is installed."""

from __future__ import annotations

import contextlib
import importlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_files import FILE_ROWS, write_events

import rootml

# triton comes with the CUDA builds of torch, and its import crashes once TensorFlow is loaded.
with contextlib.suppress(ImportError):
    importlib.import_module("triton")

DATA = Path(os.environ.get("ROOTML_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def find_real_file(name: str) -> str:
    """Path of a real ROOT file: the local collection, else scikit-hep-testdata, else skip."""
    if (DATA / name).exists():
        return str(DATA / name)
    try:
        import skhep_testdata

        return str(skhep_testdata.data_path(name))
    except Exception as error:  # noqa: BLE001 - no network, no package, no such file: all the same here
        pytest.skip(f"{name} is not in {DATA} and cannot be downloaded: {error}")


@pytest.fixture(scope="session")
def real_file() -> Callable[[str], str]:
    """`real_file("uproot-HZZ.root")` gives the path of a ROOT file that people use."""
    return find_real_file


@pytest.fixture
def figures_closed() -> Iterator[None]:
    """No figure of another test is open, and none stays open: `usefixtures("figures_closed")`."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    pyplot.close("all")
    yield
    pyplot.close("all")


@pytest.fixture(scope="session")
def root() -> Any:
    """CERN's ROOT, or skip."""
    pytest.importorskip("ROOT")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel says that it is in its alpha stage
        import ROOT

        ROOT.gErrorIgnoreLevel = ROOT.kError
        return ROOT


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
