"""A report says when it was made of the events of the fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from morphing_small import small

import rootml
from rootml.sbi.morphing import Morpher
from rootml.sbi.morphing.validation._training_events import SIZE, Sketch

pytest.importorskip("torch")
pytest.importorskip("sklearn")


def test_a_report_knows_the_events_of_the_training(
    sim: rootml.Dataset, data: rootml.Dataset, tmp_path: Path
) -> None:
    halves = [each.split(test=0.5, by="event") for each in (sim, data)]
    morpher = small(layers=2, steps=5).fit(*(train for train, _ in halves), progress=False)
    morpher.save(tmp_path / "m")
    quick: Any = {"classifier": "trees", "progress": False, "max_rows": 1000}
    fresh = morpher.validate(*(test for _, test in halves), **quick)
    assert not [note for note in fresh.notes if "training" in note]
    # the whole is half known; what was saved knows it too
    both = Morpher.load(tmp_path / "m").validate(sim, data, **quick)
    notes = [note for note in both.notes if "were in the training" in note]
    shares = [int(note.split(" %")[0]) for note in notes]
    assert len(shares) == 2
    assert all(abs(share - 50) < 10 for share in shares)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_known_fraction_is_estimated(share: float) -> None:
    rng = np.random.default_rng(0)
    x, c = rng.normal(size=(100_000, 3)), rng.normal(size=(100_000, 2))
    sketch = Sketch.of(x[:50_000], c[:50_000])
    assert len(sketch.hashes) == SIZE
    known = int(share * 40_000)
    rows = np.r_[np.arange(known), 50_000 + np.arange(40_000 - known)]
    assert abs(sketch.known(x[rows], c[rows]) - share) < 4 * 0.5 / np.sqrt(SIZE * 0.8)
    assert sketch.known(x[50_000:], c[:50_000]) == 0


def test_equal_rows_of_whole_numbers_are_no_evidence() -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 5, (1000, 1)).astype(float)
    assert Sketch.of(x, x).unique < 0.01
