"""The two-sample test: areas against scikit-learn, errors against repetition, nulls, power."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import integrate, stats
from sklearn.metrics import roc_auc_score

from rootml._internal.statistics import roc_area
from rootml.errors import UsageError
from rootml.sbi.morphing import Options, Sample
from rootml.sbi.morphing.validation._two_sample import Kind, two_sample
from rootml.sbi.morphing.validation._validate import floor_error

KINDS: tuple[Kind, ...] = ("network", "trees", "both")


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_area_is_scikit_learns(ties: bool, weighted: bool) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.4, 1, 300), rng.normal(0, 1, 500)
    if ties:
        a, b = np.round(a), np.round(b)
    w = rng.uniform(size=800) if weighted else np.ones(800)
    label = np.repeat([1, 0], [300, 500])
    expected = roc_auc_score(label, np.concatenate([a, b]), sample_weight=w)
    assert roc_area(a, b, w[:300], w[300:])[0] == pytest.approx(expected, rel=1e-12)


def test_error_of_the_area_is_the_scatter_of_repetitions() -> None:
    rng = np.random.default_rng(2)
    found = []
    for _ in range(400):
        a, b = rng.normal(0.5, 1, 200), rng.normal(0, 1, 300)
        w = np.where(rng.random(300) < 0.1, -1.0, rng.uniform(0.5, 2, 300))
        found.append(roc_area(a, b, None, w))
    values, errors = np.array(found).T
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)
    truth = stats.norm.cdf(0.5 / np.sqrt(2))  # two normals one half apart
    assert np.mean(values) == pytest.approx(truth, abs=4 * np.std(values) / 20)


@pytest.mark.parametrize("kind", KINDS)
def test_area_of_known_densities_is_reached(kind: Kind) -> None:
    """The best any classifier can do is known; a learned one comes close and not above."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.7, 1, (2500, 2)), rng.normal(0, 1, (2500, 2))
    best = float(stats.norm.cdf(0.7))  # distance 0.7 sqrt 2, over sqrt 2
    found = two_sample(a, b, kind=kind)
    assert best - 0.025 < found.auc < best + 3 * found.error
    curve = found.efficiency_sample, found.efficiency_reference
    assert integrate.trapezoid(curve[1], curve[0]) == pytest.approx(found.auc, abs=0.003)
    for efficiency in curve:
        assert efficiency[0] == 0
        assert efficiency[-1] == 1


@pytest.mark.parametrize("kind", ["network", "trees"])
def test_equal_samples_cannot_be_told_apart(kind: Kind) -> None:
    rng = np.random.default_rng(4)
    pulls = []
    for seed in range(3):
        a, b = rng.normal(size=(1000, 3)), rng.normal(size=(1000, 3))
        found = two_sample(a, b, kind=kind, seed=seed)
        pulls.append((found.auc - 0.5) / found.error)
    assert abs(np.mean(pulls)) < 2


@pytest.mark.parametrize("kind", ["network", "trees"])
def test_signed_weights_train_and_judge(kind: Kind) -> None:
    """Events of opposite weights cancel: without the signs they would give it away."""
    rng = np.random.default_rng(5)
    a = rng.normal(size=(3000, 2))
    ghosts = rng.normal(2, 0.5, size=(1500, 2))
    b = np.concatenate([rng.normal(size=(3000, 2)), ghosts])
    w = np.concatenate([np.ones(3000), np.where(np.arange(1500) % 2, 1.0, -1.0)])
    found = two_sample(a, b, None, w, kind=kind)
    assert found.auc == pytest.approx(0.5, abs=4 * found.error)
    assert two_sample(a, b, None, np.abs(w), kind=kind).auc > 0.6


def test_reweighting_is_seen() -> None:
    """An exact density ratio as weight closes an AUC of 0.6."""
    rng = np.random.default_rng(6)
    a, b = rng.normal(0.4, 1, (4000, 1)), rng.normal(0, 1, (4000, 1))
    w = np.exp(0.4 * b[:, 0] - 0.08)
    assert two_sample(a, b, kind="trees").auc > 0.58
    found = two_sample(a, b, None, w, kind="trees")
    assert found.auc == pytest.approx(0.5, abs=3.5 * found.error)


def test_a_spike_and_a_heavy_tail_do_not_disturb_the_network() -> None:
    rng = np.random.default_rng(7)

    def sample(zeros: float) -> npt.NDArray[np.float64]:
        x = np.exp(3 * rng.normal(size=(2000, 1)))
        return np.where(rng.random((2000, 1)) < zeros, 0.0, x)

    assert two_sample(sample(0.3), sample(0.45), kind="network").auc > 0.56
    found = two_sample(sample(0.3), sample(0.3), kind="network")
    assert found.auc == pytest.approx(0.5, abs=4 * found.error)


def test_the_same_seed_gives_the_same_and_leaves_torch_alone() -> None:
    rng = np.random.default_rng(8)
    a, b = rng.normal(0.2, 1, (200, 2)), rng.normal(size=(200, 2))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = (two_sample(a, b, seed=3) for _ in range(2))
    assert first.auc == second.auc != two_sample(a, b, seed=4).auc
    assert torch.equal(state, torch.get_rng_state())


def test_bad_requests_are_named() -> None:
    x = np.zeros((120, 1))
    with pytest.raises(UsageError, match="'both', 'network' or 'trees'"):
        two_sample(x, x, kind="svm")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="3 folds of 120 and 120 events"):
        two_sample(x, x, folds=3)
    with pytest.raises(UsageError, match="1 folds"):
        two_sample(x, x, folds=1)


@pytest.mark.slow
def test_the_error_of_the_floor_is_its_scatter() -> None:
    """Of independent pairs of equal samples: what is printed is what is seen."""
    options = Options(classifier="trees")
    areas, errors = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(2, 1500, 3))
        areas.append(two_sample(x, y, kind="trees", seed=seed).auc)
        if seed < 3:
            sample = Sample.of(dict(zip("abc", np.vstack([x, y]).T, strict=True)), what="data")
            errors.append(floor_error(sample, replace(options, seed=seed)))
    rms = np.sqrt(np.mean((np.array(areas) - 0.5) ** 2))
    assert 0.55 < np.mean(errors) / rms < 1.8  # an rms of ten has an error of 22 %


def test_copies_of_an_event_are_in_one_fold() -> None:
    """Of the same events in both samples: one trained on a copy is wrong about the other."""
    rng = np.random.default_rng(11)
    x, events = rng.normal(size=(3000, 2)), np.arange(3000)
    order = rng.permutation(3000)
    apart = two_sample(x, x[order], kind="trees")
    together = two_sample(x, x[order], kind="trees", events=(events, events[order]))
    assert apart.auc < 0.5 - 5 * apart.error
    assert together.auc == pytest.approx(0.5, abs=1e-12)
