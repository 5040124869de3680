"""Learning a ratio that depends on parameters.

A classifier tells matched pairs (x, theta) from mismatched ones: events of the reference, or of
the samples themselves, with the theta of another event. As x and theta are both inputs, it learns
p(x | theta) / p_ref(x).

::

    l(x, theta) = polynomial(x, theta) + share network(x, theta) - c . (1, theta, theta theta')

The polynomial is fitted first, by Newton's method, then the network, by gradient descent. Held-out
pairs give the share of the network (1: keep it as it is; 0: it has learned only noise) and the
norm c (`_norm`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rootml._internal.loss_display import LossDisplay
from rootml._internal.optional import optional_import
from rootml._internal.types import Float
from rootml.dataset import Dataset
from rootml.errors import ConvergenceError, UsageError
from rootml.sbi.estimator.graph._assemble import Member, Scale, monomials, parametric_graph
from rootml.sbi.estimator.inputs._loaders import make_loader, plan_for
from rootml.sbi.estimator.inputs._samples import (
    Division,
    check_sums,
    divide,
    select_inputs,
    sums_of,
)
from rootml.sbi.estimator.inputs._settings import MAX_BATCH, TrainingSettings
from rootml.sbi.estimator.learners._held_out import RatioMoments
from rootml.sbi.estimator.learners._inputs import look_at_inputs
from rootml.sbi.estimator.learners._learn import notes_of, training_notes, warn
from rootml.sbi.estimator.learners._norm import ThetaNorm, theta_norm
from rootml.sbi.estimator.learners._pair_loader import PairBatch, PairLoader
from rootml.sbi.estimator.learners._pairs import held_out_pairs, network_share, scaled_last
from rootml.sbi.estimator.learners._score import score_norm, scores_of
from rootml.sbi.estimator.ratios._parametric import ParametricRatios
from rootml.sbi.estimator.ratios._record import Norm, TrainingRecord
from rootml.sbi.estimator.training._trainer import Trainer
from rootml.sbi.estimator.training._training import (
    History,
    Trained,
    TrainingTask,
    networks_text,
    train_networks,
)

POOL = "all samples"
_MAX_ITERATIONS = 8
_MISMATCHES = 3
"""Mismatched pairs per event: several reduce the noise at little cost."""
MAX_TERMS = 400
"""Terms of the polynomial; with more inputs it is left out."""


def pair_task(base: Float | None, columns: int) -> TrainingTask:
    """Cross entropy between matched and mismatched pairs, of equal total weight.

    Args:
        base: Coefficients of `monomials`, which are added to the network.
        columns: Number of inputs and parameters.
    """

    def prepare(batch: PairBatch, draws: Any) -> tuple[Any, ...]:
        x, theta, w, x_ref = batch.x, batch.theta, batch.w, batch.x_ref
        shift = _draw(draws, max(2, len(theta)))
        other = (np.arange(len(x_ref)) + shift) % len(theta)
        pairs = np.concatenate(
            [np.concatenate([x, theta], axis=1), np.concatenate([x_ref, theta[other]], axis=1)]
        )
        given = np.zeros(len(pairs), np.float32)
        if base is not None:
            given = (monomials(pairs) @ base).astype(np.float32)
        scale = np.float32(len(x) / len(x_ref))
        return pairs, given, w, scale * batch.w_ref * w[other]

    def loss(
        network: Any, torch: Any, pairs: Any, given: Any, matched: Any, mismatched: Any
    ) -> Any:
        logit, soft = network(pairs)[:, 0] + given, torch.nn.functional.softplus
        first, second = logit[: len(matched)], logit[len(matched) :]
        return 0.5 * ((matched * soft(-first)).sum() + (mismatched * soft(second)).sum())

    return TrainingTask(prepare, loss, columns, 1, from_zero=base is not None)


def _draw(draws: Any, below: int) -> int:
    """A whole number from 1 to `below` - 1 from a generator of torch."""
    torch = optional_import("torch", feature="RatioEstimator.fit", extra="torch")
    return int(torch.randint(1, below, (1,), generator=draws))


def fit_base(loader: PairLoader, columns: int, *, epoch: int) -> Float:
    """Logistic regression between the pairs in `monomials` of scaled inputs and parameters.

    Newton's method; each step is a pass over the data. The log ratio of a family that is smooth in
    theta is close to such a polynomial. A network alone converges to it slowly: a difference that
    hardly changes the loss can bias a fit (measured for the mean of a normal distribution, 400,000
    events: 0.6 standard deviations after two epochs of the network alone, 0.1 with the polynomial
    before it).
    """
    size = 1 + columns + columns * (columns + 1) // 2
    c = np.zeros(size)
    for _ in range(_MAX_ITERATIONS):
        gradient, hessian = np.zeros(size), np.zeros((size, size))
        for batch in loader.iterate(epoch=epoch):
            for value, weights, label in _labelled(batch):
                terms = monomials(value.astype(np.float64))
                probability = 0.5 * (1.0 + np.tanh(0.5 * (terms @ c)))
                gradient += terms.T @ (weights * (probability - label))
                short = terms.astype(np.float32)  # the Hessian only sets the size of the step
                spread = (weights * probability * (1.0 - probability)).astype(np.float32)
                hessian += short.T @ (short * spread[:, None])
        step = np.linalg.lstsq(hessian, gradient, rcond=1e-12)[0]
        c -= step
        if np.abs(step).max() < 1e-6 * max(1.0, np.abs(c).max()):
            break
    if not np.isfinite(c).all():
        message = "the polynomial before the network did not converge; try base='none'"
        raise ConvergenceError(message)
    return c


def _labelled(batch: PairBatch) -> Iterator[tuple[Float, Float, float]]:
    """Matched pairs, then mismatched ones, with weights and labels."""
    yield np.concatenate([batch.x, batch.theta], axis=1), batch.w.astype(np.float64), 1.0
    rows = len(batch.theta)
    for k in range(1, _MISMATCHES + 1):
        other = (np.arange(len(batch.x_ref)) + max(1, k * rows // (_MISMATCHES + 1))) % rows
        weights = batch.w_ref.astype(np.float64) * batch.w[other]
        weights *= rows / len(batch.x_ref) / _MISMATCHES
        yield np.concatenate([batch.x_ref, batch.theta[other]], axis=1), weights, 0.0


@dataclass(frozen=True)
class ParametricNetwork:
    """One trained, normalised member of the ensemble.

    Attributes:
        member: Its networks and norms.
        share: Of the network, which held-out events confirm.
        history: Its losses.
        moments: Of the ratios of mismatched pairs, whose mean should be 1.
        contradiction: Of the mean score and its norm, see `ThetaNorm`.
    """

    member: Member
    share: float
    history: History
    moments: RatioMoments
    contradiction: float


@dataclass(frozen=True)
class ParametricJob:
    """The training of members of one fold, to be called here or on a worker."""

    settings: TrainingSettings
    dataset: Dataset
    reference: Dataset | None
    scales: tuple[Scale, Scale]

    def __call__(self, members: Sequence[int], display: LossDisplay) -> list[ParametricNetwork]:
        """Train and normalise them."""
        settings = self.settings
        seeds = [settings.spawned_seed(1, member) for member in members]
        main, other = _divided(self, settings.fold(members[0]))
        plan = plan_for(main.train, settings)
        size, seed = plan.batch_size, seeds[0]
        train = self.loader(main.train, other.train, shuffle=True, seed=seed, size=size)
        stop = self.loader(main.stop, other.stop, shuffle=False, seed=0, size=MAX_BATCH)
        held = self.loader(main.held, other.held, shuffle=True, seed=seed, size=MAX_BATCH)
        columns = sum(map(len, self.names))
        try:
            base = fit_base(train, columns, epoch=0) if self.has_base else None
            show = display.start(
                f"ratios: {networks_text(members, settings)}", plan.epochs * len(train)
            )
            found = train_networks(
                pair_task(base, columns), train, stop, plan, settings, seeds=seeds, show=show
            )
            return [_normalised(self, trained, base, held) for trained in found]
        finally:
            for loader in (train, stop, held):
                loader.close()

    @property
    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Columns of the inputs, and of the parameters."""
        count = len(self.settings.inputs)
        return self.dataset.columns[:count], self.dataset.columns[count:]

    @property
    def has_base(self) -> bool:
        """Whether a polynomial comes before the network."""
        columns = sum(map(len, self.names))
        terms = 1 + columns + columns * (columns + 1) // 2
        return self.settings.base == "quadratic" and terms <= MAX_TERMS

    def loader(
        self, dataset: Dataset, reference: Any, *, shuffle: bool, seed: int, size: int
    ) -> PairLoader:
        """Batches of these events and of the reference."""
        inputs, parameters = (list(names) for names in self.names)
        main = make_loader(
            dataset,
            self.settings,
            size,
            shuffle=shuffle,
            seed=seed,
            inputs={"x": inputs, "t": parameters},
        )
        other = None
        if reference is not None:
            chosen = {"x": list(reference.columns)}
            other = make_loader(
                reference, self.settings, size, shuffle=shuffle, seed=seed, inputs=chosen
            )
        return PairLoader(main, other, self.scales)


def learn_parametric(
    settings: TrainingSettings, given: Any, reference: Any, began: float, trainer: Trainer
) -> ParametricRatios:
    """See `RatioEstimator.fit`."""
    dataset, other = _checked(settings, given, reference)
    sums = {"samples": sums_of(dataset)}
    if other is not None:
        sums["reference"] = sums_of(other)
    for name, each in sums.items():
        check_sums(each, name)
    columns = look_at_inputs(dataset, settings)
    inputs, theta = columns.parts(len(settings.inputs))
    for name, (low, high) in theta.ranges.items():
        if low == high:
            message = f"parameter {name!r} is {low} in all events: nothing can be learned about it"
            raise UsageError(message)
    scales = inputs.scale, theta.scale
    job = ParametricJob(settings, dataset, other, scales)
    datasets = {"samples": dataset} if other is None else {"samples": dataset, "reference": other}
    networks = trainer.run(job, settings, datasets)
    graph = parametric_graph(*scales, [n.member for n in networks], settings.activation)
    moments = sum((n.moments for n in networks[1:]), networks[0].moments)
    norms = {"r": Norm(float(moments.mean[0]), float(moments.error[0]), 0.0, calibrated=False)}
    histories = tuple(n.history for n in networks)
    notes = [*notes_of(sums), *inputs.notes, *training_notes(histories)]
    warn(notes)
    if settings.base != "none" and not job.has_base:
        notes.append(f"no polynomial was fitted: so many inputs need more than {MAX_TERMS} terms")
    if job.has_base:
        texts = ", ".join(f"{n.share:.2f}" for n in networks)
        notes.append(f"share of the networks that held-out events confirm: {texts}")
    notes += _contradictions(networks)
    record = TrainingRecord(
        sums, histories, norms, time.monotonic() - began, tuple(notes), ranges=inputs.ranges
    )
    source = POOL if other is None else "reference"
    return ParametricRatios(
        settings.inputs, job.names[0], dict(theta.ranges), source, settings.ensemble, record, graph
    )


def _contradictions(networks: Sequence[ParametricNetwork]) -> list[str]:
    """A note, if the mean score contradicts the norm of some networks."""
    found = [n.contradiction for n in networks if n.contradiction > 0.0]
    if not found:
        return []
    text = (
        f"{len(found)} of {len(networks)} networks follow the density less sharply than it "
        "changes with the parameters: the norm by their mean score differs from that by held-out "
        f"pairs by up to {max(found):.2g} in log r, and is not used. Posteriors of single events "
        "are normalised; fits of many events may be biased. More training events or epochs help"
    )
    return [text]


def _checked(
    settings: TrainingSettings, given: Any, reference: Any
) -> tuple[Dataset, Dataset | None]:
    if not isinstance(given, Dataset):
        message = (
            f"parameters={list(settings.parameters)}: give one Dataset of all samples, with "
            f"columns for the parameters of each event, not {type(given).__name__}"
        )
        raise UsageError(message)
    if reference is not None and not isinstance(reference, Dataset):
        message = f"reference={reference!r}: with parameters give a Dataset, or None"
        raise UsageError(message)
    for name, value, good in (
        ("calibration", settings.calibration, ("auto", "never")),
        ("normalisation", settings.normalisation, ("bridge", "none")),
    ):
        if value not in good:
            message = f"{name}={value!r} with parameters: expected one of {', '.join(good)}"
            raise UsageError(message)
    columns = (*settings.inputs, *settings.parameters)
    dataset = select_inputs(given, columns, "samples").with_label(None)
    if reference is not None:
        reference = select_inputs(reference, settings.inputs, "reference").with_label(None)
    return dataset, reference


def _divided(job: ParametricJob, fold: int) -> tuple[Division, Division]:
    """The parts of samples and reference for one fold."""
    settings = job.settings

    def parts(dataset: Dataset | None, what: str) -> Division:
        if dataset is None:
            return Division(None, None, None)
        found = divide(dataset, settings.parts, fold, by=settings.by, seed=settings.seed)
        for each in (found.train, found.stop, found.held):
            check_sums(sums_of(each), f"a part of {what}")
        return found

    return parts(job.dataset, "the samples"), parts(job.reference, "the reference")


def _normalised(
    job: ParametricJob, trained: Trained, base: Float | None, held: PairLoader
) -> ParametricNetwork:
    """The network as it is used, the share that was kept, and a check of its norm.

    Share and constant use held-out events that nothing else depends on. The slopes of the norm
    need many events and hardly depend on the number of epochs, so they use all held-out events.
    """
    scales, activation = job.scales, job.settings.activation
    layers = trained.layers
    none = np.zeros(monomials(np.zeros((1, len(scales[1].mean)))).shape[1])
    norm = ThetaNorm(none, 0.0)
    network = parametric_graph(*scales, [Member(layers, none)], activation)
    pairs = held_out_pairs(network, base, held, scales)
    share = 1.0 if base is None else network_share(pairs)
    pairs, layers = pairs.with_share(share), scaled_last(layers, share)
    if job.settings.normalisation != "none":
        graph = parametric_graph(*scales, [Member(layers, none, base)], activation)
        norm = theta_norm(pairs, score_norm(scores_of(graph, scales), (held,)))
    ratio, weights = pairs.check(norm.coefficients)
    return ParametricNetwork(
        Member(layers, norm.coefficients, base), share, trained.history,
        RatioMoments.of_ratios(ratio[:, None], weights), norm.contradiction,
    )  # fmt: skip
