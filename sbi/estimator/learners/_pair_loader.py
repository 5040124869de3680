"""Batches of events together with the parameters that they were generated at."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rootml._internal.types import Float
from rootml.batching import BatchLoader
from rootml.dataset import Dataset
from rootml.sbi.estimator.graph._assemble import Scale
from rootml.sbi.estimator.inputs._samples import sums_of


@dataclass(frozen=True)
class PairBatch:
    """Events with their parameters, and those of the reference.

    Attributes:
        x, theta, w: Scaled inputs and parameters, weights of mean 1.
        x_ref, w_ref: The same of the reference; without a reference, of the events themselves.
    """

    x: Float
    theta: Float
    w: Float
    x_ref: Float
    w_ref: Float

    @property
    def num_rows(self) -> int:
        """Number of events."""
        return len(self.x)


class PairLoader:
    """Batches of events and of the reference; the reference starts again when it ends."""

    def __init__(
        self, loader: BatchLoader, reference: BatchLoader | None, scales: tuple[Scale, Scale]
    ) -> None:
        self.loader = loader
        self.reference = reference
        self.batch_size = loader.batch_size
        self._scales = scales
        self._factors = [
            None if each is None else _factor(each.dataset) for each in (loader, reference)
        ]

    def __len__(self) -> int:
        return len(self.loader)

    def iterate(self, *, epoch: int) -> Generator[PairBatch, None, None]:
        """The batches of an epoch."""
        scale, theta_scale = self._scales
        others = self._references(epoch)
        for batch in self.loader.iterate(epoch=epoch):
            assert isinstance(batch.x, dict)
            x = _scaled(batch.x["x"], scale)
            theta = _scaled(batch.x["t"], theta_scale)
            w = _weights(batch, self._factors[0])
            x_ref, w_ref = (x, w) if others is None else next(others)
            yield PairBatch(x, theta, w, x_ref, w_ref)
        if others is not None:
            others.close()

    def _references(self, epoch: int) -> Generator[tuple[Float, Float], None, None] | None:
        if self.reference is None:
            return None
        return self._endless(self.reference, epoch)

    def _endless(
        self, reference: BatchLoader, epoch: int
    ) -> Generator[tuple[Float, Float], None, None]:
        number = 1000 * epoch
        while True:
            for batch in reference.iterate(epoch=number):
                assert isinstance(batch.x, dict)
                yield _scaled(batch.x["x"], self._scales[0]), _weights(batch, self._factors[1])
            number += 1

    def close(self) -> None:
        """Free what the loaders keep."""
        self.loader.close()
        if self.reference is not None:
            self.reference.close()


def _factor(dataset: Dataset) -> float:
    sums = sums_of(dataset)
    return sums.events / sums.sumw


def _scaled(values: Any, scale: Scale) -> Any:
    return ((values - scale.mean) / scale.width).astype(np.float32)


def _weights(batch: Any, factor: float | None) -> Any:
    if batch.w is None:
        return np.ones(batch.num_rows, np.float32)
    return (batch.w * factor).astype(np.float32)
