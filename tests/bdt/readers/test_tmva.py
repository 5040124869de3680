"""TMVA's XML: files of its schema that a test writes (`tmva_files`), walked as TMVA walks them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from forest_walk import margins
from numpy.typing import NDArray
from tmva_files import evaluate, weight_file

from rootml.bdt import load
from rootml.errors import ModelError, UnsupportedModelError

CASES: dict[str, dict[str, Any]] = {
    "adaboost": {},
    "adaboost purity": {"yes_no": False},
    "bagging": {"boost": "Bagging"},
    "grad": {"boost": "Grad"},
    "grad classes": {"boost": "Grad", "analysis": "Multiclass", "classes": 3},
    "grad regression": {"boost": "Grad", "analysis": "Regression"},
    "bagging regression": {"boost": "Bagging", "analysis": "Regression"},
}


def rows(text: str) -> NDArray[np.float32]:
    """Random rows; rows on cuts and beside them; NaN and infinities."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 3)).astype(np.float32)
    words = [part.split('"')[1] for part in text.split("Cut=")[1:41]]
    cuts = np.array(words, dtype=np.float32)
    x = np.concatenate([x, np.repeat(x[:40], 3, axis=0)[: 3 * len(cuts)]])
    for shift, cut in enumerate((cuts, np.nextafter(cuts, 9), np.nextafter(cuts, -9))):
        x[60 + shift :: 3][: len(cuts), shift] = cut
    x[:12, 0], x[12:20, 1] = np.tile([np.nan, np.inf, -np.inf, 0], 3), np.nan
    return x


@pytest.mark.parametrize("name", CASES)
def test_margins_and_link(name: str) -> None:
    text = weight_file(**CASES[name])
    x = rows(text)
    forest = load(text.encode())
    wanted = np.array([evaluate(text, row) for row in x]).reshape(len(x), -1)
    m = margins(forest, x)
    if forest.link == "identity":
        assert np.array_equal(m, wanted)
    elif forest.link == "tanh":
        np.testing.assert_allclose(np.tanh(m), wanted, rtol=1e-13, atol=1e-15)
    else:
        assert forest.link == "softmax"
        soft = np.exp(m) / np.exp(m).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(soft, wanted, rtol=1e-13)
    assert forest.feature_names == ("var0+1", "var1+1", "var2+1")
    assert forest.library_version == "4.2.1"


def test_nodes_below_a_leaf_do_not_count() -> None:
    text = weight_file(trees=1)
    pruned = text.replace('nType="0"', 'nType="1"', 1)
    assert load(pruned.encode()).num_nodes == 1


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("BDT::BDTtest", "MLP::MLP", "MLP"),
        (">AdaBoost<", ">AdaBoostR2<", "AdaBoostR2"),
        ('NTransformations="0"', 'NTransformations="1"', "transformed"),
        ('NCoef="0"', 'NCoef="2"', "UseFisherCuts"),
        ("<Weights ", '<Weights PreselectionLowBkgVar0="1" ', "preselection"),
        ("Classification", "Clustering", "Clustering"),
        ("Classification", "Multiclass", "Multiclass"),
    ],
)
def test_what_cannot_be_represented_is_named(before: str, after: str, words: str) -> None:
    text = weight_file()
    assert before in text
    with pytest.raises(UnsupportedModelError, match=words):
        load(text.replace(before, after, 1).encode())


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('NTrees="9"', 'NTrees="8"', "9 trees"),
        ('pos="l"', 'pos="r"', "neither the left nor the right"),
        ('pos="l"', 'pos="x"', "neither the left nor the right"),
        ('IVar="', 'IVar="7', "IVar beyond"),
        ('IVar="', 'IVar="x', "IVar"),
        ('cType="', 'cType="5', "cType"),
        ('boostWeight="', 'boostWeight="-x', "boostWeight"),
        ("</Weights>", "", "not valid XML"),
        ('nType="-1"', 'nType="0"', "two daughters"),
        ("<MethodSetup ", "<!DOCTYPE a [<!ENTITY b 'c'>]><MethodSetup ", "document type"),
    ],
)
def test_damaged(before: str, after: str, words: str) -> None:
    text = weight_file()
    assert before in text
    with pytest.raises(ModelError, match=words):
        load(text.replace(before, after, 1).encode())


def test_entities_are_refused_in_any_encoding() -> None:
    bomb = "<!DOCTYPE m [<!ENTITY a 'aaaaaaaa'><!ENTITY b '&a;&a;&a;'>]><m>&b;</m>"
    for encoding in ("utf-8", "utf-16"):
        text = f'<?xml version="1.0" encoding="{encoding}"?>{bomb}'
        with pytest.raises(ModelError, match=r"document type|unknown kind"):
            load(text.encode(encoding))


def test_depth_is_bounded() -> None:
    deep = "<Node pos='l' IVar='0' Cut='0' cType='1' nType='0'>" * 20_000
    text = weight_file(trees=1).replace("</BinaryTree>", f"{deep}</BinaryTree>")
    with pytest.raises(ModelError, match="nested|two roots|not valid XML"):
        load(text.encode())
