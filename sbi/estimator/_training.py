"""The training loop: streamed batches, signed weights, early stopping by a held-out loss."""

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
from rootml.sbi.estimator._settings import TrainingSettings


@dataclass(frozen=True)
class History:
    """The losses of one network, per epoch.

    Attributes:
        train: Mean training loss.
        held_out: Loss on held-out events at the end of each epoch.
        best: The epoch whose network was kept, from 0.
    """

    train: tuple[float, ...]
    held_out: tuple[float, ...]
    best: int


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

    def iterate(self, *, epoch: int) -> Any:
        """The batches of an epoch, each with `num_rows`."""
        ...


def train_network(
    task: TrainingTask,
    train: Batches,
    held_out: Batches,
    settings: TrainingSettings,
    *,
    seed: int,
    show: Callable[[int, float], None],
) -> tuple[Layers, History]:
    """Train one network and return the layers of the best epoch.

    The learning rate follows one cycle: it rises to its maximum in a third of the steps and falls
    to almost 0 (Smith, Topin, arXiv 1708.07120), so that the last epochs average over batches.

    Args:
        show: Called after each batch with the number of steps so far and the loss.

    Raises:
        ConvergenceError: The loss is not finite.
    """
    torch = optional_import("torch", feature="RatioEstimator.fit", extra="torch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = torch_network(
            torch, (task.columns, *settings.hidden, task.outputs), settings.activation
        )
    if task.from_zero:
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
            loss = task.loss(network, batch, torch, draws)
            optimizer.zero_grad(set_to_none=True)
            (loss / train.batch_size).backward()
            optimizer.step()
            schedule.step()
            number += 1
            total, rows = total + float(loss.detach()), rows + batch.num_rows
            show(number, total / rows)
        losses.append(total / rows)
        checks.append(_held_out(task, network, held_out, torch, seed))
        if not (math.isfinite(losses[-1]) and math.isfinite(checks[-1])):
            message = (
                f"the loss of epoch {epoch} is {losses[-1]}, on held-out events {checks[-1]}; try "
                f"a learning_rate below {settings.learning_rate}, and look for huge weights"
            )
            raise ConvergenceError(message)
        if checks[-1] <= min(checks):
            best, kept = epoch, layers_of(network)
        if epoch - best >= settings.patience:
            break
    return kept, History(tuple(losses), tuple(checks), best)


def _held_out(task: TrainingTask, network: Any, loader: Batches, torch: Any, seed: int) -> float:
    """The mean loss on held-out events, with the same random pairs in each epoch."""
    draws = torch.Generator().manual_seed(seed + 2)
    total = rows = 0.0
    with torch.no_grad():
        for batch in loader.iterate(epoch=0):
            total += float(task.loss(network, batch, torch, draws))
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

    def loss(network: Any, batch: Any, torch: Any, _: Any) -> Any:
        labels = batch.y.astype(np.int64)
        weights = factor[labels] if batch.w is None else factor[labels] * batch.w
        logits = network(torch.from_numpy((batch.x - mean) / width))
        each = torch.nn.functional.cross_entropy(
            logits, torch.from_numpy(labels), reduction="none"
        )
        return (each * torch.from_numpy(weights.astype(np.float32))).sum()

    return loss


def _silent(_step: int, _loss: float) -> None:
    """Show nothing."""


class ProgressDisplay:
    """A progress bar per network with its loss, on a terminal."""

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
        """A function that the training of a network calls after each step."""
        if self._bar is None:
            return _silent
        if self._task is not None:
            self._bar.remove_task(self._task)
        title = f"network {number + 1} of {self.members}"
        self._task = self._bar.add_task(title, total=steps, loss=math.nan)
        return lambda step, loss: self._bar.update(self._task, completed=step, loss=loss)
