"""Learned ratios against known densities: weights, variations, parameters, files, seeds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from sbi_learned import write

import rootml
from rootml import sbi
from rootml.sbi.estimator.graph._calibration import Curve
from rootml.sbi.estimator.learners._pairs import Pairs, Side, network_share

torch = pytest.importorskip("torch")

Samples = Callable[..., rootml.Dataset]
SMALL: dict[str, Any] = {
    "hidden": (16, 16), "epochs": 8, "ensemble": 2, "batch_size": 256, "learning_rate": 0.02,
    "progress": False,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """`make(mean, rows, seed, **columns and options)`: x normal around mean, y a second column."""
    folder = tmp_path_factory.mktemp("samples")

    def made(
        mean: float, rows: int = 8000, seed: int = 1, width: float = 1.0, **more: Any
    ) -> rootml.Dataset:
        rng = np.random.default_rng(seed)
        x = rng.normal(mean, width, rows)
        columns = {"x": x, "y": rng.normal(0.0, 5.0, rows), "id": np.arange(rows)}
        options = {key: more.pop(key) for key in ("weight",) if key in more}
        for name, function in more.items():
            columns[name] = function(x, rng)
        number = len(list(folder.iterdir()))
        return write(folder / f"{number}.parquet", columns, **options)

    return made


GRID = np.linspace(-1.5, 2.5, 41)
EVENTS = {"x": GRID, "y": np.zeros(len(GRID))}


def test_ratio_of_two_normal_samples(make: Samples) -> None:
    """p(x) = N(1, 1) over N(0, 1) is exp(x - 1/2)."""
    samples = {"S": make(1.0), "B": make(0.0, seed=2)}
    ratios = sbi.RatioEstimator(["x", "y"], **SMALL).fit(samples, reference="B")
    found = ratios.log_ratio(EVENTS)[:, 0]
    assert np.abs(found - (GRID - 0.5)).max() < 0.15
    columns = ratios.columns(EVENTS)
    np.testing.assert_allclose(columns.ratio("S"), np.exp(found), rtol=1e-12)
    np.testing.assert_array_equal(columns.ratio("B"), 1.0)
    members = np.stack([ratios.log_ratio(EVENTS, member=k)[:, 0] for k in range(2)])
    np.testing.assert_allclose(np.exp(members).mean(axis=0), np.exp(found), rtol=1e-6)
    kept = [sbi.RatioColumns(each).ratio("S") for each in columns.origin.members]
    np.testing.assert_allclose(kept, np.exp(members), rtol=1e-12)  # fewer than 10,000: all
    assert columns.origin.sampled.tolist() == list(range(len(found)))
    assert ratios.record.sums["S"].events == 8000
    assert abs(ratios.record.norms["S"].mean - 1.0) < 4 * ratios.record.norms["S"].error


def test_variations_and_another_reference(make: Samples) -> None:
    """Shapes at +1 and -1 are divided by the same reference, here a sample of its own."""
    b = {"nominal": make(0.0), "jes": (make(0.3, seed=2), make(-0.3, seed=3))}
    reference = make(0.0, seed=4, width=1.5)
    estimator = sbi.RatioEstimator(["x", "y"], **SMALL)
    ratios = estimator.fit({"S": make(1.0, seed=5), "B": b}, reference=reference)
    assert ratios.outputs == ("S", "B", "B.jes.up", "B.jes.down")
    columns = ratios.columns(EVENTS)
    below = scipy.stats.norm.pdf(GRID, 0.0, 1.5)
    for found, mean in (
        (columns.ratio("S"), 1.0),
        (columns.ratio("B"), 0.0),
        (columns.variation("B", "jes")[0], 0.3),
        (columns.variation("B", "jes")[1], -0.3),
    ):
        expected = np.log(scipy.stats.norm.pdf(GRID, mean) / below)
        assert np.abs(np.log(found) - expected).max() < 0.25
    assert list(columns) == ["S", "B"]


def test_negative_weights_stay_negative(make: Samples, tmp_path: Path) -> None:
    """Half of the events of N(2.5, 1) weigh -1, so that they cancel: what is left is N(1, 1)."""
    rng = np.random.default_rng(6)
    x = np.concatenate([rng.normal(1, 1, 12_000), rng.normal(2.5, 1, 6000)])
    w = np.repeat([1.0, 1.0, -1.0], [12_000, 3000, 3000])
    order = rng.permutation(len(x))
    signed = write(tmp_path / "s.parquet", {"x": x[order], "w": w[order]}, weight="w")
    ratios = sbi.RatioEstimator(["x"], **SMALL).fit(
        {"S": signed, "B": make(0.0, 12_000, seed=7)}, reference="B"
    )
    grid = np.linspace(-1.0, 2.5, 36)
    found = ratios.log_ratio({"x": grid})[:, 0]
    assert np.abs(found - (grid - 0.5)).max() < 0.2
    clipped = np.log(scipy.stats.norm.pdf(grid, 1) * 12 + 3 * scipy.stats.norm.pdf(grid, 2.5))
    clipped -= np.log(15 * scipy.stats.norm.pdf(grid, 0))
    assert np.abs(found - clipped).max() > 0.25  # what weights of zero would have given
    assert ratios.record.sums["S"].negative == 3000
    assert "negative" in str(ratios)


def test_split_by_sign_gives_the_same_density(make: Samples, tmp_path: Path) -> None:
    """The alternative of the docstring: c r+ - (c - 1) r-."""
    rng = np.random.default_rng(8)
    x = np.concatenate([rng.normal(1, 1, 12_000), rng.normal(2, 1, 2000), rng.normal(2, 1, 2000)])
    w = np.repeat([1.0, 1.0, -1.0], [12_000, 2000, 2000])
    signed = write(tmp_path / "s.parquet", {"x": x, "w": w}, weight="w")
    samples = {
        "plus": signed.filter("w > 0"),
        "minus": signed.filter("w < 0").with_weight("-w"),
        "B": make(0.0, 12_000, seed=9),
    }
    ratios = sbi.RatioEstimator(["x"], **SMALL).fit(samples, reference="B")
    grid = np.linspace(-1.0, 2.5, 36)
    columns = ratios.columns({"x": grid})
    sums = ratios.record.sums
    c = sums["plus"].sumw / (sums["plus"].sumw - sums["minus"].sumw)
    found = c * columns.ratio("plus") - (c - 1.0) * columns.ratio("minus")
    assert np.abs(np.log(found) - (grid - 0.5)).max() < 0.25


def test_the_sum_of_weights_of_a_sample_does_not_matter(make: Samples) -> None:
    samples = {"S": make(1.0), "B": make(0.0, seed=2)}
    scaled = {"S": samples["S"].with_weight(1e-6), "B": samples["B"].with_weight(3e4)}
    estimator = sbi.RatioEstimator(["x"], **{**SMALL, "epochs": 2})
    first, second = (
        estimator.fit(each, reference="B").log_ratio({"x": GRID}) for each in (samples, scaled)
    )
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-3)


def test_the_same_seed_gives_the_same_ratios(make: Samples) -> None:
    samples = {"S": make(1.0), "B": make(0.0, seed=2)}
    options = {**SMALL, "epochs": 1, "by": "id"}
    found = [
        sbi.RatioEstimator(["x"], seed=seed, **options)
        .fit(samples, reference="B")
        .log_ratio({"x": GRID})
        for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() > 1e-3


def test_columns_of_a_dataset_keep_order_and_weights(make: Samples) -> None:
    data = make(0.5, 30_000, seed=3, w=lambda x, rng: rng.choice([-1.0, 2.0], len(x)), weight="w")
    data = data.filter("x > 0").define(half="x / 2")
    estimator = sbi.RatioEstimator(["x", "z = y / 2"], **{**SMALL, "epochs": 1})
    ratios = estimator.fit({"S": make(1.0), "B": make(0.0, seed=2)}, reference="B")
    columns = ratios.columns(data)
    events = data.select(["x", "y", "w"]).to_awkward()
    x, y = (np.asarray(events[name]) for name in ("x", "y"))
    expected = ratios.log_ratio(np.stack([x, y / 2], axis=1))
    np.testing.assert_allclose(np.log(columns.ratio("S")), expected[:, 0], atol=1e-6)
    np.testing.assert_array_equal(columns.weights, np.asarray(events["w"]))
    assert (x > 0).all()
    assert (ratios.inputs, ratios.names) == (("x", "z = y / 2"), ("x", "z"))


def test_saved_ratios_are_the_same_without_torch(make: Samples, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    b = {"nominal": make(0.0), "jes": (make(0.3, seed=2), make(-0.3, seed=3))}
    options = {**SMALL, "epochs": 1, "calibration": "always"}
    ratios = sbi.RatioEstimator(["x"], **options).fit({"S": make(1.0), "B": b}, reference="B")
    ratios.save(tmp_path / "ratios.onnx")
    again = sbi.RatioEstimator.load(tmp_path / "ratios.onnx")
    assert isinstance(again, sbi.Ratios)
    assert again.record == ratios.record
    assert (again.outputs, again.inputs) == (ratios.outputs, ratios.inputs)
    assert again.tree == ratios.tree
    expected = ratios.log_ratio({"x": GRID})
    np.testing.assert_array_equal(again.log_ratio({"x": GRID}), expected)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from rootml import sbi\n"
        f"ratios = sbi.RatioEstimator.load({str(tmp_path / 'ratios.onnx')!r})\n"
        f"print(ratios.log_ratio({{'x': {GRID[:3].tolist()}}}).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(done.stdout), expected[:3], rtol=1e-9)
    lowered = again.renormalised(make(0.0, 20_000, seed=9))
    shift = (again.log_ratio({"x": GRID}) - lowered.log_ratio({"x": GRID})).mean(axis=0)
    mean = np.exp(again.log_ratio(make(0.0, 20_000, seed=9))).mean(axis=0)
    np.testing.assert_allclose(shift, np.log(mean), atol=1e-6)


# --- parameters ----------------------------------------------------------------------------------


def parametric(folder: Path, rows: int = 20_000, **options: Any) -> sbi.ParametricRatios:
    rng = np.random.default_rng(1)
    mu = rng.uniform(-1.0, 1.0, rows)
    data = write(folder / "all.parquet", {"x": rng.normal(mu, 1.0), "mu": mu})
    estimator = sbi.RatioEstimator(["x"], parameters=["mu"], **{**SMALL, **options})
    reference = write(folder / "ref.parquet", {"x": rng.normal(0.0, 1.3, rows)})
    return estimator.fit(data, reference=reference)


def test_ratio_that_depends_on_a_parameter(tmp_path: Path) -> None:
    ratios = parametric(tmp_path)
    grid = np.linspace(-1.5, 1.5, 31)
    below = scipy.stats.norm.logpdf(grid, 0.0, 1.3)
    for mu in (-0.5, 0.0, 0.7):
        found = ratios.log_ratio({"x": grid}, mu=mu)
        assert np.abs(found - scipy.stats.norm.logpdf(grid, mu, 1.0) + below).max() < 0.12
        step = 1e-4
        ends = [ratios.log_ratio({"x": grid}, mu=mu + s) for s in (step, -step)]
        slope = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(ratios.gradient({"x": grid}, mu=mu)[:, 0], slope, atol=1e-6)
    pytest.importorskip("onnx")
    ratios.save(tmp_path / "r.onnx")
    again = sbi.RatioEstimator.load(tmp_path / "r.onnx")
    assert isinstance(again, sbi.ParametricRatios)
    assert again.parameters == ratios.parameters
    np.testing.assert_array_equal(again.log_ratio({"x": grid}, mu=0.2), ratios.log_ratio(
        {"x": grid}, mu=0.2))  # fmt: skip
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(tmp_path / "r.onnx"))
    theta = np.full((1, 1), 0.2, np.float32)
    (found,) = session.run(["log_ratio"], {"x": grid[:, None].astype(np.float32), "theta": theta})
    np.testing.assert_allclose(found[:, 0], again.log_ratio({"x": grid}, mu=0.2), atol=1e-5)


def test_log_ratio_of_many_points_at_once(tmp_path: Path) -> None:
    ratios = parametric(tmp_path, rows=4000, epochs=1)
    x, mu = np.linspace(-1.0, 1.0, 3), np.linspace(-0.9, 0.9, 7)
    table = ratios.log_ratio({"x": x}, mu=mu)
    assert table.shape == (3, 7)
    for j, value in enumerate(mu):
        np.testing.assert_allclose(table[:, j], ratios.log_ratio({"x": x}, mu=value), atol=1e-12)
    short = ratios.log_ratio({"x": x}, mu=mu[:2])  # fewer points than events: the other way round
    np.testing.assert_allclose(short, table[:, :2], atol=1e-12)
    with pytest.raises(rootml.errors.UsageError, match="outside of the training range"):
        ratios.log_ratio({"x": x}, mu=np.array([0.0, 5.0]))
    with pytest.raises(rootml.errors.UsageError, match=r"an array \(points,\)"):
        ratios.log_ratio({"x": x}, mu=np.zeros((2, 2)))


def test_likelihood_of_a_parameter_is_fitted(tmp_path: Path) -> None:
    ratios = parametric(tmp_path)
    x = np.random.default_rng(3).normal(0.3, 1.0, 500)
    like: Any = ratios.likelihood({"x": x}, start={"mu": 0.0})
    assert like(mu=0.1) == pytest.approx(-ratios.log_ratio({"x": x}, mu=0.1).sum())
    result = sbi.fit(like).require_valid()
    error = 1.0 / np.sqrt(500)
    assert abs(result.values["mu"] - x.mean()) < 0.5 * error
    assert result.errors["mu"] == pytest.approx(error, rel=0.1)
    hessian = like.hessian(mu=0.2)[0, 0]
    ends = [like.gradient(mu=0.2 + s)["mu"] for s in (1e-4, -1e-4)]
    assert hessian == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-4)
    low, high = result.minos("mu")
    assert high - low == pytest.approx(2 * error, rel=0.15)


def test_weights_of_parametric_samples_count(tmp_path: Path) -> None:
    """A third of the events lie 2 higher, with weights that cancel."""
    rng = np.random.default_rng(2)
    mu = rng.uniform(-1.0, 1.0, 16_000)
    x = rng.normal(mu, 1.0)
    more = rng.uniform(-1.0, 1.0, 4000)
    x = np.concatenate([x, rng.normal(more + 2.0, 1.0), rng.normal(more + 2.0, 1.0)])
    mu = np.concatenate([mu, more, more])
    w = np.repeat([1.0, 1.0, -1.0], [16_000, 4000, 4000])
    order = rng.permutation(len(x))
    data = write(
        tmp_path / "all.parquet", {"x": x[order], "mu": mu[order], "w": w[order]}, weight="w"
    )
    ratios = sbi.RatioEstimator(["x"], parameters=["mu"], **SMALL).fit(data)
    grid = np.linspace(-1.5, 1.5, 31)
    found = ratios.log_ratio({"x": grid}, mu=0.5) - ratios.log_ratio({"x": grid}, mu=-0.5)
    assert np.abs(found - grid).max() < 0.35


def test_family_that_is_no_polynomial(tmp_path: Path) -> None:
    """Two peaks at +-mu: the polynomial before the network is of no use, the network is."""

    def density(x: Any, mu: Any) -> Any:
        return 0.5 * (scipy.stats.norm.pdf(x, mu, 0.4) + scipy.stats.norm.pdf(x, -mu, 0.4))

    rng = np.random.default_rng(4)
    mu = rng.uniform(0.5, 1.5, 30_000)
    x = rng.choice([-1.0, 1.0], len(mu)) * mu + rng.normal(0.0, 0.4, len(mu))
    data = write(tmp_path / "all.parquet", {"x": x, "mu": mu})
    options = {**SMALL, "epochs": 8, "hidden": (32, 32)}
    ratios = sbi.RatioEstimator(["x"], parameters=["mu"], **options).fit(data)
    side = np.linspace(0.5, 1.6, 12)  # where there are events at both mu
    grid = np.concatenate([-side, side])
    found = ratios.log_ratio({"x": grid}, mu=1.2) - ratios.log_ratio({"x": grid}, mu=0.8)
    expected = np.log(density(grid, 1.2) / density(grid, 0.8))
    assert np.abs(found - expected).max() < 0.35
    without = sbi.RatioEstimator(["x"], parameters=["mu"], base="none", **options).fit(data)
    found = without.log_ratio({"x": grid}, mu=1.2) - without.log_ratio({"x": grid}, mu=0.8)
    assert np.abs(found - expected).max() < 0.35
    assert "share of the networks" in str(ratios)


@pytest.mark.parametrize("real", [0.0, 0.5, 1.0])
def test_share_of_a_network_is_what_holds_for_other_pairs(real: float) -> None:
    """Labels are drawn from a base and a part of what the network says."""
    rng = np.random.default_rng(5)
    base, network = rng.normal(size=(2, 200_000))
    label = rng.uniform(size=len(base)) < scipy.special.expit(base + real * network)
    sides = [
        Side(float(kind), (base + network)[mine], network[mine], np.zeros((mine.sum(), 1)),
             np.ones(mine.sum()))
        for kind, mine in ((1, label), (0, ~label))
    ]  # fmt: skip
    assert network_share(Pairs(*sides)) == pytest.approx(real, abs=0.03)


# --- classifiers that are there already ----------------------------------------------------------


class Trees:
    """Like a compiled forest: an object with `predict`."""

    def predict(self, x: Any) -> Any:
        logit = 0.6 * (x[:, 0] - 0.5) + 0.4  # neither calibrated nor normalised
        return 1.0 / (1.0 + np.exp(-logit))


def test_classifier_is_calibrated_and_normalised(make: Samples) -> None:
    samples = {"S": make(1.0, 20_000), "B": make(0.0, 20_000, seed=2)}
    ratios = sbi.RatioEstimator.from_classifier(
        Trees(), samples, reference="B", inputs=["x"], knots=4
    )
    found = ratios.log_ratio({"x": GRID})[:, 0]
    assert np.abs(found - (GRID - 0.5)).max() < 0.12
    with pytest.raises(rootml.errors.UsageError, match="Python function"):
        ratios.save("never.onnx")


def test_classifier_for_each_ratio(make: Samples) -> None:
    b = {"nominal": make(0.0), "jes": (make(0.3, seed=2), make(-0.3, seed=3))}
    samples = {"S": make(1.0), "B": b}
    functions = {
        "S": lambda x: np.exp(x[:, 0] - 0.5),
        "B.jes.up": lambda x: np.exp(0.3 * x[:, 0])[:, None],
        "B.jes.down": lambda x: np.exp(-0.3 * x[:, 0]),
    }
    ratios = sbi.RatioEstimator.from_classifier(
        functions, samples, reference="B", inputs=["x"], kind="ratio", calibration="never"
    )
    up, down = ratios.columns({"x": GRID}).variation("B", "jes")
    np.testing.assert_allclose(np.log(up), 0.3 * GRID - 0.045, atol=0.02)
    np.testing.assert_allclose(np.log(down), -0.3 * GRID - 0.045, atol=0.02)
    del functions["S"]
    with pytest.raises(rootml.errors.SchemaError, match="'S' is not in both"):
        sbi.RatioEstimator.from_classifier(functions, samples, reference="B", inputs=["x"])


def test_scores_of_zero_and_one_are_refused(make: Samples) -> None:
    samples = {"S": make(1.0), "B": make(0.0, seed=2)}
    with pytest.raises(rootml.errors.NonFiniteError, match=r"no finite log ratio for .* 'S'"):
        sbi.RatioEstimator.from_classifier(
            lambda x: (x[:, 0] > 0) * 1.0, samples, reference="B", inputs=["x"]
        )
    with pytest.raises(rootml.errors.SchemaError, match="expected one score"):
        sbi.RatioEstimator.from_classifier(
            lambda x: np.ones((len(x), 2)), samples, reference="B", inputs=["x"]
        )


def test_curve_rises() -> None:
    curve = Curve(0.0, (0.1, 2.0, 0.02, 1.0), (-1.0, 0.0, 1.0), 0.5)
    assert (np.diff(curve(np.linspace(-8, 8, 2001))) > 0).all()
