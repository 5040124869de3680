"""Toys anywhere: of weighted reference events, and of new ones, beside draws of the densities."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import sbi_problems
from sbi_problems import SignalBackground
from scipy import stats

import rootml
from rootml import sbi
from rootml.errors import DensityError, SchemaError, UsageError
from rootml.sbi.inference.toys._toy_source import ToySource
from rootml.sbi.morphing import Generator

FAR = {"mu": 4.0, "jes": 1.5}


class Fresh:
    """Draws from the reference of `SignalBackground`, its mixture at mu = 1."""

    def __init__(self, problem: SignalBackground) -> None:
        self.problem = problem

    def events(self, rng: np.random.Generator, number: int) -> np.ndarray:
        x = self.problem.draw(rng)
        while len(x) < number:
            x = np.append(x, self.problem.draw(rng))
        return np.asarray(rng.permutation(x)[:number])  # of the first data set, peak comes first

    def reference(self, rng: np.random.Generator, number: int) -> dict[str, Any]:
        return self.problem.columns(self.events(rng, number))


@pytest.mark.parametrize("kind", ["reference", "fresh"])
def test_events_follow_the_densities_far_away(problem: SignalBackground, kind: str) -> None:
    """The numbers and the distribution of events, at a point far from the reference."""
    fresh: Any = {"generator": Fresh(problem)} if kind == "fresh" else {}
    source: Any = ToySource(problem.model(), problem.reference(20_000), **fresh).at(FAR)
    rng = np.random.default_rng(8)
    drawn = [source.draw(rng) for _ in range(40)]
    counts = np.array([like.columns.num_events for like in drawn])
    assert counts.mean() == pytest.approx(1300.0, abs=4 * math.sqrt(1300.0 / 40))
    assert counts.var() == pytest.approx(1300.0, rel=4 * math.sqrt(2 / 40))
    ratios = np.concatenate([like.columns.ratio("S") for like in drawn])
    exact = problem.columns(np.concatenate([problem.draw(rng, **FAR) for _ in range(40)]))["S"]
    assert stats.ks_2samp(ratios, exact).pvalue > 1e-3


def test_fits_of_new_events_close(problem: SignalBackground) -> None:
    """The same results as of toys drawn by the densities themselves, and no bias."""
    arguments: dict[str, Any] = {"number": 150, "seed": 2, "truth": {"mu": 2.5, "jes": 1.0}}
    model, reference = problem.model(), problem.reference(5000)
    exact = sbi.toys(model, reference, generator=sbi_problems.draw_toy, **arguments)
    fresh = sbi.toys(model, reference, generator=Fresh(problem), **arguments)
    for name in ("mu", "jes"):
        i = exact.index(name)
        assert stats.ks_2samp(exact.values[:, i], fresh.values[:, i]).pvalue > 1e-3
        assert abs(fresh.pulls(name).mean()) < 4 / math.sqrt(150)
        assert fresh.pulls(name).std() == pytest.approx(1.0, abs=4 / math.sqrt(300))
        np.testing.assert_allclose(exact.errors[:, i].mean(), fresh.errors[:, i].mean(), rtol=0.02)
    assert fresh.effective == math.inf
    assert "effective" not in repr(fresh)


def test_new_events_go_beyond_the_sample() -> None:
    """20,000 expected events and no reference events: refused without a source, right with it."""
    problem = SignalBackground(20_000.0)
    arguments: dict[str, Any] = {"number": 6, "seed": 2, "truth": {"mu": 1.5}}
    with pytest.raises(UsageError, match=r"effective .* too few to draw toys of 21,000 .* min_r"):
        sbi.toys(problem.model(), problem.reference(5000), **arguments)
    found = sbi.toys(problem.model(), generator=Fresh(problem), **arguments)
    assert np.abs(found.values.mean(axis=0) - found.truth)[0] < 4 * found.errors[0, 0] / 6**0.5
    asimov = sbi.asimov(problem.model(), Fresh(problem).reference(np.random.default_rng(1), 10**5))
    assert sbi.fit(asimov).values == pytest.approx({"mu": 1.0, "jes": 0.0}, abs=1e-6)


def test_the_effective_number_is_reported_and_refused(problem: SignalBackground) -> None:
    """(sum w)^2 / sum w^2 of the weights that turn the reference into the density there."""
    x = Fresh(problem).events(np.random.default_rng(3), 4000)
    model = problem.model()
    found = sbi.toys(model, problem.columns(x), number=3, seed=1, truth=FAR)
    weights = 4.0 * 100 * problem.signal(x) + 900 * problem.background(x, 1.5)
    weights /= 0.1 * problem.signal(x) + 0.9 * problem.background(x)
    assert found.effective == pytest.approx(weights.sum() ** 2 / (weights**2).sum(), rel=0.01)
    assert f"from {found.effective:,.0f} effective reference events" in repr(found)
    refused = {"min_ratio": 3.0, "number": 3, "seed": 1, "truth": FAR}
    with pytest.raises(UsageError, match=r"at least 3 times as many"):
        sbi.toys(model, problem.columns(x), **refused)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="min_ratio=-1"):
        sbi.toys(model, problem.columns(x), number=1, seed=1, min_ratio=-1.0)


class Weighted(Fresh):
    def reference(self, rng: np.random.Generator, number: int) -> Any:
        return sbi.RatioColumns(super().reference(rng, number), np.full(number, 0.5))


class Scaled(Fresh):
    def reference(self, rng: np.random.Generator, number: int) -> Any:
        columns = sbi.RatioColumns(super().reference(rng, number))
        return columns.scaled({"S": 1.1})


def test_sources_that_are_refused(problem: SignalBackground) -> None:
    model, reference = problem.model(), problem.reference()
    with pytest.raises(UsageError, match="must have no weights"):
        sbi.toys(model, reference, number=1, seed=1, generator=Weighted(problem))
    with pytest.raises(UsageError, match=r"the ratios of process 'S' have the mean 1\.[01]"):
        sbi.toys(model, number=1, seed=1, generator=Scaled(problem))
    rare = sbi.Model({"S": "1e-9", "B": "1000 + 0 * mu"}, {"mu": sbi.Parameter(1.0)})

    class Peak:
        def reference(self, rng: np.random.Generator, number: int) -> dict[str, Any]:
            ratio = np.where(rng.uniform(size=number) < 2e-5, 5e4, 1e-9)
            return {"S": np.ones(number), "B": ratio / ratio.mean()}

    with pytest.raises(UsageError, match="would be kept at"):
        sbi.toys(rare, number=1, seed=1, generator=Peak())
    negative = sbi.Model({"S": "-100 * mu", "B": "100"}, {"mu": sbi.Parameter(1.0)})
    with pytest.raises(DensityError, match="negative"):
        sbi.toys(negative, number=1, seed=1, generator=Scarce())


class Scarce:
    def reference(self, rng: np.random.Generator, number: int) -> dict[str, Any]:
        return {"S": 2.0 * rng.uniform(size=number), "B": np.ones(number)}


# --- a learned density ---------------------------------------------------------------------------


@pytest.mark.long
def test_toys_of_a_learned_density_close(problem: SignalBackground, tmp_path: Path) -> None:
    """A flow that learned the reference from 20,000 events; toys far from it."""
    rng = np.random.default_rng(1)
    x = Fresh(problem).events(rng, 20_000)
    condition = rng.normal(size=len(x))
    pa.parquet.write_table(pa.table({"x": x, "c": condition}), tmp_path / "reference.parquet")
    flow = Generator(["x"], ["c"], layers=2, steps=60, bounds={"x": (0.0, 10.0)})
    flow.fit(rootml.open(tmp_path / "reference.parquet"), progress=False)
    learned = sbi.LearnedReference(flow, lambda e: problem.columns(e["x"]), {"c": condition})
    truth = {"mu": 2.5, "jes": 1.0}
    found = sbi.toys(problem.model(), number=150, seed=1, generator=learned, truth=truth)
    exact = sbi.toys(
        problem.model(), problem.reference(5000), number=150, seed=1, truth=truth,
        generator=sbi_problems.draw_toy,
    )  # fmt: skip
    for name in ("mu", "jes"):
        assert abs(found.pulls(name).mean()) < 4 / math.sqrt(150)
        assert found.pulls(name).std() == pytest.approx(1.0, abs=4 / math.sqrt(300))
        i = found.index(name)
        assert found.errors[:, i].mean() == pytest.approx(exact.errors[:, i].mean(), rel=0.05)


class Gaussian:
    """Stands for a fitted `Generator`."""

    def __init__(self, *, lost: int = 0) -> None:
        self.lost = lost

    def sample(self, conditions: Any, *, seed: int, ids: Any) -> Any:
        assert len(ids) == len(conditions["c"])
        x = np.random.default_rng(seed).normal(conditions["c"])
        return {**conditions, "x": x, "drawn": np.arange(len(x)) >= self.lost}


def columns_of(events: Any) -> dict[str, Any]:
    """A process that is half a unit farther; the reference is the other."""
    return {"S": np.exp(0.5 * (events["x"] - events["c"]) - 0.125), "B": np.ones(len(events["x"]))}


def test_a_learned_reference_draws_conditions_by_their_weights() -> None:
    learned = sbi.LearnedReference(
        Gaussian(), lambda events: {"c": events["c"]}, {"c": [1.0, 2.0, 3.0]}, weights=[1, 0, 3]
    )
    drawn = learned.reference(np.random.default_rng(1), 4000)["c"]
    assert set(drawn.tolist()) == {1.0, 3.0}
    assert (drawn == 3.0).mean() == pytest.approx(0.75, abs=4 * math.sqrt(0.1875 / 4000))
    assert "conditions        c" in repr(learned)


def test_toys_of_a_learned_reference() -> None:
    model = sbi.Model({"S": "mu * 100", "B": "400"}, {"mu": sbi.Parameter(1.0)})
    learned = sbi.LearnedReference(Gaussian(), columns_of, {"c": np.linspace(-1.0, 1.0, 50)})
    arguments: dict[str, Any] = {"number": 3, "seed": 1, "generator": learned}
    here = sbi.toys(model, truth={"mu": 1.5}, **arguments)
    assert here.valid.all()
    assert np.abs(here.values - 1.5).max() < 5 * here.errors.max()


def test_learned_references_that_are_refused() -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(UsageError, match="draws nothing for 2 of 5 events"):
        sbi.LearnedReference(Gaussian(lost=2), columns_of, {"c": [0.0]}).reference(rng, 5)
    with pytest.raises(SchemaError, match="several lengths: {'c': 1, 'd': 2}"):
        sbi.LearnedReference(Gaussian(), columns_of, {"c": [0.0], "d": [0.0, 1.0]})
    with pytest.raises(UsageError, match="at least one event"):
        sbi.LearnedReference(Gaussian(), columns_of, {"c": []})
    with pytest.raises(UsageError, match="2 numbers that are not negative"):
        sbi.LearnedReference(Gaussian(), columns_of, {"c": [0.0, 1.0]}, weights=[-1.0, 2.0])
