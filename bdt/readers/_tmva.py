"""TMVA's weight files of boosted decision trees: XML, read as a stream.

Semantics from ROOT's ``tmva/tmva/src/MethodBDT.cxx``, ``DecisionTree.cxx`` and
``DecisionTreeNode.cxx``: inputs and cuts are float32; an event goes right where ``x >= Cut`` if
``cType`` is 1, where not if it is 0, so that NaN goes left, or right; leaves are summed in
float64. AdaBoost, Bagging: the mean of the leaves (their type or purity) with the weights of the
trees; Grad: ``2 / (1 + exp(-2 sum)) - 1``, a softmax for several classes, ``sum + boostWeight[0]``
for regression.
"""

from __future__ import annotations

import xml.parsers.expat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import Forest, Link
from rootml.bdt._structure import keep_reached
from rootml.errors import ModelError, UnsupportedModelError

_AVERAGED = {"AdaBoost", "AdaCost", "Bagging", "RealAdaBoost"}
_MAX_LEVELS = 4200


class _Stream:
    """What the elements of a weight file are, collected as they come."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self.text: list[str] = []
        self.method = ""
        self.info: dict[str, str] = {}
        self.options: dict[str, str] = {}
        self.option = ""
        self.variables: list[str] = []
        self.classes = 0
        self.transformations = 0
        self.weights: dict[str, str] = {}
        self.trees: list[float] = []
        self.tree_offset = [0]
        self.parents: list[int] = []
        self.nodes: list[tuple[float, ...]] = []
        self.left: list[int] = []
        self.right: list[int] = []

    def begin(self, name: str, given: dict[str, str]) -> None:
        self.path.append(name)
        if len(self.path) > _MAX_LEVELS:
            message = f"elements are nested more than {_MAX_LEVELS} deep"
            raise ModelError(message)
        self.text = []
        handler = getattr(self, f"begin_{name.lower()}", None)
        if handler is not None:
            handler(given)

    def end(self, name: str) -> None:
        self.path.pop()
        if name == "Option" and self.option:
            self.options[self.option] = "".join(self.text).strip()
            self.option = ""
        elif name == "Node":
            self.parents.pop()
        elif name == "BinaryTree":
            if len(self.nodes) == self.tree_offset[-1]:
                message = f"tree {len(self.trees) - 1} has no node"
                raise ModelError(message)
            self.tree_offset.append(len(self.nodes))

    def characters(self, part: str) -> None:
        self.text.append(part)

    def begin_methodsetup(self, given: dict[str, str]) -> None:
        self.method = given.get("Method", "")

    def begin_info(self, given: dict[str, str]) -> None:
        self.info[given.get("name", "")] = given.get("value", "")

    def begin_option(self, given: dict[str, str]) -> None:
        self.option = given.get("name", "")

    def begin_variable(self, given: dict[str, str]) -> None:
        if self.path[-2:-1] == ["Variables"]:
            self.variables.append(given.get("Expression", ""))

    def begin_class(self, given: dict[str, str]) -> None:
        self.classes += "Name" in given

    def begin_transformations(self, given: dict[str, str]) -> None:
        self.transformations = int(_number(given, "NTransformations"))

    def begin_weights(self, given: dict[str, str]) -> None:
        self.weights = given

    def begin_binarytree(self, given: dict[str, str]) -> None:
        if self.path[-2:-1] != ["Weights"]:
            message = "a tree outside of Weights"
            raise ModelError(message)
        self.trees.append(_number(given, "boostWeight"))

    def begin_node(self, given: dict[str, str]) -> None:
        if self.path[-2:-1] not in (["BinaryTree"], ["Node"]):
            message = "a node outside of a tree"
            raise ModelError(message)
        number = len(self.nodes)
        if self.parents:
            side = {"l": self.left, "r": self.right}.get(given.get("pos", ""))
            if side is None or side[self.parents[-1]] >= 0:
                message = f"node {number} is neither the left nor the right one of its parent"
                raise ModelError(message)
            side[self.parents[-1]] = number
        elif number != self.tree_offset[-1]:
            message = f"tree {len(self.trees) - 1} has two roots"
            raise ModelError(message)
        self.parents.append(number)
        self.left.append(-1)
        self.right.append(-1)
        if "NCoef" in given and _number(given, "NCoef") != 0:
            message = "cuts on linear combinations (UseFisherCuts of TMVA) are not supported"
            raise UnsupportedModelError(message)
        names = ("IVar", "Cut", "cType", "nType")
        self.nodes.append(
            (*(_number(given, name) for name in names), _number(given, "res", -99.0),
             _purity(given))
        )  # fmt: skip


def _number(given: dict[str, str], name: str, default: float | None = None) -> float:
    if default is not None and name not in given:
        return default
    try:
        value = float(given[name])
    except (KeyError, ValueError) as error:
        message = f"{name}={given.get(name, '(missing)')!r:.30} where a number is expected"
        raise ModelError(message) from error
    if not abs(value) < np.finfo(np.float32).max:
        message = f"{name}={given[name]!r:.30} is beyond float32, the type that TMVA reads"
        raise ModelError(message)
    return value


def _purity(given: dict[str, str]) -> float:
    if "purity" in given:
        return _number(given, "purity")
    signal, background = _number(given, "nS", 0.0), _number(given, "nB", 0.0)
    return signal / (signal + background) if signal + background else 0.5


def _refuse(*_: Any) -> None:
    message = "the XML declares a document type or an entity, which TMVA never does"
    raise ModelError(message)


def parse(data: bytes) -> _Stream:
    """The content of a weight file.

    Raises:
        ModelError: No XML, or with declarations that TMVA never writes.
    """
    stream = _Stream()
    parser = xml.parsers.expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = stream.begin
    parser.EndElementHandler = stream.end
    parser.CharacterDataHandler = stream.characters
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(data, True)
    except xml.parsers.expat.ExpatError as error:
        message = f"the file is not valid XML: {error}"
        raise ModelError(message) from error
    return stream


def read_tmva(data: bytes) -> Forest:
    """A forest from the bytes of a TMVA weight file of the method BDT.

    Raises:
        ModelError: Damaged.
        UnsupportedModelError: Another method, transformed variables, Fisher cuts, preselection,
            AdaBoostR2.
    """
    stream = parse(data)
    boost = stream.options.get("BoostType", "")
    _check(stream, boost)
    count = len(stream.nodes)
    nodes = np.array(stream.nodes, dtype=np.float64).reshape(count, 6)
    selector, cut, cut_type, kind, response, purity = nodes.T
    leaf = kind != 0
    left, right = np.array(stream.left), np.array(stream.right)
    if np.any(~leaf & ((left < 0) | (right < 0))):
        message = "a node of type 0 without two daughters"
        raise ModelError(message)
    if np.any(~leaf & ~np.isin(selector, np.arange(len(stream.variables)))):
        message = f"IVar beyond the {len(stream.variables)} variables"
        raise ModelError(message)
    if np.any(~leaf & ~np.isin(cut_type, (0, 1))):
        message = "cType is neither 0 nor 1"
        raise ModelError(message)
    swap = ~leaf & (cut_type == 0)
    reached, offset, left, right = _without_pruned(stream, leaf, left, right)
    fields = {
        "feature": np.where(leaf, -1, selector),
        "threshold": np.where(leaf, 0.0, cut).astype(np.float32),
        "default_left": ~leaf,
        "value": np.where(leaf, _leaf_values(stream, boost, kind, response, purity), 0.0),
    }
    fields = {name: array[reached] for name, array in fields.items()}
    flip = swap[reached]
    value = fields.pop("value")
    weights = np.array(stream.trees, dtype=np.float32).astype(np.float64)
    averaged = boost in _AVERAGED
    if averaged:
        value = value * np.repeat(weights, np.diff(offset))
    norm = 0.0
    for weight in weights.tolist():  # one addition after the other, as TMVA's
        norm += weight
    if averaged and not norm > np.finfo(np.float64).eps:
        value, norm = value * 0, 1.0
    analysis = stream.info.get("AnalysisType", "Classification")
    outputs = stream.classes if analysis == "Multiclass" else 1
    is_grad_regression = analysis == "Regression" and not averaged
    links: dict[str, Link] = {"Classification": "tanh", "Multiclass": "softmax"}
    return Forest(
        **fields,
        value=value[:, None],
        tree_offset=offset,
        left=np.where(flip, right, left),
        right=np.where(flip, left, right),
        tree_output=np.arange(len(stream.trees), dtype=np.int32) % outputs,
        base=weights[:1] if is_grad_regression else np.zeros(outputs),
        base_first=not is_grad_regression,
        divisor=norm if averaged else 1.0,
        num_features=len(stream.variables),
        link="identity" if averaged else links.get(analysis, "identity"),
        library="tmva",
        library_version=stream.info.get("TMVA Release", "").split(" ")[0],
        objective=f"{analysis}, {boost}",
        feature_names=tuple(stream.variables),
        trees_per_iteration=outputs,
    )


def _check(stream: _Stream, boost: str) -> None:
    if not stream.method.startswith("BDT"):
        message = f"the TMVA method {stream.method!r:.40} is not supported; supported: BDT"
        raise UnsupportedModelError(message)
    if boost != "Grad" and boost not in _AVERAGED:
        message = (
            f"BoostType {boost!r:.40} of TMVA is not supported; supported: Grad, "
            f"{', '.join(sorted(_AVERAGED))}"
        )
        raise UnsupportedModelError(message)
    if stream.transformations:
        message = "variables transformed by TMVA before the trees (VarTransform) are not supported"
        raise UnsupportedModelError(message)
    if any(name.startswith("Preselection") for name in stream.weights):
        message = "a TMVA forest with preselection cuts (DoPreselection) is not supported"
        raise UnsupportedModelError(message)
    analysis = stream.info.get("AnalysisType", "Classification")
    if analysis not in {"Classification", "Multiclass", "Regression"}:
        message = f"AnalysisType {analysis!r:.40} of TMVA is not supported"
        raise UnsupportedModelError(message)
    if analysis == "Multiclass" and (boost != "Grad" or stream.classes < 2):
        message = f"Multiclass with BoostType {boost} and {stream.classes} classes"
        raise UnsupportedModelError(message)
    if not stream.trees or _number(stream.weights, "NTrees") != len(stream.trees):
        message = f"{len(stream.trees)} trees, but NTrees is {stream.weights.get('NTrees')}"
        raise ModelError(message)


def _leaf_values(
    stream: _Stream,
    boost: str,
    kind: NDArray[np.float64],
    response: NDArray[np.float64],
    purity: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What ``DecisionTree::CheckEvent`` returns for each node; attributes are read as float32."""
    analysis = stream.weights.get("TreeType", stream.weights.get("AnalysisType", "0"))
    if analysis.strip() == "1":  # Types::kRegression, also of Grad's trees
        return response.astype(np.float32).astype(np.float64)
    yes_no = stream.options.get("UseYesNoLeaf", "True").lower() in {"true", "t", "1", "yes"}
    if yes_no and boost != "Grad":
        return kind
    return purity.astype(np.float32).astype(np.float64)


def _without_pruned(
    stream: _Stream, leaf: NDArray[np.bool_], left: NDArray[Any], right: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """TMVA stops at a node whose type is not 0, whatever hangs below it."""
    return keep_reached(
        np.array(stream.tree_offset, dtype=np.int64),
        np.where(leaf, -1, left).astype(np.int32),
        np.where(leaf, -1, right).astype(np.int32),
    )
