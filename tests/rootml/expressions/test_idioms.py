"""Idioms of public analyses, each computed by the language it is written for and by us.

RDataFrame compiles its texts (all in one go), TTree::Draw interprets its own, NumPy and awkward
are Python. Every text gives the same numbers here, or is refused with the way to say it.
"""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from idioms import DRAW, DRAW_CUTS, DRAW_REFUSED, ELEMENTS, PYTHON, RDATAFRAME, REFUSED

from rootml.errors import ExpressionError
from rootml.expressions import Expression, column_values, cut_mask, from_draw, parse

TOGETHER = 50
"""Texts that ROOT compiles in one function."""

NUMBERS = itertools.count()

NUM, FULL = 160, 60
"""Events, and those at the begin with at least three jets and two muons."""

Columns = dict[str, Any]

HELPERS = """
namespace rootml_idioms {
inline ROOT::RVecD flat(double x) { return {x}; }
template <class T> ROOT::RVecD flat(const ROOT::RVec<T> &v) {
  return ROOT::RVecD(v.begin(), v.end());
}
}
"""


def objects(rng: Any, least: int) -> dict[str, Any]:
    counts = rng.integers(0, 5, NUM)
    counts[:FULL] = rng.integers(least, least + 3, FULL)

    def lists(values: Any) -> ak.Array:
        return ak.unflatten(values, counts)

    n = int(counts.sum())
    return {
        "pt": lists(rng.exponential(30, n) + 15),
        "eta": lists(rng.normal(0, 1.5, n)),
        "phi": lists(rng.uniform(-math.pi, math.pi, n)),
        "mass": lists(rng.exponential(5, n) + 0.1),
        "btag": lists(rng.uniform(0, 1, n).astype(np.float32)),
        "jetId": lists(rng.integers(0, 8, n).astype(np.int32)),
        "hadronFlavour": lists(rng.choice([0, 4, 5], n).astype(np.int32)),
        "charge": lists(rng.choice([-1, 1], n).astype(np.int32)),
        "jetIdx": lists(rng.integers(-1, 3, n).astype(np.int32)),
        "i8": lists(rng.integers(-128, 128, n).astype(np.int8)),
        "u8": lists(rng.integers(0, 256, n).astype(np.uint8)),
        "u16": lists(rng.integers(0, 1 << 16, n).astype(np.uint16)),
        "f32": lists(np.where(rng.random(n) < 0.5, 0.1, rng.random(n)).astype(np.float32)),
        "tight": lists(rng.random(n) < 0.6),
        "tightId": lists(rng.random(n) < 0.6),
    }


def of_many_types(rng: Any) -> Columns:
    """Numbers of the types of branches, near the ends of what they hold."""
    return {
        **{
            f"{name[0]}{8 * np.dtype(name).itemsize}": rng.integers(
                np.iinfo(name).min, np.iinfo(name).max, NUM, dtype=name, endpoint=True
            )
            for name in ("int8", "uint8", "int16", "uint16")
        },
        "uflags": rng.integers(0, 1 << 32, NUM, dtype=np.uint32),
        "i64": (1 << 53) - 5 + np.arange(NUM),
        "u64": (1 << 53) + np.arange(NUM).astype(np.uint64),
        "f01": np.array([0.1, 0.3, -0.2], np.float32)[np.arange(NUM) % 3],
        "b1": rng.random(NUM) < 0.5,
        "b2": rng.random(NUM) < 0.5,
        "v3": rng.normal(size=(NUM, 3)),
    }


def make_columns() -> Columns:
    rng = np.random.default_rng(5)
    columns: Columns = {
        "run": np.ones(NUM, np.int32),
        "event": np.arange(NUM, dtype=np.int64),
        "flags": rng.integers(0, 32, NUM).astype(np.int32),
        "HLT_IsoMu24": rng.random(NUM) < 0.5,
        "MET_pt": rng.exponential(30, NUM).astype(np.float32),
        "MET_phi": rng.uniform(-math.pi, math.pi, NUM),
        "genWeight": rng.normal(0.3, 1, NUM),
        "x": np.where(np.arange(NUM) % 20 == 7, 0.0, rng.normal(0, 3, NUM)),
    }
    columns |= of_many_types(rng)
    for name, least in (("Jet", 3), ("Muon", 2), ("Electron", 0)):
        found = objects(rng, least)
        columns[f"n{name}"] = ak.to_numpy(ak.num(found["pt"])).astype(np.int32)
        columns |= {f"{name}_{key}": value for key, value in found.items()}
    return columns


@pytest.fixture(scope="module")
def columns() -> Columns:
    return make_columns()


@pytest.fixture(scope="module")
def path(columns: Columns, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("idioms") / "nano.root")
    plain = {name: value for name, value in columns.items() if isinstance(value, np.ndarray)}
    plain = {name: value for name, value in plain.items() if name[0] != "n"}
    grouped = {
        name: ak.zip({
            key.partition("_")[2]: value
            for key, value in columns.items() if key.startswith(f"{name}_")
        })
        for name in ("Jet", "Muon", "Electron")
    }  # fmt: skip
    with uproot.recreate(path) as file:
        file.mktree("Events", plain | grouped)
    return path


def computed(expression: Expression, columns: Columns, stop: int) -> tuple[Any, Any]:
    """Our values, one list per event, and the events in which they are known."""
    first = {name: value[:stop] for name, value in columns.items()}
    value = expression.evaluate(first, stop)
    valid = np.ones(stop, bool) if value.valid is None else value.valid
    data = value.data
    if not isinstance(data, ak.Array):
        data = np.broadcast_to(data, (stop, *data.shape[1:]) if data.ndim > 1 else (stop,))
    return [np.atleast_1d(np.asarray(each, float)) for each in ak.to_list(data)], valid


def assert_same(ours: Any, theirs: Any, text: str) -> None:
    mine, other = (np.array([len(each) for each in values]) for values in (ours, theirs))
    np.testing.assert_array_equal(mine, other, err_msg=f"{text}, lengths of the lists")
    mine, other = (np.concatenate([*values, np.empty(0)]) for values in (ours, theirs))
    np.testing.assert_allclose(mine, other, rtol=3e-5, atol=2e-5, err_msg=text)


def test_the_table_is_long() -> None:
    texts = [*RDATAFRAME, *ELEMENTS, *DRAW, *DRAW_CUTS, *PYTHON, *REFUSED]
    assert len(texts) >= 900
    for part in (RDATAFRAME, ELEMENTS, DRAW, DRAW_CUTS, PYTHON):
        assert len(set(part)) == len(part)


def combined(columns: Columns, number: int, seed: int) -> list[str]:
    """Random expressions made of the texts for RDataFrame."""
    rng = np.random.default_rng(seed)
    numbers, lists = [], []
    for text in RDATAFRAME:
        if text.endswith(";"):
            continue
        value = parse(text).evaluate(columns, NUM)
        counts = None if not value.lists else np.asarray(ak.num(value.data, axis=1))
        if counts is None:
            numbers.append(f"double({text})")  # which C++ does not divide or wrap as integers
        elif np.array_equal(counts, columns["nJet"]):
            lists.append(f"(({text}) * 1.)")

    def one(texts: list[str]) -> str:
        return texts[rng.integers(len(texts))]

    def made() -> str:
        a, b, c, sign = one(numbers), one(numbers), one(numbers), one(["+", "-", "*"])
        v, w, compare = one(lists), one(lists), one(["<", ">", "<=", "!="])
        cut = f"{v} {compare} {w}"
        return one([
            f"{a} {sign} {b}", f"{a} {compare} {b} ? {b} : {c}",
            f"({a} > 1 && {b} < 2) || {c} > 0",
            f"!({a} > {b}) * {c}", f"{v} {sign} {w}", f"{v} {sign} {a}", f"-{v} / 3.7",
            f"Sum({v} {sign} {w})", f"Sum({cut})", f"Any({cut}) && {a} > 1", f"{v}[{cut}]",
            f"Sum({v}[{cut} && Jet_tight])", f"Mean({v}[{cut}]) {sign} {a}", f"Sort({v})",
            f"Take({v}, Argsort({w}))", f"Where({cut}, {v}, {w})", f"StdDev({v}[{w} > {a}])",
            f"Take({v}, Nonzero({cut}))", f"({cut}) && {a} > 1", f"Reverse({v})[{w} > 0]",
        ])  # fmt: skip

    return [made() for _ in range(number)]


def declared(root: Any, frame: Any, texts: list[str]) -> str:
    """The call of a function that computes all texts, each as RDataFrame would compile it."""
    names = [str(name) for name in frame.GetColumnNames() if "." not in str(name)]
    words = set(re.findall(r"\w+", " ".join(texts)))
    types = {name: frame.GetColumnType(name) for name in names if name in words}
    parameters = ", ".join(
        f"{kind} {'&' if kind.startswith('ROOT') else ''}{name}" for name, kind in types.items()
    )
    plain = [text.removeprefix("return ").rstrip(";") for text in texts]
    flat = " ".join(f"all.push_back(flat({text}));" for text in plain)
    name = f"group{next(NUMBERS)}"
    code = (
        f"std::vector<ROOT::RVecD> {name}({parameters}) "
        f"{{ std::vector<ROOT::RVecD> all; {flat} return all; }}"
    )
    assert root.gInterpreter.Declare(
        f"namespace rootml_idioms {{ using namespace ROOT::VecOps; {code} }}"
    )
    return f"rootml_idioms::{name}({', '.join(types)})"


def compare_with_rdataframe(
    root: Any, path: str, columns: Columns, rows: list[tuple[str, int]]
) -> None:
    """Compute all texts in one pass, compiled in one go, in the first `stop` events of each."""
    root.gInterpreter.ProcessLine(".O 0")  # most of the time is compiling
    if not hasattr(root, "rootml_idioms"):
        root.gInterpreter.Declare(HELPERS)
    frame = root.RDataFrame("Events", path)
    groups = [
        (stop, texts[start : start + TOGETHER])
        for stop in sorted({stop for _, stop in rows})
        for texts in [[text for text, other in rows if other == stop]]
        for start in range(0, len(texts), TOGETHER)
    ]
    taken = []
    for stop, texts in groups:
        node = frame.Range(stop).Define("idioms", declared(root, frame, texts))
        taken.append(node.Take["std::vector<ROOT::RVecD>"]("idioms"))
    for (stop, texts), result in zip(groups, taken, strict=True):
        events = [[np.array(each, float) for each in event] for event in result.GetValue()]
        for number, text in enumerate(texts):
            ours, valid = computed(parse(text), columns, stop)
            assert valid.all(), text
            assert_same(ours, [event[number] for event in events], text)


@pytest.mark.needs_root
def test_as_rdataframe(root: Any, path: str, columns: Columns) -> None:
    rows = [(text, NUM) for text in RDATAFRAME] + [(text, FULL) for text in ELEMENTS]
    compare_with_rdataframe(root, path, columns, rows)


@pytest.mark.slow
@pytest.mark.needs_root
@pytest.mark.parametrize("seed", [1, 2])
def test_random_combinations_as_rdataframe(
    root: Any, path: str, columns: Columns, seed: int
) -> None:
    rows = [(text, NUM) for text in combined(columns, 80, seed)]
    compare_with_rdataframe(root, path, columns, rows)


def drawn(tree: Any, text: str, cut: str, stop: int = NUM) -> Any:
    tree.SetEstimate(100_000)
    count = tree.Draw(text, cut, "goff", stop)
    assert count >= 0, text
    return np.frombuffer(tree.GetV1(), count=count).copy() if count else np.empty(0)


@pytest.mark.needs_root
def test_as_tree_draw(root: Any, path: str, columns: Columns) -> None:
    file = root.TFile.Open(path)
    tree = file.Get("Events")
    for text in DRAW:
        ours, valid = computed(parse(from_draw(text)), columns, NUM)
        known = [each for each, good in zip(ours, valid, strict=True) if good]
        mine = np.concatenate([*known, np.empty(0)])
        np.testing.assert_allclose(mine, drawn(tree, text, ""), rtol=3e-5, atol=2e-5, err_msg=text)


@pytest.mark.needs_root
def test_cuts_as_tree_draw(root: Any, path: str, columns: Columns) -> None:
    file = root.TFile.Open(path)
    tree = file.Get("Events")
    for text in DRAW_CUTS:
        theirs = np.unique(drawn(tree, "event", text)).astype(int)
        ours = cut_mask(parse(from_draw(text, cut=True)), columns, NUM)
        np.testing.assert_array_equal(np.flatnonzero(ours), theirs, err_msg=text)


@pytest.mark.parametrize("text", PYTHON)
def test_as_numpy_and_awkward(columns: Columns, text: str) -> None:
    with np.errstate(all="ignore"):
        theirs = ak.Array(eval(text, {"np": np, "ak": ak}, dict(columns)))
    value = parse(text).evaluate(columns, NUM)
    data = value.data if isinstance(value.data, ak.Array) else ak.Array(
        np.broadcast_to(value.data, (NUM,))
    )  # fmt: skip
    if value.known is not None:
        data = ak.mask(data, value.known)
    if value.there is not None:
        data = ak.mask(data, value.there)
    assert_python_same(ak.to_list(data), ak.to_list(theirs))


def assert_python_same(mine: Any, theirs: Any) -> None:
    if isinstance(theirs, list):
        assert len(mine) == len(theirs)
        for one, other in zip(mine, theirs, strict=True):
            assert_python_same(one, other)
    elif theirs is None or (mine is None and math.isnan(theirs)):  # the mean of an empty list
        assert mine is None
    else:
        assert mine == pytest.approx(theirs, rel=1e-6, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("text", REFUSED)
def test_refused_with_the_way_to_say_it(columns: Columns, text: str) -> None:
    with pytest.raises(ExpressionError, match=REFUSED[text]):
        column_values(parse(text), columns, NUM, missing=0)


@pytest.mark.parametrize("text", DRAW_REFUSED)
def test_refused_of_tree_draw(columns: Columns, text: str) -> None:
    with pytest.raises(ExpressionError, match=DRAW_REFUSED[text]):
        column_values(parse(from_draw(text)), columns, NUM, missing=0)
