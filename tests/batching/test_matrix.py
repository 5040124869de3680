"""Every selected event exactly once, with its own content: the full product of what can vary.

The oracle is the set of ids that Python selects, and the columns that follow from an id.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_files import FORMATS, NUM_EVENTS, check_epoch, columns_of, in_turn

import rootml
from rootml.batching import BatchLoader, Padded, Ragged

Events = Callable[[str], rootml.Dataset]

FILTERS: dict[str, tuple[str | None, Callable[[dict[str, Any]], Any]]] = {
    "all": (None, lambda c: np.ones(len(c["id"]), bool)),
    "flat": ("k > 1 && x < 1500", lambda c: (c["k"] > 1) & (c["x"] < 1500)),
    "jagged": ("Length$(jet) >= 2", lambda c: c["id"] % 4 >= 2),
}
MODES = ("sequential", "resident", "pool", "disk")
SPLITS = ("none", "train", "test", "fold")


@dataclass(frozen=True)
class Case:
    format: str
    filter: str
    mode: str
    split: str
    workers: int
    ranks: int
    seed: int

    def __str__(self) -> str:
        return "-".join(str(value) for value in self.__dict__.values())


AXES = {
    "format": FORMATS,
    "filter": tuple(FILTERS),
    "mode": MODES,
    "split": SPLITS,
    "workers": (0, 1, 3),
    "ranks": (1, 2, 5),
    "seed": (0, 7),
}


def product(axes: dict[str, Any]) -> list[Case]:
    """Every combination."""
    return [Case(*values) for values in itertools.product(*axes.values())]


def pairwise() -> list[Case]:
    """Few cases in which every pair of values of two axes occurs (greedy)."""
    everything = product(AXES)
    names = list(AXES)
    pairs_of = {
        case: {
            (a, getattr(case, a), b, getattr(case, b)) for a, b in itertools.combinations(names, 2)
        }
        for case in everything
    }
    missing = set().union(*pairs_of.values())
    chosen = []
    while missing:
        best = max(everything, key=lambda case: len(pairs_of[case] & missing))
        chosen.append(best)
        missing -= pairs_of[best]
    return chosen


def selected(name: str) -> np.ndarray[Any, Any]:
    """The ids that a filter selects, by NumPy alone."""
    ids = np.arange(NUM_EVENTS, dtype=np.int64)
    mask: np.ndarray[Any, Any] = np.asarray(FILTERS[name][1](columns_of(ids)))
    chosen: np.ndarray[Any, Any] = ids[mask]
    return chosen


def datasets(case: Case, events: Events) -> tuple[rootml.Dataset, list[rootml.Dataset]]:
    """The dataset of a case, and those that together with it hold every selected event once."""
    data = events(case.format)
    text = FILTERS[case.filter][0]
    if text is not None:
        data = data.filter(text)
    data = data.select(["x", "y", "k", "jet", "tag", "id"])
    if case.split == "none":
        return data, []
    if case.split == "fold":
        folds = [test for _, test in data.folds(3, by="id")]
        return folds[0], folds[1:]
    train, test = data.split(test=0.3, by="id")
    return (train, [test]) if case.split == "train" else (test, [train])


def options(case: Case, cache: Path) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "inputs": {
            "event": ["x", "y", "k"],
            "jets": Padded(["jet", "tag"], length=2, value=-1),
            "all jets": Ragged(["jet", "tag"]),
        },
        "observers": ["id"],
        "seed": case.seed,
        "unit_bytes": 12_000,
    }
    if case.mode != "sequential":
        chosen["shuffle"] = True
    if case.mode in {"pool", "disk"}:
        chosen["buffer_bytes"] = 150_000 * max(1, case.workers)
    if case.mode == "disk":
        chosen["cache"] = cache
    return chosen


def one_epoch(loader: BatchLoader, case: Case, epoch: int) -> list[list[np.ndarray[Any, Any]]]:
    """The batches of every rank, as ids."""
    ranks = []
    for rank in range(case.ranks):
        shard = loader.shard(rank, case.ranks) if case.ranks > 1 else loader
        count = max(1, case.workers)
        workers = [
            check_epoch(shard.iterate(epoch=epoch, worker=worker, workers=count)).batches
            for worker in range(count)
        ]
        ranks.append(in_turn(workers))
        assert len(ranks[-1]) == len(shard)
    return ranks


def check_case(case: Case, events: Events, cache: Path) -> None:
    data, others = datasets(case, events)
    expected = selected(case.filter)
    loader = data.batches(64, **options(case, cache))
    orders = []
    for epoch in (0, 1, 3):
        ranks = one_epoch(loader, case, epoch)
        assert len({len(batches) for batches in ranks}) == 1
        ids = np.concatenate([batch for batches in ranks for batch in batches])
        orders.append(ids)
        assert len(np.unique(ids)) == len(ids)
    for ids in orders[1:]:
        np.testing.assert_array_equal(np.sort(ids), np.sort(orders[0]))
        assert np.array_equal(ids, orders[0]) == (case.mode == "sequential")
    rest = [
        check_epoch(other.batches(64, **options(case, cache)).iterate()).ids for other in others
    ]
    np.testing.assert_array_equal(np.sort(np.concatenate([orders[0], *rest])), expected)
    again = one_epoch(data.batches(64, **options(case, cache)), case, 1)
    np.testing.assert_array_equal(np.concatenate([np.concatenate(r) for r in again]), orders[1])
    loader.close()
    assert not list(cache.glob("*"))


@pytest.mark.parametrize("case", pairwise(), ids=str)
def test_every_event_once(case: Case, events: Events, tmp_path: Path) -> None:
    check_case(case, events, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("mode", MODES)
def test_every_event_once_full_product(
    format_: str, mode: str, events: Events, tmp_path: Path
) -> None:
    for case in product({**AXES, "format": (format_,), "mode": (mode,)}):
        check_case(case, events, tmp_path)
