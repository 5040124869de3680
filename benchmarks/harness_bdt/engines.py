"""The engines side by side: each makes a callable from a trained model, or says why it cannot."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rootml.bdt

Score = Callable[[NDArray[np.float32]], NDArray[Any]]


@dataclass
class Subject:
    """A model and what the engines share."""

    name: str
    path: Path
    booster: Any
    forest: Any
    margins: NDArray[np.float32]
    """What XGBoost says about the first rows."""
    x: NDArray[np.float32]
    folder: Path


class MissingError(Exception):
    """An engine that is not installed, or cannot take this model."""


def ours(subject: Subject) -> Score:
    """This package."""
    model = subject.forest.compile()
    return lambda x: np.asarray(model.predict_margin(x))


def ours_avx2(subject: Subject) -> Score:
    """This package without AVX-512."""
    model = subject.forest.compile(isa="avx2")
    return lambda x: np.asarray(model.predict_margin(x))


def xgboost_inplace(subject: Subject) -> Score:
    """XGBoost without a DMatrix, which it refuses for categories."""
    booster = subject.booster
    if subject.forest.has_categories:
        return xgboost_matrix(subject)
    return lambda x: np.asarray(booster.inplace_predict(x, predict_type="margin"))


def xgboost_matrix(subject: Subject) -> Score:
    """XGBoost with a DMatrix made of the rows, as part of the time."""
    import xgboost

    types = subject.booster.feature_types

    def score(x: NDArray[np.float32]) -> NDArray[Any]:
        matrix = xgboost.DMatrix(x, feature_types=types, enable_categorical=True, nthread=1)
        return np.asarray(subject.booster.predict(matrix, output_margin=True))

    return score


def onedal(subject: Subject) -> Score:
    """oneDAL of scikit-learn-intelex."""
    daal4py = _package("daal4py", "scikit-learn-intelex")
    daal4py.daalinit(nthreads=1)
    if subject.forest.has_categories:
        message = "no categories"
        raise MissingError(message)
    model = daal4py.mb.convert_model(subject.booster)
    if subject.forest.num_outputs > 1:
        return lambda x: np.asarray(model.predict_proba(x))
    return lambda x: np.asarray(model.predict_proba(x))[:, 1]


def onnxruntime(subject: Subject) -> Score:
    """ONNX Runtime, with our export."""
    runtime = _package("onnxruntime", "onnxruntime")
    path = subject.folder / f"{subject.name}.onnx"
    try:
        subject.forest.to_onnx(path)
    except (AttributeError, ValueError) as error:
        raise MissingError(str(error).splitlines()[0][:60]) from error
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    last = session.get_outputs()[-1].name
    return lambda x: np.asarray(session.run([last], {name: x})[0])


def treelite(subject: Subject) -> Score:
    """treelite's interpreter."""
    package = _package("treelite", "treelite")
    _package("treelite.gtil", "treelite")
    model = _quietly(lambda: package.frontend.load_xgboost_model(str(subject.path)))
    return lambda x: np.asarray(package.gtil.predict(model, x, nthread=1)).reshape(len(x), -1)


def tl2cgen(subject: Subject) -> Score:
    """treelite's C code, compiled by gcc; only small models, others take minutes."""
    if subject.name != "A":
        message = "compiles for minutes"
        raise MissingError(message)
    package = _package("tl2cgen", "tl2cgen")
    treelite_package = _package("treelite", "treelite")
    model = treelite_package.frontend.load_xgboost_model(str(subject.path))
    library = subject.folder / f"{subject.name}.so"
    package.export_lib(model, toolchain="gcc", libpath=str(library), params={"parallel_comp": 1})
    predictor = package.Predictor(str(library), nthread=1)
    return lambda x: np.asarray(predictor.predict(package.DMatrix(x))).reshape(len(x), -1)


_MAIN = """
#include "{path}"
extern "C" void score(const float* x, long rows, float* out) {{
  static const rootml::{name} forest;
  forest.margin(x, static_cast<std::size_t>(rows), out);
}}
"""


def header(subject: Subject) -> Score:
    """The exported C++ header, compiled by g++ for this machine."""
    path = subject.folder / f"{subject.name}.hpp"
    subject.forest.to_cpp(path, name=f"Model{subject.name}")
    source = subject.folder / f"{subject.name}.cpp"
    source.write_text(_MAIN.format(path=path, name=f"Model{subject.name}"))
    library = source.with_suffix(".header.so")
    command = ["g++", "-std=c++17", "-O3", "-march=native", "-shared", "-fPIC"]
    try:
        subprocess.run(
            [*command, str(source), "-o", str(library)], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        message = f"g++: {error}"[:60]
        raise MissingError(message) from error
    function = ctypes.CDLL(str(library)).score
    function.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_void_p]
    function.restype = None
    outputs = subject.forest.num_outputs

    def score(x: NDArray[np.float32]) -> NDArray[Any]:
        out = np.empty((len(x), outputs), np.float32)
        function(x.ctypes.data, len(x), out.ctypes.data)
        return out

    return score


ENGINES: dict[str, Callable[[Subject], Score]] = {
    "rootml": ours,
    "XGBoost": xgboost_inplace,
    "oneDAL": onedal,
    "ONNX Runtime": onnxruntime,
    "treelite": treelite,
    "tl2cgen": tl2cgen,
    "C++ header": header,
    "rootml AVX2": ours_avx2,
}
"""XGBoost is `inplace_predict`; of model E, which has categories, predict(DMatrix)."""


def make_subject(name: str, path: Path, x: NDArray[np.float32], folder: Path) -> Subject:
    """Load a model into XGBoost and into a forest."""
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(path)
    booster.set_param({"nthread": 1})
    forest = rootml.bdt.load(path)
    subject = Subject(name, path, booster, forest, np.zeros(0, np.float32), x, folder)
    subject.margins = xgboost_matrix(subject)(x[:20_000]).reshape(min(len(x), 20_000), -1)
    return subject


def _package(name: str, what: str) -> Any:
    import importlib

    try:
        return _quietly(lambda: importlib.import_module(name))
    except ImportError as error:
        message = f"{what} is not installed"
        raise MissingError(message) from error


def _quietly(function: Callable[[], Any]) -> Any:
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryFile("w") as sink, contextlib.redirect_stdout(sink):
            return function()
    finally:
        logging.disable(logging.NOTSET)
