"""Balance of classes: counts and sums by plain arithmetic."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootml.batching import Resample
from rootml.batching.order._balance import (
    check_balance,
    class_factors,
    repeat_units,
    resampled_counts,
    resampled_rows,
)
from rootml.batching.order._unit_keys import UnitKey
from rootml.errors import UsageError

KINDS = st.sampled_from(["under", "over"])


@given(st.lists(st.floats(0.1, 1e6), min_size=2, max_size=5))
def test_factors_equalise_and_give_a_mean_of_one(sums: list[float]) -> None:
    factors = class_factors(dict(enumerate(sums)), 1000, "data")
    after = [factors[label] * value for label, value in enumerate(sums)]
    np.testing.assert_allclose(after, 1000 / len(sums))


def test_factors_need_positive_sums_and_two_classes() -> None:
    with pytest.raises(UsageError, match="positive sums"):
        class_factors({0: 3.0, 1: -0.5}, 2, "data")
    with pytest.raises(UsageError, match="at least two classes"):
        class_factors({1: 3.0}, 1, "data")


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 2)), min_size=1, max_size=12),
    KINDS,
    st.floats(0.05, 1.0),
    st.integers(0, 5),
)
@settings(max_examples=200)
def test_counts_of_units(
    units: list[tuple[int, int]], kind: Literal["under", "over"], ratio: float, epoch: int
) -> None:
    resample = Resample(kind, ratio=ratio)
    keys = [UnitKey(number, rows, source) for number, (rows, source) in enumerate(units)]
    repeated = repeat_units(keys, resample)
    used = resampled_counts(repeated, resample, seed=3, epoch=epoch)
    counts = Counter[int]()
    drawn = Counter[int]()
    for key in keys:
        counts[key.source] += key.rows
    for key, rows in zip(repeated, used.tolist(), strict=True):
        assert 0 <= rows <= key.rows
        drawn[key.source] += rows
    largest, smallest = max(counts.values()), min(counts.values())
    for source, rows in counts.items():
        if kind == "over":
            assert drawn[source] == max(rows, int(np.ceil(largest * ratio)))
        else:
            assert drawn[source] == min(rows, int(np.floor(smallest / ratio)))


@given(st.integers(1, 50), st.integers(1, 50), KINDS)
def test_rows_repeat_evenly(a: int, b: int, kind: Literal["under", "over"]) -> None:
    rows = [np.arange(a), np.arange(100, 100 + b)]
    chosen = Counter(resampled_rows(rows, Resample(kind), seed=1, epoch=0).tolist())
    times = [[chosen[row] for row in part.tolist()] for part in rows]
    assert all(max(part) - min(part) <= 1 for part in times)
    wanted = max(a, b) if kind == "over" else min(a, b)
    assert [sum(part) for part in times] == [wanted, wanted]
    if kind == "over":
        assert min(map(min, times)) >= 1


def test_epochs_leave_out_other_rows() -> None:
    rows = [np.arange(1000), np.arange(1000, 1010)]
    one, two = (set(resampled_rows(rows, Resample(), 1, epoch).tolist()) for epoch in (0, 1))
    assert len(one) == len(two) == 20
    assert one != two


def test_what_balance_may_be() -> None:
    assert check_balance("resample") == Resample("under", ratio=1.0)
    with pytest.raises(UsageError, match="balance='both'"):
        check_balance("both")
    with pytest.raises(UsageError, match="ratio"):
        Resample("over", ratio=1.5)
