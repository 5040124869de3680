"""Rows of one event share its conditions: they stay on one side of every division."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest
from morphing_known import Known

from rootml.sbi.morphing.inference._rows import Names, Rows
from rootml.sbi.morphing.reweighting._reweight import fit_kinematics
from rootml.sbi.morphing.validation._validate import validate_correction
from rootml.sbi.morphing.validation._validate_compare import Options

EVENTS, ROWS = 1500, 4  # four jets of each event, with one number per event as condition


class Unchanged(Known):
    """Leaves values and weights as they are."""

    def weights(self, conditions: Any) -> Any:
        return np.ones(len(conditions))


def events(seed: int, first: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    jets = ak.unflatten(rng.normal(size=EVENTS * ROWS), np.full(EVENTS, ROWS))
    return {"event": np.arange(first, first + EVENTS), "c": rng.uniform(0, 4, EVENTS), "x": jets}


def test_equal_samples_of_lists_are_not_told_apart() -> None:
    """Who has seen one jet of an event knows, by c, in which sample the others are."""
    sim, data = events(1, 0), events(2, EVENTS)
    report = validate_correction(
        Unchanged(Names(("x",), ("c",), ("event",)), limit=-1.0),
        sim,
        data,
        max_rows=10_000,
        options=Options(classifier="trees", slices=2),
    )
    assert report.conditions_only is not None
    for name, test in (
        ("conditions", report.conditions_only),
        ("before", report.before.classifier),
        ("floor", report.floor.classifier),
    ):
        # rows of an event are not independent: errors are up to twice those printed
        assert abs(test.auc - 0.5) < 4 * 2 * test.error, name
        assert abs(test.auc - 0.5) < 0.04, name


@pytest.mark.parametrize("method", ["network", "boosted"])
def test_reweighting_of_equal_lists_has_nothing_to_do(method: Any) -> None:
    pytest.importorskip({"network": "torch", "boosted": "xgboost"}[method])

    def rows(seed: int) -> Rows:
        c = np.repeat(np.random.default_rng(seed).uniform(0, 4, (EVENTS, 1)), ROWS, axis=0)
        keys = np.arange(seed * len(c), (seed + 1) * len(c), dtype=np.uint64)
        return Rows(np.zeros_like(c), c, np.ones(len(c)), keys, keys // ROWS)

    closure = fit_kinematics(rows(1), rows(2), ["c"], method=method, seed=1).closure
    assert abs(closure.auc_before - 0.5) < 0.04
