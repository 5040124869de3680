"""A workspace of pyhf with every kind of modifier."""

from __future__ import annotations

from typing import Any

from rootml.sbi.likelihood._binned import example_workspace


def every_modifier(*, shape: str = "shape", lumi: float = 1.0) -> dict[str, Any]:
    """Two channels; a bin without an uncertainty; `shape` moves contents, `lumi` was measured."""
    workspace = example_workspace()
    background = {
        "name": "background",
        "data": [100.0, 80.0, 60.0],
        "modifiers": [
            {"name": "bkg_norm", "type": "normsys", "data": {"hi": 1.05, "lo": 0.93}},
            {"name": shape, "type": "histosys",
             "data": {"hi_data": [110.0, 82.0, 55.0], "lo_data": [93.0, 77.0, 66.0]}},
            {"name": "lumi", "type": "lumi", "data": None},
            {"name": "stat", "type": "shapesys", "data": [10.0, 0.0, 5.0]},
        ],
    }  # fmt: skip
    other = {
        "name": "other",
        "data": [10.0, 20.0, 5.0],
        "modifiers": [
            {"name": "free", "type": "shapefactor", "data": None},
            {"name": shape, "type": "normsys", "data": {"hi": 1.2, "lo": 0.9}},
            {"name": "mc2", "type": "staterror", "data": [1.0, 3.0, 0.5]},
        ],
    }
    workspace["channels"].append({"name": "control", "samples": [background, other]})
    workspace["observations"].append({"name": "control", "data": [115.0, 99.0, 70.0]})
    workspace["measurements"][0]["config"]["parameters"] = [
        {"name": "lumi", "auxdata": [lumi], "sigmas": [0.02], "inits": [1.0],
         "bounds": [[0.5, 1.5]]},
    ]  # fmt: skip
    return workspace
