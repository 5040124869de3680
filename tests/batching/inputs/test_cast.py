"""Casts judged by value: Python's exact integers are the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootml.batching.inputs._cast import apply_nonfinite, check_cast, check_nonfinite, float_dtype
from rootml.errors import CastError, NonFiniteError, UsageError

F4, F8 = np.dtype(np.float32), np.dtype(np.float64)


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5),
    st.sampled_from([F4, F8]),
)
def test_int64_is_refused_exactly_when_a_value_changes(values: list[int], dtype: np.dtype) -> None:
    exact = all(int(dtype.type(value)) == value for value in values)
    array = np.array(values, dtype=np.int64)
    if exact:
        np.testing.assert_array_equal(check_cast(array, dtype, "c").astype(dtype), array)
    else:
        with pytest.raises(CastError, match="column"):
            check_cast(array, dtype, "column")


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5))
def test_uint64_is_refused_exactly_when_a_value_changes(values: list[int]) -> None:
    exact = all(int(np.float64(value)) == value for value in values)
    array = np.array(values, dtype=np.uint64)
    if exact:
        check_cast(array, F8, "c")
    else:
        with pytest.raises(CastError):
            check_cast(array, F8, "c")


@pytest.mark.parametrize(
    ("value", "dtype", "allowed"),
    [
        (2**24, F4, True),
        (2**24 + 1, F4, False),
        (-(2**24) - 1, F4, False),
        (2**25, F4, True),
        (2**53, F8, True),
        (2**53 + 1, F8, False),
        (2**63 - 1, F8, False),
        (-(2**63), F4, True),
    ],
)
def test_edges(value: int, dtype: np.dtype, allowed: bool) -> None:
    array = np.array([0, value], dtype=np.int64)
    if allowed:
        check_cast(array, dtype, "c")
    else:
        with pytest.raises(CastError, match=str(value)):
            check_cast(array, dtype, "c")


def test_float64_rounds_but_does_not_overflow() -> None:
    values = np.array([0.1, np.nan, np.inf, -np.inf, 3e38])
    np.testing.assert_array_equal(check_cast(values, F4, "c"), values.astype(np.float32))
    with pytest.raises(CastError, match="value 1e\\+39 is"):
        check_cast(np.array([1.0, 1e39]), F4, "c")


@pytest.mark.parametrize("value", [1e-48, -1e-300, 5e-324, 3.3e-45, 1.1e-42])
def test_numbers_too_small_for_float32(value: float) -> None:
    with pytest.raises(CastError, match=f"column: the value {value} would become .* in float32"):
        check_cast(np.array([0.0, 1.0, value]), F4, "column")


@pytest.mark.parametrize("value", [0.0, -0.0, 1.2e-38, 2.0**-149, 2.0**-130, 1.1e-38, np.nan])
def test_small_numbers_that_keep_their_digits(value: float) -> None:
    values = np.array([1.0, value, -value])
    np.testing.assert_array_equal(check_cast(values, F4, "c"), values.astype(np.float32))


@pytest.mark.parametrize("number", [np.float32(3), np.int64(3), np.float64(3), 3])
def test_numbers_of_numpy_fill(number: object) -> None:
    assert check_nonfinite(number) == 3.0


@pytest.mark.parametrize("number", [1e300, -1e39, 1e-50, 10**400])
def test_numbers_that_float32_does_not_have_fill_nothing(number: float) -> None:
    with pytest.raises(UsageError, match="nonfinite="):
        check_nonfinite(number, F4)


def test_small_integers_and_bools_pass_unchanged() -> None:
    for dtype in (np.bool_, np.int8, np.uint16):
        values = np.array([0, 1], dtype=dtype)
        assert check_cast(values, F4, "c") is values


def test_policies() -> None:
    values = np.array([1.0, np.nan, np.inf])
    with pytest.raises(NonFiniteError, match="tree, column 'a': 2 of 3 values"):
        apply_nonfinite(values, "error", "tree, column 'a'")
    kept = values.copy()
    apply_nonfinite(kept, "keep", "c")
    np.testing.assert_array_equal(kept, values)
    apply_nonfinite(values, -9.0, "c")
    np.testing.assert_array_equal(values, [1, -9, -9])


@pytest.mark.parametrize("policy", ["drop", float("nan"), True, None])
def test_unknown_policy(policy: object) -> None:
    with pytest.raises(UsageError, match="nonfinite"):
        check_nonfinite(policy)


def test_only_float_dtypes() -> None:
    with pytest.raises(UsageError, match="float32, float64"):
        float_dtype("int32")
