"""Evaluation against Python, event by event."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rootml
from rootml.errors import ExpressionError, MissingElementError
from rootml.expressions import column_values, cut_mask, expression_type, parse
from rootml.storage import ColumnType

Event = dict[str, Any]

EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "n": st.integers(0, 4),
            "x": st.floats(-10, 10) | st.just(math.nan),
            "i": st.integers(-50, 50),
            "f": st.booleans(),
            "pt": st.lists(st.floats(-5, 5), max_size=4),
        }
    ),
    min_size=1,
    max_size=12,
)


def columns_of(events: list[Event]) -> dict[str, Any]:
    flat = ak.flatten(ak.Array([event["pt"] for event in events] + [[0.0]]))[:-1]
    counts = [len(event["pt"]) for event in events]
    return {
        "n": np.array([event["n"] for event in events], dtype=np.uint32),
        "x": np.array([event["x"] for event in events]),
        "i": np.array([event["i"] for event in events], dtype=np.int32),
        "f": np.array([event["f"] for event in events]),
        "pt": ak.unflatten(flat, counts),
        "eta": ak.unflatten(-flat, counts),
        "m": np.array([[event["i"], event["n"]] for event in events], dtype=np.float32),
    }


MISSING = object()


def at(values: list[float], place: int) -> Any:
    return values[place] if -len(values) <= place < len(values) else MISSING


VALUES: list[tuple[str, Callable[[Event], Any]]] = [
    ("Sum$(pt)", lambda e: math.fsum(e["pt"])),
    ("Sum$(pt > 1)", lambda e: sum(v > 1 for v in e["pt"])),
    ("Sum$(pt * (eta < 0))", lambda e: math.fsum(v for v in e["pt"] if -v < 0)),
    ("Length$(pt) + n - 5", lambda e: len(e["pt"]) + e["n"] - 5),
    ("max(pt)", lambda e: max(e["pt"], default=MISSING)),
    ("Min$(abs(pt))", lambda e: min(map(abs, e["pt"]), default=MISSING)),
    ("MaxIf$(pt, eta > 0)", lambda e: max((v for v in e["pt"] if -v > 0), default=MISSING)),
    ("pt[0]", lambda e: at(e["pt"], 0)),
    ("pt[-2]", lambda e: at(e["pt"], -2)),
    ("pt[n]", lambda e: at(e["pt"], e["n"])),
    ("pt[argmax(eta)]", lambda e: min(e["pt"], default=MISSING)),
    ("Alt$(pt[1], -9)", lambda e: e["pt"][1] if len(e["pt"]) > 1 else -9),
    ("n > 1 ? pt[1] : 7", lambda e: at(e["pt"], 1) if e["n"] > 1 else 7),
    ("any(pt > 1)", lambda e: any(v > 1 for v in e["pt"])),
    ("all(pt > 1)", lambda e: all(v > 1 for v in e["pt"])),
    ("len(pt[pt > 0])", lambda e: len([v for v in e["pt"] if v > 0])),
    ("Sum$(pt[:2])", lambda e: math.fsum(e["pt"][:2])),
    ("i / 4", lambda e: e["i"] / 4),
    ("i // 4", lambda e: e["i"] // 4),
    ("i % 4", lambda e: math.fmod(e["i"], 4)),
    ("i ** 2", lambda e: e["i"] ** 2),
    ("(i & 6) + (n | 1)", lambda e: (e["i"] & 6) + (e["n"] | 1)),
    ("i << 2", lambda e: e["i"] << 2),
    ("-f", lambda e: -int(e["f"])),
    ("max(i, n, 3)", lambda e: max(e["i"], e["n"], 3)),
    ("m[0] + m[1]", lambda e: e["i"] + e["n"]),
    ("Sum$(m)", lambda e: e["i"] + e["n"]),
    ("1 < n <= 3", lambda e: 1 < e["n"] <= 3),
    ("hypot(i, n)", lambda e: math.hypot(e["i"], e["n"])),
    ("mean(pt)", lambda e: math.fsum(e["pt"]) / len(e["pt"]) if e["pt"] else MISSING),
]


@pytest.mark.parametrize(("text", "oracle"), VALUES, ids=[text for text, _ in VALUES])
@given(events=EVENTS)
@settings(max_examples=25, deadline=None)
def test_values(text: str, oracle: Callable[[Event], Any], events: list[Event]) -> None:
    columns, expected = columns_of(events), [oracle(event) for event in events]
    expression = parse(text)
    lacking = [value is MISSING for value in expected]
    if any(lacking):
        with pytest.raises(MissingElementError, match=f"{sum(lacking)} of {len(events)} events"):
            column_values(expression, columns, len(events))
    filled = [-77.0 if value is MISSING else value for value in expected]
    values = column_values(expression, columns, len(events), missing=-77.0)
    np.testing.assert_allclose(
        np.asarray(values, float), np.array(filled, float), rtol=1e-12, atol=1e-12
    )


Kleene = bool | None


def first_above_one(event: Event) -> Kleene:
    return event["pt"][0] > 1 if event["pt"] else None


def negated(value: Kleene) -> Kleene:
    return None if value is None else not value


CUTS: list[tuple[str, Callable[[Event], Kleene]]] = [
    ("pt[0] > 1", first_above_one),
    ("!(pt[0] > 1)", lambda e: negated(first_above_one(e))),
    ("n < 1 || pt[0] > 1", lambda e: True if e["n"] < 1 else first_above_one(e)),
    ("n < 1 && pt[0] > 1", lambda e: False if e["n"] >= 1 else first_above_one(e)),
    ("!(n < 1 && pt[0] > 1)", lambda e: True if e["n"] >= 1 else negated(first_above_one(e))),
    ("x > 1", lambda e: e["x"] > 1),
    ("!(x > 1)", lambda e: not e["x"] > 1),
    ("x != x", lambda e: math.isnan(e["x"])),
    ("f & n > 1", lambda e: e["f"] and e["n"] > 1),
    ("f | i > 0", lambda e: e["f"] or e["i"] > 0),
    ("i", lambda e: e["i"] != 0),
]


@pytest.mark.parametrize(("text", "oracle"), CUTS, ids=[text for text, _ in CUTS])
@given(events=EVENTS)
@settings(max_examples=25, deadline=None)
def test_cuts(text: str, oracle: Callable[[Event], Kleene], events: list[Event]) -> None:
    """Unknown (None) fails, also under a negation."""
    expected = [oracle(event) is True for event in events]
    assert cut_mask(parse(text), columns_of(events), len(events)).tolist() == expected


NO_EVENTS = columns_of([{"n": 0, "x": 0.0, "i": 0, "f": True, "pt": []}])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("pt > 1", "reduce it with any"),
        ("max(x)", "give it two arguments"),
        ("x[0]", "an index needs a list"),
        ("pt[x]", "must be a whole number"),
        ("f & i", "write '&&' for logic"),
        ("x & 3", "write '&&' for logic"),
        ("9223372036854775807 + i", "may not fit into 64 bits"),
        ("99999999999999999999 > i", "does not fit into 64 bits"),
        ("'a' == x", "strings can only be compared with strings"),
    ],
)
def test_errors(text: str, problem: str) -> None:
    columns = {**NO_EVENTS, "i": np.array([3], np.int32)}
    with pytest.raises(ExpressionError, match=problem):
        cut_mask(parse(text), columns, 1)


def test_lists_of_different_lengths_are_not_broadcast() -> None:
    columns = {"a": ak.Array([[1, 2], [3]]), "b": ak.Array([[1, 2], [3, 4]])}
    with pytest.raises(ExpressionError, match="1 and 2 elements in event 1"):
        column_values(parse("Sum$(a * b)"), columns, 2)


def test_unsigned_differences_do_not_wrap() -> None:
    columns = {"n": np.array([1, 2**32 - 1], np.uint32), "u": np.array([5, 2**63], np.uint64)}
    assert column_values(parse("n - 5"), columns, 2).tolist() == [-4, 2**32 - 6]
    with pytest.raises(ExpressionError, match="too large"):
        column_values(parse("u - 5"), columns, 2)


def test_strings() -> None:
    columns = {"s": ak.Array(["one", "", "two"])}
    assert cut_mask(parse("s == 'one' || s == ''"), columns, 3).tolist() == [True, True, False]
    assert cut_mask(parse("s != 'one'"), columns, 3).tolist() == [False, True, True]


def test_a_condition_per_event_is_no_index() -> None:
    """C++: element 0 or 1; awkward: events."""
    columns = {"pt": ak.Array([[1.0, 2.0], [3.0]]), "f": np.array([True, False])}
    with pytest.raises(ExpressionError, match="C\\+\\+ would take element 0 or 1"):
        cut_mask(parse("Sum$(pt[f]) > 1"), columns, 2)


def test_lists_of_strings() -> None:
    columns = {"v": ak.Array([["one", "two"], [], ["three"]])}
    assert cut_mask(parse("any(v == 'one')"), columns, 3).tolist() == [True, False, False]
    assert cut_mask(parse("'three' == v[0]"), columns, 3).tolist() == [False, False, True]
    both = parse("any(v in ('two', 'three'))")
    assert cut_mask(both, columns, 3).tolist() == [True, False, True]
    assert cut_mask(parse("v.size() == 2"), columns, 3).tolist() == [True, False, False]
    assert cut_mask(parse("len(v[v != 'one']) == 1"), columns, 3).tolist() == [True, False, True]
    with pytest.raises(ExpressionError, match="lists of strings can only be compared with one"):
        cut_mask(parse("any(v == v)"), columns, 3)
    with pytest.raises(ExpressionError, match="by == and !=, not '<'"):
        cut_mask(parse("s < 'one'"), {"s": ak.Array(["a", "b"])}, 2)


def test_strings_with_nulls_are_refused_by_name() -> None:
    with pytest.raises(ExpressionError, match="strings with nulls"):
        cut_mask(parse("s == 'one'"), {"s": ak.Array(["one", None])}, 2)


@pytest.mark.parametrize("nulls", [False, True])
def test_categories(nulls: bool) -> None:
    """A dictionary-encoded string column, as pandas writes its categories."""
    table = pa.table({"s": pa.array(["b", "a", "b"]).dictionary_encode()})
    encoded = ak.from_arrow(table, generate_bitmasks=nulls)["s"]
    assert cut_mask(parse("s == 'b'"), {"s": encoded}, 3).tolist() == [True, False, True]
    assert cut_mask(parse("s != 'b'"), {"s": encoded}, 3).tolist() == [False, True, False]


def test_categories_of_a_parquet_file(tmp_path: Path) -> None:
    path = str(tmp_path / "categories.parquet")
    strings = pa.array(["b", "a", "b"]).dictionary_encode()
    pq.write_table(pa.table({"s": strings, "x": [1, 2, 3]}), path)
    found = rootml.open(path).filter("s == 'b'").select(["x"]).to_awkward()
    assert found["x"].tolist() == [1, 3]


def test_nested_lists() -> None:
    columns = {"v": ak.Array([[[1, 2], []], [], [[3]]])}
    assert column_values(parse("Sum$(v)"), columns, 3).tolist() == [3, 0, 3]
    assert column_values(parse("Alt$(v[0][1], -1)"), columns, 3).tolist() == [2, -1, -1]


@pytest.mark.parametrize("number", [0, 1, 3])
def test_reducers_of_fixed_arrays_with_any_number_of_events(number: int) -> None:
    """Without events too: types are found that way."""
    values = np.arange(number * 6, dtype=np.float32).reshape(number, 2, 3)
    columns = {"m": values}
    found = column_values(parse("Sum$(m)"), columns, number)
    np.testing.assert_array_equal(found, values.sum(axis=(1, 2)))
    found = column_values(parse("Max$(m[1]) - Length$(m)"), columns, number)
    np.testing.assert_array_equal(found, values[:, 1].max(axis=1) - 6)


def test_the_complement_of_integers_and_of_conditions() -> None:
    """Of integers bit by bit, as in C and Python; of conditions the other one, as in NumPy."""
    flags = np.array([0, 1, 4, 5, 255], np.uint8)
    columns = {"flags": flags, "good": flags > 2, "x": flags * 0.5, "v": ak.Array([[4, 1]] * 5)}
    found = column_values(parse("~flags & 4"), columns, 5)
    np.testing.assert_array_equal(found, ~flags & 4)
    np.testing.assert_array_equal(column_values(parse("~good"), columns, 5), flags <= 2)
    assert column_values(parse("~v"), columns, 5).tolist() == [[-5, -2]] * 5
    with pytest.raises(ExpressionError, match="needs a condition or whole numbers"):
        column_values(parse("~x"), columns, 5)


TYPES = {
    "n": ColumnType("scalar", np.dtype(np.uint32)),
    "x": ColumnType("scalar", np.dtype(np.float32)),
    "pt": ColumnType("jagged", np.dtype(np.float32), depth=1),
    "m": ColumnType("fixed", np.dtype(np.float32), (2, 3)),
}


@pytest.mark.parametrize(
    ("text", "kind", "dtype", "shape", "depth"),
    [
        ("n", "scalar", "uint32", (), 0),
        ("x", "scalar", "float32", (), 0),
        ("n + 1", "scalar", "int64", (), 0),
        ("x * 2", "scalar", "float64", (), 0),
        ("x > 2", "scalar", "bool", (), 0),
        ("pt[0]", "scalar", "float32", (), 0),
        ("Sum$(pt)", "scalar", "float64", (), 0),
        ("pt * 2", "jagged", "float64", (), 1),
        ("pt > 2", "jagged", "bool", (), 1),
        ("m[0]", "fixed", "float32", (3,), 0),
        ("m[0][1]", "scalar", "float32", (), 0),
        ("Sum$(m)", "scalar", "float64", (), 0),
        ("Max$(m[0])", "scalar", "float64", (), 0),
        ("3", "scalar", "int64", (), 0),
    ],
)
def test_types(text: str, kind: str, dtype: str, shape: tuple[int, ...], depth: int) -> None:
    found = expression_type(parse(text), TYPES)
    assert found.dtype == np.dtype(dtype)
    assert (str(found.kind), found.shape, found.depth) == (kind, shape, depth)
