"""Real processes that train together over gloo: each event once, also when they go on as fewer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_files import CLUSTER, FILE_ROWS

import rootml

RANK = Path(__file__).parents[1] / "support" / "training_rank.py"
FRAMEWORKS = RANK.with_name("training_frameworks.py")
TUTORIALS = Path(__file__).parents[2] / "tutorials"
EVENTS = sum(FILE_ROWS[0])
POOL: dict[str, Any] = {"shuffle": True, "buffer_bytes": 30_000, "unit_bytes": 3_000}
"""A buffer that does not hold all events, so that they are decoded as they are needed."""


def train(
    files: list[str],
    folder: Path,
    world: int,
    *,
    options: dict[str, Any],
    stop: int | None = None,
    state: Any = None,
) -> list[dict[str, Any]]:
    """Run `world` ranks together; what each of them reports."""
    folder.mkdir()
    processes = []
    for rank in range(world):
        job = {
            "rank": rank, "world": world, "files": files, "options": options, "stop": stop,
            "state": state, "meet": str(folder / "meet"), "report": str(folder / f"{rank}.json"),
        }  # fmt: skip
        path = folder / f"job{rank}.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        processes.append(
            subprocess.Popen([sys.executable, str(RANK), str(path)], stderr=subprocess.PIPE)
        )
    for process in processes:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors.decode()[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]


def ids(reports: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    return np.array([event for report in reports for batch in report["seen"] for event in batch])


def check_ranks(
    files: list[str], folder: Path, ranks: tuple[int, int], options: dict[str, Any]
) -> list[dict[str, Any]]:
    """Train a whole epoch, then again with a stop, and the rest on another number of ranks."""
    world, others = ranks
    whole = train(files, folder / "whole", world, options=options)
    np.testing.assert_array_equal(np.sort(ids(whole)), np.arange(EVENTS))
    assert len({len(report["seen"]) for report in whole}) == 1
    assert all(report["weights"] == whole[0]["weights"] for report in whole)

    before = train(files, folder / "before", world, options=options, stop=4)
    for one, other in zip(before, whole, strict=True):
        assert one["seen"] == other["seen"][:4]
    state = before[0]["state"]
    assert all(report["state"] == state for report in before)
    after = train(files, folder / "after", others, options=options, state=state)
    both = np.concatenate([ids(before), ids(after)])
    np.testing.assert_array_equal(np.sort(both), np.arange(EVENTS))
    return whole


@pytest.mark.long
def test_ranks_share_an_epoch_and_go_on_as_fewer(
    event_files: Callable[[str], list[list[str]]], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    whole = check_ranks(event_files("ttree")[0], tmp_path, (3, 2), POOL)
    decoded = [report["decoded"] for report in whole]
    # a cluster that ranks share is decoded by each of them: at most one at either end of a share
    assert sum(decoded) <= EVENTS + 2 * len(decoded) * CLUSTER
    assert max(decoded) <= EVENTS / 3 + 2 * CLUSTER


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"shuffle": True}], ids=["in order", "resident"])
@pytest.mark.parametrize("ranks", [(2, 3), (3, 1)])
def test_ranks_in_other_modes(
    ranks: tuple[int, int],
    options: dict[str, Any],
    event_files: Callable[[str], list[list[str]]],
    tmp_path: Path,
) -> None:
    pytest.importorskip("torch")
    check_ranks(event_files("ttree")[0], tmp_path, ranks, options)


# --- frameworks that start ranks themselves ---


def torchrun(world: int, *command: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a script as `world` ranks, as users do."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [*launcher, f"--nproc-per-node={world}", *map(str, command)],
        capture_output=True, text=True, timeout=200, check=False, **options,
    )  # fmt: skip


def run_framework(folder: Path, files: list[str], world: int = 2, **job: Any) -> Any:
    """What each rank saw: batches of ids."""
    folder.mkdir()
    job = {"files": files, "reports": str(folder), "prepare": "", **job}
    path = folder / "job"
    path.write_text(json.dumps(job), encoding="utf-8")
    done = torchrun(world, FRAMEWORKS, path)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]


def flat(seen: list[list[list[int]]]) -> np.ndarray[Any, Any]:
    return np.array([event for rank in seen for batch in rank for event in batch])


def test_accelerate(event_files: Callable[[str], list[list[str]]], tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    seen = run_framework(tmp_path / "a", event_files("ttree")[0], framework="accelerate")
    np.testing.assert_array_equal(np.sort(flat(seen)), np.arange(EVENTS))
    assert len(seen[0]) == len(seen[1])


@pytest.mark.slow
@pytest.mark.parametrize("prepare", ["whole", "shard"])
def test_a_loader_prepared_by_accelerate(
    event_files: Callable[[str], list[list[str]]], tmp_path: Path, prepare: str
) -> None:
    """accelerate would read on rank 0 for all: a shard loses events, the last batch gains some."""
    pytest.importorskip("accelerate")
    files = event_files("ttree")[0]
    job = {"files": files, "framework": "accelerate", "prepare": prepare, "reports": str(tmp_path)}
    (tmp_path / "job").write_text(json.dumps(job), encoding="utf-8")
    done = torchrun(2, FRAMEWORKS, tmp_path / "job")
    assert done.returncode
    assert "iterate over loader.shard(" in done.stderr


@pytest.mark.slow
def test_lightning_takes_its_shards_and_goes_on(
    event_files: Callable[[str], list[list[str]]], tmp_path: Path
) -> None:
    pytest.importorskip("lightning")
    files = event_files("ttree")[0]
    job: dict[str, Any] = {"framework": "lightning", "checkpoint": str(tmp_path / "checkpoint")}
    whole = run_framework(tmp_path / "whole", files, save_after=4, **job)
    np.testing.assert_array_equal(np.sort(flat(whole)), np.arange(EVENTS))
    assert len(whole[0]) == len(whole[1])
    for world in (1, 3):
        after = run_framework(tmp_path / f"on{world}", files, world, save_after=0, **job)
        both = np.concatenate([flat([rank[:4] for rank in whole]), flat(after)])
        np.testing.assert_array_equal(np.sort(both), np.arange(EVENTS))


def test_batches_left(events: Callable[[str], rootml.Dataset]) -> None:
    data = events("ttree").select(["x"])
    loader = data.batches(64, shuffle=True)
    assert loader.batches_left() == len(loader) == len(list(loader.numpy()))
    batches = iter(loader.numpy())
    for _ in range(5):
        next(batches)
    for world in (1, 2, 5):
        other = data.batches(64, shuffle=True).shard(0, world)
        other.load_state_dict(loader.state_dict())
        left = other.batches_left()
        assert left == len(list(other.numpy()))
        assert other.batches_left() == len(other)  # the epoch after it is whole


def test_ranks_without_shards_are_told(
    event_files: Callable[[str], list[list[str]]], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    script = f"""
import logging, os, sys, torch.distributed as dist, rootml
logging.basicConfig(stream=sys.stdout)
dist.init_process_group("gloo")
loader = rootml.open({event_files("ttree")[0]!r}, label=0).select(["x"]).batches(100)
for shard in (loader, loader.shard(dist.get_rank(), 2)):
    print("rows", sum(len(x) for x, _ in shard.torch()))
dist.destroy_process_group()
sys.stdout.flush()
os._exit(0)
"""
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    done = torchrun(2, tmp_path / "script.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("its loader is not sharded: each rank gets every event") == 2
    *halves, one, other = sorted(int(rows) for rows in re.findall(r"rows (\d+)", done.stdout))
    assert (sum(halves), one, other) == (EVENTS, EVENTS, EVENTS)


@pytest.mark.long
def test_the_tutorial(tmp_path: Path) -> None:
    """By itself on two ranks; then it goes on under torchrun on three."""
    pytest.importorskip("torch")
    environment = {
        **os.environ, "PYTHONPATH": str(TUTORIALS), "ROOTML_TUTORIALS": "small",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    options: Any = {"cwd": tmp_path, "env": environment}
    script = TUTORIALS / "train_distributed.py"
    first = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, **options
    )
    assert first.returncode == 0, first.stderr[-3000:]
    second = torchrun(3, script, **options)
    assert second.returncode == 0, second.stderr[-3000:]
    shown = re.findall(r"epoch (\d): .* validation loss ([0-9.]+)", first.stdout + second.stdout)
    assert [int(epoch) for epoch, _ in shown] == list(range(6))
    losses = [float(loss) for _, loss in shown]
    assert losses[-1] < losses[0]
