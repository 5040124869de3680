"""Diagnostics: silent where a ratio is exact, loud where it is wrong; pictures that are drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from sbi_learned import write

import rootml
from rootml import sbi
from rootml.errors import ConvergenceError, MissingColumnError, UsageError
from rootml.sbi.diagnostics._binned import compare
from rootml.sbi.diagnostics._checks import all_checks, tails
from rootml.sbi.diagnostics._pairs import Events, Pair
from rootml.sbi.diagnostics._second_classifier import area_under_curve
from rootml.sbi.diagnostics._verdict import judge
from rootml.sbi.inference._samples import SampleShifts
from rootml.sbi.inference.toys._toy_task import ToyResults

Float = Any


def pair(
    log_ratio: Callable[[Float], Float],
    *,
    seed: int = 1,
    rows: int = 20_000,
    negative: bool = False,
) -> Pair:
    """N((1, 0), 1) over N(0, 1) in two dimensions, with some log ratio."""
    rng = np.random.default_rng(seed)
    up, down = (rng.normal(size=(rows, 2)) + np.array([mean, 0.0]) for mean in (1.0, 0.0))
    mass = np.ones(rows)
    if negative:  # pairs of events of opposite weight, of any density, cancel
        wrong = rng.normal(2.0, 1.0, size=(rows // 4, 2))
        up = np.concatenate([up, wrong, rng.normal(2.0, 1.0, size=(rows // 4, 2))])
        mass = np.concatenate([mass, np.repeat([1.0, -1.0], rows // 4)])
    sides = Events(up, mass / mass.sum()), Events(down, np.full(rows, 1.0 / rows))
    return Pair("S", ("x", "y"), *sides, log_ratio(up), log_ratio(down))


def exact(x: Float) -> Float:
    return x[:, 0] - 0.5


def failed(made: Pair, *, classifier: bool = False) -> set[str]:
    """Topics of the checks that failed."""
    found = [
        (topic, finding)
        for topic, findings, _ in all_checks(made, classifier=classifier, seed=0)
        for finding in findings
    ]
    checks = judge([finding for _, finding in found])
    return {topic for (topic, _), check in zip(found, checks, strict=True) if check.ok is False}


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_exact_ratio_raises_no_alarm(seed: int, negative: bool) -> None:
    assert failed(pair(exact, seed=seed, negative=negative), classifier=seed == 1) == set()


def test_probabilities_of_an_exact_ratio_are_uniform() -> None:
    """By Kolmogorov and Smirnov, but for the worst feature, whose chance is a bound."""
    found: dict[tuple[str, str], list[float]] = {}
    for seed in range(60):
        for topic, findings, _ in all_checks(
            pair(exact, seed=seed, rows=4000), classifier=False, seed=0
        ):
            for check in (finding.check for finding in findings):
                if check.probability is not None and "worst" not in check.what:
                    found.setdefault((topic, f"{check.subject} {check.what[:8]}"), []).append(
                        check.probability
                    )
    assert len(found) == 7
    for values in found.values():
        assert scipy.stats.kstest(values, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("wrong", "topics"),
    [
        (lambda x: x[:, 0] - 0.3, {"calibration", "closure", "normalisation"}),  # norm
        (lambda x: 1.15 * (x[:, 0] - 0.5), {"calibration"}),  # slope
        (lambda x: x[:, 0] - 0.5 + 0.15 * x[:, 1], {"closure"}),  # a feature that does not matter
        (lambda x: x[:, 0] - 0.5 + 0.1 * (x[:, 0] ** 2 - 1.5), {"calibration", "closure"}),
    ],
)
def test_wrong_ratios_are_found(wrong: Callable[[Float], Float], topics: set[str]) -> None:
    assert topics <= failed(pair(wrong))


def test_second_classifier_sees_what_single_features_do_not() -> None:
    """A product of the two features: no projection shows it."""

    def wrong(x: Float) -> Float:
        return exact(x) + 0.5 * np.tanh((x[:, 0] - 0.5) * x[:, 1])

    made = pair(wrong)
    assert "classifier" in failed(made, classifier=True)
    assert "closure" not in failed(made)


def test_area_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 500)
    scores: Any = np.round(rng.normal(size=500) + 0.3 * labels, 1)  # with ties
    mass = rng.uniform(0.5, 2.0, 500)
    expected = sklearn.metrics.roc_auc_score(labels, scores, sample_weight=mass)
    assert area_under_curve(scores, labels, mass)[0] == pytest.approx(expected, abs=1e-12)


def test_chi_squared_is_counted_by_hand() -> None:
    left, right = np.tile([0.0, 0.0, 1.0], 30), np.tile([0.0, 1.0, 1.0], 30)
    chi2, edges = compare(left, right, np.full(90, 2.0), np.full(90, 1.0), bins=2)
    assert edges is not None
    assert edges.tolist() == [0.5]
    assert chi2 == pytest.approx(30 * ((4 - 1) ** 2 / (8 + 1) + (2 - 2) ** 2 / (4 + 2)))
    merged = compare(left[:60], right[:60], np.ones(60), np.ones(60), bins=2)[1]
    assert merged is not None
    assert merged.size == 0
    assert compare(left[:9], right[:9], np.ones(9), np.ones(9), bins=2) == (0.0, None)


def test_tails_and_effective_events_are_counted_by_hand() -> None:
    """Few events of the reference carry a narrow, distant sample."""
    made = pair(lambda x: 8.0 * x[:, 0] - 32.0)
    checks = [finding.check for finding in tails(made)[0]]
    weight = np.exp(made.log_reference)
    assert not checks[0].tested
    assert checks[0].value == pytest.approx(weight.sum() ** 2 / (weight**2).sum())
    assert checks[2].value == pytest.approx(weight.max() / weight.sum())


# --- the report ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder, rng = tmp_path_factory.mktemp("samples"), np.random.default_rng(5)

    def made(name: str, mean: float) -> rootml.Dataset:
        x = rng.normal(size=(6000, 2)) + np.array([mean, 0.0])
        return write(folder / f"{name}.parquet", {"x": x[:, 0], "y": x[:, 1]})

    return {"S": made("s", 1.0), "B": {"nominal": made("b", 0.0), "jes": (
        made("up", 0.2), made("down", -0.2))}}  # fmt: skip


def known(samples: dict[str, Any], wrong: float = 0.0) -> sbi.Ratios:
    """Ratios that are exact, or of which that of S is wrong in slope."""
    functions = {
        "S": lambda x: (1.0 + wrong) * (x[:, 0] - 0.5),
        "B.jes.up": lambda x: 0.2 * x[:, 0] - 0.02,
        "B.jes.down": lambda x: -0.2 * x[:, 0] - 0.02,
    }
    return sbi.RatioEstimator.from_classifier(
        functions, samples, reference="B", inputs=["x", "y"], kind="logit", calibration="never",
        normalisation="none",
    )  # fmt: skip


def test_report_of_exact_ratios(samples: dict[str, Any], tmp_path: Path) -> None:
    report = sbi.diagnose(known(samples), samples, classifier=False)
    assert report.failed == ()
    assert report.require_ok() is report
    text = str(report)
    for part in ("S: x", "B.jes.up", "Z(+1) / Z(0)", "effective events", "0 to look at"):
        assert part in text
    assert "<table>" in report._repr_html_()
    paths = [Path(path) for path in report.plot(tmp_path / "plots")]
    names = {path.stem for path in paths}
    assert {"calibration-s", "closure-s", "tails-s", "alpha-b-jes"} <= names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_report_of_a_wrong_ratio(samples: dict[str, Any]) -> None:
    report = sbi.diagnose(known(samples, wrong=0.3), samples, classifier=False)
    assert {check.subject for check in report.failed} >= {"S"}
    assert "LOOK" in str(report)
    with pytest.raises(ConvergenceError, match="S: chi2"):
        report.require_ok()


def test_norm_of_alpha_is_the_known_one(samples: dict[str, Any]) -> None:
    """N(0, 1) with log ratios +-0.2 x - 0.02: Z(a) = E[exp(0.2 a x - 0.02 a^2)] = 1."""
    report = sbi.diagnose(known(samples), samples, classifier=False)
    _, _, curve = report.curves["alpha B.jes"]
    assert np.all(np.abs(curve["z"] - 1.0) < 4.0 * curve["error"] + 1e-12)
    assert curve["error"][-1] == pytest.approx(np.sqrt(np.expm1(0.36) / 6000), rel=0.2)


def test_many_events_are_thinned_and_said(samples: dict[str, Any]) -> None:
    report = sbi.diagnose(known(samples), samples, classifier=False, max_events=1000)
    assert "about 1,000 of 6,000 events" in str(report)


def test_parametric_ratios_are_diagnosed_at_points(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(6)
    mu = rng.uniform(-1, 1, 20_000)
    data = write(tmp_path / "all.parquet", {"x": rng.normal(mu, 1.0), "mu": mu})
    estimator = sbi.RatioEstimator(
        ["x"], parameters=["mu"], ensemble=2, hidden=(16, 16), learning_rate=0.02, epochs=5,
        batch_size=512, progress=False,
    )  # fmt: skip
    ratios = estimator.fit(data)
    point = write(tmp_path / "p.parquet", {"x": rng.normal(0.5, 1.0, 4000)})
    mu = rng.uniform(-1, 1, 4000)
    pool = write(tmp_path / "pool.parquet", {"x": rng.normal(mu, 1.0)})
    good = sbi.diagnose(ratios, {"mu=0.5": (point, {"mu": 0.5})}, reference=pool, classifier=False)
    assert good.failed == ()
    bad = sbi.diagnose(ratios, {"mu=0.5": (point, {"mu": 0.0})}, reference=pool, classifier=False)
    assert bad.failed
    with pytest.raises(MissingColumnError, match="reference="):
        sbi.diagnose(ratios, {"mu=0.5": (point, {"mu": 0.0})})
    with pytest.raises(UsageError, match="parameter: value"):
        sbi.diagnose(ratios, {"mu=0.5": point}, reference=pool)


def test_missing_samples_are_named(samples: dict[str, Any]) -> None:
    ratios = known(samples)
    with pytest.raises(MissingColumnError, match="no events of the reference 'B'"):
        sbi.diagnose(ratios, {"S": samples["S"]})
    with pytest.raises(MissingColumnError, match="no ratio 'T'"):
        sbi.diagnose(ratios, {"T": samples["S"], "B": samples["B"]})


# --- fits ----------------------------------------------------------------------------------------


def fits(bias: float = 0.0, scale: float = 1.0, seed: int = 7, rows: int = 400) -> ToyResults:
    """Toys of one parameter: truth 2, error 0.1, values off by `bias` and `scale` times errors."""
    rng = np.random.default_rng(seed)
    values = 2.0 + 0.1 * (bias + scale * rng.normal(size=(rows, 1)))
    none = np.zeros((rows, 0))
    return ToyResults(
        ("mu",), np.array([2.0]), values, np.full((rows, 1), 0.1), np.zeros(rows), none, (),
        np.ones(rows, bool), np.ones(rows),
    )  # fmt: skip


def fit_checks(samples: dict[str, Any], **given: Any) -> dict[str, sbi.Check]:
    report = sbi.diagnose(known(samples), samples, classifier=False, **given)
    return {check.what: check for check in report.topic("fits")}


def test_pulls_and_coverage(samples: dict[str, Any], tmp_path: Path) -> None:
    toys = fits()
    checks = fit_checks(samples, toys=toys)
    pulls = (toys.values[:, 0] - 2.0) / 0.1
    assert checks["bias / sigma"].value == pytest.approx(pulls.mean())
    assert checks["width of pulls"].value == pytest.approx(pulls.std(ddof=1))
    assert checks["coverage of 68 %"].value == pytest.approx((np.abs(pulls) < 1).mean())
    assert checks["coverage of 95 %"].value == pytest.approx((np.abs(pulls) < 1.96).mean())
    assert all(check.ok for check in checks.values())
    report = sbi.diagnose(known(samples), samples, classifier=False, toys=toys)
    assert "pulls-mu" in {Path(path).stem for path in report.plot(tmp_path)}


def test_biased_and_narrow_fits_are_found(samples: dict[str, Any]) -> None:
    assert fit_checks(samples, toys=fits(bias=0.6))["bias / sigma"].ok is False
    wide = fit_checks(samples, toys=fits(scale=1.5))
    assert wide["width of pulls"].ok is False
    assert wide["coverage of 68 %"].ok is False


def test_shift_from_exact_fits(samples: dict[str, Any], tmp_path: Path) -> None:
    toys, exact_fits = fits(bias=0.1), fits()
    checks = fit_checks(samples, toys=toys, exact=exact_fits)
    assert checks["shift from the exact fit / sigma"].value == pytest.approx(0.1)
    assert checks["error / error of the exact fit"].value == pytest.approx(1.0)
    moved = fit_checks(samples, toys=fits(bias=0.5), exact=exact_fits)
    assert moved["shift from the exact fit / sigma"].ok is False
    report = sbi.diagnose(
        known(samples), samples, classifier=False, toys=toys, exact=exact_fits,
        shifts=SampleShifts(("mu",), np.array([[0.01], [-0.01], [0.0]]), np.array([0.1])),
    )  # fmt: skip
    assert "spread of 3 replicas / sigma" in str(report)
    assert "shifts-mu" in {Path(path).stem for path in report.plot(tmp_path)}
    with pytest.raises(UsageError, match="same toys"):
        fit_checks(samples, toys=toys, exact=fits(rows=10))
    with pytest.raises(UsageError, match="not given"):
        fit_checks(samples, exact=exact_fits)
