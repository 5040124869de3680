"""Whatever writes one file says, if its folder is missing, which; what takes a folder makes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from bdt_forests import random_forest

import rootml
from rootml import plot, sbi, toml
from rootml.batching import Standardizer
from rootml.errors import MissingFileError, UsageError


@pytest.fixture
def data(tmp_path: Path) -> rootml.Dataset:
    path = tmp_path / "events.parquet"
    pa.parquet.write_table(pa.table({"x": np.arange(50.0)}), path)
    return rootml.open(str(path))


def model() -> sbi.Model:
    return sbi.Model({"S": "mu * 3"}, {"mu": sbi.Parameter(1.0, lower=0.0)})


def channel() -> sbi.Likelihood:
    return model().likelihood({"S": [1.0, 2.0]})


def forest() -> Any:
    return random_forest(np.random.default_rng(1), feature_names=tuple("abcd"))


def picture(path: Path) -> Any:
    pytest.importorskip("matplotlib")
    return plot.write(plot.steps({"a": [1.0]}, [0, 1]), path)


def standardizer(data: rootml.Dataset) -> Standardizer:
    return Standardizer().fit(data)


FILES: dict[str, Callable[[rootml.Dataset, Path], Any]] = {
    "toml": toml.save,
    "index": lambda data, path: data.scan().save(path),
    "standardizer": lambda data, path: standardizer(data).save(path),
    "standardizer ONNX": lambda data, path: standardizer(data).to_onnx(path, input="x"),
    "forest": lambda _, path: forest().save(path),
    "forest ONNX": lambda _, path: forest().to_onnx(path),
    "forest C++": lambda _, path: forest().to_cpp(path, name="Trees"),
    "model": lambda _, path: sbi.save(model(), path),
    "likelihood": lambda _, path: sbi.save(channel(), path),
    "picture": lambda _, path: picture(path),
    "combined": lambda _, path: sbi.save(sbi.CombinedLikelihood({"a": channel()}), path),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_in_a_folder_that_is_missing(
    what: str, data: rootml.Dataset, tmp_path: Path
) -> None:
    if "ONNX" in what:
        pytest.importorskip("onnx")
    place = tmp_path / "none"
    with pytest.raises(MissingFileError, match=r"cannot write .*there is no folder '.*none'"):
        FILES[what](data, place / "file.x")
    assert not place.exists()


@pytest.mark.parametrize("what", FILES)
def test_a_folder_where_a_file_is_asked_for(
    what: str, data: rootml.Dataset, tmp_path: Path
) -> None:
    if "ONNX" in what:
        pytest.importorskip("onnx")
    with pytest.raises(UsageError, match="it is a folder"):
        FILES[what](data, tmp_path)


FOLDERS: dict[str, Callable[[rootml.Dataset, Path], Any]] = {
    "skim": lambda data, path: data.skim(path),
    "friends": lambda data, path: data.write_friend(path, {"y": np.arange(50.0)}),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_a_folder_is_made(what: str, data: rootml.Dataset, tmp_path: Path) -> None:
    (path,) = FOLDERS[what](data, tmp_path / "deep" / "deeper")
    assert Path(path).parent == tmp_path / "deep" / "deeper"
