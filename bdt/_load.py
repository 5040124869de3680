"""`load`: reads a model of any library. The content shows its kind, not the file's name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rootml.bdt._forest import Forest
from rootml.bdt.readers._catboost import (
    read_catboost_cbm,
    read_catboost_json,
    read_catboost_model,
)
from rootml.bdt.readers._catboost_cbm import MAGIC
from rootml.bdt.readers._catboost_json import is_catboost_json
from rootml.bdt.readers._fields import parse_json
from rootml.bdt.readers._forest_json import is_forest_json, read_forest_json
from rootml.bdt.readers._hep_ml import read_hep_ml
from rootml.bdt.readers._lightgbm import read_lightgbm, read_lightgbm_model
from rootml.bdt.readers._onnx import read_onnx
from rootml.bdt.readers._sklearn import read_sklearn
from rootml.bdt.readers._tmva import read_tmva
from rootml.bdt.readers._xgboost import forest_of_document, is_ubjson, read_booster, read_xgboost
from rootml.errors import MissingFileError, ModelError, UnsupportedModelError, UsageError

_SUPPORTED = (
    "XGBoost JSON or UBJSON, LightGBM text, CatBoost JSON or cbm, ONNX, TMVA XML, our own "
    ".forest.json; or a model in memory: Booster or wrapper of XGBoost or LightGBM, CatBoost "
    "model, scikit-learn estimator, GBReweighter of hep_ml, ModelProto"
)
_OBJECTS: dict[str, Callable[[Any], Forest]] = {
    "catboost": read_catboost_model,
    "hep_ml": read_hep_ml,
    "xgboost": read_booster,
    "lightgbm": read_lightgbm_model,
    "sklearn": read_sklearn,
    "onnx": read_onnx,
}
_REFUSED = {
    b"\x80": "a pickle: opening it can run any code; unpickle it yourself and hand over the model",
    b"PK\x03\x04": "a zip file",
    b"\x1f\x8b": "a gzip file: unpack it first",
    b"binf": "XGBoost's old binary format: load it into XGBoost and save it as .json or .ubj",
    b"bs64": "XGBoost's old binary format: load it into XGBoost and save it as .json or .ubj",
    b"root": "a ROOT file; TMVA's forests are read from the XML weight file",
    b"booster[": "a text dump, whose thresholds are rounded: save the model as .json or .ubj",
}


def load(source: Any, *, missing: float | None = None) -> Forest:
    """Read a decision forest from a file of any known kind, or take a trained model.

    Args:
        source: A path; the bytes of a model; a `Booster` or scikit-learn wrapper of XGBoost or
            LightGBM; a trained model of CatBoost; a fitted scikit-learn estimator; a fitted
            `GBReweighter` of hep_ml; an ONNX ModelProto; a `Forest`.
        missing: A value that counts as NaN in the inputs (XGBoost's ``missing=``, which its files
            do not hold; wrappers do).

    Raises:
        MissingFileError: No such file.
        ModelError: A damaged file; the message names the field or line.
        UnsupportedModelError: A model of another kind, or one that cannot be represented.
        UsageError: The object is not a model, or is not trained.

    >>> stump = b'''{"format": "rootml.forest", "version": 1, "input_dtype": "float32",
    ...  "dtype": "float32", "tree_offset": [0, 3], "feature": [0, -1, -1], "left": [1, -1, -1],
    ...  "right": [2, -1, -1], "threshold": [30, 0, 0], "default_left": [1, 0, 0],
    ...  "value": [0, -1, 1], "tree_output": [0], "base": [0], "num_features": 1,
    ...  "category": [-1, -1, -1], "category_offset": [0], "category_values": [],
    ...  "comparison": "<", "category_rule": "floor", "base_first": true, "divisor": 1,
    ...  "missing": "nan", "zero_missing": [0], "allow_nan": true, "link": "identity",
    ...  "link_scale": 1, "library": "rootml", "library_version": "", "objective": "",
    ...  "feature_names": ["pt"], "feature_types": null, "feature_categories": null,
    ...  "trees_per_iteration": 1, "best_iteration": null, "gain": null, "cover": null}'''
    >>> load(stump)
    Forest
      trees       1 (depth 1, 3 nodes)
      features    1: pt
      ...
    """
    forest = _load(source)
    return forest if missing is None else forest.replace(missing=missing)


def _load(source: Any) -> Forest:
    if isinstance(source, Forest):
        return source
    if isinstance(source, bytes | bytearray | memoryview):
        return read_bytes(bytes(source))
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        try:
            data = path.read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            message = f"no model file {str(path)!r}"
            raise MissingFileError(message) from error
        try:
            return read_bytes(data)
        except (ModelError, UnsupportedModelError) as error:
            message = f"{path}: {error}"
            raise type(error)(message) from error
    for kind in type(source).__mro__:
        reader = _OBJECTS.get(kind.__module__.split(".", 1)[0])
        if reader is not None:
            _check_fitted(source)
            _check_own_methods(source, kind.__module__.split(".", 1)[0])
            return reader(source)
    message = f"cannot load a model from {type(source).__name__}; supported: {_SUPPORTED}"
    raise UsageError(message)


def _check_fitted(model: Any) -> None:
    """Refuse a wrapper or estimator that was not trained."""
    is_fitted = getattr(model, "__sklearn_is_fitted__", None)
    if is_fitted is not None and not is_fitted():
        message = f"this {type(model).__name__} is not trained"
        raise UsageError(message)


def _check_own_methods(model: Any, library: str) -> None:
    """Refuse a subclass with a `predict` of its own: its scores are not those of the trees."""
    kinds = type(model).__mro__
    for name in ("predict", "predict_proba", "decision_function"):
        owner = next((kind for kind in kinds if name in vars(kind)), None)
        if owner is not None and owner.__module__.split(".", 1)[0] not in {library, "sklearn"}:
            message = (
                f"{owner.__name__} defines its own {name}(): its predictions are not those of the "
                "trees"
            )
            raise UnsupportedModelError(message)


def read_bytes(data: bytes) -> Forest:
    """A forest from the content of a file."""
    for start, what in _REFUSED.items():
        if data.startswith(start):
            message = f"the file is {what}"
            raise UnsupportedModelError(message)
    head = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    if is_ubjson(data):
        return read_xgboost(data)
    if head.startswith(b"{"):
        return _read_json(data)
    if data.startswith(MAGIC):
        return read_catboost_cbm(data)
    if head.startswith(b"<"):
        return read_tmva(data)
    if head.startswith(b"tree"):
        try:
            return read_lightgbm(data.decode())
        except UnicodeDecodeError as error:
            message = "a LightGBM model that is not UTF-8"
            raise ModelError(message) from error
    if head.startswith(b"\x08"):  # the first field of a ModelProto, ir_version
        return read_onnx(data)
    message = f"unknown kind of file, it begins with {data[:12]!r}; supported: {_SUPPORTED}"
    raise ModelError(message)


def _read_json(data: bytes) -> Forest:
    document = parse_json(data)
    if is_forest_json(document):
        return read_forest_json(document)
    if isinstance(document, dict) and "learner" in document:
        return forest_of_document(document)
    if is_catboost_json(document):
        return read_catboost_json(document)
    if isinstance(document, dict) and "tree_info" in document:
        message = "a JSON dump of LightGBM: save the model as text, with save_model()"
        raise UnsupportedModelError(message)
    message = (
        "JSON, but not XGBoost's ('learner'), CatBoost's ('features_info') or our own "
        "('format': 'rootml.forest')"
    )
    raise ModelError(message)
