"""Cuts evaluated in stages pass the same events, and are the same errors, as looked at at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

import rootml
from rootml.errors import ExpressionError
from rootml.expressions import _staged, cut_mask, parse
from rootml.expressions._staged import staged_mask

EVENTS = 400
RNG = np.random.default_rng(5)
COUNTS = RNG.poisson(2.0, EVENTS)
NASTY = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, 30.0], np.float32)


def lists(dtype: Any = np.float32, counts: Any = COUNTS) -> Any:
    values = RNG.normal(20, 30, int(counts.sum())).astype(dtype)
    if np.dtype(dtype).kind == "f":
        places = RNG.integers(0, len(values), 60)
        values[places] = RNG.choice(NASTY, 60)
    return ak.unflatten(values, counts)


COLUMNS: dict[str, Any] = {
    "pt": lists(),
    "eta": lists(np.float64),
    "charge": lists(np.int32),
    "big": ak.unflatten(np.full(COUNTS.sum(), 2**62), COUNTS),
    "other": lists(counts=np.roll(COUNTS, 1)),
    "met": RNG.choice([*NASTY, 10.0, 50.0], EVENTS).astype(np.float32),
    "n": RNG.integers(0, 9, EVENTS).astype(np.int32),
    "rare": RNG.random(EVENTS) < 0.1,
    "never": np.zeros(EVENTS, bool),
}


def by_hand(cut: Any) -> Any:
    """Whether each event passes, in plain Python."""
    with np.errstate(all="ignore"):
        return np.array(
            [
                bool(cut(**{name: ak.to_numpy(values[event]) if values.ndim > 1 else values[event]
                            for name, values in COLUMNS.items()}))
                for event in range(EVENTS)
            ]
        )  # fmt: skip


def largest(values: Any) -> Any:
    return values.max() if len(values) else np.nan


CUTS = {
    "rare && Sum$(pt) > 30": lambda rare, pt, **_: rare and np.sum(pt, dtype="f8") > 30,
    "Sum$(pt * (abs(eta) < 24)) > 20 && n >= 7": lambda pt, eta, n, **_: (
        n >= 7 and sum(float(p) * (abs(e) < 24) for p, e in zip(pt, eta, strict=True)) > 20
    ),
    "n == 3 && any(pt > 30 && eta < met)": lambda n, pt, eta, met, **_: (
        n == 3 and bool(np.any((pt > 30) & (eta < met)))
    ),
    "n == 3 && all(!(pt > 30))": lambda n, pt, **_: n == 3 and bool(np.all(~(pt > 30))),
    "n > 6 && Max$(pt) > 20 && n < 8": lambda n, pt, **_: 6 < n < 8 and largest(pt) > 20,
    "never && Sum$(pt) > 0": lambda **_: False,
    "rare && Length$(charge) > 2": lambda rare, charge, **_: rare and len(charge) > 2,
    "rare && any(charge == 20 || pt / charge > 1)": lambda rare, charge, pt, **_: (
        rare and bool(np.any((charge == 20) | (pt.astype("f8") / charge > 1)))
    ),
    "met > 20 && rare && Sum$(-eta) < 2.5 * n": lambda met, rare, eta, n, **_: (
        met > 20 and rare and np.sum(-eta) < 2.5 * n
    ),
}


@pytest.fixture(autouse=True)
def few_events_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_staged, "_MIN_EVENTS", 1)


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """In how many events lists were looked at."""
    rows: list[int] = []
    whole = _staged._in_rows

    def noted(expression: Any, columns: Any, num_events: int, chosen: Any) -> Any:
        rows.append(len(chosen))
        return whole(expression, columns, num_events, chosen)

    monkeypatch.setattr(_staged, "_in_rows", noted)
    return rows


@pytest.mark.parametrize("text", CUTS)
def test_the_same_events_pass(text: str, staged: list[int]) -> None:
    everything = np.ones(EVENTS, bool)
    wanted = by_hand(CUTS[text])
    np.testing.assert_array_equal(
        staged_mask(parse(text), COLUMNS, EVENTS, among=everything), wanted
    )
    assert len(staged) == 1
    assert staged[0] <= 0.4 * EVENTS
    among = RNG.random(EVENTS) < 0.5
    found = staged_mask(parse(text), COLUMNS, EVENTS, among=among)
    np.testing.assert_array_equal(found, among & wanted)


def test_earlier_cuts_leave_few_events(staged: list[int]) -> None:
    cut = parse("Sum$(pt) > 30")
    found = staged_mask(cut, COLUMNS, EVENTS, among=COLUMNS["rare"])
    assert staged == [COLUMNS["rare"].sum()]
    wanted = by_hand(lambda rare, pt, **_: rare and np.sum(pt, dtype="f8") > 30)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    "text",
    [
        "Sum$(pt) > 30",  # nothing to do before
        "n >= 0 && Sum$(pt) > 30",  # too many are left
        "rare && pt[0] > 30",  # elements that may be missing
        "rare && Sum$(pt[eta > 0]) > 30",  # lists of new lengths
        "rare && Sum$(charge) > 30",  # integers that may overflow
        "rare || Sum$(pt) > 30",
        "rare && (Length$(pt) > 1 ? Max$(pt) : 0) > 30",
    ],
)
def test_what_is_looked_at_as_a_whole(text: str, staged: list[int]) -> None:
    found = staged_mask(parse(text), COLUMNS, EVENTS, among=np.ones(EVENTS, bool))
    assert not staged
    np.testing.assert_array_equal(found, cut_mask(parse(text), COLUMNS, EVENTS))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("never && Sum$(pt * other) > 0", "lists of different lengths meet"),
        ("never && any(pt > 3 && other > 3)", "lists of different lengths meet"),
        ("never && Sum$(big * 4 + pt) > 0", "64 bits|overflow"),
        ("never && Sum$(big) > 0", "64 bits|overflow"),
        ("never && pt > 30", "one value per list element"),
        ("rare && Sum$(n) > 3 && Sum$(pt) > 1", "list of each event"),
    ],
)
def test_errors_of_events_that_are_cut_away_remain(text: str, match: str) -> None:
    with pytest.raises(ExpressionError, match=match) as caught:
        staged_mask(parse(text), COLUMNS, EVENTS, among=np.ones(EVENTS, bool))
    with pytest.raises(ExpressionError) as whole:
        cut_mask(parse(text), COLUMNS, EVENTS)
    assert str(caught.value) == str(whole.value)


def test_a_scan_of_many_events(tmp_path: Path, staged: list[int]) -> None:
    rng = np.random.default_rng(8)
    counts = rng.poisson(3.0, 20_000)
    pt = ak.unflatten(rng.exponential(30, counts.sum()).astype(np.float32), counts)
    met, fired = rng.exponential(30, 20_000), rng.random(20_000) < 0.3
    ak.to_parquet(ak.Array({"pt": pt, "met": met, "fired": fired}), str(tmp_path / "f.parquet"))
    data = rootml.open(str(tmp_path / "f.parquet")).filter("fired && any(pt > 60)")
    index = data.filter("met > 20 && Length$(pt) < 5").scan(threads=1)
    first = fired & ak.to_numpy(ak.any(pt > 60, axis=1))
    wanted = first & (met > 20) & (counts < 5)
    found = [index.mask(number) for number in range(len(index.partitions))]
    np.testing.assert_array_equal(
        np.concatenate([each for each in found if each is not None]), wanted
    )
    passed = [int(step.count) for step in (steps[None] for steps in index._selection.steps()[0])]
    assert passed == [20_000, first.sum(), wanted.sum()]
    assert sum(staged) > 0
