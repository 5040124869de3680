"""Toys and impacts in processes and on Dask: the same bits as here, also when workers die."""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest
import sbi_problems
import sbi_workers
from sbi_problems import SignalBackground

from rootml import sbi
from rootml.errors import ClusterError, StateError, UsageError
from rootml.execution import _dask

DASK: Any = distributed
FIELDS = ("values", "errors", "nll", "conditional", "valid", "events")


@pytest.fixture(scope="module")
def both() -> sbi.CombinedLikelihood:
    """Two channels that share a strength, a shape and its auxiliary measurement; one has bins."""
    ee, mm = SignalBackground(150.0), SignalBackground(250.0)
    rng = np.random.default_rng(4)
    parts = {
        name: each.model().likelihood(each.columns(each.draw(rng)), reference=each.reference(600))
        for name, each in (("ee", ee), ("mm", mm))
    }
    return sbi.CombinedLikelihood(parts)


def same(one: sbi.ToyResults, other: sbi.ToyResults) -> None:
    """To the last bit, whole toys, each once."""
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), field)
    assert one.effective == other.effective


def lines(folder: Path, what: str = "toys") -> list[dict[str, Any]]:
    """Finished rows in a folder."""
    files = sorted(folder.rglob(f"{what}-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


# --- the same everywhere -------------------------------------------------------------------------


def test_toys_of_a_combination(both: sbi.CombinedLikelihood, client: Any, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"seed": 1, "truth": {"mu": 1.3}, "tests": [{"mu": 1.0}]}
    here = sbi.toys(both, number=12, **arguments)
    assert here.valid.all()
    same(here, sbi.toys(both, number=12, client=client, **arguments))
    part = sbi.toys(both, number=5, workers=2, folder=tmp_path, **arguments)
    np.testing.assert_array_equal(part.values, here.values[:5])
    same(here, sbi.toys(both, number=12, client=client, folder=tmp_path, **arguments))
    assert sorted(row["toy"] for row in lines(tmp_path)) == list(range(12))
    with pytest.raises(StateError, match="another truth"):
        sbi.toys(both, number=12, folder=tmp_path, **arguments | {"truth": {"mu": 1.2}})


def test_neyman_of_a_combination(
    both: sbi.CombinedLikelihood, client: Any, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"values": [0.5, 1.0, 1.5], "number": 8, "seed": 2}
    here = sbi.neyman(both, "mu", **arguments)
    there = sbi.neyman(both, "mu", client=client, folder=tmp_path, **arguments)
    np.testing.assert_array_equal(here.critical, there.critical)
    np.testing.assert_array_equal(here.t, there.t)
    assert len(lines(tmp_path)) == 24
    again = sbi.neyman(both, "mu", folder=tmp_path, **arguments)
    np.testing.assert_array_equal(here.critical, again.critical)
    assert len(lines(tmp_path)) == 24


def test_limits_of_a_combination(both: sbi.CombinedLikelihood, client: Any) -> None:
    arguments: dict[str, Any] = {"values": [0.6, 1.4, 2.5], "number": 15, "seed": 3}
    here = sbi.limit_by_toys(both, "mu", **arguments)
    there = sbi.limit_by_toys(both, "mu", client=client, **arguments)
    assert here.observed == there.observed
    for name, curve in here.curves.items():
        np.testing.assert_array_equal(curve, there.curves[name])


def test_goodness_of_fit_of_a_combination(
    both: sbi.CombinedLikelihood, client: Any, tmp_path: Path
) -> None:
    """Counts of the parts side by side; the measurement that they share counts once."""
    result = sbi.fit(both)
    here = sbi.goodness_of_fit(result, bins=6, toys=10, seed=5)
    assert len(here.observed) == 12
    assert here.degrees == 12 + 1 - 2
    assert here.observed.sum() == sum(like.columns.num_events for like in both.parts.values())  # type: ignore[attr-defined]
    n, e = here.observed, here.expected
    pull = result.values["jes"]
    by_hand = 2 * (e - n + n * np.log(n / e)).sum() + pull**2
    assert here.deviance == pytest.approx(by_hand, rel=1e-12)
    there = sbi.goodness_of_fit(result, bins=6, toys=10, seed=5, client=client, folder=tmp_path)
    np.testing.assert_array_equal(here.toys, there.toys)
    with pytest.raises(StateError, match="another bins: 6, not 7"):
        sbi.goodness_of_fit(result, bins=7, toys=10, seed=5, folder=tmp_path)


def test_impacts_of_a_combination(
    both: sbi.CombinedLikelihood, client: Any, tmp_path: Path
) -> None:
    here = sbi.impacts(both, "mu")
    there = sbi.impacts(both, "mu", client=client, folder=tmp_path)
    assert [row.nuisance for row in here.rows] == ["jes"]
    assert here.rows == there.rows
    assert lines(tmp_path, "impacts")[0]["up"] == here.rows[0].up
    assert sbi.impacts(both, "mu", folder=tmp_path).rows == here.rows
    with pytest.raises(StateError, match="impacts of another parameter"):
        sbi.impacts(both, "jes", folder=tmp_path)


def test_linear_impacts_are_those_of_the_covariance() -> None:
    problem, rng = SignalBackground(), np.random.default_rng(1)
    result = sbi.fit(problem.likelihood(problem.draw(rng)))
    (row,) = sbi.impacts(result, "mu", method="linear").rows
    (refit,) = sbi.impacts(result, "mu").rows
    rho = result.correlation[0, 1]
    assert row.up == pytest.approx(rho * result.errors["mu"], rel=1e-12)
    assert row.down == -row.up
    assert row.up == pytest.approx(refit.up, abs=0.1 * result.errors["mu"])
    with pytest.raises(UsageError, match="method='quadratic'"):
        sbi.impacts(result, "mu", method="quadratic")  # type: ignore[arg-type]


def test_a_fit_from_another_process_can_be_used(both: sbi.CombinedLikelihood, client: Any) -> None:
    here, there = sbi.fit(both), client.submit(sbi.fit, both).result()
    assert here.values == pytest.approx(there.values, abs=1e-9)
    assert there.minos("mu") == pytest.approx(here.minos("mu"), abs=1e-6)
    assert there.at_minimum().valid


# --- workers that die ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_a_worker_that_dies(
    kind: str, problem: SignalBackground, client: Any, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"number": 10, "seed": 3, "truth": {"mu": 1.1, "jes": 0.2}}
    model, reference = problem.model(), problem.reference(600)
    here = sbi.toys(model, reference, generator=sbi_problems.draw_toy, **arguments)
    where: dict[str, Any] = {"workers": 2} if kind == "processes" else {"client": client}
    generator = sbi_workers.KillOnce(tmp_path, os.getpid())
    folder = tmp_path / "toys"
    there = sbi.toys(
        model, reference, generator=generator, folder=folder, **arguments, **where
    )  # fmt: skip
    assert (tmp_path / "killed").exists()
    same(here, there)
    assert sorted(row["toy"] for row in lines(folder)) == list(range(10))


@pytest.mark.long
def test_workers_that_always_die(problem: SignalBackground) -> None:
    generator = sbi_workers.KillAlways(os.getpid())
    arguments: dict[str, Any] = {"number": 2, "seed": 3, "truth": {"mu": 1.0, "jes": 0.0}}
    with pytest.raises(ClusterError, match=r"toys [01]: 3 processes died .* by SIGKILL"):
        sbi.toys(problem.model(), generator=generator, workers=2, **arguments)


def test_a_toy_that_fails_leaves_the_others(
    problem: SignalBackground, client: Any, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {
        "number": 30, "seed": 3, "truth": {"mu": 1.0, "jes": 0.0},
        "generator": "sbi_workers:failing", "folder": tmp_path,
    }  # fmt: skip
    text = (
        rf"toys \d+: .*ArithmeticError: no events today.* toys are finished and kept in {tmp_path}"
    )
    with pytest.raises(ClusterError, match=text):
        sbi.toys(problem.model(), problem.reference(600), client=client, **arguments)
    done = len(lines(tmp_path))
    assert 0 < done < 30
    with pytest.raises(ArithmeticError):  # here, it is the user's own
        sbi.toys(problem.model(), problem.reference(600), **arguments)
    assert len(lines(tmp_path)) == done


def test_clients_that_cannot_work(
    problem: SignalBackground, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {"number": 3, "seed": 3}
    model, reference = problem.model(), problem.reference(2000)
    with DASK.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        with DASK.Client(cluster, set_as_default=False) as client:
            with pytest.raises(UsageError, match=r"client= and workers=2 both say"):
                sbi.toys(model, reference, client=client, workers=2, **arguments)
            cluster.scale(0)
            while client.nthreads():
                time.sleep(0.05)
            monkeypatch.setattr(_dask, "_LOOK_SECONDS", 0.1)
            monkeypatch.setattr(_dask, "_ALONE_SECONDS", 0.5)
            with pytest.raises(ClusterError, match=r"has had no workers .*; 0 toys are finished"):
                sbi.toys(model, reference, client=client, **arguments)
        with pytest.raises(ClusterError, match="toys: on the Dask cluster: the client is closed"):
            sbi.toys(model, reference, client=client, **arguments)
    with pytest.raises(UsageError, match="toys takes a distributed.Client"):
        sbi.toys(model, reference, client="tcp://scheduler:8786", **arguments)


# --- folders -------------------------------------------------------------------------------------

COUNT = sbi.Model({"S": "mu * 100"}, {"mu": sbi.Parameter(1.0, lower=0.0)})


def test_folders_that_hold_something_else(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"number": 3, "seed": 1, "folder": tmp_path}
    sbi.toys(COUNT, {"S": np.ones(200)}, **arguments)
    (file,) = tmp_path.glob("toys-*.jsonl")
    whole = file.read_text()
    file.write_text(whole.replace("{", "[", 1))
    with pytest.raises(StateError, match="line 1 is damaged"):
        sbi.toys(COUNT, {"S": np.ones(200)}, **arguments)
    file.write_text(whole)
    header = tmp_path / "toys.json"
    header.write_text("not JSON")
    with pytest.raises(StateError, match=r"toys.json cannot be read as the header of toys"):
        sbi.toys(COUNT, {"S": np.ones(200)}, **arguments)
    header.unlink()
    with pytest.raises(StateError, match=r"toys.json is gone"):
        sbi.toys(COUNT, {"S": np.ones(200)}, **arguments)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UsageError, match=r"file/toys.json cannot be written"):
        sbi.toys(COUNT, {"S": np.ones(200)}, **arguments | {"folder": blocked})


def test_a_full_disk_leaves_what_is_finished(tmp_path: Path) -> None:
    """The system refuses to write on: whole toys stay, and the next call goes on with them."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))  # no file may be larger
    try:
        with pytest.raises(UsageError, match="cannot be written: File too large") as caught:
            sbi.toys(COUNT, {"S": np.ones(200)}, number=60, seed=1, folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (file,) = tmp_path.glob("toys-*.jsonl")
    kept = file.read_bytes().count(b"\n")
    assert f"{kept} toys are finished and stay there" in str(caught.value)
    assert 0 < kept < 60
    again = sbi.toys(COUNT, {"S": np.ones(200)}, number=60, seed=1, folder=tmp_path)
    same(again, sbi.toys(COUNT, {"S": np.ones(200)}, number=60, seed=1))
