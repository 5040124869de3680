"""The classifier two-sample test: can anything learned tell two weighted samples apart?

A classifier is trained on one part of both samples and judged on the other, by the area under the
ROC curve (Lopez-Paz and Oquab, 2017; Friedman 2003): 0.5 when the samples come from one
distribution, whatever the classifier. Two kinds of classifier are trained and their log-odds are
added. Measured on 60,000 toy events per sample with known faults, trees (150 of 15 leaves, or
XGBoost with early stopping) find 0.506, 0.512, 0.508 where a small network finds 0.511, 0.528,
0.508 and both together 0.510, 0.526, 0.509, for three times the time: networks see smooth
distortions and wrong correlations, trees see wrong steps and spikes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from rootml._internal.devices import one_thread
from rootml._internal.linear_algebra import openmp_for
from rootml._internal.optional import optional_import
from rootml._internal.statistics import normalised, roc_area
from rootml._internal.types import Float, Weights
from rootml.errors import UsageError

Kind = Literal["both", "network", "trees"]
Scorer = Callable[[Float], Float]

_HIDDEN, _EPOCHS, MAX_STEPS = 64, 16, 4000
_ROC_POINTS = 201
_TREE_BINS = 200


@dataclass(frozen=True, eq=False)
class TwoSample:
    """How well two samples are told apart.

    Attributes:
        auc: Area under the ROC curve on events that the classifier had not seen, mean of the
            folds.
        error: Its standard deviation for a given classifier, from the finite test samples.
        efficiency_reference, efficiency_sample: The ROC curve, `(points,)`: fractions of both
            samples above falling thresholds.
    """

    auc: float
    error: float
    efficiency_reference: Float
    efficiency_sample: Float


def two_sample(
    a: Float,
    b: Float,
    wa: Weights = None,
    wb: Weights = None,
    *,
    kind: Kind = "both",
    folds: int = 2,
    seed: int = 0,
    events: tuple[Any, Any] = (None, None),
) -> TwoSample:
    """Train classifiers to tell sample `b` from the reference `a`, and judge them out of fold.

    Args:
        a, b: `(events, columns)`, finite.
        wa, wb: Negative weights enter training and test with their sign.
        kind: "network": two hidden layers of 64; "trees": histogram gradient boosting of
            scikit-learn; "both": the sum of their log-odds.
        folds: Each event is tested once, by classifiers trained on the other folds.
        seed: Of the folds and of the training.
        events: For each sample `(events,)` integers: rows with the same one are in the same fold,
            as those of one event in two simulations have to be. None: all rows differ.

    Raises:
        UsageError: Fewer than 50 events of a sample per fold.
        MissingPackageError: torch or scikit-learn is not installed.
    """
    if kind not in {"both", "network", "trees"}:
        message = f"classifier {kind!r}: expected 'both', 'network' or 'trees'"
        raise UsageError(message)
    if folds < 2 or min(len(a), len(b)) < 50 * folds:
        message = (
            f"{folds} folds of {len(a)} and {len(b)} events: expected two folds or more "
            "of 50 events or more"
        )
        raise UsageError(message)
    wa, wb = normalised(a, wa), normalised(b, wb)
    rng = np.random.default_rng(seed)
    fold_a, fold_b = _folds(len(a), len(b), events, folds, rng)
    areas, curves = [], []
    for fold in range(folds):
        out_a, out_b = fold_a == fold, fold_b == fold
        score = _train(a[~out_a], b[~out_b], wa[~out_a], wb[~out_b], kind=kind, seed=seed + fold)
        scores = score(a[out_a]), score(b[out_b])
        areas.append(roc_area(*scores, wa[out_a], wb[out_b]))
        curves.append(_roc(*scores, wa[out_a], wb[out_b]))
    value, error = np.mean([x for x, _ in areas]), np.linalg.norm([e for _, e in areas]) / folds
    efficiencies = np.mean(curves, axis=0)
    return TwoSample(float(value), float(error), efficiencies[0], efficiencies[1])


def _folds(
    rows_a: int, rows_b: int, events: tuple[Any, Any], folds: int, rng: np.random.Generator
) -> list[npt.NDArray[np.intp]]:
    """The fold of each row of both samples."""
    if events[0] is None or events[1] is None:
        return [rng.permutation(rows) % folds for rows in (rows_a, rows_b)]
    unique, place = np.unique(np.concatenate(events), return_inverse=True)
    return np.split((rng.permutation(len(unique)) % folds)[place], [rows_a])


def _roc(positive: Float, negative: Float, wp: Float, wn: Float) -> Float:
    """Fractions of both samples above thresholds: at equal steps of the first one's."""
    cuts = np.quantile(np.concatenate([positive, negative]), np.linspace(1, 0, _ROC_POINTS - 2))
    rows = []
    for values, weights in ((positive, wp), (negative, wn)):
        order = np.argsort(values, kind="stable")
        sums = np.concatenate([[0.0], np.cumsum(weights[order])]) / weights.sum()
        passed = 1 - sums[np.searchsorted(values[order], cuts, side="left")]
        rows.append(np.concatenate([[0.0], passed, [1.0]]))
    return np.array(rows)


# --- classifiers -----------------------------------------------------------------------------


def _train(a: Float, b: Float, wa: Float, wb: Float, *, kind: Kind, seed: int) -> Scorer:
    """A function that gives the log-odds of belonging to `a`."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(a) + len(b))
    x = np.concatenate([a, b])[order]
    y = np.concatenate([np.ones(len(a)), np.zeros(len(b))])[order]
    # equal sums for both samples; the mean weight is 1
    half = len(x) / 2
    w = np.concatenate([normalised(a, wa) * half, normalised(b, wb) * half])[order]
    parts = []
    if kind in {"both", "network"}:
        parts.append(_train_network(x, y, w, seed))
    if kind in {"both", "trees"}:
        parts.append(_train_trees(x, y, w, seed))
    return lambda values: np.sum([part(values) for part in parts], axis=0)


def _train_trees(x: Float, y: Float, w: Float, seed: int) -> Scorer:
    ensemble = optional_import(
        "sklearn.ensemble", feature="a two-sample test with trees", extra="sbi"
    )
    # binned here: scikit-learn takes weighted quantiles, slowly, and signed weights have none
    probabilities = np.linspace(0, 1, _TREE_BINS)
    edges = [np.unique(np.quantile(column, probabilities)) for column in x.T]

    def binned(values: Float) -> Float:
        columns = zip(edges, values.T, strict=True)
        return np.column_stack([np.searchsorted(e, v, "right") for e, v in columns]).astype(float)

    # leaves so large that signed weights add up to something positive in each
    model = ensemble.HistGradientBoostingClassifier(
        max_iter=150,
        learning_rate=0.05,
        max_leaf_nodes=15,
        min_samples_leaf=min(200, max(20, len(x) // 50)),
        early_stopping=False,
        random_state=seed,
    )
    with openmp_for(len(x), feature="a two-sample test with trees"):
        model.fit(binned(x), y, sample_weight=w)

    def score(values: Float) -> Float:
        with openmp_for(len(values), feature="a two-sample test with trees"):
            return np.asarray(model.decision_function(binned(values)), np.float64)

    return score


class _Inputs:
    """What the network sees of each column: its normal score, its scaled value, its spikes."""

    def __init__(self, x: Float, w: Float) -> None:
        special = optional_import(
            "scipy.special", feature="a two-sample test with a network", extra="sbi"
        )
        size = np.abs(w)  # only a change of coordinates: signs do not matter
        mean = size @ x / size.sum()
        width = np.sqrt(size @ np.square(x - mean) / size.sum())
        self.mean, self.width = mean, np.where(width > 0, width, 1)
        self.knots: list[tuple[Float, Float, Float]] = []
        for column in x.T:
            values, counts = np.unique(column, return_counts=True)
            spikes = values[counts > 0.02 * len(column)][:8]
            middle = (np.cumsum(counts) - counts / 2) / len(column)
            kept = np.unique(np.linspace(0, len(values) - 1, 1000).astype(np.intp))
            self.knots.append((values[kept], special.ndtri(middle[kept]), spikes))

    def __call__(self, x: Float) -> Float:
        columns = [np.clip((x - self.mean) / self.width, -5, 5)]
        for j, (values, scores, spikes) in enumerate(self.knots):
            columns.append(np.interp(x[:, j], values, scores)[:, None])
            columns.append((x[:, j, None] == spikes).astype(np.float64))
        return np.concatenate(columns, axis=1)


def _train_network(x: Float, y: Float, w: Float, seed: int) -> Scorer:
    torch: Any = optional_import(
        "torch", feature="a two-sample test with a network", extra="torch"
    )
    inputs = _Inputs(x, w)
    tensors = [torch.from_numpy(v.astype(np.float32)) for v in (inputs(x), y, w)]
    # the caller's generator stays as it is
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        model = _network(torch, tensors[0].shape[1])
        _fit(torch, model, tensors)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def score(values: Float) -> Float:
        rows = 65_536
        parts = [
            model(torch.from_numpy(inputs(values[i : i + rows]).astype(np.float32)))[:, 0]
            for i in range(0, len(values), rows)
        ]
        result: npt.NDArray[Any] = torch.cat(parts).numpy()
        return result.astype(np.float64)

    return cast("Scorer", score)


def _network(torch: Any, columns: int) -> Any:
    linear, act = torch.nn.Linear, torch.nn.SiLU
    return torch.nn.Sequential(
        linear(columns, _HIDDEN),
        act(),
        linear(_HIDDEN, _HIDDEN),
        act(),
        linear(_HIDDEN, _HIDDEN),
        act(),
        linear(_HIDDEN, 1),
    )


def _fit(torch: Any, model: Any, tensors: list[Any]) -> None:
    """Sixteen epochs, or 4,000 steps, whichever is less."""
    x, y, w = tensors
    size = int(np.clip(len(x) // 50, 64, 1024))
    per_epoch = len(x) // size
    steps = min(_EPOCHS * per_epoch, MAX_STEPS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    entropy = torch.nn.BCEWithLogitsLoss(reduction="none")
    for step in range(steps):
        position = step % per_epoch
        if position == 0:
            order = torch.randperm(len(x))
        rows = order[position * size : (position + 1) * size]
        loss = (w[rows] * entropy(model(x[rows])[:, 0], y[rows])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
