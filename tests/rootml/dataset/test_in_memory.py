"""Datasets in memory, their length and their first events, against plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from event_files import FORMATS, NUM_EVENTS, columns_of

import rootml
from rootml.errors import UnsupportedTypeError, UsageError

Events = Callable[[str], rootml.Dataset]
ALL = columns_of(np.arange(NUM_EVENTS, dtype=np.int64))
MASK = ALL["k"] > 2


def chosen(data: rootml.Dataset) -> rootml.Dataset:
    return data.filter("k > 2").with_label("id % 2").with_weight("0.5 * x").select(["id", "x"])


def test_label_and_weight_in_memory(events: Events) -> None:
    found = chosen(events("ttree")).to_awkward(label=True, weight=True)
    assert found.fields == ["id", "x", "label", "weight"]
    np.testing.assert_array_equal(ak.to_numpy(found["label"]), ALL["id"][MASK] % 2)
    np.testing.assert_array_equal(ak.to_numpy(found["weight"]), 0.5 * ALL["x"][MASK].astype("f8"))
    none = chosen(events("ttree")).filter("k > 1e9").to_awkward(label=True, weight=True)
    assert (len(none), none.fields) == (0, found.fields)


def test_a_column_called_weight_is_not_overwritten(events: Events) -> None:
    data = events("ttree").with_weight("x").select(["weight"])
    with pytest.raises(UsageError, match="a column is called 'weight' already"):
        data.to_awkward(weight=True)


@pytest.mark.parametrize("name", FORMATS)
def test_pandas(events: Events, name: str) -> None:
    pytest.importorskip("pandas")
    frame = chosen(events(name)).to_pandas(label=True)
    assert list(frame.columns) == ["id", "x", "label"]
    np.testing.assert_array_equal(frame["id"].to_numpy(), ALL["id"][MASK])
    assert frame["x"].dtype == ALL["x"].dtype
    with pytest.raises(UnsupportedTypeError, match="'jet' is .* one value per row"):
        events(name).select(["jet"]).to_pandas()


def test_head_reads_no_more_than_it_needs(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    data = events("ttree").filter("k > 2").select(["id"])
    np.testing.assert_array_equal(ak.to_numpy(data.head(3)["id"]), ALL["id"][MASK][:3])
    assert len(data.head(0)) == 0
    assert len(data.head(10 * NUM_EVENTS)) == np.count_nonzero(MASK)
    with pytest.raises(UsageError, match="n=-1"):
        data.head(-1)
    read: list[Any] = []
    block = data._reader.block

    def counted(*args: Any, **options: Any) -> Any:
        read.append(args)
        return block(*args, **options)

    monkeypatch.setattr(data._reader, "block", counted)
    data.head(1)
    assert len(read) == 2  # the empty one with the types, and the first


def test_the_length_is_known_after_a_scan(events: Events) -> None:
    data = events("ttree").filter("k > 2")
    with pytest.raises(UsageError, match=r"known after scan\(\)"):
        len(data)
    assert data  # a dataset is something, scanned or not
    data.scan()
    assert len(data) == len(data.select(["x"])) == np.count_nonzero(MASK)


def test_sum_of_datasets(events: Events) -> None:
    data = events("ttree")
    parts = [data.filter(f"k == {k}") for k in range(3)]
    found: Any = sum(parts)
    wanted = parts[0] + parts[1] + parts[2]
    assert found.scan().num_rows == wanted.scan().num_rows
    with pytest.raises(TypeError):
        _ = 1 + data


def test_a_misspelt_method_names_the_nearest(events: Events) -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'fliter'; nearest: 'filter'"):
        events("ttree").fliter("k > 2")  # type: ignore[attr-defined]
    assert not hasattr(events("ttree"), "_repr_nothing_")


def test_files_in_the_way_are_refused_before_the_work(events: Events, tmp_path: Path) -> None:
    data = events("ttree").select(["id"])
    paths = data.write_friend(tmp_path, {"twice": 2 * ALL["id"]})
    calls = []

    def compute(columns: Any) -> Any:
        calls.append(1)
        return {"twice": 2 * columns["id"]}

    with pytest.raises(UsageError, match="is there already"):
        data.write_friend(tmp_path, compute)
    assert not calls
    never_scanned = data.filter("k > 2")
    with pytest.raises(UsageError, match="is there already"):
        never_scanned.skim(tmp_path)
    with pytest.raises(UsageError, match="known after"):
        len(never_scanned)
    assert data.write_friend(tmp_path, compute, overwrite=True) == paths
