"""`rootml predict` with ONNX networks, against torch's own scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

import rootml
from rootml._internal.onnx_network import ElementScores, Input, Network, _cast
from rootml.cli import main
from rootml.errors import CastError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")

EVENTS = 500


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ak.Array]:
    """Events with jets, in several clusters; the first ones have no jets at all."""
    random = np.random.default_rng(0)
    counts = random.integers(0, 4, EVENTS)
    counts[:50] = 0
    total = int(counts.sum())
    columns = {
        "MET": random.normal(size=EVENTS).astype(np.float32),
        "nMuon": random.integers(0, 5, EVENTS).astype(np.int32),
        "Jet_pt": ak.unflatten(random.exponential(size=total), counts),
        "Jet_eta": ak.unflatten(random.normal(size=total).astype(np.float32), counts),
        "Tau_pt": ak.unflatten(random.exponential(size=total + 1), [*counts[:-1], counts[-1] + 1]),
    }
    path = str(tmp_path_factory.mktemp("events") / "events.root")
    with uproot.recreate(path) as file:
        file.mktree("Events", {name: ak.type(c).content for name, c in columns.items()})
        for start in range(0, EVENTS, 50):
            file["Events"].extend({n: c[start : start + 50] for n, c in columns.items()})
    return path, ak.zip(columns, depth_limit=1)


def network(path: Path, inputs: int, outputs: int) -> Any:
    """A torch network, and the same as an ONNX file written node by node."""
    torch.manual_seed(inputs)
    model = torch.nn.Sequential(
        torch.nn.Linear(inputs, 8), torch.nn.Tanh(), torch.nn.Linear(8, outputs)
    )
    weights = {name: p.detach().numpy() for name, p in model.named_parameters()}
    helper = onnx.helper
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["h"], transB=1),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("Gemm", ["t", "2.weight", "2.bias"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["rows", inputs])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["rows", outputs])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, path)
    return model


def scored(model: Any, *columns: Any) -> Any:
    with torch.inference_mode():
        x = np.stack([np.asarray(c, np.float32) for c in columns], axis=1)
        return model(torch.from_numpy(x)).numpy()


def friends(capsys: pytest.CaptureFixture[str], *words: Any) -> ak.Array:
    """The friend tree that a command writes."""
    code = main(list(map(str, ["predict", *words, "--json", "--quiet"])))
    out = capsys.readouterr()
    assert code == 0, out.err
    (path,) = json.loads(out.out)["files"]
    return rootml.open(path).to_awkward()


def fails(capsys: pytest.CaptureFixture[str], *words: Any, code: int = 1) -> str:
    assert main(list(map(str, ["predict", *words]))) == code
    return " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_one_score_per_event(
    events: tuple[str, ak.Array], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, columns = events
    model = network(tmp_path / "n.onnx", 2, 1)
    words = [
        tmp_path / "n.onnx",
        path,
        "--out",
        tmp_path / "f",
        "-c",
        "MET",
        "-c",
        "n = 2 * nMuon",
    ]
    found = friends(capsys, *words, "--cut", "nMuon > 1", "--name", "dnn")
    passed = columns["nMuon"].to_numpy() > 1
    assert found["dnn_valid"].to_numpy().tolist() == passed.tolist()
    expected = scored(model, columns["MET"], 2 * columns["nMuon"].to_numpy())[:, 0]
    np.testing.assert_allclose(found["dnn"].to_numpy()[passed], expected[passed], rtol=1e-5)
    assert np.isnan(found["dnn"].to_numpy()[~passed]).all()


def test_one_score_per_element_and_class(
    events: tuple[str, ak.Array], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lists are flattened with what belongs to the event, scored, and made into lists again."""
    path, columns = events
    model = network(tmp_path / "n.onnx", 3, 2)
    found = friends(
        capsys, tmp_path / "n.onnx", path, "--out", tmp_path / "f",
        "-c", "Jet_pt", "-c", "Jet_eta", "-c", "MET",
    )  # fmt: skip
    met = ak.flatten(ak.broadcast_arrays(columns["MET"], columns["Jet_pt"])[0])
    flat = [ak.flatten(columns["Jet_pt"]), ak.flatten(columns["Jet_eta"]), met]
    expected = scored(model, *flat)
    for number in range(2):
        mine = found[f"score_{number}"]
        assert ak.num(mine).tolist() == ak.num(columns["Jet_pt"]).tolist()
        np.testing.assert_allclose(ak.flatten(mine), expected[:, number], rtol=1e-5, atol=1e-6)


def test_a_forest_takes_lists_too(
    events: tuple[str, ak.Array], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    xgboost = pytest.importorskip("xgboost")
    path, columns = events
    random = np.random.default_rng(1)
    x = random.normal(size=(300, 2))
    data = xgboost.DMatrix(x, label=x[:, 0] > 0, feature_names=["Jet_pt", "Jet_eta"])
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3}, data, 4)
    booster.save_model(tmp_path / "m.json")
    flat = np.stack([ak.flatten(columns[n]).to_numpy() for n in ("Jet_pt", "Jet_eta")], axis=1)
    names = ["Jet_pt", "Jet_eta"]
    expected = booster.predict(xgboost.DMatrix(flat, feature_names=names), output_margin=True)
    found = friends(
        capsys, tmp_path / "m.json", path, "--out", tmp_path / "f", "--margin", "--engine", "numpy"
    )
    assert ak.num(found["score"]).tolist() == ak.num(columns["Jet_pt"]).tolist()
    assert ak.flatten(found["score"]).to_numpy().astype(np.float32).tolist() == expected.tolist()


def test_inputs_with_names(
    events: tuple[str, ak.Array], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An input for each feature, outputs of several types; integers stay integers."""
    path, columns = events
    helper, kind = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node("Mul", ["MET", "w"], ["product"]),
         helper.make_node("Add", ["n", "n"], ["twice"])],
        "named",
        [helper.make_tensor_value_info("MET", kind.FLOAT, ["rows", 1]),
         helper.make_tensor_value_info("w", kind.FLOAT, [None, 1]),
         helper.make_tensor_value_info("n", kind.INT64, ["rows"])],
        [helper.make_tensor_value_info("product", kind.FLOAT, ["rows", 1]),
         helper.make_tensor_value_info("twice", kind.INT64, ["rows"])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "n.onnx")
    words = [tmp_path / "n.onnx", path, "-o", tmp_path / "f"]
    found = friends(capsys, *words, "-c", "w = 3", "-c", "n = nMuon")
    np.testing.assert_array_equal(found["score_product"], 3 * columns["MET"])
    assert found["score_twice"].tolist() == (2 * columns["nMuon"]).tolist()
    assert "the inputs are MET, w, n" in fails(capsys, *words, "-c", "x = 3", code=2)
    assert "takes int64, not float32" in fails(
        capsys, *words, "-c", "w = 3", "-c", "n = MET", "--overwrite"
    )


def test_what_is_refused(
    events: tuple[str, ak.Array], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = events
    network(tmp_path / "n.onnx", 2, 1)
    words = [tmp_path / "n.onnx", path, "-o", tmp_path / "f"]
    assert "takes 2 numbers without names" in fails(capsys, *words, "-c", "MET", code=2)
    assert "--margin is of forests" in fails(
        capsys, *words, "-c", "MET", "-c", "nMuon", "--margin", code=2
    )
    assert "lists of the same lengths" in fails(capsys, *words, "-c", "Jet_pt", "-c", "Tau_pt")
    assert "no column 'MTE'" in fails(capsys, *words, "-c", "MTE", "-c", "nMuon")
    (tmp_path / "no.onnx").write_text("hello")
    assert "no ONNX file" in fails(capsys, tmp_path / "no.onnx", path, "-o", tmp_path / "f")
    assert "no such file" in fails(capsys, tmp_path / "none.onnx", path, "-o", tmp_path / "f")
    model = onnx.load(tmp_path / "n.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "one.onnx")
    words[0] = tmp_path / "one.onnx"
    assert "any number of rows" in fails(capsys, *words, "-c", "MET", "-c", "nMuon")
    onnx.save(
        onnx.load(tmp_path / "n.onnx"), tmp_path / "ext.onnx", save_as_external_data=True,
        location="weights.bin", size_threshold=0,
    )  # fmt: skip
    words[0] = tmp_path / "ext.onnx"
    assert "stored in another file" in fails(capsys, *words, "-c", "MET", "-c", "nMuon")


FLOAT, HALF, SHORT = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT16


def graph(
    path: Path, nodes: Any, *, out: dict[str, Any], kind: Any = FLOAT, **constants: Any
) -> Path:
    """An ONNX file with the input "x" of two columns."""
    helper = onnx.helper
    made = helper.make_graph(
        [helper.make_node(name, inputs, [to], **more) for name, to, inputs, more in nodes],
        "graph",
        [helper.make_tensor_value_info("x", kind, ["rows", 2])],
        [helper.make_tensor_value_info(name, *each) for name, each in out.items()],
        [onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def test_scores_that_depend_on_other_rows_are_refused(
    events: tuple[str, ak.Array], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of networks that were exported in training mode: they change with the partitions."""
    words = [events[0], "-o", tmp_path / "f", "-c", "MET", "-c", "b = MET"]
    rows: Any = {"y": (FLOAT, ["rows", 2])}
    for name, nodes, constants in (
        ("softmax", [("Softmax", "y", ["x"], {"axis": 0})], {}),
        (
            "dropout",
            [("Dropout", "y", ["x", "half", "on"], {})],
            {"half": np.float32(0.5), "on": np.array(True)},
        ),
    ):
        path = graph(tmp_path / f"{name}.onnx", nodes, out=rows, **constants)
        assert "must depend on its own row only" in fails(capsys, path, *words)


def test_outputs_that_are_no_rows(
    events: tuple[str, ak.Array], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [events[0], "-o", tmp_path / "f", "-c", "MET", "-c", "b = MET"]
    total: Any = [("ReduceSum", "y", ["x"], {"keepdims": 0})]
    path = graph(tmp_path / "sum.onnx", total, out={"y": (FLOAT, [])})
    assert "the output 'y' is () for" in fails(capsys, path, *words)
    fixed: Any = [("Reshape", "y", ["x", "shape"], {})]
    path = graph(tmp_path / "fixed.onnx", fixed, out={"y": (FLOAT, [3, 2])}, shape=[3, 2])
    assert "onnxruntime stops at 500 rows" in fails(capsys, path, *words)
    same: Any = [
        ("Identity", "a", ["x"], {}),
        ("ReduceSum", "a_0", ["x", "last"], {"keepdims": 0}),
    ]
    two = {"a": (FLOAT, ["rows", 2]), "a_0": (FLOAT, ["rows"])}
    path = graph(tmp_path / "two.onnx", same, out=two, last=[1])
    assert "two outputs give scores called 'score_a_0'" in fails(capsys, path, *words)


def test_small_types(
    events: tuple[str, ak.Array], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half precision comes out as float32; numbers that an input does not hold are refused."""
    path, columns = events
    nodes: Any = [("Neg", "y", ["x"], {})]
    half = graph(tmp_path / "h.onnx", nodes, kind=HALF, out={"y": (HALF, ["rows", 2])})
    found = friends(capsys, half, path, "-o", tmp_path / "f", "-c", "MET", "-c", "nMuon")
    assert found["score_0"].type == ak.types.ArrayType(ak.types.NumpyType("float32"), EVENTS)
    assert found["score_0"].tolist() == (-columns["MET"].to_numpy().astype(np.float16)).tolist()
    words = [path, "-o", tmp_path / "g", "-c", "nMuon", "-c"]
    assert "which does not hold" in fails(capsys, half, *words, "b = 1e6 * MET")
    short = graph(tmp_path / "s.onnx", nodes, kind=SHORT, out={"y": (SHORT, ["rows", 2])})
    assert "int16, which does not hold 400" in fails(capsys, short, *words, "b = 40000 + nMuon")


@pytest.mark.parametrize(
    ("value", "to", "exact"),
    [
        (np.int64(2**53 + 1), np.float64, False),
        (np.int64(2**53 + 2), np.float64, True),
        (np.uint64(2**64 - 1), np.int64, False),
        (np.int64(-1), np.uint64, False),
        (np.uint64(2**63), np.float32, True),
        (np.float64(1e300), np.float32, False),
        (np.float64(0.1), np.float32, True),
        (np.float64(np.inf), np.float32, True),
        (np.float64(np.nan), np.float32, True),
    ],
)
def test_what_an_input_holds(value: Any, to: Any, exact: bool) -> None:
    wanted = Input("x", np.dtype(to), 1)
    if exact:
        np.testing.assert_array_equal(_cast(np.array([value]), wanted), [to(value)])
        return
    with pytest.raises(CastError, match="which does not hold"):
        _cast(np.array([value]), wanted)


def test_no_rows_have_the_same_scores(tmp_path: Path) -> None:
    network(tmp_path / "n.onnx", 2, 3)
    found = Network(tmp_path / "n.onnx")
    for rows in (0, 1, 5):
        scores = found.scores([np.zeros(rows, np.float32)] * 2, "s")
        assert {name: each.shape for name, each in scores.items()} == dict.fromkeys(
            ("s_0", "s_1", "s_2"), (rows,)
        )


def test_elements_of_nothing() -> None:
    scores = ElementScores(lambda columns: {"s": columns[0] * 2}, ["a"])
    empty = ak.Array([[1.0]])[:0]
    assert scores({"a": empty})["s"].tolist() == []
    assert scores({"a": ak.Array([[1.0], []])[1:]})["s"].tolist() == [[]]
