"""Conditions with a sentinel, or that one domain covers further than the other; devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from scipy import stats

import rootml
from rootml.errors import UsageError
from rootml.sbi.morphing import Generator, Morpher

pytest.importorskip("torch")
ROWS = 8_000
QUICK: dict[str, Any] = {"layers": 2, "hidden": (24, 24), "steps": 150, "batch_size": 256}


def dataset(path: Path, columns: dict[str, Any]) -> rootml.Dataset:
    """The columns in a file."""
    pyarrow.parquet.write_table(pa.table(columns), path)
    return rootml.open(str(path))


def with_sentinel(seed: int, data: int) -> dict[str, Any]:
    """In a tenth of the events the condition is unknown, -999; there, x moves the other way."""
    rng = np.random.default_rng([seed, data])
    c = rng.normal(size=ROWS)
    c[rng.random(ROWS) < 0.1] = -999
    x = rng.normal(size=ROWS) + data * np.where(c == -999, -1.0, 1.0 + 0.5 * c)
    return {"c": c, "x": x}


def test_a_sentinel_in_a_condition_is_a_condition_of_its_own(tmp_path: Path) -> None:
    sim, data = (dataset(tmp_path / f"{k}.parquet", with_sentinel(3, k)) for k in (0, 1))
    morpher = Morpher(["x"], ["c"], reweight="none", **QUICK).fit(sim, data, progress=False)
    new, truth = with_sentinel(4, 0), with_sentinel(5, 1)
    found = morpher.transform(new, flag="ok")
    missing = new["c"] == -999
    assert found["ok"][missing].all()
    assert (found["c"] == new["c"]).all()
    other = truth["x"][truth["c"] == -999]
    assert stats.ks_2samp(found["x"][missing], other).pvalue > 1e-3
    for low, high in ((-1, 0), (0, 1)):  # the sentinel does not blur the others
        mine, true = ((e["c"] > low) & (e["c"] < high) for e in (new, truth))
        assert found["x"][mine].mean() == pytest.approx(truth["x"][true].mean(), abs=0.12)


def test_a_sentinel_of_one_domain_passes_unchanged(tmp_path: Path) -> None:
    """The data know the condition of every event."""
    sim, data = with_sentinel(6, 0), with_sentinel(7, 1)
    data = {name: values[data["c"] > -999] for name, values in data.items()}
    files = (dataset(tmp_path / f"{k}.parquet", each) for k, each in enumerate((sim, data)))
    morpher = Morpher(["x"], ["c"], reweight="none", **QUICK).fit(*files, progress=False)
    assert morpher.ranges["c"][0] > -10
    found = morpher.transform(sim, flag="ok")
    missing = sim["c"] == -999
    assert not found["ok"][missing].any()
    np.testing.assert_array_equal(found["x"][missing], sim["x"][missing])


def test_rows_beyond_a_one_sided_overlap_pass_unchanged(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    sim = {"c": rng.uniform(0, 10, ROWS), "x": rng.normal(size=ROWS)}
    data = {"c": rng.uniform(0, 4, ROWS), "x": rng.normal(1, 1, ROWS)}
    files = [dataset(tmp_path / f"{k}.parquet", each) for k, each in enumerate((sim, data))]
    morpher = Morpher(["x"], ["c"], reweight="binned", **QUICK).fit(*files, progress=False)
    assert morpher.ranges["c"] == pytest.approx((0, 4), abs=0.01)
    done = morpher.apply(files[0], tmp_path / "friends", progress=False)
    low, high = morpher.ranges["c"]
    beyond = int(((sim["c"] < low) | (sim["c"] > high)).sum())
    assert f"{beyond:,}" in str(done)
    found = morpher.transform(sim, flag="ok")
    assert int((~found["ok"]).sum()) >= beyond
    np.testing.assert_array_equal(found["x"][~found["ok"]], sim["x"][~found["ok"]])


# --- devices ----------------------------------------------------------------------------------


def test_on_a_device_the_training_and_the_map_are_the_same(tmp_path: Path) -> None:
    """The CPU as a device of torch, beside NumPy and torch's operations."""
    sim, data = (dataset(tmp_path / f"{k}.parquet", with_sentinel(9, k)) for k in (0, 1))
    options = {**QUICK, "steps": 20, "reweight": "none"}
    here = Morpher(["x"], ["c"], engine="numpy", **options).fit(sim, data, progress=False)
    there = Morpher(["x"], ["c"], device="cpu", **options).fit(sim, data, progress=False)
    assert here.history == there.history
    new = with_sentinel(10, 0)
    expected = here.transform(new)["x"]
    np.testing.assert_allclose(there.transform(new)["x"], expected, atol=1e-3)
    there.save(tmp_path / "morph")
    again = Morpher.load(tmp_path / "morph", device="cpu")
    np.testing.assert_array_equal(again.transform(new)["x"], there.transform(new)["x"])


def test_a_generator_on_a_device_draws_the_same(tmp_path: Path) -> None:
    events = with_sentinel(11, 1)
    sample = dataset(tmp_path / "sample.parquet", events)
    Generator(["x"], ["c"], **{**QUICK, "steps": 20}).fit(sample, progress=False).save(
        tmp_path / "generator"
    )
    here, there = (
        Generator.load(tmp_path / "generator", device=device) for device in (None, "cpu")
    )
    assert here.history == there.history
    pair = [each.sample(events, seed=1)["x"] for each in (here, there)]
    np.testing.assert_allclose(pair[0], pair[1], atol=1e-3)
    pair = [each.log_prob(events) for each in (here, there)]
    np.testing.assert_allclose(pair[0], pair[1], atol=1e-3)


@pytest.mark.parametrize("device", ["warp", "cuda:99", 7.5])
def test_a_device_that_is_not_there_is_named(device: Any) -> None:
    with pytest.raises(UsageError, match=f"device={device!r}: torch cannot use it here"):
        Morpher(["x"], ["c"], device=device)


def test_only_datasets_are_learned_from() -> None:
    """`transform` takes arrays, so one tries."""
    arrays = {"x": np.ones(3), "c": np.ones(3)}
    with pytest.raises(UsageError, match=r"simulation must be a Dataset, .* not a dict"):
        Morpher(["x"], ["c"]).fit(arrays, arrays)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="sample must be a Dataset"):
        Generator(["x"], ["c"]).fit(arrays)  # type: ignore[arg-type]
