"""Asimov data, toys, impacts, sample shifts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sbi_problems
from sbi_problems import SignalBackground, many_nuisances
from scipy import stats

from rootml import sbi
from rootml.errors import (
    ConvergenceError,
    DensityError,
    MissingParameterError,
    StateError,
    UsageError,
)
from rootml.sbi.likelihood._binned import example_workspace


def test_asimov_data_are_what_is_expected(problem: SignalBackground) -> None:
    like = sbi.asimov(problem.model(), problem.reference(), mu=1.7, jes=0.6)
    assert like.columns is not None
    assert like.columns.sum_of_weights == pytest.approx(1070.0)
    assert like.observed == {"jes": 0.6}
    result = sbi.fit(like)
    assert result.values == pytest.approx({"mu": 1.7, "jes": 0.6}, abs=1e-6)


def test_asimov_error_is_the_expected_one(problem: SignalBackground) -> None:
    """Fisher information of the densities, by an integral."""
    result = sbi.fit(sbi.asimov(problem.model(), problem.reference(20000)))
    x = np.linspace(0.0, 10.0, 40001)[:-1] + 1.25e-4
    density = 100.0 * problem.signal(x) + 900.0 * problem.background(x)
    step = 1e-4
    by_jes = (problem.background(x, step) - problem.background(x, -step)) / (2 * step)
    gradient = np.stack([100.0 * problem.signal(x), 900.0 * by_jes])
    information = (gradient / density) @ gradient.T * 2.5e-4 + np.diag([0.0, 1.0])
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    assert list(result.errors.values()) == pytest.approx(errors, rel=2e-3)


def test_asimov_of_bins() -> None:
    model = sbi.Model({}, binned=example_workspace())
    like = sbi.asimov(model, mu=2.0, bkg_norm=0.5)
    result = sbi.fit(like)
    assert result.values == pytest.approx(
        {"mu": 2.0, "bkg_norm": 0.5, "mc[0]": 1.0, "mc[1]": 1.0}, abs=1e-5
    )


def test_asimov_refuses(problem: SignalBackground) -> None:
    x = problem.draw(np.random.default_rng(1))
    with pytest.raises(UsageError, match="need reference events"):
        sbi.asimov(problem.model())
    with pytest.raises(MissingParameterError, match="'nu'"):
        sbi.asimov(problem.model(), problem.reference(), nu=1.0)
    with pytest.raises(UsageError, match=r"process 'S' have the mean 2"):
        sbi.asimov(problem.model(), problem.reference().scaled({"S": 2.0}))
    ratio = np.where(x > 9.0, -1.0, 1.0)
    ratio /= ratio.mean()
    with pytest.raises(DensityError, match="negative"):
        sbi.asimov(sbi.Model({"S": "10"}), {"S": ratio})
    signed = sbi.RatioColumns({"S": np.ones(4)}, weights=np.array([1.0, 2.0, -1.0, 2.0]))
    with pytest.raises(DensityError, match=r"weight is negative for 1 of 4 .*number 2 \(-1\)"):
        sbi.asimov(sbi.Model({"S": "10"}), signed)


# --- toys ----------------------------------------------------------------------------------------


def test_toys_follow_the_model(problem: SignalBackground) -> None:
    """Number of events, and the distribution of x, as drawn from the reference."""
    from rootml.sbi.inference.toys._toy_source import ToySource

    source = ToySource(problem.model(), problem.reference(10000)).at({"mu": 1.5, "jes": 1.0})
    rng = np.random.default_rng(6)
    drawn = [source.draw(rng) for _ in range(60)]
    counts = np.array([d.columns.num_events for d in drawn if d.columns is not None])
    assert counts.mean() == pytest.approx(1050.0, abs=4 * math.sqrt(1050.0 / 60))
    outcomes = np.array([d.observed["jes"] for d in drawn])
    assert stats.kstest(outcomes, stats.norm(1.0, 1.0).cdf).pvalue > 1e-3
    ratios = np.concatenate([d.columns.ratio("S") for d in drawn if d.columns is not None])
    exact = problem.columns(
        np.concatenate([problem.draw(rng, 1.5, 1.0) for _ in range(60)])
    )["S"]  # fmt: skip
    assert stats.ks_2samp(ratios, exact).pvalue > 1e-3


def test_same_toys_for_any_number_of_workers_and_after_a_stop(
    problem: SignalBackground, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {
        "seed": 3, "truth": {"jes": 0.5}, "tests": [{"mu": 1.0}], "engine": "numpy",
    }  # fmt: skip
    model, reference = problem.model(), problem.reference(4000)
    alone = sbi.toys(model, reference, number=9, **arguments)
    sbi.toys(model, reference, number=6, workers=2, folder=tmp_path, **arguments)
    lines = sorted(tmp_path.glob("toys-*.jsonl"))
    assert sum(len(file.read_text().splitlines()) for file in lines) == 6
    text = lines[0].read_text()
    lines[0].write_text(text[:-60])  # a line that was cut off is fitted again
    again = sbi.toys(model, reference, number=9, folder=tmp_path, **arguments)
    for field in ("values", "errors", "nll", "conditional", "valid", "events"):
        assert np.array_equal(getattr(alone, field), getattr(again, field)), field
    assert "9 toys, 0 without" in repr(alone)
    assert "<table>" in alone._repr_html_()
    assert json.loads((tmp_path / "toys.json").read_text())["seed"] == 3
    with pytest.raises(StateError, match="another seed: 3, not 4"):
        sbi.toys(model, reference, number=9, folder=tmp_path, **{**arguments, "seed": 4})
    with pytest.raises(StateError, match="another reference"):
        sbi.toys(model, problem.reference(4001), number=9, folder=tmp_path, **arguments)


def test_toys_by_a_generator(problem: SignalBackground) -> None:
    arguments: dict[str, Any] = {"number": 4, "seed": 5, "truth": {"mu": 1.2}, "engine": "numpy"}
    model, reference = problem.model(), problem.reference()
    ours = sbi.toys(model, reference, generator=sbi_problems.draw_toy, **arguments)
    named = sbi.toys(model, reference, generator="sbi_problems:draw_toy", workers=2, **arguments)
    assert np.array_equal(ours.values, named.values)
    with pytest.raises(UsageError, match="no function 'sbi_problems:nothing'"):
        sbi.toys(model, reference, generator="sbi_problems:nothing", **arguments)
    with pytest.raises(UsageError, match="toys: this cannot be sent to another process"):
        sbi.toys(model, reference, generator=lambda *_: None, workers=2, **arguments)
    with pytest.raises(UsageError, match="takes a function .* not a int"):
        sbi.toys(model, reference, generator=3, **arguments)  # type: ignore[arg-type]


def test_toys_at_a_truth_beyond_a_limit_start_from_the_limit() -> None:
    model = sbi.Model(
        {"S": "sqrt(mu) * 20", "B": "50"}, {"mu": sbi.Parameter(1.0, lower=1e-4, upper=9.0)}
    )
    reference = {"S": np.ones(300), "B": np.ones(300)}
    tests = [{"mu": 0.0}]
    results = sbi.toys(model, reference, number=5, seed=1, truth={"mu": 0.0}, tests=tests)
    assert (results.values >= 1e-4).all()
    assert np.isfinite(results.conditional).all()


def test_toys_refuse_a_small_reference(problem: SignalBackground) -> None:
    with pytest.raises(UsageError, match="too few to draw toys of 1,000 events"):
        sbi.toys(problem.model(), problem.reference(500), number=2, seed=1)
    with pytest.raises(UsageError, match="number=0: expected a whole number"):
        sbi.toys(problem.model(), problem.reference(), number=0, seed=1)


def test_results_leave_invalid_fits_out_and_say_so() -> None:
    from rootml.sbi.inference.toys._toy_task import Task, collect

    task = Task({"mu": 1.0}, 1, (), {})
    rows = [
        {"toy": i, "values": [1.0 + 0.5 * i], "errors": [1.0], "nll": 0.0, "valid": i != 3,
         "conditional": [], "events": 10.0, "effective": None}
        for i in range(4)
    ]  # fmt: skip
    results = collect(rows, task, ["mu"])
    assert results.pulls("mu").tolist() == [0.0, 0.5, 1.0]
    assert results.coverage("mu") == pytest.approx(2 / 3)
    assert "4 toys, 1 without" in repr(results)
    with pytest.raises(ConvergenceError, match="1 of 4 toys"):
        results.require_valid()
    with pytest.raises(MissingParameterError, match="'nu'"):
        results.pulls("nu")


# --- impacts, samples ----------------------------------------------------------------------------


def test_impacts_of_a_linear_model(tmp_path: Path) -> None:
    """``n = mu * 1000 * 1.02^lumi``: +1 sigma of lumi moves mu by the factor 1 / 1.02."""
    model = sbi.Model(
        {"S": "mu * 1000"}, {"mu": sbi.Parameter(1.0, lower=0.0)},
        {"lumi": sbi.Nuisance(yields={"S": 1.02}), "idle": sbi.Nuisance()},
    )  # fmt: skip
    found = sbi.impacts(model.likelihood({"S": np.ones(1000)}), "mu")
    assert [row.nuisance for row in found.rows] == ["lumi", "idle"]
    assert found.rows[0].up == pytest.approx(1 / 1.02 - 1.0, rel=1e-5)
    assert found.rows[0].down == pytest.approx(0.02, rel=1e-5)
    assert found.rows[1].up == pytest.approx(0.0, abs=1e-7)
    assert found.statistical == pytest.approx(math.sqrt(1000) / 1000, rel=1e-5)
    assert found.total == pytest.approx(math.hypot(found.statistical, math.log(1.02)), rel=1e-4)
    found.plot(path=tmp_path / "impacts.png")
    assert (tmp_path / "impacts.png").stat().st_size > 1000
    assert "statistical" in repr(found)


def test_shifts_of_a_reference_sample_have_the_right_size(problem: SignalBackground) -> None:
    """Bootstrap of one reference against the spread over fresh references."""
    rng = np.random.default_rng(2)
    x = problem.draw(rng)

    def fresh(number: int = 400) -> sbi.RatioColumns:
        signal = rng.uniform(size=number) < 0.1
        u = rng.uniform(size=number)
        tail = -np.log1p(u * math.expm1(-3.5)) / 0.35
        return sbi.RatioColumns(
            problem.columns(np.where(signal, rng.normal(4.0, 0.6, number), tail))
        )

    model = problem.model()
    like = model.likelihood(problem.columns(x), reference=fresh())
    result = sbi.fit(like)
    boot = sbi.sample_shifts(result, sbi.bootstrap_reference(result.like, 80, seed=1))
    exact = sbi.sample_shifts(result, [(None, fresh()) for _ in range(80)], refit=True)
    ratio = np.sqrt(np.diag(boot.covariance) / np.diag(exact.covariance))
    assert ratio[1] == pytest.approx(1.0, abs=0.35)
    assert "80 replicas" in repr(boot)
    assert boot.scaled(0.5).covariance == pytest.approx(0.25 * boot.covariance)
    shifted = sbi.ShiftedLikelihood(like, boot)
    wide = sbi.fit(shifted)
    assert wide.valid
    assert wide.theta[:2] == pytest.approx(result.theta, abs=1e-4)
    inner = wide.covariance[:2, :2]
    assert inner == pytest.approx(result.covariance + boot.covariance, rel=0.02, abs=1e-5)
    moved = shifted.with_columns(problem.columns(x[:500])).with_observed(jes=0.5)
    assert list(moved.parameters)[2:] == list(wide.values)[2:]
    assert list(moved.parameters)[2] == "samples0"
    plain = sbi.limit(result.like, "mu", points=2)
    assert sbi.limit(wide.like, "mu", points=2).observed > plain.observed
    with pytest.raises(UsageError, match="1 replicas"):
        sbi.sample_shifts(result, [(None, fresh())])


def test_one_newton_step_is_close_to_a_new_fit() -> None:
    model, columns, reference = many_nuisances(400, 3, reference=30000)
    result = sbi.fit(model.likelihood(columns, reference=reference))
    replicas = list(sbi.bootstrap_reference(result.like, 6, seed=2))
    quick = sbi.sample_shifts(result, replicas)
    slow = sbi.sample_shifts(result, replicas, refit=True)
    assert quick.shifts == pytest.approx(slow.shifts, rel=0.05, abs=5e-4)


def test_a_line_that_was_cut_off_is_drawn_again(tmp_path: Path) -> None:
    """A process was killed while it wrote: its toy is lost, no other, and none counts twice."""
    model = sbi.Model({"S": "mu * 100"}, {"mu": sbi.Parameter(1.0, lower=0.0)})
    reference = {"S": np.ones(200)}
    whole = sbi.toys(model, reference, number=6, seed=1, folder=tmp_path)
    (file,) = tmp_path.glob("toys-*.jsonl")
    file.write_bytes(file.read_bytes()[:-20])
    again = sbi.toys(model, reference, number=8, seed=1, folder=tmp_path)
    np.testing.assert_array_equal(again.values[:6], whole.values)
    text = "".join(f.read_text().rpartition("\n")[0] + "\n" for f in tmp_path.glob("*.jsonl"))
    numbers = [json.loads(line)["toy"] for line in text.splitlines()]
    assert sorted(numbers) == list(range(8))


def test_neyman_goes_on_in_its_folder(tmp_path: Path) -> None:
    model = sbi.Model({"S": "mu * 20"}, {"mu": sbi.Parameter(1.0, lower=0.0)})
    like = model.likelihood({"S": np.ones(20)}, reference={"S": np.ones(100)})
    arguments: dict[str, Any] = {"values": [0.5, 1.0, 1.5], "seed": 3}
    first = sbi.neyman(like, "mu", number=10, folder=tmp_path, **arguments)
    files = {path: path.stat().st_size for path in tmp_path.glob("*/toys-*.jsonl")}
    assert len(files) == 3
    again = sbi.neyman(like, "mu", number=10, folder=tmp_path, **arguments)
    assert {path: path.stat().st_size for path in files} == files
    np.testing.assert_array_equal(first.critical, again.critical)
    plain = sbi.neyman(like, "mu", number=10, **arguments)
    np.testing.assert_array_equal(first.critical, plain.critical)
    with pytest.raises(StateError, match="another seed"):
        sbi.neyman(like, "mu", number=10, folder=tmp_path, **(arguments | {"seed": 4}))
