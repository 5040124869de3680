"""What a user may ask for by mistake: an error of ours that says what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

import rootml
from rootml.batching import Padded, Ragged, Resample
from rootml.errors import CastError, StateError, UsageError


@pytest.fixture
def data(tmp_path: Path) -> rootml.Dataset:
    table = pa.table({"x": [1.0, 2.0, 3.0], "big": [1, 2, 2**53 + 1]})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    return rootml.open(f"{tmp_path}/t.parquet")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"dtype": "int8"}, "dtype='int8': features are float32, float64"),
        ({"dtype": None}, "dtype=None: features are float32, float64"),
        ({"inputs": 3}, "inputs: expected a list of names, not 3"),
        ({"inputs": {"a": 3}}, "inputs.'a'.: expected a list of names, not 3"),
        ({"inputs": {3: ["x"]}}, "a name is a text"),
        ({"targets": [3]}, "targets: expected a list of names, not 3"),
        ({"observers": "x"}, "observers='x': expected a list"),
        (
            {"inputs": {"a": Padded(["x"], length=2), "a_mask": ["big"]}},
            "'a_mask' is what",
        ),
        (
            {"inputs": ["big"], "observers": {"a": Ragged(["x"]), "a_offsets": "x"}},
            "observers: 'a_offsets' is what belongs to the lists 'a'",
        ),
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


@pytest.mark.parametrize("state", [None, 3, "{}", []])
def test_states_that_are_no_dicts(data: rootml.Dataset, state: Any) -> None:
    with pytest.raises(StateError, match="a loader state is a dict"):
        data.batches(2).load_state_dict(state)


def test_negative_weights_in_xgboost(data: rootml.Dataset) -> None:
    xgboost = pytest.importorskip("xgboost")
    weighted = data.select(["x"]).with_weight("2.5 - x").with_label(1)
    with pytest.raises(UsageError, match="t.parquet.*no negative weights; 1 of 3"):
        xgboost.QuantileDMatrix(weighted.batches(3).xgboost())
    matrix = xgboost.QuantileDMatrix(weighted.filter("2.5 - x > 0").batches(2).xgboost())
    assert matrix.get_weight().tolist() == [1.5, 0.5]
