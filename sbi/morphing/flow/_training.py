"""Trains a flow on both domains by weighted maximum likelihood.

Rows are drawn in proportion to their absolute weight, half of them from each domain, and enter
with the sign of their weight. The z of atoms, which is left to chance, is drawn anew each time, so
it cannot be learned by heart. Adam with one cycle of the learning rate and decay of the networks'
weights, all but those of the switch between domains: their difference is what is to be learned. A
moving average of the parameters runs beside, and what is kept is whatever had the smallest loss on
the validation rows. If that loss stops falling, the rate is annealed early: a training never ends
at a high learning rate. What is drawn at a step follows from (seed, member, step) alone, so a
training that continues from a checkpoint ends as if it had never stopped.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rootml._internal.loss_display import Report
from rootml._internal.types import Float32
from rootml.errors import ConvergenceError, StateError
from rootml.sbi.morphing.files._save import read_file, write_file
from rootml.sbi.morphing.flow._flow import Trainable
from rootml.sbi.morphing.flow._leaves import State, import_torch
from rootml.sbi.morphing.flow._optimiser import Optimiser
from rootml.sbi.morphing.preprocessing._preprocess import Intervals, part

_CHECKS = 20
_ANNEALING_CHECKS = 5
_STEPS_PER_ROOT, _STEPS, _LOG_BATCH, _PATIENCE = 6.0, (200, 6000), (8, 10), 6
_FEW_STEPS_PER_ROOT, _FEW_STEPS = 14.0, 1000
_EVENTS_TIMES_DECAY, _DECAY = 5000.0, (0.1, 1.0)
_TRAINING_CHECK_ROWS = 10_000
_WARM_UP = 0.1
_CHUNK = 16_384
CHECKPOINT = "rootml morphing checkpoint"


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        steps, batch_size: Updates, and rows for each.
        learning_rate: At its highest.
        patience: Checks (20 in all) without improvement after which the learning rate is
            annealed within the next five checks, and the training ends.
        decay: At each step the weights shrink by this times the learning rate.
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

    @property
    def warm_up(self) -> float:
        """Steps in which the learning rate rises."""
        return max(1.0, _WARM_UP * self.steps)

    def rate(self, step: int, annealed_from: int | None = None) -> float:
        """The learning rate of a step: up and down again along cosines.

        Args:
            annealed_from: The step at which an early end began; None: there was none.
        """
        if annealed_from is not None and step >= annealed_from:
            share = (step - annealed_from) / max(1, self.end(annealed_from) - annealed_from)
            return self.rate(annealed_from) * (1e-4 + 0.5 * (1 + math.cos(math.pi * share)))
        if step < self.warm_up:
            rising = 0.5 * (1 - math.cos(math.pi * step / self.warm_up))
            return self.learning_rate * (0.04 + 0.96 * rising)
        share = (step - self.warm_up) / max(1.0, self.steps - self.warm_up)
        return self.learning_rate * (1e-4 + 0.5 * (1 + math.cos(math.pi * share)))

    def end(self, annealed_from: int | None) -> int:
        """The number of steps, of a training whose early end began at `annealed_from`."""
        if annealed_from is None:
            return self.steps
        return min(self.steps, annealed_from + _ANNEALING_CHECKS * self.interval)


@dataclass(frozen=True, slots=True)
class ScheduleOptions:
    """What the user chose of a `Schedule`; None: it follows from the number of events."""

    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float = 2e-3
    patience: int | None = None

    def resolve(self, events: float) -> Schedule:
        """The schedule for so many effective events of the smaller domain.

        The steps grow as the root of the events: few events repeated often are learned by heart,
        and many need no more passes. Measured: 1,800 steps are as good as 6,000 at 100,000 events.
        Below 40,000 events the weights decay faster, and more passes do good.

        >>> ScheduleOptions().resolve(100_000)
        Schedule(steps=1897, batch_size=1024, learning_rate=0.002, patience=6, decay=0.1)
        """
        steps, batch = self.steps, self.batch_size
        if steps is None:
            few = min(_FEW_STEPS_PER_ROOT * math.sqrt(events), _FEW_STEPS)
            steps = int(np.clip(max(few, _STEPS_PER_ROOT * math.sqrt(events)), *_STEPS))
        if batch is None:
            batch = int(2 ** np.clip(round(math.log2(max(events, 1) / 20)), *_LOG_BATCH))
        decay = float(np.clip(_EVENTS_TIMES_DECAY / max(events, 1), *_DECAY))
        return Schedule(steps, batch, self.learning_rate, self.patience or _PATIENCE, decay)


class LossRecord(NamedTuple):
    """Losses (negative log-likelihood per row) at a step, of the same parameters.

    `train` is that of (at most 10,000) rows of the training, `validation` that of held-out rows.
    """

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

    z: Float32
    context: Float32
    weights: npt.NDArray[np.float64]
    atoms: Intervals | None = None

    def subsample(self, limit: int) -> TrainingRows:
        """At most so many rows, evenly spaced; more if their weights add up to nothing."""
        rows = np.linspace(0, len(self.z) - 1, min(limit, len(self.z))).astype(np.intp)
        if not self.weights[rows].sum() > 0:
            return self
        return TrainingRows(self.z[rows], self.context[rows], self.weights[rows])

    def fingerprint(self) -> str:
        """A hash of all of it."""
        digest = hashlib.sha256()
        for array in (self.z, self.context, self.weights):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@dataclass
class _Progress:
    """Where a training is: everything that a checkpoint holds."""

    step: int = 0
    best: float = math.inf
    best_step: int = 0
    stale: int = 0
    annealed_from: int | None = None
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
        self._optimiser = Optimiser(flow.parameters(), flow.decayed)
        self._cumulated = np.cumsum(np.abs(train.weights))
        self._sign = np.sign(train.weights).astype(np.float32)
        self._train_check = train.subsample(min(len(validation.z), _TRAINING_CHECK_ROWS))
        self._now = _Progress()

    # --- the loop -----------------------------------------------------------------------------

    def run(self, report: Report) -> tuple[State, list[LossRecord]]:
        """Train; the best parameters and the losses.

        Args:
            report: Called with the step and the last validation loss.

        Raises:
            ConvergenceError: A loss that is not finite.
            StateError: The checkpoint belongs to another training.
        """
        if self._checkpoint is not None and self._checkpoint.exists():
            self._resume(self._checkpoint)
        now, schedule = self._now, self.schedule
        while now.step < schedule.end(now.annealed_from):
            self._step(now.step)
            now.step += 1
            if now.step % schedule.interval == 0 or now.step == schedule.end(now.annealed_from):
                self._check()
                if now.annealed_from is None and now.stale >= schedule.patience:
                    now.annealed_from = now.step
                if self._checkpoint is not None:
                    self._save(self._checkpoint)
            report(now.step, now.history[-1].validation if now.history else math.nan)
        self.flow.load(now.kept)
        return now.kept, now.history

    @property
    def best_step(self) -> int:
        """The step of the smallest validation loss, whose parameters were kept."""
        return self._now.best_step

    @property
    def best_in_warm_up(self) -> bool:
        """Whether the smallest validation loss came before the highest learning rate."""
        return 0 < self._now.best_step < self.schedule.warm_up

    def _step(self, step: int) -> None:
        rng = self._rng(step)
        rows = self._draw(rng)
        drawn = self._train.z[rows]
        if self._train.atoms is not None:
            self._train.atoms.draw(drawn, rows, rng)
        z, context, sign = self._tensors(drawn, self._train.context[rows], self._sign[rows])
        self._optimiser.begin()
        loss = (sign * self.flow.loss(z, context)).mean()
        value = float(loss.detach())
        if not math.isfinite(value):
            message = (
                f"the loss is {value} at step {step:,} of {self.schedule.steps:,}; the learning "
                f"rate {self.schedule.learning_rate:g} may be too high"
            )
            raise ConvergenceError(message)
        loss.backward()
        rate = self.schedule.rate(step, self._now.annealed_from)
        self._optimiser.step(rate=rate, decay=self.schedule.decay)

    def _tensors(self, *arrays: Any) -> list[Any]:
        """On the device of the flow."""
        device = self._optimiser.values.device
        return [self._torch.from_numpy(each).to(device) for each in arrays]

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

    # --- checks and checkpoints ---------------------------------------------------------------

    def _check(self) -> None:
        """Losses of the parameters and of their average; keep the better of them."""
        now, optimiser = self._now, self._optimiser
        before = now.best
        last = now.step == self.schedule.end(now.annealed_from)
        current = optimiser.values.clone()
        losses = []
        for values in (optimiser.average, current) if last else (optimiser.average,):
            optimiser.values.copy_(values)
            losses.append((self._loss(self._validation), self._loss(self._train_check)))
            if losses[-1][0] < now.best:
                now.best, now.best_step, now.kept = losses[-1][0], now.step, self.flow.state()
        optimiser.values.copy_(current)
        now.stale = 0 if now.best < before else now.stale + 1
        held_out, train = min(losses)
        now.history.append(LossRecord(now.step, train, held_out))
        if not now.kept:
            message = f"the validation loss is {held_out} at step {now.step:,}"
            raise ConvergenceError(message)

    def _loss(self, given: TrainingRows) -> float:
        """The weighted mean over rows."""
        torch, total = self._torch, 0.0
        with torch.no_grad():
            for start in range(0, len(given.z), _CHUNK):
                rows = slice(start, start + _CHUNK)
                z, context = self._tensors(given.z[rows], given.context[rows])
                loss = self.flow.loss(z, context).cpu().numpy()
                total += float((loss * given.weights[rows]).sum())
        return total / float(given.weights.sum())

    def _save(self, path: Path) -> None:
        now = self._now
        content = {
            "identity": self._identity,
            "step": now.step,
            "best": now.best,
            "best_step": now.best_step,
            "stale": now.stale,
            "annealed_from": now.annealed_from,
            "history": [list(check) for check in now.history],
        }
        arrays: dict[str, Any] = {f"kept.{name}": values for name, values in now.kept.items()}
        arrays |= {f"now.{name}": each for name, each in self._optimiser.arrays().items()}
        write_file(path, CHECKPOINT, content, arrays)

    def _resume(self, path: Path) -> None:
        content, arrays = read_file(path, CHECKPOINT)
        check_identity(path, content, self._identity)
        self._optimiser.load(part(arrays, "now."))
        kept = part(arrays, "kept.")
        history = [LossRecord(*each) for each in content["history"]]
        names = ("step", "best", "best_step", "stale", "annealed_from")
        progress = {name: content[name] for name in names}
        self._now = _Progress(**progress, history=history, kept=kept)


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
