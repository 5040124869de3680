"""The training loop: streamed batches, signed weights, early stopping by a held-out loss."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from rootml._internal.devices import one_thread, torch_device
from rootml._internal.optional import optional_import
from rootml.errors import ConvergenceError
from rootml.sbi.estimator.graph._assemble import Scale
from rootml.sbi.estimator.graph._network import Layers, torch_network
from rootml.sbi.estimator.inputs._settings import TrainingPlan, TrainingSettings, spawned_seed
from rootml.sbi.estimator.training._feed import Feed, Prepare
from rootml.sbi.estimator.training._models import BatchedModel, Loss, Model, SingleModel


@dataclass(frozen=True)
class History:
    """The losses of one network.

    Attributes:
        train: Mean training loss of each epoch.
        held_out: Loss on held-out events at each check.
        best: The check after which the network was kept, from 0.
        steps: Number of steps of the optimiser.
        batch_size: Events per step.
    """

    train: tuple[float, ...]
    held_out: tuple[float, ...]
    best: int
    steps: int
    batch_size: int


@dataclass(frozen=True)
class TrainingTask:
    """What networks learn.

    Attributes:
        prepare: ``prepare(batch, draws)``: the arrays that the loss takes.
        loss: ``loss(network, torch, *tensors)``: the sum of weighted losses, a tensor, with a mean
            weight of 1 per event.
        columns: Inputs of the network.
        outputs: Outputs of the network.
        from_zero: Start with an output of zero, for a correction to something else.
    """

    prepare: Prepare
    loss: Loss
    columns: int
    outputs: int
    from_zero: bool = False


class Batches(Protocol):
    """What the loop needs: `rootml.batching.BatchLoader` or `PairLoader`."""

    @property
    def batch_size(self) -> int:
        """Events per batch."""
        ...

    def __len__(self) -> int: ...

    def iterate(self, *, epoch: int) -> Any:
        """The batches of an epoch, each with `num_rows`."""
        ...


class LearningRate:
    """Rises to its maximum in the first tenth of the steps, then falls to almost 0 as a cosine.

    `finish` shortens what remains: from the present value to almost 0 within a few more steps.
    The last steps average over batches (Smith, Topin, https://arxiv.org/abs/1708.07120).

    >>> rate = LearningRate(1.0, 100)
    >>> [round(rate(step), 3) for step in (0, 10, 55, 99)]
    [0.1, 1.0, 0.5, 0.0]
    """

    def __init__(self, maximum: float, steps: int) -> None:
        self.end = steps
        self._maximum = maximum
        self._warm = max(1, steps // 10)
        self._start = self._warm

    def __call__(self, step: int) -> float:
        """The learning rate of a step."""
        if step < self._warm:
            return self._maximum * (step + 1) / self._warm
        done = min(1.0, (step - self._start) / max(1, self.end - self._start))
        return self._maximum * 0.5 * (1.0 + math.cos(math.pi * done))

    def finish(self, step: int, steps: int) -> None:
        """Fall to almost 0 within `steps` more steps."""
        self._maximum, self._warm, self._start = self(step), 0, step
        self.end = min(self.end, step + steps)


COOL_DOWN = 0.15
"""Fraction of the planned steps in which the learning rate falls when the loss stops improving."""


@dataclass(frozen=True)
class Trained:
    """A trained network."""

    layers: Layers
    history: History


def train_networks(
    task: TrainingTask,
    train: Batches,
    held_out: Batches | None,
    plan: TrainingPlan,
    settings: TrainingSettings,
    *,
    seeds: Sequence[int],
    show: Callable[[int, float], None],
) -> list[Trained]:
    """Train networks with the same batches; of each the layers with the smallest held-out loss.

    When the held-out loss stops improving, the best network so far is trained on for a few steps,
    in which the learning rate falls to 0: no training ends at a large learning rate.

    Args:
        held_out: Events for early stopping; None: train to the end and return the last layers.
        seeds: One for each network.
        show: Called after each batch with the number of steps so far and the mean loss.

    Raises:
        ConvergenceError: The loss of a network is not finite.
        UsageError: No such device.
    """
    torch = optional_import("torch", feature="RatioEstimator.fit", extra="torch")
    with _threads(step_size(task, settings, plan.batch_size)):
        loop = _Loop(task, train, plan, settings, seeds, torch)
        for epoch in range(plan.epochs):
            loop.epoch(epoch, show)
            loop.check(epoch, held_out)
            if all(course.done for course in loop.courses):
                break
        return loop.trained(keep_best=held_out is not None)


def networks_text(members: Sequence[int], settings: TrainingSettings) -> str:
    """Which networks are trained, for a display: ``network 3 of 10``, ``networks 1, 6 of 10``."""
    numbers = ", ".join(str(member + 1) for member in members)
    return f"network{'s' if len(members) > 1 else ''} {numbers} of {settings.ensemble}"


SMALL_STEP = 5e8
"""Multiplications of a step up to which one thread is faster.

Threads of a matrix product wait for each other. Measured on two busy cores, time of a step with
two threads over that with one: 22 for 10^6 multiplications, 10 for 10^7, 6 for 4 x 10^7, 1.3 for
1.4 x 10^8, 1.5 for 6 x 10^8. Reading and mixing of events has threads of its own.
"""


def _threads(multiplications: float) -> contextlib.AbstractContextManager[None]:
    """One thread of torch for the products of small networks, its own number for large ones."""
    if multiplications > SMALL_STEP:
        return contextlib.nullcontext()
    return one_thread()


def step_size(task: TrainingTask, settings: TrainingSettings, batch_size: int) -> float:
    """Multiplications of a pass of one batch through a network."""
    widths = (task.columns, *settings.hidden, task.outputs)
    return float(batch_size) * sum(a * b for a, b in pairwise(widths))


class _Course:
    """The course of one network: its learning rate, losses, and best weights."""

    def __init__(self, rate: LearningRate, weights: Any) -> None:
        self.rate = rate
        self.kept = weights
        self.losses: list[float] = []
        self.checks: list[float] = []
        self.best = self.steps = 0
        self.finishing = self.done = False

    def history(self, batch_size: int) -> History:
        """For the record."""
        return History(tuple(self.losses), tuple(self.checks), self.best, self.steps, batch_size)


class _Loop:
    """Epochs and checks of networks that see the same batches."""

    def __init__(
        self, task: TrainingTask, train: Batches, plan: TrainingPlan, settings: TrainingSettings,
        seeds: Sequence[int], torch: Any,
    ) -> None:  # fmt: skip
        device = torch_device(settings.device or "cpu", feature="RatioEstimator.fit")
        networks = [_start(task, torch, settings, seed).to(device) for seed in seeds]
        self._model: Model = (
            BatchedModel(torch, networks)
            if settings.is_batched
            else SingleModel(torch, networks[0])
        )
        self._task, self._train, self._plan, self._torch = task, train, plan, torch
        self._maximum, self._seed = settings.learning_rate, seeds[0]
        self._feed = Feed(torch, device, task.prepare)
        self._draws = torch.Generator().manual_seed(spawned_seed(seeds[0], 0))
        self._step = 0
        total = plan.epochs * len(train)
        self.courses = [
            _Course(LearningRate(settings.learning_rate, total), self._model.copy(member))
            for member in range(len(seeds))
        ]

    def epoch(self, epoch: int, show: Callable[[int, float], None]) -> None:
        """One pass over the data."""
        total, rows = self._torch.zeros(len(self.courses)), 0
        size = self._train.batch_size
        batches = self._train.iterate(epoch=epoch)
        for tensors, number in self._feed.tensors(batches, self._draws):
            rates = [0.0 if c.done else c.rate(self._step) for c in self.courses]
            losses = self._model.losses(self._task.loss, tensors)
            self._model.update(losses / size, rates)
            self._step += 1
            rows += number
            total = total.to(losses.device, self._torch.float64) + losses.detach()
            if self._step % _STEPS_PER_REPORT == 0:
                show(self._step, float(total.mean()) / rows)
        for course, loss in zip(self.courses, (total / rows).tolist(), strict=True):
            if not course.done:
                course.losses.append(loss)
                course.steps = self._step

    def check(self, epoch: int, held_out: Batches | None) -> None:
        """Compare with held-out events, if it is time, and decide what follows."""
        planned = epoch + 1 == self._plan.epochs
        regular = (epoch + 1) % self._plan.epochs_per_check == 0
        last = [planned or self._step >= c.rate.end for c in self.courses]
        if held_out is None or not (regular or any(last)):
            for member, course in enumerate(self.courses):
                self._check_finite(member, course.losses[-1])
            return
        found = self._held_out_losses(held_out)
        for member, course in enumerate(self.courses):
            if course.done or not (regular or last[member]):
                continue
            self._check_finite(member, found[member])
            course.checks.append(found[member])
            if found[member] <= min(course.checks):
                course.best, course.kept = len(course.checks) - 1, self._model.copy(member)
            course.done = last[member]
            late = len(course.checks) - 1 - course.best >= self._plan.patience
            if late and not course.done and not course.finishing:
                self._finish(member)

    def _finish(self, member: int) -> None:
        """Go on from the best weights, with a learning rate that falls to 0 within a few steps."""
        course = self.courses[member]
        course.finishing = True
        self._model.restore(member, course.kept)
        epoch = len(self._train)
        course.rate.finish(self._step, max(epoch, round(COOL_DOWN * self._plan.epochs * epoch)))

    def _held_out_losses(self, loader: Batches) -> list[float]:
        """Mean losses on held-out events, with the same random pairs at each check."""
        draws = self._torch.Generator().manual_seed(spawned_seed(self._seed, 1))
        total, rows = self._torch.zeros(len(self.courses)), 0
        with self._torch.no_grad():
            for tensors, number in self._feed.tensors(loader.iterate(epoch=0), draws):
                losses = self._model.losses(self._task.loss, tensors)
                total = total.to(losses.device, self._torch.float64) + losses
                rows += number
        return [float(each) for each in (total / rows).tolist()]

    def _check_finite(self, member: int, held_out: float) -> None:
        train = self.courses[member].losses[-1]
        if math.isfinite(train) and math.isfinite(held_out):
            return
        which = f" of network {member + 1} of the {len(self.courses)} trained together"
        message = (
            f"the loss{which if len(self.courses) > 1 else ''} in epoch "
            f"{len(self.courses[member].losses) - 1} is {train}, on held-out events {held_out}; "
            f"try a learning_rate below {self._maximum}, and look for huge weights"
        )
        raise ConvergenceError(message)

    def trained(self, *, keep_best: bool) -> list[Trained]:
        """The networks."""
        found = []
        for member, course in enumerate(self.courses):
            if keep_best:
                self._model.restore(member, course.kept)
            layers = self._model.layers(member)
            found.append(Trained(layers, course.history(self._train.batch_size)))
        return found


_STEPS_PER_REPORT = 10


def _start(task: TrainingTask, torch: Any, settings: TrainingSettings, seed: int) -> Any:
    """A network before the first step."""
    widths = (task.columns, *settings.hidden, task.outputs)
    model = torch_network(torch, widths, settings.activation, seed)
    if task.from_zero:
        for values in model[-1].parameters():
            torch.nn.init.zeros_(values)
    return model


def softmax_task(scale: Scale, factors: Any) -> TrainingTask:
    """Cross entropy between classes of equal total weight; weights keep their signs.

    Args:
        scale: What the network sees of the inputs.
        factors: Factors on the weights of each class, `(classes,)`: see `balance`.
    """
    factor = np.asarray(factors, np.float64)

    def prepare(batch: Any, _: Any) -> tuple[Any, ...]:
        labels = batch.y.astype(np.int64)
        weights = factor[labels] if batch.w is None else factor[labels] * batch.w
        return scale.scaled(batch.x), labels, weights.astype(np.float32)

    def loss(network: Any, torch: Any, x: Any, labels: Any, weights: Any) -> Any:
        each = torch.nn.functional.cross_entropy(network(x), labels, reduction="none")
        return (each * weights).sum()

    return TrainingTask(prepare, loss, scale.columns, len(factor))
