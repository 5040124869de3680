"""Uniform random numbers as a function of (seed, event, column): no state, no order.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011),
vectorised over events. The key is the seed, the counter the event and the block of four columns::

    counter = (event & 2**32-1, event >> 32, block, stream)     key = (seed & 2**32-1, seed >> 32)
    ten times:  product of counter[0] and of counter[2] with constants; halves are exchanged and
                mixed with counter[1], counter[3] and the key; the key is advanced
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float

Keys = npt.NDArray[np.uint64]

_MULTIPLY = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_ADVANCE = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ROUNDS = 10

ATOMS, VALIDATION, BOOTSTRAP, SAMPLE = range(4)
"""Streams: what the numbers are for."""


def philox(counter: Any, key: tuple[int, int]) -> tuple[Keys, Keys, Keys, Keys]:
    """Four words of 32 bits per counter, as uint64 arrays.

    Args:
        counter: Four uint64 arrays of one shape, or scalars, below 2**32.
        key: Two words.

    >>> [hex(int(word[0])) for word in philox([np.zeros(1, np.uint64)] * 4, (0, 0))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    k0, k1 = key
    for _ in range(_ROUNDS):
        first, second = c0 * _MULTIPLY[0], c2 * _MULTIPLY[1]
        c0, c1, c2, c3 = (
            (second >> _HALF) ^ c1 ^ np.uint64(k0),
            second & _LOW,
            (first >> _HALF) ^ c3 ^ np.uint64(k1),
            first & _LOW,
        )
        k0, k1 = (k0 + _ADVANCE[0]) & 0xFFFFFFFF, (k1 + _ADVANCE[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def uniforms(keys: Keys, columns: int, *, seed: int, stream: int = ATOMS) -> Float:
    """Numbers strictly between 0 and 1, `(events, columns)`.

    Args:
        keys: 64 bits per event, `(events,)`; equal ones get equal numbers.
        stream: What they are for; below 2**32. Different streams are independent.

    >>> keys = np.array([5, 6], np.uint64)
    >>> both = uniforms(keys, 3, seed=1)
    >>> np.array_equal(both[1:], uniforms(keys[1:], 3, seed=1))
    True
    """
    key = (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF)
    low, high = keys & _LOW, keys >> _HALF
    last = np.full(len(keys), stream, np.uint64)
    words: list[Keys] = []
    for block in range(-(-columns // 4)):
        words += philox((low, high, np.full(len(keys), block, np.uint64), last), key)
    result = np.empty((len(keys), columns))
    for column in range(columns):
        result[:, column] = words[column]
    result += 0.5
    result *= 2.0**-32
    return result


def poisson_one(keys: Keys, *, seed: int, member: int) -> Float:
    """Poisson numbers of mean 1 per event: the weights of a bootstrap."""
    u = uniforms(keys, 1, seed=seed, stream=BOOTSTRAP + 16 * (1 + member))[:, 0]
    return np.searchsorted(_POISSON, u, side="right").astype(np.float64)


_POISSON = np.cumsum(np.exp(-1.0) / np.cumprod(np.maximum(np.arange(24), 1.0)))
"""P(N <= k) for k = 0, 1, ...; beyond, the probability is below the spacing of the uniforms."""
