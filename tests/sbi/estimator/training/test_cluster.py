"""Trainings on a cluster, in folders, and in parts: the networks of a training at one go."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest
from dask_state import settled
from sbi_learned import Float, write

import rootml
from rootml import sbi
from rootml.errors import ClusterError, ConvergenceError, CorruptFileError, StateError, UsageError
from rootml.sbi.estimator.learners._learn import ClassJob

torch = pytest.importorskip("torch")
DASK: Any = distributed  # half typed
OPTIONS: dict[str, Any] = {
    "ensemble": 4, "folds": 2, "hidden": (8,), "epochs": 3, "batch_size": 256,
    "learning_rate": 0.02, "progress": False, "seed": 1,
}  # fmt: skip
X = {"x": np.linspace(-2.0, 2.0, 41)}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder, rng = tmp_path_factory.mktemp("samples"), np.random.default_rng(1)

    def sample(name: str, mean: float) -> rootml.Dataset:
        return write(folder / f"{name}.parquet", {"x": rng.normal(mean, 1.0, 3000)})

    background = {"nominal": sample("B", 0.0), "jes": (sample("u", 0.4), sample("d", -0.4))}
    return {"S": sample("S", 1.0), "B": background}


@pytest.fixture(scope="module")
def here(samples: dict[str, Any]) -> sbi.Ratios:
    return estimator().fit(samples, reference="B")


def estimator(**changes: Any) -> sbi.RatioEstimator:
    return sbi.RatioEstimator(["x"], **{**OPTIONS, **changes})


def values(ratios: sbi.Ratios, member: int | None = None) -> Float:
    return ratios.log_ratio(X, member=member)


def test_a_client_gives_the_same(samples: dict[str, Any], here: sbi.Ratios, client: Any) -> None:
    there = estimator().fit(samples, reference="B", client=client)
    np.testing.assert_array_equal(values(there), values(here))
    assert [s.kept for s in there.record.shapes] == [True]
    assert there.record.histories == here.record.histories
    assert settled(client)


def test_a_parametric_estimator_too(tmp_path: Path, client: Any) -> None:
    rng = np.random.default_rng(2)
    theta = rng.uniform(-1.0, 1.0, 3000)
    events = write(tmp_path / "p.parquet", {"x": rng.normal(theta, 1.0), "theta": theta})
    learner = estimator(parameters=["theta"], ensemble=2)
    here = learner.fit(events)
    there = learner.fit(events, client=client, folder=tmp_path / "networks")
    again = learner.fit(events, folder=tmp_path / "networks")
    for ratios in (there, again):
        for theta_0 in (-0.5, 0.5):
            np.testing.assert_array_equal(
                ratios.log_ratio(X, theta=theta_0),
                here.log_ratio(X, theta=theta_0),
            )
    assert again.record.norms == here.record.norms


@pytest.mark.long
def test_a_killed_worker_costs_nothing_that_is_finished(
    samples: dict[str, Any], processes: Any, tmp_path: Path
) -> None:
    """It dies when the first network is done, in the middle of the next one."""
    slow = {"ensemble": 4, "epochs": 15}
    folder, killed = tmp_path / "networks", []

    def kill() -> None:
        for _ in range(1200):
            if list(folder.glob("network-*.npz")):
                time.sleep(0.3)
                pid = processes.run(os.getpid)
                os.kill(next(iter(pid.values())), signal.SIGKILL)
                killed.append({p: p.stat().st_mtime_ns for p in folder.glob("network-*.npz")})
                return
            time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    there = estimator(**slow).fit(samples, reference="B", client=processes, folder=folder)
    killer.join()
    (before,) = killed
    assert 0 < len(before) < 4
    assert all(path.stat().st_mtime_ns == written for path, written in before.items())
    assert len(list(folder.glob("network-*.npz"))) == 4
    np.testing.assert_array_equal(
        values(there), values(estimator(**slow).fit(samples, reference="B"))
    )


def test_a_closed_client(samples: dict[str, Any], threads_cluster: Any) -> None:
    closed = DASK.Client(threads_cluster, set_as_default=False)
    closed.close()
    with pytest.raises(ClusterError, match="the client is closed"):
        estimator().fit(samples, reference="B", client=closed)
    with pytest.raises(UsageError, match="takes a distributed.Client"):
        estimator().fit(samples, reference="B", client="tcp://nowhere")


def test_a_network_that_diverges_is_named(samples: dict[str, Any], client: Any) -> None:
    with pytest.raises(ConvergenceError, match=r"network \d of 4: the loss"):
        estimator(learning_rate=1e30).fit(samples, reference="B", client=client)


def test_a_folder_goes_on_where_it_stopped(
    samples: dict[str, Any], here: sbi.Ratios, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Any] = []
    original = ClassJob.__call__

    def call(self: ClassJob, members: Any, display: Any) -> Any:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(members)
        return original(self, members, display)

    monkeypatch.setattr(ClassJob, "__call__", call)
    with pytest.raises(KeyboardInterrupt):
        estimator().fit(samples, reference="B", folder=tmp_path)
    assert trained == [(0,), (1,)]
    trained.clear()
    first = estimator(ensemble=2).fit(samples, reference="B", folder=tmp_path)
    assert (trained, first.members) == ([], 2)
    ratios = estimator().fit(samples, reference="B", folder=tmp_path)
    assert trained == [(2,), (3,)]
    np.testing.assert_array_equal(values(ratios), values(here))
    assert ratios.record.shapes == first.record.shapes  # each event decides once
    assert not [path for path in tmp_path.iterdir() if "held-out" in path.name]


def test_a_folder_of_another_training(samples: dict[str, Any], tmp_path: Path) -> None:
    few = {"ensemble": 2, "epochs": 1}
    estimator(**few).fit(samples, reference="B", folder=tmp_path)
    with pytest.raises(StateError, match="networks of another training, whose settings differ"):
        estimator(**{**few, "seed": 9}).fit(samples, reference="B", folder=tmp_path)
    other = {"S": samples["B"]["nominal"], "B": samples["S"]}
    with pytest.raises(StateError, match="whose samples differ"):
        estimator(**few).fit(other, reference="B", folder=tmp_path)
    (tmp_path / "network-1.npz").write_bytes(b"PK\x03\x04damaged")
    with pytest.raises(CorruptFileError, match="network-1.npz: not a finished network"):
        estimator(**few).fit(samples, reference="B", folder=tmp_path)


# --- batched networks ----------------------------------------------------------------------------


def test_a_batched_network_learns_what_each_learns_alone(
    samples: dict[str, Any], here: sbi.Ratios
) -> None:
    """With a fold each, members see the same batches in both ways; only rounding differs."""
    alone = estimator(ensemble=2).fit(samples, reference="B")
    batched = estimator(ensemble=2, device="cpu").with_settings(batched=True)
    together = batched.fit(samples, reference="B")
    np.testing.assert_allclose(values(together), values(alone), atol=2e-4)
    assert here.members == 4


def test_members_of_a_fold_differ_and_agree(samples: dict[str, Any], here: sbi.Ratios) -> None:
    """Four members in two folds: two batched networks of two members."""
    together = estimator().with_settings(batched=True).fit(samples, reference="B")
    each = np.stack([values(together, member) for member in range(4)])
    assert (np.abs(each[0] - each[2]).max(axis=0) > 1e-4).all()
    middle = slice(10, 31)
    np.testing.assert_allclose(
        values(together)[middle], values(here)[middle], atol=0.15, err_msg="apart and together"
    )
    assert len(together.record.histories) == 8


def test_batched_parametric_networks(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    theta = rng.uniform(-1.0, 1.0, 2000)
    events = write(tmp_path / "p.parquet", {"x": rng.normal(theta, 1.0), "theta": theta})
    learner = estimator(parameters=["theta"], ensemble=2)
    alone = learner.fit(events)
    together = learner.with_settings(batched=True).fit(events)
    for theta_0 in (-0.5, 0.5):
        np.testing.assert_allclose(
            together.log_ratio(X, theta=theta_0),
            alone.log_ratio(X, theta=theta_0), atol=1e-3,
        )  # fmt: skip


def test_no_such_device(samples: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="device='abacus': torch cannot use it here"):
        estimator(device="abacus").fit(samples, reference="B")


# --- merging -------------------------------------------------------------------------------------


def test_merged_ensembles_are_the_mean_of_all_members(
    samples: dict[str, Any], here: sbi.Ratios, tmp_path: Path
) -> None:
    more = estimator(ensemble=2, seed=7).fit(samples, reference="B")
    merged = sbi.Ratios.merge([here, more])
    assert merged.members == 6
    each = [values(here, m) for m in range(4)] + [values(more, m) for m in range(2)]
    for number, expected in enumerate(each):
        np.testing.assert_array_equal(values(merged, number), expected)
    np.testing.assert_allclose(values(merged), np.log(np.exp(each).mean(axis=0)), rtol=1e-12)
    assert len(merged.record.histories) == 12
    merged.save(tmp_path / "merged.onnx")
    loaded = sbi.RatioEstimator.load(tmp_path / "merged.onnx")
    assert isinstance(loaded, sbi.Ratios)
    np.testing.assert_array_equal(values(loaded), values(merged))


def test_other_ratios_cannot_be_merged(samples: dict[str, Any], here: sbi.Ratios) -> None:
    few = estimator(ensemble=2, epochs=1)
    other = few.fit({"S": samples["S"], "B": samples["B"]["nominal"]}, reference="B")
    with pytest.raises(UsageError, match="part 1 has other outputs than part 0"):
        sbi.Ratios.merge([here, other])
    half = {**samples, "S": samples["S"].filter("x > 0")}
    with pytest.raises(UsageError, match="part 1 has other samples than part 0"):
        sbi.Ratios.merge([here, few.fit(half, reference="B")])
    with pytest.raises(UsageError, match="at least one"):
        sbi.Ratios.merge([])
