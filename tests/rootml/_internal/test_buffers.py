"""`Buffers`: which memory is used again, and what goes back to the system."""

from __future__ import annotations

import numpy as np

from rootml._internal.buffers import Buffers

MB = 1 << 20


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_a_smaller_array_takes_a_larger_buffer() -> None:
    buffers = Buffers(limit=64 * MB)
    large = buffers(8 * MB, np.uint8)
    place = address(large)
    del large
    small = buffers(3 * MB, np.uint8)
    assert address(small) == place
    assert buffers.idle == 0


def test_a_much_smaller_array_leaves_it_alone() -> None:
    buffers = Buffers(limit=64 * MB)
    del (large := [buffers(16 * MB, np.uint8)])[:]
    small = buffers(1 * MB, np.uint8)
    assert buffers.idle == 16 * MB
    assert small.nbytes == MB
    assert not large


def test_arrays_alive_together_share_no_memory() -> None:
    buffers = Buffers(limit=256 * MB)
    rng = np.random.default_rng(1)
    alive: list[tuple[int, np.ndarray]] = []
    for number in range(300):
        array = buffers(int(rng.integers(1, 4 * MB)), np.uint8)
        array[:] = number % 251
        alive.append((number % 251, array))
        if len(alive) > 8:
            alive.pop(int(rng.integers(len(alive))))
        assert all(np.all(array[:: 1 << 12] == value) for value, array in alive)


def test_what_was_not_used_for_long_goes_first() -> None:
    buffers = Buffers(limit=12 * MB)
    old, new = buffers(8 * MB, np.uint8), buffers(1 * MB, np.uint8)
    del old
    assert buffers.idle == 8 * MB
    del new
    another = buffers(6 * MB, np.uint8)  # lies in the old buffer, another of its size is made
    second = buffers(7 * MB, np.uint8)
    del another, second
    assert buffers.idle <= 12 * MB
