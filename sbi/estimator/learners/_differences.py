"""Learning log(variation / nominal) of all nuisances of a process.

One network per member of the ensemble gives an odd and an even part for each nuisance::

    log(up / nominal)   = even + odd
    log(down / nominal) = even - odd

Its last layer starts at zero, so it learns only how variations differ from the nominal density.
Its loss is the sum over the nuisances of the cross entropies between (nominal, up, down) at equal
total weights. Hidden layers are shared: the cost is that of one pass over the events, however
many nuisances there are.

`_shapes` decides on held-out events which parts are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rootml._internal.loss_display import LossDisplay
from rootml._internal.types import Float, Float32, Int
from rootml.dataset import Dataset
from rootml.sbi.estimator.graph._assemble import Scale, network_graph
from rootml.sbi.estimator.graph._network import Layers
from rootml.sbi.estimator.inputs._disk_matrix import DiskMatrix
from rootml.sbi.estimator.inputs._loaders import balance, make_loader
from rootml.sbi.estimator.inputs._samples import Density, check_sums, sums_of
from rootml.sbi.estimator.inputs._settings import TrainingSettings, plan_differences
from rootml.sbi.estimator.inputs._shape_decision import ShapeDecision
from rootml.sbi.estimator.learners._shapes import HeldOutShape, Shape, decide_shape, fit_offsets
from rootml.sbi.estimator.training._training import (
    Trained,
    TrainingTask,
    networks_text,
    train_networks,
)


@dataclass(frozen=True)
class Differences:
    """What was learned about the variations of a process.

    Attributes:
        process: Name of the process.
        nuisances: Names of those whose shape was kept.
        layers: Of the networks of the ensemble; outputs are log(up / nominal), log(down / nominal)
            of each kept nuisance in turn.
        decisions: For all nuisances.
    """

    process: str
    nuisances: tuple[str, ...]
    layers: tuple[Layers, ...]
    decisions: tuple[ShapeDecision, ...]


def train_differences(
    densities: Sequence[Density],
    scale: Scale,
    settings: TrainingSettings,
    members: Sequence[int],
    display: LossDisplay,
    *,
    number: int,
) -> list[Trained]:
    """Train the networks of a process for members of one fold.

    Args:
        densities: The nominal density, then "up" and "down" of each nuisance.
        number: Of the process, for its seeds.
    """
    dataset, _ = _divided(densities, settings, settings.fold(members[0]))
    sums = list(dataset.scan().labels.values())
    nuisances = len(sums) // 2
    plan = plan_differences(
        settings, sum(s.count for s in sums), sum(s.effective for s in sums), nuisances
    )
    seeds = [settings.spawned_seed(2, number, member) for member in members]
    loader = make_loader(dataset, settings, plan.batch_size, shuffle=True, seed=seeds[0])
    task = difference_task(scale, balance(dataset))
    try:
        show = display.start(
            f"shapes: {networks_text(members, settings)}", plan.epochs * len(loader)
        )
        return train_networks(task, loader, None, plan, settings, seeds=seeds, show=show)
    finally:
        loader.close()


def decide_shapes(
    densities: Sequence[Density],
    networks: Sequence[Layers],
    scale: Scale,
    settings: TrainingSettings,
    folder: Path,
    marginal: Sequence[tuple[float, float]],
) -> Differences:
    """Decide on held-out events which shapes to keep.

    Each event decides once, so that the members beyond the number of folds do not count it again.

    Args:
        networks: Of all members.
        marginal: What single inputs tell of each nuisance, see `_marginals`.
        folder: For values of held-out events.
    """
    process = densities[0].process
    nuisances = [str(density.nuisance) for density in densities[1::2]]
    held = []
    for member, layers in enumerate(networks[: settings.parts]):
        _, rest = _divided(densities, settings, settings.fold(member))
        held.append(_evaluate(rest, layers, scale, settings, folder))
    shapes = [
        decide_shape(
            process, name, [h.shape(k) for h in held], marginal=marginal[k], before=settings.shapes
        )
        for k, name in enumerate(nuisances)
    ]
    used = [k for k, shape in enumerate(shapes) if any(shape.shares)]
    offsets = [[shapes[k].offsets[m] for k in used] for m in range(len(held))]
    for each in held:
        each.remove()
    for member in range(settings.parts, len(networks)):
        _, rest = _divided(densities, settings, settings.fold(member))
        more = _evaluate(rest, networks[member], scale, settings, folder)
        offsets.append([fit_offsets(more.shape(k), shapes[k].shares) for k in used])
        more.remove()
    return Differences(
        process,
        tuple(nuisances[k] for k in used),
        tuple(
            _with_shares(layers, shapes, used, offset)
            for layers, offset in zip(networks, offsets, strict=True)
        ),
        tuple(shape.decision for shape in shapes),
    )


def _divided(
    densities: Sequence[Density], settings: TrainingSettings, fold: int
) -> tuple[Dataset, Dataset]:
    """Training events and held-out events of a fold, labelled by the number of the density."""
    sides: list[list[Dataset]] = [[], []]
    for label, density in enumerate(densities):
        folds = density.dataset.folds(settings.parts, by=settings.by, seed=settings.seed)
        for side, dataset, what in zip(sides, folds[fold], ("training", "decisions"), strict=True):
            check_sums(sums_of(dataset), f"the part of sample {density.name!r} for {what}")
            side.append(dataset.with_label(label))
    train, rest = (sum(side[1:], side[0]) for side in sides)
    return train, rest


def difference_task(scale: Scale, factors: Float) -> TrainingTask:
    """Sum over the nuisances of the cross entropies between nominal, up and down.

    Outputs of the network are all odd parts, then all even parts.

    Args:
        scale: What the network sees of the inputs.
        factors: Factors on the weights of each density: equal totals, `(densities,)`.
    """

    def prepare(batch: Any, _: Any) -> tuple[Any, ...]:
        label = batch.y.astype(np.int64)
        weights = factors[label] if batch.w is None else factors[label] * batch.w
        nominal, varied = np.flatnonzero(label == 0), np.flatnonzero(label > 0)
        order = np.concatenate([nominal, varied])
        sign = np.where(label[varied] % 2 == 1, 1.0, -1.0).astype(np.float32)
        x = scale.scaled(batch.x[order])
        return x, weights.astype(np.float32)[order], sign, (label[varied] - 1) // 2

    def loss(network: Any, torch: Any, x: Any, w: Any, sign: Any, nuisance: Any) -> Any:
        outputs, first = network(x), len(x) - len(sign)
        odd, even = outputs[:first].chunk(2, dim=1)
        value = (w[:first, None] * _log_sum(torch, odd, even)).sum()
        odd, even = (
            part.gather(1, nuisance[:, None])[:, 0] for part in outputs[first:].chunk(2, dim=1)
        )
        own = even + sign * odd
        return value + (w[first:] * (_log_sum(torch, odd, even) - own)).sum()

    return TrainingTask(prepare, loss, scale.columns, len(factors) - 1, from_zero=True)


def _log_sum(torch: Any, odd: Any, even: Any) -> Any:
    """log(1 + up + down)."""
    return torch.logsumexp(torch.stack([torch.zeros_like(odd), even + odd, even - odd]), dim=0)


@dataclass(frozen=True)
class _HeldOut:
    """Held-out events of a member.

    Attributes:
        nominal: Outputs for nominal events, `(events, 2 nuisances)`, on disk.
        variations: Odd and even part, each of its own nuisance, `(events, 2)`.
        label: Densities of the variations, `(events,)`.
        weights, ids: Of nominal events, and of the variations.
    """

    nominal: DiskMatrix
    variations: Float32
    label: Int
    weights: tuple[Float, Float]
    ids: tuple[Int, Int] | None

    def shape(self, nuisance: int) -> HeldOutShape:
        """The events that concern one nuisance."""
        mine = (self.label - 1) // 2 == nuisance
        nominal = self.nominal.columns([nuisance, self.nominal.shape[1] // 2 + nuisance])
        parts = np.concatenate([nominal, self.variations[mine]])
        label = np.concatenate([np.zeros(len(nominal), np.int64), 1 + (self.label[mine] - 1) % 2])
        ids = None
        if self.ids is not None:
            ids = np.concatenate([self.ids[0], self.ids[1][mine]])
        weights = np.concatenate([self.weights[0], self.weights[1][mine]])
        return HeldOutShape(parts.astype(np.float64), label, weights, ids)

    def remove(self) -> None:
        """Delete what is on disk."""
        self.nominal.remove()


def _evaluate(
    dataset: Dataset, layers: Layers, scale: Scale, settings: TrainingSettings, folder: Path
) -> _HeldOut:
    """Outputs of a network for events that it was not trained on."""
    graph = network_graph(scale, layers, settings.activation)
    loader = make_loader(dataset, settings, None, shuffle=False, ids=True)
    nominal = DiskMatrix(folder)
    variations, labels, weights, ids = [], [], [], []
    for batch in loader.iterate(epoch=0):
        assert isinstance(batch.x, np.ndarray)
        assert batch.y is not None
        label = batch.y.astype(np.int64)
        value = graph.run(["y"], x=batch.x)["y"]
        nominal.append(value[label == 0])
        number = np.maximum(label - 1, 0) // 2
        own = value.reshape(len(label), 2, -1)[np.arange(len(label)), :, number]
        variations.append(own[label > 0])
        labels.append(label)
        weights.append(np.ones(len(label)) if batch.w is None else batch.w.astype(np.float64))
        if batch.observers:
            ids.append(_identity(batch.observers))
    loader.close()
    label, weight = np.concatenate(labels), np.concatenate(weights)
    found = None
    if ids:
        identity = np.concatenate(ids)
        found = (identity[label == 0], identity[label > 0])
    return _HeldOut(
        nominal, np.concatenate(variations), label[label > 0],
        (weight[label == 0], weight[label > 0]), found,
    )  # fmt: skip


def _identity(columns: Mapping[str, Any]) -> Int:
    """One number per event from the columns that identify it."""
    value = np.zeros(len(next(iter(columns.values()))), np.uint64)
    for column in columns.values():
        value = value * np.uint64(0x9E3779B97F4A7C15) + column.astype(np.int64).view(np.uint64)
        value ^= value >> np.uint64(31)
    return value.view(np.int64)


def _with_shares(
    layers: Layers, shapes: Sequence[Shape], used: Sequence[int], offsets: Sequence[Float]
) -> Layers:
    """The layers with outputs log(up / nominal), log(down / nominal) of the kept nuisances."""
    mix = np.zeros((2 * len(shapes), 2 * len(used)))
    shift = np.zeros(2 * len(used))
    for column, k in enumerate(used):
        odd, even = shapes[k].shares
        mix[k, 2 * column], mix[k, 2 * column + 1] = odd, -odd
        mix[len(shapes) + k, 2 * column : 2 * column + 2] = even
        shift[2 * column : 2 * column + 2] = offsets[column]
    matrix, offset = layers[-1]
    return [*layers[:-1], (matrix @ mix, offset @ mix + shift)]
