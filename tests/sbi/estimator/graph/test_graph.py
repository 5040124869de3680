"""Graphs: values and slopes against torch, the operators of the files, damaged files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rootml.errors import CorruptFileError, MissingFileError, StateError, UsageError
from rootml.sbi.estimator import RatioEstimator
from rootml.sbi.estimator.graph._assemble import (
    Member,
    Scale,
    class_graph,
    differences,
    monomials,
    parametric_graph,
)
from rootml.sbi.estimator.graph._calibration import IDENTITY, Curve
from rootml.sbi.estimator.graph._graph import OPERATORS, Builder, Graph, Node
from rootml.sbi.estimator.graph._network import layers_of, torch_network
from rootml.sbi.estimator.graph._onnx import read_onnx, write_onnx

torch = pytest.importorskip("torch")

SOFIE = {
    "Add", "Cast", "Concat", "Constant", "Div", "Equal", "Exp", "Gather", "Gemm", "Identity",
    "Log", "MatMul", "Mul", "Neg", "Relu", "Reshape", "Sigmoid", "Slice", "Softmax", "Sqrt", "Sub",
    "Tanh", "Where",
}  # fmt: skip
BEND = Curve(0.1, (0.5, 1.5, 1.2), (-1.0, 1.0), 2.0)


def network(widths: tuple[int, ...], activation: str, seed: int) -> Any:
    made = torch_network(torch, widths, activation, seed).double()
    for layer in made:
        if hasattr(layer, "weight"):  # as a graph keeps them: rounded to float32
            layer.weight.data = layer.weight.data.float().double()
            layer.bias.data = layer.bias.data.float().double()
    return made


def test_networks_begin_as_torch_begins_them() -> None:
    """But without the generator that all threads share, whose draws two trainings mixed up."""
    before = torch.random.get_rng_state()
    made = torch_network(torch, (3, 16, 2), "tanh", 7)
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        torchs = torch.nn.Sequential(
            torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2)
        )
    for mine, theirs in zip(made.parameters(), torchs.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def torch_curve(curve: Curve, value: Any) -> Any:
    """The formula of the docstring, by torch."""
    result = curve.offset + curve.slopes[0] * value
    for j, knot in enumerate(curve.knots):
        bend = curve.slopes[j + 1] - curve.slopes[j]
        far = (value - knot) / curve.width
        result = result + bend * curve.width * torch.nn.functional.softplus(far, threshold=1e9)
    return result


def rounded(values: Any) -> Any:
    return np.asarray(values, np.float32).astype(np.float64)


@pytest.mark.parametrize("activation", ["silu", "tanh", "relu"])
@pytest.mark.parametrize("members", [1, 3])
def test_class_graph_is_what_torch_computes(activation: str, members: int) -> None:
    rng = np.random.default_rng(1)
    nets = [network((4, 16, 8, 3), activation, seed) for seed in range(members)]
    scale = Scale(rounded(rng.normal(size=4)), rounded(rng.uniform(1, 2, 4)))
    norms = [rounded(rng.normal(0, 0.3, 2)) for _ in nets]
    parts = [Member(layers_of(n), norm) for n, norm in zip(nets, norms, strict=True)]
    graph = class_graph(scale, parts, differences(3, 1), (BEND, IDENTITY), activation)
    x = rng.normal(size=(500, 4)) * 3
    found = graph.run(x=x)
    z = (torch.from_numpy(x) - torch.from_numpy(scale.mean)) / torch.from_numpy(scale.width)
    logs = []
    for net, norm in zip(nets, norms, strict=True):
        logits = net(z).detach()
        pair = logits[:, [0, 2]] - logits[:, [1]]
        pair[:, 0] = torch_curve(BEND, pair[:, 0])
        logs.append(pair - torch.from_numpy(norm))
    every = torch.stack(logs)
    expected = every.exp().mean(dim=0).log().numpy()
    np.testing.assert_allclose(found["log_ratio"], expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found["ratio"], np.exp(expected), rtol=1e-6)
    for number, each in enumerate(every):
        np.testing.assert_allclose(found[f"member{number}"], each.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("members", [1, 2])
def test_slopes_are_those_of_torch(members: int) -> None:
    rng = np.random.default_rng(2)
    nets = [network((5, 16, 16, 1), "silu", seed) for seed in range(members)]
    scale = Scale(rounded(rng.normal(size=3)), rounded(rng.uniform(1, 2, 3)))
    theta_scale = Scale(rounded([0.3, -1.0]), rounded([1.5, 0.7]))
    norms = [rounded(rng.normal(0, 0.3, 6)) for _ in nets]
    parts = [Member(layers_of(n), norm) for n, norm in zip(nets, norms, strict=True)]
    graph = parametric_graph(scale, theta_scale, parts, "silu")
    x, point = rng.normal(size=(200, 3)), np.array([[0.4, -0.2]])
    value, slopes = graph.slopes("log_ratio", "theta", x=x, theta=point)

    theta = torch.tensor(np.repeat(point, len(x), axis=0), requires_grad=True)
    z = (torch.from_numpy(x) - torch.from_numpy(scale.mean)) / torch.from_numpy(scale.width)
    t = (theta - torch.from_numpy(theta_scale.mean)) / torch.from_numpy(theta_scale.width)
    terms = torch.stack(
        [torch.ones(len(x)), t[:, 0], t[:, 1], t[:, 0] ** 2, t[:, 0] * t[:, 1], t[:, 1] ** 2],
        dim=1,
    )  # fmt: skip
    logs = [
        net(torch.cat([z, t], dim=1))[:, 0] - terms @ torch.from_numpy(norm)
        for net, norm in zip(nets, norms, strict=True)
    ]
    expected = torch.stack(logs).exp().mean(dim=0).log()
    (grad,) = torch.autograd.grad(expected.sum(), theta)
    np.testing.assert_allclose(value[:, 0], expected.detach().numpy(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(slopes[:, :, 0].T, grad.numpy(), rtol=0, atol=1e-6)
    each = graph.run(["log_ratio"], x=x, theta=np.repeat(point, len(x), axis=0))["log_ratio"]
    np.testing.assert_allclose(each, value, rtol=1e-12, atol=1e-12)


def test_slopes_of_every_operator_are_differences() -> None:
    """Each operator as function of theta, against central differences."""
    build = Builder(theta=2)
    up = build.linear("theta", np.array([[1.0, 0.5], [-0.3, 2.0]]), np.array([3.0, 4.0]))
    unary = [build.add(op, up) for op, found in OPERATORS.items() if found.arity == 1]
    binary = [build.add(op, up, unary[0]) for op in ("Add", "Sub", "Mul", "Div")]
    binary.append(build.add("Div", unary[1], up))
    every = [*unary, *binary, build.softplus(build.add("Neg", up))]
    graph = build.graph(**{f"o{k}": (name, 2) for k, name in enumerate(every)})
    point, step = np.array([[0.2, -0.1]]), 1e-6
    for name in graph.outputs:
        _, slopes = graph.slopes(name, "theta", theta=point)
        for j in range(2):
            move = np.zeros((1, 2))
            move[0, j] = step
            above, below = (graph.run([name], theta=point + s * move)[name] for s in (1, -1))
            np.testing.assert_allclose(slopes[j], (above - below) / (2 * step), atol=1e-6)


def test_monomials_in_the_graph_are_those_of_numpy() -> None:
    rng = np.random.default_rng(3)
    theta = rng.normal(size=(7, 3))
    left, right = np.triu_indices(3)
    expected = np.column_stack([np.ones(7), theta, theta[:, left] * theta[:, right]])
    np.testing.assert_array_equal(monomials(theta), expected)


def test_ratios_far_in_the_tails_do_not_overflow() -> None:
    scale = Scale(np.zeros(1), np.ones(1))
    layers = [(np.array([[1.0, 0.0]]), np.zeros(2))]
    parts = [Member(layers, np.array([norm])) for norm in (0.0, 1.0)]
    graph = class_graph(scale, parts, differences(2, 1), (BEND,), "silu")
    x = np.array([[-3000.0], [0.0], [3000.0]])
    assert np.isfinite(graph.run(["log_ratio"], x=x)["log_ratio"]).all()
    assert np.isfinite(graph.run(["log_ratio"], x=x.astype(np.float32))["log_ratio"]).all()


# --- files ---------------------------------------------------------------------------------------


def small_graph(activation: str = "silu") -> Graph:
    nets = [network((3, 8, 8, 3), activation, seed) for seed in (0, 1)]
    scale = Scale(np.array([0.5, 1.0, -2.0]), np.array([2.0, 0.1, 1.0]))
    parts = [Member(layers_of(net), np.array([0.1, -0.2])) for net in nets]
    return class_graph(scale, parts, differences(3, 0), (BEND, BEND), activation)


@pytest.mark.parametrize("activation", ["silu", "tanh", "relu"])
def test_file_holds_only_operators_that_sofie_parses(activation: str, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    write_onnx(tmp_path / "r.onnx", small_graph(activation), {}, rows=None)
    model = onnx.load(tmp_path / "r.onnx")
    used = {node.op_type for node in model.graph.node}
    assert used <= SOFIE
    assert {"MatMul", "Exp", "Log"} <= used
    assert not [node for node in model.graph.node if node.attribute]


def test_known_operators_are_those_that_sofie_parses() -> None:
    assert set(OPERATORS) <= SOFIE


@pytest.mark.parametrize("rows", [None, 1])
def test_file_gives_what_the_graph_gives(rows: int | None, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    graph = small_graph()
    write_onnx(tmp_path / "r.onnx", graph, {"more": [1, "two"]}, rows=rows)
    x = np.random.default_rng(4).normal(size=(rows or 300, 3)).astype(np.float32)
    session = runtime.InferenceSession(str(tmp_path / "r.onnx"))
    expected = dict(zip(graph.outputs, session.run(list(graph.outputs), {"x": x}), strict=True))
    again, facts = read_onnx(tmp_path / "r.onnx")
    assert facts["more"] == [1, "two"]
    for name in graph.outputs:
        ours = again.run([name], x=x.astype(np.float64))[name]
        np.testing.assert_allclose(ours, expected[name], rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(ours, graph.run([name], x=x.astype(np.float64))[name])


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "r.onnx"
    with pytest.raises(MissingFileError, match=r"r\.onnx"):
        read_onnx(path)
    path.write_bytes(b"\xff not a model")
    with pytest.raises(CorruptFileError, match="not an ONNX file"):
        read_onnx(path)
    write_onnx(path, small_graph(), {}, rows=None)
    good = onnx.load(path)

    def changed(change: Any) -> Path:
        model = onnx.ModelProto()
        model.CopyFrom(good)
        change(model)
        (tmp_path / "bad.onnx").write_bytes(model.SerializeToString())
        return tmp_path / "bad.onnx"

    def strange(model: Any) -> None:
        model.graph.node[0].op_type = "Loop"

    def forward(model: Any) -> None:
        model.graph.node[0].input[0] = model.graph.node[-1].output[0]

    def twice(model: Any) -> None:
        model.graph.node[1].output[0] = model.graph.node[0].output[0]

    def outside(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../secret")

    def infinite(model: Any) -> None:
        bad = onnx.numpy_helper.from_array(np.array([[np.inf]], np.float32), "c0")
        model.graph.initializer[0].CopyFrom(bad)

    def bare(model: Any) -> None:
        del model.metadata_props[:]

    def newer(model: Any) -> None:
        model.metadata_props[0].value = '{"format": "rootml.sbi.ratios", "version": 99}'

    for change in (strange, forward, twice, outside, infinite):
        with pytest.raises(CorruptFileError, match=r"bad\.onnx"):
            read_onnx(changed(change))
    for change in (bare, newer):
        with pytest.raises(StateError, match=r"bad\.onnx"):
            read_onnx(changed(change))
    with pytest.raises(CorruptFileError, match="metadata of the graph"):
        RatioEstimator.load(path)


def test_only_what_is_wanted_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One member of an ensemble costs what one network costs."""
    nets = [network((4, 16, 3), "silu", seed) for seed in range(5)]
    scale = Scale(np.zeros(4), np.ones(4))
    parts = [Member(layers_of(n), np.zeros(2)) for n in nets]
    graph = class_graph(scale, parts, differences(3, 1), (), "silu")
    calls: list[int] = []
    sigmoid = OPERATORS["Sigmoid"]

    def counted(z: Any) -> Any:
        calls.append(len(z))
        return sigmoid.value(z)

    monkeypatch.setitem(OPERATORS, "Sigmoid", dataclasses.replace(sigmoid, value=counted))
    x = np.zeros((2, 4))
    graph.run(["member3"], x=x)
    assert len(calls) == 1
    graph.run(["log_ratio"], x=x)
    assert len(calls) == 1 + 5


def test_graphs_that_make_no_sense_are_refused() -> None:
    with pytest.raises(CorruptFileError, match="not a constant"):
        Graph({"x": 1}, {"y": 1}, (Node("MatMul", ("x", "x"), "y"),), {})
    with pytest.raises(CorruptFileError, match="no node computes"):
        Graph({"x": 1}, {"y": 1}, (), {})
    graph = small_graph()
    with pytest.raises(UsageError, match=r"expected \(rows, 3\)"):
        graph.run(x=np.zeros((2, 4)))
    with pytest.raises(UsageError, match="expected"):
        graph.run(x=np.zeros((2, 3)), theta=np.zeros((2, 1)))
