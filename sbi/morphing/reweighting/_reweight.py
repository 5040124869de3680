"""Kinematic reweighting: factors on the simulation that make its conditions those of the data.

The flow compares features at equal conditions; where the spectra of the conditions differ, it is
these factors that bring the simulation's whole distribution onto the data's. Three estimates of
the density ratio:

- ``"network"``: networks that tell data from simulation; the ratio is the exponential of their
  mean margin. Each learns on four fifths of the rows and stops where the last fifth says. Below
  100,000 rows there are five of them, since each fluctuates; else two, which say nearly the same.
  See `_reweight_network`.
- ``"boosted"``: the same with boosted trees. Weights may be negative: gradients are taken with
  the sign, curvatures without, so the leaves still tend to the ratio of the signed sums.
- ``"binned"``: sums of weights in bins of quantiles, up to about 8000 in all: as many per
  condition as describe held-out rows best. If no binning describes them better than no
  reweighting at all, the factors are 1, and a warning says so.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from rootml._internal.optional import optional_import
from rootml._internal.statistics import effective_events, ks_distance, roc_area_of_labels
from rootml._internal.types import Float
from rootml.errors import StateError, UsageError
from rootml.sbi.morphing.files._save import read_file, write_file
from rootml.sbi.morphing.flow._training import check_identity
from rootml.sbi.morphing.inference._rows import Rows, event_numbers
from rootml.sbi.morphing.preprocessing._atom_draws import uniforms
from rootml.sbi.morphing.preprocessing._preprocess import part

if TYPE_CHECKING:
    from rootml.sbi.morphing.reweighting._reweight_network import RatioNetwork

logger = logging.getLogger(__name__)

Method = Literal["network", "boosted", "binned", "none"]
KIND = "rootml morphing kinematics"
METHODS: tuple[str, ...] = ("network", "boosted", "binned", "none")

_ROUNDS, _PATIENCE, _RATE = 600, 20, 0.05
_DEPTH, _MANY_ROWS = (3, 5), 100_000  # deeper trees fit noise where rows are few
_FOLDS, _ENOUGH_NETWORKS = 5, 2
_CLOSURE_ROUNDS = 60
_MIN_RATIO = 1e-2
_GOOD_GAIN = 0.9
_BINS = 8000
_CLOSURE_ROWS = 100_000
MAX_ROWS = 400_000
_STREAM = 101


@dataclass(frozen=True)
class Closure:
    """How well the reweighted simulation agrees with the data.

    Judged on a fifth of the rows, with factors from a fit to the others; what is used afterwards
    is found from all rows.

    Attributes:
        auc_before, auc_after: Of a classifier (of the kind that found the factors) that sees the
            conditions alone; 0.5: it cannot tell them apart. NaN where none was trained, see
            `reason`.
        ks_before, ks_after: Kolmogorov-Smirnov distance for each condition.
        effective: Effective number of simulated rows after, over that before.
        reason: Why an area is NaN, or why the factors are 1; "" if neither.
    """

    auc_before: float = float("nan")
    auc_after: float = float("nan")
    ks_before: dict[str, float] = field(default_factory=dict)
    ks_after: dict[str, float] = field(default_factory=dict)
    effective: float = 1.0
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """For a file; NaN becomes None."""
        numbers = {name: getattr(self, name) for name in ("auc_before", "auc_after", "effective")}
        kept = {name: value if value == value else None for name, value in numbers.items()}  # noqa: PLR0124
        return {
            **kept,
            "ks_before": self.ks_before,
            "ks_after": self.ks_after,
            "reason": self.reason,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Closure:
        """The reverse of `to_json`."""
        aucs = [
            float("nan") if content[name] is None else float(content[name])
            for name in ("auc_before", "auc_after")
        ]
        ks = [dict(content[name]) for name in ("ks_before", "ks_after")]
        return cls(
            aucs[0], aucs[1], ks[0], ks[1], float(content["effective"]), str(content["reason"])
        )


class Kinematics:
    """Factors as a function of the conditions.

    Attributes:
        method: How they were found.
        closure: How well they do.
    """

    def __init__(
        self,
        method: Method,
        *,
        boosters: Sequence[Any] = (),
        networks: Sequence[RatioNetwork] = (),
        edges: Sequence[Float] = (),
        ratios: Float | None = None,
        scale: float = 1.0,
        closure: Closure | None = None,
    ) -> None:
        self.method = method
        self.closure: Closure = Closure() if closure is None else closure
        self._boosters, self._networks = list(boosters), list(networks)
        self._edges = [np.asarray(each) for each in edges]
        self._ratios = ratios
        self._scale = scale

    def weights(self, conditions: Float) -> Float:
        """Factors `(rows,)`, not negative, for `(rows, conditions)`.

        On the sample of the fit the sum of weights stays the same.
        """
        if self.method == "none":
            return np.ones(len(conditions))
        if self._ratios is not None:
            return self._scale * self._ratios[self._bin_indices(conditions)]
        margins: list[Any] = [network.margin(conditions) for network in self._networks]
        margins += [b.inplace_predict(conditions, predict_type="margin") for b in self._boosters]
        mean: Float = np.mean(np.asarray(margins, np.float64), axis=0)
        return self._scale * np.asarray(np.exp(mean))

    def _bin_indices(self, conditions: Float) -> tuple[npt.NDArray[np.intp], ...]:
        return tuple(
            np.clip(np.searchsorted(edges, column, side="right") - 1, 0, len(edges) - 2)
            for edges, column in zip(self._edges, conditions.T, strict=True)
        )

    # --- keeping ------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Everything but the arrays."""
        return {"method": self.method, "scale": self._scale, "closure": self.closure.to_json()}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything else; boosters in XGBoost's own JSON."""
        found: dict[str, npt.NDArray[Any]] = {
            f"edges{j}": edges for j, edges in enumerate(self._edges)
        }
        if self._ratios is not None:
            found["ratios"] = self._ratios
        for k, booster in enumerate(self._boosters):
            found[f"booster{k}"] = np.frombuffer(booster.save_raw("json"), np.uint8)
        for k, network in enumerate(self._networks):
            found |= {f"network{k}.{name}": each for name, each in network.arrays().items()}
        return found

    @classmethod
    def from_parts(cls, content: Mapping[str, Any], arrays: Mapping[str, Any]) -> Kinematics:
        """The reverse of `to_json` and `arrays`.

        Raises:
            StateError: An unknown method.
        """
        method = content["method"]
        if method not in METHODS:
            message = f"an unknown kind of reweighting: {method!r}"
            raise StateError(message)
        edges = [arrays[f"edges{j}"] for j in range(sum(n.startswith("edges") for n in arrays))]
        boosters = []
        for k in range(sum(n.startswith("booster") for n in arrays)):
            boosters.append(_xgboost().Booster())
            boosters[-1].load_model(bytearray(arrays[f"booster{k}"].astype(np.uint8).tobytes()))
        return cls(
            method,
            boosters=boosters,
            networks=_networks(arrays),
            edges=edges,
            ratios=arrays.get("ratios"),
            scale=float(content["scale"]),
            closure=Closure.from_json(content["closure"]),
        )


def _networks(arrays: Mapping[str, Any]) -> list[RatioNetwork]:
    numbers = sorted({name.split(".")[0] for name in arrays if name.startswith("network")})
    if not numbers:
        return []
    from rootml.sbi.morphing.reweighting._reweight_network import RatioNetwork

    return [RatioNetwork.from_arrays(part(arrays, f"{number}.")) for number in numbers]


def fit_kinematics(
    sim: Rows, data: Rows, names: Sequence[str], *, method: Method, seed: int
) -> Kinematics:
    """Find the factors, and their closure with factors that did not see the rows.

    Raises:
        MissingPackageError: ``"boosted"`` without xgboost, ``"network"`` without torch.
        UsageError: Too few rows to divide.
    """
    sim, data = sim.subsample(MAX_ROWS), data.subsample(MAX_ROWS)
    if method == "none":
        found = Kinematics("none")
        closure = _closure(found, sim, sim, data, names, seed=seed)
        found.closure = replace(closure, reason="no classifier is trained for reweight='none'")
        return found
    numbers = [
        (uniforms(rows.events, 1, seed=seed, stream=_STREAM)[:, 0] * _FOLDS).astype(int)
        for rows in (sim, data)
    ]
    parts: list[Kinematics] = []
    bins, reason = 1, ""
    for fold in range(_learners(method, sim, data)):
        ours, theirs = (number == fold for number in numbers)
        _check_enough(sim, data, ours, theirs)
        train, held = (sim.take(~ours), data.take(~theirs)), (sim.take(ours), data.take(theirs))
        if method == "binned":
            bins, reason = _best_bins(train, held)
            parts.append(_binned(*train, bins=bins))
            break
        _check_sums((*train, *held))
        parts.append(_learned(method, train, held, seed=seed, fold=fold))
    made = _binned(sim, data, bins=bins) if method == "binned" else _joined(method, parts)
    _scale(made, sim)
    first = [rows.take(number == 0) for rows, number in zip((sim, data), numbers, strict=True)]
    _scale(parts[0], first[0])
    made.closure = _closure(parts[0], sim, first[0], first[1], names, seed=seed)
    made.closure = replace(made.closure, effective=_effective_share(made, sim), reason=reason)
    return made


def _learners(method: Method, sim: Rows, data: Rows) -> int:
    """How many ratios are averaged, each learned without another fifth of the rows."""
    many = min(len(sim), len(data)) >= _MANY_ROWS
    return _ENOUGH_NETWORKS if many and method == "network" else _FOLDS


def cached_kinematics(
    sim: Rows, data: Rows, names: Sequence[str], *, method: Method, seed: int, path: Path | None
) -> Kinematics:
    """`fit_kinematics`, or what an earlier one with the same input has left in the file `path`.

    A training that is taken up again so has the same rows to the last bit on any machine.

    Raises:
        StateError: The file was left by another input.
    """
    if path is None:
        return fit_kinematics(sim, data, names, method=method, seed=seed)
    digest = hashlib.sha256(repr((tuple(names), method, seed)).encode())
    for rows in (sim, data):
        for part_of_it in (rows.conditions, rows.weights, rows.events):
            digest.update(np.ascontiguousarray(part_of_it).tobytes())
    if path.exists():
        content, arrays = read_file(path, KIND)
        check_identity(path, content, digest.hexdigest())
        return Kinematics.from_parts(content["kinematics"], arrays)
    made = fit_kinematics(sim, data, names, method=method, seed=seed)
    content = {"identity": digest.hexdigest(), "kinematics": made.to_json()}
    write_file(path, KIND, content, made.arrays())
    return made


def _learned(
    method: Method, train: tuple[Rows, Rows], held: tuple[Rows, Rows], *, seed: int, fold: int
) -> Kinematics:
    if method == "boosted":
        return Kinematics(method, boosters=[_boosted(*train, *held, seed=seed)])
    from rootml.sbi.morphing.reweighting._reweight_network import fit_network

    return Kinematics(method, networks=[fit_network(train, held, seed=(seed, _STREAM + fold))])


def _joined(method: Method, parts: Sequence[Kinematics]) -> Kinematics:
    """With the mean margin."""
    boosters = [each for one in parts for each in one._boosters]
    networks = [each for one in parts for each in one._networks]
    return Kinematics(method, boosters=boosters, networks=networks)


def _check_enough(sim: Rows, data: Rows, ours: Any, theirs: Any) -> None:
    if not (ours.any() and theirs.any() and not ours.all() and not theirs.all()):
        message = (
            f"{len(sim):,} simulated rows and {len(data):,} of data are too few to reweight; "
            "give more, or reweight='none'"
        )
        raise UsageError(message)


def _scale(found: Kinematics, sim: Rows) -> None:
    """Scale the factors so that these weights keep their sum."""
    total = float((sim.weights * found.weights(sim.conditions)).sum())
    if not total > 0:
        message = (
            f"the simulation reweighted to the data has a sum of weights of {total:g} "
            f"(before: {sim.weights.sum():g}, {len(sim):,} rows); try reweight='binned' or 'none'"
        )
        raise UsageError(message)
    found._scale *= float(sim.weights.sum()) / total


def _closure(
    found: Kinematics, every: Rows, sim: Rows, data: Rows, names: Sequence[str], *, seed: int
) -> Closure:
    """Of factors that were found without the rows of `sim` and `data`."""
    weights = sim.weights, sim.weights * found.weights(sim.conditions)
    aucs = [float("nan")] * 2
    if found.method in {"boosted", "network"}:
        area = _auc if found.method == "boosted" else _auc_by_networks
        target = data.subsample(_CLOSURE_ROWS)
        aucs = [
            area(replace(sim, weights=w).subsample(_CLOSURE_ROWS), target, seed=seed)
            for w in weights
        ]
    distances = [
        {
            name: ks_distance(data.conditions[:, j], sim.conditions[:, j], data.weights, w)
            for j, name in enumerate(names)
        }
        for w in weights
    ]
    share = _effective_share(found, every)
    return Closure(aucs[0], aucs[1], distances[0], distances[1], share)


def _effective_share(found: Kinematics, sim: Rows) -> float:
    reweighted = effective_events(sim.weights * found.weights(sim.conditions))
    return reweighted / effective_events(sim.weights)


def _best_bins(train: tuple[Rows, Rows], held: tuple[Rows, Rows]) -> tuple[int, str]:
    """Bins per condition, and a remark for `Closure.reason`.

    The ratio, taken as a classifier, is judged by its logistic loss on held-out rows: the most
    bins with (nearly) the largest gain; 1 if none is better than a ratio of 1, whose loss is
    log 2.
    """
    width = train[0].conditions.shape[1]
    most = int(np.clip(_BINS ** (1 / width), 2, 20))
    candidates = sorted({max(2, most >> k) for k in range(4)})
    losses = {1: math.log(2.0)}
    losses |= {bins: _logistic_loss(_binned(*train, bins=bins), held) for bins in candidates}
    gains = {bins: losses[1] - loss for bins, loss in losses.items()}
    best = max(bins for bins in gains if gains[bins] >= _GOOD_GAIN * max(gains.values()))
    if gains[best] > 0:
        return best, "no classifier is trained for reweight='binned'"
    reason = (
        "binned reweighting makes the conditions of held-out rows no more alike, so all factors "
        "are 1; use reweight='network'"
    )
    logger.warning("%s (loss %.5f, without %.5f)", reason, losses[candidates[0]], losses[1])
    return 1, reason


def _logistic_loss(found: Kinematics, held: tuple[Rows, Rows]) -> float:
    """Of the logarithm of the ratio as a margin; `log 2` for a ratio of 1."""
    losses = []
    for rows, sign in zip(held, (1.0, -1.0), strict=True):
        ratio = np.clip(found.weights(rows.conditions), _MIN_RATIO, 1 / _MIN_RATIO)
        each = np.logaddexp(0.0, sign * np.log(ratio))
        losses.append(float(rows.weights @ each / rows.weights.sum()))
    return 0.5 * (losses[0] + losses[1])


def _binned(sim: Rows, data: Rows, *, bins: int) -> Kinematics:
    pooled = np.concatenate([sim.conditions, data.conditions])
    edges = [np.unique(np.quantile(column, np.linspace(0, 1, bins + 1))) for column in pooled.T]
    edges = [np.append(each, each[-1] + 1) if len(each) < 2 else each for each in edges]
    ratios = np.zeros(tuple(len(each) - 1 for each in edges))
    made = Kinematics("binned", edges=edges, ratios=ratios)
    sums = []
    for rows in (sim, data):
        total = np.zeros_like(ratios)
        np.add.at(total, made._bin_indices(rows.conditions), rows.weights / rows.weights.sum())
        sums.append(total)
    good = (sums[0] > 0) & (sums[1] > 0)
    ratios[good] = sums[1][good] / sums[0][good]
    return made


# --- boosted -------------------------------------------------------------------------------------


def _xgboost() -> Any:
    return optional_import("xgboost", feature="reweight='boosted'", extra="xgboost")


def _boosted(sim: Rows, data: Rows, sim_test: Rows, data_test: Rows, *, seed: int) -> Any:
    train, test = _problem(sim, data), _problem(sim_test, data_test)
    depth = _DEPTH[min(len(sim), len(data)) >= _MANY_ROWS]
    return _train(train, test, rounds=_ROUNDS, depth=depth, eta=_RATE, seed=seed)


@dataclass(frozen=True, slots=True)
class _LabelledRows:
    """Data (label 1) against simulation (label 0), each with the same sum of weights."""

    x: Float
    y: Float
    w: Float

    def gradients(self, margin: Any, _matrix: Any) -> tuple[Float, Float]:
        p = 1 / (1 + np.exp(-np.asarray(margin, np.float64)))
        return self.w * (p - self.y), np.maximum(np.abs(self.w) * p * (1 - p), 1e-16)

    def loss(self, margin: Any) -> float:
        m = np.asarray(margin, np.float64)
        return float((self.w * (np.logaddexp(0, m) - self.y * m)).sum() / self.w.sum())


def _check_sums(parts: Sequence[Rows]) -> None:
    smallest = min(float(rows.weights.sum()) for rows in parts)
    if not smallest > 0:
        message = (
            f"a part of the rows has a sum of weights of {smallest:g}: too few to reweight with "
            "negative weights; give more, or reweight='binned' or 'none'"
        )
        raise UsageError(message)


def _problem(sim: Rows, data: Rows) -> _LabelledRows:
    _check_sums((data, sim))
    sums = [float(rows.weights.sum()) for rows in (data, sim)]
    total = len(data) + len(sim)
    parts = [rows.weights / each for rows, each in zip((data, sim), sums, strict=True)]
    w = np.concatenate(parts) * total / 2
    y = np.concatenate([np.ones(len(data)), np.zeros(len(sim))])
    return _LabelledRows(np.concatenate([data.conditions, sim.conditions]), y, w)


def _train(
    train: _LabelledRows, test: _LabelledRows, *, rounds: int, depth: int, eta: float, seed: int
) -> Any:
    """A booster of as many trees as are best on `test`."""
    xgboost = _xgboost()
    # one thread: sums in another order would give other trees
    held = xgboost.QuantileDMatrix(train.x, max_bin=256, nthread=1)
    other = xgboost.QuantileDMatrix(test.x, ref=held, nthread=1)
    booster = xgboost.train(
        {
            "eta": eta,
            "max_depth": depth,
            "min_child_weight": 20,
            "tree_method": "hist",
            "base_score": 0.0,
            "seed": seed % 2**31,
            "nthread": 1,
            "disable_default_eval_metric": True,
        },
        held,
        rounds,
        evals=[(other, "test")],
        obj=train.gradients,
        custom_metric=lambda margin, _: ("loss", test.loss(margin)),
        early_stopping_rounds=_PATIENCE,
        verbose_eval=False,
    )
    return booster[: booster.best_iteration + 1]


def _auc(sim: Rows, data: Rows, *, seed: int) -> float:
    """Of classifiers trained on one half of these rows each, for the other half; their mean."""
    rng = np.random.default_rng(seed)
    a, b = (rng.random(len(rows))[event_numbers(rows.events)] < 0.5 for rows in (sim, data))
    halves = [_problem(sim.take(a), data.take(b)), _problem(sim.take(~a), data.take(~b))]
    areas = [_auc_of(train, test, seed=seed) for train, test in (halves, halves[::-1])]
    return float(np.mean(areas))


def _auc_of(train: _LabelledRows, test: _LabelledRows, *, seed: int) -> float:
    booster = _train(train, train, rounds=_CLOSURE_ROUNDS, depth=3, eta=0.1, seed=seed)
    score = np.asarray(booster.inplace_predict(test.x, predict_type="margin"), np.float64)
    return roc_area_of_labels(score, test.y, test.w)


def _auc_by_networks(sim: Rows, data: Rows, *, seed: int) -> float:
    """The same of networks."""
    from rootml.sbi.morphing.reweighting._reweight_network import fit_network

    rng = np.random.default_rng(seed)
    tenths = [rng.integers(0, 10, len(rows))[event_numbers(rows.events)] for rows in (sim, data)]
    areas = []
    for half in (0, 1):
        ours, theirs = (np.where(tenth % 2 == half, tenth // 2, -1) for tenth in tenths)
        train = sim.take(ours > 0), data.take(theirs > 0)
        held = sim.take(ours == 0), data.take(theirs == 0)
        test = sim.take(ours < 0), data.take(theirs < 0)
        _check_sums((*train, *held, *test))
        network = fit_network(train, held, seed=(seed, 2 * _STREAM + half))
        rest = _problem(*test)
        areas.append(roc_area_of_labels(network.margin(rest.x), rest.y, rest.w))
    return float(np.mean(areas))
