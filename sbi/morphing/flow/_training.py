"""Trains a flow on both domains by weighted maximum likelihood.

Rows are drawn in proportion to their absolute weight, half of them from each domain, and enter
with the sign of their weight. The z of atoms, which is left to chance, is drawn anew each time, so
it cannot be learned by heart. Adam with one cycle of the learning rate and decay of the networks'
matrices; a moving average of the parameters runs beside, and what is kept is whatever had the
least loss on the validation rows. What is drawn at a step follows from (seed, member, step) alone,
so a training that is taken up again from a checkpoint ends as if it had never stopped.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rootml.errors import ConvergenceError, StateError
from rootml.sbi.morphing.files._save import read_file, write_file
from rootml.sbi.morphing.flow._flow import Trainable
from rootml.sbi.morphing.flow._leaves import State, import_torch
from rootml.sbi.morphing.preprocessing._preprocess import Intervals

Array = npt.NDArray[np.float32]

_CHECKS = 20
_AVERAGE = 0.005
_CLIP = 5.0
_WARM_UP = 0.1
_CHUNK = 16_384
_BETAS, _SMALL = (0.9, 0.999), 1e-8
CHECKPOINT = "rootml morphing checkpoint"


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        steps, batch_size: Updates, and rows for each.
        learning_rate: At its highest.
        patience: Checks (20 in all) without improvement after which the training ends.
        decay: Of matrices: at each step they shrink by this times the learning rate.
    """

    steps: int = 6000
    batch_size: int = 1024
    learning_rate: float = 2e-3
    patience: int = 6
    decay: float = 0.1

    @property
    def interval(self) -> int:
        """Steps between checks."""
        return max(1, self.steps // _CHECKS)

    def rate(self, step: int) -> float:
        """The learning rate of a step: up and down again along cosines."""
        warm = max(1.0, _WARM_UP * self.steps)
        if step < warm:
            return self.learning_rate * (0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * step / warm)))
        share = (step - warm) / max(1.0, self.steps - warm)
        return self.learning_rate * (1e-4 + 0.5 * (1 + math.cos(math.pi * share)))


class LossRecord(NamedTuple):
    """Losses (negative log-likelihood per row) at a step; `train` is the mean since the last."""

    step: int
    train: float
    validation: float


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Rows of both domains.

    Attributes:
        z: float32 `(rows, features)`, Gaussianised.
        context: float32 `(rows, columns)`, with the switch.
        weights: float64 `(rows,)`, signed; those of each domain add up to 1/2.
        atoms: The z that are to be drawn anew at each step; None: none.
    """

    z: Array
    context: Array
    weights: npt.NDArray[np.float64]
    atoms: Intervals | None = None

    def fingerprint(self) -> str:
        """A hash of all of it."""
        digest = hashlib.sha256()
        for part in (self.z, self.context, self.weights):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


@dataclass
class _Progress:
    """Where a training is: everything that a checkpoint holds."""

    step: int = 0
    best: float = math.inf
    stale: int = 0
    history: list[LossRecord] = field(default_factory=list)
    kept: State = field(default_factory=dict)


class Trainer:
    """One training; `run` does it, from a checkpoint if there is one.

    Args:
        identity: Settings that a checkpoint has to agree with.
    """

    def __init__(
        self,
        flow: Trainable,
        train: TrainingRows,
        validation: TrainingRows,
        schedule: Schedule,
        *,
        seed: tuple[int, int],
        checkpoint: Path | None = None,
        identity: dict[str, Any] | None = None,
    ) -> None:
        self._torch = import_torch()
        self.flow, self.schedule = flow, schedule
        self._train, self._validation = train, validation
        self._seed, self._checkpoint = seed, checkpoint
        self._identity = {**(identity or {}), "steps": schedule.steps, "seed": list(seed)}
        self._identity |= {"batch_size": schedule.batch_size, "rate": schedule.learning_rate}
        self._identity["decay"] = schedule.decay
        self._leaves = flow.parameters()
        self._matrices = [leaf for leaf in self._leaves if leaf.ndim > 1]
        zeros = self._torch.zeros_like
        self._first = [zeros(leaf) for leaf in self._leaves]
        self._second = [zeros(leaf) for leaf in self._leaves]
        self._average = [leaf.detach().clone() for leaf in self._leaves]
        self._cumulated = np.cumsum(np.abs(train.weights))
        self._sign = np.sign(train.weights).astype(np.float32)
        self._now = _Progress()
        self._sum, self._count = 0.0, 0

    # --- the loop -----------------------------------------------------------------------------

    def run(self, report: Any) -> tuple[State, list[LossRecord]]:
        """Train; the best parameters and the losses.

        Args:
            report: Called with the step and the last losses.

        Raises:
            ConvergenceError: A loss that is not finite.
            StateError: The checkpoint belongs to another training.
        """
        if self._checkpoint is not None and self._checkpoint.exists():
            self._resume(self._checkpoint)
        now, schedule = self._now, self.schedule
        while now.step < schedule.steps and now.stale < schedule.patience:
            self._step(now.step)
            now.step += 1
            if now.step % schedule.interval == 0 or now.step == schedule.steps:
                self._check()
                if self._checkpoint is not None:
                    self._save(self._checkpoint)
            report(now.step, now.history[-1] if now.history else None)
        self.flow.load(now.kept)
        return now.kept, now.history

    def _step(self, step: int) -> None:
        torch = self._torch
        rng = self._rng(step)
        rows = self._draw(rng)
        drawn = self._train.z[rows]
        if self._train.atoms is not None:
            self._train.atoms.draw(drawn, rows, rng)
        z, context = torch.from_numpy(drawn), torch.from_numpy(self._train.context[rows])
        sign = torch.from_numpy(self._sign[rows])
        for leaf in self._leaves:
            leaf.grad = None
        loss = (sign * self.flow.loss(z, context)).mean()
        value = float(loss.detach())
        if not math.isfinite(value):
            message = (
                f"the loss is {value} at step {step:,} of {self.schedule.steps:,}; the learning "
                f"rate {self.schedule.learning_rate:g} may be too high"
            )
            raise ConvergenceError(message)
        loss.backward()
        self._sum, self._count = self._sum + value, self._count + 1
        with torch.no_grad():
            self._update(step)

    def _rng(self, step: int) -> np.random.Generator:
        key = hashlib.sha256(repr((*self._seed, step)).encode()).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))

    def _draw(self, rng: np.random.Generator) -> npt.NDArray[np.intp]:
        """Rows in proportion to their absolute weight, stratified."""
        size = self.schedule.batch_size
        at = (np.arange(size) + rng.random(size)) / size * self._cumulated[-1]
        found = np.searchsorted(self._cumulated, at, side="right")
        rows: npt.NDArray[np.intp] = np.minimum(found, len(self._cumulated) - 1)
        return rows

    def _update(self, step: int) -> None:
        """Adam with clipped gradients and decay of the matrices; the average of the parameters.

        Kingma, Ba: arXiv:1412.6980; Loshchilov, Hutter: arXiv:1711.05101.
        """
        torch = self._torch
        gradients = [leaf.grad for leaf in self._leaves]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        factor = float(min(1.0, _CLIP / (float(norm) + 1e-6)))
        torch._foreach_mul_(gradients, factor)
        torch._foreach_lerp_(self._first, gradients, 1 - _BETAS[0])
        torch._foreach_mul_(self._second, _BETAS[1])
        torch._foreach_addcmul_(self._second, gradients, gradients, 1 - _BETAS[1])
        correct = [1 - beta ** (step + 1) for beta in _BETAS]
        below = torch._foreach_sqrt(self._second)
        torch._foreach_div_(below, math.sqrt(correct[1]))
        torch._foreach_add_(below, _SMALL)
        rate = self.schedule.rate(step)
        torch._foreach_mul_(self._matrices, 1 - rate * self.schedule.decay)
        torch._foreach_addcdiv_(self._leaves, self._first, below, -rate / correct[0])
        torch._foreach_lerp_(self._average, self._leaves, _AVERAGE)

    # --- checks and checkpoints ---------------------------------------------------------------

    def _check(self) -> None:
        """Losses of the parameters and of their average; keep the better of them."""
        now, torch = self._now, self._torch
        before = now.best
        last = now.step == self.schedule.steps
        current = [leaf.detach().clone() for leaf in self._leaves]
        losses = []
        for values in (self._average, current) if last else (self._average,):
            with torch.no_grad():
                torch._foreach_copy_(self._leaves, values)
            losses.append(self._validate())
            if losses[-1] < now.best:
                now.best, now.kept = losses[-1], self.flow.state()
        with torch.no_grad():
            torch._foreach_copy_(self._leaves, current)
        now.stale = 0 if now.best < before else now.stale + 1
        now.history.append(LossRecord(now.step, self._sum / max(1, self._count), min(losses)))
        self._sum, self._count = 0.0, 0
        if not now.kept:
            message = f"the validation loss is {losses[0]} at step {now.step:,}"
            raise ConvergenceError(message)

    def _validate(self) -> float:
        torch, held = self._torch, self._validation
        total = 0.0
        with torch.no_grad():
            for start in range(0, len(held.z), _CHUNK):
                rows = slice(start, start + _CHUNK)
                z, context = (torch.from_numpy(part[rows]) for part in (held.z, held.context))
                loss = self.flow.loss(z, context).numpy()
                total += float((loss * held.weights[rows]).sum())
        return total / float(held.weights.sum())

    def _save(self, path: Path) -> None:
        now = self._now
        content = {
            "identity": self._identity,
            "step": now.step,
            "best": now.best,
            "stale": now.stale,
            "history": [list(check) for check in now.history],
        }
        arrays: dict[str, Any] = {f"kept.{name}": values for name, values in now.kept.items()}
        for name, tensors in self._groups().items():
            arrays |= {f"{name}.{k}": each.detach().numpy() for k, each in enumerate(tensors)}
        write_file(path, CHECKPOINT, content, arrays)

    def _groups(self) -> dict[str, list[Any]]:
        return {
            "leaves": self._leaves,
            "first": self._first,
            "second": self._second,
            "average": self._average,
        }

    def _resume(self, path: Path) -> None:
        content, arrays = read_file(path, CHECKPOINT)
        check_identity(path, content, self._identity)
        torch = self._torch
        with torch.no_grad():
            for name, tensors in self._groups().items():
                for k, each in enumerate(tensors):
                    each.copy_(torch.from_numpy(arrays[f"{name}.{k}"]))
        kept = {n[len("kept.") :]: v for n, v in arrays.items() if n.startswith("kept.")}
        history = [LossRecord(*each) for each in content["history"]]
        self._now = _Progress(content["step"], content["best"], content["stale"], history, kept)


@contextmanager
def one_thread() -> Iterator[None]:
    """For products so small that threads only wait for each other; and sums in one order."""
    torch = import_torch()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_identity(path: Path, content: Mapping[str, Any], identity: Any) -> None:
    """See that a checkpoint belongs to this training.

    Raises:
        StateError: It does not.
    """
    if content.get("identity") != identity:
        message = (
            f"{str(path)!r} is a checkpoint of another training (data, settings or seed "
            "differ); choose another folder for checkpoint=, or remove it"
        )
        raise StateError(message)


@contextmanager
def training_bar(what: str, steps: int, *, enabled: bool | None) -> Iterator[Any]:
    """A bar that shows steps and losses; yields a function of the step and the last losses."""
    if not (sys.stderr.isatty() if enabled is None else enabled):
        yield lambda _step, _check: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=steps)

        def report(step: int, check: LossRecord | None) -> None:
            text = what if check is None else f"{what}, loss {check.validation:.4f}"
            bar.update(task, completed=step, description=text)

        yield report
