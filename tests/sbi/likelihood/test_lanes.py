"""Eight numbers at a time, beside NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rootml.sbi.likelihood._jit import jit
from rootml.sbi.likelihood._lanes import (
    FETCHED,
    LANES,
    added,
    fetch,
    load,
    spread,
    store,
    total,
)


@jit
def scaled(out: Any, row: Any, factor: float) -> float:
    """``out = factor * row``; the sum of it."""
    found = spread(0.0)
    for i in range(0, len(row), FETCHED):
        fetch(row, i)
        for k in range(i, i + FETCHED, LANES):
            mine = added(spread(0.0), spread(factor), load(row, k))
            store(out, k, mine)
            found = added(found, mine, spread(1.0))
    return total(found)  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_lanes(kind: type) -> None:
    numbers: npt.NDArray[Any] = np.random.default_rng(0).normal(size=5 * FETCHED + 1).astype(kind)
    numbers[[3, 20]] = 0.0, 1e-30
    row = numbers[1:]  # not aligned to a vector
    out = np.full(len(row), np.nan)
    whole = scaled(out, row, 3.0)
    np.testing.assert_array_equal(out, 3.0 * row.astype(np.float64))
    assert whole == pytest.approx(out.sum(), rel=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 7, 8, 4 * FETCHED - 1])
def test_what_is_not_finite_stays(bad: float, place: int) -> None:
    row = np.ones(4 * FETCHED, np.float32)
    row[place] = bad
    out = np.empty(len(row))
    whole = scaled(out, row, 2.0)
    np.testing.assert_array_equal(out, 2.0 * row)
    np.testing.assert_equal(whole, bad)
