"""Fitted objects of hep_ml held in memory: `GBReweighter` and the boosting under it.

Source: ``hep_ml/gradientboosting.py`` and ``hep_ml/reweight.py`` of
https://github.com/arogozhnikov/hep_ml. Trees are scikit-learn's, with leaves of hep_ml's own: sums
are float64, ``initial_step + learning_rate * leaf`` in the order of the trees.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rootml.bdt._forest import Forest, Link
from rootml.bdt.readers._sklearn import tree_fields
from rootml.errors import UnsupportedModelError, UsageError

_LINKS: dict[str, Link] = {
    "GBReweighter": "exp",
    "UGradientBoostingClassifier": "sigmoid",
    "UGradientBoostingRegressor": "identity",
}


def read_hep_ml(model: Any) -> Forest:
    """A forest from a fitted object.

    A `GBReweighter` gives the factor on the weight of an event, which is ``predict_weights`` for
    events of weight 1; a classifier gives the probability of class 1.

    Raises:
        UsageError: The object is not fitted.
        UnsupportedModelError: Another class of hep_ml.
    """
    kind = next((name for name in _LINKS if name in _class_names(model)), None)
    if kind is None:
        message = (
            f"{type(model).__name__} of hep_ml is not supported; supported: "
            f"{', '.join(sorted(_LINKS))} (of a FoldingReweighter each of its reweighters)"
        )
        raise UnsupportedModelError(message)
    boosting: Any = getattr(model, "gb", None) if kind == "GBReweighter" else model
    if not getattr(boosting, "estimators", None):
        message = f"this {type(model).__name__} is not trained"
        raise UsageError(message)
    trees = [tree.tree_ for tree, _ in boosting.estimators]
    rate = boosting.learning_rate
    values = [
        (rate * np.asarray(leaves, dtype=np.float64))[:, None] for _, leaves in boosting.estimators
    ]
    return Forest(
        **tree_fields(trees, values),
        tree_output=np.zeros(len(trees), dtype=np.int32),
        base=np.array([boosting.initial_step], dtype=np.float64),
        num_features=int(boosting.n_features),
        comparison="<=",
        category_rule="exact",
        link=_LINKS[kind],
        library="hep_ml",
        objective=type(boosting.loss).__name__,
        feature_names=_names(boosting),
    )


def _class_names(model: Any) -> set[str]:
    return {kind.__name__ for kind in type(model).__mro__}


def _names(boosting: Any) -> tuple[str, ...] | None:
    names = boosting.train_features
    return None if names is None else tuple(map(str, names))
