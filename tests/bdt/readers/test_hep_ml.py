"""hep_ml's reweighting, against the weights and scores that hep_ml itself gives, in all bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from forest_walk import margins
from numpy.typing import NDArray

import rootml
from rootml.bdt import load
from rootml.errors import UnsupportedModelError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture
def hep_ml() -> Any:
    pytest.importorskip("hep_ml")
    from hep_ml import gradientboosting, reweight

    return type("hep_ml", (), {**vars(reweight), **vars(gradientboosting)})


def samples() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(1500, 3)), rng.normal(0.3, 0.9, size=(1500, 3))


def fitted(hep_ml: Any, **options: Any) -> Any:
    original, target = samples()
    made = hep_ml.GBReweighter(n_estimators=12, max_depth=3, min_samples_leaf=40, **options)
    return made.fit(original, target, target_weight=np.linspace(0.5, 1.5, len(target)))


def odd_rows(model: Any) -> NDArray[np.float64]:
    """Ordinary rows, and thresholds with their neighbours in float32 and float64."""
    original, _ = samples()
    gb = getattr(model, "gb", model)
    edges = np.concatenate([tree.tree_.threshold for tree, _ in gb.estimators])
    edges = np.r_[edges, edges.astype(np.float32), 0.0, -0.0, 1e30, -1e30]
    values = np.r_[edges, np.nextafter(edges, 9e9), np.nextafter(edges, -9e9)]
    rows = np.repeat(original[:3], len(values), axis=0)
    for i in range(3):
        rows[i * len(values) : (i + 1) * len(values), i] = values
    return np.concatenate([original, rows])


@pytest.mark.parametrize("options", [{}, {"gb_args": {"subsample": 0.5}}, {"learning_rate": 0.05}])
def test_weights_have_hep_mls_bits(hep_ml: Any, options: dict[str, Any]) -> None:
    model = fitted(hep_ml, **options)
    forest = load(model)
    rows = odd_rows(model)
    expected = model.gb.decision_function(rows)
    assert np.array_equal(margins(forest, rows)[:, 0], expected)
    compiled = forest.compile()
    assert np.array_equal(compiled.predict_margin(rows), expected)
    assert np.array_equal(compiled.predict(rows), model.predict_weights(rows))
    assert (forest.library, forest.link, forest.objective) == (
        "hep_ml", "exp", "ReweightLossFunction",
    )  # fmt: skip


def test_the_weights_reach_a_friend_tree(hep_ml: Any, tmp_path: Path) -> None:
    original, _ = samples()
    names = ("pt", "eta", "nTracks")
    with uproot.recreate(tmp_path / "mc.root") as file:
        file["Events"] = {name: original[:, i] for i, name in enumerate(names)}
    model = fitted(hep_ml)
    forest = load(model).replace(feature_names=names)
    events = rootml.open(f"{tmp_path}/mc.root:Events")
    (path,) = forest.compile().write_friend(events, tmp_path / "friends", name="reweight")
    with uproot.open(path) as file:
        found = file["Friends"]["reweight"].array(library="np")
    assert np.array_equal(found, model.predict_weights(original))


def test_boosting_with_features_by_name(hep_ml: Any) -> None:
    pandas = pytest.importorskip("pandas")
    from hep_ml.losses import BinFlatnessLossFunction, MSELossFunction

    original, _ = samples()
    frame = pandas.DataFrame(original, columns=["a", "b", "mass"])
    y = (original[:, 0] + original[:, 2] > 0).astype(int)
    loss = BinFlatnessLossFunction(uniform_features=["mass"], uniform_label=0)
    classifier = hep_ml.UGradientBoostingClassifier(
        loss=loss, n_estimators=6, train_features=["a", "b"]
    )
    model = load(classifier.fit(frame, y)).compile()
    assert model.forest.feature_names == ("a", "b")
    assert np.array_equal(model.predict_margin(frame), classifier.decision_function(frame))
    theirs = classifier.predict_proba(frame)[:, 1]
    np.testing.assert_allclose(model.predict(frame), theirs, rtol=1e-14)
    regressor = hep_ml.UGradientBoostingRegressor(loss=MSELossFunction(), n_estimators=4)
    model = load(regressor.fit(original, original[:, 0])).compile()
    assert np.array_equal(model.predict(original), regressor.predict(original))


def test_what_is_not_read_is_named(hep_ml: Any) -> None:
    original, target = samples()
    with pytest.raises(UsageError, match="GBReweighter is not trained"):
        load(hep_ml.GBReweighter())
    bins = hep_ml.BinsReweighter(n_bins=5).fit(original, target)
    with pytest.raises(UnsupportedModelError, match="BinsReweighter of hep_ml"):
        load(bins)
    folding = hep_ml.FoldingReweighter(hep_ml.GBReweighter(n_estimators=2), n_folds=2)
    folding.fit(original, target)
    with pytest.raises(UnsupportedModelError, match="FoldingReweighter each of its reweighters"):
        load(folding)
    each = folding.reweighters[0]
    assert np.array_equal(load(each).compile().predict(target), each.predict_weights(target))
