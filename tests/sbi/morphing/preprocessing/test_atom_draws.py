"""Random numbers by event: known answers of Philox, and no dependence on order or partition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtri

from rootml.sbi.morphing.preprocessing._atom_draws import philox, poisson_one, uniforms
from rootml.sbi.morphing.preprocessing._normal import TAIL, normal_quantile

# Random123's kat_vectors: philox4x32 with 10 rounds
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_gives_the_authors_numbers(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    found = philox([np.array([word], np.uint64) for word in counter], key)
    assert tuple(int(word[0]) for word in found) == expected


def test_an_events_numbers_do_not_depend_on_its_neighbours() -> None:
    keys = np.random.default_rng(0).integers(0, 2**63, 1000).astype(np.uint64)
    every = uniforms(keys, 7, seed=3)
    order = np.random.default_rng(1).permutation(len(keys))
    assert np.array_equal(uniforms(keys[order], 7, seed=3), every[order])
    assert np.array_equal(uniforms(keys[400:401], 7, seed=3), every[400:401])
    assert np.array_equal(uniforms(keys, 3, seed=3), every[:, :3])


@pytest.mark.parametrize("keys", [np.arange(40_000), np.arange(40_000) << 32])
def test_numbers_are_uniform_and_independent(keys: np.ndarray) -> None:
    u = uniforms(keys.astype(np.uint64), 5, seed=11)
    assert u.min() > 0
    assert u.max() < 1
    for column in u.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    correlation = np.asarray(np.corrcoef(u.T))[np.triu_indices(5, 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(len(u))
    assert abs(np.asarray(np.corrcoef(u[1:, 0], u[:-1, 0]))[0, 1]) < 5 / np.sqrt(len(u))


def test_seeds_and_streams_differ() -> None:
    keys = np.arange(1000, dtype=np.uint64)
    one = uniforms(keys, 1, seed=0)
    assert not np.any(one == uniforms(keys, 1, seed=1))
    assert not np.any(one == uniforms(keys, 1, seed=0, stream=1))
    assert not np.any(one == uniforms(keys, 1, seed=2**32))


def test_bootstrap_weights_are_poisson() -> None:
    counts = poisson_one(np.arange(100_000, dtype=np.uint64), seed=5, member=2)
    observed = np.bincount(counts.astype(int), minlength=6)[:6]
    expected = stats.poisson(1).pmf(np.arange(6)) * len(counts)
    assert (((observed - expected) ** 2) / expected).sum() < stats.chi2(6).ppf(1 - 1e-5)


def test_normal_quantile_is_scipys() -> None:
    tails = 10.0 ** -np.linspace(0.5, -np.log10(TAIL), 500)
    u = np.concatenate([np.linspace(0.001, 0.999, 9999), tails, 1 - tails[:200]])
    np.testing.assert_allclose(normal_quantile(u), ndtri(u), rtol=1e-12, atol=1e-14)


def test_normal_quantile_is_finite_at_the_ends() -> None:
    found = normal_quantile(np.array([0.0, 1.0]))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, [ndtri(TAIL), -ndtri(TAIL)], rtol=1e-6)
