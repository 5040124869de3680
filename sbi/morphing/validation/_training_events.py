"""Recognises the events of a training: a sketch of their contents, a few kilobytes large.

Each row is hashed by its values; the smallest hashes are kept (a bottom-k sketch, Cohen 2016,
https://arxiv.org/abs/0706.3265). Of another sample, the rows whose hash is as small are compared
with them: the fraction that is found estimates the fraction of its rows that were trained on, with
an error below 1 / sqrt(k).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float

Hashes = npt.NDArray[np.uint64]
SIZE = 2048
_MIX = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_STEP = np.uint64(0x9E3779B97F4A7C15)


def row_hashes(*matrices: Float) -> Hashes:
    """A number of 64 bits for the values of each row of `(rows, columns)` matrices side by side.

    The mixing function is that of SplitMix64.
    """
    found = np.zeros(len(matrices[0]), np.uint64)
    for matrix in matrices:
        for column in matrix.T:
            # float32, so that what a file rounds is the same; -0 and 0 are
            bits = (column.astype(np.float32) + np.float32(0)).view(np.uint32)
            found = _mixed(found + _STEP + bits)
    return found


def _mixed(bits: Hashes) -> Hashes:
    for shift, factor in zip((30, 27), _MIX, strict=True):
        bits = (bits ^ (bits >> np.uint64(shift))) * factor
    return bits ^ (bits >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class Sketch:
    """The smallest hashes of a sample.

    Attributes:
        hashes: uint64, ascending, each once.
        unique: Fraction of the hashes that occur once in the sample: rows of whole numbers alone
            may be equal by chance.
    """

    hashes: Hashes
    unique: float

    @classmethod
    def of(cls, features: Float, conditions: Float) -> Sketch:
        """The sketch of rows."""
        hashes, counts = np.unique(row_hashes(features, conditions), return_counts=True)
        unique = float((counts == 1).sum() / counts.sum()) if len(counts) else 0.0
        return cls(hashes[:SIZE], unique)

    def known(self, features: Float, conditions: Float) -> float:
        """The fraction of the rows that are in the sample of the sketch.

        >>> rng = np.random.default_rng(0)
        >>> x, c = rng.normal(size=(5000, 2)), rng.normal(size=(5000, 1))
        >>> sketch = Sketch.of(x[:4000], c[:4000])
        >>> abs(sketch.known(x[3000:], c[3000:]) - 0.5) < 0.05
        True
        """
        hashes = row_hashes(features, conditions)
        if len(self.hashes) >= SIZE:
            hashes = hashes[hashes <= self.hashes[-1]]
        if not len(hashes):
            return 0.0
        return float(np.isin(hashes, self.hashes).mean())
