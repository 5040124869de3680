"""Files cut short, with flipped bytes, or that promise too much: our own error or a whole forest.

Each reader gets a small file of its kind. A damaged one that can still be read must be a forest
that can be evaluated: no crash, no endless loop, no memory beyond the size of the file.
"""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forest_walk import margins
from tmva_files import weight_file

from rootml.bdt import Forest, load
from rootml.errors import ModelError, UnsupportedModelError

DATA = Path(__file__).parents[1] / "data"
KINDS = (
    "xgboost json", "xgboost ubj", "lightgbm", "tmva", "onnx", "forest json", "catboost json",
    "catboost cbm",
)  # fmt: skip


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """`small_file("onnx")`: the bytes of a small model with all the parts of its format."""
    folder = tmp_path_factory.mktemp("small")
    made: dict[str, bytes] = {}

    def make(kind: str) -> bytes:
        if kind not in made:
            made[kind] = _small(kind, folder)
        return made[kind]

    return make


def _small(kind: str, folder: Path) -> bytes:
    if kind == "tmva":
        return weight_file(trees=1).encode()
    if kind == "lightgbm":
        return _lightgbm()
    if kind.startswith("catboost"):
        return _catboost(kind.removeprefix("catboost "), folder)
    with np.load(DATA / "xgboost-3.1.3.npz") as kept:
        name = "squarederror" if kind == "onnx" else "category_onehot"
        document = json.loads(kept[f"{name}.json"].tobytes())
    _keep_two_trees(document)
    text = json.dumps(document, separators=(",", ":")).encode()
    if kind == "xgboost json":
        return text
    if kind == "xgboost ubj":
        return ubjson(document)
    path = folder / f"small.{kind.replace(' ', '.')}"
    if kind == "onnx":
        pytest.importorskip("onnx")
        load(text).to_onnx(path)
    else:
        load(text).save(path)
    return path.read_bytes()


def _keep_two_trees(document: dict[str, Any]) -> None:
    model = document["learner"]["gradient_booster"]["model"]
    model["trees"] = model["trees"][:2]
    model["tree_info"], model["iteration_indptr"] = [0, 0], [0, 1, 2]
    model["gbtree_model_param"]["num_trees"] = "2"


def _lightgbm() -> bytes:
    lightgbm = pytest.importorskip("lightgbm")
    rng = np.random.default_rng(0)
    x = np.c_[rng.normal(size=300), rng.integers(0, 9, 300)]
    data = lightgbm.Dataset(x, x[:, 0] + (x[:, 1] % 3), categorical_feature=[1])
    options = {"num_leaves": 4, "verbose": -1, "num_threads": 1, "min_data_per_group": 5}
    text: str = lightgbm.train(options, data, 2).model_to_string()
    return text.partition("\nparameters:")[0].encode()


def _catboost(kind: str, folder: Path) -> bytes:
    catboost = pytest.importorskip("catboost")
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 4, 300)
    x = [[a, str(b)] for a, b in zip(rng.normal(size=300).tolist(), kinds.tolist(), strict=True)]
    pool = catboost.Pool(x, [row[0] + (row[1] == "1") for row in x], cat_features=[1])
    options = {"iterations": 2, "depth": 2, "one_hot_max_size": 9, "border_count": 8}
    model = catboost.CatBoostRegressor(**options, allow_writing_files=False, verbose=False)
    path = folder / f"small.{kind}"
    model.fit(pool).save_model(str(path), format=kind, pool=pool)
    if kind == "cbm":
        return path.read_bytes()
    document = json.loads(path.read_text())
    document["model_info"] = {"params": {"loss_function": {"type": "RMSE"}}}
    return json.dumps(document).encode()


def ubjson(value: Any) -> bytes:
    """UBJSON as XGBoost writes it: keys and lengths of 8 bytes, arrays of numbers typed."""
    if isinstance(value, dict):
        body = b"".join(_length(k.encode()) + ubjson(v) for k, v in value.items())
        return b"{" + body + b"}"
    if isinstance(value, str):
        return b"S" + _length(value.encode())
    if isinstance(value, list) and value and all(isinstance(v, int | float) for v in value):
        mark, kind = ("d", ">f4") if any(isinstance(v, float) for v in value) else ("l", ">i4")
        head = f"[${mark}#L".encode() + len(value).to_bytes(8, "big")
        numbers: bytes = np.minimum(np.array(value), 2**31 - 1).astype(kind).tobytes()
        return head + numbers
    if isinstance(value, list):
        return b"[" + b"".join(map(ubjson, value)) + b"]"
    return b"L" + int(value).to_bytes(8, "big", signed=True)


def _length(text: bytes) -> bytes:
    return b"L" + len(text).to_bytes(8, "big") + text


def check(data: bytes) -> bool:
    """Whether `data` can be read; then it must be possible to evaluate it."""
    try:
        forest = load(data)
    except (ModelError, UnsupportedModelError):
        return False
    x = np.zeros((3, forest.num_features))
    x[1], x[2] = 1e3, -1.5
    if forest.num_features < 1000:
        assert margins(forest, x).shape == (3, forest.num_outputs)
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_file_can_be_read(kind: str, small_file: Callable[[str], bytes]) -> None:
    forest = load(small_file(kind))
    assert isinstance(forest, Forest)
    assert forest.num_trees == {"tmva": 1, "onnx": 3}.get(kind, 2)
    assert forest.has_categories or kind in {"onnx", "tmva"}


@pytest.mark.parametrize("kind", KINDS)
def test_files_cut_short(kind: str, small_file: Callable[[str], bytes]) -> None:
    data = small_file(kind)
    assert len(data) < 16_000
    read = [length for length in range(len(data)) if check(data[:length])]
    if kind == "lightgbm":  # what follows the trees may be cut
        assert all(data[:length].count(b"end of trees") for length in read)
    elif kind == "tmva":
        assert all(not data[length:].strip() for length in read)
    elif kind == "onnx":  # fields behind the graph may be cut, each a whole one
        assert len(read) < 20
    else:
        assert read == []


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bytes(kind: str, small_file: Callable[[str], bytes]) -> None:
    data = small_file(kind)
    rng = np.random.default_rng(1)
    refused = 0
    with np.errstate(all="ignore"):
        for _ in range(1000):
            damaged = bytearray(data)
            for place in rng.integers(0, len(data), rng.integers(1, 4)).tolist():
                damaged[place] = rng.integers(256)
            refused += not check(bytes(damaged))
    assert refused > 200


@pytest.mark.parametrize(
    "kind", ["xgboost json", "lightgbm", "tmva", "forest json", "catboost json"]
)
def test_numbers_that_are_replaced(kind: str, small_file: Callable[[str], bytes]) -> None:
    """Any number of a text format becomes one that fits nowhere."""
    import re

    data = small_file(kind).decode()
    numbers = [m.span() for m in re.finditer(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", data)]
    rng = np.random.default_rng(2)
    for start, end in rng.permutation(numbers)[:200].tolist():
        for word in ("-1", "4294967296", "1e400", "99999999999999999999", "0.5", "null"):
            check((data[:start] + word + data[end:]).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"{" + b'"a":{' * 100_000,
        b"[" * 100_000,
        b'{"learner":' + b"[" * 100_000,
        b"{L" + b"\x7f" + b"\xff" * 7,
        b"{L\x00\x00\x00\x00\x00\x00\x00\x01a" + b"[" * 100_000,
        b"{L\x00\x00\x00\x00\x00\x00\x00\x01a[$d#L" + b"\x00\x00\x00\xff" + b"\xff" * 4,
        b"{L\x00\x00\x00\x00\x00\x00\x00\x01a[$Z#L" + b"\x00\x00\x00\xff" + b"\xff" * 4,
        b"{L\x00\x00\x00\x00\x00\x00\x00\x01a[#L" + b"\x80" + b"\xff" * 7,
        b"tree\nversion=v4\nnum_tree_per_iteration=999999999\nmax_feature_idx=3\n\nend of trees",
        b"tree\nversion=v4\nnum_tree_per_iteration=1\nmax_feature_idx=3\n\nTree=0\nend of trees",
        b"<" * 100_000,
        b"<a>" * 100_000,
        b"\x08\x07" + b"\x3a" * 50_000,
        b"",
        b"\x00" * 1000,
        b"\x08",
    ],
    ids=lambda data: f"{len(data)} {data[:12]!r} {data[-12:]!r}",
)
def test_promises_of_a_small_file(data: bytes) -> None:
    tracemalloc.start()
    try:
        assert not check(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60e6


def test_a_chain_of_nodes_is_refused_in_time() -> None:
    """100,000 nodes in a row, as deep as they are many."""
    count = 100_000
    inner = np.arange(0, count - 1, 2)
    left, right = np.full(count + 1, -1), np.full(count + 1, -1)
    left[inner], right[inner] = inner + 1, inner + 2
    is_inner = left >= 0
    with pytest.raises(ModelError, match="deeper than 4096"):
        Forest(
            tree_offset=np.array([0, count + 1]),
            feature=np.where(is_inner, 0, -1).astype(np.int32),
            threshold=np.zeros(count + 1, np.float32),
            left=left.astype(np.int32),
            right=right.astype(np.int32),
            default_left=np.zeros(count + 1, dtype=bool),
            value=np.zeros((count + 1, 1), np.float32),
            tree_output=np.zeros(1, np.int32),
            base=np.zeros(1, np.float32),
            num_features=1,
        )
