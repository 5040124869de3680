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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.loss_display import LossDisplay
from rootml._internal.types import Float, Float32, Int
from rootml.dataset import Dataset
from rootml.sbi.estimator._assemble import Scale, network_graph
from rootml.sbi.estimator._loaders import balance, make_loader
from rootml.sbi.estimator._network import Layers
from rootml.sbi.estimator._samples import Density, check_sums, sums_of
from rootml.sbi.estimator._settings import TrainingSettings, plan_differences
from rootml.sbi.estimator._shape_decision import ShapeDecision
from rootml.sbi.estimator._shapes import HeldOutShape, Shape, decide_shape
from rootml.sbi.estimator._training import (
    History,
    TrainingTask,
    train_network,
)

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Differences:
    """What was learned about the variations of a process.

    Attributes:
        process: Name of the process.
        nuisances: Names of those whose shape was kept.
        layers: Of the networks of the ensemble; outputs are log(up / nominal), log(down / nominal)
            of each kept nuisance in turn.
        decisions: For all nuisances.
        histories: Losses of the networks.
    """

    process: str
    nuisances: tuple[str, ...]
    layers: tuple[Layers, ...]
    decisions: tuple[ShapeDecision, ...]
    histories: tuple[History, ...]


def learn_differences(
    densities: Sequence[Density],
    scale: Scale,
    settings: TrainingSettings,
    display: LossDisplay,
    *,
    number: int,
) -> Differences:
    """Train the networks of a process and decide which shapes to keep.

    Args:
        densities: The nominal density, then "up" and "down" of each nuisance.
        number: Of the process, for its seeds.
    """
    nuisances = [str(density.nuisance) for density in densities[1::2]]
    layers: list[Layers] = []
    histories: list[History] = []
    held: list[_HeldOut] = []
    for member in range(settings.ensemble):
        train, rest = _divided(densities, settings, member)
        network, history = _train(train, scale, settings, member, number, display)
        layers.append(network)
        histories.append(history)
        held.append(_evaluate(rest, network, scale, settings))
    shapes = [
        decide_shape(
            densities[0].process, nuisance, [h.shape(k) for h in held], before=settings.shapes
        )
        for k, nuisance in enumerate(nuisances)
    ]
    used = [k for k, shape in enumerate(shapes) if any(shape.shares)]
    return Differences(
        densities[0].process,
        tuple(nuisances[k] for k in used),
        tuple(_with_shares(each, shapes, used, m) for m, each in enumerate(layers)),
        tuple(shape.decision for shape in shapes),
        tuple(histories),
    )


def _divided(
    densities: Sequence[Density], settings: TrainingSettings, member: int
) -> tuple[Dataset, Dataset]:
    """Training events and held-out events of a member, labelled by the number of the density."""
    sides: list[list[Dataset]] = [[], []]
    fold = settings.fold(member)
    for label, density in enumerate(densities):
        folds = density.dataset.folds(settings.parts, by=settings.by, seed=settings.seed)
        for side, dataset, what in zip(sides, folds[fold], ("training", "decisions"), strict=True):
            check_sums(sums_of(dataset), f"the part of sample {density.name!r} for {what}")
            side.append(dataset.with_label(label))
    train, rest = (sum(side[1:], side[0]) for side in sides)
    return train, rest


def _train(
    dataset: Dataset,
    scale: Scale,
    settings: TrainingSettings,
    member: int,
    process: int,
    display: LossDisplay,
) -> tuple[Layers, History]:
    sums = list(dataset.scan().labels.values())
    nuisances = len(sums) // 2
    plan = plan_differences(
        settings, sum(s.count for s in sums), sum(s.effective for s in sums), nuisances
    )
    seed = settings.spawned_seed(2, process, member)
    loader = make_loader(dataset, settings, plan.batch_size, shuffle=True, seed=seed)
    task = TrainingTask(
        difference_loss((scale.mean, scale.width), balance(dataset)), len(scale.mean),
        2 * nuisances,
        from_zero=True,
    )  # fmt: skip
    try:
        show = display.start(
            f"shapes: network {member + 1} of {settings.ensemble}", plan.epochs * len(loader)
        )
        return train_network(
            task, loader, None, plan, learning_rate=settings.learning_rate,
            network=settings.hidden, activation=settings.activation, seed=seed, show=show,
        )  # fmt: skip
    finally:
        loader.close()


def difference_loss(
    scale: tuple[Float, Float], factors: Float
) -> Callable[[Any, Any, Any, Any], Any]:
    """Sum over the nuisances of the cross entropies between nominal, up and down.

    Outputs of the network are all odd parts, then all even parts.

    Args:
        scale: Means and widths of the inputs, `(inputs,)`.
        factors: Factors on the weights of each density: equal totals, `(densities,)`.
    """
    mean, width = (np.asarray(values, np.float32) for values in scale)

    def loss(network: Any, batch: Any, torch: Any, _: Any) -> Tensor:
        label = batch.y.astype(np.int64)
        weights = factors[label] if batch.w is None else factors[label] * batch.w
        outputs = network(torch.from_numpy((batch.x - mean) / width))
        w = torch.from_numpy(weights.astype(np.float32))
        nominal = torch.from_numpy(label == 0)
        odd, even = outputs[nominal].chunk(2, dim=1)
        value = (w[nominal, None] * _log_sum(torch, odd, even)).sum()
        side, nuisance = label[label > 0] % 2, (label[label > 0] - 1) // 2
        rows = torch.arange(len(side))
        odd, even = (
            part[rows, torch.from_numpy(nuisance)] for part in outputs[~nominal].chunk(2, dim=1)
        )
        own = even + torch.from_numpy(np.where(side == 1, 1.0, -1.0).astype(np.float32)) * odd
        total: Tensor = value + (w[~nominal] * (_log_sum(torch, odd, even) - own)).sum()
        return total

    return loss


def _log_sum(torch: Any, odd: Any, even: Any) -> Any:
    """log(1 + up + down)."""
    return torch.logsumexp(torch.stack([torch.zeros_like(odd), even + odd, even - odd]), dim=0)


@dataclass(frozen=True)
class _HeldOut:
    """Held-out events of a member.

    Attributes:
        nominal: Outputs for nominal events, `(events, 2, nuisances)`.
        variations: Odd and even part, each of its own nuisance, `(events, 2)`.
        label: Densities of the variations, `(events,)`.
        weights, ids: Of nominal events, and of the variations.
    """

    nominal: Float32
    variations: Float32
    label: Int
    weights: tuple[Float, Float]
    ids: tuple[Int, Int] | None

    def shape(self, nuisance: int) -> HeldOutShape:
        """The events that concern one nuisance."""
        mine = (self.label - 1) // 2 == nuisance
        parts = np.concatenate([self.nominal[:, :, nuisance], self.variations[mine]])
        label = np.concatenate(
            [np.zeros(len(self.nominal), np.int64), 1 + (self.label[mine] - 1) % 2]
        )
        ids = None
        if self.ids is not None:
            ids = np.concatenate([self.ids[0], self.ids[1][mine]])
        weights = np.concatenate([self.weights[0], self.weights[1][mine]])
        return HeldOutShape(parts.astype(np.float64), label, weights, ids)


def _evaluate(
    dataset: Dataset, layers: Layers, scale: Scale, settings: TrainingSettings
) -> _HeldOut:
    """Outputs of a network for events that it was not trained on."""
    graph = network_graph(scale, layers, settings.activation)
    loader = make_loader(dataset, settings, None, shuffle=False, ids=True)
    outputs, labels, weights, ids = [], [], [], []
    for batch in loader.iterate(epoch=0):
        assert isinstance(batch.x, np.ndarray)
        assert batch.y is not None
        label = batch.y.astype(np.int64)
        value = graph.run(["y"], x=batch.x)["y"].reshape(batch.num_rows, 2, -1)
        own = value[np.arange(len(label)), :, np.maximum(label - 1, 0) // 2]
        outputs.append((value[label == 0], own[label > 0]))
        labels.append(label)
        weights.append(np.ones(len(label)) if batch.w is None else batch.w.astype(np.float64))
        if batch.observers:
            ids.append(_identity(batch.observers))
    loader.close()
    label = np.concatenate(labels)
    nominal, variations = (np.concatenate(each) for each in zip(*outputs, strict=True))
    weight = np.concatenate(weights)
    found = None
    if ids:
        identity = np.concatenate(ids)
        found = (identity[label == 0], identity[label > 0])
    return _HeldOut(
        nominal, variations, label[label > 0], (weight[label == 0], weight[label > 0]), found
    )


def _identity(columns: Mapping[str, Any]) -> Int:
    """One number per event from the columns that identify it."""
    value = np.zeros(len(next(iter(columns.values()))), np.uint64)
    for column in columns.values():
        value = value * np.uint64(0x9E3779B97F4A7C15) + column.astype(np.int64).view(np.uint64)
        value ^= value >> np.uint64(31)
    return value.view(np.int64)


def _with_shares(
    layers: Layers, shapes: Sequence[Shape], used: Sequence[int], member: int
) -> Layers:
    """The layers with outputs log(up / nominal), log(down / nominal) of the kept nuisances."""
    mix = np.zeros((2 * len(shapes), 2 * len(used)))
    shift = np.zeros(2 * len(used))
    for column, k in enumerate(used):
        odd, even = shapes[k].shares
        mix[k, 2 * column], mix[k, 2 * column + 1] = odd, -odd
        mix[len(shapes) + k, 2 * column : 2 * column + 2] = even
        shift[2 * column : 2 * column + 2] = shapes[k].offsets[member]
    matrix, offset = layers[-1]
    return [*layers[:-1], (matrix @ mix, offset @ mix + shift)]
