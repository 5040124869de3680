"""Forests and morphing on a cluster: what they make of a dataset is made on the workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import distributed
import numpy as np
import pytest
from dask_state import settled
from morphing_small import small
from morphing_toy import write_toy

import rootml
import rootml.bdt
from rootml.batching import Standardizer
from rootml.errors import CastError, EmptySelectionError, NonFiniteError
from rootml.execution import map_tasks
from rootml.sbi.morphing import Morpher

DASK: Any = distributed  # half typed
Events = Callable[[str], rootml.Dataset]
NAMES = ["x", "k"]
KINDS: Any = (("sim", 3), ("data", 2))


@contextmanager
def tasks_of(client: Any, what: str) -> Iterator[list[str]]:
    """Names of the tasks `what` that workers finish meanwhile."""
    found: list[str] = []
    with DASK.client.get_task_stream(client, plot=False) as stream:
        yield found
    found += [task["key"] for task in stream.data if task["key"].startswith(f"rootml-{what}-")]


def kill_after_the_first(client: Any) -> Any:
    """`map_tasks`, in the middle of which a worker process dies."""

    def deadly(*args: Any, **options: Any) -> Iterator[Any]:
        for number, result in enumerate(map_tasks(*args, **options)):
            if number == 0 and options["executor"] is not None:
                os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
            yield result

    return deadly


# --- forests -------------------------------------------------------------------------------------


def matrix(data: rootml.Dataset) -> Any:
    table = data.select(NAMES).to_awkward()
    return np.stack([table[name].to_numpy() for name in NAMES], axis=1).astype(np.float32)


@pytest.fixture
def booster(events: Events) -> Any:
    xgboost = pytest.importorskip("xgboost")
    pytest.importorskip("llvmlite")
    x = matrix(events("ttree"))
    y = x[:, 0] > np.median(x[:, 0])
    options = {"objective": "binary:logistic", "max_depth": 3, "nthread": 1}
    return xgboost.train(options, xgboost.DMatrix(x, y, feature_names=NAMES), 5)


def predicted(booster: Any, x: Any, **options: Any) -> Any:
    xgboost = pytest.importorskip("xgboost")
    return booster.predict(xgboost.DMatrix(x, feature_names=NAMES), **options)


@pytest.mark.parametrize("format_", ["ttree", "parquet"])
def test_scores(events: Events, processes: Any, booster: Any, format_: str) -> None:
    data = events(format_).filter("k > 1").select([*NAMES, "jet"])
    model, x = rootml.bdt.load(booster).compile(), matrix(data)
    with tasks_of(processes, "scoring") as tasks:
        found = model.predict(data.on(processes))
        margins = model.predict_margin(data.on(processes), threads=2)
    assert len(tasks) >= 2
    np.testing.assert_array_equal(found, predicted(booster, x))
    np.testing.assert_array_equal(margins, predicted(booster, x, output_margin=True))
    assert found.dtype == np.float32
    assert settled(processes)


def test_a_model_is_compiled_once_in_a_process(
    events: Events, threads: Any, booster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers of `threads` share this process; partitions are many."""
    from rootml.bdt import _model

    made: list[Any] = []
    make = _model._make_engine

    def counted(*args: Any) -> Any:
        made.append(args)
        return make(*args)

    data = events("ttree").select(NAMES)
    model = rootml.bdt.load(booster).compile()
    assert len(data.scan(target_bytes=2000).partitions) > 10
    monkeypatch.setattr(_model, "_make_engine", counted)
    found = model.predict(data.on(threads))
    np.testing.assert_array_equal(found, predicted(booster, matrix(data)))
    assert len(made) == 1


def test_scores_of_jets(events: Events, threads: Any, booster: Any) -> None:
    data = events("ttree").filter("k > 1").select(["jet", "k", "id"])
    model = rootml.bdt.load(booster).replace(feature_names=("jet", "k")).compile()
    with tasks_of(threads, "scoring") as tasks:
        found = model.predict(data.on(threads))
    assert tasks
    table = data.to_awkward()
    spread = ak.broadcast_arrays(table["k"], table["jet"])[0]
    x = np.stack([ak.to_numpy(ak.flatten(each)) for each in (table["jet"], spread)], axis=1)
    assert ak.num(found).tolist() == ak.num(table["jet"]).tolist()
    wanted = predicted(booster, x.astype(np.float32))
    np.testing.assert_array_equal(ak.to_numpy(ak.flatten(found)), wanted)


def test_scores_out_of_fold(events: Events, threads: Any, booster: Any) -> None:
    data = events("ttree").select([*NAMES, "id"])
    forest = rootml.bdt.load(booster)
    models = [forest.iterations(0, 2).compile(), forest.iterations(2, 5).compile()]
    folds = data.on(threads).folds(2, by="id")
    with tasks_of(threads, "scoring") as tasks:
        found = rootml.bdt.predict_out_of_fold(models, folds)
    assert tasks
    for scores, (_, test), trees in zip(
        found, data.folds(2, by="id"), ((0, 2), (2, 5)), strict=True
    ):
        wanted = predicted(booster, matrix(test), iteration_range=trees)
        np.testing.assert_array_equal(scores, wanted)


def test_a_worker_that_dies_while_it_scores(
    events: Events, two: Any, booster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rootml.dataset import _dataset

    data = events("ttree").filter("k > 1").select(NAMES)
    data.scan(target_bytes=9000)
    monkeypatch.setattr(_dataset, "map_tasks", kill_after_the_first(two))
    found = rootml.bdt.load(booster).compile().predict(data.on(two))
    np.testing.assert_array_equal(found, predicted(booster, matrix(data)))


def test_what_cannot_be_scored(events: Events, threads: Any, booster: Any) -> None:
    model = rootml.bdt.load(booster).replace(feature_names=("x", "large")).compile()
    large = events("ttree").select(["x", "large = id + 20000001"])
    said = []
    for data in (large, large.on(threads)):
        with pytest.raises(
            CastError, match=r"entries 0 to .*'large': the integer 20000001"
        ) as caught:
            model.predict(data)
        said.append(str(caught.value))
    assert said[0] == said[1]
    with pytest.raises(EmptySelectionError):
        model.predict(events("ttree").filter("k > 1000").select(NAMES).on(threads))


# --- morphing ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Three files of simulation and two of data."""
    folder = tmp_path_factory.mktemp("toys")
    return {
        kind: [write_toy(folder / f"{kind}{n}.root", kind, 700, seed=n) for n in range(count)]
        for kind, count in KINDS
    }


@pytest.fixture(scope="module")
def morpher(toys: dict[str, list[str]]) -> Morpher:
    pytest.importorskip("torch")
    return small(ensemble=2).fit(rootml.open(toys["sim"]), rootml.open(toys["data"]))


def same(found: Any, wanted: Any) -> bool:
    return bool(found.type == wanted.type and ak.array_equal(found, wanted, equal_nan=True))


def test_files_morphed_by_workers(
    toys: dict[str, list[str]], morpher: Morpher, processes: Any, tmp_path: Path
) -> None:
    sim = rootml.open(toys["sim"]).filter("pt > 0.3")
    here = morpher.apply(sim, tmp_path / "here", variations=True)
    with tasks_of(processes, "morphing") as tasks:
        there = morpher.apply(sim.on(processes), tmp_path / "there", variations=True)
    assert tasks
    assert (there.rows, there.outside, there.unchanged) == (
        here.rows,
        here.outside,
        here.unchanged,
    )
    for mine, other in zip(there.paths, here.paths, strict=True):
        assert Path(mine).name == Path(other).name
        assert same(rootml.open(mine).to_awkward(), rootml.open(other).to_awkward())
    # the same events in memory are corrected to the same
    table = sim.to_awkward()
    changed = morpher.transform(table)
    joined = rootml.open(toys["sim"], friends=list(there.paths)).filter("pt > 0.3").to_awkward()
    for name in morpher.features:
        np.testing.assert_array_equal(joined[f"{name}_corr"], changed[name])
    assert settled(processes)


def test_a_dataset_morphed_on_a_cluster_stays_there(
    toys: dict[str, list[str]], morpher: Morpher, threads: Any
) -> None:
    sim = rootml.open(toys["sim"])
    with tasks_of(threads, "morphing") as tasks:
        found = morpher.transform(sim.on(threads))
    assert tasks
    with tasks_of(threads, "reading") as tasks:
        table = found.to_awkward()
    assert tasks
    assert same(table, morpher.transform(sim).to_awkward())


def test_a_worker_that_dies_while_it_morphs(
    toys: dict[str, list[str]],
    morpher: Morpher,
    two: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rootml.dataset import _dataset

    sim = rootml.open(toys["sim"])
    here = morpher.apply(sim, tmp_path / "here")
    monkeypatch.setattr(_dataset, "map_tasks", kill_after_the_first(two))
    there = morpher.apply(sim.on(two), tmp_path / "there")
    assert there.rows == here.rows == 2100
    for mine, other in zip(there.paths, here.paths, strict=True):
        assert same(rootml.open(mine).to_awkward(), rootml.open(other).to_awkward())


def test_fits_read_on_workers(
    toys: dict[str, list[str]], morpher: Morpher, threads: Any, tmp_path: Path
) -> None:
    sim, data = rootml.open(toys["sim"]), rootml.open(toys["data"])
    with tasks_of(threads, "reading-simulation") as tasks:
        other = small(ensemble=2).fit(sim.on(threads), data.on(threads))
    assert tasks
    morpher.save(tmp_path / "here")
    other.save(tmp_path / "there")
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


@pytest.mark.long
def test_reports_read_on_workers(
    toys: dict[str, list[str]], morpher: Morpher, threads: Any
) -> None:
    sim, data = rootml.open(toys["sim"]), rootml.open(toys["data"])
    options: Any = {"max_rows": 1000, "classifier": "trees", "slices": 2, "bins": 10}
    here = morpher.validate(sim, data, **options)
    with tasks_of(threads, "reading-data") as tasks:
        there = morpher.validate(sim.on(threads), data.on(threads), **options)
    assert tasks
    assert repr(there) == repr(here)


def test_weights_that_are_not_finite(
    toys: dict[str, list[str]], morpher: Morpher, threads: Any
) -> None:
    sim, data = rootml.open(toys["sim"], weight="1 / (pt > 0.3)"), rootml.open(toys["data"])
    said = []
    for each in (sim, sim.on(threads)):
        with pytest.raises(
            NonFiniteError, match=r"sim0\.root.*entries 0 to 700: .* weight"
        ) as caught:
            morpher.validate(each, data)
        said.append(str(caught.value))
    assert said[0] == said[1]


# --- loaders inside of others --------------------------------------------------------------------


def test_standardizers_read_on_workers(events: Events, threads: Any) -> None:
    data = events("ttree").filter("k > 1").select(NAMES)
    with tasks_of(threads, "decoding") as tasks:
        found = Standardizer(weighted=False).fit(data.on(threads))
    assert tasks
    x = matrix(data).astype(np.float64)
    scale = found.scales["x"]
    np.testing.assert_allclose(scale.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scale.std, x.std(axis=0), rtol=1e-12)
    assert (
        scale.mean.tobytes() == Standardizer(weighted=False).fit(data).scales["x"].mean.tobytes()
    )


def test_events_for_ratios_are_read_on_workers(events: Events, threads: Any) -> None:
    """What `Ratios.ratios` and the checks of estimators take of a dataset."""
    from rootml.sbi.estimator.inputs._events import chunks

    data = events("ttree").filter("k > 1").select(NAMES)
    with tasks_of(threads, "decoding") as tasks:
        found = list(chunks(data.on(threads), NAMES, NAMES))
    assert tasks
    np.testing.assert_array_equal(np.concatenate([x for x, _ in found]), matrix(data))
    assert settled(threads)
