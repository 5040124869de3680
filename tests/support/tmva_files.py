"""TMVA weight files made here, and what TMVA would say of them.

ROOT's pip wheel has no TMVA, so these are not TMVA's own files: the elements and attributes are
those that ``MethodBDT::AddWeightsXMLTo`` and ``DecisionTreeNode::AddAttributesToNode`` write, and
`evaluate` walks them as ``MethodBDT::PrivateGetMvaValue`` and its siblings do, node by node.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np

F = np.float32


def node(rng: Any, pos: str, depth: int, features: int) -> str:
    """A node and what is below it."""
    inner = depth > 0 and (pos == "s" or rng.random() < 0.8)
    values = {
        "pos": pos, "depth": 4 - depth, "NCoef": 0,
        "IVar": rng.integers(features) if inner else -1,
        "Cut": f"{rng.choice([-1, 0, 0.5, *rng.normal(size=3)]) if inner else 0:.16e}",
        "cType": int(rng.random() < 0.6), "res": f"{rng.normal():.16e}", "rms": "0.0e+00",
        "purity": f"{rng.random():.16e}", "nType": 0 if inner else rng.choice([-1, 1]),
    }  # fmt: skip
    text = " ".join(f'{name}="{value}"' for name, value in values.items())
    if not inner:
        return f"<Node {text}/>"
    below = "".join(node(rng, side, depth - 1, features) for side in "lr")
    return f"<Node {text}>{below}</Node>"


def weight_file(
    boost: str = "AdaBoost",
    *,
    analysis: str = "Classification",
    trees: int = 9,
    features: int = 3,
    classes: int = 2,
    yes_no: bool = True,
    seed: int = 1,
) -> str:
    """The text of a weight file."""
    rng = np.random.default_rng(seed)
    variables = "".join(
        f'<Variable VarIndex="{i}" Expression="var{i}+1" Label="v{i}" Title="v{i}" Unit="" '
        f'Internal="v{i}" Type="F" Min="-1.0e+00" Max="1.0e+00"/>'
        for i in range(features)
    )
    kind = 1 if boost == "Grad" or analysis == "Regression" else 0
    grown = "".join(
        f'<BinaryTree type="DecisionTree" boostWeight="{rng.random() + 0.1:.16e}" itree="{i}">'
        f"{node(rng, 's', 4, features)}</BinaryTree>"
        for i in range(trees)
    )
    names = "".join(f'<Class Name="class{i}" Index="{i}"/>' for i in range(classes))
    return f"""<?xml version="1.0"?>
<MethodSetup Method="BDT::BDTtest">
  <GeneralInfo>
    <Info name="TMVA Release" value="4.2.1 [262657]"/>
    <Info name="AnalysisType" value="{analysis}"/>
  </GeneralInfo>
  <Options>
    <Option name="BoostType" modified="Yes">{boost}</Option>
    <Option name="UseYesNoLeaf" modified="No">{yes_no}</Option>
  </Options>
  <Variables NVar="{features}">{variables}</Variables>
  <Spectators NSpec="0"/>
  <Classes NClass="{classes}">{names}</Classes>
  <Transformations NTransformations="0"/>
  <MVAPdfs/>
  <Weights NTrees="{trees}" AnalysisType="{kind}">{grown}</Weights>
</MethodSetup>
"""


def evaluate(text: str, row: Any) -> Any:
    """What TMVA returns for one event (float64, or a list for several classes)."""
    root = ET.fromstring(text)
    options = {option.get("name"): option.text for option in root.iter("Option")}
    info = {one.get("name"): one.get("value") for one in root.iter("Info")}
    weights = next(root.iter("Weights"))
    is_regression = weights.get("AnalysisType") == "1"
    boost, analysis = options["BoostType"], info["AnalysisType"]
    yes_no = options["UseYesNoLeaf"] == "True" and boost != "Grad"
    trees = [(float(F(tree.get("boostWeight"))), tree[0]) for tree in weights]
    found = [check_event(tree, row, is_regression, yes_no) for _, tree in trees]
    if analysis == "Multiclass":
        classes = len(next(root.iter("Classes")))
        sums = [0.0] * classes
        for number, value in enumerate(found):
            sums[number % classes] += value
        return [1 / (1 + sum(math.exp(s - t) for s in sums if s is not t)) for t in sums]
    total, norm = 0.0, 0.0
    for (weight, _), value in zip(trees, found, strict=True):
        total += value if boost == "Grad" else weight * value
        norm += weight
    if boost != "Grad":
        return total / norm
    if analysis == "Regression":
        return total + trees[0][0]
    return 2.0 / (1.0 + math.exp(-2.0 * total)) - 1


def check_event(current: Any, row: Any, is_regression: bool, yes_no: bool) -> float:
    while int(current.get("nType")) == 0:
        right = bool(F(row[int(current.get("IVar"))]) >= F(current.get("Cut")))
        if current.get("cType") != "1":
            right = not right
        current = next(child for child in current if child.get("pos") == ("r" if right else "l"))
    if is_regression:
        return float(F(current.get("res")))
    return float(int(current.get("nType"))) if yes_no else float(F(current.get("purity")))
