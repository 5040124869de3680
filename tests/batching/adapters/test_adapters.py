"""One contract for all outputs: every event once, with its values, in the engine's order."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pytest
from event_files import NUM_BACKGROUND, NUM_EVENTS, columns_of

import rootml
from rootml.batching import BatchLoader, Padded, Ragged
from rootml.batching.rows._pipeline import THREAD_NAME
from rootml.errors import UnsupportedTypeError, UsageError

Array = np.ndarray[Any, Any]
Rows = tuple[Array, Array, Array, Array]
POOL: dict[str, Any] = {"shuffle": True, "buffer_bytes": 300_000, "unit_bytes": 6_000}


@pytest.fixture
def loader(events: Callable[[str], rootml.Dataset]) -> BatchLoader:
    data = events("ttree").select(["x", "y", "k", "id"])
    return data.batches(100, observers=["id"], **POOL)


def joined(batches: list[Any]) -> Rows:
    """x, y, w, id of all rows."""
    parts = [
        (np.asarray(x), np.asarray(y), np.asarray(w), np.asarray(o["id"]))
        for x, y, w, o in batches
    ]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]


def numpy_rows(loader: BatchLoader) -> Rows:
    return joined(list(loader.numpy()))


def torch_rows(loader: BatchLoader) -> Rows:
    pytest.importorskip("torch")
    return joined(list(loader.torch()))


def workers(number: int, **options: Any) -> Callable[[BatchLoader], Rows]:
    def rows(loader: BatchLoader) -> Rows:
        data = pytest.importorskip("torch.utils.data")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # more workers than cores
            return joined(
                list(data.DataLoader(loader.torch(), None, num_workers=number, **options))
            )

    return rows


def tensorflow_rows(loader: BatchLoader) -> Rows:
    pytest.importorskip("tensorflow")
    return joined(list(loader.tensorflow()))


def table_rows(columns: Callable[[str], Any]) -> Rows:
    x = np.stack([np.asarray(columns(name)) for name in ("x", "y", "k")], axis=1)
    return (x, *(np.asarray(columns(name)) for name in ("label", "weight", "id")))  # type: ignore[return-value]


def arrow_rows(loader: BatchLoader) -> Rows:
    table = pa.Table.from_batches(list(loader.arrow()))
    return table_rows(lambda name: table[name])


def awkward_rows(loader: BatchLoader) -> Rows:
    array = ak.concatenate(list(loader.awkward()))
    return table_rows(lambda name: array[name])


ADAPTERS: dict[str, Callable[[BatchLoader], Rows]] = {
    "numpy": numpy_rows,
    "torch": torch_rows,
    "torch, 1 worker": workers(1),
    "torch, 3 workers": workers(3),
    "torch, 2 spawned workers": workers(2, multiprocessing_context="spawn"),
    "tensorflow": tensorflow_rows,
    "arrow": arrow_rows,
    "awkward": awkward_rows,
}


def check_rows(rows: Rows) -> None:
    x, y, w, ids = rows
    np.testing.assert_array_equal(np.sort(ids), np.arange(NUM_EVENTS))
    assert ids.dtype == np.int64
    expected = columns_of(ids)
    wanted = np.stack([expected["x"], expected["y"].astype(np.float32), expected["k"]], axis=1)
    np.testing.assert_array_equal(x, wanted.astype(np.float32))
    np.testing.assert_array_equal(y, ids >= NUM_BACKGROUND)
    np.testing.assert_array_equal(w, expected["weight"])


@pytest.mark.parametrize("name", ADAPTERS)
def test_contract(name: str, loader: BatchLoader) -> None:
    epochs = [ADAPTERS[name](loader) for _ in range(2)]
    for rows in epochs:
        check_rows(rows)
    assert not np.array_equal(epochs[0][3], epochs[1][3])
    loader.set_epoch(0)
    np.testing.assert_array_equal(ADAPTERS[name](loader)[3], epochs[0][3])
    if "worker" not in name:  # workers share an epoch in an order of their own
        loader.set_epoch(0)
        np.testing.assert_array_equal(numpy_rows(loader)[3], epochs[0][3])


@pytest.mark.parametrize("name", ["numpy", "torch", "arrow", "awkward", "tensorflow"])
def test_leaving_early_stops_the_threads(name: str, loader: BatchLoader) -> None:
    if name in {"torch", "tensorflow"}:
        pytest.importorskip(name)
    for _ in getattr(loader, name)():
        break
    gc.collect()
    assert not [t for t in threading.enumerate() if t.name.startswith(THREAD_NAME)]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_persistent_workers_go_on_to_the_next_epoch(loader: BatchLoader) -> None:
    data = pytest.importorskip("torch.utils.data")
    batches = data.DataLoader(loader.torch(), None, num_workers=2, persistent_workers=True)
    epochs = [joined(list(batches))[3] for _ in range(3)]
    for ids in epochs:
        np.testing.assert_array_equal(np.sort(ids), np.arange(NUM_EVENTS))
    assert len({tuple(ids) for ids in epochs}) == 3
    assert loader.epoch == 3


def test_state_with_workers(loader: BatchLoader) -> None:
    """What the workers have handed over is known to the main process only by its own count."""
    data = pytest.importorskip("torch.utils.data")
    batches = iter(data.DataLoader(loader.torch(), None, num_workers=2))
    done = [np.asarray(next(batches)[3]["id"]) for _ in range(13)]
    state = loader.state_dict(batches=13, workers=2)
    del batches
    loader.load_state_dict(state)
    rest = joined(list(data.DataLoader(loader.torch(), None, num_workers=2)))[3]
    ids = np.concatenate([*done, rest])
    np.testing.assert_array_equal(np.sort(ids), np.arange(NUM_EVENTS))


def test_a_device_and_workers_do_not_go_together(loader: BatchLoader) -> None:
    data = pytest.importorskip("torch.utils.data")
    assert joined(list(loader.torch(device="cpu")))[3].shape == (NUM_EVENTS,)
    with pytest.raises(UsageError, match="without DataLoader workers"):
        list(data.DataLoader(loader.torch(device="cpu"), None, num_workers=1))


@pytest.fixture
def lists(events: Callable[[str], rootml.Dataset]) -> BatchLoader:
    return events("ttree").batches(
        128,
        inputs={
            "event": ["x"],
            "jets": Padded(["jet", "tag"], length=2, value=-1),
            "all": Ragged(["jet"]),
        },
        observers=["id"],
        shuffle=True,
    )


def test_lists_in_torch(lists: BatchLoader) -> None:
    pytest.importorskip("torch")
    x, _, _, observers = next(iter(lists.torch()))
    expected = columns_of(observers["id"].numpy())["jet"]
    padded = ak.fill_none(ak.pad_none(expected, 2, clip=True), -1)
    np.testing.assert_array_equal(x["jets"][..., 0], ak.to_numpy(padded))
    np.testing.assert_array_equal(x["jets_mask"].sum(dim=1), np.minimum(ak.num(expected), 2))
    np.testing.assert_array_equal(x["all"][:, 0], ak.flatten(expected))
    np.testing.assert_array_equal(np.diff(x["all_offsets"]), ak.num(expected))


def test_lists_in_tensorflow(lists: BatchLoader) -> None:
    tf = pytest.importorskip("tensorflow")
    x, _, _, observers = next(iter(lists.tensorflow()))
    expected = columns_of(observers["id"].numpy())["jet"]
    assert isinstance(x["all"], tf.RaggedTensor)
    np.testing.assert_array_equal(x["all"].values[:, 0], ak.flatten(expected))
    assert x["jets"].shape == (128, 2, 2)
    assert x["jets_mask"].shape == (128, 2)


def test_lists_in_arrow_and_awkward(lists: BatchLoader) -> None:
    lists.set_epoch(0)
    batch = next(iter(lists.arrow()))
    lists.set_epoch(0)
    array = next(iter(lists.awkward()))
    expected = columns_of(np.asarray(batch["id"]))["jet"]
    assert batch["jet"].type == pa.list_(pa.float32(), 2)
    assert batch["jet"].to_pylist() == ak.pad_none(expected, 2, clip=True).to_list()
    assert array["jet"].to_list() == expected[:, :2].to_list()
    assert array["all.jet"].to_list() == batch["all.jet"].to_pylist() == expected.to_list()


def test_static_shapes_in_tensorflow(events: Callable[[str], rootml.Dataset]) -> None:
    pytest.importorskip("tensorflow")
    data = events("ttree").select(["x", "k"])
    x, y, _ = data.batches(64, drop_last=True).tensorflow().element_spec
    assert (x.shape.as_list(), y.shape.as_list()) == ([64, 2], [64])
    x, _, _ = data.batches(64).tensorflow().element_spec
    assert x.shape.as_list() == [None, 2]


@pytest.mark.filterwarnings("ignore")
def test_keras_fit(events: Callable[[str], rootml.Dataset]) -> None:
    tf = pytest.importorskip("tensorflow")
    loader = events("ttree").select(["x", "k"]).batches(64, shuffle=True)
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    history = model.fit(loader.tensorflow(), epochs=3, verbose=0)
    assert len(history.history["loss"]) == 3
    assert loader.epoch == 3


@pytest.mark.filterwarnings("ignore")
def test_lightning(events: Callable[[str], rootml.Dataset]) -> None:
    torch = pytest.importorskip("torch")
    lightning = pytest.importorskip("lightning.pytorch")
    train, validation = events("ttree").select(["x", "k"]).split(test=0.3, by="id")
    seen: dict[str, int] = {"train": 0, "validation": 0}

    class Model(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch: Any) -> Any:
            x, y, _ = batch
            seen["train"] += len(x)
            return ((self.layer(x)[:, 0] - y) ** 2).mean()

        def validation_step(self, batch: Any) -> None:
            seen["validation"] += len(batch[0])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 1e-9)

    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    loader = train.batches(64, shuffle=True)
    trainer.fit(Model(), datamodule=loader.lightning(validation=validation.batches(64)))
    assert seen == {"train": 2 * loader.num_rows, "validation": 2 * (NUM_EVENTS - loader.num_rows)}


def test_xgboost(events: Callable[[str], rootml.Dataset]) -> None:
    xgboost = pytest.importorskip("xgboost")
    loader = events("ttree").filter("weight > 0").select(["x", "y", "k"]).batches(100)
    x, y, w = (np.concatenate(part) for part in zip(*loader.numpy(), strict=True))
    matrix = xgboost.QuantileDMatrix(loader.xgboost(), max_bin=64)
    np.testing.assert_array_equal(matrix.get_label(), y)
    np.testing.assert_array_equal(matrix.get_weight(), w)
    assert matrix.feature_names == ["x", "y", "k"]
    options = {"max_bin": 64, "max_depth": 3, "objective": "binary:logistic", "seed": 1}
    streamed = xgboost.train(options, matrix, num_boost_round=5)
    direct = xgboost.QuantileDMatrix(
        x, label=y, weight=w, max_bin=64, feature_names=["x", "y", "k"]
    )
    expected = xgboost.train(options, direct, num_boost_round=5)
    test = xgboost.DMatrix(x, feature_names=["x", "y", "k"])
    np.testing.assert_allclose(streamed.predict(test), expected.predict(test), atol=0.02)


def test_xgboost_takes_one_matrix(lists: BatchLoader) -> None:
    pytest.importorskip("xgboost")
    with pytest.raises(UnsupportedTypeError, match=r"jets .padded."):
        lists.xgboost()
