"""The training loop: streamed batches, signed weights, early stopping by a held-out loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rootml._internal.optional import optional_import
from rootml.errors import ConvergenceError
from rootml.sbi.estimator._network import Layers, layers_of, torch_network
from rootml.sbi.estimator._settings import TrainingPlan, spawned_seed

if TYPE_CHECKING:
    from torch import Tensor


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
    """What one network learns.

    Attributes:
        loss: ``loss(network, batch, torch, generator)``: the sum of weighted losses, a tensor,
            with a mean weight of 1 per event.
        columns: Inputs of the network.
        outputs: Outputs of the network.
        from_zero: Start with an output of zero, for a correction to something else.
    """

    loss: Callable[[Any, Any, Any, Any], Any]
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

    def iterate(self, *, epoch: int) -> Any:  # batches of the kind that `Loss` takes
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


def train_network(
    task: TrainingTask,
    train: Batches,
    held_out: Batches | None,
    plan: TrainingPlan,
    *,
    learning_rate: float,
    network: Sequence[int],
    activation: str,
    seed: int,
    show: Callable[[int, float], None],
) -> tuple[Layers, History]:
    """Train one network and return the layers with the smallest held-out loss.

    When the held-out loss stops improving, the best network so far is trained on for a few steps,
    in which the learning rate falls to 0: no training ends at a large learning rate.

    Args:
        held_out: Events for early stopping; None: train to the end and return the last layers.
        network: Widths of the hidden layers.
        show: Called after each batch with the number of steps so far and the loss.

    Raises:
        ConvergenceError: The loss is not finite.
    """
    torch = optional_import("torch", feature="RatioEstimator.fit", extra="torch")
    model = _start(task, torch, network, activation, seed)
    loop = _Loop(task, model, torch, train.batch_size, seed)
    rate = LearningRate(learning_rate, plan.epochs * len(train))
    best, kept, finishing = 0, _copy(model), False
    losses: list[float] = []
    checks: list[float] = []
    for epoch in range(plan.epochs):
        losses.append(loop.epoch(train.iterate(epoch=epoch), rate, show))
        last = epoch + 1 == plan.epochs or loop.step >= rate.end
        if held_out is None or not (last or (epoch + 1) % plan.epochs_per_check == 0):
            _check_finite(losses[-1], losses[-1], epoch, learning_rate)
            continue
        checks.append(loop.held_out_loss(held_out))
        _check_finite(losses[-1], checks[-1], epoch, learning_rate)
        if checks[-1] <= min(checks):
            best, kept = len(checks) - 1, _copy(model)
        if last:
            break
        if not finishing and len(checks) - 1 - best >= plan.patience:
            finishing = True
            model.load_state_dict(kept)
            rate.finish(loop.step, max(len(train), round(COOL_DOWN * plan.epochs * len(train))))
    if held_out is not None:
        model.load_state_dict(kept)
    history = History(tuple(losses), tuple(checks), best, loop.step, train.batch_size)
    return layers_of(model), history


def _start(
    task: TrainingTask, torch: Any, hidden: Sequence[int], activation: str, seed: int
) -> Any:
    """The network before the first step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = torch_network(torch, (task.columns, *hidden, task.outputs), activation)
    if task.from_zero:
        for values in model[-1].parameters():
            torch.nn.init.zeros_(values)
    return model


def _copy(model: Any) -> dict[str, Any]:
    return {name: values.clone() for name, values in model.state_dict().items()}


def _check_finite(train: float, held_out: float, epoch: int, learning_rate: float) -> None:
    if math.isfinite(train) and math.isfinite(held_out):
        return
    message = (
        f"the loss of epoch {epoch} is {train}, on held-out events {held_out}; try a "
        f"learning_rate below {learning_rate}, and look for huge weights"
    )
    raise ConvergenceError(message)


class _Loop:
    """Steps of the optimiser, and the held-out loss."""

    def __init__(self, task: TrainingTask, model: Any, torch: Any, size: int, seed: int) -> None:
        self.step = 0
        self._task, self._model, self._torch = task, model, torch
        self._size, self._seed = size, seed
        self._draws = torch.Generator().manual_seed(spawned_seed(seed, 0))
        self._optimizer = torch.optim.Adam(model.parameters())

    def epoch(
        self, batches: Any, rate: Callable[[int], float], show: Callable[[int, float], None]
    ) -> float:
        """One pass over the data; the mean loss."""
        total = rows = 0.0
        for batch in batches:
            for group in self._optimizer.param_groups:
                group["lr"] = rate(self.step)
            loss = self._task.loss(self._model, batch, self._torch, self._draws)
            self._optimizer.zero_grad(set_to_none=True)
            (loss / self._size).backward()
            self._optimizer.step()
            self.step += 1
            total, rows = total + float(loss.detach()), rows + batch.num_rows
            show(self.step, total / rows)
        return total / rows

    def held_out_loss(self, loader: Batches) -> float:
        """The mean loss on held-out events, with the same random pairs at each check."""
        draws = self._torch.Generator().manual_seed(spawned_seed(self._seed, 1))
        total = rows = 0.0
        with self._torch.no_grad():
            for batch in loader.iterate(epoch=0):
                total += float(self._task.loss(self._model, batch, self._torch, draws))
                rows += batch.num_rows
        return total / rows


def softmax_loss(scale: tuple[Any, Any], factors: Any) -> Callable[[Any, Any, Any, Any], Any]:
    """Cross entropy between classes of equal total weight; weights keep their signs.

    Args:
        scale: Means and widths of the inputs, `(inputs,)`.
        factors: Factors on the weights of each class, `(classes,)`: see `balance`.
    """
    mean, width = (np.asarray(values, np.float32) for values in scale)
    factor = np.asarray(factors, np.float64)

    def loss(network: Any, batch: Any, torch: Any, _: Any) -> Tensor:
        labels = batch.y.astype(np.int64)
        weights = factor[labels] if batch.w is None else factor[labels] * batch.w
        logits = network(torch.from_numpy((batch.x - mean) / width))
        each = torch.nn.functional.cross_entropy(
            logits, torch.from_numpy(labels), reduction="none"
        )
        total: Tensor = (each * torch.from_numpy(weights.astype(np.float32))).sum()
        return total

    return loss
