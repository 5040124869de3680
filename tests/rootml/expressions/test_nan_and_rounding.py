"""NaN in lists and in the functions that choose, and rounding: beside ROOT and NumPy."""

from __future__ import annotations

import math
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootml.expressions import column_values, parse

NAN = math.nan
NUMBERS = st.floats(-3, 3) | st.sampled_from([NAN, math.inf, -math.inf, -0.0])


@given(lists=st.lists(st.lists(NUMBERS, min_size=1, max_size=4), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_extremes_as_numpy(lists: list[list[float]]) -> None:
    """A NaN anywhere in the list makes it NaN."""
    columns = {"v": ak.Array(lists)}
    for text, oracle in [("max(v)", np.max), ("min(v)", np.min)]:
        ours = column_values(parse(text), columns, len(lists))
        np.testing.assert_array_equal(ours, [oracle(each) for each in lists])
    for text, place in [("argmax(v)", np.argmax), ("argmin(v)", np.argmin)]:
        ours = column_values(parse(text), columns, len(lists))
        assert ours.tolist() == [place(each) for each in lists]


def test_extremes_of_fixed_arrays_and_selections() -> None:
    columns = {"v": np.array([[1.0, NAN], [2.0, 3.0]])}
    np.testing.assert_array_equal(column_values(parse("Max$(v)"), columns, 2), [NAN, 3])
    np.testing.assert_array_equal(column_values(parse("MaxIf$(v, v < 3)"), columns, 2), [1, 2])
    np.testing.assert_array_equal(column_values(parse("MinIf$(v, v != 3)"), columns, 2), [NAN, 2])


VALUES = [2.5, -2.5, 0.49999999999999994, -0.5, 0.5, 1.5, -0.2, 3.0, 2.0**52 + 1, 1e300, -1e300]


@pytest.mark.needs_root
def test_rounding_as_in_root(root: Any) -> None:
    root.gInterpreter.Declare(
        "double rootml_round(double x) { return std::round(x); }"
        "double rootml_rint(double x) { return std::rint(x); }"
        "double rootml_nint(double x) { return TMath::Nint(x); }"
    )
    columns = {"x": np.array(VALUES)}
    for ours, theirs, values in [
        ("std::round(x)", root.rootml_round, VALUES),
        ("round(x)", root.rootml_round, VALUES),
        ("std::rint(x)", root.rootml_rint, VALUES),
        ("np.round(x)", root.rootml_rint, VALUES),
        ("TMath::Nint(x)", root.rootml_nint, VALUES[:8]),  # beyond: an int overflows
    ]:
        expected = [theirs(value) for value in values]
        found = column_values(parse(ours), columns, len(VALUES))[: len(values)]
        np.testing.assert_array_equal(found, expected, err_msg=ours)


def test_rounding_in_lists_and_of_special_numbers() -> None:
    special = np.array([NAN, math.inf, -math.inf, -0.0])
    rounded = column_values(parse("round(x)"), {"x": special}, 4)
    np.testing.assert_array_equal(rounded, special)
    assert math.copysign(1, rounded[3]) == -1
    lists = column_values(parse("round(v)"), {"v": ak.Array([[2.5, -0.5], []])}, 2)
    assert lists.tolist() == [[3.0, -1.0], []]


PAIRS = [(NAN, 1.0), (1.0, NAN), (NAN, NAN), (1.0, 2.0), (2.0, 1.0), (-math.inf, 3.0)]
CHOICES = ["std::fmax", "std::fmin", "TMath::Max", "TMath::Min"]


@pytest.mark.needs_root
@pytest.mark.parametrize("name", CHOICES)
def test_choices_with_nan_as_in_root(root: Any, name: str) -> None:
    function = "rootml_" + name.replace("::", "_")
    root.gInterpreter.Declare(f"double {function}(double a, double b) {{ return {name}(a, b); }}")
    a, b = (np.array(side) for side in zip(*PAIRS, strict=True))
    expected = [getattr(root, function)(*pair) for pair in PAIRS]
    ours = column_values(parse(f"{name}(a, b)"), {"a": a, "b": b}, len(PAIRS))
    np.testing.assert_array_equal(ours, expected)
    columns = {"a": ak.Array([[v] for v in a]), "b": b}
    lists = column_values(parse(f"{name}(a, b)"), columns, len(PAIRS))
    np.testing.assert_array_equal(ak.to_numpy(ak.flatten(lists)), expected)
    again = parse(parse(f"{name}(a, b)").canonical)
    assert again == parse(f"{name}(a, b)")


@pytest.mark.needs_root
def test_a_nan_in_a_list_beside_root(root: Any) -> None:
    """ROOT says NaN when it comes first and skips it when it does not; ours is always NaN."""
    root.gInterpreter.Declare(
        "double rootml_vecmax(double a, double b) {"
        " return ROOT::VecOps::Max(ROOT::RVec<double>{a, b}); }"
    )
    lists = [[NAN, NAN], [NAN, -5.0], [-5.0, NAN], [-1.0, -2.0]]
    theirs = [root.rootml_vecmax(*each) for each in lists]
    np.testing.assert_array_equal(theirs, [NAN, NAN, -5, -1])
    ours = column_values(parse("Max$(v)"), {"v": ak.Array(lists)}, 4)
    np.testing.assert_array_equal(ours, [NAN, NAN, NAN, -1])
