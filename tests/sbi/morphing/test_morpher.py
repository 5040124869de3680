"""The whole way: ROOT files, fit, transform, every container, randomness by event, bad input."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from morphing_small import EVENTS, small
from morphing_toy import CONDITIONS, FEATURES, GAPS, toy
from scipy import stats

import rootml
from rootml.errors import (
    CorruptFileError,
    EmptySelectionError,
    MissingColumnError,
    SchemaError,
    StateError,
    UnsupportedTypeError,
    UsageError,
)
from rootml.sbi.morphing import Morpher

pytest.importorskip("torch")
COLUMNS = [*FEATURES, *CONDITIONS, "event"]


def events(dataset: rootml.Dataset) -> dict[str, Any]:
    """Columns of NumPy arrays."""
    found = dataset.select(COLUMNS).to_awkward()
    return {name: ak.to_numpy(found[name]) for name in COLUMNS}


# --- what comes out ------------------------------------------------------------------------------


def test_simulation_becomes_data(morpher: Morpher, sim: rootml.Dataset) -> None:
    """Also after a second of training the one-dimensional distributions are those of the data."""
    before = events(sim)
    after = morpher.transform(before)
    fresh = toy("data", 40_000, seed=7)
    weights = morpher.kinematics.weights(np.column_stack([before[n] for n in CONDITIONS]))
    picked = np.random.default_rng(0).choice(EVENTS, 4000, p=weights / weights.sum())
    for name in FEATURES:
        distances = [
            stats.ks_2samp(each[name][picked], fresh[name]).statistic for each in (before, after)
        ]
        assert distances[1] < 0.05, name
        assert distances[1] < distances[0], name
    for name, (low, high) in GAPS.items():
        assert not ((after[name] > low) & (after[name] < high)).any()
        assert (after[name] >= 0).all()
        assert 0.1 < (after[name] == 0).mean() < 0.5
    assert all(np.array_equal(after[name], before[name]) for name in CONDITIONS)
    assert {after[name].dtype for name in FEATURES} == {np.dtype("f4")}


def test_order_and_partition_do_not_matter(morpher: Morpher, sim: rootml.Dataset) -> None:
    pytest.importorskip("numba")
    before = events(sim)
    after = morpher.transform(before)
    order = np.random.default_rng(0).permutation(EVENTS)
    mixed = morpher.transform({name: column[order] for name, column in before.items()})
    alone = morpher.transform({name: column[123:124] for name, column in before.items()})
    for name in FEATURES:
        assert np.array_equal(mixed[name], after[name][order])
        assert np.array_equal(alone[name], after[name][123:124])


def test_equal_events_with_other_ids_differ_in_atoms_alone(morpher: Morpher) -> None:
    one = {"v1A": 0.1, "v2A": 0.2, "v1B": 0.0, "v2B": 2.0, "pt": 0.5, "eta": 0.5, "noise": 1.0}
    many = {name: np.full(500, value) for name, value in one.items()}
    found = morpher.transform({**many, "event": np.arange(500)})
    assert len(np.unique(found["v1B"])) > 100  # zeros become zeros and others, at random
    again = morpher.transform({**many, "event": np.full(500, 7)})
    assert len(np.unique(again["v1B"])) == 1
    many["v1B"] = np.full(500, 3.0)
    smooth = morpher.transform({**many, "event": np.arange(500)})
    assert all(len(np.unique(smooth[name])) == 1 for name in FEATURES)


def test_every_container_gives_the_same(morpher: Morpher, sim: rootml.Dataset) -> None:
    before = events(sim)
    expected = morpher.transform(before, flag="ok")
    names = list(expected)

    structured = np.empty(EVENTS, [(name, column.dtype) for name, column in before.items()])
    for name, column in before.items():
        structured[name] = column
    found = morpher.transform(structured, flag="ok")
    assert isinstance(found, np.ndarray)
    assert list(found.dtype.names or ()) == names
    table = morpher.transform(pa.table(before), flag="ok")
    assert isinstance(table, pa.Table)
    assert table.column_names == names
    batch = morpher.transform(pa.RecordBatch.from_pydict(before), flag="ok")
    assert isinstance(batch, pa.RecordBatch)
    array = morpher.transform(ak.Array(before), flag="ok")
    assert isinstance(array, ak.Array)
    for name in names:
        assert np.array_equal(found[name], expected[name])
        assert np.array_equal(table[name].to_numpy(), expected[name])
        assert np.array_equal(batch.column(name).to_numpy(zero_copy_only=False), expected[name])
        assert np.array_equal(ak.to_numpy(array[name]), expected[name])
    assert np.array_equal(structured["v1A"], before["v1A"]), "the input is left alone"
    data = morpher.transform(sim.select(["v1A", "pt", "event"]), flag="ok")
    assert isinstance(data, rootml.Dataset)
    read = data.to_awkward()
    assert read.fields == ["v1A", "pt", "event", "ok"]
    assert np.array_equal(ak.to_numpy(read.v1A), expected["v1A"])


def test_a_cut_or_weight_of_a_feature_is_not_moved(morpher: Morpher, sim: rootml.Dataset) -> None:
    with pytest.raises(UsageError, match=r"a cut uses the feature 'v1A'.*filter\(\) the result"):
        morpher.transform(sim.filter("v1A > 0"))
    after = morpher.transform(sim).filter("v1A > 0").to_awkward()
    every = morpher.transform(events(sim))
    assert np.array_equal(ak.to_numpy(after.event), every["event"][every["v1A"] > 0])
    with pytest.raises(UsageError, match="the weight is made of the feature 'v2A'"):
        morpher.transform(sim.with_weight("1 + abs(v2A)"))
    cut = morpher.transform(sim.filter("pt > 1").select(["v2A", "event"])).to_awkward()
    expected = morpher.transform(events(sim.filter("pt > 1")))
    assert np.array_equal(ak.to_numpy(cut.v2A), expected["v2A"])


def test_what_was_not_learned_passes_unchanged(
    morpher: Morpher, sim: rootml.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    before = {name: column[:20].copy() for name, column in events(sim).items()}
    before["pt"][3], before["eta"][4] = 1e6, -1.0
    before["v1A"][5], before["noise"][6], before["v2B"][7] = np.nan, np.nan, np.inf
    with caplog.at_level(logging.WARNING):
        after = morpher.transform(before, flag="ok")
    assert np.flatnonzero(~after["ok"]).tolist() == [3, 4, 5, 6, 7]
    for name in FEATURES:
        assert np.array_equal(after[name][3:8], before[name][3:8], equal_nan=True)
        assert not np.any(after[name][:3] == before[name][:3]) or "B" in name
    assert "5 of 20 rows pass unchanged" in caplog.text
    assert "pt outside: 1, eta outside: 1, NaN or infinite: 3" in caplog.text


def test_features_beyond_the_training_range_can_be_extrapolated(
    sim: rootml.Dataset, data: rootml.Dataset
) -> None:
    morpher = small(outside="extrapolate").fit(sim, data)
    steps = {"v1A": np.linspace(2, 12, 6), "event": np.arange(6)}
    rest = {"v2A": 0.2, "v1B": 1.0, "v2B": 2.0, "pt": 0.5, "eta": 0.5, "noise": 1.0}
    found = morpher.transform({**steps, **{n: np.full(6, value) for n, value in rest.items()}})
    assert (np.diff(found["v1A"]) > 0.5).all()
    assert all(np.isfinite(found[name]).all() for name in FEATURES)


def test_variations_move_quantiles_as_members_do(morpher: Morpher, sim: rootml.Dataset) -> None:
    """Quantiles of the column up lie by Student's t times the members' scatter above nominal."""
    before = events(sim)
    kinds: tuple[Any, ...] = ("nominal", "up", "down", 0, 1, 2, 3)
    found = {which: morpher.transform(before, which=which) for which in kinds}
    conditions = np.column_stack([before[n] for n in CONDITIONS]).astype("f8")
    picked = np.random.default_rng(0).choice(
        EVENTS, 200_000, p=(w := morpher.kinematics.weights(conditions)) / w.sum()
    )
    levels = np.linspace(0.1, 0.9, 17)
    for name in FEATURES:
        q = {which: np.quantile(each[name][picked], levels) for which, each in found.items()}
        scatter = np.sqrt(np.mean([(q[k] - q[0]) ** 2 for k in (1, 2, 3)], axis=0))
        scatter *= stats.t.ppf(stats.norm.cdf(1), 3)
        smooth = q["down"] > 0  # within an atom a quantile does not move
        for which, sign in (("up", 1), ("down", -1)):
            moved = sign * (q[which] - q[0])
            assert (moved >= -1e-6).all()
            assert abs(moved[smooth].mean() / scatter[smooth].mean() - 1) < 0.25, (name, which)
        assert np.array_equal(found[0][name], found["nominal"][name])
    for name, (low, high) in GAPS.items():
        for which in ("up", "down"):
            x = found[which][name]
            assert not ((x < 0) | ((x > low) & (x < high))).any()
    with pytest.raises(UsageError, match="a member, 0 \\(nominal\\) to 3"):
        morpher.transform(before, which=4)


def test_friends_have_the_same_entries(
    morpher: Morpher, sim: rootml.Dataset, toy_files: tuple[str, str], tmp_path: Path
) -> None:
    cut = sim.filter("noise < 2")
    done = morpher.apply(cut, tmp_path / "corr", progress=False)
    assert done.rows == cut.scan().num_rows
    joined = rootml.open(toy_files[0], friends=str(tmp_path / "corr" / "*.root"))
    names = [f"{name}_corr{kind}" for name in FEATURES for kind in ("", "_up", "_down")]
    found = joined.select([*COLUMNS, *names, "morphed_corr", "v1A_corr_valid"]).to_awkward()
    assert len(found) == EVENTS
    kept = ak.to_numpy(found.noise) < 2
    assert np.array_equal(ak.to_numpy(found.v1A_corr_valid), kept)
    assert np.isnan(ak.to_numpy(found.v1A_corr)[~kept]).all()
    chosen = {name: ak.to_numpy(found[name])[kept] for name in COLUMNS}
    for which, kind in (("nominal", ""), ("up", "_up"), ("down", "_down")):
        expected = morpher.transform(chosen, which=which, flag="ok")  # type: ignore[arg-type]
        for name in FEATURES:
            mine = ak.to_numpy(found[f"{name}_corr{kind}"])[kept]
            np.testing.assert_allclose(mine, expected[name], rtol=1e-6)
        assert np.array_equal(ak.to_numpy(found.morphed_corr)[kept], expected["ok"])
    assert done.unchanged == (~expected["ok"]).sum()
    assert f"{done.rows:,}" in repr(done)
    assert "<table>" in done._repr_html_()
    with pytest.raises(UsageError, match="suffix= is empty"):
        morpher.apply(cut, tmp_path / "other", suffix="")


# --- lists ---------------------------------------------------------------------------------------


def jagged(kind: Any, count: int, seed: int) -> ak.Array:
    """The toy's events as photons of events, with one noise per event."""
    flat = toy(kind, count, seed=seed)
    counts = np.random.default_rng(seed).integers(0, 4, count)
    counts = counts[np.cumsum(counts) <= count]
    used = int(counts.sum())
    columns = {
        name: ak.unflatten(ak.Array(column[:used]), counts)
        for name, column in flat.items()
        if name != "noise"
    }
    noise = np.random.default_rng(seed + 1).uniform(0, 3, len(counts))
    return ak.Array({**columns, "noise": noise, "event": np.arange(len(counts))})


def test_lists_are_flattened_and_restored(tmp_path: Path) -> None:
    files = []
    for kind in ("sim", "data"):
        ak.to_parquet(jagged(kind, 5000, 3), tmp_path / f"{kind}.parquet")
        files.append(rootml.open(str(tmp_path / f"{kind}.parquet")))
    morpher = small().fit(*files)
    before = files[0].to_awkward()
    after = morpher.transform(before, flag="ok")
    assert ak.all(ak.num(after.v1A) == ak.num(before.v1A))
    assert ak.num(after.ok).tolist() == ak.num(before.v1A).tolist()
    assert ak.min(ak.num(before.v1A)) == 0
    table = morpher.transform(files[0].to_arrow())
    assert table["v1A"].to_pylist() == after.v1A.tolist()
    records = ak.zip({name: before[name] for name in (*FEATURES, "pt", "eta")})
    nested = ak.with_field(ak.with_field(records, before.noise, "noise"), before.event, "event")
    assert nested.ndim == 2  # the event's numbers repeated for every photon are lists as well
    with pytest.raises(UnsupportedTypeError, match="'event' is of type .*id="):
        morpher.transform(nested)

    whole = {name: before[name] for name in before.fields}
    short = morpher.transform({name: column[10:12] for name, column in whole.items()})
    assert short["v2A"].tolist() == after.v2A[10:12].tolist()
    done = morpher.apply(files[0], tmp_path / "corr")
    assert done.rows == ak.sum(ak.num(before.v1A))
    friend = rootml.open(done.paths[0]).to_awkward()
    assert friend.v1A_corr.tolist() == after.v1A.tolist()
    assert friend.morphed_corr.tolist() == after.ok.tolist()


def test_nothing_goes_through(morpher: Morpher) -> None:
    nothing = {name: np.zeros(0, "f4") for name in (*FEATURES, *CONDITIONS)}
    found = morpher.transform({**nothing, "event": np.zeros(0, int)}, flag="ok")
    assert {found[name].shape for name in (*FEATURES, "ok")} == {(0,)}
    empty = {name: ak.Array([[], []]) for name in (*FEATURES, *CONDITIONS)}
    lists = morpher.transform({**empty, "event": np.arange(2)})
    assert lists["v1A"].tolist() == [[], []]


def test_lists_that_do_not_fit_are_refused(morpher: Morpher, sim: rootml.Dataset) -> None:
    two = {name: ak.Array([[1.0, 2.0], [3.0]]) for name in FEATURES}
    rest = {**{name: np.ones(2) for name in CONDITIONS}, "event": np.arange(2)}
    morpher.transform({**two, **rest})
    with pytest.raises(SchemaError, match="in event 1 'v1A' has 1 elements, 'v2A' has 2"):
        morpher.transform({**two, **rest, "v2A": ak.Array([[1.0, 2.0], [3.0, 4.0]])})
    with pytest.raises(
        SchemaError, match="feature 'v2A' is one number per event, 'v1A' is a list"
    ):
        morpher.transform({**two, **rest, "v2A": np.ones(2)})
    with pytest.raises(UnsupportedTypeError, match="'v2A' is of type"):
        morpher.transform({**two, **rest, "v2A": np.ones((2, 3))})


def test_ids_may_be_texts(sim: rootml.Dataset, data: rootml.Dataset) -> None:
    before = {name: column[:300] for name, column in events(sim).items()}
    texts = {**before, "event": np.array([f"run{k % 7}-{k}" for k in before["event"]])}
    morpher = small(steps=2, layers=2).fit(sim, data)
    found = morpher.transform(texts)
    table = morpher.transform(pa.table({**texts, "event": pa.array(texts["event"].tolist())}))
    assert np.array_equal(table["v1B"].to_numpy(), found["v1B"])
    back = {name: column[::-1] for name, column in texts.items()}
    assert np.array_equal(morpher.transform(back)["v1B"][::-1], found["v1B"])
    with pytest.raises(UnsupportedTypeError, match="'event' is of type float64"):
        morpher.transform({**before, "event": before["event"] * 0.5})


# --- integers, weights ---------------------------------------------------------------------------


def counted(seed: int, mean: float, tmp_path: Path, name: str, weights: Any = None) -> Any:
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=4000)
    columns = {"x": x, "n": rng.poisson(mean + x), "s": rng.normal(mean, 1, 4000)}
    if weights is not None:
        columns["w"] = weights(rng)
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    weight = None if weights is None else "w"
    return rootml.open(str(tmp_path / f"{name}.parquet"), weight=weight)


def test_integers_stay_integers(tmp_path: Path) -> None:
    sim, data = counted(0, 2, tmp_path, "sim"), counted(1, 4, tmp_path, "data")
    chosen: dict[str, Any] = {"reweight": "none", "steps": 60, "layers": 4, "batch_size": 256}
    morpher = Morpher(["n", "s"], "x", **chosen).fit(sim, data)
    before, target = sim.to_awkward(), data.to_awkward()
    after = morpher.transform(before)
    assert ak.to_numpy(after.n).dtype == np.int64
    tail = [(ak.to_numpy(each.n) >= 6).mean() for each in (before, after, target)]
    assert abs(tail[1] - tail[2]) < 0.03 < tail[2] - tail[0]
    assert abs(ak.mean(after.s) - ak.mean(target.s)) < 0.08


def test_negative_weights_are_carried_through(tmp_path: Path) -> None:
    """Weights +1 and -1 at random, 3 to 1, change nothing but the noise."""

    def signed(rng: Any) -> Any:
        return np.where(rng.uniform(size=4000) < 0.25, -1.0, 1.0)

    sim = counted(0, 2, tmp_path, "sim", signed)
    data = counted(1, 4, tmp_path, "data", signed)
    morpher = Morpher(["n", "s"], "x", reweight="binned", steps=60, layers=2).fit(sim, data)
    after = morpher.transform(sim.to_awkward())
    assert abs(ak.mean(after.s) - 4) < 0.15
    assert abs(ak.mean(after.n) - 4.5) < 0.25


# --- training ------------------------------------------------------------------------------------


def test_seeds_decide_everything(sim: rootml.Dataset, data: rootml.Dataset) -> None:
    before = {name: column[:50] for name, column in events(sim).items()}
    one, same, other = (
        small(steps=10, layers=2, seed=seed).fit(sim, data).transform(before) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(one[name], same[name]) for name in FEATURES)
    assert not np.array_equal(one["v1A"], other["v1A"])


def test_a_training_goes_on_where_it_was_left(
    sim: rootml.Dataset, data: rootml.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rootml.sbi.morphing.flow._training import Trainer

    before = {name: column[:50] for name, column in events(sim).items()}
    expected = small(ensemble=1).fit(sim, data)
    step, calls = Trainer._step, []

    def interrupted(self: Trainer, number: int) -> None:
        calls.append(number)
        if len(calls) == 60:  # within the second member
            raise KeyboardInterrupt
        step(self, number)

    monkeypatch.setattr(Trainer, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small(ensemble=1).fit(sim, data, checkpoint=tmp_path / "c")
    calls.clear()

    def counted_step(self: Trainer, number: int) -> None:
        calls.append(number)
        step(self, number)

    monkeypatch.setattr(Trainer, "_step", counted_step)
    found = small(ensemble=1).fit(sim, data, checkpoint=tmp_path / "c")
    assert min(calls) > 10
    assert found.history == expected.history
    for which in (0, 1):
        ours, theirs = (each.transform(before, which=which) for each in (found, expected))
        assert all(np.array_equal(ours[name], theirs[name]) for name in FEATURES)
    with pytest.raises(StateError, match="checkpoint of another training"):
        small(ensemble=1, seed=5).fit(sim, data, checkpoint=tmp_path / "c")


def test_it_stops_when_it_no_longer_gets_better(sim: rootml.Dataset, data: rootml.Dataset) -> None:
    chosen: Any = {"layers": 2, "steps": 400, "learning_rate": 1e-30, "patience": 2}
    history = small(**chosen).fit(sim, data).history[0]
    steps = [check.step for check in history]
    assert steps[:3] == [20, 40, 60]  # one check, and two without gain
    assert steps[-1] == 160  # five checks to anneal the learning rate


def test_progress_shows_the_loss(
    sim: rootml.Dataset,
    data: rootml.Dataset,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("loss_display", "progress"):  # as on a terminal
        monkeypatch.setattr(f"rootml._internal.{module}.has_bars", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    small(steps=200, layers=2).fit(sim, data, progress=True)
    shown = capsys.readouterr().err
    assert "training 1 of 1" in shown
    assert re.search(r"loss \d", shown)


def test_a_loss_that_is_not_finite_is_an_error(sim: rootml.Dataset, data: rootml.Dataset) -> None:
    from rootml.errors import ConvergenceError

    with pytest.raises(ConvergenceError, match="learning rate 1e\\+30"):
        small(learning_rate=1e30, layers=2).fit(sim, data)


@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_without_numba_and_with_a_flow_of_zukos(
    sim: rootml.Dataset, data: rootml.Dataset, tmp_path: Path, engine: Any
) -> None:
    chosen: dict[str, Any] = {"steps": 10, "layers": 2}
    if engine == "auto":
        zuko = pytest.importorskip("zuko")
        chosen["flow"] = lambda d, c: zuko.flows.NSF(d, c, transforms=1, hidden_features=[16])
    before = {name: column[:200] for name, column in events(sim).items()}
    morpher = small(engine=engine, **chosen).fit(sim, data)
    after = morpher.transform(before)
    assert all(np.isfinite(after[name]).all() for name in FEATURES)
    morpher.save(tmp_path / "m")
    again = Morpher.load(tmp_path / "m", flow=chosen.get("flow"), engine=engine)
    assert all(np.array_equal(again.transform(before)[n], after[n]) for n in FEATURES)
    if "flow" in chosen:
        with pytest.raises(UsageError, match="load it with flow="):
            Morpher.load(tmp_path / "m")
        with pytest.raises(UsageError, match="has no ONNX form"):
            morpher.to_onnx(tmp_path / "m.onnx")


# --- bad input -----------------------------------------------------------------------------------


def test_domains_that_cannot_be_used(sim: rootml.Dataset, data: rootml.Dataset) -> None:
    with pytest.raises(EmptySelectionError, match="the data is empty"):
        small().fit(sim, data.filter("pt < 0"))
    with pytest.raises(UsageError, match="'pt' lies in .* do not overlap"):
        small().fit(sim.filter("pt < 0.5"), data.filter("pt > 1"))
    with pytest.raises(UsageError, match=r"weights of the simulation add up to -6000 \(6,000 of"):
        small().fit(sim.with_weight(-1), data)
    constant = sim.define(same="0 * pt + 3"), data.define(same="0 * pt + 3")
    with pytest.raises(UsageError, match="'same' is constant in the simulation: the value 3"):
        Morpher(["v1A", "same"], CONDITIONS, reweight="none").fit(*constant)
    with pytest.raises(MissingColumnError, match="v1A"):
        Morpher(["v1X"], CONDITIONS, reweight="none").fit(sim, data)


def test_rows_that_are_not_finite_are_left_out(
    sim: rootml.Dataset, data: rootml.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    broken = sim.define(v="noise < 0.1 ? 1 / (0 * v1A) : v1A")
    chosen: Any = {"reweight": "none", "steps": 2, "layers": 2}
    found = Morpher(["v", "v2A"], CONDITIONS, **chosen).fit(broken, data.define(v="v1A"))
    assert "not finite" in repr(found)
    assert "are left out" in caplog.text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"features": []}, "at least one name"),
        ({"conditions": ["v1A"]}, "'v1A' is named twice"),
        ({"id": "v1A"}, "is a feature"),
        ({"layers": 1}, "layers=1"),
        ({"steps": 0}, "steps=0"),
        ({"reweight": "magic"}, "reweight='magic'"),
        ({"engine": "magic"}, "engine='magic'"),
        ({"validation": 1.0}, "validation=1.0"),
        ({"flow": 3}, "flow= is a function"),
        ({"seed": 0.5}, "seed must be an integer"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Morpher(**{"features": FEATURES, "conditions": CONDITIONS, **options})


def test_what_cannot_be_transformed(morpher: Morpher, sim: rootml.Dataset) -> None:
    before = {name: column[:5] for name, column in events(sim).items()}
    with pytest.raises(UnsupportedTypeError, match="cannot transform list"):
        morpher.transform([1, 2])
    with pytest.raises(MissingColumnError, match="no column 'v2B'; nearest: 'v2A'"):
        morpher.transform({n: c for n, c in before.items() if n != "v2B"})
    with pytest.raises(SchemaError, match="different lengths"):
        morpher.transform({**before, "pt": before["pt"][:3]})
    with pytest.raises(UsageError, match="flag='pt'"):
        morpher.transform(before, flag="pt")
    with pytest.raises(UsageError, match="folder="):
        morpher.transform(before, folder="x")
    with pytest.raises(UnsupportedTypeError, match="1 nulls"):
        morpher.transform(pa.table({**before, "pt": [1.0, None, 2.0, 3.0, 4.0]}))
    with pytest.raises(UsageError, match="not fitted"):
        small().transform(before)


# --- keeping -------------------------------------------------------------------------------------


def test_saved_and_loaded_it_is_the_same(
    morpher: Morpher, saved: Path, sim: rootml.Dataset
) -> None:
    again, before = Morpher.load(saved), events(sim)
    for which in ("nominal", "up", 2):
        ours = morpher.transform(before, which=which)
        theirs = again.transform(before, which=which)
        assert all(np.array_equal(ours[name], theirs[name]) for name in FEATURES)
    assert repr(again) == repr(morpher)
    assert again.history == morpher.history
    conditions = np.column_stack([before[name] for name in CONDITIONS])
    ours, theirs = (each.kinematics.weights(conditions) for each in (morpher, again))
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("place", [0, 12, 200, -1, -5000])
def test_a_changed_byte_is_found(saved: Path, place: int) -> None:
    data = bytearray(saved.read_bytes())
    data[place] ^= 1
    saved.write_bytes(data)
    with pytest.raises(CorruptFileError):
        Morpher.load(saved)


@pytest.mark.parametrize("length", [0, 5, 16, 100, 20_000])
def test_a_truncated_file_is_found(saved: Path, length: int) -> None:
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(CorruptFileError):
        Morpher.load(saved)


def test_files_of_others_are_refused(saved: Path, tmp_path: Path) -> None:
    from rootml.sbi.morphing.files._persist import KIND
    from rootml.sbi.morphing.files._save import read_file, write_file

    content, arrays = read_file(saved, KIND)
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({**content, "version": 99}, arrays, "version 99"),
        ({k: v for k, v in content.items() if k != "spec"}, arrays, "not a complete morpher"),
        ({**content, "spec": {**content["spec"], "kept": [[7]] * 4}}, arrays, "damaged"),
        (content, {**arrays, "0.flow.0.w0": arrays["0.flow.0.w0"][:1]}, "do not fit"),
        (content, {**arrays, "0.flow.0.w0": arrays["0.flow.0.w0"] * np.nan}, "NaN or infinite"),
        (content, {**arrays, "0.sim.0.z": arrays["0.sim.0.z"][::-1]}, "do not ascend"),
    ]
    for number, (facts, values, text) in enumerate(cases):
        path = tmp_path / str(number)
        write_file(path, KIND, facts, values)
        with pytest.raises(StateError, match=text):
            Morpher.load(path)
    write_file(tmp_path / "other", "something else", {}, {})
    with pytest.raises(StateError, match="'something else'"):
        Morpher.load(tmp_path / "other")


# --- showing -------------------------------------------------------------------------------------


def test_it_says_what_it_is(morpher: Morpher) -> None:
    assert "not fitted" in repr(small())
    text = repr(morpher)
    for part in ("v1A, v2A", "4 coupling layers, hidden 24 x 24", "3 bootstraps", "6,000 rows"):
        assert part in text
    assert "random numbers by position" in repr(Morpher(FEATURES, CONDITIONS))
    odd = Morpher(["<b>"], ["pt"])
    assert "&lt;b&gt;" in odd._repr_html_()


# --- all at once ---------------------------------------------------------------------------------


def test_lists_integers_signs_repeated_ids_and_single_rows(tmp_path: Path) -> None:
    """Events with no, one or more rows, ids twice, partitions of one event, a band."""
    datasets = {}
    for kind, mean in (("sim", 2.0), ("data", 3.0)):
        rng = np.random.default_rng([5, kind == "data"])
        counts = rng.integers(0, 4, 3000)
        rows = int(counts.sum())
        pt, n = rng.exponential(size=rows).astype("f4"), rng.poisson(mean, rows).astype("i2")
        x = (mean + rng.normal(size=rows)).astype("f4")
        columns = {
            name: ak.unflatten(each, counts) for name, each in (("pt", pt), ("n", n), ("x", x))
        }
        weight = np.where(rng.uniform(size=3000) < 0.1, -1.0, 1.0)
        array = ak.Array({**columns, "w": weight, "event": np.arange(3000) // 2})
        path = tmp_path / f"{kind}.parquet"
        ak.to_parquet(array[:20], path, row_group_size=1)
        datasets[kind, "few"] = rootml.open(str(path), weight="w")
        ak.to_parquet(array, tmp_path / f"{kind}_all.parquet")
        datasets[kind, "all"] = rootml.open(str(tmp_path / f"{kind}_all.parquet"), weight="w")
    chosen: Any = {"layers": 2, "steps": 30, "batch_size": 256, "ensemble": 2, "id": "event"}
    morpher = Morpher(["n", "x"], "pt", **chosen)
    morpher.fit(datasets["sim", "all"], datasets["data", "all"], progress=False)
    events_ = datasets["sim", "few"].to_awkward()
    for which in ("nominal", "up", "down"):
        after = morpher.transform(events_, which=which, flag="ok")
        n = ak.to_numpy(ak.flatten(after.n))
        assert n.dtype == np.int16
        assert (n >= 0).all()
        assert ak.num(after.x).tolist() == ak.num(events_.x).tolist()
        assert np.isfinite(ak.to_numpy(ak.flatten(after.x))).all()
    nominal = morpher.transform(events_)
    done = morpher.apply(datasets["sim", "few"], tmp_path / "corr", progress=False)
    friend = rootml.open(done.paths[0]).to_awkward()
    assert friend.n_corr.tolist() == nominal.n.tolist()
    np.testing.assert_allclose(
        ak.to_numpy(ak.flatten(friend.x_corr)), ak.to_numpy(ak.flatten(nominal.x)), rtol=1e-6
    )
    assert ak.all(friend.x_corr_up >= friend.x_corr)
    assert ak.all(friend.x_corr_down <= friend.x_corr)
