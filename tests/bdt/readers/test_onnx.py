"""ONNX tree ensembles, against ONNX Runtime on one thread, in all bits."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forest_walk import margins
from numpy.typing import NDArray

from rootml.bdt import load
from rootml.errors import ModelError, UnsupportedModelError

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT")


@pytest.fixture
def onnx() -> Any:
    pytest.importorskip("onnxruntime")
    return pytest.importorskip("onnx")


def run(model: Any, x: NDArray[Any]) -> list[NDArray[Any]]:
    """Outputs of ONNX Runtime on one thread."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    outputs: list[NDArray[Any]] = session.run(None, {"x": x})
    return outputs


def model_of(
    onnx: Any, kind: str, attributes: dict[str, Any], *, width: int = 3, dtype: Any = np.float32,
    outputs: int = 1, opset: int = 3, after: str = "",
) -> Any:  # fmt: skip
    """A graph of one ensemble ``x -> y`` (a classifier has labels too)."""
    helper = onnx.helper
    tensor = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    made = tensor if kind == "TreeEnsemble" else onnx.TensorProto.FLOAT
    names = ["label", "y"] if kind == "TreeEnsembleClassifier" else ["y"]
    nodes = [helper.make_node(kind, ["x"], names, "trees", domain="ai.onnx.ml", **attributes)]
    results = [helper.make_tensor_value_info("y", made, [None, outputs])]
    if after:
        nodes.append(helper.make_node(after, ["y"], ["z"]))
        results = [helper.make_tensor_value_info("z", made, [None, outputs])]
    given = [helper.make_tensor_value_info("x", tensor, [None, width])]
    graph = helper.make_graph(nodes, "graph", given, results)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", opset)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 10
    return model


def grown(
    rng: np.random.Generator, modes: tuple[str, ...], *, trees: int = 7, outputs: int = 1,
    prefix: str = "target", equal: bool = False, whole: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Attributes of a regressor or classifier: trees grown by throwing dice, nodes shuffled.

    The leaves of the first tree add to all outputs if it is `whole`.
    """
    nodes: list[tuple[Any, ...]] = []
    leaves: list[tuple[int, int, int, float]] = []

    def grow(tree: int, depth: int, counter: list[int]) -> int:
        number = counter[0]
        counter[0] += 1
        if depth == 0 or (number and rng.random() < 0.2):
            nodes.append((tree, number, 0, 0.0, "LEAF", 0, 0, 0))
            targets = rng.permutation(outputs)
            some = outputs if whole and tree == 0 else rng.integers(1, outputs + 1)
            targets = targets[:some].tolist()
            weights = rng.normal(size=len(targets)).astype(np.float32).tolist()
            leaves.extend((tree, number, *one) for one in zip(targets, weights, strict=True))
            return number
        place = len(nodes)
        nodes.append(())
        mode = str(rng.choice(modes))
        feature = int(rng.integers(3))
        split = float(np.float32(rng.choice([0, -0.0, 1, rng.normal()])))
        if equal and rng.random() < 0.4:
            mode, feature = str(rng.choice(["BRANCH_EQ", "BRANCH_NEQ"])), 2
            split = float(rng.integers(4))
        true, false = grow(tree, depth - 1, counter), grow(tree, depth - 1, counter)
        nodes[place] = (tree, number, feature, split, mode, true, false, int(rng.integers(2)))
        return number

    for tree in range(trees):
        grow(tree, 4, [0])
    names = ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids",
             "missing_value_tracks_true")  # fmt: skip
    columns = zip(*nodes, strict=True)
    made = {f"nodes_{n}": list(column) for n, column in zip(names, columns, strict=True)}
    weights = zip(*leaves, strict=True)
    keys = ("treeids", "nodeids", "ids", "weights")
    return made | {f"{prefix}_{k}": list(v) for k, v in zip(keys, weights, strict=True)}


def rows(dtype: Any = np.float32) -> NDArray[Any]:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(300, 3)).astype(dtype)
    x[:, 2] = rng.integers(0, 4, 300)
    x[100:200, :2] = rng.choice(np.array([0, -0.0, 1, np.nan, np.inf, -np.inf]), (100, 2))
    x[:20, 2] = np.tile([np.nan, 0.5, -1, -0.0, 7], 4)
    return x


@pytest.mark.parametrize("modes", [MODES, ("BRANCH_LT",), ("BRANCH_GTE",), ("BRANCH_LEQ",)])
@pytest.mark.parametrize("outputs", [1, 3])
def test_regressor(onnx: Any, modes: tuple[str, ...], outputs: int) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        attributes = grown(rng, modes, outputs=outputs, equal=seed % 2 == 0, whole=True)
        attributes |= {
            "n_targets": outputs,
            "base_values": np.linspace(-1, 2, outputs).tolist(),
            "aggregate_function": "AVERAGE" if seed == 3 else "SUM",
        }
        model = model_of(onnx, "TreeEnsembleRegressor", attributes, outputs=outputs)
        forest = load(model)
        assert forest.library == "onnx"
        x = rows()
        assert np.array_equal(margins(forest, x), run(model, x)[0])
        assert np.array_equal(margins(load(model.SerializeToString()), x), run(model, x)[0])


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("classes", [2, 3])
def test_classifier(onnx: Any, transform: str, classes: int) -> None:
    rng = np.random.default_rng(classes)
    attributes = grown(rng, MODES, outputs=classes, prefix="class", whole=True)
    attributes["classlabels_int64s"] = list(range(classes))
    model = model_of(onnx, "TreeEnsembleClassifier", attributes, outputs=classes)
    x = rows()
    m = margins(load(model), x)
    assert np.array_equal(m, run(model, x)[0])  # NONE: the scores
    attributes["post_transform"] = transform
    model = model_of(onnx, "TreeEnsembleClassifier", attributes, outputs=classes)
    link = {"NONE": "identity", "LOGISTIC": "sigmoid"}.get(transform, transform.lower())
    assert load(model).link == link
    assert np.array_equal(margins(load(model), x), m)


@pytest.mark.parametrize(("place", "base"), [(0, []), (1, []), (0, [0.25])])
def test_classifier_of_two_classes_with_one_score(
    onnx: Any, place: int, base: list[float]
) -> None:
    """The probability of the second class is the sigmoid of the score."""
    attributes = grown(np.random.default_rng(8), ("BRANCH_LEQ",), prefix="class")
    attributes["class_ids"] = [place] * len(attributes["class_ids"])
    attributes["classlabels_int64s"] = [0, 1]
    attributes["post_transform"] = "LOGISTIC"
    if base:
        attributes["base_values"] = base
        attributes_of_1 = attributes | {"class_ids": [1] * len(attributes["class_ids"])}
        with pytest.raises(UnsupportedModelError, match="not defined by ONNX"):
            load(model_of(onnx, "TreeEnsembleClassifier", attributes_of_1, outputs=2))
    model = model_of(onnx, "TreeEnsembleClassifier", attributes, outputs=2)
    x = rows()
    forest = load(model)
    assert forest.num_outputs == 1
    m = margins(forest, x)[:, 0].astype(np.float64)
    np.testing.assert_allclose(1 / (1 + np.exp(-m)), run(model, x)[0][:, 1], rtol=5e-6)


def test_scores_that_the_runtime_gives_in_a_way_of_its_own_are_refused(onnx: Any) -> None:
    """In all of them ONNX Runtime's second score is not the one that ONNX describes."""
    rng, x = np.random.default_rng(8), rows()
    leaves = {"nodes_treeids": [0] * 3, "nodes_nodeids": [0, 1, 2], "nodes_featureids": [0, 0, 0],
              "nodes_values": [0.0] * 3, "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
              "nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 0, 0]}  # fmt: skip
    target = {"target_treeids": [0, 0], "target_nodeids": [1, 2], "target_ids": [0, 1],
              "target_weights": [1.0, 2.0]}  # fmt: skip
    model = model_of(onnx, "TreeEnsembleRegressor", leaves | target | {"n_targets": 2}, outputs=2)
    assert np.array_equal(margins(load(model), x), run(model, x)[0])  # no bases
    bases = {"n_targets": 2, "base_values": [10.0, 20.0]}
    model = model_of(onnx, "TreeEnsembleRegressor", leaves | target | bases, outputs=2)
    assert (run(model, x)[0] == 0).any()  # the base of the target that no leaf adds to
    with pytest.raises(UnsupportedModelError, match="target 0, to which not all leaves add"):
        load(model)
    refused: list[tuple[int, dict[str, Any]]] = [
        (2, {"base_values": [0.5, 0.25]}), (1, {"class_ids": 0, "post_transform": "PROBIT"}),
        (1, {"class_ids": 1, "post_transform": "SOFTMAX"}),
        (1, {"class_ids": 1, "post_transform": "SOFTMAX_ZERO"}),
    ]  # fmt: skip
    for outputs, changes in refused:
        given = grown(rng, ("BRANCH_LEQ",), outputs=outputs, prefix="class")
        if "class_ids" in changes:
            changes["class_ids"] = [changes["class_ids"]] * len(given["class_ids"])
        given |= {"classlabels_int64s": [0, 1], **changes}
        with pytest.raises(UnsupportedModelError, match="defined by ONNX"):
            load(model_of(onnx, "TreeEnsembleClassifier", given, outputs=2))
    moved = {name.replace("target", "class"): value for name, value in target.items()}
    moved |= {"classlabels_int64s": [0, 1]}
    with pytest.raises(UnsupportedModelError, match="leaves without the second class"):
        load(model_of(onnx, "TreeEnsembleClassifier", leaves | moved, outputs=2))


def test_one_target_with_a_sigmoid_is_refused(onnx: Any) -> None:
    """ONNX describes a sigmoid; ONNX Runtime gives the sum."""
    x, attributes = rows(), grown(np.random.default_rng(8), ("BRANCH_LEQ",))
    attributes["n_targets"] = 1
    plain, logistic = (
        model_of(onnx, "TreeEnsembleRegressor", attributes | {"post_transform": transform})
        for transform in ("NONE", "LOGISTIC")
    )
    assert np.array_equal(run(logistic, x)[0], run(plain, x)[0])
    with pytest.raises(UnsupportedModelError, match="ONNX Runtime leaves it out"):
        load(logistic)


@pytest.mark.parametrize("transform", ["SOFTMAX", "SOFTMAX_ZERO"])
def test_one_score_has_no_softmax(onnx: Any, transform: str) -> None:
    x, attributes = rows(), grown(np.random.default_rng(8), ("BRANCH_LEQ",))
    model = model_of(
        onnx, "TreeEnsembleRegressor", attributes | {"post_transform": transform, "n_targets": 1}
    )
    assert np.array_equal(load(model).compile().predict(x)[:, None], run(model, x)[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("member", [False, True], ids=["numeric", "member"])
def test_tree_ensemble_of_opset_5(onnx: Any, dtype: Any, member: bool) -> None:
    tensor = onnx.numpy_helper.from_array
    rng = np.random.default_rng(3)
    modes = np.array([0, 1, 2, 3, 4, 5, 6 if member else 0], dtype=np.uint8)
    attributes = {
        "n_targets": 2, "aggregate_function": 1, "post_transform": 0,
        "tree_roots": [0, 3],
        "nodes_featureids": [0, 1, 2, 1, 2, 2, 2],
        "nodes_modes": tensor(modes, "m"),
        "nodes_splits": tensor(np.array([0, 1, 2, 0.5, 3, 1, 0], dtype=dtype), "s"),
        "nodes_truenodeids": [1, 0, 2, 4, 5, 7, 9],
        "nodes_trueleafs": [0, 1, 1, 0, 0, 1, 1],
        "nodes_falsenodeids": [2, 1, 3, 6, 8, 6, 4],
        "nodes_falseleafs": [0, 1, 1, 0, 1, 1, 1],
        "nodes_missing_value_tracks_true": [1, 0, 1, 0, 1, 0, 0],
        "leaf_targetids": [0, 1, 0, 1, 0, 1, 0, 1, 0, 1],
        "leaf_weights": tensor(rng.normal(size=10).astype(dtype), "w"),
    }  # fmt: skip
    if member:
        attributes["membership_values"] = tensor(np.array([0, 3, np.nan], dtype=dtype), "v")
    model = model_of(onnx, "TreeEnsemble", attributes, dtype=dtype, outputs=2, opset=5)
    x = rows(dtype)
    forest = load(model)
    assert forest.dtype == forest.input_dtype == dtype
    assert np.array_equal(margins(forest, x), run(model, x)[0])


def test_official_node_tests(onnx: Any) -> None:
    """All that ONNX has of the tree operators: inputs and expected outputs of its own."""
    from onnx.backend.test.case.node import collect_testcases

    with np.errstate(all="ignore"), warnings.catch_warnings():  # it makes tests of all operators
        warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy 2.5
        cases = collect_testcases("TreeEnsemble")
    found = 0
    for case in cases:
        if "tree_ensemble" not in case.name:
            continue
        assert case.model is not None
        assert case.data_sets is not None
        forest = load(case.model.SerializeToString())
        for (x,), (expected,) in case.data_sets:
            found += 1
            for engine in ("numpy", "llvm"):
                made = forest.compile(engine).predict(x)
                assert np.array_equal(made.reshape(expected.shape), expected), case.name
    assert found >= 2


ODD = [-2.5, -1.0, -0.0, 0.25, 1.0, 2.0, 1e9, 3e-42, 7.5]
"""Numbers of which some are no categories."""


@pytest.mark.parametrize("seed", range(6))
def test_equality_with_any_number(onnx: Any, seed: int) -> None:
    """Fractions and numbers below zero, with NaN to either side, against ONNX Runtime."""
    rng = np.random.default_rng(seed)
    attributes = grown(rng, (*MODES, "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_EQ"), trees=5)
    inner = [i for i, mode in enumerate(attributes["nodes_modes"]) if mode != "LEAF"]
    for i in inner:
        attributes["nodes_values"][i] = float(np.float32(rng.choice(ODD)))
    attributes["n_targets"] = 1
    model = model_of(onnx, "TreeEnsembleRegressor", attributes)
    values = np.array([*ODD, np.nan, np.inf, -np.inf], np.float32)
    near = np.concatenate([values, np.nextafter(values, np.float32(9)), values + np.float32(1)])
    x = rng.choice(near, (600, 3)).astype(np.float32)
    forest = load(model)
    assert np.array_equal(margins(forest, x), run(model, x)[0])
    assert np.array_equal(forest.compile().predict_margin(x), run(model, x)[0][:, 0])


@pytest.mark.parametrize("seed", range(6))
def test_membership_of_any_number(onnx: Any, seed: int) -> None:
    """Against ONNX's own reference evaluator, for which a zero ends a set."""
    from onnx.reference import ReferenceEvaluator

    tensor = onnx.numpy_helper.from_array
    rng = np.random.default_rng(seed)
    known = [one for one in ODD if one]
    sets = [rng.choice(known, rng.integers(1, 6), replace=False) for _ in range(3)]
    members = np.concatenate([np.r_[one, np.nan] for one in sets]).astype(np.float32)
    attributes = {
        "n_targets": 1, "aggregate_function": 1, "post_transform": 0, "tree_roots": [0],
        "nodes_featureids": [0, 1, 2, 0],
        "nodes_modes": tensor(np.array([6, 6, 0, 6], dtype=np.uint8), "m"),
        "nodes_splits": tensor(np.array([0, 0, 0.25, 0], np.float32), "s"),
        "nodes_truenodeids": [1, 0, 2, 3], "nodes_trueleafs": [0, 1, 1, 1],
        "nodes_falsenodeids": [2, 1, 3, 4], "nodes_falseleafs": [0, 1, 0, 1],
        "nodes_missing_value_tracks_true": rng.integers(0, 2, 4).tolist(),
        "membership_values": tensor(members, "v"),
        "leaf_targetids": [0] * 5,
        "leaf_weights": tensor(rng.normal(size=5).astype(np.float32), "w"),
    }  # fmt: skip
    model = model_of(onnx, "TreeEnsemble", attributes, opset=5)
    values = np.array(
        [*ODD, *np.nextafter(np.array(ODD, np.float32), np.float32(9)), np.inf], np.float32
    )
    x = rng.choice(values, (400, 3))
    outputs: Any = ReferenceEvaluator(model).run(None, {"x": x})
    assert np.array_equal(load(model).compile().predict(x), outputs[0][:, 0])


@pytest.mark.parametrize("kind", ["Add", "Sum"])
def test_a_sum_of_ensembles(onnx: Any, kind: str) -> None:
    """Agrees to a few ulp: ONNX Runtime adds up each ensemble first."""
    rng = np.random.default_rng(5)
    models = []
    for number, modes in enumerate((("BRANCH_LT",), MODES, ("BRANCH_LEQ",))):
        attributes = grown(rng, modes, outputs=2, equal=number == 1, whole=True)
        attributes |= {"n_targets": 2, "base_values": [0.5 * number, -1.0]}
        models.append(model_of(onnx, "TreeEnsembleRegressor", attributes, outputs=2))
    graph = models[0].graph
    names = ["y"]
    for number, other in enumerate(models[1:]):
        node = other.graph.node[0]
        node.name = node.output[0] = f"y{number}"
        names.append(node.output[0])
        graph.node.append(node)
    make = onnx.helper.make_node
    if kind == "Sum":
        graph.node.append(make("Sum", names, ["total"]))
    else:
        graph.node.extend([make("Add", names[:2], ["t"]), make("Add", ["t", names[2]], ["total"])])
    graph.node.append(make("Mul", ["total", "half"], ["z"]))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([0.5], np.float32), "half"))
    graph.output[0].name = "z"
    x = rows()
    forest = load(models[0])
    assert forest.num_trees == 21
    for found in (margins(forest, x), forest.compile().predict_margin(x)):
        np.testing.assert_allclose(found, run(models[0], x)[0], rtol=2e-6, atol=1e-6)
    graph.output.append(onnx.helper.make_tensor_value_info("y", FLOAT, [None, 2]))
    with pytest.raises(UnsupportedModelError, match="are not one sum"):
        load(models[0])


@pytest.mark.parametrize("after", ["Sigmoid", "Softmax", "Exp", "Softplus", "Identity"])
def test_an_operator_behind_is_the_link(onnx: Any, after: str) -> None:
    attributes = grown(np.random.default_rng(0), MODES)
    model = model_of(onnx, "TreeEnsembleRegressor", attributes, after=after)
    assert load(model).link == after.lower()


def with_tail(onnx: Any, *steps: tuple[str, list[float], dict[str, Any]], outputs: int = 1) -> Any:
    """Trees, and operators behind them: name, constants, attributes."""
    attributes = grown(np.random.default_rng(0), MODES, outputs=outputs)
    attributes["n_targets"] = outputs
    model = model_of(onnx, "TreeEnsembleRegressor", attributes, outputs=outputs)
    value = "y"
    for number, (kind, constants, options) in enumerate(steps):
        names = [f"c{number}{k}" for k in range(len(constants))]
        for name, constant in zip(names, constants, strict=True):
            array = np.array(constant, np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        made = f"z{number}"
        model.graph.node.append(onnx.helper.make_node(kind, [value, *names], [made], **options))
        value = made
    model.graph.output[0].name = value
    last = options.get("to") if steps else None
    if last is not None:
        model.graph.output[0].type.tensor_type.elem_type = last
    return model


FLOAT, INT32, DOUBLE = 1, 6, 11


@pytest.mark.parametrize(
    ("steps", "link"),
    [
        ([("Neg", [], {}), ("Exp", [], {}), ("Add", [1], {}), ("Reciprocal", [], {})], "sigmoid"),
        ([("Mul", [1], {}), ("Cast", [], {"to": FLOAT}), ("Identity", [], {})], "identity"),
        ([("Mul", [0.3], {})], "identity"),
        ([("Mul", [-4], {}), ("Add", [0.7], {}), ("Sigmoid", [], {})], "sigmoid"),
        ([("Add", [0.7], {}), ("Mul", [0.1], {}), ("Softmax", [], {})], "softmax"),
        ([("Softmax", [], {"axis": -1}), ("Identity", [], {})], "softmax"),
        ([("Softmax", [], {"axis": 1})], "softmax"),
        ([("Softmax", [], {})], "softmax"),
        ([("ArgMax", [], {"axis": 1}), ("Cast", [], {"to": FLOAT})], "argmax"),
        ([("Greater", [0], {}), ("Cast", [], {"to": FLOAT})], "hinge"),
    ],
)
def test_operators_behind_the_trees_are_obeyed(onnx: Any, steps: Any, link: str) -> None:
    model = with_tail(onnx, *steps, outputs=3)
    forest, x = load(model), rows()
    assert forest.link == link
    ours = forest.compile("numpy").predict(x)
    theirs = run(model, x)[0]
    np.testing.assert_allclose(ours.reshape(theirs.shape), theirs, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([("Softmax", [], {"axis": 0})], "axis must be 1"),
        ([("ArgMax", [], {"axis": 0}), ("Cast", [], {"to": FLOAT})], "axis must be 1"),
        ([("ArgMax", [], {"axis": 1, "keepdims": 0}), ("Cast", [], {"to": FLOAT})], "axis"),
        ([("Cast", [], {"to": INT32}), ("Cast", [], {"to": FLOAT})], "another type than float32"),
        ([("Cast", [], {"to": DOUBLE})], "another type than float32"),
        ([("Mul", [0], {})], "multiplied by 0"),
        ([("Exp", [], {}), ("Mul", [2], {})], "Exp, Mul 2 behind"),
        ([("Exp", [], {}), ("Exp", [], {})], "Exp, Exp behind"),
        ([("Exp", [], {}), ("Add", [1], {})], "Exp, Add 1 behind"),
        ([("Neg", [], {})], "Neg behind"),
        ([("Floor", [], {})], "Floor other operators"),
        ([("Greater", [0], {}), ("Cast", [], {"to": INT32})], "another type"),
    ],
)
def test_operators_behind_the_trees_are_refused(onnx: Any, steps: Any, words: str) -> None:
    with pytest.raises(UnsupportedModelError, match=words):
        load(with_tail(onnx, *steps, outputs=3))


def test_outputs_with_two_links_are_refused(onnx: Any) -> None:
    model = with_tail(onnx, ("Exp", [], {}), outputs=3)
    model.graph.node.append(onnx.helper.make_node("Sigmoid", ["y"], ["s"]))
    assert load(model).link == "exp"  # nobody gets it
    model.graph.output.append(onnx.helper.make_tensor_value_info("s", FLOAT, [None, 3]))
    with pytest.raises(UnsupportedModelError, match="different links: exp, sigmoid"):
        load(model)


# --- refusals ------------------------------------------------------------------------------------


def test_what_cannot_be_represented_is_named(onnx: Any) -> None:
    attributes = grown(np.random.default_rng(0), MODES)
    for change, words in (
        ({"aggregate_function": "MAX"}, "aggregate MAX"),
        ({"post_transform": "CUBE"}, "transform 'CUBE'"),
        ({"nodes_modes": ["BRANCH_OBLIQUE"] * len(attributes["nodes_modes"])}, "BRANCH_OBLIQUE"),
    ):
        with pytest.raises(UnsupportedModelError, match=words):
            load(model_of(onnx, "TreeEnsembleRegressor", attributes | change))
    model = model_of(onnx, "TreeEnsembleRegressor", attributes)
    model.graph.node.insert(0, onnx.helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml"))
    with pytest.raises(UnsupportedModelError, match="Scaler"):
        load(model)


def test_graphs_that_the_runtime_refuses_are_refused(onnx: Any) -> None:
    """A misspelt name of a value or attribute would lose a link or a direction of NaN."""

    def broken(change: Any) -> Any:
        model = with_tail(onnx, ("Sigmoid", [], {}))
        change(model, model.graph.node[0], model.graph.node[1])
        with pytest.raises(Exception, match=r"(?i)invalid|attribute|deprecated|not"):
            run(model, rows())
        return model

    def misspell(node: Any) -> None:
        tracks = "nodes_missing_value_tracks_true"
        next(one for one in node.attribute if one.name == tracks).name = tracks.replace("k", "j")

    for change, words in (
        (lambda _, __, tail: tail.input.__setitem__(0, "yy"), "an input of Sigmoid is 'yy'"),
        (lambda _, trees, __: trees.output.__setitem__(0, "yy"), "an input of Sigmoid is 'y'"),
        (lambda model, *_: setattr(model.graph.output[0], "name", "q"), "output of the graph is"),
        (lambda _, trees, __: misspell(trees), "attribute 'nodes_missing_value_tracjs_true'"),
        (
            lambda model, *_: setattr(model.opset_import[1], "domain", "ai.onnx.mm"),
            "does not import",
        ),
    ):
        with pytest.raises((ModelError, UnsupportedModelError), match=words):
            load(broken(change))


def test_weights_in_another_file_are_not_followed(onnx: Any) -> None:
    attributes = grown(np.random.default_rng(0), MODES)
    values = np.array(attributes.pop("nodes_values"), dtype=np.float32)
    tensor = onnx.numpy_helper.from_array(values, "values")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    tensor.ClearField("raw_data")
    attributes["nodes_values_as_tensor"] = tensor
    with pytest.raises(UnsupportedModelError, match="another file"):
        load(model_of(onnx, "TreeEnsembleRegressor", attributes))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("nodes_truenodeids", 0, "reached twice"),
        ("nodes_truenodeids", 500, "does not exist"),
        ("nodes_falsenodeids", -1, "does not exist"),
        ("nodes_featureids", 3, "tests feature 3"),
        ("nodes_featureids", -1, "feature"),
        ("nodes_nodeids", 1, "same number"),
        ("nodes_values", float("nan"), "NaN"),
        ("target_ids", 9, "target_ids beyond"),
        ("target_nodeids", 0, "weights of inner nodes"),
        ("target_treeids", 99, "does not exist"),
    ],
)
def test_damaged(onnx: Any, name: str, value: Any, words: str) -> None:
    attributes = grown(np.random.default_rng(0), MODES)
    attributes[name][0] = value
    with pytest.raises(ModelError, match=words):
        load(model_of(onnx, "TreeEnsembleRegressor", attributes))


def test_lists_of_different_lengths_and_huge_counts(onnx: Any) -> None:
    attributes = grown(np.random.default_rng(0), MODES)
    for name in attributes:
        short = attributes | {name: attributes[name][:-1]}
        with pytest.raises(ModelError):
            load(model_of(onnx, "TreeEnsembleRegressor", short))
    for change in ({"n_targets": 2**60}, {"n_targets": 10**7}):
        with pytest.raises((ModelError, UnsupportedModelError)):
            load(model_of(onnx, "TreeEnsembleRegressor", attributes | change))
    with pytest.raises(ModelError, match="features"):
        load(model_of(onnx, "TreeEnsembleRegressor", attributes, width=2**40))


def test_reading_needs_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from rootml.errors import MissingPackageError

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPackageError, match=r"rootml\[onnx\]"):
        load(b"\x08\x0a")


# --- files of converters -------------------------------------------------------------------------

CONVERTED = ("lgb2", "lgb3", "lgbr", "skl_gb2", "skl_gb3", "skl_gbr", "skl_rf2", "skl_rf3",
             "skl_rfr", "xgb2", "xgb3", "xgbr")  # fmt: skip


@pytest.mark.parametrize("name", CONVERTED)
def test_files_of_skl2onnx_and_onnxmltools(name: str) -> None:
    """Stored by ``make_onnx_models.py`` with the predictions of ONNX Runtime."""
    pytest.importorskip("onnx")
    with np.load(Path(__file__).parents[1] / "data" / "onnx-converters.npz") as kept:
        forest, x = load(kept[f"{name}.onnx"].tobytes()), kept["x"]
        wanted = kept[f"{name}.prediction"]
    m = margins(forest, x)
    soft = np.exp(m - m.max(axis=1, keepdims=True))
    ours = {
        "identity": m,
        "sigmoid": 1 / (1 + np.exp(-m)),
        "softmax": soft / soft.sum(axis=1, keepdims=True),
    }[forest.link]
    np.testing.assert_allclose(ours, wanted[:, -forest.num_outputs :], rtol=1e-6, atol=1e-7)
