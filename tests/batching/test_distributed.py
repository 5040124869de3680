"""Real processes that train together over gloo: each event once, also when they go on as fewer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_files import CLUSTER, FILE_ROWS

RANK = Path(__file__).parents[1] / "support" / "training_rank.py"
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
