"""The dense layer of a tile: against NumPy, for both sizes of registers."""

from __future__ import annotations

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from rootml.sbi.morphing.flow._lanes import LANES  # noqa: E402
from rootml.sbi.morphing.inference import _dense_tile  # noqa: E402 - needs numba
from rootml.sbi.morphing.inference._dense_tile import BLOCK, dense_block  # noqa: E402


@pytest.mark.parametrize(("rows", "vectors"), [(8, 2), (4, 1)])
@pytest.mark.parametrize("inputs", [1, 7, 64])
def test_a_block_is_the_product_of_numpy(
    rows: int, vectors: int, inputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_dense_tile, "_ROWS", rows)
    monkeypatch.setattr(_dense_tile, "_VECTORS", vectors)

    @numba.njit
    def layer(flat, bias, inputs, h, out):  # type: ignore[no-untyped-def]
        for j in range(0, len(out), BLOCK):
            dense_block(flat, j * inputs, bias + j, inputs, h, out, j)

    rng = np.random.default_rng(inputs)
    weights = rng.normal(size=(2, inputs, BLOCK)).astype(np.float32)
    biases = rng.normal(size=2 * BLOCK).astype(np.float32)
    h = rng.normal(size=(inputs + 3, LANES)).astype(np.float32)
    h[inputs:] = np.nan  # left there by another layer, not to be read
    out = np.full((2 * BLOCK, LANES), np.nan, np.float32)
    layer(np.concatenate([weights.ravel(), biases]), weights.size, inputs, h, out)
    matrix = weights.transpose(1, 0, 2).reshape(inputs, -1)
    expected = matrix.T.astype(float) @ h[:inputs] + biases[:, None]
    np.testing.assert_allclose(out, expected, rtol=0, atol=3e-6 * np.sqrt(inputs))
