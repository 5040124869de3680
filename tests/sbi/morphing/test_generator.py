"""Draws and densities beside a truth that is known in closed form."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from morphing_truth import BOUNDS, CONDITIONS, FEATURES, draw, log_density
from scipy import stats

import rootml
from rootml.errors import CorruptFileError, SchemaError, StateError, UsageError
from rootml.sbi.morphing import Generator
from rootml.sbi.morphing.preprocessing._density import table_slopes
from rootml.sbi.morphing.preprocessing._preprocess_fit import gaussianiser

pytest.importorskip("torch")
ROWS = 30_000


def dataset(path: Path, columns: dict[str, Any]) -> rootml.Dataset:
    pyarrow.parquet.write_table(pa.table(columns), path)
    return rootml.open(str(path))


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    """Of few events, trained briefly."""
    folder = tmp_path_factory.mktemp("generator")
    sample = dataset(folder / "sample.parquet", draw(ROWS, np.random.default_rng(1)))
    made = Generator(FEATURES, CONDITIONS, bounds=BOUNDS, steps=300, hidden=(32, 32))
    return made.fit(sample, progress=False)


@pytest.fixture
def truth() -> dict[str, Any]:
    """Fresh events."""
    return dict(draw(20_000, np.random.default_rng(2)))


def judged(generator: Generator, truth: dict[str, Any]) -> tuple[float, float]:
    """The mean of ``log p - log q`` over the truth's events, and its error."""
    found = generator.log_prob(truth)
    known = ~np.isnan(found)
    assert known.mean() > 0.999
    assert np.isfinite(found[known]).all()
    lost = (log_density(truth) - found)[known]
    return float(lost.mean()), float(lost.std() / np.sqrt(known.sum()))


def test_draws_are_those_of_the_truth(generator: Generator, truth: dict[str, Any]) -> None:
    drawn = generator.sample({name: truth[name] for name in CONDITIONS})
    good = drawn["drawn"]
    assert good.mean() > 0.999
    for name in FEATURES:
        ours, theirs = drawn[name][good], truth[name]
        for atom in (0, -1) if name in "ib" else ():
            share = (theirs == atom).mean()
            assert abs((ours == atom).mean() - share) < 0.02, (name, atom)
        assert stats.ks_2samp(ours, theirs).statistic < 0.03, name
    assert np.array_equal(drawn["n"][good], np.rint(drawn["n"][good]))
    tag = drawn["b"][good]
    assert (((tag >= 0) & (tag <= 1)) | (tag == -1)).all()
    assert ((drawn["f"][good] >= 0) & (drawn["f"][good] <= 1)).all()
    # what depends on what
    for one, other in (("a", "c"), ("b", "t"), ("n", "f"), ("a", "i")):
        ours, theirs = (
            np.corrcoef(each[one][good], each[other][good])[0, 1] for each in (drawn, truth)
        )
        assert abs(ours - theirs) < 0.06, (one, other)


def test_the_density_is_that_of_the_truth(generator: Generator, truth: dict[str, Any]) -> None:
    lost, error = judged(generator, truth)
    assert -3 * error < lost < 0.12


def test_the_density_adds_up_to_one(tmp_path: Path) -> None:
    """Over an integer and a feature with an atom: sums and an integral on a grid."""
    rng = np.random.default_rng(3)
    c = rng.uniform(size=ROWS)
    n = rng.binomial(3, 0.2 + 0.5 * c)
    x = np.where(rng.uniform(size=ROWS) < 0.3, 0.0, 1 + rng.beta(2, 2, ROWS) + n)
    sample = dataset(tmp_path / "s.parquet", {"c": c, "n": n, "x": x})
    made = Generator(["n", "x"], ["c"], bounds={"x": (0, 5)}, layers=2, steps=100)
    made.fit(sample, progress=False)
    grid = np.linspace(0, 5, 4001)[1:] - 5 / 8000
    total = 0.0
    for count in range(4):
        given = {"n": np.full(len(grid), count), "c": np.full(len(grid), 0.4)}
        density = np.exp(made.log_prob({**given, "x": grid}))
        atom = {"n": np.array([count]), "c": np.array([0.4]), "x": np.array([0.0])}
        total += density.sum() * 5 / 4000 + np.exp(made.log_prob(atom, points=256))[0]
    assert total == pytest.approx(1.0, abs=0.03)
    outside = {"n": np.array([7, 1]), "c": np.array([0.4, 0.4]), "x": np.array([1.5, 6.0])}
    assert (made.log_prob(outside) == -np.inf).all()


def test_slopes_of_a_table_are_its_derivative() -> None:
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.normal(-5, 0.5, 5000), rng.normal(5, 1, 5000), np.zeros(500)])
    table = gaussianiser(x[:, None], np.ones(len(x)), ["x"], domain="data").tables[0]
    at = np.concatenate([rng.normal(-5, 0.5, 500), rng.normal(5, 1, 500), [-9.0, 12.0]])
    step = 1e-7
    half = np.full(len(at), 0.5)
    numeric = (table.forward(at + step, half) - table.forward(at - step, half)) / (2 * step)
    inner = ~np.isin(np.round(at, 6), np.round(table.x, 6))
    np.testing.assert_allclose(table_slopes(table, at)[inner], numeric[inner], rtol=1e-4)
    assert table_slopes(table, np.array([-1.5]))[0] == 0  # between the parts


def test_random_numbers_follow_the_event(generator: Generator, tmp_path: Path) -> None:
    same = {"c": np.full(400, 0.3), "d": np.full(400, 0.5)}
    first = generator.sample(same, seed=1)
    assert len(np.unique(first["a"])) == 400  # equal conditions, independent events
    assert abs(stats.pearsonr(first["a"][:-1], first["a"][1:]).statistic) < 0.2
    ids = np.arange(400)
    by_id = generator.sample(same, seed=1, ids=ids)
    order = np.random.default_rng(0).permutation(400)
    mixed = generator.sample(same, seed=1, ids=ids[order])
    for name in FEATURES:
        assert np.array_equal(mixed[name], by_id[name][order])
    other = generator.sample(same, seed=2, ids=ids)
    assert abs(stats.pearsonr(other["a"], by_id["a"]).statistic) < 0.2
    with pytest.raises(SchemaError, match="3 ids for 400 events"):
        generator.sample(same, ids=[1, 2, 3])
    with pytest.raises(UsageError, match="one integer each"):
        generator.sample(same, ids=np.zeros(400))


def test_lists_datasets_and_files(generator: Generator, tmp_path: Path) -> None:
    counts = np.array([2, 0, 3])
    lists = ak.Array({"c": ak.unflatten(np.linspace(0, 1, 5), counts), "d": [0.1, 0.2, 0.3]})
    drawn = generator.sample(lists)
    assert ak.num(drawn.a).tolist() == counts.tolist()
    columns = {"c": np.append(np.linspace(-1, 1, 200), 99.0), "d": np.full(201, 0.5)}
    done = generator.apply(
        dataset(tmp_path / "e.parquet", columns), tmp_path / "out", seed=4, progress=False
    )
    assert (done.rows, done.unknown) == (201, 1)
    assert "not drawn  1" in repr(done)
    friend = rootml.open(done.paths[0]).to_awkward()
    assert friend["drawn_gen"].tolist() == [True] * 200 + [False]
    assert np.isnan(friend["a_gen"][-1])
    assert np.isfinite(friend["a_gen"][:-1].to_numpy()).all()


def test_unknown_conditions_are_told(
    generator: Generator, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"c": np.array([0.0, np.nan, 50.0]), "d": np.full(3, 0.5)}
    with caplog.at_level(logging.WARNING):
        drawn = generator.sample(given)
    assert drawn["drawn"].tolist() == [True, False, False]
    assert np.isnan(drawn["a"][1:]).all()
    assert "nothing is drawn for 2 of 3 rows" in caplog.text


def test_saved_and_as_onnx(generator: Generator, tmp_path: Path) -> None:
    given = {"c": np.random.default_rng(5).normal(size=300).clip(-2, 2), "d": np.full(300, 0.4)}
    generator.save(tmp_path / "g")
    again = Generator.load(tmp_path / "g")
    ours, theirs = (each.sample(given, seed=7) for each in (generator, again))
    assert all(np.array_equal(ours[name], theirs[name]) for name in FEATURES)
    assert repr(again) == repr(generator)
    numpy = Generator.load(tmp_path / "g", engine="numpy").sample(given, seed=7)
    np.testing.assert_allclose(numpy["a"], ours["a"], atol=1e-3)
    from rootml.sbi.morphing import Morpher

    with pytest.raises(StateError, match="'rootml generator'"):
        Morpher.load(tmp_path / "g")
    data = bytearray((tmp_path / "g").read_bytes())
    data[300] ^= 1
    (tmp_path / "g").write_bytes(data)
    with pytest.raises(CorruptFileError):
        Generator.load(tmp_path / "g")
    runtime, _ = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    generator.to_onnx(tmp_path / "g.onnx")
    session = runtime.InferenceSession(str(tmp_path / "g.onnx"))
    u = np.random.default_rng(6).uniform(size=(301, len(FEATURES)))
    conditions = np.column_stack([np.append(given["c"], 99.0), np.append(given["d"], 0.4)])
    made, drawn = session.run(["features", "drawn"], {"conditions": conditions, "draws": u})
    assert drawn.tolist() == [True] * 300 + [False]
    assert np.isnan(made[-1]).all()
    expected = generator._model.from_uniforms(u[:-1], conditions[:-1])
    close = np.isclose(made[:-1], expected, atol=2e-3)
    assert close.mean() > 0.995  # at the edge of an atom the last bits decide


def test_it_says_what_it_is(generator: Generator) -> None:
    assert "not fitted" in repr(Generator(FEATURES, CONDITIONS))
    assert "30,000 rows" in repr(generator)
    assert "Generator" in generator._repr_html_()
    with pytest.raises(UsageError, match="this Generator is not fitted"):
        Generator(FEATURES, CONDITIONS).sample({"c": [0.0], "d": [0.0]})


@pytest.mark.slow
def test_two_hundred_thousand_events(tmp_path: Path) -> None:
    """The density is lost by 0.02 at most, and trees hardly tell draws from the truth."""
    from rootml.sbi.morphing.validation._two_sample import two_sample

    sample = dataset(tmp_path / "s.parquet", draw(200_000, np.random.default_rng(11)))
    made = Generator(FEATURES, CONDITIONS, bounds=BOUNDS).fit(sample, progress=False)
    truth = draw(100_000, np.random.default_rng(12))
    lost, error = judged(made, truth)
    assert -3 * error < lost < 0.02
    drawn = made.sample({name: truth[name] for name in CONDITIONS})
    good = drawn["drawn"]
    fresh = draw(100_000, np.random.default_rng(13), {name: truth[name] for name in CONDITIONS})
    names = (*FEATURES, *CONDITIONS)
    a, b, c = (np.column_stack([x[n][good] for n in names]) for x in (truth, drawn, fresh))
    areas = [two_sample(a, each, kind="trees").auc for each in (b, c)]
    assert areas[0] < areas[1] + 0.01
