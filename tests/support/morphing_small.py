"""Morphers that train in a second, on a few events of the toy: for tests of everything else."""

from __future__ import annotations

from morphing_toy import CONDITIONS, FEATURES

from rootml.sbi.morphing import Morpher

EVENTS = 6000
"""Events of each domain in the files of the fixtures."""


def small(**options: object) -> Morpher:
    """A morpher that trains in a second; not a good one."""
    chosen = {"layers": 4, "hidden": (24, 24), "steps": 40, "batch_size": 256, "id": "event"}
    return Morpher(FEATURES, CONDITIONS, **{**chosen, "reweight": "binned", **options})  # type: ignore[arg-type]
