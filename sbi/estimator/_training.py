"""The training loop: streamed batches, signed weights, a held-out loss that says when to stop."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from rootml._internal.optional import optional_import
from rootml.errors import ConvergenceError
from rootml.sbi.estimator._network import Layers, layers_of, torch_network


@dataclass(frozen=True)
class Settings:
    """How to train; see `RatioEstimator`."""

    hidden: tuple[int, ...]
    activation: str
    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    seed: int
    loader: dict[str, Any]


@dataclass(frozen=True)
class History:
    """The losses of one network, per epoch.

    Attributes:
        train: Mean training loss while the network moved.
        held_out: Loss on held-out events at the end of each epoch.
        best: Number of the epoch whose network was kept, from 0.
    """

    train: tuple[float, ...]
    held_out: tuple[float, ...]
    best: int


@dataclass(frozen=True)
class TrainingTask:
    """What one network learns.

    Attributes:
        loss: ``loss(network, batch, torch, generator)``: sum of weighted losses, a tensor; its
            scale is such that an event weighs 1 in the mean.
        columns: Inputs of the network.
        outputs: Outputs of the network.
        from_zero: Let the network start as zero: it learns what is added to something else.
    """

    loss: Callable[[Any, Any, Any, Any], Any]
    columns: int
    outputs: int
    from_zero: bool = False


class Batches(Protocol):
    """What the loop needs of a loader: `rootml.batching.BatchLoader`, or pairs made of one."""

    @property
    def batch_size(self) -> int:
        """Events per batch."""
        ...

    def __len__(self) -> int: ...

    def iterate(self, *, epoch: int) -> Any:
        """The batches of an epoch, each with `num_rows`."""
        ...


def train_network(
    lesson: TrainingTask,
    train: Batches,
    held_out: Batches,
    settings: Settings,
    *,
    seed: int,
    show: Callable[[int, float], None],
) -> tuple[Layers, History]:
    """Train one network; the layers of the best epoch.

    The learning rate follows one cycle: up to its maximum within a third of the steps and down to
    nothing (Smith, Topin, arXiv 1708.07120), so that the last epochs average over batches.

    Args:
        show: Called after each batch with the number of steps so far and the loss.

    Raises:
        ConvergenceError: The loss is no finite number.
    """
    torch = optional_import("torch", feature="RatioEstimator.fit", extra="torch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = torch_network(
            torch, (lesson.columns, *settings.hidden, lesson.outputs), settings.activation
        )
    if lesson.from_zero:
        for values in network[-1].parameters():
            torch.nn.init.zeros_(values)
    draws = torch.Generator().manual_seed(seed + 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    steps = max(2, settings.epochs * len(train))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=steps + 1
    )
    losses: list[float] = []
    checks: list[float] = []
    best, kept = 0, layers_of(network)
    number = 0
    for epoch in range(settings.epochs):
        total = rows = 0.0
        for batch in train.iterate(epoch=epoch):
            loss = lesson.loss(network, batch, torch, draws)
            optimizer.zero_grad(set_to_none=True)
            (loss / train.batch_size).backward()
            optimizer.step()
            schedule.step()
            number += 1
            total, rows = total + float(loss.detach()), rows + batch.num_rows
            show(number, total / rows)
        losses.append(total / rows)
        checks.append(_held_out(lesson, network, held_out, torch, seed))
        if not (math.isfinite(losses[-1]) and math.isfinite(checks[-1])):
            message = (
                f"the loss of epoch {epoch} is {losses[-1]}, on held-out events {checks[-1]}: try "
                f"a smaller learning_rate than {settings.learning_rate}, and look for huge weights"
            )
            raise ConvergenceError(message)
        if checks[-1] <= min(checks):
            best, kept = epoch, layers_of(network)
        if epoch - best >= settings.patience:
            break
    return kept, History(tuple(losses), tuple(checks), best)


def _held_out(lesson: TrainingTask, network: Any, loader: Batches, torch: Any, seed: int) -> float:
    """The mean loss on held-out events, with the same random pairs in each epoch."""
    draws = torch.Generator().manual_seed(seed + 2)
    total = rows = 0.0
    with torch.no_grad():
        for batch in loader.iterate(epoch=0):
            total += float(lesson.loss(network, batch, torch, draws))
            rows += batch.num_rows
    return total / rows


def softmax_loss(scale: tuple[Any, Any], factors: Any) -> Callable[[Any, Any, Any, Any], Any]:
    """Cross entropy between classes of equal total weight; weights keep their signs.

    Args:
        scale: Means and widths of the inputs, `(inputs,)`.
        factors: `(classes,)`: what brings the weights of each class to the same sum.
    """
    mean, width = (np.asarray(values, np.float32) for values in scale)
    rising = np.asarray(factors, np.float64)

    def loss(network: Any, batch: Any, torch: Any, _: Any) -> Any:
        labels = batch.y.astype(np.int64)
        weights = rising[labels] if batch.w is None else rising[labels] * batch.w
        logits = network(torch.from_numpy((batch.x - mean) / width))
        each = torch.nn.functional.cross_entropy(
            logits, torch.from_numpy(labels), reduction="none"
        )
        return (each * torch.from_numpy(weights.astype(np.float32))).sum()

    return loss


def _silent(_step: int, _loss: float) -> None:
    """Show nothing."""


class ProgressDisplay:
    """A bar per network with its loss, on a terminal; silent where nobody watches."""

    def __init__(self, members: int, enabled: bool | None) -> None:
        self.members = members
        self.enabled = sys.stderr.isatty() if enabled is None else enabled
        self._bar: Any = None
        self._task: Any = None

    @contextlib.contextmanager
    def showing(self) -> Iterator[ProgressDisplay]:
        """Show while the block runs."""
        if not self.enabled:
            yield self
            return
        from rich import progress
        from rich.console import Console

        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TextColumn("loss {task.fields[loss]:.5f}"),
            progress.TimeRemainingColumn(),
        )
        with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            self._bar = bar
            yield self
        self._bar = None

    def member(self, number: int, steps: int) -> Callable[[int, float], None]:
        """What the training of a network calls after each step."""
        if self._bar is None:
            return _silent
        if self._task is not None:
            self._bar.remove_task(self._task)
        title = f"network {number + 1} of {self.members}"
        self._task = self._bar.add_task(title, total=steps, loss=math.nan)
        return lambda step, loss: self._bar.update(self._task, completed=step, loss=loss)
