"""Events that networks were not trained on: their log ratios, on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rootml._internal.types import Array, Float, Int
from rootml.sbi.estimator.graph._calibration import Fitted, fit_curve
from rootml.sbi.estimator.graph._normalisation import bridge, class_weights
from rootml.sbi.estimator.inputs._disk_matrix import DiskMatrix
from rootml.sbi.estimator.inputs._settings import Calibrate


@dataclass(frozen=True)
class HeldOut:
    """Events that a network was not trained on.

    Attributes:
        log_ratio: `(events, targets)`, on disk.
        labels: Number of the density, `(events,)`.
        weights: `(events,)`.
    """

    log_ratio: DiskMatrix
    labels: Int
    weights: Float

    @classmethod
    def of(cls, chunks: Iterable[tuple[Array, Array, Float | None]], folder: Path) -> HeldOut:
        """From log ratios, labels and weights (None: 1) of chunks of events."""
        matrix, labels, weights = DiskMatrix(folder), [], []
        for log_ratio, label, weight in chunks:
            matrix.append(log_ratio)
            labels.append(label.astype(np.int32))
            weights.append(np.ones(len(label)) if weight is None else weight.astype(np.float64))
        return cls(matrix, np.concatenate(labels), np.concatenate(weights))

    def blocks(self) -> Iterator[tuple[Float, Int, Float]]:
        """Log ratios, labels and weights of blocks of events."""
        for start, values in self.log_ratio.blocks():
            part = slice(start, start + len(values))
            yield values, self.labels[part], self.weights[part]

    def remove(self) -> None:
        """Delete what is on disk."""
        self.log_ratio.remove()


def fit_curves(
    held: Sequence[HeldOut], targets: Sequence[int], reference: int, when: Calibrate, knots: int
) -> tuple[Fitted, ...]:
    """One calibration curve per ratio, from the held-out events of all networks.

    Args:
        targets: Numbers of the densities in the numerators.
        reference: Number of the density in the denominator.
    """
    fitted = []
    for column, target in enumerate(targets):
        values, numerator, weights = [], [], []
        for each in held:
            used = (each.labels == target) | (each.labels == reference)
            values.append(each.log_ratio.columns([column])[used, 0])
            numerator.append(each.labels[used] == target)
            weights.append(each.weights[used])
        fitted.append(
            fit_curve(
                np.concatenate(values), np.concatenate(numerator), np.concatenate(weights),
                knots=knots, when=when,
            )
        )  # fmt: skip
    return tuple(fitted)


def calibrated(held: HeldOut, fitted: Sequence[Fitted], folder: Path) -> HeldOut:
    """The same events with log ratios after calibration."""
    if all(each.curve.is_identity for each in fitted):
        return held
    chunks = (
        (np.stack([f.curve(values[:, j]) for j, f in enumerate(fitted)], axis=1), labels, weights)
        for values, labels, weights in held.blocks()
    )
    return HeldOut.of(chunks, folder)


def log_norms(held: HeldOut, reference: int, how: str) -> Float:
    """What to subtract from calibrated log ratios, `(targets,)`.

    Args:
        reference: Number of the density in the denominator.
        how: See `rootml.sbi.estimator.graph._normalisation`.
    """
    targets = held.log_ratio.shape[1]
    if how == "none":
        return np.zeros(targets)
    if how == "reference":
        return np.log(RatioMoments.of(held, np.zeros(targets), reference).mean)
    shares = class_weights(held.labels, held.weights, targets + 1)

    def blocks() -> Iterator[tuple[Float, Float]]:
        for start, values in held.log_ratio.blocks():
            full = np.insert(values, reference, 0.0, axis=1)
            yield full, shares[start : start + len(values)]

    return -np.delete(bridge(blocks, targets + 1, reference), reference)


def shared_events(held: HeldOut, norm: Float, reference: int) -> Float:
    """Events of the reference where the other density has events too, `(targets,)`.

    Effective events, each counted by r / (1 + r): all of them, by halves, for equal densities,
    none where the densities have no point in common.
    """
    total, squares = 0.0, 0.0
    shared = np.zeros(len(norm))
    for values, labels, weights in held.blocks():
        mine = labels == reference
        chance = 0.5 * (1.0 + np.tanh(0.5 * (values[mine] - norm)))
        total += float(weights[mine].sum())
        squares += float(np.square(weights[mine]).sum())
        shared += weights[mine] @ chance
    return np.asarray(shared * total / squares)


@dataclass(frozen=True)
class RatioMoments:
    """Weighted sums of ratios over events of the reference; those of several networks add up.

    Attributes:
        sums: Of w, w r, w^2, w^2 r, w^2 r^2; `(5, targets)`.
    """

    sums: Float

    @classmethod
    def of(cls, held: HeldOut, norm: Float, reference: int) -> RatioMoments:
        """Of the held-out events of one network."""
        total = np.zeros((5, len(norm)))
        for values, labels, weights in held.blocks():
            mine = labels == reference
            total += cls.of_ratios(np.exp(values[mine] - norm), weights[mine]).sums
        return cls(total)

    @classmethod
    def of_ratios(cls, ratio: Float, weights: Float) -> RatioMoments:
        """Of ratios `(events, targets)`."""
        ones = np.ones(ratio.shape[1])
        squares = np.square(weights)
        return cls(
            np.stack(
                [
                    weights.sum() * ones, weights @ ratio, squares.sum() * ones, squares @ ratio,
                    squares @ np.square(ratio),
                ]
            )
        )  # fmt: skip

    def __add__(self, other: RatioMoments) -> RatioMoments:
        return RatioMoments(self.sums + other.sums)

    @property
    def mean(self) -> Float:
        """The mean ratio, `(targets,)`."""
        return np.asarray(self.sums[1] / self.sums[0])

    @property
    def error(self) -> Float:
        """Its standard error."""
        mean = self.mean
        spread = self.sums[4] - 2.0 * mean * self.sums[3] + mean**2 * self.sums[2]
        return np.asarray(np.sqrt(np.maximum(spread, 0.0)) / np.abs(self.sums[0]))
