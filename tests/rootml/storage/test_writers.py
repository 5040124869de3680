"""Files that we write, read by uproot, Arrow and ROOT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import uproot

from rootml.errors import MissingFileError, SchemaError, UnsupportedTypeError, UsageError
from rootml.storage import ColumnType, open_table, open_writer, type_of_values

FORMATS = {"root": ".root", "rntuple": ".root", "parquet": ".parquet", "arrow": ".arrow"}
RNG = np.random.default_rng(4)


def make(rows: int) -> dict[str, Any]:
    counts = RNG.integers(0, 4, rows)
    return {
        "f": RNG.normal(size=rows).astype(np.float32),
        "d": RNG.normal(size=rows),
        "i": RNG.integers(-(2**62), 2**62, rows),
        "b": RNG.integers(0, 2, rows).astype(bool),
        "u": RNG.integers(0, 255, rows).astype(np.uint8),
        "matrix": RNG.normal(size=(rows, 3)).astype(np.float32),
        "jet": ak.unflatten(RNG.normal(size=counts.sum()).astype(np.float32), counts),
        "njet": RNG.integers(0, 9, rows),  # the name that a counter of `jet` would have
        "text": ak.Array([f"event {i % 7}" for i in range(rows)]),
    }


def types_of(columns: dict[str, Any]) -> dict[str, ColumnType]:
    return {name: type_of_values(column) for name, column in columns.items()}


def read_back(path: Path) -> dict[str, Any]:
    """All columns, by the library that the format comes from."""
    if path.suffix == ".root":
        with uproot.open(path) as file:
            tree = file["Events"]
            names = tree.keys()
            return {name: tree[name].array() for name in make(1) if name in names}
    table = (
        pyarrow.parquet.read_table(path)
        if path.suffix == ".parquet"
        else pa.ipc.open_file(path).read_all()
    )
    return {name: ak.from_arrow(table[name].combine_chunks()) for name in table.column_names}


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("parts", [(5,), (1, 0, 999), (60_000, 120_000, 30_001), (450_000,), ()])
def test_round_trip(format_: str, parts: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / f"f{FORMATS[format_]}"
    pieces = [make(rows) for rows in parts]
    with open_writer(
        str(path),
        format=format_,
        columns=types_of(make(1)),
        metadata={"note": "from here", "long": "x" * 70_000},
    ) as writer:
        for piece in pieces:
            writer.write(piece)
            assert not path.exists(), "not before it is complete"
    assert writer.num_entries == sum(parts)
    found = read_back(path)
    assert list(found) == list(make(1))
    for name, column in found.items():
        assert len(column) == sum(parts)
        if parts:
            wanted = ak.concatenate([piece[name] for piece in pieces])
            assert ak.array_equal(column, wanted, check_parameters=False), name
    with open_table(str(path)) as table:
        assert np.diff(table.clusters()).max(initial=0) <= 250_000
        for name, kind in types_of(make(1)).items():
            assert table.columns[name].same_as(kind), name
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_metadata(tmp_path: Path) -> None:
    for format_, suffix in FORMATS.items():
        path = tmp_path / f"m{suffix}"
        columns = {"x": np.arange(3.0)}
        with open_writer(
            str(path), format=format_, columns=types_of(columns), metadata={"note": "ä 1"}
        ) as writer:
            writer.write(columns)
    with uproot.open(tmp_path / "m.root") as file:
        assert str(file["note"]) == "ä 1"
    assert pyarrow.parquet.read_schema(tmp_path / "m.parquet").metadata[b"note"].decode() == "ä 1"
    assert pa.ipc.open_file(tmp_path / "m.arrow").schema.metadata[b"note"].decode() == "ä 1"


@pytest.mark.needs_root
@pytest.mark.parametrize("format_", ["root", "rntuple"])
def test_root_reads_what_we_write(format_: str, tmp_path: Path, root: Any) -> None:
    columns = make(5000)
    path = str(tmp_path / "f.root")
    with open_writer(path, format=format_, columns=types_of(columns)) as writer:
        writer.write(columns)
    frame = root.RDataFrame("Events", path)
    numbers = ["f", "d", "i", "b", "u", "njet"]
    for name, column in frame.AsNumpy(numbers).items():
        np.testing.assert_array_equal(np.asarray(column, columns[name].dtype), columns[name])
    sums = frame.Define("total", "Sum(jet)").AsNumpy(["total"])["total"]
    np.testing.assert_allclose(sums, ak.sum(columns["jet"], axis=1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("format_", FORMATS)
def test_failure_leaves_nothing_and_keeps_the_old_file(format_: str, tmp_path: Path) -> None:
    path = tmp_path / f"f{FORMATS[format_]}"
    path.write_text("old")
    columns = {"x": np.arange(3.0)}
    writer = open_writer(str(path), format=format_, columns=types_of(columns))

    def fail() -> None:
        with writer:
            writer.write(columns)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    with pytest.raises(UsageError, match="closed"):
        writer.write(columns)


@pytest.mark.parametrize("format_", FORMATS)
def test_columns_that_do_not_fit(format_: str, tmp_path: Path) -> None:
    path = str(tmp_path / f"f{FORMATS[format_]}")
    types = types_of({"x": np.zeros(1), "y": np.zeros(1, np.int32)})
    good = {"x": np.zeros(2), "y": np.zeros(2, np.int32)}
    with open_writer(path, format=format_, columns=types) as writer:
        for change, match in (
            ({"x": np.zeros(2, np.float32)}, "'x' is float64 in the file, given float32"),
            ({"y": np.zeros(3, np.int32)}, "unequal length"),
            ({"z": np.zeros(2)}, r"not in the file: \['z'\]"),
            ({"x": np.zeros((2, 2))}, r"given float64\[2\]"),
        ):
            with pytest.raises(SchemaError, match=match):
                writer.write({**good, **change})
        with pytest.raises(SchemaError, match=r"missing: \['y'\]"):
            writer.write({"x": np.zeros(2)})
        writer.write(good)
    with open_table(path) as table:
        assert table.num_entries == 2


def test_what_cannot_be_written(tmp_path: Path) -> None:
    deep = {"d": ak.Array([[[1, 2]], []])}
    with pytest.raises(UnsupportedTypeError, match=r"'d' .* cannot be written to a TTree"):
        open_writer(str(tmp_path / "f.root"), format="root", columns=types_of(deep))
    with open_writer(
        str(tmp_path / "f.parquet"), format="parquet", columns=types_of(deep)
    ) as writer:
        writer.write(deep)
    assert pyarrow.parquet.read_table(tmp_path / "f.parquet")["d"].to_pylist() == [[[1, 2]], []]
    x = types_of({"x": np.zeros(1)})
    with pytest.raises(UsageError, match="'rntuple', 'parquet' or 'arrow', not 'csv'"):
        open_writer(str(tmp_path / "f.csv"), format="csv", columns=x)
    with pytest.raises(UsageError, match="no columns"):
        open_writer(str(tmp_path / "f.root"), format="root", columns={})
    with pytest.raises(MissingFileError, match="there is no folder"):
        open_writer(str(tmp_path / "not" / "f.root"), format="root", columns=x)
    with pytest.raises(UsageError, match="local"):
        open_writer("root://host//f.root", format="root", columns=x)


def test_rntuple_names_and_deep_lists(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no '.' in their names"):
        open_writer(
            str(tmp_path / "f.root"),
            format="rntuple",
            columns={"a.b": ColumnType("scalar", np.dtype("float32"))},
        )
    assert list(tmp_path.iterdir()) == []
    deep = {"x": ak.Array([[[1, 2], []], [], [[3]]])}
    path = str(tmp_path / "g.root")
    with open_writer(path, format="rntuple", columns=types_of(deep)) as writer:
        writer.write(deep)
    assert uproot.open(path)["Events"].arrays()["x"].tolist() == deep["x"].tolist()
