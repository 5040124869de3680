"""Events in blocks: what they hold; sums over float32 rows against NumPy in float64."""

from __future__ import annotations

import errno
import os
from typing import Any

import numpy as np
import pytest
from sbi_problems import many_nuisances

from rootml import sbi
from rootml.errors import NonFiniteError, UsageError
from rootml.sbi.likelihood import _store
from rootml.sbi.likelihood._store import Store

CODES = ("log-quadratic", "code0", "code1", "code4", "code5")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is float32."""
    monkeypatch.setattr(_store, "SINGLE", 0)


@pytest.mark.parametrize("events", [0, 1, 255, 256, 257, 40_000])
def test_blocks_hold_the_events(events: int) -> None:
    matrix = np.random.default_rng(0).normal(size=(3, events))
    store = Store.filled(lambda s: matrix[:, s], rows=3, events=events, double=True)
    np.testing.assert_array_equal(store.matrix(slice(None)), matrix)
    np.testing.assert_array_equal(store.first_rows(2), matrix[:2])
    chosen = np.random.default_rng(1).integers(0, max(events, 1), 700 if events else 0)
    np.testing.assert_array_equal(store.take(chosen).matrix(slice(None)), matrix[:, chosen])
    padding = store.blocks.transpose(1, 0, 2).reshape(3, -1)[:, events:]
    assert not padding.any()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("codes", [CODES, ("log-quadratic",)])
def test_float32_rows_move_the_minimum_by_nothing(codes: tuple[str, ...], weighted: bool) -> None:
    """Against float64 in NumPy: value, derivatives, and the minimum in standard deviations."""
    model, columns, reference = many_nuisances(
        5000, 6, codes=codes, weighted=weighted, reference=3000
    )
    ours = model.likelihood(columns, reference=reference)
    exact = model.likelihood(columns, reference=reference, engine="numpy")
    assert ours.unbinned is not None
    assert ours.unbinned.events.rows.single  # type: ignore[union-attr]
    theta = exact.start + 0.3
    value, gradient = ours.nll_gradient(theta)
    expected, rise = exact.nll_gradient(theta)
    assert value == pytest.approx(expected, abs=1e-3)
    np.testing.assert_allclose(gradient, rise, atol=1e-3)
    hessian = exact.nll_hessian(theta)
    np.testing.assert_allclose(ours.nll_hessian(theta), hessian, atol=1e-5 * hessian.max())
    found, best = sbi.fit(ours), sbi.fit(exact)
    sigma = np.array(list(best.errors.values()))
    assert found.valid
    assert np.abs((found.theta - best.theta) / sigma).max() < 1e-4
    assert np.array(list(found.errors.values())) == pytest.approx(sigma, rel=1e-4)


@pytest.mark.usefixtures("small")
def test_columns_are_made_of_float32_rows() -> None:
    model, columns, reference = many_nuisances(300, 5, codes=CODES, reference=400)
    like = model.likelihood(columns, reference=reference)
    for given, found in ((columns, like.columns), (reference, like.reference)):
        assert found is not None
        for (name, label, left), (*same, right) in zip(
            sbi.RatioColumns(given).arrays() if isinstance(given, dict) else given.arrays(),
            found.arrays(), strict=True,
        ):  # fmt: skip
            assert [name, label] == same
            np.testing.assert_allclose(right, left, rtol=1e-6)


@pytest.mark.parametrize("single", [False, True])
def test_threads_change_no_bit(single: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if single:
        monkeypatch.setattr(_store, "SINGLE", 0)
    model, columns, reference = many_nuisances(40_000, 2, codes=("code5",), reference=50_000)
    alone = model.likelihood(columns, reference=reference)
    many = model.likelihood(columns, reference=reference, threads=3)
    theta = alone.start + 0.2
    for name in ("nll", "nll_hessian"):
        np.testing.assert_array_equal(getattr(alone, name)(theta), getattr(many, name)(theta))
    np.testing.assert_array_equal(alone.nll_gradient(theta)[1], many.nll_gradient(theta)[1])
    with pytest.raises(UsageError, match="threads"):
        model.likelihood(columns, reference=reference, threads=0)


@pytest.mark.usefixtures("small")
def test_an_event_without_a_ratio_is_named_by_its_number() -> None:
    rng = np.random.default_rng(0)
    nominal, up = np.ones(30_000), rng.uniform(0.9, 1.1, 30_000)
    up[20_001] = -1.0
    model = sbi.Model({"B": "100"}, {}, {"tilt": sbi.Nuisance()})
    columns = {"B": {"nominal": nominal, "tilt": (up, nominal)}}
    with pytest.raises(NonFiniteError, match=r"1 of 30,000 events.*20001"):
        model.likelihood(columns, reference=columns)


def test_float32_columns_are_kept_and_read_as_float64() -> None:
    given = np.linspace(0.5, 2.0, 100, dtype=np.float32)
    columns = sbi.RatioColumns({"S": given, "B": {"nominal": given, "jes": (given, given)}})
    assert np.shares_memory(columns._store["S"]["nominal"], given)
    for _, _, array in columns.arrays():
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, given.astype(np.float64))
    assert columns["B"]["nominal"].dtype == columns["B"]["jes"][0].dtype == np.float64
    assert columns.take(np.arange(3)).ratio("S").tolist() == given[:3].astype(float).tolist()


def test_a_large_store_is_a_mapped_file(monkeypatch: pytest.MonkeyPatch) -> None:
    model, columns, reference = many_nuisances(2000, 2, codes=("code4",), reference=2000)
    plain = model.likelihood(columns, reference=reference)
    monkeypatch.setattr(_store, "MAPPED", 1000)
    mapped = model.likelihood(columns, reference=reference)
    assert mapped.unbinned is not None
    assert isinstance(mapped.unbinned.events.rows.blocks, np.memmap)  # type: ignore[union-attr]
    theta = plain.start + 0.1
    assert mapped.nll(theta) == plain.nll(theta)


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(_store, "MAPPED", 1000)
    model, columns, reference = many_nuisances(2000, 1, reference=100)
    with pytest.raises(UsageError, match=r"no room for .* GB .*No space left.*TMPDIR"):
        model.likelihood(columns, reference=reference)


def test_asimov_data_share_the_rows_of_the_reference() -> None:
    model, _, reference = many_nuisances(100, 2, reference=2000)
    like = sbi.asimov(model, reference)
    assert like.unbinned is not None
    assert like.unbinned.normaliser is not None
    assert like.unbinned.events.rows is like.unbinned.normaliser.events.rows
