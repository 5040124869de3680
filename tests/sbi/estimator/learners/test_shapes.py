"""Which shapes of nuisances are kept: the test on held-out events, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from sbi_learned import write
from sbi_null_studies import NULL, REAL, Shapes

import rootml
from rootml import sbi
from rootml.sbi.estimator.learners._learn import _shape_notes, _unlearned_notes
from rootml.sbi.estimator.learners._shapes import HeldOutShape, decide_shape

FOLDS = 5


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    pytest.importorskip("torch").set_num_threads(1)


def events(rng: np.random.Generator, n: int, effect: float, size: int = 1) -> list[Any]:
    """n events of nominal, up and down in each of the folds; the first mean moves."""
    return [
        [rng.normal(size=(n, size)) + shift * (np.arange(size) == 0) for shift in shifts]
        for shifts in [(0.0, effect, -effect)] * FOLDS
    ]


def held_out(
    folds: Sequence[Sequence[Any]], shapes: Sequence[Any], **more: Any
) -> list[HeldOutShape]:
    """`shapes`: the function x -> odd part that each network has learned."""
    found = []
    for parts, shape in zip(folds, shapes, strict=True):
        odd = np.concatenate([shape(x) for x in parts])
        label = np.repeat([0, 1, 2], [len(x) for x in parts])
        weights = more.get("weights", np.ones)(len(odd))
        ids = more.get("ids", lambda _: None)(len(odd))
        found.append(HeldOutShape(np.stack([odd, 0.0 * odd], axis=1), label, weights, ids))
    return found


def test_noise_is_seldom_significant() -> None:
    """Directions learned from the other folds: close to (q - d) / sqrt(2 q) of chi2 variables q.

    The naive significance, without sqrt(2), would be above 3 in several percent of the cases.
    """
    rng, size, found = np.random.default_rng(1), 8, []
    for _ in range(400):
        folds = events(rng, 200, 0.0, size)
        slopes = [
            sum(up.mean(0) - down.mean(0) for k, (_, up, down) in enumerate(folds) if k != m) / 4
            for m in range(FOLDS)
        ]  # fmt: skip
        shapes = [lambda x, s=s: x @ s / 2 for s in slopes]
        found.append(decide_shape("B", "n", held_out(folds, shapes)).decision.significance)
    q = scipy.stats.chi2.rvs(size, size=100_000, random_state=2)
    expected = (q - size) / np.sqrt(2.0 * q)
    for level in (0.5, 0.8, 0.95):
        assert np.quantile(found, level) == pytest.approx(np.quantile(expected, level), abs=0.25)
    assert np.mean(np.array(found) > 3.0) < 0.005
    assert np.mean(np.array(found) * np.sqrt(2.0) > 3.0) > 0.005


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_share_undoes_a_wrong_amplitude(factor: float) -> None:
    """An independent minimum of the same likelihood, by scipy; and the known amplitude."""
    rng, effect = np.random.default_rng(3), 0.3
    folds = events(rng, 2000, effect)
    parts = held_out(folds, [lambda x: factor * effect * x[:, 0]] * FOLDS)
    shape = decide_shape("B", "n", parts)
    assert shape.shares[0] == pytest.approx(1.0 / factor, rel=0.05)
    assert shape.shares[1] == 0.0
    assert shape.decision.parts == ("odd",)
    assert shape.decision.size == pytest.approx(effect, rel=0.1)

    def loss(values: Any) -> float:
        total = 0.0
        for m, part in enumerate(parts):
            up = values[-1] * part.parts[:, 0] + values[2 * m]
            down = -values[-1] * part.parts[:, 0] + values[2 * m + 1]
            own = np.choose(part.label, [np.zeros_like(up), up, down])
            total -= (own - np.log(1.0 + np.exp(up) + np.exp(down))).sum()
        return float(total)

    best = scipy.optimize.minimize(loss, np.zeros(2 * FOLDS + 1), method="BFGS").x
    assert shape.shares[0] == pytest.approx(best[-1], abs=1e-4)
    np.testing.assert_allclose(shape.offsets.ravel(), best[:-1], atol=1e-4)


def test_weights_and_identities_count_in_the_error() -> None:
    rng = np.random.default_rng(4)
    folds = events(rng, 1000, 0.08)
    shapes = [lambda x: x[:, 0]] * FOLDS
    plain = decide_shape("B", "n", held_out(folds, shapes)).decision
    scaled = decide_shape("B", "n", held_out(folds, shapes, weights=lambda n: np.full(n, 7.0)))
    assert scaled.decision.significance == pytest.approx(plain.significance, rel=1e-6)
    assert scaled.decision.missed == pytest.approx(plain.missed, rel=1e-12)
    twice = [[np.concatenate([x, x]) for x in parts] for parts in folds]

    def ids(n: int) -> Any:  # each event and its copy are one
        third = n // 6
        return np.concatenate([np.tile(np.arange(third), 2) + k * third for k in range(3)])

    copied = decide_shape("B", "n", held_out(twice, shapes, ids=ids)).decision
    assert copied.significance == pytest.approx(plain.significance, rel=1e-3)
    naive = decide_shape("B", "n", held_out(twice, shapes)).decision
    assert naive.significance == pytest.approx(np.sqrt(2.0) * plain.significance, rel=1e-3)
    signs = np.where(rng.uniform(size=3000) < 0.25, -1.0, 1.0)
    signed = decide_shape("B", "n", held_out(folds, shapes, weights=lambda _: signs)).decision
    assert signed.missed > 1.5 * plain.missed  # effective events: a quarter


def test_the_same_events_have_no_shape() -> None:
    x = np.random.default_rng(5).normal(size=(500, 1))
    ids = lambda n: np.tile(np.arange(n // 3), 3)  # noqa: E731
    parts = held_out([[x, x, x]] * FOLDS, [lambda x: 0.1 * x[:, 0]] * FOLDS, ids=ids)
    decision = decide_shape("B", "n", parts).decision
    assert not decision.kept
    assert abs(decision.significance) < 1e-3


def test_network_without_output_is_dropped() -> None:
    folds = events(np.random.default_rng(6), 100, 0.0)
    shape = decide_shape("B", "n", held_out(folds, [lambda x: 0.0 * x[:, 0]] * FOLDS))
    assert not shape.decision.kept
    assert shape.shares == (0.0, 0.0)
    assert (shape.offsets == 0.0).all()
    assert (shape.decision.gain, shape.decision.size) == (0.0, 0.0)


def test_single_inputs_may_decide() -> None:
    """A share that alone is too uncertain is used where inputs show the effect."""
    folds = events(np.random.default_rng(9), 400, 0.04)
    for sign, kept in ((1.0, True), (-1.0, False)):
        parts = held_out(folds, [lambda x, s=sign: s * 0.05 * x[:, 0]] * FOLDS)
        alone = decide_shape("B", "n", parts)
        assert not alone.decision.kept
        seen = decide_shape("B", "n", parts, marginal=(3.5, 1.0))
        assert (seen.decision.kept, seen.decision.significance) == (kept, 3.5)
        assert seen.decision.parts == (("odd",) if kept else ())
        assert (seen.shares[0] > 0.0) == kept
        notes = [*_unlearned_notes([seen.decision]), *_shape_notes([seen.decision])]
        assert ["B.n that the networks did not learn" in note for note in notes] == [True] * (
            not kept
        )


# --- whole trainings -----------------------------------------------------------------------------

QUICK: dict[str, Any] = {"hidden": (16, 16), "epochs": 4, "batch_size": 512, "ensemble": 5}


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shapes, sbi.Ratios]:
    """A null and a real nuisance."""
    problem = Shapes(0.3)
    folder = tmp_path_factory.mktemp("shapes")
    return problem, problem.train(folder, np.random.default_rng(7), 4000, seed=1, **QUICK)


def test_null_is_dropped_and_real_kept(learned: tuple[Shapes, sbi.Ratios]) -> None:
    problem, ratios = learned
    null, real = ratios.record.shapes
    assert (null.nuisance, null.kept, null.size, null.parts) == (NULL, False, 0.0, ())
    assert (real.nuisance, real.kept) == (REAL, True)
    assert real.gain > 5.0 * real.gain_error
    assert "B.null: dropped" in str(ratios.record)
    assert "could miss" in str(ratios)
    x = problem.background(np.random.default_rng(8), 2000)
    columns = ratios.columns(x)
    up, down = columns.variation("B", NULL)
    np.testing.assert_array_equal(up, columns.ratio("B"))
    np.testing.assert_array_equal(down, columns.ratio("B"))
    up, down = columns.variation("B", REAL)
    near = np.abs(x).max(axis=1) < 2.0
    for found, sign in ((up, 1.0), (down, -1.0)):
        expected = sign * problem.effect * x[:, 0] - 0.5 * problem.effect**2
        assert np.abs(np.log(found) - expected)[near].max() < 0.15


def test_data_without_events(learned: tuple[Shapes, sbi.Ratios]) -> None:
    """The error says how; what it says works."""
    problem, ratios = learned
    with pytest.raises(rootml.errors.EmptySelectionError, match="no events were given") as caught:
        ratios.columns({name: [] for name in problem.names})
    recipe = str(caught.value).partition("data without events are ")[2]
    columns = eval(recipe, {"sbi": sbi})
    known = ratios.columns(problem.background(np.random.default_rng(9), 2000))
    fit = sbi.fit(problem.model(100).likelihood(columns, reference=known))
    assert fit.values["mu"] == 0.0


def test_null_nuisance_keeps_its_error(learned: tuple[Shapes, sbi.Ratios]) -> None:
    problem, ratios = learned
    rng = np.random.default_rng(9)
    model = problem.model(20_000)
    reference = ratios.columns(problem.background(rng, 20_000))
    columns = ratios.columns(problem.data(rng, 20_000))
    fit = sbi.fit(model.likelihood(columns, reference=reference)).require_valid()
    assert fit.errors[NULL] == pytest.approx(1.0, abs=1e-6)
    assert fit.values[NULL] == pytest.approx(0.0, abs=1e-6)
    assert fit.errors[REAL] < 0.1


def test_dropped_shape_leaves_yield_effects(learned: tuple[Shapes, sbi.Ratios]) -> None:
    problem, ratios = learned
    rng = np.random.default_rng(10)
    model = sbi.Model(
        {"S": "mu * 200", "B": "1800"}, {"mu": sbi.Parameter(1.0, lower=0.0)},
        {NULL: sbi.Nuisance(yields={"B": (1.2, 0.8)}), REAL: sbi.Nuisance()},
    )  # fmt: skip
    known = ratios.columns(problem.background(rng, 5000))
    like = model.likelihood(ratios.columns(problem.data(rng, 2000)), reference=known)
    fit = sbi.fit(like).require_valid()
    assert fit.errors[NULL] < 0.5  # 1,800 events know the yield to 2 %, in units of 20 %


def test_shapes_are_saved(learned: tuple[Shapes, sbi.Ratios], tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    problem, ratios = learned
    ratios.save(tmp_path / "ratios.onnx")
    again = sbi.RatioEstimator.load(tmp_path / "ratios.onnx")
    assert isinstance(again, sbi.Ratios)
    assert again.record == ratios.record
    x = problem.background(np.random.default_rng(11), 50)
    np.testing.assert_array_equal(again.log_ratio(x), ratios.log_ratio(x))
    members = [np.exp(ratios.log_ratio(x, member=m)) for m in range(ratios.members)]
    np.testing.assert_allclose(np.mean(members, axis=0), np.exp(ratios.log_ratio(x)), rtol=1e-6)


def test_variations_of_the_reference_alone(tmp_path: Path) -> None:
    """Nothing but the reference and its variations: no classifier between samples is needed."""
    rng = np.random.default_rng(12)

    def sample(name: str, shift: float) -> rootml.Dataset:
        return write(tmp_path / f"{name}.parquet", {"x": rng.normal(shift, 1.0, 3000)})

    background = {
        "nominal": sample("n", 0.0),
        "a": (sample("up", 0.3), sample("down", -0.3)),
        "b": (sample("up2", 0.0), sample("down2", 0.0)),
    }
    estimator = sbi.RatioEstimator(["x"], progress=False, **QUICK)
    ratios = estimator.fit({"B": background}, reference="B")
    assert ratios.outputs == ("B.a.up", "B.a.down", "B.b.up", "B.b.down")
    assert [shape.kept for shape in ratios.record.shapes] == [True, False]
    grid = np.linspace(-1.5, 1.5, 21)
    found = ratios.log_ratio({"x": grid})
    np.testing.assert_allclose(found[:, 0], 0.3 * grid - 0.045, atol=0.1)
    np.testing.assert_array_equal(found[:, 2:], 0.0)
