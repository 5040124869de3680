"""A small toy in ROOT files, and a morpher trained on it for a moment."""

from __future__ import annotations

from pathlib import Path

import pytest
from morphing_small import EVENTS, small
from morphing_toy import write_toy

import rootml
from rootml.sbi.morphing import Morpher


@pytest.fixture(scope="session")
def toy_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Paths of simulation and data, `EVENTS` each."""
    folder = tmp_path_factory.mktemp("toy")
    sim = write_toy(folder / "sim.root", "sim", EVENTS)
    return sim, write_toy(folder / "data.root", "data", EVENTS)


@pytest.fixture
def sim(toy_files: tuple[str, str]) -> rootml.Dataset:
    """The simulation."""
    return rootml.open(toy_files[0])


@pytest.fixture
def data(toy_files: tuple[str, str]) -> rootml.Dataset:
    """The data."""
    return rootml.open(toy_files[1])


@pytest.fixture(scope="session")
def morpher(toy_files: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Morpher:
    """Fitted, with three bootstraps."""
    pytest.importorskip("torch")
    sim, data = map(rootml.open, toy_files)
    return small(ensemble=3).fit(sim, data)


@pytest.fixture
def saved(morpher: Morpher, tmp_path: Path) -> Path:
    """The file of it."""
    morpher.save(tmp_path / "morph")
    return tmp_path / "morph"
