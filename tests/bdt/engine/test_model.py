"""The compiled model: what it says of itself, threads, datasets, scores out of fold."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import xgboost
from bdt_forests import random_forest, walk

import rootml
import rootml.bdt
from rootml.bdt import Forest, Model, _threads, predict_out_of_fold, write_out_of_fold
from rootml.errors import EmptySelectionError, MissingColumnError, UsageError

NAMES = ("pt", "eta", "phi", "mass")


@pytest.fixture(scope="module")
def forest() -> Forest:
    return random_forest(np.random.default_rng(4), feature_names=NAMES, objective="<b>loss</b>")


@pytest.fixture(scope="module")
def model(forest: Forest) -> Model:
    return forest.compile()


# --- what it says of itself ----------------------------------------------------------------------


def test_text_and_html_name_what_matters(forest: Forest, model: Model) -> None:
    text, html = repr(model), model._repr_html_()
    for shown in (text, html):
        for word in ("12 (depth 5", "pt, eta, phi, mass", "llvm", model.isa, "threads"):
            assert word in shown
    assert "<b>loss</b>" in text
    assert "<b>loss</b>" not in html
    assert "&lt;b&gt;loss" in html
    other = forest.compile("numpy", threads=3)
    assert "numpy" in repr(other)
    assert (other.engine, other.isa, other.threads) == ("numpy", "numpy", 3)


def test_unknown_engines_and_threads_are_refused(forest: Forest, model: Model) -> None:
    with pytest.raises(UsageError, match="engine='gpu'.*'llvm'"):
        forest.compile("gpu")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="isa="):
        forest.compile("numpy", isa="avx2")
    for threads in (0, -1, 2.0, True, "2"):
        with pytest.raises(UsageError, match="threads="):
            forest.compile(threads=threads)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="threads="):
            model.predict(np.zeros((20, 4), np.float32), threads=threads)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["llvm", "numpy"])
def test_a_pickled_model_is_compiled_again(forest: Forest, engine: Any) -> None:
    made = forest.compile(engine=engine, threads=2)
    again = pickle.loads(pickle.dumps(made))
    assert (again.engine, again.threads, again.isa) == (made.engine, 2, made.isa)
    x = np.random.default_rng(5).normal(size=(100, 4)).astype(np.float32)
    assert np.array_equal(again.predict(x), made.predict(x))


def test_a_forest_is_checked_before_any_kernel_is_made(forest: Forest) -> None:
    with pytest.raises(rootml.errors.ModelError):
        forest.replace(left=np.where(forest.left >= 0, forest.left + 10**6, -1))
    with pytest.raises(rootml.errors.ModelError):
        forest.replace(feature=np.where(forest.feature >= 0, 99, -1))


# --- threads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 700, 5000, 200_003])
@pytest.mark.parametrize("threads", [2, 5])
def test_threads_give_the_same_scores(model: Model, rows: int, threads: int) -> None:
    x = (10 * np.random.default_rng(0).normal(size=(rows, 4))).astype(np.float32)
    alone = model.predict_margin(x)
    assert np.array_equal(model.predict_margin(x, threads=threads), alone)
    columns = dict(zip(NAMES, x.T, strict=True))
    assert np.array_equal(model.predict_margin(columns, threads=threads), alone)
    assert np.array_equal(alone[-5:], walk(model.forest, x[-5:])[:, 0])


def soon(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def test_helpers_end_when_nothing_is_left_for_them(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    _threads._helpers.stop()
    monkeypatch.setattr(_threads, "IDLE_SECONDS", 0.05)
    found: list[int] = []
    _threads.call_helpers(found.append, 3)
    model.predict(np.zeros((200_000, 4), np.float32), threads=3)
    assert soon(lambda: sorted(found) == [1, 2, 3])
    assert soon(lambda: all(each.name != "rootml-bdt" for each in threading.enumerate()))


def test_a_helper_keeps_no_array_of_a_call(model: Model) -> None:
    x = np.zeros((200_000, 4), np.float32)
    alive = weakref.ref(x)
    scores = model.predict(x, threads=3)
    del x, scores
    assert soon(lambda: alive() is None)


def test_what_a_helper_raises_is_raised() -> None:
    def work(number: int) -> None:
        if number == 2:
            begun.set()
            raise ZeroDivisionError

    begun = threading.Event()
    finish = _threads.call_helpers(work, 2)
    begun.wait()
    with pytest.raises(ZeroDivisionError):
        finish()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_helpers_are_there_after_a_fork_too() -> None:
    code = """
import multiprocessing, numpy, sys, threading, warnings
import rootml.bdt
warnings.simplefilter("error")
model = rootml.bdt.load(sys.argv[1]).compile()
x = numpy.random.default_rng(1).normal(size=(200_000, 4)).astype("f4")
def same(_):
    return bool(numpy.array_equal(model.predict(x, threads=3), alone)), threading.active_count()
alone = model.predict(x)
first = same(0)
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(first[0], pool.apply(same, (0,)), same(0)[0])
"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "forest.json"
        random_forest(np.random.default_rng(1), trees=300, depth=5, features=4).save(path)
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
        )
    assert re.fullmatch(r"True \(True, \d+\) True\n", done.stdout), done


def test_inputs_are_not_written_to(model: Model) -> None:
    forest = model.forest.replace(missing=0.0)
    x = np.zeros((700, 4), np.float32)
    for engine in ("llvm", "numpy"):
        forest.compile(engine).predict(x)
        forest.compile(engine).predict(x[:4])
        assert not x.any()


# --- datasets ------------------------------------------------------------------------------------


def events(count: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    columns = {name: (10 * rng.normal(size=count)).astype(np.float32) for name in NAMES}
    return {"event": seed * 10**6 + np.arange(count), "good": rng.random(count) < 0.7, **columns}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = []
    for seed, count in ((1, 900), (2, 50), (3, 1300)):
        paths.append(tmp_path / f"part{seed}.parquet")
        pa.parquet.write_table(pa.table(events(count, seed)), paths[-1], row_group_size=400)
    return paths


def matrix(columns: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.column_stack([columns[name] for name in NAMES])


def test_a_dataset_gives_a_score_per_selected_event(model: Model, files: list[Path]) -> None:
    data = rootml.open([str(path) for path in files]).filter("good")
    read = [events(count, seed) for seed, count in ((1, 900), (2, 50), (3, 1300))]
    expected = np.concatenate([walk(model.forest, matrix(e)[e["good"]])[:, 0] for e in read])
    assert np.array_equal(model.predict_margin(data), expected)
    with pytest.raises(EmptySelectionError, match="nothing to score"):
        model.predict(data.filter("pt > 1e30"))
    with pytest.raises(MissingColumnError, match="'mass'"):
        model.predict(data.select(["pt", "eta", "phi"]))


def test_friends_hold_all_entries_in_their_order(
    model: Model, files: list[Path], tmp_path: Path
) -> None:
    data = rootml.open([str(path) for path in files]).filter("good")
    made = model.write_friend(data, tmp_path / "friends", name="bdt", margin=True)
    assert len(made) == 3
    for path, (seed, count) in zip(made, ((1, 900), (2, 50), (3, 1300)), strict=True):
        table = pa.parquet.read_table(path).to_pydict()
        written = events(count, seed)
        expected = np.where(written["good"], walk(model.forest, matrix(written))[:, 0], np.nan)
        assert np.array_equal(np.float32(table["bdt"]), np.float32(expected), equal_nan=True)
        assert np.array_equal(table["bdt_valid"], written["good"])


def test_friends_of_several_outputs(files: list[Path], tmp_path: Path) -> None:
    forest = random_forest(np.random.default_rng(1), outputs=2, feature_names=NAMES)
    (path,) = forest.compile().write_friend(rootml.open(str(files[1])), tmp_path / "friends")
    table = pa.parquet.read_table(path)
    expected = walk(forest, matrix(events(50, 2)))
    assert np.array_equal(np.float32(table["score_0"]), expected[:, 0])
    assert np.array_equal(np.float32(table["score_1"]), expected[:, 1])


def test_friends_of_jets(model: Model, tmp_path: Path) -> None:
    counts = np.random.default_rng(1).integers(0, 4, 200)
    flat = events(int(counts.sum()), 5)
    jets = {name: ak.unflatten(flat[name], counts) for name in NAMES}
    path = tmp_path / "jets.parquet"
    pa.parquet.write_table(pa.table({n: pa.array(v.tolist(), pa.list_(pa.float32()))
                                     for n, v in jets.items()}), path)  # fmt: skip
    (friend,) = model.write_friend(rootml.open(str(path)), tmp_path / "friends")
    found = rootml.open(friend).to_awkward()["score"]
    assert ak.num(found).tolist() == counts.tolist()
    expected = model.predict(np.column_stack([flat[name] for name in NAMES]))
    assert np.array_equal(ak.to_numpy(ak.flatten(found)), expected)


def test_root_files_get_root_friends(model: Model, tmp_path: Path) -> None:
    import uproot

    columns = events(300, 7)
    with uproot.recreate(tmp_path / "in.root") as file:
        file["Events"] = {name: columns[name] for name in ("event", *NAMES)}
    data = rootml.open(f"{tmp_path}/in.root:Events")
    (path,) = model.write_friend(data, tmp_path / "friends")
    with uproot.open(path) as file:
        found = file["Friends"]["score"].array(library="np")
    assert np.array_equal(np.float32(found), model.predict(matrix(columns)))


# --- out of fold ---------------------------------------------------------------------------------


def trained(columns: dict[str, Any], seed: int) -> xgboost.Booster:
    x = matrix(columns)
    y = (x[:, 0] + x[:, 1] * np.sin(x[:, 2]) > 0).astype(int)
    options = {"max_depth": 3, "seed": seed, "nthread": 1, "objective": "binary:logistic"}
    return xgboost.train(options, xgboost.DMatrix(x, y, feature_names=list(NAMES)), 5)


def test_each_event_is_scored_by_the_model_that_did_not_see_it(
    files: list[Path], tmp_path: Path
) -> None:
    data = rootml.open([str(path) for path in files])
    folds = data.folds(3, by="event")
    boosters, models = [], []
    for number, (train, _) in enumerate(folds):
        read = train.to_awkward()
        boosters.append(trained({n: ak.to_numpy(read[n]) for n in NAMES}, number))
        models.append(rootml.bdt.load(boosters[-1]).compile())
    made = write_out_of_fold(models, folds, data, tmp_path / "friends")
    unseen = [set(ak.to_numpy(test.to_awkward()["event"]).tolist()) for _, test in folds]
    for path, (seed, count) in zip(made, ((1, 900), (2, 50), (3, 1300)), strict=True):
        columns = events(count, seed)
        fold = np.array([[e in mine for mine in unseen].index(True) for e in columns["event"]])
        scores = np.stack([b.inplace_predict(matrix(columns)) for b in boosters])
        found = np.float32(pa.parquet.read_table(path)["score"])
        assert np.array_equal(found, scores[fold, np.arange(count)])
    parts = predict_out_of_fold(models, folds)
    for part, (_, test), booster in zip(parts, folds, boosters, strict=True):
        read = test.to_awkward()
        x = np.column_stack([ak.to_numpy(read[name]) for name in NAMES])
        assert np.array_equal(part, booster.inplace_predict(x))


def test_models_and_folds_must_match(model: Model, files: list[Path], tmp_path: Path) -> None:
    data = rootml.open(str(files[0]))
    folds = data.folds(3, by="event")
    with pytest.raises(UsageError, match="2 models for 3 folds"):
        write_out_of_fold([model, model], folds, data, tmp_path / "friends")
    other = random_forest(np.random.default_rng(1), outputs=2, feature_names=NAMES).compile()
    with pytest.raises(UsageError, match="differ in their outputs"):
        predict_out_of_fold([model, model, other], folds)
    with pytest.raises(UsageError, match="name="):
        model.write_friend(data, tmp_path / "friends", name="")


def test_a_forest_without_trees_gives_its_base() -> None:
    kinds: tuple[Any, ...] = (np.float32, np.float64)
    for dtype in kinds:
        for base in ([2.5], [-3.0, 1]):
            none = np.zeros(0, np.int32)
            forest = Forest(
                tree_offset=np.zeros(1, np.int64), feature=none, left=none, right=none,
                default_left=none.astype(bool), tree_output=none, threshold=np.zeros(0, dtype),
                value=np.zeros((0, 1), dtype), base=np.array(base, dtype), num_features=2,
            )  # fmt: skip
            for engine in ("numpy", "llvm"):
                model = forest.compile(engine)
                for rows in (1, 600):
                    scores = model.predict_margin(np.zeros((rows, 2), dtype))
                    wanted = np.tile(np.array(base, dtype), (rows, 1))
                    assert scores.tobytes() == wanted.tobytes(), (engine, rows)
