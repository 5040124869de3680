"""Fixtures that all tests share: real files, and CERN's ROOT where it is installed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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


@pytest.fixture(scope="session")
def root() -> Any:
    """CERN's ROOT, or skip."""
    pytest.importorskip("ROOT")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel says that it is in its alpha stage
        import ROOT

        ROOT.gErrorIgnoreLevel = ROOT.kError
        return ROOT
