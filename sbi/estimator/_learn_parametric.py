"""Learning a ratio that depends on parameters.

A classifier tells pairs (x, theta) that belong together from pairs that do not: events of the
reference, or of the samples themselves, with the theta of another event. With theta beside x as
an input, what it learns is p(x | theta) / p_ref(x).

::

    l(x, theta) = polynomial(x, theta) + share network(x, theta) - c . (1, theta, theta theta')

in this order: the polynomial by Newton's method, the network by gradient descent; then, on
held-out pairs, the share of the network (1: as it learned; 0: it has learned only noise) and the
norm c (`_pairs`, `_score`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rootml.batching import BatchLoader, Standardizer
from rootml.dataset import Dataset
from rootml.errors import ConvergenceError, UsageError
from rootml.sbi.estimator._assemble import Member, Scale, monomials, parametric_graph
from rootml.sbi.estimator._learn import make_loader, notes_of
from rootml.sbi.estimator._network import Layers
from rootml.sbi.estimator._normalisation import expectation
from rootml.sbi.estimator._pairs import (
    constant_norm,
    held_out_pairs,
    network_share,
    scaled_last,
)
from rootml.sbi.estimator._parametric import ParametricRatios
from rootml.sbi.estimator._record import Norm, TrainingRecord
from rootml.sbi.estimator._samples import (
    Division,
    check_sums,
    divide,
    poisson_copies,
    select_inputs,
    sums_of,
)
from rootml.sbi.estimator._score import score_norm, scores_of
from rootml.sbi.estimator._training import History, ProgressDisplay, TrainingTask, train_network

if TYPE_CHECKING:
    from rootml.sbi.estimator._estimator import RatioEstimator

Float = npt.NDArray[np.float64]
POOL = "all samples"
_ROUNDS = 8
_OTHERS = 3
"""Pairs that do not belong together, per event: their noise costs nothing to reduce."""
MOST_TERMS = 400
"""Terms of the polynomial; with more inputs it is left out."""


@dataclass(frozen=True)
class PairBatch:
    """Events with their parameters, and those of the reference.

    Attributes:
        x, theta, w: Scaled inputs and parameters, weights of mean 1.
        x_ref, w_ref: The same of the reference; the events themselves if there is no other.
    """

    x: Float
    theta: Float
    w: Float
    x_ref: Float
    w_ref: Float

    @property
    def num_rows(self) -> int:
        """Events that belong together with their theta."""
        return len(self.x)


class PairLoader:
    """Batches of pairs; the reference starts anew when it ends."""

    def __init__(
        self, loader: BatchLoader, reference: BatchLoader | None, scales: tuple[Scale, Scale]
    ) -> None:
        self.loader = loader
        self.reference = reference
        self.batch_size = loader.batch_size
        self._scales = scales
        self._factors = [
            None if each is None else _factor(each.dataset) for each in (loader, reference)
        ]

    def __len__(self) -> int:
        return len(self.loader)

    def iterate(self, *, epoch: int) -> Generator[PairBatch, None, None]:
        """The batches of an epoch."""
        scale, theta_scale = self._scales
        others = self._references(epoch)
        for batch in self.loader.iterate(epoch=epoch):
            assert isinstance(batch.x, dict)
            x = _scaled(batch.x["x"], scale)
            theta = _scaled(batch.x["t"], theta_scale)
            w = _weights(batch, self._factors[0])
            x_ref, w_ref = (x, w) if others is None else next(others)
            yield PairBatch(x, theta, w, x_ref, w_ref)
        if others is not None:
            others.close()

    def _references(self, epoch: int) -> Generator[tuple[Float, Float], None, None] | None:
        if self.reference is None:
            return None
        return self._endless(self.reference, epoch)

    def _endless(
        self, reference: BatchLoader, epoch: int
    ) -> Generator[tuple[Float, Float], None, None]:
        number = 1000 * epoch
        while True:
            for batch in reference.iterate(epoch=number):
                assert isinstance(batch.x, dict)
                yield _scaled(batch.x["x"], self._scales[0]), _weights(batch, self._factors[1])
            number += 1

    def close(self) -> None:
        """Free what the loaders keep."""
        self.loader.close()
        if self.reference is not None:
            self.reference.close()


def _factor(dataset: Dataset) -> float:
    sums = sums_of(dataset)
    return sums.events / sums.sumw


def _scaled(values: Any, scale: Scale) -> Any:
    return ((values - scale.mean) / scale.width).astype(np.float32)


def _weights(batch: Any, factor: float | None) -> Any:
    if batch.w is None:
        return np.ones(batch.num_rows, np.float32)
    return (batch.w * factor).astype(np.float32)


def pair_loss(base: Float | None) -> Callable[[Any, Any, Any, Any], Any]:
    """Cross entropy between pairs that belong together and pairs that do not, of equal weight.

    Args:
        base: Coefficients of `monomials` that are added to the network.
    """

    def loss(network: Any, batch: PairBatch, torch: Any, draws: Any) -> Any:
        x, theta, w = map(torch.from_numpy, (batch.x, batch.theta, batch.w))
        other, mass = torch.from_numpy(batch.x_ref), torch.from_numpy(batch.w_ref)
        shift = int(torch.randint(1, max(2, len(theta)), (1,), generator=draws))
        turned = (torch.arange(len(other)) + shift) % len(theta)
        pairs = torch.cat([torch.cat([x, theta], dim=1), torch.cat([other, theta[turned]], dim=1)])
        logit = network(pairs)[:, 0]
        if base is not None:
            given = monomials(pairs.numpy()) @ base
            logit = logit + torch.from_numpy(given.astype(np.float32))
        together, apart = logit[: len(x)], logit[len(x) :]
        soft = torch.nn.functional.softplus
        scale = len(x) / len(other)
        return 0.5 * ((w * soft(-together)).sum() + scale * (mass * w[turned] * soft(apart)).sum())

    return loss


def fit_base(loader: PairLoader, columns: int, *, epoch: int) -> Float:
    """Logistic regression between the pairs in `monomials` of scaled inputs and parameters.

    Newton's method, each step a pass over the data. The log ratio of a family that is smooth in
    theta is close to such a polynomial; a network converges slowly to it, since what is missing
    changes the loss very little, and a fit very much (measured for the mean of a normal
    distribution, 400,000 events: the fit is off by 0.6 standard deviations after two passes of the
    network alone, by 0.1 with the polynomial before it).
    """
    size = 1 + columns + columns * (columns + 1) // 2
    c = np.zeros(size)
    for _ in range(_ROUNDS):
        slope, curvature = np.zeros(size), np.zeros((size, size))
        for batch in loader.iterate(epoch=epoch):
            for value, mass, sign in _labelled(batch):
                terms = monomials(value.astype(np.float64))
                chance = 0.5 * (1.0 + np.tanh(0.5 * (terms @ c)))
                slope += terms.T @ (mass * (chance - sign))
                short = terms.astype(np.float32)  # enough for the way to the minimum
                weight = (mass * chance * (1.0 - chance)).astype(np.float32)
                curvature += short.T @ (short * weight[:, None])
        step = np.linalg.lstsq(curvature, slope, rcond=1e-12)[0]
        c -= step
        if np.abs(step).max() < 1e-6 * max(1.0, np.abs(c).max()):
            break
    if not np.isfinite(c).all():
        message = "the polynomial before the network does not converge: try base='none'"
        raise ConvergenceError(message)
    return c


def _labelled(batch: PairBatch) -> Iterator[tuple[Float, Float, float]]:
    """Pairs that belong together, and each event with several other theta; weights and labels."""
    yield np.concatenate([batch.x, batch.theta], axis=1), batch.w.astype(np.float64), 1.0
    rows = len(batch.theta)
    for k in range(1, _OTHERS + 1):
        turned = (np.arange(len(batch.x_ref)) + max(1, k * rows // (_OTHERS + 1))) % rows
        mass = batch.w_ref.astype(np.float64) * batch.w[turned]
        mass *= rows / len(batch.x_ref) / _OTHERS
        yield np.concatenate([batch.x_ref, batch.theta[turned]], axis=1), mass, 0.0


@dataclass(frozen=True)
class _Task:
    """All that the members share."""

    estimator: RatioEstimator
    dataset: Dataset
    reference: Dataset | None
    scales: tuple[Scale, Scale]

    @property
    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Columns of the inputs, and of the parameters."""
        count = len(self.estimator.inputs)
        return self.dataset.columns[:count], self.dataset.columns[count:]

    @property
    def has_base(self) -> bool:
        """Whether a polynomial comes before the network."""
        columns = sum(map(len, self.names))
        terms = 1 + columns + columns * (columns + 1) // 2
        return self.estimator.base == "quadratic" and terms <= MOST_TERMS

    def loader(self, dataset: Dataset, reference: Any, *, shuffle: bool, seed: int) -> PairLoader:
        """Pairs of these events."""
        inputs, parameters = (list(names) for names in self.names)
        settings = self.estimator.settings
        main = make_loader(
            dataset, settings, shuffle=shuffle, seed=seed, inputs={"x": inputs, "t": parameters}
        )
        other = None
        if reference is not None:
            chosen = {"x": list(reference.columns)}
            other = make_loader(reference, settings, shuffle=shuffle, seed=seed, inputs=chosen)
        return PairLoader(main, other, self.scales)


def learn_parametric(
    estimator: RatioEstimator, given: Any, reference: Any, began: float
) -> ParametricRatios:
    """See `RatioEstimator.fit`."""
    dataset, other = _checked(estimator, given, reference)
    sums = {"samples": sums_of(dataset)}
    if other is not None:
        sums["reference"] = sums_of(other)
    for name, each in sums.items():
        check_sums(each, name)
    scales, ends = _fit_scales(estimator, dataset)
    task = _Task(estimator, dataset, other, scales)
    members: list[Member] = []
    histories: list[History] = []
    checks: list[tuple[Float, Float]] = []
    shares: list[float] = []
    watch = ProgressDisplay(estimator.ensemble, estimator.progress)
    with watch.showing():
        for number in range(estimator.ensemble):
            trained = _member(task, number, watch)
            member, share, check = _normalised(task, trained)
            members.append(member)
            histories.append(trained.history)
            shares.append(share)
            checks.append(check)
    graph = parametric_graph(*scales, members, estimator.settings.activation)
    mean, error = expectation(
        np.concatenate([r for r, _ in checks])[:, None],
        np.concatenate([w for _, w in checks]) / sum(w.sum() for _, w in checks),
    )
    norms = {"r": Norm(float(mean[0]), float(error[0]), 0.0, calibrated=False)}
    notes = list(notes_of(sums, estimator.bootstrap))
    if estimator.base != "none" and not task.has_base:
        notes.append(f"so many inputs that no polynomial (over {MOST_TERMS} terms) was fitted")
    if task.has_base:
        texts = ", ".join(f"{share:.2f}" for share in shares)
        notes.append(f"share of the networks in what is added to the polynomial: {texts}")
    record = TrainingRecord(sums, tuple(histories), norms, time.monotonic() - began, tuple(notes))
    ranges = dict(zip(task.names[1], ends, strict=True))
    source = POOL if other is None else "reference"
    return ParametricRatios(
        estimator.inputs, task.names[0], ranges, source, estimator.ensemble, record, graph
    )


def _checked(
    estimator: RatioEstimator, given: Any, reference: Any
) -> tuple[Dataset, Dataset | None]:
    if not isinstance(given, Dataset):
        message = (
            f"parameters={list(estimator.parameters)}: give one Dataset of all samples, whose "
            f"columns say at which parameters an event was generated, not {type(given).__name__}"
        )
        raise UsageError(message)
    if reference is not None and not isinstance(reference, Dataset):
        message = f"reference={reference!r}: with parameters give a Dataset, or None"
        raise UsageError(message)
    for name, value, good in (
        ("calibration", estimator.calibration, ("auto", "never")),
        ("normalisation", estimator.normalisation, ("bridge", "none")),
    ):
        if value not in good:
            message = f"{name}={value!r} with parameters: expected one of {', '.join(good)}"
            raise UsageError(message)
    columns = (*estimator.inputs, *estimator.parameters)
    dataset = select_inputs(given, columns, "samples").with_label(None)
    if reference is not None:
        reference = select_inputs(reference, estimator.inputs, "reference").with_label(None)
    return dataset, reference


def _fit_scales(
    estimator: RatioEstimator, dataset: Dataset
) -> tuple[tuple[Scale, Scale], list[tuple[float, float]]]:
    """Scales of inputs and parameters, and the range of each parameter."""
    count = len(estimator.inputs)
    loader = make_loader(dataset, estimator.settings, shuffle=False)
    scaler = Standardizer(weighted=False).fit(loader).scale()
    low, high = np.full(len(scaler.mean), np.inf), np.full(len(scaler.mean), -np.inf)
    for batch in loader.iterate(epoch=0):
        low = np.minimum(low, np.asarray(batch.x).min(axis=0))
        high = np.maximum(high, np.asarray(batch.x).max(axis=0))
    loader.close()
    for name, a, b in zip(dataset.columns[count:], low[count:], high[count:], strict=True):
        if a == b:
            message = f"parameter {name!r} is {a} in all events: nothing depends on it"
            raise UsageError(message)
    x = Scale(scaler.mean[:count], scaler.std[:count])
    theta = Scale(scaler.mean[count:], scaler.std[count:])
    ends = [(float(a), float(b)) for a, b in zip(low[count:], high[count:], strict=True)]
    return (x, theta), ends


@dataclass(frozen=True)
class _Trained:
    """A network, the polynomial before it, the events that stopped its training, and the rest."""

    layers: Layers
    history: History
    base: Float | None
    stop: PairLoader
    rest: PairLoader


def _member(task: _Task, number: int, watch: ProgressDisplay) -> _Trained:
    """One trained network."""
    estimator = task.estimator
    settings, by = estimator.settings, estimator.by
    seed = settings.seed + 7919 * (number + 1)

    def parts(dataset: Dataset | None, what: str) -> Division:
        if dataset is None:
            return Division(None, None, None)
        found = divide(dataset, estimator.ensemble, number, by=by, seed=settings.seed)
        train = found.train
        if estimator.bootstrap:
            train = poisson_copies(train, by=by, seed=settings.seed + 1000 * (number + 1))
        for each in (train, found.stop, found.rest):
            check_sums(sums_of(each), f"a part of {what}")
        return Division(train, found.stop, found.rest)

    main, other = parts(task.dataset, "the samples"), parts(task.reference, "the reference")
    train = task.loader(main.train, other.train, shuffle=True, seed=seed)
    stop = task.loader(main.stop, other.stop, shuffle=False, seed=0)
    rest = task.loader(main.rest, other.rest, shuffle=True, seed=seed)
    columns = sum(map(len, task.names))
    try:
        base = fit_base(train, columns, epoch=0) if task.has_base else None
        lesson = TrainingTask(pair_loss(base), columns, 1, from_zero=base is not None)
        show = watch.member(number, settings.epochs * len(train))
        layers, history = train_network(lesson, train, stop, settings, seed=seed, show=show)
    finally:
        train.close()
    return _Trained(layers, history, base, stop, rest)


def _normalised(task: _Task, trained: _Trained) -> tuple[Member, float, tuple[Float, Float]]:
    """The network as it is used, how much of it was kept, and a check of its norm.

    The share and the constant are of events that nothing else was chosen by. The slopes of the
    norm need many events, and are those of the polynomial to most: they may be of all that were
    held out of the training, as that there were some epochs less or more moves them little.
    """
    scales, activation = task.scales, task.estimator.settings.activation
    layers, base = trained.layers, trained.base
    none = np.zeros(monomials(np.zeros((1, len(scales[1].mean)))).shape[1])
    try:
        network = parametric_graph(*scales, [Member(layers, none)], activation)
        pairs = held_out_pairs(network, base, trained.rest, scales)
        share = 1.0 if base is None else network_share(pairs)
        pairs, layers = pairs.with_share(share), scaled_last(layers, share)
        norm = none
        if task.estimator.normalisation != "none":
            graph = parametric_graph(*scales, [Member(layers, none, base)], activation)
            held_out = (trained.stop, trained.rest)
            norm = constant_norm(pairs, score_norm(scores_of(graph, scales), held_out))
    finally:
        trained.stop.close()
        trained.rest.close()
    return Member(layers, norm, base), share, pairs.check(norm)
