"""How events are divided: held out once, bootstrapped by Poisson counts, the same in any order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from sbi_learned import write

import rootml
from rootml.sbi.estimator.inputs._samples import divide, poisson_copies, sums_of


def ids(dataset: rootml.Dataset) -> np.ndarray:
    """The ids of the selected events."""
    return np.asarray(dataset.select(["id"]).to_awkward()["id"])


@pytest.fixture
def data(tmp_path: Path) -> rootml.Dataset:
    number = np.arange(8000)
    return write(tmp_path / "data.parquet", {"id": number, "w": np.where(number % 5, 1.0, -0.5)})


@pytest.mark.parametrize("by", [None, "id"])
@pytest.mark.parametrize("folds", [2, 3])
def test_events_are_held_out_of_what_they_train(
    data: rootml.Dataset, folds: int, by: str | None
) -> None:
    every, held = np.arange(8000), []
    for fold in range(folds):
        parts = divide(data, folds, fold, by=by, seed=3)
        train, stop, rest = (ids(part) for part in (parts.train, parts.stop, parts.held))
        np.testing.assert_array_equal(np.sort(np.concatenate([train, rest])), every)
        assert np.isin(stop, rest).all()
        assert len(stop) == pytest.approx(0.3 * len(rest), rel=0.15)
        held.append(rest)
    np.testing.assert_array_equal(np.sort(np.concatenate(held)), every)


def test_copies_are_poisson_counts(data: rootml.Dataset) -> None:
    replica = poisson_copies(data.with_weight("w"), by="id", seed=7)
    counts = np.bincount(ids(replica), minlength=8000)
    observed = np.bincount(counts, minlength=6)[:6].astype(float)
    observed[5] += (counts > 5).sum()
    chance = scipy.stats.poisson.pmf(np.arange(6), 1.0)
    chance[5] = 1.0 - chance[:5].sum()
    assert scipy.stats.chisquare(observed, 8000 * chance).pvalue > 1e-3
    weight = np.where(np.arange(8000) % 5, 1.0, -0.5)
    assert sums_of(replica).sumw == pytest.approx((counts * weight).sum())
    again = np.bincount(ids(poisson_copies(data, by="id", seed=7)), minlength=8000)
    np.testing.assert_array_equal(again, counts)
    other = np.bincount(ids(poisson_copies(data, by="id", seed=107)), minlength=8000)
    assert abs(np.corrcoef(counts, other)[0, 1]) < 0.05


def test_counts_do_not_depend_on_the_selection(data: rootml.Dataset) -> None:
    """A skim gives the same counts for the events that it keeps."""
    full = np.bincount(ids(poisson_copies(data, by="id", seed=7)), minlength=8000)
    part = poisson_copies(data.filter("id % 2 == 1"), by="id", seed=7)
    counts = np.bincount(ids(part), minlength=8000)
    np.testing.assert_array_equal(counts[1::2], full[1::2])
    assert counts[::2].sum() == 0
