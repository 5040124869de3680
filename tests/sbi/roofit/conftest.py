"""ROOT, and likelihoods to hand to it."""

from __future__ import annotations

from typing import Any

import pytest
from sbi_roofit import likelihood

from rootml import sbi


@pytest.fixture(scope="session")
def roofit(root: Any) -> Any:
    """ROOT, with RooFit quiet."""
    root.gROOT.SetBatch(True)
    root.RooMsgService.instance().setGlobalKillBelow(root.RooFit.ERROR)
    return root


@pytest.fixture(scope="session")
def like() -> sbi.Likelihood:
    """The likelihood with one nuisance on shapes."""
    return likelihood()


@pytest.fixture(scope="session")
def combined() -> sbi.Likelihood:
    """The same with a binned channel beside."""
    return likelihood(binned=True)
