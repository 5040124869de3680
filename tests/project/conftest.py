"""Fixtures of the tests of pages: the files that their examples read."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).parents[2] / "tutorials"


@pytest.fixture(scope="session")
def collision_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of the tutorials, made once: two of signal, three of background."""
    spec = importlib.util.spec_from_file_location("collisions", TUTORIALS / "collisions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("collisions")
    module.make_files(folder, 5_000)
    return sorted(folder.iterdir())
