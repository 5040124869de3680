"""FPD and KPD beside the authors' package.

The numbers are those of ``fpd`` and ``kpd`` of jetnet 0.2.5
(https://github.com/jet-net/JetNet, ``jetnet/evaluation/gen_metrics.py``) with all defaults, on the
samples of `samples`: value and error. jetnet itself needs packages that are not installed here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from rootml.sbi.morphing.validation._metrics_frechet import fpd
from rootml.sbi.morphing.validation._metrics_kernel import kpd

Float = npt.NDArray[np.float64]
MIX = np.array([[1, 0.5, 0.0], [0, 1, 0.3], [0.2, 0, 1]])
JETNET = {
    "equal": ((4.526335e-05, 2.699506e-05), (-4.441104e-05, 4.344209e-05)),
    "shifted": ((5.081751e-03, 9.128196e-05), (7.523578e-03, 8.261058e-04)),
}


def samples(kind: str, count: int = 100_000) -> tuple[Float, Float]:
    """Two samples of three correlated normal columns."""
    rng = np.random.default_rng(20221110)
    a = rng.normal(size=(count, 3)) @ MIX
    b = rng.normal(size=(count, 3)) @ MIX
    return a, b + 0.2 if kind == "shifted" else b


@pytest.mark.parametrize("kind", JETNET)
def test_distances_are_those_of_jetnet_to_their_errors(kind: str) -> None:
    """jetnet draws with replacement, ours without: both within the errors."""
    a, b = samples(kind)
    for found, (value, error) in zip((fpd(a, b), kpd(a, b)), JETNET[kind], strict=True):
        assert found.value == pytest.approx(value, abs=3 * np.hypot(found.error, error))
