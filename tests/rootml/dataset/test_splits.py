"""Splits and folds: disjoint, complete, fair, and the same in every skim."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from event_files import FORMATS, NUM_EVENTS
from scipy import stats

import rootml
from rootml._internal.event_hash import hash_ids
from rootml.dataset._splits import fold_sides, split_sides
from rootml.errors import UsageError

Events = Callable[[str], rootml.Dataset]
IDS = np.arange(NUM_EVENTS)
MASK = (1 << 64) - 1


def ids_of(data: rootml.Dataset) -> np.ndarray[Any, Any]:
    ids: np.ndarray[Any, Any] = data.select(["id"]).to_awkward()["id"].to_numpy()
    return ids


def splitmix(z: int) -> int:
    """The finaliser of splitmix64, as Vigna's public domain C code has it, in Python integers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def reference(values: list[int], seed: int, stream: int) -> int:
    golden = 0x9E3779B97F4A7C15
    h = splitmix((splitmix(seed & MASK) + stream * golden) & MASK)
    for value in values:
        h = splitmix((h + ((value & MASK) + 1) * golden) & MASK)
    return h


@pytest.mark.parametrize(("seed", "stream"), [(0, 0), (1, 0), (2**40, 3), (-1, 1)])
def test_hash_is_the_documented_one(seed: int, stream: int) -> None:
    columns = [np.array([0, 1, -1, 2**62, 5]), np.array([1, 2, 3, 4, 255], np.uint8)]
    found = hash_ids(columns, 5, seed=seed, stream=stream)
    wanted = [reference([int(a), int(b)], seed, stream) for a, b in zip(*columns, strict=True)]
    assert found.tolist() == wanted


def test_splitmix_is_splitmix() -> None:
    """First outputs of the generator from seed 1234567, published with its code."""
    state, found = 1234567, []
    for _ in range(3):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        found.append(splitmix(state))
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_hash_depends_on_values_alone() -> None:
    values = np.array([0, 1, 7, 100])
    first = hash_ids([values], 4, seed=3)
    for dtype in ("i1", "u1", "i2", "u4", "u8", ">i8"):
        np.testing.assert_array_equal(hash_ids([values.astype(dtype)], 4, seed=3), first)
    texts = ak.Array(["", "a", "a\0", "run 1 lumi 2 event 3", "ä"])
    hashes = hash_ids([texts], 5, seed=0)
    assert len(set(hashes.tolist())) == 5
    np.testing.assert_array_equal(hash_ids([texts[[3, 1]]], 2, seed=0), hashes[[3, 1]])


@pytest.mark.parametrize("format_", FORMATS)
def test_sides_are_disjoint_and_complete(events: Events, format_: str) -> None:
    data = events(format_)
    sides = [ids_of(side) for side in data.split(test=0.3, validation=0.2, by="id", seed=5)]
    np.testing.assert_array_equal(np.sort(np.concatenate(sides)), IDS)
    train, test = data.split(test=0.3, by="id", seed=5)
    np.testing.assert_array_equal(ids_of(test), sides[2])
    np.testing.assert_array_equal(np.sort(ids_of(train)), np.sort(np.concatenate(sides[:2])))
    expected = [reference([int(i)], 5, 0) < int(0.3 * 2**64) for i in IDS]
    np.testing.assert_array_equal(np.isin(IDS, sides[2]), expected)


def test_folds_test_each_event_once(events: Events) -> None:
    folds = events("ttree").folds(4, by="id")
    tested = [ids_of(test) for _, test in folds]
    np.testing.assert_array_equal(np.sort(np.concatenate(tested)), IDS)
    for (train, _), held in zip(folds, tested, strict=True):
        np.testing.assert_array_equal(ids_of(train), np.setdiff1d(IDS, held))


def test_an_event_at_the_edge_of_two_sides_is_on_one() -> None:
    """Hashes at each edge and beside it."""
    sides = split_sides(0.3, 0.2, by=None, seed=0)
    folds = [test for _, test in fold_sides(3, by=None, seed=0)]
    for parts in (sides, folds):
        edges = {side.start for side in parts}
        near = [h for edge in edges for h in (edge - 1, edge, edge + 1) if h >= 0]
        hashes = np.array([*near, MASK], np.uint64)
        assert (np.sum([side.mask(hashes) for side in parts], axis=0) == 1).all()


def test_fractions_are_binomial() -> None:
    ids = np.arange(200_000)
    counts, pulls = [], []
    for seed in range(40):
        inside = hash_ids([ids], len(ids), seed=seed) < np.uint64(int(0.1 * 2**64))
        counts.append(inside.sum())
        pulls.append((inside.sum() - 20_000) / np.sqrt(len(ids) * 0.09))
    assert stats.kstest(pulls, "norm").pvalue > 1e-4
    low_bits = hash_ids([ids], len(ids), seed=1) & np.uint64(255)
    assert stats.chisquare(np.bincount(low_bits.astype(int))).pvalue > 1e-4


def test_split_of_a_split_is_independent() -> None:
    ids = np.arange(100_000)
    first, second = (hash_ids([ids], len(ids), seed=0, stream=n) for n in (0, 1))
    table = np.histogram2d(first.astype(float), second.astype(float), bins=4)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-4


def test_nested_splits_have_their_fractions(events: Events) -> None:
    rest, test = events("ttree").split(test=0.5, by="id")
    train, validation = rest.split(test=0.5, by="id")
    parts = [ids_of(each) for each in (train, validation, test)]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), IDS)
    for part in parts[:2]:
        assert abs(len(part) - NUM_EVENTS / 4) < 6 * np.sqrt(NUM_EVENTS * 3 / 16)


@pytest.mark.parametrize("format_", ["root", "parquet", "arrow"])
def test_sides_survive_a_skim(events: Events, tmp_path: Path, format_: str) -> None:
    data = events("ttree").filter("k > 2")
    wanted = [ids_of(side) for side in data.split(test=0.4, by=["id", "k"])]
    paths = data.select(["k", "id"]).skim(tmp_path, format=format_)
    again = rootml.open(list(reversed(paths)))
    for side, ids in zip(again.split(test=0.4, by=["id", "k"]), wanted, strict=True):
        np.testing.assert_array_equal(np.sort(ids_of(side)), np.sort(ids))


def test_split_by_strings(tmp_path: Path) -> None:
    names = [f"event {i % 500}" for i in range(2000)]
    pyarrow.parquet.write_table(
        pa.table({"id": range(2000), "name": names}), tmp_path / "f.parquet"
    )
    train, test = rootml.open(tmp_path / "f.parquet").split(test=0.5, by="name")
    sides = [{names[i] for i in ids_of(side)} for side in (train, test)]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == set(names)


def test_without_identity_the_entry_decides_and_that_is_said(events: Events) -> None:
    data = events("ttree")
    train, test = data.split(test=0.5)
    np.testing.assert_array_equal(np.sort(np.concatenate([ids_of(train), ids_of(test)])), IDS)
    assert "not stable under skimming" in str(train.describe())
    assert "not stable" not in str(data.split(test=0.5, by="id")[0].describe())


@pytest.mark.parametrize("by", [3, [], "", ["id", 3], [""]])
def test_identities_that_are_no_names(events: Events, by: Any) -> None:
    with pytest.raises(UsageError, match="by must be the name of a column or a list of names"):
        events("ttree").split(test=0.5, by=by)


def test_labels_that_no_column_holds(events: Events) -> None:
    data = events("ttree")
    for label, problem in (
        (2**63, "a number of at most 64 bits"),
        (float("nan"), "a finite number"),
    ):
        with pytest.raises(UsageError, match=f"label must be {problem}"):
            data.with_label(label)
    assert data.with_label(2**63 - 1).has_label
