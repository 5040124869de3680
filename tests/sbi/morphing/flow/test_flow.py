"""Splines and flows: against derivatives taken by torch and by differences, and each other."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from rootml.errors import UsageError
from rootml.sbi.morphing.flow._flow import (
    CouplingFlow,
    FlowSpec,
    UserFlow,
    coupling_spec,
    pairs_meet,
)
from rootml.sbi.morphing.flow._spline import BOUND, MIN_SIZE, num_raw, spline
from rootml.sbi.morphing.inference._flow_inference import (
    CompiledFlow,
    NumpyFlow,
    TorchFlow,
    make_inference,
)

torch = pytest.importorskip("torch")
BINS = 6


@pytest.fixture
def raw() -> Any:
    """Raw parameters, mild and wild ones, `(rows, features, 3 * BINS - 1)`."""
    rng = np.random.default_rng(4)
    return rng.normal(size=(400, 2, num_raw(BINS))) * np.repeat([0.3, 2.0], 200)[:, None, None]


def example(features: int, seed: int = 0, *, layers: int = 6) -> tuple[FlowSpec, Any, Any, Any]:
    """A flow with parameters that are not trivial, rows and contexts."""
    rng = np.random.default_rng(seed)
    spec = coupling_spec(features, 5, layers=layers, hidden=(16, 18), bins=BINS)
    state = {
        name: each + 0.1 * rng.normal(size=each.shape).astype(np.float32)
        for name, each in spec.initial(rng).items()
    }
    x = (1.5 * rng.normal(size=(301, features))).astype(np.float32)
    return spec, state, x, rng.normal(size=(301, 5)).astype(np.float32)


# --- splines -------------------------------------------------------------------------------------


def test_spline_goes_through_its_knots(raw: Any) -> None:
    """Knots worked out here from the definition in the docstring."""
    sizes = [np.exp(raw[..., k * BINS : (k + 1) * BINS]) for k in (0, 1)]
    sizes = [
        MIN_SIZE + (1 - MIN_SIZE * BINS) * each / each.sum(-1, keepdims=True) for each in sizes
    ]
    x, y = (np.cumsum(each, -1)[..., :-1] * 2 * BOUND - BOUND for each in sizes)
    for k in range(BINS - 1):
        np.testing.assert_allclose(spline(x[..., k], raw, inverse=False), y[..., k], atol=1e-9)
        step = 1e-8
        slope = (
            spline(x[..., k] + step, raw, inverse=False)
            - spline(x[..., k] - step, raw, inverse=False)
        ) / (2 * step)
        expected = MIN_SIZE + np.logaddexp(0, raw[..., 2 * BINS + k])
        np.testing.assert_allclose(slope, expected, rtol=2e-2, atol=1e-3)


def test_spline_ascends_and_is_the_identity_outside(raw: Any) -> None:
    grid = np.linspace(-7, 7, 400)
    x = np.repeat(grid[:, None], 2, axis=1)
    one = np.repeat(raw[:1], len(grid), axis=0)
    y = spline(x, one, inverse=False)
    assert (np.diff(y, axis=0) > 0).all()
    outside = np.abs(x) >= BOUND
    assert np.array_equal(y[outside], x[outside])
    np.testing.assert_allclose(spline(y, one, inverse=True), x, atol=1e-8)


def test_torch_spline_has_the_slope_of_finite_differences(raw: Any) -> None:
    from rootml.sbi.morphing.flow._flow import torch_spline

    x = np.random.default_rng(2).uniform(-4, 4, (len(raw), 2))
    step = 1e-7
    ends = [spline(x + side * step, raw, inverse=False) for side in (-1, 1)]
    expected = np.log((ends[1] - ends[0]) / (2 * step)).sum(axis=1)
    flat = torch.tensor(raw.reshape(len(raw), -1))
    _, logs = torch_spline(torch.tensor(x), flat, BINS, False)
    np.testing.assert_allclose(logs, expected, rtol=1e-3, atol=1e-3)


# --- flows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [1, 2, 3, 4, 6, 8, 15, 17])
def test_every_pair_of_features_meets(features: int) -> None:
    spec = coupling_spec(features, 3, layers=max(6, pairs_meet(features)), hidden=(8,), bins=4)
    for a, b in itertools.permutations(range(features), 2):
        met = [a in kept and b in spec.moved(layer) for layer, kept in enumerate(spec.kept)]
        assert any(met), (a, b)
    times = [sum(j in spec.moved(k) for k in range(len(spec.kept))) for j in range(features)]
    assert min(times) >= 3 if features > 1 else times == [6]


def test_a_new_flow_is_the_identity() -> None:
    spec, _, x, context = example(4)
    flow = CouplingFlow(spec, spec.initial(np.random.default_rng(0)), compiled=False)
    z, logs = flow.forward(torch.tensor(x), torch.tensor(context))
    np.testing.assert_allclose(z.detach(), x, atol=1e-5)
    np.testing.assert_allclose(logs.detach(), 0, atol=1e-5)


@pytest.mark.parametrize("features", [1, 2, 5])
@pytest.mark.parametrize("compiled", [True, False])
def test_flow_is_inverted_and_knows_its_jacobian(features: int, *, compiled: bool) -> None:
    if compiled:
        pytest.importorskip("numba")
    spec, state, x, context = example(features)
    flow = CouplingFlow(spec, state, compiled=compiled)
    a, c = torch.tensor(x), torch.tensor(context)
    z, logs = flow.forward(a, c)
    np.testing.assert_allclose(flow.inverse(z.detach(), c), x, atol=2e-3)
    for row in range(5):
        jacobian = torch.autograd.functional.jacobian(
            lambda v, i=row: flow.forward(v[None], c[i : i + 1])[0][0], a[row]
        )
        expected = torch.linalg.slogdet(jacobian)[1]
        np.testing.assert_allclose(logs[row].detach(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("features", "layers", "wild"), [(1, 6, 0.1), (2, 6, 0.1), (5, 6, 0.1), (4, 1, 1.0)]
)
def test_the_compiled_flow_has_torchs_values_and_gradients(
    features: int, layers: int, wild: float
) -> None:
    """Rows fill no whole tile, some lie beyond the bounds; torch works in double precision."""
    pytest.importorskip("numba")
    spec, state, x, context = example(features, layers=layers)
    rng = np.random.default_rng(1)
    state = {n: each + wild * rng.normal(size=each.shape) for n, each in state.items()}
    weights = torch.tensor(rng.normal(size=(2, *x.shape)))
    found = []
    for compiled, dtype in ((True, torch.float32), (False, torch.float64)):
        flow = CouplingFlow(spec, state, compiled=compiled)
        flow._leaves = {
            n: leaf.detach().to(dtype).requires_grad_() for n, leaf in flow._leaves.items()
        }
        a = torch.tensor(2 * x, dtype=dtype, requires_grad=True)
        z, logs = flow.forward(a, torch.tensor(context, dtype=dtype))
        ((weights[0].to(dtype) * z).sum() + (logs * weights[1, :, 0].to(dtype)).sum()).backward()
        found.append([z.detach(), logs.detach(), a.grad, *(p.grad for p in flow.parameters())])
    for ours, expected in zip(*found, strict=True):
        scale = float(expected.abs().max())
        np.testing.assert_allclose(ours.double(), expected, rtol=2e-3, atol=5e-4 * scale)


def test_a_pass_back_that_comes_too_late_is_refused() -> None:
    """Values of a pass are kept until the next step has used their memory."""
    pytest.importorskip("numba")
    spec, state, x, context = example(2)
    flow = CouplingFlow(spec, state, compiled=True)
    rows = torch.tensor(x), torch.tensor(context)
    losses: list[Any] = [flow.loss(*rows).sum() for _ in range(2)]
    first, second = losses
    second.backward()
    first.backward(retain_graph=True)  # has values of its own
    flow.loss(*rows)
    with pytest.raises(RuntimeError, match="are gone"):
        first.backward()


@pytest.mark.parametrize("features", [1, 2, 4, 7])
def test_engines_agree_with_torch(features: int) -> None:
    spec, state, x, context = example(features)
    flow = CouplingFlow(spec, state, compiled=False)
    c = torch.tensor(context)
    c[:, -1] = 0
    z = flow.forward(torch.tensor(x), c)[0].detach()
    c[:, -1] = 1
    expected = flow.inverse(z, c).numpy()
    assert np.abs(expected - x).max() > 0.1
    np.testing.assert_allclose(NumpyFlow(spec, state).morph(x, context), expected, atol=2e-3)
    pytest.importorskip("numba")
    np.testing.assert_allclose(CompiledFlow(spec, state).morph(x, context), expected, atol=2e-3)


def test_fused_flow_gives_a_row_the_same_bits_anywhere() -> None:
    pytest.importorskip("numba")
    spec, state, x, context = example(5)
    flow = CompiledFlow(spec, state)
    every = flow.morph(x, context)
    order = np.random.default_rng(0).permutation(len(x))
    assert np.array_equal(flow.morph(x[order], context[order]), every[order])
    assert np.array_equal(flow.morph(x[17:18], context[17:18]), every[17:18])
    assert flow.morph(x[:0], context[:0]).shape == (0, 5)


@pytest.mark.parametrize("hidden", [(18, 16), (16, 18), (5, 7, 6), (1,)])
def test_widths_that_are_padded_take_nothing_from_other_rows(hidden: tuple[int, ...]) -> None:
    """Zero weights of the padding met whatever was left in memory: NaN, after a row of NaN."""
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    spec = coupling_spec(4, 5, layers=6, hidden=hidden, bins=BINS)
    state = {n: v + np.float32(0.1) for n, v in spec.initial(rng).items()}
    x = rng.normal(size=(301, 4)).astype(np.float32)
    context = rng.normal(size=(301, 5)).astype(np.float32)
    expected = NumpyFlow(spec, state).morph(x, context)
    flow = CompiledFlow(spec, state)
    bad = context.copy()
    bad[:64] = np.nan
    found = flow.morph(x, bad)
    assert np.isfinite(found[64:]).all()
    np.testing.assert_allclose(found[64:], expected[64:], atol=2e-3)
    assert np.array_equal(found[64:], flow.morph(x, context)[64:])


@pytest.mark.parametrize("value", [1e30, -1e6, -BOUND, BOUND, 88.0, -0.0])
def test_extreme_values_pass_through_all_engines(value: float) -> None:
    pytest.importorskip("numba")
    spec, state, x, context = example(3)
    x[:, 1] = value
    fused, plain = (kind(spec, state).morph(x, context) for kind in (CompiledFlow, NumpyFlow))
    assert np.isfinite(fused).all()
    np.testing.assert_allclose(fused, plain, rtol=1e-5, atol=2e-3)


# --- flows of the user's -------------------------------------------------------------------------


def test_a_flow_of_zukos_is_taken_as_it_is() -> None:
    zuko = pytest.importorskip("zuko")
    torch.manual_seed(0)
    flow = UserFlow.make(lambda d, c: zuko.flows.NSF(d, c, transforms=2), 3, 5)
    x, c = torch.randn(50, 3), torch.randn(50, 5)
    z, logs = flow.forward(x, c)
    density = flow._module(c).log_prob(x)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + logs
    np.testing.assert_allclose(density.detach(), expected.detach(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(flow.inverse(z, c), x, atol=1e-3)


def test_something_else_than_a_flow_is_refused() -> None:
    with pytest.raises(UsageError, match="Linear.*3 features and 5 columns.*zuko.flows.NSF"):
        UserFlow.make(lambda d, c: torch.nn.Linear(c, d), 3, 5)


# --- devices ----------------------------------------------------------------------------------


def test_everything_of_a_flow_is_on_its_device() -> None:
    """torch refuses to mix devices: "meta" holds shapes only, on every machine."""
    spec = coupling_spec(3, 5, layers=4, hidden=(8,), bins=4)
    state = spec.initial(np.random.default_rng(0))
    flow = CouplingFlow(spec, state, compiled=True, device="meta")
    x, c = torch.zeros(7, 3, device="meta"), torch.zeros(7, 5, device="meta")
    flow.loss(x, c).sum().backward()  # type: ignore[no-untyped-call]
    assert all(leaf.grad.device.type == "meta" for leaf in flow.parameters())
    assert flow.inverse(x, c).device.type == "meta"


def test_by_torch_on_a_device_is_the_same_map() -> None:
    spec = coupling_spec(3, 5, layers=4, hidden=(8,), bins=4)
    rng = np.random.default_rng(1)
    state = {k: v + rng.normal(0, 0.3, v.shape) for k, v in spec.initial(rng).items()}
    z, c = (rng.normal(size=(500, n)).astype(np.float32) for n in (3, 5))
    here = make_inference(spec, state, compiled=False, device=None)
    there = make_inference(spec, state, compiled=True, device="cpu")
    assert isinstance(there, TorchFlow)
    np.testing.assert_allclose(there.morph(z, c), here.morph(z, c), atol=2e-4)
    np.testing.assert_allclose(there.generate(z, c), here.generate(z, c), atol=2e-4)
