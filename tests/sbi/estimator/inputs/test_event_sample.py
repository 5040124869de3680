"""Some of many events: which ones does not depend on chunks, and all have the same chance."""

from __future__ import annotations

import numpy as np
import pytest

from rootml.sbi.estimator.inputs._event_sample import EventSample


def sampled(number: int, chunk: int, size: int) -> np.ndarray:
    sample = EventSample(size)
    x = np.arange(float(number))[:, None] * [1.0, -1.0]
    for start in range(0, number, chunk):
        sample.add(x[start : start + chunk])
    events, rows = sample.result()
    assert np.array_equal(rows, x[events])
    assert (np.diff(events) > 0).all()
    return events


@pytest.mark.parametrize("size", [1, 100, 999, 1000, 5000])
def test_chunks_do_not_matter(size: int) -> None:
    found = [sampled(1000, chunk, size) for chunk in (1, 7, 128, 1000)]
    assert len(found[0]) == min(size, 1000)
    assert all(np.array_equal(each, found[0]) for each in found)


def test_every_part_has_the_same_chance() -> None:
    counts = np.histogram(sampled(100_000, 16_384, 10_000), bins=10, range=(0, 100_000))[0]
    assert np.abs(counts - 1_000).max() < 5.0 * np.sqrt(1_000)
