"""Problems with a known truth."""

from __future__ import annotations

import numpy as np
import pytest
from sbi_problems import OffShell, SignalBackground

from rootml import sbi


@pytest.fixture(scope="session")
def problem() -> SignalBackground:
    """Signal and background with one shape nuisance, 1000 events."""
    return SignalBackground()


@pytest.fixture(scope="session")
def off_shell() -> OffShell:
    """Signal, background, interference."""
    return OffShell()


@pytest.fixture(scope="session")
def data(problem: SignalBackground) -> np.ndarray:
    """One data set of the problem."""
    return problem.draw(np.random.default_rng(3), 1.0, 0.3)


@pytest.fixture(scope="session")
def like(problem: SignalBackground, data: np.ndarray) -> sbi.Likelihood:
    """Its likelihood."""
    return problem.likelihood(data)
