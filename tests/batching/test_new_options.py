"""Options for loops that people write: checked against NumPy and awkward on the same columns."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rootml
from rootml.batching import Batch, BatchLoader, Padded, PaddedArray, Ragged, RaggedArray
from rootml.batching.rows._units import Decode
from rootml.errors import CastError, SchemaError, UsageError

ROWS = 500


def columns() -> dict[str, Any]:
    rng = np.random.default_rng(11)
    counts = rng.integers(0, 7, ROWS)
    pt = rng.exponential(30, counts.sum()).astype(np.float32)
    pt[::17] = 25.0  # ties
    return {
        "id": np.arange(ROWS),
        "x": rng.normal(size=ROWS),
        "w": rng.exponential(1e5, ROWS),
        "pt": ak.unflatten(pt, counts),
        "eta": ak.unflatten(rng.normal(size=counts.sum()).astype(np.float32), counts),
        "flavour": ak.unflatten(rng.integers(-5, 6, counts.sum()), counts),
        "kind": (np.arange(ROWS) >= ROWS // 2).astype(np.int32),
    }


@pytest.fixture
def data(tmp_path: Path) -> rootml.Dataset:
    arrays = {
        name: ak.to_arrow(values, extensionarray=False)
        if name in {"pt", "eta", "flavour"}
        else values
        for name, values in columns().items()
    }
    pq.write_table(pa.table(arrays), tmp_path / "data.parquet", row_group_size=100)
    return rootml.open(str(tmp_path / "data.parquet"))


def whole(loader: BatchLoader) -> Batch:
    batches = list(loader.iterate(epoch=0))
    assert len(batches) == 1
    return batches[0]


def test_a_batch_larger_than_the_selection_is_one_short_batch(data: rootml.Dataset) -> None:
    for options in ({}, {"shuffle": True}, {"shuffle": True, "buffer_bytes": "30 kB"}):
        loader = data.batches(10**7, inputs=["x"], observers=["id"], unit_bytes="1 kB", **options)
        assert len(loader) == 1
        assert sorted(whole(loader).observers["id"]) == list(range(ROWS))  # type: ignore[index]
    with pytest.raises(UsageError, match="leaves no batch"):
        len(data.batches(10**7, inputs=["x"], drop_last=True))


def test_balanced_weights_have_a_mean_of_one(tmp_path: Path) -> None:
    made = columns()
    table = pa.table({name: made[name] for name in ("id", "x", "w", "kind")})
    pq.write_table(table, tmp_path / "data.parquet")
    data = rootml.open(str(tmp_path / "data.parquet"), label="kind", weight="w * (1 + 3 * kind)")
    loader = data.batches(ROWS, inputs=["x"], balance="weights")
    batch = whole(loader)
    assert batch.w is not None
    assert batch.w.astype(float).mean() == pytest.approx(1, rel=1e-6)
    sums = [batch.w[batch.y == label].astype(float).sum() for label in (0, 1)]
    assert sums[0] == pytest.approx(sums[1], rel=1e-6)


def test_a_weight_without_a_label_is_given_when_asked_for(data: rootml.Dataset) -> None:
    weighted = data.with_weight("w")
    assert whole(weighted.batches(ROWS, inputs=["x"])).w is None
    x, w = next(iter(weighted.batches(ROWS, inputs=["x"], weights=True).numpy()))
    np.testing.assert_array_equal(w, columns()["w"].astype(np.float32))
    assert x.shape == (ROWS, 1)
    assert whole(weighted.batches(ROWS, inputs=["x"], targets="kind")).w is not None
    assert whole(weighted.batches(ROWS, inputs=["x"], targets="kind", weights=False)).w is None
    with pytest.raises(UsageError, match="weights=True needs a weight"):
        data.batches(10, inputs=["x"], weights=True)


def test_a_loader_is_no_iterator(data: rootml.Dataset) -> None:
    with pytest.raises(UsageError, match=r"loader\.numpy\(\)"):
        for _ in data.batches(10, inputs=["x"]):
            pass


def test_misspelt_options(data: rootml.Dataset) -> None:
    with pytest.raises(UsageError, match=r"Padded\(\) has no option 'lenght'; nearest: 'length'"):
        Padded(["x"], lenght=3)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match=r"Ragged\(\).*nearest: 'order_by'"):
        Ragged(["x"], oder_by="x")  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="no option 'shuffel'; nearest: 'shuffle'"):
        BatchLoader(data, 10, shuffel=True)  # type: ignore[call-arg]


# --- order within lists ---


@pytest.mark.parametrize("descending", [True, False])
def test_lists_in_the_order_of_a_column(data: rootml.Dataset, descending: bool) -> None:
    options: dict[str, Any] = {"order_by": "pt", "descending": descending}
    inputs: dict[str, Any] = {
        "jets": Padded(["eta", "flavour"], length=3, **options),
        "all": Ragged(["eta"], **options),
    }
    batch = whole(data.batches(ROWS, inputs=inputs))
    made = columns()
    order = ak.argsort(made["pt"], axis=1, ascending=not descending, stable=True)
    assert isinstance(batch.x, dict)
    jets, ragged = batch.x["jets"], batch.x["all"]
    assert isinstance(jets, PaddedArray)
    assert isinstance(ragged, RaggedArray)
    for column, name in enumerate(("eta", "flavour")):
        padded = ak.pad_none(made[name][order], 3, clip=True)
        expected = ak.to_numpy(ak.fill_none(padded, 0))
        np.testing.assert_array_equal(jets.values[:, :, column], expected)
    assert ak.unflatten(ragged.values[:, 0], np.diff(ragged.offsets)).tolist() == (
        made["eta"][order].tolist()
    )


def test_order_by_an_expression_and_integers(data: rootml.Dataset) -> None:
    made = columns()
    for text, key in (("abs(eta)", abs(made["eta"])), ("flavour", made["flavour"])):
        loader = data.batches(ROWS, inputs={"jets": Ragged(["pt"], order_by=text)})
        x: Any = whole(loader).x
        value = x["jets"]
        order = ak.argsort(key, axis=1, ascending=False, stable=True)
        assert value.values[:, 0].tolist() == ak.flatten(made["pt"][order]).tolist()


def test_nan_comes_last(tmp_path: Path) -> None:
    table = pa.table({"a": [[1.0, float("nan"), 3.0]], "b": [[1.0, 2.0, 3.0]]})
    pq.write_table(table, tmp_path / "nan.parquet")
    data = rootml.open(str(tmp_path / "nan.parquet"))
    for descending, expected in ((True, [3.0, 1.0, 2.0]), (False, [1.0, 3.0, 2.0])):
        jets = Ragged(["b"], order_by="a", descending=descending)
        value: Any = whole(data.batches(1, inputs={"j": jets})).x
        assert value["j"].values[:, 0].tolist() == expected


# --- lists as targets and observers ---


@pytest.mark.parametrize("shuffle", [False, True])
def test_lists_as_targets_and_observers(data: rootml.Dataset, shuffle: bool) -> None:
    made = columns()
    loader = data.batches(
        64,
        shuffle=shuffle,
        inputs=["x"],
        targets=Padded(["eta"], length=4, value=-9),
        observers={"id": "id", "flavour": Ragged(["flavour"]), "two": Padded(["pt"], length=2)},
    )
    seen = 0
    for batch in loader.iterate():
        beside: Any = batch.observers
        ids = beside["id"]
        seen += len(ids)
        eta = ak.fill_none(ak.pad_none(made["eta"][ids], 4, clip=True), -9)
        np.testing.assert_array_equal(batch.y.values[:, :, 0], ak.to_numpy(eta))
        np.testing.assert_array_equal(
            batch.y.mask.sum(axis=1), np.minimum(ak.num(made["eta"][ids]), 4)
        )
        assert beside["flavour"].values.dtype == np.int64
        assert beside["flavour"].values[:, 0].tolist() == ak.flatten(made["flavour"][ids]).tolist()
        pt = ak.fill_none(ak.pad_none(made["pt"][ids], 2, clip=True), 0)
        np.testing.assert_array_equal(beside["two"].values[:, :, 0], ak.to_numpy(pt))
    assert seen == ROWS


def test_a_jagged_observer_by_name_and_lists_in_torch(data: rootml.Dataset) -> None:
    torch = pytest.importorskip("torch")
    loader = data.batches(50, inputs=["x"], targets=Ragged(["eta"]), observers=["pt"])
    _, y, beside = next(iter(loader.torch()))
    made = columns()
    assert y["y"].dtype == torch.float32
    assert y["y"][:, 0].tolist() == ak.flatten(made["eta"][:50]).tolist()
    assert beside["pt"][:, 0].tolist() == ak.flatten(made["pt"][:50]).tolist()
    assert np.diff(beside["pt_offsets"]).tolist() == ak.num(made["pt"][:50]).tolist()


# --- half precision ---


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision(data: rootml.Dataset, name: str) -> None:
    torch = pytest.importorskip("torch")
    loader = data.batches(ROWS, inputs=["x"], targets="kind", dtype=name)
    x, y = next(iter(loader.torch()))
    expected = torch.from_numpy(columns()["x"]).to(torch.float32).to(getattr(torch, name))
    assert x.dtype == expected.dtype
    # torch rounds float64 to float32 first, which may move a tie: one unit in the last place
    difference = (x[:, 0].double() - torch.from_numpy(columns()["x"])).abs()
    assert (
        difference <= 2.0 ** (-11 if name == "float16" else -8) * expected.abs().double() + 1e-7
    ).all()
    assert y.dtype == torch.float32


def test_half_precision_does_not_overflow_or_vanish(data: rootml.Dataset) -> None:
    with pytest.raises(CastError, match="infinite in float16"):
        whole(data.batches(ROWS, inputs=["w"], dtype="float16"))
    with pytest.raises(CastError, match="most values are below"):
        whole(data.batches(ROWS, inputs=["small = x * 1e-9"], dtype="float16"))
    with pytest.raises(CastError, match="would become"):
        whole(data.batches(ROWS, inputs=["big = id + 4001"], dtype="float16"))


# --- transform ---


def smear(batch: Batch, rng: np.random.Generator) -> Batch:
    assert isinstance(batch.x, np.ndarray)
    batch.x[:] += rng.normal(size=batch.x.shape).astype(np.float32)
    return batch


def test_a_transform_is_seeded_by_batch(data: rootml.Dataset) -> None:
    options: dict[str, Any] = {"shuffle": True, "inputs": ["x"], "observers": ["id"], "seed": 5}
    plain = data.batches(64, **options)
    first, second = (data.batches(64, transform=smear, threads=n, **options) for n in (1, 2))
    noise = []
    for one, two, three in zip(first.iterate(), second.iterate(), plain.iterate(), strict=True):
        np.testing.assert_array_equal(one.x, two.x)
        noise.append((one.x - three.x)[:, 0])  # type: ignore[operator]
    values = np.concatenate(noise)
    assert abs(values.mean()) < 5 / np.sqrt(ROWS)
    assert values.std() == pytest.approx(1, abs=0.2)
    assert len(np.unique(values.round(5))) > 0.98 * ROWS  # other numbers in each batch
    state = _state_after(data.batches(64, transform=smear, **options), 3)
    rest = data.batches(64, transform=smear, **options)
    rest.load_state_dict(state)
    complete = list(data.batches(64, transform=smear, **options).iterate())
    for one, two in zip(rest.iterate(), complete[3:], strict=True):
        np.testing.assert_array_equal(one.x, two.x)


def _state_after(loader: BatchLoader, batches: int) -> dict[str, Any]:
    iterator = loader.iterate()
    for _ in range(batches):
        next(iterator)
    state = loader.state_dict()
    iterator.close()
    return state


def test_a_transform_must_keep_shapes(data: rootml.Dataset) -> None:
    def shorten(batch: Batch, _: np.random.Generator) -> Batch:
        return Batch(batch.x[:1], None, None, None, 1)  # type: ignore[index]

    def nothing(*_: Any) -> Any:
        return None

    with pytest.raises(SchemaError, match="num_rows was 500"):
        whole(data.batches(ROWS, inputs=["x"], transform=shorten))
    with pytest.raises(UsageError, match="must return a"):
        whole(data.batches(ROWS, inputs=["x"], transform=nothing))


# --- watchdog ---


@pytest.mark.parametrize(
    "mode", [{}, {"shuffle": True}, {"shuffle": True, "buffer_bytes": "30 kB"}]
)
def test_the_watchdog_says_where_it_waits(
    data: rootml.Dataset,
    mode: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = threading.Event()
    decode = Decode.__call__

    def slow(self: Decode, *args: Any, **options: Any) -> Any:
        gate.wait(20)
        return decode(self, *args, **options)

    loader = data.batches(64, inputs=["x"], unit_bytes="1 kB", stall_seconds=0.05, **mode)
    len(loader)
    monkeypatch.setattr(Decode, "__call__", slow)
    with caplog.at_level(logging.WARNING, "rootml.batching"):
        threading.Thread(target=_open_when, args=(gate, caplog)).start()
        rows = sum(batch.num_rows for batch in loader.iterate())
    assert rows == ROWS
    assert "no progress for" in caplog.text
    assert "data.parquet" in caplog.text
    assert "slow (" in caplog.text  # the line where the threads are


def _open_when(gate: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    end = time.monotonic() + 15
    while "no progress" not in caplog.text and time.monotonic() < end:
        time.sleep(0.02)
    gate.set()


def test_the_watchdog_speaks_in_workers_of_torch(
    data: rootml.Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch: Any = pytest.importorskip("torch")
    gate = multiprocessing.get_context("fork").Event()
    decode = Decode.__call__

    def slow(self: Decode, *args: Any, **options: Any) -> Any:
        gate.wait(30)
        return decode(self, *args, **options)

    monkeypatch.setattr(Decode, "__call__", slow)
    handler = logging.FileHandler(tmp_path / "log")  # the worker inherits it
    logger = logging.getLogger("rootml.batching")
    logger.addHandler(handler)
    loader = data.batches(100, inputs=["x"], stall_seconds=0.1)
    options = {"batch_size": None, "num_workers": 1, "multiprocessing_context": "fork"}
    try:
        batches = iter(torch.utils.data.DataLoader(loader.torch(), **options))
        end = time.monotonic() + 25
        while "no progress" not in (tmp_path / "log").read_text() and time.monotonic() < end:
            time.sleep(0.05)
        gate.set()
        assert sum(len(x) for x in batches) == ROWS
    finally:
        logger.removeHandler(handler)
        handler.close()
    said = (tmp_path / "log").read_text()
    assert "no progress for" in said
    assert "data.parquet" in said


# --- predict ---


def test_predict_gives_scores_in_the_order_of_the_dataset(
    data: rootml.Dataset, tmp_path: Path
) -> None:
    chosen = data.filter("kind == 1")
    options: dict[str, Any] = {"shuffle": True, "seed": 9, "drop_last": True, "targets": "kind"}
    loader = chosen.batches(64, inputs=["x", "id"], **options)
    made = columns()
    expected = 2 * made["x"].astype(np.float32) + made["id"]
    scores: Any = loader.predict(lambda x: 2 * x[:, :1] + x[:, 1:])
    np.testing.assert_allclose(scores, expected[made["kind"] == 1], rtol=1e-6)
    chosen.write_friend(tmp_path / "friends", {"score": scores})
    back = rootml.open(str(tmp_path / "friends" / "data.parquet")).to_awkward()
    np.testing.assert_allclose(back["score"][back["score_valid"]], scores)
    named: Any = loader.predict(lambda x: {"a": x[:, 0], "b": x})
    assert (named["a"].shape, named["b"].shape) == ((ROWS // 2,), (ROWS // 2, 2))
    with pytest.raises(SchemaError, match=r"returned an array \(1,\) for"):
        loader.predict(lambda x: x[:1, 0])
    with pytest.raises(UsageError, match="expected a function of x"):
        loader.predict("model")


def test_predict_with_torch_and_lists(data: rootml.Dataset) -> None:
    torch = pytest.importorskip("torch")

    class Sum(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(3.0))
            self.drop = torch.nn.Dropout(0.5)

        def forward(self, x: Any) -> Any:
            return self.drop(self.scale * (x["jets"][:, :, 0] * x["jets_mask"]).sum(dim=1))

    loader = data.batches(99, shuffle=True, inputs={"jets": Padded(["pt"], length=10)})
    model = Sum()
    scores: Any = loader.predict(model)
    np.testing.assert_allclose(scores, 3 * ak.sum(columns()["pt"], axis=1), rtol=1e-5)
    assert model.training


def test_predict_asks_about_the_transform(data: rootml.Dataset) -> None:
    loader = data.batches(50, inputs=["x"], transform=smear)
    with pytest.raises(UsageError, match="this loader has a transform"):
        loader.predict(lambda x: x)
    x = columns()["x"].astype(np.float32)
    np.testing.assert_array_equal(loader.predict(lambda x: x, transform=False), x)
    assert (loader.predict(lambda x: x, transform=True) != x).any()


# --- other libraries ---


def test_a_data_loader_that_collates_is_refused(data: rootml.Dataset) -> None:
    utils = pytest.importorskip("torch.utils.data")
    batches = data.batches(50, inputs=["x"]).torch()
    for size in (1, 32):
        with pytest.raises(UsageError, match="batch_size=None"):
            next(iter(utils.DataLoader(batches, batch_size=size)))
    assert len(list(utils.DataLoader(batches, batch_size=None))) == ROWS // 50


def test_jax_arrays_share_the_memory(data: rootml.Dataset) -> None:
    jax = pytest.importorskip("jax")
    inputs: dict[str, Any] = {
        "flat": ["x"],
        "jets": Padded(["pt"], length=4),
        "all": Ragged(["eta"]),
    }
    loader = data.batches(256, inputs=inputs, targets="kind", shuffle=True)
    for given, plain in zip(
        loader.jax(),
        data.batches(256, inputs=inputs, targets="kind", shuffle=True).numpy(),
        strict=True,
    ):
        x, y = given
        assert isinstance(x["flat"], jax.Array)
        np.testing.assert_array_equal(x["jets"], plain[0]["jets"].values)
        np.testing.assert_array_equal(x["jets_mask"], plain[0]["jets"].mask)
        np.testing.assert_array_equal(x["all"], plain[0]["all"].values)
        np.testing.assert_array_equal(x["all_offsets"], plain[0]["all"].offsets)
        np.testing.assert_array_equal(y, plain[1])
    with pytest.raises(CastError, match="jax_enable_x64"):
        next(iter(data.batches(10, inputs=["x"], observers=["id"]).jax()))


# --- how well a pool mixes ---


def sorted_file(tmp_path: Path, rows: int = 20_000) -> rootml.Dataset:
    kind = (np.arange(rows) >= rows // 2).astype(np.int32)
    path = tmp_path / "sorted.parquet"
    pq.write_table(pa.table({"x": kind * 1.0, "kind": kind}), path, row_group_size=500)
    return rootml.open(str(path), label="kind").select(["x"])


def test_a_sorted_file_in_a_pool_is_announced(tmp_path: Path) -> None:
    data = sorted_file(tmp_path)
    options: dict[str, Any] = {"shuffle": True, "buffer_bytes": "40 kB", "unit_bytes": "1 kB"}
    with pytest.warns(UserWarning, match=r"spread .* independent draws.*cache=") as caught:
        fractions = [y.mean() for _, y in data.batches(100, **options).numpy()]
    measured = np.std(fractions) / np.sqrt(0.25 / 100)  # over that of independent draws
    said = float(str(caught[0].message).split("spread of ")[1].split(" ")[0])
    assert measured > 3
    assert said == pytest.approx(measured, rel=0.15)


def test_a_mixed_file_in_a_pool_is_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pa.table({"x": rng.normal(size=20_000), "kind": rng.integers(0, 2, 20_000)})
    pq.write_table(table, tmp_path / "mixed.parquet", row_group_size=500)
    data = rootml.open(str(tmp_path / "mixed.parquet"), label="kind").select(["x"])
    loader = data.batches(100, shuffle=True, buffer_bytes="40 kB", unit_bytes="1 kB")
    assert sum(1 for _ in loader.numpy()) == 200  # a warning would be an error
