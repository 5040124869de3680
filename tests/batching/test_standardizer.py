"""`Standardizer` against NumPy, scikit-learn, torch, Keras and ONNX's reference."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.preprocessing import StandardScaler

from rootml.batching import PaddedArray, RaggedArray, Standardizer
from rootml.batching._standardizer import _Fit
from rootml.errors import (
    EmptySelectionError,
    MissingFileError,
    SchemaError,
    StateError,
    UnsupportedTypeError,
    UsageError,
)

RNG = np.random.default_rng(5)


def sample(rows: int = 5000) -> np.ndarray[Any, Any]:
    """A normal, a long tail, an atom with a tail, and integers."""
    tail = RNG.exponential(size=rows)
    return np.stack(
        [
            RNG.normal(3, 2, rows),
            np.exp(RNG.normal(size=rows)),
            np.where(RNG.random(rows) < 0.4, 0.0, tail),
            RNG.integers(0, 4, rows),
        ],
        axis=1,
    )


def fit_in_parts(scaler: Standardizer, values: Any, weights: Any, cuts: list[int]) -> Standardizer:
    fit = _Fit(tuple(f"f{j}" for j in range(values.shape[1])), scaler, 0)
    for part in np.split(np.arange(len(values)), cuts):
        fit.add(values[part], None if weights is None else weights[part])
    scaler.scales = {"x": fit.scale()}
    return scaler


@given(
    hnp.arrays(np.float64, (12, 2), elements=st.floats(-1e3, 1e3)),
    st.lists(st.integers(0, 12), max_size=3),
)
@settings(max_examples=100)
def test_moments_do_not_depend_on_the_batches(values: Any, cuts: list[int]) -> None:
    scale = fit_in_parts(Standardizer(), values, None, sorted(cuts)).scale()
    np.testing.assert_allclose(scale.mean, values.mean(axis=0), rtol=1e-9, atol=1e-9)
    constant = values.min(axis=0) == values.max(axis=0)
    np.testing.assert_array_equal(scale.std[constant], 1)
    std = values.std(axis=0)
    varied = ~constant & (std > 1e-150)  # squares of less are no floats any more
    np.testing.assert_allclose(scale.std[varied], std[varied], rtol=1e-6, atol=1e-9)


def test_moments_agree_with_scikit_learn() -> None:
    values, weights = sample(), RNG.uniform(0.5, 2, 5000)
    ours = fit_in_parts(Standardizer(), values, weights, [100, 1000, 1001])
    theirs = StandardScaler().fit(values, sample_weight=weights)
    np.testing.assert_allclose(ours.transform(values), theirs.transform(values), rtol=1e-9)
    np.testing.assert_allclose(ours.inverse(ours.transform(values)), values, rtol=1e-9, atol=1e-9)


def test_far_from_zero_keeps_its_width() -> None:
    """Sums of squares about zero would have no digit of the width left."""
    values = 1e9 + RNG.normal(size=(4000, 1))
    scale = fit_in_parts(Standardizer(), values, None, [7, 2000]).scale()
    np.testing.assert_allclose(scale.std, values.std(axis=0), rtol=1e-6)


def test_negative_weights_keep_their_sign_in_moments() -> None:
    values, weights = sample(1000), np.where(RNG.random(1000) < 0.2, -1.0, 1.0)
    scale = fit_in_parts(Standardizer(), values, weights, [300]).scale()
    mean = np.average(values, axis=0, weights=weights)
    variance = np.average((values - mean) ** 2, axis=0, weights=weights)
    np.testing.assert_allclose(scale.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(scale.std, np.sqrt(variance), rtol=1e-9)
    with pytest.raises(UsageError, match="not negative"):
        Standardizer("quantile").fit_array(values, weights)


def test_nan_is_left_out_and_passes_through() -> None:
    values = sample(500)
    holes = values.copy()
    holes[::7, 0] = np.nan
    holes[::5, 1] = np.inf
    scale = Standardizer().fit_array(holes).scale()
    np.testing.assert_allclose(scale.mean[0], np.nanmean(holes[:, 0]))
    np.testing.assert_allclose(scale.mean[1], holes[np.isfinite(holes[:, 1]), 1].mean())
    assert np.isnan(scale.apply(holes)[::7, 0]).all()


def test_constant_features_become_zero() -> None:
    values = np.full((50, 1), 0.1)
    for method in ("mean_std", "quantile"):
        scaler = Standardizer(method, knots=4, sample=50).fit_array(values)
        np.testing.assert_allclose(scaler.transform(values), 0, atol=1e-12)


def test_quantiles_make_a_normal_distribution() -> None:
    values = sample(20_000)
    scaler = Standardizer("quantile").fit_array(values)
    z = np.sort(scaler.transform(values)[:, :2], axis=0)
    expected = np.array([NormalDist().inv_cdf((k + 0.5) / 20_000) for k in range(20_000)])
    inside = np.abs(expected) < 2.5
    np.testing.assert_allclose(z[inside], np.stack([expected] * 2, axis=1)[inside], atol=0.02)
    back = scaler.inverse(scaler.transform(values))
    np.testing.assert_allclose(back, values, rtol=1e-9, atol=1e-9)


def test_an_atom_shares_the_middle_of_its_interval() -> None:
    values = sample(20_000)
    scaler = Standardizer("quantile").fit_array(values)
    share = (values[:, 2] == 0).mean()
    zero = np.zeros((1, 4))
    expected = NormalDist().inv_cdf(share / 2)
    np.testing.assert_allclose(scaler.transform(zero)[0, 2], expected, atol=1e-6)


def test_weighted_quantiles_are_those_of_repeated_rows() -> None:
    values, times = sample(400), RNG.integers(1, 5, 400)
    weighted = Standardizer("quantile", knots=64).fit_array(values, times.astype(float))
    repeated = Standardizer("quantile", knots=64).fit_array(np.repeat(values, times, axis=0))
    np.testing.assert_allclose(weighted.transform(values), repeated.transform(values), atol=1e-9)


def test_the_error_of_a_sample_is_what_it_says() -> None:
    """The bound holds for 99 of 100 samples; 40 samples, at most 3 beyond it."""
    values = RNG.normal(size=(20_000, 1))
    probabilities = np.linspace(0.01, 0.99, 99)
    beyond = 0
    for seed in range(40):
        scaler = Standardizer("quantile", knots=500, sample=2000, seed=seed)
        scale = fit_in_parts(scaler, values, None, [5000, 12_000]).scale()
        assert scale.x is not None
        found = np.searchsorted(np.sort(values[:, 0]), np.quantile(scale.x[0], probabilities))
        beyond += np.abs(found / len(values) - probabilities).max() > 1.63 / np.sqrt(2000) + 0.002
    assert beyond <= 3


def test_padded_and_ragged_inputs() -> None:
    scaler = Standardizer().fit_array(np.array([[0.0], [2.0]]))
    mask = np.array([[True, False], [True, True]])
    padded = scaler.transform(PaddedArray(np.array([[[2.0], [9.0]], [[0.0], [2.0]]]), mask))
    np.testing.assert_array_equal(padded.values[..., 0], [[1, 0], [-1, 1]])
    ragged = scaler.transform(RaggedArray(np.array([[2.0]]), np.array([0, 1, 1])))
    np.testing.assert_array_equal(ragged.values, [[1.0]])


@pytest.mark.parametrize("method", ["mean_std", "quantile"])
class TestExports:
    @pytest.fixture
    def scaler(self, method: Any) -> Standardizer:
        return Standardizer(method, knots=64).fit_array(sample(2000))

    @pytest.fixture
    def x(self) -> np.ndarray[Any, Any]:
        values = sample(300)
        values[:5] = 1e3
        values[5:10] = -1e3
        return values.astype(np.float32)

    def test_torch(self, scaler: Standardizer, x: Any, tmp_path: Path) -> None:
        torch = pytest.importorskip("torch")
        module = scaler.to_torch()
        out = module(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(np.asarray(out), scaler.transform(x), rtol=1e-4, atol=1e-4)
        assert np.isnan(module(torch.full((1, 4), torch.nan)).numpy()).all()
        torch.save(module.state_dict(), tmp_path / "m.pt")
        module.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))

    def test_onnx(self, scaler: Standardizer, x: Any, tmp_path: Path) -> None:
        pytest.importorskip("onnx")
        from onnx.reference import ReferenceEvaluator

        scaler.to_onnx(tmp_path / "scaler.onnx")
        (out,) = ReferenceEvaluator(str(tmp_path / "scaler.onnx")).run(None, {"x": x})
        np.testing.assert_allclose(np.asarray(out), scaler.transform(x), rtol=1e-4, atol=1e-4)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
    def test_keras(self, scaler: Standardizer, x: Any) -> None:
        pytest.importorskip("keras")
        out = np.asarray(scaler.to_keras()(x))
        np.testing.assert_allclose(np.asarray(out), scaler.transform(x), rtol=1e-4, atol=1e-4)

    def test_json(self, scaler: Standardizer, x: Any, tmp_path: Path) -> None:
        scaler.save(tmp_path / "s.json")
        again = Standardizer.load(tmp_path / "s.json")
        np.testing.assert_array_equal(again.transform(x), scaler.transform(x))
        assert repr(again) == repr(scaler)


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    Standardizer().fit_array(sample(10)).save(path)
    content = json.loads(path.read_text())
    changes: list[dict[str, Any]] = [{"version": 2}, {"format": "other"}, {"inputs": {"x": {}}}]
    for change in changes:
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(StateError, match=r"s\.json"):
            Standardizer.load(path)
    path.write_text("{")
    with pytest.raises(StateError, match="not a saved Standardizer"):
        Standardizer.load(path)


def test_errors() -> None:
    with pytest.raises(UsageError, match="not fitted"):
        Standardizer().transform(np.zeros((1, 1)))
    with pytest.raises(EmptySelectionError, match="'f0' has no finite value"):
        Standardizer().fit_array(np.full((3, 1), np.nan))
    with pytest.raises(SchemaError, match="expected 4 features"):
        Standardizer().fit_array(sample(10)).transform(np.zeros((1, 3)))
    with pytest.raises(UsageError, match="method"):
        Standardizer("minmax")  # type: ignore[arg-type]
    with pytest.raises(MissingFileError, match="no such file"):
        Standardizer.load("nowhere.json")


def test_arrays_of_other_kinds_and_shapes() -> None:
    """Integers are not scaled to integers."""
    scaler = Standardizer().fit_array(np.array([[1.0, 10.0], [4.0, 40.0]]))
    whole = np.array([[1, 30], [2, 10]])
    wanted = (whole - [2.5, 25.0]) / [1.5, 15.0]
    np.testing.assert_allclose(scaler.transform(whole), wanted)
    np.testing.assert_allclose(scaler.transform(whole.tolist()), wanted)
    np.testing.assert_allclose(scaler.inverse(np.array([[1, -1]])), [[4.0, 10.0]])
    with pytest.raises(UnsupportedTypeError, match="numbers are needed"):
        scaler.transform(np.array([["a", "b"]]))
    with pytest.raises(SchemaError, match=r"the array is \(\)"):
        scaler.transform(3.0)
    for values, more, problem in (
        (np.zeros(3), {}, r"\(rows, features\), the array is \(3,\)"),
        (np.zeros((3, 2)), {"weights": np.ones(2)}, r"weights \(2,\) do not fit"),
        (np.zeros((3, 2)), {"features": ["a"]}, r"1 features \['a'\] do not fit"),
    ):
        with pytest.raises(SchemaError, match=problem):
            Standardizer().fit_array(values, **more)


def test_repr_escapes_names() -> None:
    scaler = Standardizer().fit_array(np.array([[1.0], [2.0]]), features=["<b>"])
    assert "&lt;b&gt;" in scaler._repr_html_()
    assert "<b>" in repr(scaler)
