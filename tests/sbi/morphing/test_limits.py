"""Bounds, sentinels and what lies outside of the training range: nothing moves in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import rootml
from rootml.errors import UsageError
from rootml.sbi.morphing import Morpher

pytest.importorskip("torch")
ROWS = 20_000
QUICK: dict[str, Any] = {"layers": 2, "steps": 60, "batch_size": 256, "reweight": "none"}


def dataset(folder: Path, name: str, columns: dict[str, Any]) -> rootml.Dataset:
    """The columns in a file."""
    path = folder / f"{name}.parquet"
    pyarrow.parquet.write_table(pa.table(columns), path)
    return rootml.open(str(path))


def pair(folder: Path, draw: Any, rows: int = ROWS) -> tuple[rootml.Dataset, rootml.Dataset]:
    """Simulation and data; `draw` gives the features of a generator and of 0 or 1 (data)."""
    found = []
    for data, name in enumerate(("sim", "data")):
        rng = np.random.default_rng([77, data])
        found.append(dataset(folder, name, {"c": rng.normal(size=rows), **draw(rng, data)}))
    return found[0], found[1]


def test_an_edge_of_one_domain_holds_in_both(tmp_path: Path) -> None:
    """The density of the data vanishes at 1, where that of the simulation is cut off."""
    shapes = ((1, 1), (2, 3))
    sim, data = pair(tmp_path, lambda rng, k: {"b": rng.beta(*shapes[k], ROWS)})
    morpher = Morpher(["b"], ["c"], outside="extrapolate", **QUICK).fit(sim, data, progress=False)
    rng = np.random.default_rng(1)
    new = {"c": rng.normal(size=300_000).clip(-3, 3), "b": rng.uniform(size=300_000)}
    found = morpher.transform(new)["b"]
    assert ((found >= 0) & (found <= 1)).all()
    wild = {"c": np.zeros(5), "b": np.array([-3.0, 1.0, 1.2, 5.0, 1e3])}
    found = morpher.transform(wild)["b"]
    assert ((found >= 0) & (found <= 1)).all()


def tagger(rng: np.random.Generator, data: int) -> dict[str, Any]:
    """A tagger in [0, 1], -1 for a few events without a jet; a time that may be -999."""
    tag = rng.beta(2 + data, 3, ROWS)
    tag[rng.uniform(size=ROWS) < 0.002 + 0.1 * data] = -1
    time = rng.normal(0.3 * data, 1, ROWS)
    time[rng.uniform(size=ROWS) < 0.2 - 0.1 * data] = -999
    return {"tag": tag, "time": time}


BOUNDS = {"tag": (0, 1, -1), "time": (None, None, -999)}


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Morpher:
    """Trained with bounds and sentinels."""
    sim, data = pair(tmp_path_factory.mktemp("tagged"), tagger)
    with_bounds = Morpher(["tag", "time"], ["c"], bounds={"tag": BOUNDS["tag"],
                          "time": (-100, None, -999)}, ensemble=2, **QUICK)  # fmt: skip
    return with_bounds.fit(sim, data, progress=False)


@pytest.mark.parametrize("which", ["nominal", "up", "down", 1])
def test_sentinels_get_the_fraction_of_the_data_and_keep_their_value(
    tagged: Morpher, which: Any
) -> None:
    rng = np.random.default_rng(5)
    new = {"c": rng.normal(size=ROWS).clip(-3, 3), **tagger(rng, 0)}
    new["tag"][rng.uniform(size=ROWS) < 0.1] = -1
    found = tagged.transform(new, which=which)
    tag, time = found["tag"], found["time"]
    assert (((tag >= 0) & (tag <= 1)) | (tag == -1)).all()
    assert ((time == -999) | (np.abs(time) < 20)).all()
    if which == "nominal":
        changed = tagged.transform({"c": new["c"], **tagger(np.random.default_rng(6), 0)})
        for name, share in (("tag", 0.102), ("time", 0.1)):
            sentinel = -1 if name == "tag" else -999
            error = np.sqrt(2 * share * (1 - share) / ROWS)
            assert abs((changed[name] == sentinel).mean() - share) < 4 * error, name


def test_values_outside_pass_unchanged_and_are_counted(tagged: Morpher, tmp_path: Path) -> None:
    new = {
        "c": np.array([0.0, 0.0, 0.0, 99.0, 0.0]),
        "tag": np.array([0.5, 1.5, -0.5, 0.5, -1.0]),
        "time": np.array([0.1, 0.1, 0.1, 0.1, -500.0]),
    }
    found = tagged.transform(new, flag="ok", outside_flag="beyond")
    assert found["ok"].tolist() == [True, False, False, False, False]
    assert found["beyond"].tolist() == [False, True, True, False, True]
    for name in ("tag", "time"):
        assert np.array_equal(found[name][1:], new[name][1:])
    done = tagged.apply(dataset(tmp_path, "new", new), tmp_path / "out", progress=False)
    assert done.beyond == {"tag": 2, "time": 1}
    assert done.outside == {"c": 1}
    assert done.unchanged == 4
    assert "tag outside   2" in repr(done)
    friend = rootml.open(done.paths[0]).to_awkward()
    assert friend["outside_corr"].tolist() == found["beyond"].tolist()


@pytest.mark.parametrize("outside", ["keep", "clip", "extrapolate"])
def test_outliers_of_a_tail(tmp_path: Path, outside: Any) -> None:
    """A sentinel that was not in the training, and values far out; also saved, and as ONNX."""
    sim, data = pair(
        tmp_path,
        lambda rng, k: {"x": rng.normal(size=ROWS), "e": rng.normal(0.2 * k, 1 + 0.1 * k, ROWS)},
    )
    morpher = Morpher(["x", "e"], ["c"], outside=outside, **QUICK).fit(sim, data, progress=False)
    x = np.array([0.0, 4.2, 8.0, 100.0, -999.0])
    new = {"c": np.zeros(5), "x": x, "e": np.zeros(5)}
    found = morpher.transform(new, outside_flag="beyond")
    assert found["beyond"].tolist() == [False, False, True, True, True]
    if outside == "keep":
        assert np.array_equal(found["x"][2:], x[2:])
        assert np.array_equal(found["e"][2:], np.zeros(3))
    elif outside == "clip":
        assert 3.5 < found["x"][2] == found["x"][3] < 7
        assert -7 < found["x"][4] < -3.5
    else:
        assert found["x"][3] > 50
    assert (found["x"][:2] != x[:2]).all()
    morpher.save(tmp_path / "m")
    again = Morpher.load(tmp_path / "m").transform(new)
    assert all(np.array_equal(again[name], found[name]) for name in ("x", "e"))
    runtime, _ = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    morpher.to_onnx(tmp_path / "m.onnx")
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    features = np.column_stack([new["x"], new["e"]])
    feed = {"features": features, "conditions": new["c"][:, None], "draws": morpher.draws(new)}
    made, morphed = session.run(["corrected", "morphed"], feed)
    expected = np.column_stack([found["x"], found["e"]])  # one of them is nearly 0
    np.testing.assert_allclose(made, expected, rtol=2e-3, atol=1e-6)
    assert morphed.tolist() == [True, True, *[outside != "keep"] * 3]


def test_sentinels_as_onnx(tagged: Morpher, tmp_path: Path) -> None:
    runtime, _ = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    rng = np.random.default_rng(8)
    first = {name: column[:500] for name, column in tagger(rng, 1).items()}
    new = {"c": rng.normal(size=500).clip(-3, 3), **first}
    tagged.to_onnx(tmp_path / "m.onnx")
    features = np.column_stack([new["tag"], new["time"]])
    feed = {"features": features, "conditions": new["c"][:, None], "draws": tagged.draws(new)}
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    made, morphed = session.run(["corrected", "morphed"], feed)
    found = tagged.transform(new, flag="ok")
    assert np.array_equal(morphed, found["ok"])
    np.testing.assert_allclose(made[:, 0], found["tag"], atol=1e-3)


def test_members_are_written_beside_the_events(tagged: Morpher, tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    first = {name: column[:300] for name, column in tagger(rng, 0).items()}
    new = {"c": rng.normal(size=300).clip(-3, 3), **first}
    source = dataset(tmp_path, "new", new)
    done = tagged.apply(source, tmp_path / "out", variations="members", progress=False)
    friend = rootml.open(done.paths[0]).to_awkward()
    for which in (1, 2):
        expected = tagged.transform(source, which=which).to_awkward()["time"].to_numpy()
        np.testing.assert_allclose(friend[f"time_corr_member{which}"].to_numpy(), expected)
    assert "time_corr_up" not in friend.fields
    with pytest.raises(UsageError, match="variations='both'"):
        tagged.apply(source, tmp_path / "other", variations="both")  # type: ignore[arg-type]


def test_bounds_that_the_values_violate(tmp_path: Path) -> None:
    sim, data = pair(tmp_path, tagger)
    morpher = Morpher(["tag", "time"], ["c"], bounds={"tag": (0, 1)}, **QUICK)
    text = r"'tag' has bounds \[0, 1\], but \d+ of 19,997 values of the simulation .* from -1 to"
    with pytest.raises(UsageError, match=text):
        morpher.fit(sim, data, progress=False)


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ({"tga": (0, 1)}, "'tga', which is no feature; nearest: 'tag'"),
        ({"tag": (1, 0)}, "low < high"),
        ({"tag": (0, 1, 0.5)}, "the sentinel 0.5 lies inside"),
        ({"tag": 3}, "expected \\(low, high\\)"),
        ({"tag": (0, "1")}, "expected \\(low, high\\)"),
    ],
)
def test_bounds_that_make_no_sense(bounds: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Morpher(["tag"], ["c"], bounds=bounds)
    with pytest.raises(UsageError, match="outside='drop'"):
        Morpher(["tag"], ["c"], outside="drop")  # type: ignore[arg-type]


def test_two_hundred_events_of_data(tmp_path: Path) -> None:
    """Defaults; nothing but what the data allow comes out."""
    rng = np.random.default_rng(3)
    sim = dataset(tmp_path, "sim", {"c": rng.normal(size=2000), "x": rng.exponential(size=2000)})
    x = 0.5 + rng.exponential(2.0, 200)
    data = dataset(tmp_path, "data", {"c": rng.normal(size=200), "x": x})
    morpher = Morpher(["x"], ["c"], reweight="none", layers=2).fit(sim, data, progress=False)
    assert "200 steps of 256 rows" in repr(morpher)
    found = morpher.transform(sim).to_awkward()["x"].to_numpy()
    assert np.isfinite(found).all()
    assert abs(found.mean() - x.mean()) < 4 * x.std() / np.sqrt(200)
