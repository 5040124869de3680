"""Integers never wrap around: results are Python's, or an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootml.errors import ExpressionError
from rootml.expressions import column_values, parse

LOW, HIGH = -(2**63), 2**63 - 1
EDGES = st.sampled_from([LOW, LOW + 1, -(2**62), -3, -1, 0, 1, 2, 7, 2**31, 2**62, HIGH])
NUMBERS = EDGES | st.integers(LOW, HIGH) | st.integers(-50, 50)

OPERATIONS: list[tuple[str, Callable[[int, int], int]]] = [
    ("-i", lambda i, k: -i),
    ("abs(i)", lambda i, k: abs(i)),
    ("square(i)", lambda i, k: i * i),
    ("TMath::Sq(i)", lambda i, k: i * i),
    ("i // -1", lambda i, k: i // -1),
    ("i << k", lambda i, k: i << k),
    ("i >> k", lambda i, k: i >> k),
    ("i + k", lambda i, k: i + k),
]


@pytest.mark.parametrize(("text", "oracle"), OPERATIONS, ids=[text for text, _ in OPERATIONS])
@given(i=NUMBERS, k=st.integers(0, 63))
@settings(max_examples=60, deadline=None)
def test_a_result_is_right_or_refused(
    text: str, oracle: Callable[[int, int], int], i: int, k: int
) -> None:
    columns = {"i": np.array([i]), "k": np.array([k])}
    if LOW <= oracle(i, k) <= HIGH:
        try:
            values = column_values(parse(text), columns, 1)
        except ExpressionError:
            assert abs(oracle(i, k)) + 64 > HIGH  # only at the edge may it be refused for caution
            return
        assert values.tolist() == [oracle(i, k)]
    else:
        with pytest.raises(ExpressionError, match="not fit into 64 bits"):
            column_values(parse(text), columns, 1)


@pytest.mark.parametrize("text", ["n << -1", "n >> -1", "n << 64", "1 << n", "j << n", "n >> 64"])
def test_shift_counts(text: str) -> None:
    columns = {"n": np.array([3, 64]), "j": ak.Array([[1], [2]])}
    with pytest.raises(ExpressionError, match="shifts by 0 to 63 bits, not by (-1|64)"):
        column_values(parse(text), columns, 2)


LISTS = st.lists(st.lists(NUMBERS, max_size=4), min_size=1, max_size=4)


@given(lists=LISTS)
@settings(max_examples=60, deadline=None)
def test_sums_of_lists(lists: list[list[int]]) -> None:
    columns = {"j": integers(lists)}
    sums = [sum(each) for each in lists]
    if max(sum(map(abs, each)) for each in lists) < HIGH * (1 - 1e-8):
        assert column_values(parse("Sum$(j)"), columns, len(lists)).tolist() == sums
    elif not all(LOW <= each <= HIGH for each in sums):
        with pytest.raises(ExpressionError, match="may not fit into 64 bits"):
            column_values(parse("Sum$(j)"), columns, len(lists))


@given(lists=LISTS)
@settings(max_examples=60, deadline=None)
def test_mean_and_deviation_are_floats(lists: list[list[int]]) -> None:
    columns = {"j": integers(lists)}
    filled = [[float(v) for v in each] or [0.0] for each in lists]
    for text, oracle in (("mean(j)", np.mean), ("std(j)", np.std)):
        ours = column_values(parse(text), columns, len(lists), missing=0)
        size = [max(map(abs, each)) for each in filled]
        expected = [float(oracle(each)) for each in filled]
        assert (np.abs(ours - expected) <= 1e-12 * np.array(size)).all()


def integers(lists: list[list[int]]) -> Any:
    flat = np.array([v for each in lists for v in each], dtype=np.int64)
    return ak.unflatten(flat, [len(each) for each in lists])


def test_a_sum_that_fits_is_not_refused_for_many_lists() -> None:
    lists = [[2**61], [1] * 50, [2**61, -(2**61), 5]]
    assert column_values(parse("Sum$(j)"), {"j": integers(lists)}, 3).tolist() == [2**61, 50, 5]


def test_angles_of_integers_do_not_wrap() -> None:
    columns = {"a": np.array([LOW]), "b": np.array([HIGH])}
    distance = column_values(parse("delta_r(a, 0, b, 0)"), columns, 1)
    np.testing.assert_allclose(distance, 2.0**64)
