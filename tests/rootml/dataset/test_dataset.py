"""`rootml.open` and `Dataset` against the columns that plain NumPy and awkward give."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import uproot
from event_files import FORMATS, NUM_BACKGROUND, NUM_EVENTS, columns_of, write_events

import rootml
from rootml.errors import (
    ExpressionError,
    MissingColumnError,
    MissingElementError,
    MissingTreeError,
    SchemaError,
    UnsupportedTypeError,
    UsageError,
)
from rootml.files._friends import _link
from rootml.storage import FriendSpec

Events = Callable[[str], rootml.Dataset]
IDS = np.arange(NUM_EVENTS, dtype=np.int64)
ALL = columns_of(IDS)
OPEN: Any = rootml.open


@pytest.fixture
def data(events: Events) -> rootml.Dataset:
    return events("ttree")


def ids_of(data: rootml.Dataset) -> np.ndarray[Any, Any]:
    ids: np.ndarray[Any, Any] = data.select(["id"]).to_awkward()["id"].to_numpy()
    return ids


# --- reading ---


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("threads", [1, 3])
def test_all_columns_of_all_events(events: Events, format_: str, threads: int) -> None:
    data = events(format_).select(list(ALL))
    found = data.to_awkward(threads=threads)
    assert found.fields == list(ALL)
    for name, column in ALL.items():
        wanted = ak.Array(column)
        assert found[name].type.content == wanted.type.content
        assert ak.array_equal(found[name], wanted), name
    table = data.to_arrow(threads=threads)
    assert table.column_names == list(ALL)
    assert table["jet"].to_pylist() == ak.to_list(ALL["jet"])
    np.testing.assert_array_equal(table["y"].to_numpy(), ALL["y"])


@pytest.mark.parametrize("format_", FORMATS)
def test_cut_and_definitions(events: Events, format_: str) -> None:
    data = (
        events(format_)
        .define(total="Sum$(jet)", lead="jet[0]")
        .filter("k > 2 && lead < 900", name="lead")
        .select(["id", "total", "lead", "twice = 2 * x"], sign="y > 500 ? 1 : -1")
    )
    found = data.to_awkward()
    has = ak.to_numpy(ak.num(ALL["jet"])) > 0
    lead = np.where(has, ak.to_numpy(ak.fill_none(ak.firsts(ALL["jet"]), np.nan)), np.nan)
    mask = (ALL["k"] > 2) & has & (np.nan_to_num(lead, nan=1e9) < 900)
    assert found.fields == ["id", "total", "lead", "twice", "sign"]
    np.testing.assert_array_equal(found["id"], IDS[mask])
    np.testing.assert_allclose(found["total"], ak.sum(ALL["jet"], axis=1)[mask], rtol=1e-6)
    np.testing.assert_array_equal(found["lead"], lead[mask].astype(np.float32))
    np.testing.assert_array_equal(found["twice"], 2 * ALL["x"][mask])
    np.testing.assert_array_equal(found["sign"], np.where(ALL["y"] > 500, 1, -1)[mask])


def test_missing_elements(data: rootml.Dataset) -> None:
    counts = ak.to_numpy(ak.num(ALL["jet"]))
    lead = data.define(lead="jet[0]").select(["id", "lead"])
    with pytest.raises(MissingElementError, match=r"lead.*lack an element.*filter\('Length\$"):
        lead.to_awkward()
    np.testing.assert_array_equal(ids_of(lead.filter("k < 99 && jet[0] > -1")), IDS[counts > 0])
    np.testing.assert_array_equal(ids_of(lead.filter("!(jet[0] > -1)")), IDS[:0])
    either = lead.filter("k == 0 || jet[0] < -1")
    np.testing.assert_array_equal(ids_of(either), IDS[ALL["k"] == 0])
    filled = data.define({"lead": "jet[0]"}, missing=-5).select(["lead"]).to_awkward()["lead"]
    wanted = ak.to_numpy(ak.fill_none(ak.firsts(ALL["jet"]), -5))
    np.testing.assert_array_equal(filled, wanted)


def test_label_and_weight(data: rootml.Dataset) -> None:
    index = data.scan()
    blocks = [data.read(p, [], index=index, label=True, weight=True) for p in index.partitions]
    label = np.concatenate([block.label for block in blocks if block.label is not None])
    weight = np.concatenate([block.weight for block in blocks if block.weight is not None])
    np.testing.assert_array_equal(label, IDS >= NUM_BACKGROUND)
    np.testing.assert_array_equal(weight, ALL["weight"].astype(np.float64))
    assert (weight < 0).any()
    expressed = data.with_label("k % 2").with_weight("2 * weight").filter("flag")
    sums = expressed.scan().labels
    for value in (0, 1):
        mine = ALL["flag"] & (ALL["k"] % 2 == value)
        w = 2 * ALL["weight"][mine].astype(np.float64)
        assert sums[value].count == mine.sum()
        assert sums[value].negative == (w < 0).sum()
        np.testing.assert_allclose([sums[value].sumw, sums[value].sumw2], [w.sum(), (w**2).sum()])


def test_entry_numbers(data: rootml.Dataset) -> None:
    index = data.filter("k == 1").scan()
    for partition in index.partitions[:3]:
        block = data.filter("k == 1").read(partition, ["id"], index=index, ids=True)
        raw = uproot.open(partition.path)[partition.tree]["id"].array(library="np")
        np.testing.assert_array_equal(raw[block.entries], block.columns["id"])


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 0), (5, 700), (699, 701), (None, 3), (1500, None)]
)
def test_entry_range(events: Events, start: int | None, stop: int | None) -> None:
    data = events("ttree")
    background = rootml.Dataset(data.samples[:1]).with_entry_range(start, stop)
    np.testing.assert_array_equal(ids_of(background), IDS[:NUM_BACKGROUND][start:stop])
    cut = background.filter("k > 3")
    wanted = IDS[:NUM_BACKGROUND][start:stop]
    np.testing.assert_array_equal(ids_of(cut), wanted[wanted % 7 > 3])


def test_entry_range_beyond_the_end(data: rootml.Dataset) -> None:
    with pytest.raises(UsageError, match="goes beyond the 2,091 entries of its 3 file"):
        rootml.Dataset(data.samples[:1]).with_entry_range(0, 5000).scan()
    bad: Any
    for bad in ((3, 1), (-1, 2), ("a", "b"), (1.5, 2)):
        with pytest.raises(UsageError, match="entry_range"):
            data.with_entry_range(*bad)


# --- immutable, lazy, portable ---


def test_methods_return_new_datasets(data: rootml.Dataset) -> None:
    before = repr(data)
    data.filter("k > 1").define(a="x").select(["a"])
    data.with_label(None)
    assert repr(data) == before
    assert not data.has_selection


def test_nothing_is_read_before_it_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "f.root"
    write_events(path, IDS[:10], "ttree")
    data = rootml.open(f"{path}:Events").filter("nonsense > 1").select(["other"])
    path.unlink()
    assert "nonsense" in repr(data)


def test_scan_is_shared_by_datasets_of_the_same_events(data: rootml.Dataset) -> None:
    cut = data.filter("k > 2")
    one = cut.scan()
    assert cut.select(["x"]).scan()._selection is one._selection
    assert cut.define(a="x + 1").scan()._selection is one._selection
    assert cut.filter("x > 1").scan()._selection is not one._selection


def test_pickled_and_used_from_threads(data: rootml.Dataset) -> None:
    cut = data.filter("k > 2").select(["id"])
    wanted = ids_of(cut)
    again = pickle.loads(pickle.dumps(cut))
    np.testing.assert_array_equal(ids_of(again), wanted)
    assert again.fingerprint == cut.fingerprint
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: ids_of(data.filter("k > 2")), range(8)):
            np.testing.assert_array_equal(found, wanted)


def test_fingerprint_tells_what_matters(events: Events, tmp_path: Path) -> None:
    data = events("ttree").select(["x"])
    different = [
        data,
        data.select(["y"]),
        data.filter("k > 1"),
        data.filter("k > 2"),
        data.with_weight(2),
        data.with_label("k"),
        data.split(test=0.5, by="id")[0],
        data.split(test=0.5, by="id", seed=1)[0],
        data.with_entry_range(0, 10),
        data.define(z="x + 1").select(["z"]),
        data.define(z="x + 2").select(["z"]),
    ]
    assert len({each.fingerprint for each in different}) == len(different)
    assert data.filter("k>1").fingerprint == data.filter("k  > 1").fingerprint


# --- uniting samples ---


def test_sum_keeps_order_and_origin(events: Events) -> None:
    data = events("parquet")
    both = rootml.Dataset(data.samples[1:]) + rootml.Dataset(data.samples[:1])
    np.testing.assert_array_equal(ids_of(both), np.roll(IDS, NUM_EVENTS - NUM_BACKGROUND))


def test_columns_are_reconciled_or_refused(tmp_path: Path) -> None:
    def sample(name: str, label: Any = 0, **columns: Any) -> rootml.Dataset:
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            file["t"] = columns
        return rootml.open(f"{tmp_path}/{name}.root", label=label)

    x4 = sample("a", x=np.arange(3, dtype="f4"), only_a=np.arange(3))
    x8 = sample("b", x=np.arange(3, dtype="f8") / 3)
    i8 = sample("c", x=np.arange(3, dtype="i8"))
    none = sample("d", label=None, x=np.arange(3, dtype="f4"))
    both = x4 + x8
    assert both.columns == ("x",)
    assert both.types()["x"].dtype == np.float64
    np.testing.assert_array_equal(both.to_awkward()["x"], [0, 1, 2, 0, 1 / 3, 2 / 3])
    with pytest.raises(SchemaError, match=r"'x' is float32 in .*a\.root and int64 in"):
        (x4 + i8).types()
    with pytest.raises(SchemaError, match="has a label and"):
        _ = x4 + none
    with pytest.raises(SchemaError, match="columns are selected"):
        _ = x4.select(["x"]) + x8
    with pytest.raises(SchemaError, match="different columns are selected"):
        _ = x4.select(["x"]) + x8.select(["y = x"])
    with pytest.raises(MissingColumnError, match="only_a"):
        (x4 + x8).select(["only_a"]).to_awkward()


def test_types_that_differ_between_files_of_a_sample(tmp_path: Path) -> None:
    for name, dtype in (("a", "f4"), ("b", "i4")):
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            file["t"] = {"x": np.arange(3, dtype=dtype)}
    with pytest.raises(SchemaError, match=r"'x' is float32 in .*a\.root:t and int32 in .*b\.root"):
        rootml.open(f"{tmp_path}/*.root").to_awkward()


# --- variations and normalisation ---


def test_vary(tmp_path: Path) -> None:
    pt, up = np.array([10.0, 40.0, 50.0]), np.array([35.0, 20.0, 60.0])
    with uproot.recreate(tmp_path / "f.root") as file:
        file["t"] = {"pt": pt, "pt_jesUp": up, "eta": pt / 10}
        file["t_up"] = {"pt": up, "eta": pt / 10}
    data = rootml.open(f"{tmp_path}/f.root:t").filter("pt > 30").select(["pt", "d = pt + eta"])
    for varied in (data.vary("jesUp", suffix="_jesUp"), data.vary("jesUp", tree="t_up")):
        found = varied.to_awkward()
        np.testing.assert_array_equal(found["pt"], up[up > 30])
        np.testing.assert_array_equal(found["d"], (up + pt / 10)[up > 30])
        assert "jesUp" in str(varied)
    np.testing.assert_array_equal(data.to_awkward()["pt"], pt[pt > 30])
    with pytest.raises(MissingColumnError, match="'_jesDown'.*'pt_jesUp'"):
        data.vary("jesDown", suffix="_jesDown")
    bad: dict[str, Any]
    for bad in ({}, {"suffix": "_a", "tree": "b"}, {"suffix": ""}):
        with pytest.raises(UsageError, match="suffix= .branches. or tree="):
            data.vary("x", **bad)


def test_normalisation(tmp_path: Path) -> None:
    weights = np.array([1.0, -1.0, 2.0, 2.0])
    for number in (1, 2):
        with uproot.recreate(tmp_path / f"f{number}.root") as file:
            file["Events"] = {"w": weights, "x": np.arange(4.0)}
            file["Runs"] = {"sumw": np.array([10.0, 20.0])}
    path = f"{tmp_path}/f*.root:Events"
    common: dict[str, Any] = {"weight": "w", "cross_section": 3.0, "luminosity": 100.0}
    total: float | str
    for total, divisor in (("Runs:sumw", 60.0), (50.0, 50.0), ("w", 8.0), ("weight", 8.0)):
        data = rootml.open(path, sum_of_weights=total, **common).filter("x > 1")
        scan = data.scan()
        np.testing.assert_allclose(scan.total.sumw, 300 / divisor * 2 * weights[2:].sum())
        batch = next(iter(data.select(["x"]).batches(4, weights=True).numpy()))
        np.testing.assert_allclose(batch[-1], np.tile(300 / divisor * weights[2:], 2), rtol=1e-6)
    nonsense: list[tuple[dict[str, Any], str]] = [
        ({"cross_section": 1.0}, "cross_section= needs sum_of_weights="),
        ({"luminosity": 1.0, "sum_of_weights": 1}, "luminosity= needs cross_section="),
        ({"cross_section": np.nan, "sum_of_weights": 1}, "finite"),
    ]
    for arguments, match in nonsense:
        with pytest.raises(UsageError, match=match):
            rootml.open(path, **arguments)
    with pytest.raises(UsageError, match="sum of weights is 0"):
        rootml.open(path, cross_section=1, sum_of_weights=0.0).describe()


@pytest.mark.parametrize("total", ["weight", "w", "twice / 2", "Events:w", 10.0])
def test_varied_weights_over_the_nominal_sum(tmp_path: Path, total: float | str) -> None:
    with uproot.recreate(tmp_path / "f.root") as file:
        file["Events"] = {"w": np.ones(10), "w_up": np.full(10, 2.0)}
    common: dict[str, Any] = {"weight": "w", "cross_section": 1.0, "luminosity": 1.0}
    data = rootml.open(f"{tmp_path}/f.root:Events", sum_of_weights=total, **common)
    data = data.define(twice="2 * w")
    for one, expected in ((data.vary("up", suffix="_up"), 2.0), (data, 1.0)):
        np.testing.assert_allclose(one.scan().total.sumw, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "given",
    [
        "f.root:t",
        "*.root:t",
        ["./f.root:t"],
        {"f.root": "t"},
        Path("f.root"),
        "~/f.root",
        "../a/f.root",
    ],
)
def test_another_working_folder_means_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any
) -> None:
    for number, folder in enumerate("ab"):
        (tmp_path / folder).mkdir()
        for name in ("f.root", "g.friend"):
            with uproot.recreate(tmp_path / folder / name) as file:
                file["t"] = {name[0]: np.full(3, float(number))}
    monkeypatch.setenv("HOME", str(tmp_path / "a"))
    monkeypatch.chdir(tmp_path / "a")
    data = rootml.open(given, friends={"g": "g.friend"})
    if isinstance(given, str):
        assert given in str(data)
    monkeypatch.chdir(tmp_path / "b")
    for one in (data, pickle.loads(pickle.dumps(data))):
        found = one.select(["f", "g"]).to_awkward()
        assert found.tolist() == [{"f": 0.0, "g": 0.0}] * 3
    assert [Path(p.path) for p in data.scan().partitions] == [tmp_path / "a" / "f.root"]


def test_a_recorded_friend_belongs_to_the_folder_of_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("then", "now", "beside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "side.root").touch()
    monkeypatch.chdir(tmp_path / "now")
    main, friend = str(tmp_path / "beside" / "f.root"), FriendSpec("s", "side.root", "s")
    then = tmp_path / "then"
    assert Path(_link(main, friend, str(then)).path) == then / "side.root"
    (then / "side.root").unlink()
    assert Path(_link(main, friend, str(then)).path) == tmp_path / "beside" / "side.root"


def test_a_saved_index_follows_files_that_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    with uproot.recreate("f.root") as file:
        file["t"] = {"x": np.arange(9.0)}
    rootml.open("f.root").filter("x > 3").scan(saved="index.npz")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    data = rootml.open("b/f.root").filter("x > 3")
    assert data.scan(saved="b/index.npz").num_rows == 5
    assert data.to_awkward()["x"].tolist() == [4.0, 5.0, 6.0, 7.0, 8.0]


# --- bad input ---


def test_names_that_are_not_there(data: rootml.Dataset) -> None:
    for change in (
        data.filter("weigth > 1"),
        data.select(["weigth"]),
        data.define(a="weigth").select(["a"]),
        data.with_weight("weigth").select(["x"]).filter("x > 1"),
        data.with_label("weigth"),
        data.split(test=0.5, by="weigth")[0],
    ):
        with pytest.raises(MissingColumnError, match=r"s0_0\.root:Events.*'weigth'.*'weight'"):
            change.scan()


def test_trees_that_are_not_there(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "f.root") as file:
        file["Events"] = {"x": np.arange(3)}
        file["Runs"] = {"x": np.arange(3)}
        file["dir/Lumi"] = {"x": np.arange(3)}
    with pytest.raises(MissingTreeError, match=r"'Event'.*'Events'"):
        rootml.open(f"{tmp_path}/f.root:Event").scan()
    with pytest.raises(MissingTreeError, match=r"'Events'.*'Runs'"):
        rootml.open(f"{tmp_path}/f.root").scan()
    assert rootml.open(f"{tmp_path}/f.root:dir/Lumi").scan().num_rows == 3


@pytest.mark.parametrize(
    ("use", "error", "match"),
    [
        (lambda d: d.filter("x >"), ExpressionError, "x >"),
        (lambda d: d.filter(""), UsageError, "a cut is the text"),
        (lambda d: d.filter("jet > 30").scan(), ExpressionError, "jet > 30.*reduce"),
        (lambda d: d.define(x="y").scan(), UsageError, "already has a column 'x'"),
        (lambda d: d.define(a="y").define(a="x"), UsageError, "'a' is defined already"),
        (lambda d: d.define(a="b").define(b="a").types(), ExpressionError, "a -> b -> a"),
        (lambda d: d.define(), UsageError, "nothing to define"),
        (lambda d: d.select([]), UsageError, "no columns"),
        (lambda d: d.select(["x", "x"]), UsageError, r"\['x'\] twice"),
        (lambda d: d.with_label("jet").scan().labels, UnsupportedTypeError, "label 'jet' must be"),
        (
            lambda d: d.with_weight("jet").scan().total,
            UnsupportedTypeError,
            "weight 'jet' must be",
        ),
        (lambda d: d.with_weight(float("nan")), UsageError, "finite number"),
        (lambda d: d.split(test=1.5), UsageError, "fractions between 0 and 1"),
        (lambda d: d.split(test=0.6, validation=0.5), UsageError, "nothing to train on"),
        (
            lambda d: d.split(test=0.5, by="x")[0].scan(),
            UnsupportedTypeError,
            "cannot tell events apart by x",
        ),
        (lambda d: d.folds(1), UsageError, "at least 2"),
        (lambda d: d.scan(threads=0), UsageError, "threads"),
        (lambda d: d + 1, TypeError, "unsupported operand"),
    ],
)
def test_arguments_that_make_no_sense(
    data: rootml.Dataset, use: Callable[[rootml.Dataset], Any], error: Any, match: str
) -> None:
    with pytest.raises(error, match=match):
        use(data)


# --- looking at it ---


def test_texts_and_html(data: rootml.Dataset) -> None:
    cut = data.filter("k < 3 && x > 1", name="<b>").select(["x", "jet"])
    for text in (repr(cut), str(cut)):
        assert text.startswith("<Dataset ")
    assert "&lt;b&gt;" in cut._repr_html_()
    description = cut.describe()
    for text in ("5,401" if NUM_EVENTS == 5401 else f"{NUM_EVENTS:,}", "x (float32)", "ttree"):
        assert text in str(description)
    assert description.num_rows == cut.scan().num_rows
    assert "<table>" in description._repr_html_()
    assert "<b>" not in cut.cutflow()._repr_html_()
    assert f"{cut.scan().num_rows:,} of {NUM_EVENTS:,}" in repr(cut.scan())


def test_empty_selection_is_a_dataset_too(data: rootml.Dataset) -> None:
    nothing = data.filter("k > 100").select(["x", "jet", "s = x * 2"])
    found = nothing.to_awkward()
    assert len(found) == 0
    assert found["jet"].type.content == ak.Array(ALL["jet"]).type.content
    assert nothing.to_arrow().num_rows == 0
    assert nothing.to_arrow().schema.field("x").type == pa.float32()
    assert nothing.describe().num_rows == 0
    assert nothing.cutflow().steps[-1].sums.count == 0


def test_arrow_with_nulls_in_some_partitions(tmp_path: Path) -> None:
    """Within lists and records, where there may be nulls: as Arrow reads them."""
    parts = [
        pa.table(
            {
                "names": pa.array([["a"], [], [None] if number else ["b"]]),
                "hit": pa.array([{"x": 1, "y": [1.0]}, {"x": None if number else 2, "y": []}] * 2)[
                    :3
                ],
            }
        )
        for number in range(2)
    ]
    paths = [f"{tmp_path}/{number}.parquet" for number in range(2)]
    for path, part in zip(paths, parts, strict=True):
        pa.parquet.write_table(part, path)
    found = rootml.open(paths).select(["names", "hit"]).to_arrow()
    assert found.column("names").num_chunks == 2
    assert found.to_pylist() == pa.concat_tables(parts).to_pylist()


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda data: OPEN("x.root", lable=1), r"rootml.open\(\) has no .*nearest: 'label'"),
        (lambda data: data.split(0.3), r"split\(\) takes its options by name: test="),
        (lambda data: data.skim("out", fromat="root"), r"no option 'fromat'; nearest: 'format'"),
        (lambda data: data.to_awkward(lable=True), r"has no option 'lable'; nearest: 'label'"),
        (lambda data: data.define(z=lambda x: x), r"z= takes the text of an expression"),
    ],
)  # fmt: skip
def test_misspelt_options(data: rootml.Dataset, call: Callable[[Any], Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        call(data)
