"""What every storage format promises, on files written by uproot, ROOT and Arrow themselves."""

from __future__ import annotations

import contextlib
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import uproot

import rootml
from rootml.errors import (
    ChangedFileError,
    MissingColumnError,
    MissingFileError,
    MissingTreeError,
    RootmlError,
    UnsupportedTypeError,
    UsageError,
)
from rootml.storage import Table, open_table

ROWS, CLUSTER = 1000, 300
RNG = np.random.default_rng(3)
NUMBERS = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
NUMBERS += ["float32", "float64"]


def values() -> dict[str, Any]:
    """Nasty values of every type that all writers know."""
    columns: dict[str, Any] = {}
    for name in NUMBERS:
        dtype = np.dtype(name)
        if dtype.kind == "f":
            column = RNG.normal(size=ROWS).astype(dtype)
            column[:6] = [np.nan, np.inf, -np.inf, -0.0, np.finfo(dtype).tiny / 4, 1e30]
        else:
            column = RNG.integers(0, 2, ROWS) if name == "bool" else RNG.integers(0, 100, ROWS)
            column = column.astype(dtype)
            if name != "bool":
                column[:2] = [np.iinfo(dtype).min, np.iinfo(dtype).max]
        columns[f"s_{name}"] = column
    counts = RNG.integers(0, 4, ROWS)
    counts[:3] = counts[-1] = 0
    columns["j_float32"] = ak.unflatten(RNG.normal(size=counts.sum()).astype(np.float32), counts)
    columns["j_int64"] = ak.unflatten(RNG.integers(-9, 9, counts.sum()), counts)
    return columns


VALUES = values()


def by_uproot(path: Path, *, rntuple: bool) -> str:
    target = path.with_suffix(".root")
    with uproot.recreate(target, compression=uproot.ZSTD(3)) as file:
        if rntuple:
            writer = file.mkrntuple("deep/er/tree", ak.Array(VALUES).layout.form)
        else:
            types = {name: ak.type(column).content for name, column in VALUES.items()}
            writer = file.mktree("deep/er/tree", types)
        for start in range(0, ROWS, CLUSTER):
            part = {name: column[start : start + CLUSTER] for name, column in VALUES.items()}
            writer.extend(ak.Array(part) if rntuple else part)
    return str(target)


def by_arrow(path: Path, suffix: str) -> str:
    target = path.with_suffix(suffix)
    arrays = {n: ak.to_arrow(ak.Array(c), extensionarray=False) for n, c in VALUES.items()}
    if suffix == ".parquet":
        pyarrow.parquet.write_table(pa.table(arrays), target, row_group_size=CLUSTER)
    else:
        pyarrow.feather.write_feather(pa.table(arrays), target, chunksize=CLUSTER)
    return str(target)


def by_root(path: Path, root: Any, *, rntuple: bool, page: int = 0) -> str:
    source, target = by_uproot(path.with_name("source"), rntuple=False), path.with_suffix(".root")
    options = root.RDF.RSnapshotOptions()
    options.fAutoFlush = CLUSTER
    if rntuple:
        options.fOutputFormat = root.RDF.ESnapshotOutputFormat.kRNTuple
        if page:  # many pages a cluster, several clusters, not compressed
            options.fInitialUnzippedPageSize = options.fMaxUnzippedPageSize = page
            options.fMaxUnzippedClusterSize = options.fApproxZippedClusterSize = 40 * page
            options.fCompressionLevel = 0
    names = root.std.vector("string")(list(VALUES))
    root.RDataFrame("deep/er/tree", source).Snapshot("tree", str(target), names, options)
    return str(target)


WRITERS: dict[str, Callable[..., str]] = {
    "ttree by uproot": lambda path, _: by_uproot(path, rntuple=False),
    "rntuple by uproot": lambda path, _: by_uproot(path, rntuple=True),
    "parquet": lambda path, _: by_arrow(path, ".parquet"),
    "arrow": lambda path, _: by_arrow(path, ".arrow"),
    "ttree by ROOT": lambda path, root: by_root(path, root(), rntuple=False),
    "rntuple by ROOT": lambda path, root: by_root(path, root(), rntuple=True),
    "rntuple of small pages": lambda path, root: by_root(path, root(), rntuple=True, page=512),
}


@pytest.fixture(scope="module", params=WRITERS)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("contract")
    return WRITERS[request.param](folder / "f", lambda: request.getfixturevalue("root"))


@pytest.fixture
def table(path: str) -> Any:
    with open_table(path) as opened:
        yield opened


def expected(name: str, start: int, stop: int) -> Any:
    return VALUES[name][start:stop]


def check(found: Any, name: str, start: int, stop: int) -> None:
    wanted = expected(name, start, stop)
    assert len(found) == stop - start
    if isinstance(wanted, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
        if wanted.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted))
    else:
        assert ak.to_list(found) == ak.to_list(wanted)


def test_what_it_says_of_itself(table: Table) -> None:
    assert table.num_entries == ROWS
    assert set(table.columns) >= set(VALUES)
    for name, column in VALUES.items():
        kind = table.columns[name]
        if isinstance(column, np.ndarray):
            assert (kind.kind, kind.dtype) == ("scalar", column.dtype)
        else:
            assert (kind.kind, kind.depth) == ("jagged", 1)
            assert kind.dtype == np.asarray(ak.flatten(column)).dtype
        assert table.stored_bytes([name]) > 0
    assert f"{ROWS:,} entries" in repr(table)
    assert table.fingerprint.size == Path(table.path).stat().st_size


def test_clusters_cover_all_entries(table: Table) -> None:
    bounds = table.clusters()
    assert bounds[0] == 0
    assert bounds[-1] == ROWS
    assert (np.diff(bounds) > 0).all()
    bounds[:] = 0
    assert table.clusters()[-1] == ROWS, "a copy is handed out"


@pytest.mark.parametrize(
    ("start", "stop"), [(0, ROWS), (0, 0), (299, 301), (1, 2), (ROWS - 1, ROWS), (450, 450)]
)
def test_values(table: Table, start: int, stop: int) -> None:
    names = list(reversed(VALUES))
    found = table.read(names, start, stop)
    assert list(found) == names
    for name in names:
        check(found[name], name, start, stop)


def test_arrays_belong_to_the_caller(table: Table) -> None:
    names = ["s_float32", "s_int64", "s_bool", "s_uint8"]
    first = table.read(names, 10, 500)
    for name in names:
        column = first[name]
        assert column.flags.c_contiguous
        assert column.flags.writeable
        assert column.dtype.isnative
        column[:] = 0
    for name, column in table.read(names, 10, 500).items():
        check(column, name, 10, 500)


def test_threads_read_at_the_same_time(table: Table) -> None:
    barrier = threading.Barrier(4)

    def read(number: int) -> None:
        barrier.wait()
        for start in range(number, ROWS - 200, 97):
            found = table.read(["s_float64", "j_float32"], start, start + 200)
            check(found["s_float64"], "s_float64", start, start + 200)
            check(found["j_float32"], "j_float32", start, start + 200)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(4)))


def test_allocate_makes_the_arrays_or_is_left_alone(table: Table) -> None:
    made = []

    def allocate(shape: Any, dtype: Any) -> np.ndarray[Any, Any]:
        made.append(np.full(shape, 77, dtype))
        return made[-1]

    found = table.read(["s_float32", "s_int16"], 5, 900, allocate=allocate)
    for name, column in found.items():
        check(column, name, 5, 900)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (5, 3), (0, ROWS + 1)])
def test_entries_that_are_not_there(table: Table, start: int, stop: int) -> None:
    with pytest.raises(UsageError, match=r"entries .* asked for, it has 1,000"):
        table.read(["s_float32"], start, stop)


def test_unknown_column_names_the_nearest(table: Table) -> None:
    with pytest.raises(MissingColumnError, match=r"no column 's_flot32'; nearest: 's_float32'"):
        table.read(["s_flot32"], 0, 1)


def test_closed_table(path: str) -> None:
    table = open_table(path)
    table.close()
    table.close()
    with pytest.raises(UsageError, match="closed"):
        table.read(["s_float32"], 0, 1)


def test_no_descriptor_stays_open(path: str) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("needs /proc")

    def count() -> int:
        """Descriptors of this file alone: other tests of the process may close theirs late."""
        links = []
        for each in descriptors.iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                links.append(each.readlink())
        return links.count(Path(path).resolve())

    before = count()
    tables = [open_table(path) for _ in range(5)]
    for table in tables:
        table.read(["s_float32", "j_int64"], 0, 100)
    assert count() - before <= len(tables), "one per table at most"
    for table in tables:
        table.close()
    assert count() <= before


def test_changed_file(path: str, tmp_path: Path) -> None:
    copy = tmp_path / Path(path).name
    copy.write_bytes(Path(path).read_bytes())
    table = open_table(str(copy))
    table.read(["s_float32"], 0, 10)
    copy.write_bytes(Path(path).read_bytes() + b" ")
    with pytest.raises(ChangedFileError, match=copy.name):
        table.read(["s_float32"], 0, 10)
    copy.unlink()
    with pytest.raises((MissingFileError, ChangedFileError), match=copy.name):
        table.read(["s_float32"], 0, 10)


def outcome(path: Path) -> str:
    """Read everything: the class of the error if it names the file, or how the values are."""
    try:
        with open_table(str(path)) as table:
            found = table.read([n for n in VALUES if n in table.columns], 0, table.num_entries)
    except RootmlError as error:
        return type(error).__name__ if str(path) in str(error) else f"unplaced: {error}"
    assert {len(column) for column in found.values()} <= {ROWS}
    same = all(ak.to_list(found[n]) == ak.to_list(VALUES[n]) for n in found if n[2:5] != "flo")
    return "same" if same and len(found) == len(VALUES) else "other"


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.3, 0.7, 0.98, 0.9999])
def test_truncated(path: str, tmp_path: Path, kept: float) -> None:
    raw = Path(path).read_bytes()
    copy = tmp_path / Path(path).name
    copy.write_bytes(raw[: int(kept * len(raw))])
    assert outcome(copy).endswith("Error")


def test_flipped_bits_are_errors_or_harmless(path: str, tmp_path: Path) -> None:
    """Nothing but our own errors, and never a wrong shape; what no checksum covers may differ."""
    raw = np.frombuffer(Path(path).read_bytes(), np.uint8)
    rng = np.random.default_rng(9)
    seen = set()
    for number in range(60):
        damaged = raw.copy()
        place = rng.integers(0, len(raw) if number % 2 else min(len(raw), 4000))
        damaged[place] ^= 1 << rng.integers(0, 8)
        copy = tmp_path / f"{number}_{Path(path).name}"
        copy.write_bytes(damaged.tobytes())
        seen.add(outcome(copy))
    assert any(each.endswith("Error") for each in seen)
    assert not any(each.startswith("unplaced") for each in seen), seen


def test_foreign_files(tmp_path: Path) -> None:
    for name, content in (
        ("empty.root", b""),
        ("text.root", b"hello, world\n" * 100),
        ("zeros.parquet", bytes(5000)),
        ("half.arrow", b"ARROW1\0\0" + bytes(50)),
    ):
        target = tmp_path / name
        target.write_bytes(content)
        with pytest.raises(RootmlError, match=name):
            open_table(str(target))
    with pytest.raises(RootmlError, match="folder"):
        open_table(str(tmp_path))


def test_column_types_travel(table: Table) -> None:
    kinds = dict(table.columns)
    assert pickle.loads(pickle.dumps(kinds)) == kinds


def test_cycles(tmp_path: Path) -> None:
    path = str(tmp_path / "f.root")
    with uproot.recreate(path) as file:
        for name in ("T", "T", "dir/T"):
            file[name] = {"x": np.arange(3 if name == "T" else 4)}
    assert open_table(path, "T;1").num_entries == open_table(path, "T;2").num_entries == 3
    with pytest.raises(MissingTreeError, match=r"no cycle 3 of 'T'; available: 'T;1', 'T;2'"):
        open_table(path, "T;3")
    with pytest.raises(MissingTreeError, match=r"no cycle 2 of 'dir/T'; available: 'dir/T;1'"):
        open_table(path, "dir/T;2")
    with pytest.raises(MissingTreeError, match=r"no cycle x of 'T'"):
        open_table(path, "T;x")
    with pytest.raises(MissingTreeError, match=r"no tree 'S;1'; nearest"):
        open_table(path, "S;1")


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_arrow_types_that_cannot_be_read(tmp_path: Path, suffix: str) -> None:
    money = pa.decimal128(5, 2)
    one = Decimal("1.50")
    bad = {
        "decimal": pa.array([one, one], money),
        "decimals": pa.array([[one], []], pa.list_(money)),
        "coded": pa.array([one, one], money).dictionary_encode(),
        "null": pa.nulls(2),
        "nulls": pa.array([[None], []], pa.list_(pa.null())),
        "record": pa.array([{"a": 1, "b": one}, {"a": 2, "b": one}]),
        "map": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
    }
    columns = {"first": np.arange(2.0), **bad, "last": np.arange(2)}
    path = tmp_path / f"f{suffix}"
    if suffix == ".parquet":
        pyarrow.parquet.write_table(pa.table(columns), path)
    else:
        pyarrow.feather.write_feather(pa.table(columns), path)
    table = open_table(str(path))
    for name in bad:
        assert table.columns[name].kind == "unsupported"
        with pytest.raises(UnsupportedTypeError, match=f"column '{name}' cannot be read: .*"):
            table.read(["first", name], 0, 2)
        with pytest.raises(UnsupportedTypeError, match=f"'{name}'"):
            rootml.open(path).select([name]).to_awkward()
    assert "decimal128(5, 2)" in table.columns["decimal"].text
    np.testing.assert_array_equal(table.read(["record.a"], 0, 2)["record.a"], [1, 2])
    found = rootml.open(path).to_awkward()
    assert set(found.fields) >= {"first", "last"}
    assert not set(found.fields) & set(bad)
    np.testing.assert_array_equal(found["last"], [0, 1])
