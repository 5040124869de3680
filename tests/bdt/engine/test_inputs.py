"""What users hand to a model: every form gives the same scores, and what does not fit is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from bdt_forests import random_forest, walk
from numpy.typing import NDArray

from rootml.bdt import Forest, Model
from rootml.bdt._inputs import as_input
from rootml.errors import (
    CastError,
    MissingColumnError,
    SchemaError,
    UnsupportedTypeError,
    UsageError,
)  # fmt: skip

NAMES = ("pt", "eta", "phi", "mass")
COUNTS = [0, 3, 1, 0, 46]


@pytest.fixture(scope="module")
def forest() -> Forest:
    return random_forest(np.random.default_rng(4), feature_names=NAMES)


@pytest.fixture(scope="module")
def nameless() -> Forest:
    return random_forest(np.random.default_rng(4))


@pytest.fixture(scope="module", params=["llvm", "numpy"])
def model(request: pytest.FixtureRequest, forest: Forest) -> Model:
    return forest.compile(request.param)


@pytest.fixture(scope="module")
def x() -> NDArray[np.float32]:
    made = (10 * np.random.default_rng(5).normal(size=(50, 4))).astype(np.float32)
    made[::7, 1] = np.nan
    return made


def named(x: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Columns in another order, with one more."""
    return {
        "other": np.zeros(len(x)),
        **{name: x[:, i] for i, name in reversed([*enumerate(NAMES)])},
    }


def structured(x: NDArray[Any]) -> NDArray[Any]:
    made = np.zeros(len(x), [(name, np.float32) for name in reversed(NAMES)])
    for i, name in enumerate(NAMES):
        made[name] = x[:, i]
    return made


def locked(x: NDArray[Any]) -> NDArray[Any]:
    made = x.copy()
    made.flags.writeable = False
    return made


def with_nulls(x: NDArray[Any]) -> pa.Table:
    return pa.table({n: pa.array(x[:, i], from_pandas=True) for i, n in enumerate(NAMES)})


FORMS: dict[str, Callable[[NDArray[Any]], Any]] = {
    "C order": lambda x: x,
    "F order": np.asfortranarray,
    "float64": lambda x: x.astype(np.float64),
    "float64 in F order": lambda x: x.astype(np.float64, order="F"),
    "every other row and column": lambda x: np.repeat(np.repeat(x, 2, 0), 2, 1)[::2, ::2],
    "backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "not aligned": lambda x: np.frombuffer(b"x" + x.tobytes(), np.float32, offset=1).reshape(
        x.shape
    ),
    "big endian": lambda x: x.astype(">f4"),
    "read only": locked,
    "list": lambda x: list(x.T),
    "tuple of doubles": lambda x: tuple(x.T.astype(np.float64)),
    "mixed list": lambda x: [x[:, 0], x[:, 1].astype(np.float64), *x[:, 2:].T],
    "mapping": named,
    "structured": structured,
    "DataFrame": lambda x: pd.DataFrame(named(x)),
    "DataFrame of one block": lambda x: pd.DataFrame(x, columns=list(NAMES)),
    "nullable DataFrame": lambda x: pd.DataFrame(named(x)).convert_dtypes(),
    "Arrow table": lambda x: pa.table(named(x)),
    "Arrow record batch": lambda x: pa.RecordBatch.from_pydict(named(x)),
    "Arrow in chunks": lambda x: pa.concat_tables(
        [pa.table(named(x[:9])), pa.table(named(x[9:]))]
    ),
    "Arrow with nulls": with_nulls,
    "awkward records": lambda x: ak.Array(named(x)),
    "awkward with None": lambda x: ak.from_arrow(with_nulls(x)),
    "mapping of awkward": lambda x: {n: ak.Array(v) for n, v in named(x).items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_scores(
    model: Model, x: NDArray[np.float32], form: str
) -> None:  # fmt: skip
    found = model.predict_margin(FORMS[form](x))
    assert isinstance(found, np.ndarray)
    assert np.array_equal(found, walk(model.forest, x)[:, 0])


@pytest.mark.parametrize("form", ["C order", "F order", "float64", "list", "mapping"])
def test_floats_are_not_copied(forest: Forest, x: NDArray[np.float32], form: str) -> None:
    given = FORMS[form](x)
    table = as_input(given, forest).table
    mine = [table.matrix] if table.matrix is not None else list(table.columns)
    theirs = [given] if isinstance(given, np.ndarray) else list(dict(enumerate(given)).values())
    if isinstance(given, dict):
        theirs = list(given.values())
    for column in mine:
        assert any(np.shares_memory(column, other) for other in theirs)


def test_arrow_and_awkward_columns_are_not_copied(
    forest: Forest, x: NDArray[np.float32]
) -> None:  # fmt: skip
    columns = {name: np.ascontiguousarray(x[:, i]) for i, name in enumerate(NAMES)}
    for data in (pa.table(columns), ak.Array(columns)):
        found = as_input(data, forest).table.columns
        assert all(
            np.shares_memory(a, b) for a, b in zip(found, columns.values(), strict=True)
        )  # fmt: skip


@pytest.mark.parametrize("rows", [0, 1, 2, 16, 17, 511, 512, 513, 1025])
def test_any_number_of_rows(model: Model, rows: int) -> None:
    x = (10 * np.random.default_rng(rows).normal(size=(rows, 4))).astype(np.float32)
    expected = walk(model.forest, x)[:, 0]
    assert np.array_equal(model.predict_margin(x), expected)
    assert np.array_equal(model.predict_margin(np.asfortranarray(x)), expected)


# --- jagged --------------------------------------------------------------------------------------


def jagged(x: NDArray[Any]) -> ak.Array:
    return ak.zip({n: ak.unflatten(x[:, i], COUNTS) for i, n in enumerate(NAMES)})


def test_one_score_per_jet_in_the_same_lists(model: Model, x: NDArray[np.float32]) -> None:
    found = model.predict_margin(jagged(x))
    assert ak.num(found).tolist() == COUNTS
    assert np.array_equal(ak.flatten(found), walk(model.forest, x)[:, 0])


def test_lists_in_lists(model: Model, x: NDArray[np.float32]) -> None:
    found = model.predict_margin(ak.unflatten(jagged(x), [2, 0, 3]))
    assert ak.num(found, axis=1).tolist() == [2, 0, 3]
    assert ak.flatten(ak.num(found, axis=2)).tolist() == COUNTS


def test_columns_of_lists_side_by_side(model: Model, x: NDArray[np.float32]) -> None:
    columns = {n: ak.unflatten(x[:, i], COUNTS) for i, n in enumerate(NAMES)}
    found = model.predict_margin(columns)
    assert np.array_equal(ak.flatten(found), walk(model.forest, x)[:, 0])


def test_further_columns_of_a_mapping_are_not_looked_at(
    model: Model, x: NDArray[np.float32]
) -> None:
    further = {"jets": ak.Array([[1.0]] * len(x)), "other": ak.Array([[], [1, 2]]), "text": "no"}
    found = model.predict_margin({**named(x), **further})
    assert np.array_equal(found, walk(model.forest, x)[:, 0])


def test_quantities_of_the_event_are_spread_over_its_jets(
    model: Model, x: NDArray[np.float32]
) -> None:
    mass = np.arange(len(COUNTS), dtype=np.float32)
    columns = {n: ak.unflatten(x[:, i], COUNTS) for i, n in enumerate(NAMES[:3])}
    found = model.predict_margin(ak.zip({**columns, "mass": mass}, depth_limit=1))
    full = np.column_stack([x[:, :3], np.repeat(mass, COUNTS)])
    assert np.array_equal(ak.flatten(found), walk(model.forest, full)[:, 0])


def test_jets_of_several_classes(x: NDArray[np.float32]) -> None:
    forest = random_forest(np.random.default_rng(1), outputs=3, feature_names=NAMES)
    found = forest.compile().predict_margin(jagged(x))
    assert np.array_equal(ak.to_numpy(ak.flatten(found, axis=1)), walk(forest, x))


def test_a_list_of_jagged_columns(model: Model, x: NDArray[np.float32]) -> None:
    found = model.predict_margin([ak.unflatten(x[:, i], COUNTS) for i in range(4)])
    assert ak.num(found).tolist() == COUNTS
    assert np.array_equal(ak.flatten(found), walk(model.forest, x)[:, 0])


def test_lists_that_differ_are_an_error(model: Model, x: NDArray[np.float32]) -> None:
    columns = {n: ak.unflatten(x[:, i], COUNTS) for i, n in enumerate(NAMES)}
    columns["phi"] = ak.unflatten(x[:, 2], COUNTS[::-1])
    with pytest.raises(SchemaError, match="list"):
        model.predict(columns)
    with pytest.raises(SchemaError, match="list"):
        model.predict(ak.Array({name: list(column) for name, column in columns.items()}))


# --- integers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64, np.uint64, np.bool_])
def test_integers_that_fit_are_floats(model: Model, dtype: Any) -> None:
    x = np.random.default_rng(2).integers(0, 100, (30, 4)).astype(dtype)
    assert np.array_equal(model.predict_margin(x), walk(model.forest, x)[:, 0])
    assert np.array_equal(model.predict_margin(list(x.T)), walk(model.forest, x)[:, 0])


@pytest.mark.parametrize("value", [2**24 + 1, -(2**24) - 1, 2**53 + 1, 2**63 - 1])
def test_an_integer_that_would_change_is_named(model: Model, value: int) -> None:
    x = np.zeros((5, 4), np.int64)
    x[3, 2] = value
    with pytest.raises(CastError, match=rf"'phi': the integer {value} \(row 3\)"):
        model.predict(x)
    with pytest.raises(CastError, match=rf"'phi': the integer {value} \(row 3\)"):
        model.predict({name: x[:, i] for i, name in enumerate(NAMES)})
    x[3, 2] = 2**40  # a float32, as it happens
    model.predict(x)


def test_doubles_hold_larger_integers() -> None:
    forest = random_forest(np.random.default_rng(1), input_dtype=np.float64, dtype=np.float64)
    x = np.full((3, 4), 2**24 + 1)
    assert np.array_equal(forest.compile().predict_margin(x), walk(forest, x)[:, 0])
    with pytest.raises(CastError, match=str(2**53 + 1)):
        forest.compile().predict_margin(x + 2**53 - 2**24)


# --- what does not fit ---------------------------------------------------------------------------


BAD: dict[str, tuple[Callable[[NDArray[Any]], Any], type[Exception], str]] = {
    "missing name": (lambda x: {"pt": x[:, 0]}, MissingColumnError, "'eta'.*2 more.*'pt'"),
    "misspelt": (
        lambda x: pd.DataFrame(x, columns=["pt", "eta", "Phi", "mass"]), MissingColumnError,
        "no column 'phi'; available: 'Phi'",
    ),
    "arrow": (lambda x: pa.table({"pt": x[:, 0]}), MissingColumnError, "'eta'"),
    "awkward": (lambda x: ak.Array({"pt": x[:, 0]}), MissingColumnError, "'eta'"),
    "ragged": (
        lambda x: {name: [[1.0], [2.0, 3.0]] for name in NAMES}, UnsupportedTypeError,
        "column 'pt'.*list",
    ),
    "events as lists": (lambda x: x[:4].tolist(), UsageError, "may be events or columns"),
    "too few": (lambda x: x[:, :3], UsageError, "3 columns; the model has 4.*'pt'"),
    "too many": (lambda x: np.hstack([x, x]), UsageError, "8 columns"),
    "list too short": (lambda x: list(x.T[:2]), UsageError, "2 columns"),
    "one event": (lambda x: x[0], UsageError, r"x\[None, :\]"),
    "numbers": (lambda x: [1.0, 2.0, 3.0, 4.0], UsageError, "list of numbers"),
    "three axes": (lambda x: x[None], UsageError, r"\(1, 50, 4\)"),
    "a number": (lambda x: 3.0, UsageError, r"shape \(\)"),
    "text": (lambda x: x.astype(str), UnsupportedTypeError, "dtype <U"),
    "objects": (lambda x: x.astype(object), UnsupportedTypeError, "dtype object"),
    "complex": (lambda x: x.astype(complex), UnsupportedTypeError, "complex"),
    "dates": (lambda x: list(x.astype("M8[s]").T), UnsupportedTypeError, "'pt'.*datetime"),
    "masked": (np.ma.masked_invalid, UnsupportedTypeError, "filled"),
    "lengths": (lambda x: [x[:, 0], x[:, 1], x[:, 2], x[:9, 3]], SchemaError, "lengths"),
    "other rows": (
        lambda x: {**named(x), "eta": pd.Series(x[:, 1]), "phi": pd.Series(x[:, 2])[::-1]},
        SchemaError, "'eta' and 'phi' of pandas have different indices",
    ),
    "a gradient": (
        lambda x: pytest.importorskip("torch").tensor(x, requires_grad=True),
        UnsupportedTypeError, "grad",
    ),
    "two axes": (lambda x: {**named(x), "eta": x}, UsageError, r"'eta' has the shape \(50, 4\)"),
    "category": (
        lambda x: pd.DataFrame(x, columns=list(NAMES)).astype({"eta": "category"}),
        UnsupportedTypeError, "'eta' is a pandas category",
    ),
    "series": (lambda x: pd.Series(x[:, 0]), UsageError, "DataFrame"),
    "arrow text": (
        lambda x: pa.table({n: ["a"] for n in NAMES}), UnsupportedTypeError, "'pt'.*string",
    ),
    "arrow array": (lambda x: pa.array(x[:, 0]), UnsupportedTypeError, "Table or RecordBatch"),
    "awkward text": (
        lambda x: ak.Array({n: ["a", "b"] for n in NAMES}), (UnsupportedTypeError), "'pt'|pt",
    ),
    "awkward numbers": (lambda x: ak.Array([[1.0], [2.0, 3.0]]), UnsupportedTypeError, "."),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_named(model: Model, x: NDArray[np.float32], case: str) -> None:
    make, error, message = BAD[case]
    with pytest.raises(error, match=message):
        model.predict(make(x))


def test_sparse_matrices_are_refused(model: Model, x: NDArray[np.float32]) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(UnsupportedTypeError, match="sparse"):
        model.predict(sparse.csr_matrix(np.nan_to_num(x)))


def test_a_model_without_names_takes_columns_in_order(
    nameless: Forest, x: NDArray[np.float32]
) -> None:
    model = nameless.compile()
    expected = walk(nameless, x)[:, 0]
    frame = pd.DataFrame(x, columns=list("abcd"))
    assert np.array_equal(model.predict_margin(frame), expected)
    assert np.array_equal(model.predict_margin(dict(frame)), expected)
    with pytest.raises(UsageError, match="5 columns; the model has 4"):
        model.predict({**dict(frame), "e": x[:, 0]})


def test_a_model_that_refuses_nan_says_where_it_is(x: NDArray[np.float32]) -> None:
    forest = random_forest(np.random.default_rng(4), feature_names=NAMES, allow_nan=False)
    for engine in ("llvm", "numpy"):
        model = forest.compile(engine)
        for rows in (x, x[:3]):
            with pytest.raises(CastError, match="'eta' is NaN in row 0"):
                model.predict(rows)
        filled = np.nan_to_num(x)
        assert np.array_equal(model.predict_margin(filled), walk(forest, filled)[:, 0])


def test_pandas_categories_by_the_names_that_the_model_holds(x: NDArray[np.float32]) -> None:
    forest = random_forest(
        np.random.default_rng(4), feature_names=NAMES, sets=9, most_category=3,
        feature_categories=(None, None, None, ("low", "high", "none")),
    )  # fmt: skip
    codes = np.arange(len(x)) % 4
    words = np.array(["low", "high", "none", None])[codes]
    frame = pd.DataFrame(x, columns=list(NAMES))
    frame["mass"] = pd.Categorical(words, categories=["none", "unused", "high", "low"])
    full = x.copy()
    full[:, 3] = np.where(codes == 3, np.nan, codes)
    assert np.array_equal(forest.compile().predict_margin(frame), walk(forest, full)[:, 0])
    frame["mass"] = pd.Categorical(["high"] * 49 + ["hihg"])
    with pytest.raises(CastError, match="'mass': the model knows no category 'hihg'.*'high'"):
        forest.compile().predict(frame)
