"""What a user may ask for by mistake: an error of ours that says what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

import rootml
from rootml.batching import Resample
from rootml.errors import CastError, UsageError


@pytest.fixture
def data(tmp_path: Path) -> rootml.Dataset:
    table = pa.table({"x": [1.0, 2.0, 3.0], "big": [1, 2, 2**53 + 1]})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    return rootml.open(f"{tmp_path}/t.parquet")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"dtype": "bfloat16"}, "dtype='bfloat16': features are float32 or float64"),
        ({"dtype": None}, "dtype=None: features are float32 or float64"),
        ({"inputs": 3}, "inputs: expected a list of names, not 3"),
        ({"inputs": {"a": 3}}, "inputs.'a'.: expected a list of names, not 3"),
        ({"inputs": {3: ["x"]}}, "a name is a text"),
        ({"targets": [3]}, "targets: expected a list of names, not 3"),
        ({"observers": "x"}, "observers='x': expected a list"),
    ],
)
def test_options(data: rootml.Dataset, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        data.batches(2, **options)


def test_resampling_by_something_else() -> None:
    with pytest.raises(UsageError, match="kind=.*expected 'under' or 'over'"):
        Resample({0: 1.0, 1: 1.0})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="ratio='1'.*expected a number"):
        Resample("over", "1")  # type: ignore[arg-type]


def test_a_wider_dtype_is_no_advice_for_what_has_the_widest(data: rootml.Dataset) -> None:
    with pytest.raises(CastError, match="9007199254740993 would.*float64.*; carry the column"):
        list(data.select(["big"]).batches(2, dtype="float64").numpy())
    with pytest.raises(CastError, match="use dtype='float64', carry the column"):
        list(data.select(["big"]).batches(2).numpy())
