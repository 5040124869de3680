"""`BatchLoader` as its users hold it: batches, epochs, state, errors."""

from __future__ import annotations

import gc
import json
import os
import pickle
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from event_files import NUM_BACKGROUND, NUM_EVENTS, check_epoch, columns_of, write_events

import rootml
from rootml.batching import Batch, BatchLoader, Padded, Ragged, Resample
from rootml.batching.rows._pipeline import THREAD_NAME
from rootml.errors import (
    BufferTooSmallError,
    CastError,
    ChangedFileError,
    CorruptFileError,
    EmptySelectionError,
    MissingColumnError,
    MissingFileError,
    NonFiniteError,
    SchemaError,
    ShardError,
    StateError,
    UnsupportedTypeError,
    UsageError,
)

Events = Callable[[str], rootml.Dataset]
POOL: dict[str, Any] = {"shuffle": True, "buffer_bytes": 90_000, "unit_bytes": 6_000}


@pytest.fixture
def data(events: Events) -> rootml.Dataset:
    return events("ttree").select(["x", "y", "k", "id"])


def ids_of(loader: BatchLoader, **options: Any) -> np.ndarray[Any, Any]:
    return check_epoch(loader.iterate(**options)).ids


def id_of(batch: Batch) -> np.ndarray[Any, Any]:
    assert batch.observers is not None
    ids: np.ndarray[Any, Any] = batch.observers["id"]
    return ids


# --- what a batch is ---


def test_batch_in_order(data: rootml.Dataset) -> None:
    loader = data.batches(100, observers=["id"])
    assert len(loader) == -(-NUM_EVENTS // 100)
    np.testing.assert_array_equal(ids_of(loader), np.arange(NUM_EVENTS))
    x, y, w, observers = next(iter(loader.numpy()))
    assert x.shape == (100, 3)
    assert y.shape == w.shape == (100,)
    assert {x.dtype, y.dtype, w.dtype} == {np.dtype(np.float32)}
    assert observers["id"].dtype == np.int64


def test_what_a_tuple_holds(events: Events) -> None:
    path = events("ttree").samples[0].files.info(0).path
    plain = rootml.open(f"{path}:Events").select(["x", "y"])
    weighted = rootml.open(f"{path}:Events", weight="weight").select(["x", "y"])
    assert next(iter(plain.batches(10).numpy())).shape == (10, 2)
    assert next(iter(weighted.batches(10).numpy())).shape == (10, 2)  # no target, no weights
    assert len(next(iter(weighted.batches(10, weights=True).numpy()))) == 2
    x, y = next(iter(plain.batches(10, targets="y").numpy()))
    assert (x.shape, y.shape) == ((10, 1), (10,))
    x, y = next(iter(plain.batches(10, inputs=["x"], targets=["y", "k"]).numpy()))
    assert (x.shape, y.shape) == ((10, 1), (10, 2))
    np.testing.assert_array_equal(y[:, 1], np.arange(10) % 7)


def test_expressions_and_unselected_branches_by_name(data: rootml.Dataset) -> None:
    loader = data.batches(
        50, inputs=["x", "twice = 2 * x"], observers=["flag", "n = Length$(jet)"]
    )
    x, _, _, observers = next(iter(loader.numpy()))
    np.testing.assert_array_equal(x[:, 1], 2 * x[:, 0])
    assert loader.spec.inputs[0].features == ("x", "twice")
    assert observers["flag"].dtype == bool
    np.testing.assert_array_equal(observers["n"], np.arange(50) % 4)


@pytest.mark.parametrize("label", ["flag", "k > 3", 2.5])
def test_labels_from_branch_expression_or_sample(events: Events, label: Any) -> None:
    path = events("ttree").samples[0].files.info(0).path
    loader = rootml.open(f"{path}:Events", label=label).select(["x"]).batches(100)
    y = np.concatenate([y for _, y in loader.numpy()])
    columns = columns_of(np.arange(700))
    expected = {"flag": columns["flag"], "k > 3": columns["k"] > 3, 2.5: np.full(700, 2.5)}[label]
    np.testing.assert_array_equal(y, expected.astype(np.float32))


def test_label_and_weight_are_no_inputs_by_themselves(events: Events) -> None:
    path = events("ttree").samples[0].files.info(0).path
    data = rootml.open(f"{path}:Events", label="flag", weight="weight")
    loader = data.select(["x", "flag", "weight", "k"]).batches(10)
    assert loader.spec.inputs[0].features == ("x", "k")


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("length", [1, 3, 9])
def test_padded_and_ragged_inputs(events: Events, shuffle: bool, length: int) -> None:
    loader = events("ttree").batches(
        64,
        inputs={
            "event": ["x", "y", "k"],
            "jets": Padded(["jet", "tag"], length=length, value=-1),
            "all": Ragged(["jet", "tag"]),
        },
        observers=["id"],
        shuffle=shuffle,
    )
    assert len(ids_of(loader)) == NUM_EVENTS


def test_fixed_arrays_are_features(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    with uproot.recreate(tmp_path / "f.root") as file:
        file["T"] = {"m": values, "v": values[:, 0, :]}
    loader = rootml.open(f"{tmp_path / 'f.root'}:T").batches(4, inputs=["m"], observers=["v"])
    x, observers = next(iter(loader.numpy()))
    np.testing.assert_array_equal(x, values.reshape(4, 6))
    np.testing.assert_array_equal(observers["v"], values[:, 0, :])
    assert loader.spec.inputs[0].features[:2] == ("m[0][0]", "m[0][1]")


# --- epochs ---


@pytest.mark.parametrize("options", [{"shuffle": True}, POOL])
def test_epochs_and_seeds(data: rootml.Dataset, options: dict[str, Any]) -> None:
    loader = data.batches(100, observers=["id"], seed=3, **options)
    first, second = ids_of(loader), ids_of(loader)
    assert not np.array_equal(first, second)
    loader.set_epoch(0)
    np.testing.assert_array_equal(ids_of(loader), first)
    np.testing.assert_array_equal(ids_of(loader), second)
    other = data.batches(100, observers=["id"], seed=4, **options)
    assert not np.array_equal(ids_of(other), first)


@pytest.mark.parametrize("threads", [1, 4])
def test_the_number_of_threads_does_not_matter(data: rootml.Dataset, threads: int) -> None:
    one = ids_of(data.batches(100, observers=["id"], threads=2, **POOL))
    np.testing.assert_array_equal(
        ids_of(data.batches(100, observers=["id"], threads=threads, **POOL)), one
    )


def test_two_iterators_and_zip(data: rootml.Dataset) -> None:
    loader = data.batches(100, observers=["id"], **POOL)
    one, two = loader.iterate(epoch=0), loader.iterate(epoch=1)
    pairs = [(id_of(a), id_of(b)) for a, b in zip(one, two, strict=True)]
    for side in zip(*pairs, strict=True):
        np.testing.assert_array_equal(np.sort(np.concatenate(side)), np.arange(NUM_EVENTS))
    train, validation = data.split(test=0.5, by="id")
    both = [
        np.concatenate([batch[-1]["id"] for batch in part])
        for part in zip(
            *zip(
                train.batches(100, observers=["id"], shuffle=True, drop_last=True).numpy(),
                validation.batches(100, observers=["id"], drop_last=True).numpy(),
                strict=False,
            ),
            strict=True,
        )
    ]
    assert not set(both[0]) & set(both[1])


def test_drop_last(data: rootml.Dataset) -> None:
    loader = data.batches(64, observers=["id"], drop_last=True, shuffle=True)
    sizes = [batch.num_rows for batch in loader.iterate()]
    assert sizes == [64] * (NUM_EVENTS // 64)
    assert len(loader) == len(sizes)


# --- state ---

MODES: dict[str, dict[str, Any]] = {
    "sequential": {},
    "resident": {"shuffle": True},
    "pool": POOL,
    "disk": POOL,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("world", [1, 2, 5])
@pytest.mark.parametrize("delivered", [0, 1, 17, 60])
def test_resume_in_the_middle(
    data: rootml.Dataset, mode: str, world: int, delivered: int, tmp_path: Path
) -> None:
    options = {**MODES[mode], "observers": ["id"]}
    if mode == "disk":
        options["cache"] = tmp_path
    loader = data.batches(50, **options)
    assert loader.mode == mode
    loader.set_epoch(2)
    batches = loader.iterate()
    done = [id_of(next(batches)) for _ in range(delivered)]
    state = json.loads(json.dumps(loader.state_dict()))
    rest = [id_of(batch) for batch in batches]

    ranks = []
    for rank in range(world):
        again = data.batches(50, **options)
        again = again.shard(rank, world) if world > 1 else again
        again.load_state_dict(state)
        ranks.append([id_of(batch) for batch in again.iterate()])
        assert again.epoch == 3
        again.close()
    if world == 1:
        for one, other in zip(rest, ranks[0], strict=True):
            np.testing.assert_array_equal(one, other)
    left = np.concatenate([batch for rank in ranks for batch in rank])
    everything = np.concatenate([*done, left])
    np.testing.assert_array_equal(np.sort(everything), np.arange(NUM_EVENTS))
    loader.close()


def test_resume_from_more_ranks_to_fewer(data: rootml.Dataset) -> None:
    loaders = [data.batches(40, observers=["id"], **POOL).shard(rank, 3) for rank in range(3)]
    done, states = [], []
    for loader in loaders:
        batches = loader.iterate()
        done += [id_of(next(batches)) for _ in range(11)]
        states.append(loader.state_dict())
    assert states[0] == states[1] == states[2]
    again = data.batches(40, observers=["id"], **POOL)
    again.load_state_dict(states[0])
    left = ids_of(again)
    np.testing.assert_array_equal(np.sort(np.concatenate([*done, left])), np.arange(NUM_EVENTS))


def test_state_after_a_whole_epoch_is_the_next_one(data: rootml.Dataset) -> None:
    loader = data.batches(100, observers=["id"], shuffle=True)
    ids_of(loader)
    state = loader.state_dict()
    assert (state["epoch"], state["segments"]) == (1, [])
    again = data.batches(100, observers=["id"], shuffle=True)
    again.load_state_dict(state)
    np.testing.assert_array_equal(ids_of(again), ids_of(loader))


def test_states_that_do_not_fit(data: rootml.Dataset) -> None:
    loader = data.batches(100, shuffle=True)
    next(loader.iterate())
    state = loader.state_dict()
    for change, problem in (
        ({"version": 9}, "version 9"),
        ({"seed": 5}, "the seed"),
        ({"fingerprint": "x"}, "the data"),
        ({"mode": "other"}, "damaged"),
        ({"sampler": 1}, "NumPy"),
    ):
        with pytest.raises(StateError, match=problem):
            data.batches(100, shuffle=True).load_state_dict({**state, **change})
    with pytest.raises(StateError, match="the data"):
        data.filter("k > 2").batches(100, shuffle=True).load_state_dict(state)
    with pytest.raises(StateError, match="shuffle=False"):
        data.batches(100).load_state_dict(state)
    with pytest.raises(StateError, match="needs buffer_bytes"):
        data.batches(100, shuffle=True, buffer_bytes=1000).load_state_dict(state)


# --- balance ---


def test_balance_by_weights(data: rootml.Dataset) -> None:
    sums = {0.0: 0.0, 1.0: 0.0}
    rows = 0
    for _, y, w in data.batches(100, balance="weights", dtype="float64").numpy():
        for label in (0.0, 1.0):
            sums[label] += float(w[y == label].sum())
        rows += len(w)
    np.testing.assert_allclose(sums[0.0], sums[1.0])
    np.testing.assert_allclose(sums[0.0] + sums[1.0], rows)


@pytest.mark.parametrize("options", [{"shuffle": True}, POOL])
@pytest.mark.parametrize("label", ["sample", "branch"])
def test_resampling(data: rootml.Dataset, options: dict[str, Any], label: str) -> None:
    if label == "branch":
        data = data.with_label("id % 10 == 0")
    labels = np.arange(NUM_EVENTS) >= NUM_BACKGROUND
    if label == "branch":
        labels = np.arange(NUM_EVENTS) % 10 == 0
    small, large = sorted([int(labels.sum()), int((~labels).sum())])
    options = {**options, "buffer_bytes": 2 * options.get("buffer_bytes", 10**8)}
    for resample, wanted in (
        (Resample("under"), {small}),
        (Resample("over"), {large}),
        (Resample("over", ratio=0.9), {large, max(small, -(-large * 9 // 10))}),
    ):
        loader = data.batches(64, observers=["id"], balance=resample, **options)
        ids = np.concatenate([id_of(batch) for batch in loader.iterate()])
        times = Counter(ids.tolist())
        rows = {int(np.isin(ids, np.flatnonzero(labels == side)).sum()) for side in (True, False)}
        assert rows == wanted
        assert len(loader) == -(-len(ids) // 64)
        per_row = [times[i] for i in np.flatnonzero(labels == (labels.sum() == small)).tolist()]
        assert max(per_row) - min(per_row) <= 1


# --- what is left behind ---


def open_files() -> list[str]:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc")
    names = []
    for entry in folder.iterdir():
        try:
            names.append(str(entry.readlink()))
        except OSError:
            continue
    return [name for name in names if name.endswith((".root", ".parquet", ".arrow"))]


@pytest.mark.long
def test_500_loaders_leave_nothing_behind(events: Events) -> None:
    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def once(format_: str) -> None:
        loader = events(format_).select(["x", "k"]).batches(100, **POOL)
        next(iter(loader.numpy()))

    formats = ("ttree", "parquet")
    for number in range(40):
        once(formats[number % 2])
    gc.collect()
    before = resident()
    for number in range(460):
        once(formats[number % 2])
    gc.collect()
    assert not [t for t in threading.enumerate() if t.name.startswith(THREAD_NAME)]
    assert not open_files()
    assert resident() - before < 20e6


def test_pickle(data: rootml.Dataset) -> None:
    for options in ({"shuffle": True}, POOL):
        loader = data.batches(100, observers=["id"], **options)
        expected = ids_of(loader, epoch=5)
        copy = pickle.loads(pickle.dumps(loader))
        np.testing.assert_array_equal(ids_of(copy, epoch=5), expected)


def test_disk_cache_is_private_and_removed(data: rootml.Dataset, tmp_path: Path) -> None:
    loader = data.batches(100, observers=["id"], cache=tmp_path, **POOL)
    ids_of(loader)
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    del loader
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_shards_share_the_disk_cache(data: rootml.Dataset, tmp_path: Path) -> None:
    loader = data.batches(50, observers=["id"], cache=tmp_path, **POOL)
    ids = np.concatenate([ids_of(loader.shard(rank, 3), epoch=0) for rank in range(3)])
    np.testing.assert_array_equal(np.sort(ids), np.arange(NUM_EVENTS))
    assert len(list(tmp_path.iterdir())) == 1


def test_reprs(data: rootml.Dataset) -> None:
    loader = data.batches(100, observers=["id"], balance="weights", **POOL)
    assert "batches of 100, shuffled, seed 0" in repr(loader)
    text = repr(loader.describe())
    assert "mode (c) pool" in text
    assert "correlation with reading order" in text
    list(loader.iterate())
    assert "time: decode" in loader.describe()._repr_html_()


# --- bad input ---


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 1.5}, "whole number"),
        ({"batch_size": 10**6, "drop_last": True}, "leaves no batch"),
        ({"seed": -1}, "seed=-1"),
        ({"buffer_bytes": "lots"}, "buffer_bytes='lots'"),
        ({"dtype": "int8"}, "float32, float64"),
        ({"nonfinite": "drop"}, "nonfinite"),
        ({"balance": "resample"}, "needs shuffle=True"),
        ({"inputs": "x"}, "expected a list"),
        ({"inputs": ["x", "x"]}, "duplicate"),
        ({"inputs": []}, "no input is left"),
        ({"inputs": {}}, "no input is left"),
        ({"inputs": ["x", "y"], "targets": "y"}, r"\['y'\] cannot be inputs and targets"),
        ({"inputs": {"a": ["x"], "b": ["k"]}, "targets": ["y", "k"]}, r"\['k'\] cannot be"),
        ({"nonfinite": 1e300}, "would be inf in float32"),
        ({"shuffle": "no"}, "shuffle='no': expected True or False"),
        ({"drop_last": 1}, "drop_last=1: expected True or False"),
        ({"progress": "no"}, "progress='no': expected True or False"),
    ],
)
def test_options_that_make_no_sense(
    data: rootml.Dataset, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        list(data.batches(**{"batch_size": 100, **options}).numpy())


def test_no_input_left(events: Events) -> None:
    data = events("ttree")
    with pytest.raises(UsageError, match=r"no input is left.*\['id'\] \(observer: id"):
        data.select(["id"]).batches(100, observers=["id"])
    with pytest.raises(UsageError, match=r"no input is left.*target: x"):
        data.select(["x"]).batches(100, targets="x")
    path = data.samples[0].files.info(0).path
    labelled = rootml.open(f"{path}:Events", label="flag").select(["flag"])
    with pytest.raises(UsageError, match=r"no input is left.*label or weight: flag"):
        labelled.batches(100)


def test_a_padding_that_float32_does_not_have(events: Events) -> None:
    with pytest.raises(UsageError, match=r"value=1e\+300: would be inf in float32"):
        events("ttree").batches(10, inputs={"a": Padded(["jet"], length=2, value=1e300)})


@pytest.mark.parametrize("label", ["sample", "branch"])
def test_resampling_needs_all_classes(data: rootml.Dataset, label: str) -> None:
    if label == "branch":
        data = data.with_label("id % 10 == 0").filter("id % 10 == 0")
    else:
        data = data.filter(f"id < {NUM_BACKGROUND}")
    with pytest.raises(UsageError, match=r"balance needs .*class"):
        len(data.batches(10, shuffle=True, balance="resample"))


def test_columns_that_cannot_be_inputs(events: Events) -> None:
    data = events("ttree")
    with pytest.raises(UnsupportedTypeError, match=r"'jet' is var \* float32 .*Padded"):
        data.batches(10)
    with pytest.raises(MissingColumnError, match=r"'jetz'.*'jet'"):
        data.batches(10, inputs=["jetz"])
    with pytest.raises(UnsupportedTypeError, match="a list of numbers per event"):
        data.batches(10, inputs={"a": Padded(["x"], length=2)})
    with pytest.raises(UnsupportedTypeError, match="one number per event"):
        data.batches(10, inputs=["x"], targets=["jet"])


def test_string_columns(real_file: Callable[[str], str]) -> None:
    data = rootml.open(real_file("uproot-Zmumu-zstd.root") + ":events")
    with pytest.raises(UnsupportedTypeError, match=r"'Type' is .* \(string\).*Type == 'value'"):
        data.batches(10, inputs=["Type", "pt1"])
    loader = data.batches(2000, inputs=["pt1", "global = Type == 'GG'"])
    with uproot.open(real_file("uproot-Zmumu-zstd.root")) as file:
        types = file["events"]["Type"].array(entry_stop=2000)
    np.testing.assert_array_equal(next(iter(loader.numpy()))[:, 1], ak.to_numpy(types == "GG"))


def test_lists_of_different_lengths_in_one_input(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "f.root") as file:
        file["T"] = {"a": ak.Array([[1.0], [2.0, 3.0]]), "b": ak.Array([[1.0], [2.0]])}
    data = rootml.open(f"{tmp_path / 'f.root'}:T")
    with pytest.raises(SchemaError, match=r"'a' and 'b' .* 2 and 1 in row 1"):
        list(data.batches(2, inputs={"l": Ragged(["a", "b"])}).numpy())


def test_nothing_selected(data: rootml.Dataset) -> None:
    with pytest.raises(EmptySelectionError, match="no event is selected"):
        len(data.filter("k > 100").batches(10))


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        rootml.open(f"{tmp_path}/*.root:Events").batches(10)


def test_too_small_a_buffer_says_what_it_needs(data: rootml.Dataset) -> None:
    options: dict[str, Any] = {"shuffle": True, "unit_bytes": 9000, "observers": ["id"]}
    with pytest.raises(BufferTooSmallError, match=r"at least ([0-9.]+) MB") as caught:
        next(data.batches(50, buffer_bytes=20_000, **options).iterate())
    size = str(caught.value).split("at least ")[1].split(" MB")[0]
    loader = data.batches(50, buffer_bytes=f"{size} MB", **options)
    assert len(np.unique(np.concatenate([id_of(b) for b in loader.iterate()]))) == NUM_EVENTS


def test_shards_that_do_not_exist(data: rootml.Dataset) -> None:
    loader = data.batches(10)
    with pytest.raises(ShardError, match="rank=2 of world=2"):
        loader.shard(2, 2)
    with pytest.raises(ShardError, match="already"):
        loader.shard(0, 2).shard(0, 2)
    with pytest.raises(ShardError, match="fewer rows than ranks"):
        len(data.filter("id < 3").batches(2).shard(0, 5))


def broken_events(tmp_path: Path, column: str, value: Any, row: int = 450) -> rootml.Dataset:
    columns = columns_of(np.arange(600))
    values = np.array(columns[column])
    values[row] = value
    with uproot.recreate(tmp_path / "f.root") as file:
        file["Events"] = {**columns, column: values}
    return rootml.open(f"{tmp_path / 'f.root'}:Events", label="flag", weight="weight")


@pytest.mark.parametrize("mode", ["sequential", "resident", "pool"])
def test_nan_in_a_feature(tmp_path: Path, mode: str) -> None:
    data = broken_events(tmp_path, "x", np.nan).select(["x", "k"])
    options = {**MODES[mode], "buffer_bytes": 10**6} if mode == "resident" else MODES[mode]
    with pytest.raises(NonFiniteError, match=r"f\.root:Events.*column 'x': 1 of .* values"):
        list(data.batches(50, **options).numpy())
    kept = np.concatenate([b[0] for b in data.batches(50, nonfinite="keep", **options).numpy()])
    assert np.isnan(kept).sum() == 1
    filled = np.concatenate([b[0] for b in data.batches(50, nonfinite=-9, **options).numpy()])
    assert (filled == -9).sum() == 1
    cut = data.filter("isfinite(x)").batches(50, **options)
    assert sum(batch.num_rows for batch in cut.iterate()) == 599


def test_nan_in_a_weight(tmp_path: Path) -> None:
    data = broken_events(tmp_path, "weight", np.nan).select(["x"])
    with pytest.raises(NonFiniteError, match="weight.*nonfinite= is for inputs"):
        list(data.batches(50, nonfinite="keep").numpy())


def test_nan_in_a_target(tmp_path: Path) -> None:
    data = broken_events(tmp_path, "x", np.nan)
    with pytest.raises(NonFiniteError, match="column 'x'.*nonfinite= is for inputs"):
        list(data.batches(50, inputs=["k"], targets="x", nonfinite="keep").numpy())


def test_weights_too_small_for_float32(events: Events) -> None:
    path = events("ttree").samples[0].files.info(0).path
    data = rootml.open(f"{path}:Events", weight="1e-48 * (1 + k)").select(["x"])
    with pytest.raises(CastError, match="weight: the value .*e-48 would become 0.0 in float32"):
        list(data.batches(50, weights=True).numpy())
    double = data.batches(50, dtype="float64", weights=True)
    assert next(iter(double.numpy()))[1].max() > 0


def test_integers_that_do_not_fit(tmp_path: Path) -> None:
    data = broken_events(tmp_path, "id", 2**24 + 1).select(["id"])
    with pytest.raises(CastError, match=r"f\.root:Events.*column 'id': the value 16777217 would"):
        list(data.batches(50).numpy())
    x, _, _ = next(iter(data.batches(600, dtype="float64").numpy()))
    assert x[450, 0] == 2**24 + 1


def test_mixed_types_between_files(tmp_path: Path) -> None:
    for name, dtype in (("a", np.float32), ("b", np.int64)):
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            file["T"] = {"v": np.arange(300, dtype=dtype)}
    loader = rootml.open(f"{tmp_path}/*.root:T").batches(100)
    with pytest.raises(SchemaError, match=r"'v'.*a.root.*b.root|b.root.*'v'.*a.root"):
        list(loader.numpy())


def copied(event_files: Callable[[str], list[list[str]]], tmp_path: Path) -> Path:
    source = event_files("ttree")[0][1].removesuffix(":Events")
    return Path(shutil.copy(source, tmp_path / "copy.root"))


@pytest.mark.parametrize("options", [{}, {"shuffle": True}])
def test_a_file_that_changes_between_epochs(
    event_files: Any, tmp_path: Path, options: dict[str, Any]
) -> None:
    path = copied(event_files, tmp_path)
    loader = rootml.open(f"{path}:Events").select(["x"]).batches(100, **options)
    list(loader.numpy())
    write_events(path, np.arange(2000, 3000), "ttree")
    with pytest.raises(ChangedFileError, match=r"copy\.root"):
        list(loader.numpy())


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_truncated_file(event_files: Any, tmp_path: Path, shuffle: bool) -> None:
    path = copied(event_files, tmp_path)
    loader = rootml.open(f"{path}:Events").select(["x"])
    content = path.read_bytes()
    for share in (0.3, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises((CorruptFileError, ChangedFileError), match=r"copy\.root"):
            list(loader.batches(100, shuffle=shuffle).numpy())
        with pytest.raises(CorruptFileError, match=r"copy\.root"):
            list(rootml.open(f"{path}:Events").batches(100, inputs=["x"]).numpy())


def test_files_of_a_shuffle_go_with_the_loader(data: rootml.Dataset, tmp_path: Path) -> None:
    """Without a reference cycle: no garbage collection is needed for it."""
    gc.disable()
    try:
        loader = data.batches(64, shuffle=True, cache=tmp_path, buffer_bytes=90_000)
        batches = iter(loader.numpy())
        next(batches)
        assert list(tmp_path.glob("*"))
        del loader, batches
        assert not list(tmp_path.glob("*"))
    finally:
        gc.enable()
