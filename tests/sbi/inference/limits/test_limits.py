"""Discovery, CLs and Neyman intervals against pyhf and counting experiments."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest
from scipy import optimize, stats

from rootml import sbi
from rootml.errors import ConvergenceError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore:.*RefResolver:DeprecationWarning")  # in pyhf


def simple(observed: tuple[int, int]) -> tuple[dict[str, Any], Any, list[float]]:
    """A workspace of two bins with one uncertainty, and pyhf's model and data."""
    workspace = {
        "version": "1.0.0",
        "channels": [{"name": "region", "samples": [
            {"name": "signal", "data": [12.0, 5.0],
             "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
            {"name": "background", "data": [50.0, 30.0],
             "modifiers": [{"name": "norm", "type": "normsys",
                            "data": {"hi": 1.08, "lo": 0.92}}]},
        ]}],
        "observations": [{"name": "region", "data": list(map(float, observed))}],
        "measurements": [{"name": "all", "config": {"poi": "mu", "parameters": []}}],
    }  # fmt: skip
    read = pyhf.Workspace(workspace)
    model = read.model(modifier_settings={"normsys": {"interpcode": "code4"}})
    return workspace, model, read.data(model)


@pytest.fixture(params=[(48, 26), (75, 39)], ids=str)
def case(request: pytest.FixtureRequest) -> Any:
    return simple(request.param)


def test_limits_equal_pyhf(case: Any, tmp_path: Path) -> None:
    workspace, model, data = case
    like = sbi.Model({}, binned=workspace).likelihood(None)
    found = sbi.limit(like, "mu")
    backend = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-12))
    try:
        observed, expected = pyhf.infer.intervals.upper_limits.upper_limit(
            data, model, level=0.05, rtol=1e-6
        )
    finally:
        pyhf.set_backend(*backend)
    assert found.observed == pytest.approx(float(observed), rel=2e-3)
    assert list(found.expected) == pytest.approx([float(e) for e in expected], rel=2e-3)
    found.plot(path=tmp_path / "limit.png")
    assert (tmp_path / "limit.png").stat().st_size > 1000
    assert "CLs at 95 %" in repr(found)


def test_discovery_equals_pyhf(case: Any) -> None:
    workspace, model, data = case
    found = sbi.discovery(sbi.Model({}, binned=workspace).likelihood(None), "mu")
    backend = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-12))
    try:
        p = pyhf.infer.hypotest(0.0, data, model, test_stat="q0")
    finally:
        pyhf.set_backend(*backend)
    assert found.p_value == pytest.approx(float(p), rel=1e-3)
    assert found.significance == pytest.approx(-stats.norm.ppf(float(p)), abs=2e-3)


def count(n: int, background: float = 6.0) -> sbi.Likelihood:
    model = sbi.Model(
        {"S": "s", "B": background}, {"s": sbi.Parameter(2.0, lower=0.0, upper=60.0)}
    )
    return model.likelihood({"S": np.ones(n), "B": np.ones(n)})


REFERENCE = {"S": np.ones(4000), "B": np.ones(4000)}


def test_limit_by_toys_is_that_of_the_counts() -> None:
    """q~ orders counts, so CLs is a ratio of Poisson sums: exact up to ties."""

    def cls(s: float) -> float:
        ratio = stats.poisson.cdf(7, s + 6.0) / stats.poisson.cdf(7, 6.0)
        return float(ratio - 0.1)

    exact = optimize.brentq(cls, 0.1, 30.0)
    found = sbi.limit_by_toys(
        count(7), "s", values=[4.0, 6.0, 8.0, 10.0], number=120, seed=4, level=0.9,
        reference=REFERENCE,
    )  # fmt: skip
    assert found.error > 0.0
    assert abs(found.observed - exact) < 4.0 * found.error + 0.3  # and the interpolation
    assert found.method == "toys"
    with pytest.raises(ConvergenceError, match="does not fall to"):
        sbi.limit_by_toys(count(7), "s", values=[1.0, 2.0], number=20, seed=4, reference=REFERENCE)


def test_discovery_by_toys() -> None:
    null = sbi.toys(
        count(9).model, REFERENCE, number=300, seed=2, truth={"s": 0.0},
        tests=[{"s": 0.0}],
    )  # fmt: skip
    found = sbi.discovery(count(11), "s", toys_null=null)
    exact = stats.poisson.sf(10, 6.0)
    assert found.p_value == pytest.approx(exact, abs=3.5 * math.sqrt(exact / 300))
    with pytest.raises(UsageError, match="no test"):
        sbi.discovery(count(11), "s", null=1.0, toys_null=null)
    assert "300 toys" in repr(found)


def test_neyman_interval_of_many_counts() -> None:
    """Where the asymptotic rule holds, the belt is its; the interval covers the estimate."""
    like = count(80, background=6.0)
    wide = sbi.Model({"S": "s", "B": 6.0}, {"s": sbi.Parameter(60.0, lower=0.0)}).likelihood(
        like.columns
    )
    values = np.linspace(58.0, 92.0, 5)
    found = sbi.neyman(wide, "s", values=values, number=160, seed=1, reference=REFERENCE)
    assert found.critical == pytest.approx(np.ones(5), abs=0.6)
    low, high = found.interval()
    assert low == pytest.approx(74.0 - math.sqrt(80.0), abs=3.0)
    assert high == pytest.approx(74.0 + math.sqrt(80.0), abs=3.0)
    assert found.invalid == (0,) * 5
    assert "critical" in repr(found)
    with pytest.raises(ConvergenceError, match="bracket"):
        sbi.Neyman("s", 0.68, values, found.critical, np.zeros(5), found.invalid).interval()


def test_levels_are_checked() -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        sbi.limit(count(3), "s", level=95.0)
    with pytest.raises(UsageError, match="reference"):
        sbi.limit(count(3), "s")
