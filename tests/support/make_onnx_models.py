"""Convert small models with the converters that people use, and keep ONNX Runtime's predictions.

How ``tests/bdt/data/onnx-converters.npz`` was made, in an environment of its own::

    pip install scikit-learn==1.7.2 skl2onnx==1.20.0 onnxmltools==1.16.0
    pip install onnxruntime xgboost lightgbm
    python make_onnx_models.py onnx-converters.npz

Per model the file holds ``NAME.onnx`` and ``NAME.prediction``, for the rows ``x``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import numpy as np


def models() -> dict[str, Any]:
    """Fitted estimators, by name."""
    import lightgbm
    import xgboost
    from sklearn import ensemble as e

    x, score = data()
    labels = {"2": score > 0.8, "3": np.digitize(score, [0.3, 1.2]), "r": score}
    made: dict[str, Any] = {
        "skl_gb2": e.GradientBoostingClassifier(n_estimators=4, max_depth=2),
        "skl_gb3": e.GradientBoostingClassifier(n_estimators=3, max_depth=2),
        "skl_gbr": e.GradientBoostingRegressor(n_estimators=4, max_depth=2),
        "skl_rf2": e.RandomForestClassifier(4, max_depth=3),
        "skl_rf3": e.RandomForestClassifier(4, max_depth=3),
        "skl_rfr": e.RandomForestRegressor(4, max_depth=3),
        "xgb2": xgboost.XGBClassifier(n_estimators=4, max_depth=3),
        "xgb3": xgboost.XGBClassifier(n_estimators=3, max_depth=2),
        "xgbr": xgboost.XGBRegressor(n_estimators=4, max_depth=3),
        "lgb2": lightgbm.LGBMClassifier(n_estimators=4, num_leaves=5, verbose=-1),
        "lgb3": lightgbm.LGBMClassifier(n_estimators=3, num_leaves=4, verbose=-1),
        "lgbr": lightgbm.LGBMRegressor(n_estimators=4, num_leaves=5, verbose=-1),
    }
    return {name: model.fit(x, labels[name[-1]].astype(float)) for name, model in made.items()}


def data() -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    return x, x[:, 0] + np.abs(x[:, 1])


def convert(name: str, model: Any) -> Any:
    if name.startswith("skl"):
        options = None if name.endswith("r") else {id(model): {"zipmap": False}}
        opset = {"": 18, "ai.onnx.ml": 3}
        return import_module("skl2onnx").to_onnx(
            model, data()[0][:1], options=options, target_opset=opset
        )
    onnxmltools = import_module("onnxmltools")
    types = import_module("onnxmltools.convert.common.data_types")
    given = [("x", types.FloatTensorType([None, 3]))]
    if name.startswith("xgb"):
        return onnxmltools.convert_xgboost(model, initial_types=given, target_opset=15)
    return onnxmltools.convert_lightgbm(model, initial_types=given, target_opset=15, zipmap=False)


def main(path: str) -> None:
    onnxruntime = import_module("onnxruntime")
    rows = data()[0][:64]
    kept: dict[str, Any] = {"x": rows}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for name, model in models().items():
        text = convert(name, model).SerializeToString()
        session = onnxruntime.InferenceSession(text, options)
        kept[f"{name}.onnx"] = np.frombuffer(text, np.uint8)
        kept[f"{name}.prediction"] = session.run(None, {session.get_inputs()[0].name: rows})[-1]
    np.savez_compressed(path, **kept)


if __name__ == "__main__":
    main(sys.argv[1])
