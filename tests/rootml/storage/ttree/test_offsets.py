"""Counts of lists from the offsets in baskets: the compiled loops and NumPy agree."""

from __future__ import annotations

import numpy as np
import pytest

from rootml._internal.machine_code import Kernel
from rootml.storage.ttree import _offsets
from rootml.storage.ttree._offsets import counts_of, same

ENTRIES = [0, 1, 15, 16, 17, 1003]


@pytest.fixture(params=["compiled", "NumPy"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "NumPy":
        monkeypatch.setattr(Kernel, "function", lambda *_: None)
    else:
        pytest.importorskip("llvmlite")
        for kernel in (_offsets._SAME, _offsets._COUNTS):
            monkeypatch.setattr(kernel, "_left", 0)


def edges_of(counts: np.ndarray, header: int, size: int) -> np.ndarray:
    ends = np.cumsum(header + size * counts)
    return (70 + np.concatenate([[0], ends])).astype(">i4")


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("header", [0, 10])
@pytest.mark.parametrize("entries", ENTRIES)
def test_counts_come_back(entries: int, header: int, size: int) -> None:
    counts = np.random.default_rng(1).integers(0, 9, entries)
    edges = edges_of(counts, header, size)
    found, total = counts_of(edges, header, size)
    assert found.dtype == np.int64
    assert np.array_equal(found, counts)
    assert total == counts.sum()
    if entries:
        for place in (0, entries // 2, entries - 1):
            wrong = edges.copy()
            wrong[place + 1 :] -= 1 if size > 1 else 9 * size + header  # not whole, or negative
            assert counts_of(wrong, header, size)[1] == -1
            wrong[place] = 2**31 - 1
            assert counts_of(wrong, header, size)[1] == -1


@pytest.mark.parametrize("entries", ENTRIES)
def test_any_difference_is_seen(entries: int) -> None:
    edges = edges_of(np.random.default_rng(2).integers(0, 9, entries), 0, 4)
    other = (edges + 13).astype(">i4")
    assert same(other, edges, 13)
    assert not same(other, edges, 12)
    assert not same(other, edges[:-1], 13)
    for place in range(0, len(edges), max(1, len(edges) // 9)):
        for change in (1, -(2**30)):
            changed = other.copy()
            changed[place] += change
            assert not same(changed, edges, 13)
