"""Saved epochs: read back by us, and by NumPy, PyArrow, uproot and h5py."""

from __future__ import annotations

import json
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

import rootml
from rootml.batching import Batch, BatchLoader, Padded, PaddedArray, Ragged, RaggedArray
from rootml.batching.saved._formats import FORMATS as FORMATS_OF
from rootml.errors import (
    ChangedFileError,
    MissingFileError,
    SchemaError,
    ShardError,
    StateError,
    UnsupportedTypeError,
    UsageError,
)

ROWS = 400
FORMATS = ["rootml", "parquet", "root", "hdf5"]


@pytest.fixture
def data(tmp_path: Path) -> rootml.Dataset:
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 6, ROWS)
    lists = {
        name: ak.to_arrow(
            ak.unflatten(rng.normal(size=counts.sum()).astype(np.float32), counts),
            extensionarray=False,
        )
        for name in ("pt", "eta")
    }
    flat = {
        "id": np.arange(ROWS),
        "x": rng.normal(size=ROWS),
        "y": rng.normal(size=ROWS),
        "kind": np.arange(ROWS) % 3 == 0,
        "w": rng.normal(size=ROWS),
    }
    pq.write_table(pa.table({**flat, **lists}), tmp_path / "in.parquet", row_group_size=64)
    return rootml.open(str(tmp_path / "in.parquet"), label="kind", weight="w")


def loader_of(data: rootml.Dataset, *, ragged: bool = True, **options: Any) -> BatchLoader:
    inputs: dict[str, Any] = {
        "event": ["x", "y"],
        "jets": Padded(["pt", "eta"], length=3, value=-1),
    }
    if ragged:
        inputs["all"] = Ragged(["eta", "pt"])
    return data.batches(
        50, shuffle=True, seed=4, inputs=inputs, observers=["id"], unit_bytes="1 kB", **options
    )


def same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            same(one[name], other[name])
    elif isinstance(one, PaddedArray):
        np.testing.assert_array_equal(one.values, other.values, strict=True)
        np.testing.assert_array_equal(one.mask, other.mask, strict=True)
    elif isinstance(one, RaggedArray):
        np.testing.assert_array_equal(one.values, other.values, strict=True)
        np.testing.assert_array_equal(one.offsets, other.offsets, strict=True)
    elif one is not None:
        np.testing.assert_array_equal(one, other, strict=True)


def check_equal(found: list[Batch], expected: list[Batch]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for name in ("x", "y", "w", "observers"):
            same(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("storage", FORMATS)
def test_what_is_saved_comes_back(data: rootml.Dataset, tmp_path: Path, storage: Any) -> None:
    loader = loader_of(data, ragged=storage != "hdf5")
    files = loader.save(tmp_path / "saved", format=storage, part_bytes="10 kB")
    assert len(files) > 1
    saved = rootml.batching.open(tmp_path / "saved")
    assert (len(saved), saved.num_rows, loader.epoch) == (8, ROWS, 0)
    expected = list(loader.iterate(epoch=0))
    for _ in range(2):
        check_equal(list(saved.iterate()), expected)
    assert saved.spec == loader.spec


def test_other_tools_read_the_files(data: rootml.Dataset, tmp_path: Path) -> None:
    h5py: Any = pytest.importorskip("h5py")
    loader = loader_of(data, ragged=False)
    for storage in ("parquet", "root", "hdf5"):
        loader.save(tmp_path / storage, format=storage)
    batches = list(loader.iterate(epoch=0))
    ids = np.concatenate([batch.observers["id"] for batch in batches])  # type: ignore[index]
    table = pq.read_table(tmp_path / "parquet" / "part-00000.parquet")
    assert table["id"].to_pylist() == ids.tolist()
    x: Any = [batch.x for batch in batches]
    jets = np.concatenate([each["jets"].values for each in x])
    mask = np.concatenate([each["jets"].mask for each in x])
    assert table["pt"].to_pylist() == jets[:, :, 0].tolist()
    assert table["jets_mask"].to_pylist() == mask.tolist()
    with uproot.open(f"{tmp_path / 'root' / 'part-00000.root'}:Events") as tree:
        np.testing.assert_array_equal(tree["id"].array(library="np"), ids)
        np.testing.assert_array_equal(tree["eta"].array(library="np"), jets[:, :, 1])
    with h5py.File(tmp_path / "hdf5" / "part-00000.h5") as file:  # the layout of Salt
        assert set(file["events"].dtype.names) == {"x", "y", "label", "weight", "id"}
        assert set(file["jets"].dtype.names) == {"pt", "eta", "valid"}
        np.testing.assert_array_equal(file["events"]["id"], ids)
        assert file["jets"].shape == (ROWS, 3)
        np.testing.assert_array_equal(file["jets"]["valid"], mask)
        assert file["jets"].dtype["valid"] == np.dtype(bool)


@pytest.mark.needs_root
def test_root_reads_the_files(data: rootml.Dataset, tmp_path: Path, root: Any) -> None:
    loader = loader_of(data)
    (path,) = loader.save(tmp_path / "saved", format="root")
    ids = np.concatenate([b.observers["id"] for b in loader.iterate(epoch=0)])  # type: ignore[index]
    columns = root.RDataFrame("Events", path).AsNumpy(["id", "x", "label"])
    np.testing.assert_array_equal(columns["id"], ids)


@pytest.mark.parametrize("mode", [{}, {"buffer_bytes": "60 kB"}])
def test_an_interrupted_saving_goes_on(
    data: rootml.Dataset,
    tmp_path: Path,
    mode: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options: dict[str, Any] = {"part_bytes": "10 kB"}
    whole = FORMATS_OF["rootml"]
    paths: list[Path] = []

    def fail(path: Path, *rest: Any) -> None:
        paths.append(path)
        whole.write(path, *rest)
        if len(paths) == 2:
            message = "the power is gone"
            raise OSError(message)

    monkeypatch.setitem(FORMATS_OF, "rootml", replace(whole, write=fail))
    with pytest.raises(OSError, match="power"):
        loader_of(data, **mode).save(tmp_path / "saved", **options)
    with pytest.raises(StateError, match="interrupted"):
        rootml.batching.open(tmp_path / "saved")
    written = json.loads((tmp_path / "saved" / "manifest.json").read_text())["parts"]
    assert written
    before = (tmp_path / "saved" / written[0]["file"]).stat().st_mtime_ns
    loader = loader_of(data, **mode)
    loader.save(tmp_path / "saved", **options)
    assert (tmp_path / "saved" / written[0]["file"]).stat().st_mtime_ns == before
    found = list(rootml.batching.open(tmp_path / "saved").iterate())
    check_equal(found, list(loader_of(data, **mode).iterate(epoch=0)))


@pytest.mark.parametrize("storage", FORMATS)
def test_a_full_disk_leaves_whole_parts(
    data: rootml.Dataset, tmp_path: Path, storage: Any
) -> None:
    """And the same call goes on when there is room. HDF5's own files ended the process."""
    loader = loader_of(data, ragged=False)
    options: dict[str, Any] = {"format": storage, "part_bytes": "10 kB"}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))  # no file may be larger
    try:
        with pytest.raises(OSError, match="part-00000") as caught:
            loader.save(tmp_path / "saved", **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert Path(caught.value.filename).parent == tmp_path / "saved"
    assert not list((tmp_path / "saved").iterdir())
    loader.save(tmp_path / "saved", **options)
    found = list(rootml.batching.open(tmp_path / "saved").iterate())
    check_equal(found, list(loader.iterate(epoch=0)))


def test_other_batches_are_not_mixed_in(data: rootml.Dataset, tmp_path: Path) -> None:
    loader_of(data).save(tmp_path / "saved")
    with pytest.raises(UsageError, match="other batches are saved there"):
        loader_of(data.filter("x > 0")).save(tmp_path / "saved")
    loader_of(data.filter("x > 0")).save(tmp_path / "saved", overwrite=True)
    (path,) = loader_of(data.filter("x > 0")).save(tmp_path / "saved")
    Path(path).write_bytes(b"nothing")
    with pytest.raises(ChangedFileError):
        list(rootml.batching.open(tmp_path / "saved").iterate())
    with pytest.raises(MissingFileError, match="no saved batches"):
        rootml.batching.open(tmp_path)
    with pytest.raises(UnsupportedTypeError, match="ragged"):
        loader_of(data).save(tmp_path / "other", format="hdf5")


def test_labels_of_elements_share_the_data_set_of_hdf5(
    data: rootml.Dataset, tmp_path: Path
) -> None:
    """As Salt has them: one data set per kind of object, and fields called as the features."""
    h5py: Any = pytest.importorskip("h5py")
    data = data.define(place="10 * eta", valid="pt", few="pt[pt > 0]")
    inputs = {"jets": Padded(["pt", "eta"], length=3), "lead": Padded(["pt"], length=1)}

    def loader(**observers: Any) -> BatchLoader:
        return data.batches(50, inputs=inputs, observers=observers)

    made = loader(jets=Padded(["place"], length=3))
    (path,) = made.save(tmp_path / "saved", format="hdf5")
    check_equal(list(rootml.batching.open(tmp_path / "saved").iterate()), list(made.iterate()))
    with h5py.File(path) as file:
        assert set(file["jets"].dtype.names) == {"pt", "eta", "place", "valid"}
        assert set(file["lead"].dtype.names) == {"pt", "valid"}
        np.testing.assert_array_equal(file["lead"]["pt"][:, 0], file["jets"]["pt"][:, 0])
        there = file["jets"]["valid"]
        np.testing.assert_allclose(
            file["jets"]["place"][there], 10 * file["jets"]["eta"][there], rtol=1e-6
        )
    for observers, kind, problem in (
        ({"jets": Padded(["place"], length=2)}, UsageError, "pad both to one length"),
        ({"jets": Padded(["few"], length=3)}, SchemaError, "lists have different lengths"),
        ({"o": Padded(["valid"], length=3)}, UsageError, "rename the feature"),
        ({"events": Padded(["eta"], length=3)}, UsageError, "one row per event"),
    ):
        with pytest.raises(kind, match=problem):
            loader(**observers).save(tmp_path / "other", format="hdf5")


@pytest.mark.parametrize("storage", ["rootml", "hdf5"])
def test_overwriting_leaves_no_older_parts(
    data: rootml.Dataset, tmp_path: Path, storage: Any
) -> None:
    """Others read ``part-*``."""
    options: dict[str, Any] = {"format": storage}
    (tmp_path / "part-time.h5").write_text("not ours")
    many = loader_of(data, ragged=False).save(tmp_path, part_bytes="10 kB", **options)
    assert len(many) > 1
    (one,) = loader_of(data, ragged=False).save(tmp_path, overwrite=True, **options)
    left = {path.name for path in tmp_path.glob("part-*")}
    assert left == {Path(one).name, "part-time.h5"}


def test_splits_states_and_shards(data: rootml.Dataset, tmp_path: Path) -> None:
    train, test = data.split(test=0.5, by="id")
    for split, part in (("train", train), ("test", test)):
        loader_of(part).save(tmp_path / "saved", split=split)
    ids = []
    for split in ("train", "test"):
        saved = rootml.batching.open(tmp_path / "saved", split=split)
        ids += [b.observers["id"] for b in saved.iterate()]  # type: ignore[index]
    assert sorted(np.concatenate(ids)) == list(range(ROWS))
    loader_of(data).save(tmp_path / "whole")
    saved = rootml.batching.open(tmp_path / "whole")
    expected = list(saved.iterate())
    iterator = saved.iterate()
    for _ in range(3):
        next(iterator)
    state = json.loads(json.dumps(saved.state_dict()))
    again = rootml.batching.open(tmp_path / "whole")
    again.load_state_dict(state)
    check_equal(list(again.iterate()), expected[3:])
    check_equal(list(again.iterate()), expected)
    shards = [list(saved.shard(rank, 2).iterate()) for rank in range(2)]
    check_equal([shards[i % 2][i // 2] for i in range(8)], expected)
    with pytest.raises(ShardError, match="evenly"):
        saved.shard(0, 3)


def test_states_of_saved_batches_with_workers(data: rootml.Dataset, tmp_path: Path) -> None:
    """A chain of states, each in the turn of the other worker; only the first epoch is short."""
    utils = pytest.importorskip("torch.utils.data")
    loader_of(data).save(tmp_path / "saved", part_bytes="10 kB")
    saved = rootml.batching.open(tmp_path / "saved")
    expected = [int(b.observers["id"][0]) for b in saved.iterate()]  # type: ignore[index]
    found, state = [], rootml.batching.open(tmp_path / "saved").state_dict()
    for batches in (3, 2, 3):
        saved = rootml.batching.open(tmp_path / "saved")
        saved.load_state_dict(state)
        assert saved.state_dict() == state
        workers = utils.DataLoader(
            saved.torch(), batch_size=None, num_workers=2, multiprocessing_context="fork"
        )
        iterator = iter(workers)
        found += [int(next(iterator)[-1]["id"][0]) for _ in range(batches)]
        with pytest.raises(StateError, match="worker processes"):
            saved.state_dict()
        state = saved.state_dict(batches=batches, workers=2)
    assert found == expected
    assert (state["epoch"], state["batches"]) == (1, 0)
    with pytest.raises(UsageError, match="has 3 batches"):
        saved.state_dict(batches=4)
    assert sum(1 for _ in workers) == len(expected)


def test_a_state_of_saved_batches_on_other_ranks(data: rootml.Dataset, tmp_path: Path) -> None:
    loader_of(data).save(tmp_path / "saved")
    saved = rootml.batching.open(tmp_path / "saved")
    expected = list(saved.iterate())
    iterator = saved.iterate()
    found = [next(iterator) for _ in range(2)]
    state = saved.state_dict()
    ranks = [rootml.batching.open(tmp_path / "saved").shard(rank, 2) for rank in range(2)]
    for rank in ranks:
        rank.load_state_dict(state)
        assert rank.batches_left() == 3
    passes = [rank.iterate() for rank in ranks]
    found += [next(batches) for batches in passes]
    whole = rootml.batching.open(tmp_path / "saved")
    whole.load_state_dict(ranks[0].state_dict())
    check_equal(found + list(whole.iterate()), expected)
    whole.load_state_dict(state)
    shards = [list(whole.shard(rank, 2).iterate()) for rank in range(2)]
    check_equal([shards[i % 2][i // 2] for i in range(6)], expected[2:])
    next(iterator)
    with pytest.raises(ShardError, match="5 saved batches"):
        ranks[0].load_state_dict(saved.state_dict())
    for _ in iterator:
        pass
    assert (saved.state_dict()["epoch"], saved.state_dict()["batches"]) == (2, 0)


def test_bfloat16_is_kept(data: rootml.Dataset, tmp_path: Path) -> None:
    loader = data.batches(100, inputs=["x"], dtype="bfloat16")
    loader.save(tmp_path / "saved")
    check_equal(
        list(rootml.batching.open(tmp_path / "saved").iterate()), list(loader.iterate(epoch=0))
    )
