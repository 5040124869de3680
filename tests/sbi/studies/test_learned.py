"""Studies of learned ratios beside the exact likelihood: in full (slow), and reduced.

Toys are those of `ROOTML_TOYS` (``make studies``), or few. Coverages may be off by three standard
deviations of a binomial proportion; shifts, which are paired, by three of their mean.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sbi_learned_studies as studies
from sbi_learned import Means

torch = pytest.importorskip("torch")

TOYS = int(os.environ.get("ROOTML_TOYS", "100"))
LEVELS = {"cov68": 0.6827, "cov95": 0.95}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def check(
    figures: dict[str, Any], *, shift: float, ratio: tuple[float, float], rms: float = math.inf,
    cover: tuple[float, float] = (0.0, 0.0),
) -> None:  # fmt: skip
    """Hold figures against their bars; `cover`: allowance on coverages beyond statistics."""
    print({key: value for key, value in figures.items() if key != "record"})  # noqa: T201
    toys = figures["toys"]
    error = 3.0 * figures["rms"] / math.sqrt(toys)
    assert (np.abs(figures["shift"]) <= shift + error).all()
    assert (figures["rms"] <= rms * (1.0 + 3.0 / math.sqrt(2.0 * toys))).all()
    assert (figures["error ratio"] >= ratio[0]).all()
    assert (figures["error ratio"] <= ratio[1]).all()
    for (name, level), more in zip(LEVELS.items(), cover, strict=True):
        allowed = max(more, 3.0 * math.sqrt(level * (1.0 - level) / toys))
        assert (np.abs(figures[name] - level) <= allowed).all(), name


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_mixture(tmp_path: Path) -> None:
    """4-D S + B with a shape nuisance: shift <= 0.10, rms <= 0.05, error <= 1.02 for mu."""
    figures = studies.mixture(
        tmp_path, events=400_000, reference=300_000, toys=max(TOYS, 200), seed=1, ensemble=5,
        epochs=5,
    )  # fmt: skip
    mu = {name: value if name == "toys" else value[:1] for name, value in figures.items()
          if name != "record"}  # fmt: skip
    check(mu, shift=0.10, rms=0.05, ratio=(0.97, 1.02), cover=(0.07, 0.03))
    check(figures, shift=0.25, ratio=(0.97, 1.05), cover=(0.07, 0.03))


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_off_shell(tmp_path: Path) -> None:
    """Interference from S, SBI and B, some weights negative: error <= 1.03, shift <= 0.15."""
    figures = studies.off_shell(
        tmp_path, events=400_000, toys=max(TOYS, 200), seed=1, ensemble=5, epochs=5
    )
    check(figures, shift=0.15, ratio=(0.97, 1.03), cover=(0.1, 0.05))


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_one_mean(tmp_path: Path) -> None:
    """rf615: shift <= 0.1, error 0.97 to 1.03 of the exact one."""
    figures = studies.means(
        tmp_path, Means(1), truth=[2.5], events=1_000_000, size=1000, toys=max(TOYS, 100), seed=1,
        ensemble=3, epochs=3,
    )  # fmt: skip
    check(figures, shift=0.1, ratio=(0.97, 1.03), cover=(0.07, 0.03))


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_two_means(tmp_path: Path) -> None:
    """rf617, 10,000 events: shift <= 0.25."""
    figures = studies.means(
        tmp_path, Means(2), truth=[2.5, 2.0], events=2_000_000, size=10_000, toys=10, seed=1,
        ensemble=3, epochs=2,
    )  # fmt: skip
    check(figures, shift=0.25, ratio=(0.97, 1.03))


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_five_means(tmp_path: Path) -> None:
    """The same in five dimensions with correlations of 0.3: shift <= 0.25.

    Whether pairs of events and theta belong together says little about the norm as a function of
    theta (shifts up to 0.29 of that alone); the mean of the score, which vanishes, says it all.
    """
    figures = studies.means(
        tmp_path, Means(5, 0.3), truth=[2.5, 2.0, 1.5, 2.2, 1.8], events=2_000_000, size=10_000,
        toys=10, seed=1, ensemble=2, epochs=3, low=1.0, high=3.0,
    )  # fmt: skip
    check(figures, shift=0.25, ratio=(0.95, 1.05))


# --- reduced: the same problems with fewer events and wider bars, in every run of CI -------------


@pytest.mark.long
def test_reduced_mixture(tmp_path: Path) -> None:
    """A twentieth of the events: shifts grow by their root."""
    figures = studies.mixture(
        tmp_path, events=20_000, reference=40_000, toys=30, seed=1, ensemble=2, epochs=6,
        batch_size=1024,
    )  # fmt: skip
    check(figures, shift=0.35, ratio=(0.92, 1.08))


@pytest.mark.long
def test_reduced_off_shell(tmp_path: Path) -> None:
    """A quarter of the events: twice the bar."""
    figures = studies.off_shell(
        tmp_path, events=100_000, toys=20, seed=1, ensemble=2, epochs=6, hidden=(32, 32),
        batch_size=1024,
    )  # fmt: skip
    check(figures, shift=0.3, ratio=(0.95, 1.06))


def test_reduced_one_mean(tmp_path: Path) -> None:
    """A fifteenth of the events."""
    figures = studies.means(
        tmp_path, Means(1), truth=[2.5], events=60_000, size=1000, toys=15, seed=1, ensemble=2,
        epochs=2, hidden=(32, 32), batch_size=1024,
    )  # fmt: skip
    check(figures, shift=0.3, ratio=(0.95, 1.05))
