"""Random streams keyed by what they decide, never by when or where it is decided.

Philox is counter-based: (seed, epoch) is the key, (purpose, index) selects a stretch of counters
that no other stream reaches, so every unit of data has its own permutation, whoever computes it.
Its first numbers seed SFC64, which then draws the permutations in half the time of Philox.
"""

from __future__ import annotations

import zlib
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

# NumPy's exact sampler refuses larger populations.
_EXACT_LIMIT = 1_000_000_000


class Purpose(IntEnum):
    """What a stream decides; part of the counter, so the values must never change."""

    UNIT = 1  # the permutation of the rows of one unit
    ORDER = 2  # the order of the units
    SHARD = 3  # how many rows of each source every shard gets
    SCHEDULE = 4  # which open units the rows of a block come from
    RESAMPLE = 5  # which rows are left out or repeated
    TRANSFORM = 7  # what a user's function does to a batch
    SPILL = 6  # which shard on disk a row goes to


def generator(seed: int, epoch: int, purpose: Purpose, index: int = 0) -> np.random.Generator:
    """The generator that decides `purpose` number `index` in this epoch."""
    counter = np.array([0, 0, index, int(purpose)], dtype=np.uint64)
    key = np.array([seed, epoch], dtype=np.uint64)
    words = np.random.Philox(key=key, counter=counter).random_raw(4)
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(words.tolist())))


def draw_counts(rng: np.random.Generator, population: Counts, size: int) -> Counts:
    """How many of `size` rows drawn without replacement come from each part of `population`.

    Exact (multivariate hypergeometric) below 1e9 rows; above, the parts get their expected share,
    rounded at random: the fluctuation that is lost is below 1e-4 of a part there.
    """
    total = int(population.sum())
    if size == total:
        return population.copy()
    if len(population) == 1:
        return np.array([size], dtype=np.int64)
    if total < _EXACT_LIMIT:
        return rng.multivariate_hypergeometric(population, size, method="marginals")
    expected = population.astype(np.float64) * (size / total)
    counts = np.minimum(np.floor(expected).astype(np.int64), population)
    while (missing := size - int(counts.sum())) > 0:
        room = population > counts
        picks = rng.multinomial(missing, room / room.sum())
        counts = np.minimum(counts + picks, population)
    return counts


@cache
def sampler_digest() -> int:
    """A checksum of what NumPy's generators give: states are only good where it agrees.

    NumPy may change its samplers between versions (NEP 19), which would silently change the order
    that a saved state counts on.
    """
    rng = generator(7, 1, Purpose.UNIT, 3)
    parts: list[npt.NDArray[Any]] = [
        rng.permutation(1000),
        draw_counts(rng, np.array([500, 3000, 70_000], dtype=np.int64), 999),
    ]
    return zlib.crc32(b"".join(part.astype(np.int64).tobytes() for part in parts))
