"""Steps and narrow structures: found where they are, nowhere else, and learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sbi_learned import write, write_matrix

from rootml import sbi
from rootml.sbi.estimator.graph._assemble import Scale, network_graph
from rootml.sbi.estimator.graph._onnx import write_onnx
from rootml.sbi.estimator.graph._ramps import Histograms, Ramp, find_ramps, ramp_values

CONTRAST = [([0], [1])]


def ramps(samples: Sequence[Any], weights: Any = None, contrasts: Any = CONTRAST) -> Any:
    """Found in samples `(events, inputs)`, in batches as a training reads them."""
    x = np.concatenate(samples).astype(np.float32)
    label = np.repeat(np.arange(len(samples)), [len(each) for each in samples])
    rng = np.random.default_rng(1)
    known = x[rng.choice(len(x), min(len(x), 10_000), replace=False)]
    histograms = Histograms(known.astype(np.float64), len(samples))
    for start in range(0, len(x), 8192):
        part = slice(start, start + 8192)
        histograms.add(x[part], label[part], None if weights is None else weights[part])
    return find_ramps(histograms, contrasts)


def tail(rng: np.random.Generator, events: int, change: float, cut: float) -> Any:
    """Two exponentials; beyond a cut of the first the density is 1 + change times as large."""
    x = rng.exponential(size=(3 * events, 2))
    wanted = np.where(x[:, 0] > cut, 1.0 + change, 1.0) / (1.0 + abs(change))
    accepted = rng.random(len(x)) < wanted
    return x[accepted][:events]


# --- nothing where there is nothing --------------------------------------------------------------


def weights_of(kind: str, rng: np.random.Generator, number: int) -> Any:
    if kind == "signed":
        return np.where(rng.random(number) < 0.2, -1.0, 1.0)
    return rng.lognormal(0.0, 1.5, number) if kind == "log-normal" else None


@pytest.mark.parametrize("kind", ["none", "signed", "log-normal"])
@pytest.mark.parametrize("events", [1000, 30_000])
def test_two_samples_of_one_density_need_no_ramps(kind: str, events: int) -> None:
    """One ramp is due in 1,000 trainings; 120 are made."""
    rng = np.random.default_rng(events)
    for _ in range(20):
        x = np.stack(
            [rng.normal(size=2 * events), rng.exponential(size=2 * events),
             rng.poisson(2.0, 2 * events)], axis=1,
        )  # fmt: skip
        assert ramps([x[:events], x[events:]], weights_of(kind, rng, 2 * events)) == ()


SMOOTH: dict[str, Any] = {
    "narrow": lambda rng, n: (rng.normal(0.7, 0.8, n), rng.normal(size=n)),
    "far apart": lambda rng, n: (rng.normal(2.0, 0.5, n), rng.normal(size=n)),
    "gamma": lambda rng, n: (rng.gamma(4.0, 1.0, n), rng.exponential(size=n)),
    "numbers": lambda rng, n: (rng.poisson(3.0, n), rng.poisson(2.0, n)),
    "constant": lambda _, n: (np.full(n, 3.7), np.full(n, 3.7)),
}


@pytest.mark.parametrize("kind", SMOOTH)
def test_smooth_ratios_need_no_ramps(kind: str) -> None:
    samples = SMOOTH[kind](np.random.default_rng(2), 50_000)
    assert ramps([each[:, None] for each in samples]) == ()


# --- a step is found where it is -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["none", "signed", "log-normal"])
def test_a_step_is_found(kind: str) -> None:
    rng = np.random.default_rng(3)
    samples = [tail(rng, 100_000, change, cut=3.0) for change in (0.8, -0.8)]
    found = ramps(samples, weights_of(kind, rng, 200_000))
    assert found
    for ramp in found:
        assert ramp.column == 0
        assert 2.9 < ramp.low < ramp.high < 3.1


def test_a_step_of_whole_numbers_is_between_them() -> None:
    rng = np.random.default_rng(4)
    jets = rng.poisson(2.0, 400_000)
    kept = rng.random(400_000) < np.where(jets >= 5, 1.0, 0.5)
    found = ramps([jets[kept][:, None], rng.poisson(2.0, (200_000, 1))])
    assert found
    for ramp in found:
        assert set(ramp_values(np.arange(12.0)[:, None], [ramp]).ravel()) <= {-1.0, 1.0}
    assert any(4.0 < ramp.low < ramp.high <= 5.0 for ramp in found)


def test_numbers_without_order_are_told_apart() -> None:
    """A ratio that goes up and down with a number of jets is no smooth function of it."""
    rng = np.random.default_rng(8)
    shares = np.array([[1, 3, 5, 8, 6, 3], [10, 8, 4, 9, 1.5, 1]])
    samples = [rng.choice(6, 50_000, p=row / row.sum())[:, None] for row in shares]
    assert len(ramps(samples)) >= 2
    flag = [(rng.random((50_000, 1)) < share).astype(float) for share in (0.2, 0.6)]
    assert ramps(flag) == ()  # two values need nothing


def test_an_even_effect_is_found() -> None:
    """Up and down alike: only the contrast with the nominal sample shows it."""
    rng = np.random.default_rng(5)
    samples = [tail(rng, 60_000, change, cut=3.0) for change in (0.0, 0.6, 0.6)]
    assert ramps(samples, contrasts=[([1], [2])]) == ()
    (found,) = ramps(samples, contrasts=[([1], [2]), ([1, 2], [0])])
    assert found.high == pytest.approx(3.0, abs=0.1)


# --- networks see them ---------------------------------------------------------------------------


def test_graph_and_file_hold_the_ramps(tmp_path: Path) -> None:
    """A network of one layer that hands the ramps on, by NumPy, our graph and ONNX Runtime."""
    runtime = pytest.importorskip("onnxruntime")
    chosen = (Ramp(0, 1.0, 2.0), Ramp(1, 99.999, 100.0), Ramp(1, -5.0, 300.0))
    scale = Scale(np.zeros(2), np.ones(2), chosen)
    layers = [(np.concatenate([np.zeros((2, 3)), np.eye(3)]), np.zeros(3))]
    graph = network_graph(scale, layers, "silu")
    rng = np.random.default_rng(6)
    x = np.concatenate([rng.normal(1.0, 1.0, (500, 1)), rng.normal(100.0, 50.0, (500, 1))], axis=1)
    x = np.concatenate([x, [[1e6, -1e6], [2.0, 100.0], [1.0, 99.999]]]).astype(np.float32)
    expected = ramp_values(x, chosen)
    assert {-1.0, 1.0} <= set(expected[:, 1])
    np.testing.assert_allclose(graph.run(["y"], x=x)["y"], expected, atol=1e-6)
    np.testing.assert_array_equal(scale.scaled(x)[:, 2:], expected)
    write_onnx(tmp_path / "r.onnx", graph, {}, rows=None)
    (found,) = runtime.InferenceSession(str(tmp_path / "r.onnx")).run(["y"], {"x": x})
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_step_is_learned(tmp_path: Path) -> None:
    """B times 1.6 or 1 / 1.6 beyond a cut: log ratio within 0.1 (RMS) of it."""
    pytest.importorskip("torch").set_num_threads(1)
    rng = np.random.default_rng(7)
    names = {"nominal": 0.0, "up": 0.6, "down": -0.375}
    files = {
        name: write_matrix(tmp_path / f"{name}.parquet", tail(rng, 20_000, change, cut=2.5))
        for name, change in names.items()
    }
    signal = rng.gamma(3.0, 1.0, (10_000, 2))
    samples = {
        "S": write(tmp_path / "s.parquet", {"x0": signal[:, 0], "x1": signal[:, 1]}),
        "B": {"nominal": files["nominal"], "trigger": (files["up"], files["down"])},
    }
    estimator = sbi.RatioEstimator(
        ["x0", "x1"], ensemble=2, hidden=(24,), threads=1, progress=False
    )
    ratios = estimator.fit(samples, reference="B")
    assert any("x0 at 2." in note for note in ratios.record.notes)
    at = np.concatenate([np.linspace(0.2, 2.4, 20), np.linspace(2.6, 5.0, 20)])
    columns = ratios.columns({"x0": at, "x1": np.ones(40)})
    for name, change in list(names.items())[1:]:
        norm = np.log(1.0 + change * np.exp(-2.5))
        exact = np.where(at > 2.5, np.log(1.0 + change), 0.0) - norm
        learned = np.log(columns["B"]["trigger"][name == "down"] / columns["B"]["nominal"])
        assert np.sqrt(np.mean((learned - exact) ** 2)) < 0.1
