"""The compiled loops do to the bit what NumPy does, in parts and in whole epochs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

import rootml
from rootml._internal import machine_code
from rootml._internal.machine_code import Kernel
from rootml.batching import Padded
from rootml.batching.inputs import _layout
from rootml.batching.inputs._layout import Dense
from rootml.batching.kernels import _gather, _pad, _pad_columns, _permutation, _transpose
from rootml.batching.rows import _records
from rootml.batching.rows._records import Fields, RecordLayout, Records

pytest.importorskip("llvmlite")
NAN = np.array([0x7FC00001, 0xFF812345], "u4").view("f4")  # a quiet and a signalling one


@pytest.fixture(autouse=True)
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All kernels are compiled when they are first used."""
    for module in (_gather, _pad, _pad_columns):
        monkeypatch.setattr(module, "_AFTER", 0)
        module._kernel.cache_clear()
    for kernel in (*_transpose._KERNELS.values(), _permutation._KERNEL):
        monkeypatch.setattr(kernel, "_left", 0)
    yield
    for module in (_gather, _pad, _pad_columns):
        module._kernel.cache_clear()


def numbers(shape: tuple[int, ...], dtype: str) -> Any:
    found = np.empty(shape, dtype)
    found[...] = np.random.default_rng(1).standard_normal(shape)
    return found


def same_bits(one: Any, other: Any) -> bool:
    return np.array_equal(
        np.ascontiguousarray(one).view("u1"), np.ascontiguousarray(other).view("u1")
    )


def transposed(strips: list[Any], rows: Any, first: int = 0, *, spare: bool = False) -> Any:
    columns = _transpose.Columns.of(strips)
    return None if columns is None else _transpose.transpose(columns, first, rows, spare=spare)


def aligned(rows: int, width: int) -> Any:
    room = np.full(rows * width + 16, -7, np.float32)
    start = -room.ctypes.data % 64 // 4
    return room[start : start + rows * width].reshape(rows, width)


@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
@pytest.mark.parametrize(("columns", "rows"), [(8, 16), (9, 17), (28, 100), (13, 4099), (64, 33)])
def test_transposition_is_that_of_numpy(columns: int, rows: int, dtype: str) -> None:
    wide = numbers((columns, rows + 5), dtype)
    wide[0, 3], wide[-1, -2] = -0.0, 1e-42
    room = np.full((rows, columns + 3), -7, np.float32)
    assert transposed([wide], room[:, 1 : 1 + columns], 3) is True
    expected = wide[:, 3 : 3 + rows].T.astype("f4")
    assert same_bits(room[:, 1 : 1 + columns], expected)
    assert (room[:, 0] == -7).all()
    assert (room[:, 1 + columns :] == -7).all()
    lines = aligned(rows, -(-columns // 16) * 16)  # whole cache lines: another kernel
    assert transposed([wide], lines[:, :columns], 3, spare=True) is True
    assert same_bits(lines[:, :columns], expected)


@pytest.mark.parametrize("width", [16, 32, 48])
def test_rows_join_columns_of_several_types(width: int) -> None:
    rng = np.random.default_rng(6)
    integers = rng.integers(-(2**31), 2**31, 77)
    integers[:4] = -(2**31), 2**31 - 1, 2**24 + 1, 0x7F800001
    for spare in (False, True):
        strips = [
            numbers((width - 7, 77), ">f4"),
            numbers((3, 77), "<f4"),
            integers[None].astype("<i4"),
            integers[None].astype(">i4"),
        ]
        rows = aligned(60, width)
        assert transposed(strips, rows[:, : width - 2], 9, spare=spare) is True
        expected = np.concatenate([strip[:, 9:69].astype("f4") for strip in strips]).T
        assert same_bits(rows[:, : width - 2], expected)
        assert spare or (rows[:, width - 2 :] == -7).all()


@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, *NAN])
def test_transposition_finds_what_is_not_finite(value: float, dtype: str) -> None:
    for row, column in [(0, 0), (15, 7), (16, 8), (36, 10), (20, 3)]:
        strip = numbers((11, 37), dtype)
        strip[column, row] = value
        expected = strip.astype("f4") if dtype == ">f4" else strip
        for rows in (np.empty((37, 11), np.float32), aligned(37, 16)[:, :11]):
            assert transposed([strip], rows, spare=True) is False
            assert same_bits(rows, expected.T)


def test_transposition_leaves_to_numpy_what_does_not_fit() -> None:
    rows = np.empty((100, 8), np.float32)
    for strip in (
        np.ones((8, 100), np.uint32),
        np.ones((8, 100)),
        np.ones((8, 200), np.float32)[:, ::2],
        np.ones((100, 8), np.float32).T,
    ):
        assert transposed([strip], rows) is None
    assert transposed([np.ones((7, 100), "f4")], rows[:, :7]) is None
    assert transposed([np.ones((8, 15), "f4")], rows[:15]) is None
    assert transposed([np.ones((8, 100), "f4")], np.empty((100, 8))) is None


@pytest.mark.parametrize("width", [1, 3, 8, 20])
@pytest.mark.parametrize("length", [1, 5, 200])
def test_padding_is_that_of_numpy(width: int, length: int) -> None:
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 9, 300)
    counts[[0, -1]] = 0
    offsets = 1000 + np.concatenate([[0], np.cumsum(counts)])
    elements = numbers((int(counts.sum()) + 1, width), "<f4")
    elements[3, 0] = NAN[1]
    room = np.zeros((300, length * width + 3), np.float32)
    marks = np.full((300, length + 2), True)
    values, mask = room[:, : length * width].reshape(300, length, width), marks[:, 1:-1]
    assert np.shares_memory(values, room)
    assert _pad.pad(elements, offsets, values, mask)
    expected, filled = np.empty((300, length, width), np.float32), np.empty((300, length), bool)
    _layout._pad_by_numpy(elements, offsets, expected, filled)
    assert same_bits(values, expected)
    assert np.array_equal(mask, filled)
    for row, count in enumerate(counts):  # and NumPy is right
        kept = min(count, length)
        start = offsets[row] - 1000
        assert same_bits(values[row, :kept], elements[start : start + kept])
        assert same_bits(values[row, kept:], np.broadcast_to(elements[-1], (length - kept, width)))
    assert marks[:, [0, -1]].all()
    assert (room[:, length * width :] == 0).all()


@pytest.mark.parametrize("mean", [0.01, 3, 40])
@pytest.mark.parametrize(("width", "length"), [(8, 5), (13, 1), (20, 50)])
def test_columns_are_padded_as_by_numpy(width: int, length: int, mean: float) -> None:
    rng = np.random.default_rng(7)
    counts = rng.poisson(mean, 700)
    counts[[0, 130, -1]] = 0, 300, 0
    offsets = np.concatenate([[0], np.cumsum(counts)])
    integers = rng.integers(-(2**20), 2**20, (3, offsets[-1] + 2), dtype="i4")
    strips = [integers.astype(">i4"), numbers((width - 3, offsets[-1] + 2), ">f4")]
    columns = _transpose.Columns.of(strips)
    assert columns is not None
    elements = np.concatenate([strip.astype("f4") for strip in strips]).T
    for start, stop in [(0, 700), (3, 4), (571, 700), (128, 256)]:
        room = np.zeros((stop - start, length * width + 3), np.float32)
        values = room[:, : length * width].reshape(-1, length, width)
        mask, part = np.full((stop - start, length), True), offsets[start : stop + 1]
        assert _pad_columns.pad_columns(columns, part, -9.0, values, mask) is True
        assert (room[:, length * width :] == 0).all()
        for row, first in enumerate(part[:-1]):
            kept = min(part[row + 1] - first, length)
            assert same_bits(values[row, :kept], elements[first : first + kept])
            assert (values[row, kept:] == -9).all()
            assert mask[row].tolist() == [True] * kept + [False] * (length - kept)


def test_padding_finds_what_is_not_finite_and_leaves_the_rest_to_numpy() -> None:
    offsets, mask = np.arange(0, 41, 2), np.empty((20, 2), bool)
    for value, place in [(np.nan, (2, 7)), (-np.inf, (9, 39)), (NAN[1], (0, 0))]:
        strip = numbers((10, 40), ">f4")
        strip[place] = value
        columns, values = _transpose.Columns.of([strip]), np.empty((20, 2, 10), np.float32)
        assert columns is not None
        assert _pad_columns.pad_columns(columns, offsets, 0.0, values, mask) is False
    few = _transpose.Columns.of([numbers((10, 15), ">f4")])
    assert few is not None
    assert _pad_columns.pad_columns(few, offsets[:5], 0.0, values[:4], mask[:4]) is None
    wide = np.empty((20, 2, 10))
    assert columns is not None
    assert _pad_columns.pad_columns(columns, offsets, 0.0, wide, mask) is None


FIELDS: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
    "x": (np.dtype("f4"), (28,)),
    "id": (np.dtype("u8"), ()),
    "mask": (np.dtype(bool), (5,)),
    "half": (np.dtype("f2"), (2, 3)),
}


class RowsOf:
    """A layout with these fields."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.dense_row = lambda: fields


@pytest.mark.parametrize("names", [["x", "id"], ["x", "id", "mask", "half"], ["mask"], ["id"]])
@pytest.mark.parametrize("rows", [1, 7, 5000])
def test_records_give_back_what_fields_give(names: list[str], rows: int) -> None:
    layout = RecordLayout.of(RowsOf({name: FIELDS[name] for name in names}))  # type: ignore[arg-type]
    rng = np.random.default_rng(3)
    records, fields = Records.allocate(layout, rows), Fields(layout, rows)
    for name in names:
        dtype, shape = FIELDS[name]
        is_bool = dtype.kind == "b"
        bits = rng.integers(0, 2, (rows, *shape)) if is_bool else rng.random((rows, *shape))
        for buffer in (records, fields):
            buffer.dense[name][...] = (bits * 100).astype(dtype)
    slots = rng.integers(0, rows, 3 * rows)

    def gathered(gather: Callable[[Dense], None]) -> Dense:
        into = {
            name: np.zeros((3 * rows + 2, *FIELDS[name][1]), FIELDS[name][0]) for name in names
        }
        gather(into)
        return into

    def inside(into: Dense) -> Dense:
        return {name: array[1:-1] for name, array in into.items()}

    expected = gathered(lambda into: fields.gather(slots, into, 1))
    compiled = gathered(lambda into: records.gather(slots, into, 1))
    by_numpy = gathered(lambda into: records._gather_by_numpy(slots, inside(into)))
    for name in names:
        assert np.array_equal(expected[name][1:-1], fields.dense[name][slots])
        assert same_bits(compiled[name], expected[name])
        assert same_bits(by_numpy[name], expected[name])


def test_records_begin_at_cache_lines_where_little_is_lost() -> None:
    for numbers_per_row, size in [(28, 128), (13, 64), (5, 24), (33, 136)]:
        fields = {"x": (np.dtype("f4"), (numbers_per_row,)), "w": (np.dtype("f4"), ())}
        layout = RecordLayout.of(RowsOf(fields))  # type: ignore[arg-type]
        assert layout.size == size
        assert Records.allocate(layout, 10)._memory.ctypes.data % 64 == 0


def test_permutations_are_those_of_numpy() -> None:
    one, other = (np.random.Generator(np.random.SFC64(seed)) for seed in (8, 8))
    for rows in (1024, 1025, 5, 16_384, 99_999, 0, 1, 65_536, 2047):
        found = _permutation.permutation(one, rows)
        assert found.dtype == np.int64
        assert np.array_equal(found, other.permutation(rows))
        if rows % 2:  # half of 64 bits is left over, or not
            assert one.integers(2**32, dtype="u4") == other.integers(2**32, dtype="u4")
    assert one.random() == other.random()
    assert _permutation._agrees()
    short = _permutation.permutation(one, 3000, np.uint16)
    assert short.dtype == np.uint16
    assert np.array_equal(short, other.permutation(3000))
    philox, same = (np.random.Generator(np.random.Philox(8)) for _ in range(2))
    found = _permutation.permutation(philox, 5000)
    assert np.array_equal(found, same.permutation(5000))


def test_another_numpy_keeps_its_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_permutation, "_agrees", lambda: False)
    one, other = (np.random.Generator(np.random.SFC64(8)) for _ in range(2))
    monkeypatch.setattr(_permutation, "_permuted", None)
    assert np.array_equal(_permutation.permutation(one, 5000), other.permutation(5000))


JETS = ("pt", "eta", *(f"z{i}" for i in range(6)))


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import awkward as ak

    rng = np.random.default_rng(4)
    path = tmp_path_factory.mktemp("kernels") / "events.root"
    counts = rng.integers(0, 7, 6000)
    columns: dict[str, Any] = {f"x{i}": rng.standard_normal(6000).astype("f4") for i in range(11)}
    columns["n"] = rng.integers(0, 100, 6000).astype("i4")
    columns["id"] = np.arange(6000)
    for name in JETS:
        values = rng.standard_normal(counts.sum()).astype("f4")
        columns[f"Jet_{name}"] = ak.unflatten(values, counts)
    types = {
        name: "var * float32" if name.startswith("Jet") else values.dtype
        for name, values in columns.items()
    }
    with uproot.recreate(path) as file:
        tree = file.mktree("Events", types)
        for start in range(0, 6000, 1500):
            tree.extend({name: values[start : start + 1500] for name, values in columns.items()})
    return path


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("length", [None, 4])
def test_epochs_are_the_same_without_llvmlite(
    events: Path, monkeypatch: pytest.MonkeyPatch, length: int | None, shuffle: bool
) -> None:
    def epoch() -> list[Any]:
        data = rootml.open(f"{events}:Events", label=1, weight="1 + n")
        inputs: dict[str, Any] = {"event": [f"x{i}" for i in range(11)]}
        if length is not None:
            inputs["jets"] = Padded(["Jet_pt", "Jet_eta"], length=length, value=-1)
            inputs["all"] = Padded([f"Jet_{name}" for name in JETS], length=length)
        batches = data.batches(
            500, shuffle=shuffle, seed=3, inputs=inputs, observers=["id"], unit_bytes="50 kB",
            buffer_bytes="500 kB" if length is None else "1100 kB", progress=False,
        )  # fmt: skip
        return [batch for _ in range(2) for batch in batches.numpy()]

    with_kernels = epoch()
    monkeypatch.setattr(_records, "is_there", lambda: False)
    monkeypatch.setattr(Kernel, "function", lambda *_: None)
    without = epoch()
    assert len(with_kernels) == len(without) == 24
    for one, other in zip(with_kernels, without, strict=True):
        assert np.array_equal(one[3]["id"], other[3]["id"])
        assert same_bits(one[0]["event"], other[0]["event"])
        assert same_bits(one[2], other[2])
        for name in () if length is None else ("jets", "all"):
            assert same_bits(one[0][name].values, other[0][name].values)
            assert np.array_equal(one[0][name].mask, other[0][name].mask)
    ids = np.concatenate([batch[3]["id"] for batch in with_kernels[:12]])
    assert np.array_equal(np.sort(ids), np.arange(6000))


@pytest.mark.parametrize("lists", [False, True])
def test_the_same_error_for_nan(
    events: Path, monkeypatch: pytest.MonkeyPatch, *, lists: bool
) -> None:
    def message() -> str:
        bad = "Jet_eta / (id != 4321)" if lists else "x3 / (id != 4321)"
        data = rootml.open(f"{events}:Events").define(bad=bad)
        names = [*(f"Jet_{name}" for name in JETS), "bad"]
        inputs: Any = {"jets": Padded(names, length=3)}
        if not lists:
            inputs = [*(f"x{i}" for i in range(11)), "bad"]
        with pytest.raises(rootml.errors.NonFiniteError) as caught:
            for _ in data.batches(1000, inputs=inputs).numpy():
                pass
        return str(caught.value)

    found = message()
    monkeypatch.setattr(Kernel, "function", lambda *_: None)
    assert found == message()
    assert "'bad'" in found


def test_nothing_is_compiled_for_little_work() -> None:
    kernel = Kernel(lambda: 1 / 0, "f", [], None, after=100)  # type: ignore[arg-type, return-value]
    assert kernel.function(50) is None
    assert kernel.function(49) is None
    with pytest.raises(ZeroDivisionError):
        kernel.function(1)


def test_nobody_waits_for_a_thread_that_compiles() -> None:
    kernel = Kernel(lambda: 1 / 0, "f", [], None, after=0)  # type: ignore[arg-type, return-value]
    with machine_code._compiling:  # as after a fork, when that thread is gone
        assert kernel.function(1) is None
    with pytest.raises(ZeroDivisionError):
        kernel.function(1)


def test_numpy_goes_on_where_nothing_can_be_compiled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Kernel(lambda: "no IR", "f", [], None, after=0)
    with caplog.at_level(logging.WARNING, logger="rootml"):
        assert broken.function(1) is None
        assert broken.function(1) is None
    assert caplog.text.count("f is not compiled, NumPy does its work") == 1
    monkeypatch.setenv("ROOTML_COMPILE", "0")
    assert not machine_code.is_there.__wrapped__()
    monkeypatch.delenv("ROOTML_COMPILE")
    assert machine_code.is_there.__wrapped__()
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.47.1")
    assert not machine_code.is_there.__wrapped__()
