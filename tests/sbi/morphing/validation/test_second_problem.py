"""Photons, a problem unlike the paper's toy: is anything tuned to the latter?

Lists of photons per event with an event's own condition, signed weights, a whole number, a gap
below a threshold, bounded features, correlations that depend on a condition; see the tutorials.
The morpher has its default shape; what is asked is what it reached with twice as many events.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import awkward as ak
import numpy as np
import pytest

import rootml
from rootml.sbi.morphing import Morpher, Report

TUTORIALS = Path(__file__).parents[4] / "tutorials"


@pytest.fixture(scope="module")
def photons() -> ModuleType:
    """The tutorial's module of this name."""
    spec = importlib.util.spec_from_file_location("photons", TUTORIALS / "photons.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_data_and_simulation_differ_as_they_say(photons: ModuleType) -> None:
    """A guard of the test below: the correlations do depend on eta, and differ."""
    found = {}
    for kind in ("data", "sim"):
        one = photons.simulate(kind, 40_000, seed=1)["Photon"]
        eta = np.abs(ak.to_numpy(ak.flatten(one.eta)))
        pair = ak.to_numpy(ak.flatten(one.r9)), ak.to_numpy(ak.flatten(one.mva))
        for name, inside in (("centre", eta < 0.5), ("forward", eta > 2)):
            found[kind, name] = np.corrcoef(pair[0][inside], pair[1][inside])[0, 1]
        iso = ak.to_numpy(ak.flatten(one.iso))
        found[kind, "threshold"] = iso[iso > 0].min()
    assert found["data", "centre"] > found["data", "forward"] + 0.2
    assert found["sim", "centre"] < found["sim", "forward"]
    assert found["sim", "threshold"] < found["data", "threshold"] - 0.05


@pytest.mark.slow
def test_photons_close(photons: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("xgboost")
    photons.make_files(tmp_path, 30_000)
    sim = rootml.open(f"{tmp_path}/sim.root:Events", weight="genWeight")
    data = rootml.open(f"{tmp_path}/data.root:Events")
    (sim_fit, sim_test), (data_fit, data_test) = (
        sample.split(test=0.4, by="event") for sample in (sim, data)
    )
    morpher = Morpher(photons.FEATURES, photons.CONDITIONS, id="event", steps=2000)
    report: Report = morpher.fit(sim_fit, data_fit).validate(sim_test, data_test)
    assert report.before.classifier.auc > 0.66
    assert report.after.classifier.auc < 0.54
    assert report.before.worst_chi_square > 20
    assert report.after.worst_chi_square < 5
    assert report.before.features[2].leakage > 0.02
    # but for the few that pass unchanged, nothing lies where data cannot
    unchanged = sum("passed unchanged" in note for note in report.notes)
    assert report.after.features[2].leakage <= (0.001 if unchanged else 0)
    assert report.after.features[3].leakage == 0  # whole numbers
    assert report.before.fpd.value > 10 * report.before.fpd.error
    assert report.after.fpd.value < 4 * report.after.fpd.error  # compatible with none
    assert report.after.correlation_differences.max() < 0.6 * (
        report.before.correlation_differences.max()
    )
