"""Results beside those of cabinetry, for the same pyhf workspace, and drawn by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rootml import sbi

cabinetry: Any = pytest.importorskip("cabinetry")
pyhf: Any = pytest.importorskip("pyhf")
plt: Any = pytest.importorskip("matplotlib.pyplot")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*RefResolver:DeprecationWarning"),  # in pyhf
    pytest.mark.usefixtures("figures_closed"),
]


def workspace() -> dict[str, Any]:
    background = [
        {"name": "jes", "type": "histosys",
         "data": {"hi_data": [108.0, 92.0, 61.0], "lo_data": [93.0, 97.0, 68.0]}},
        {"name": "norm", "type": "normsys", "data": {"hi": 1.08, "lo": 0.93}},
    ]  # fmt: skip
    signal = [
        {"name": "mu", "type": "normfactor", "data": None},
        {"name": "jes", "type": "normsys", "data": {"hi": 1.1, "lo": 0.92}},
    ]
    samples = [
        {"name": "signal", "data": [5.0, 15.0, 30.0], "modifiers": signal},
        {"name": "background", "data": [100.0, 95.0, 65.0], "modifiers": background},
    ]
    config = {"poi": "mu", "parameters": [{"name": "mu", "bounds": [[0, 10]], "inits": [1.0]}]}
    return {
        "channels": [{"name": "region", "samples": samples}],
        "observations": [{"name": "region", "data": [112.0, 104.0, 88.0]}],
        "measurements": [{"name": "all", "config": config}],
        "version": "1.0.0",
    }


@pytest.fixture(scope="module")
def theirs() -> tuple[Any, Any]:
    settings = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
    read = pyhf.Workspace(workspace())
    model = read.model(modifier_settings=settings)
    return model, read.data(model)


@pytest.fixture(scope="module")
def fit() -> sbi.FitResult:
    return sbi.fit(sbi.Model({}, binned=workspace()).likelihood(None))


@pytest.mark.filterwarnings("ignore")
def test_a_fit_is_that_of_cabinetry(fit: sbi.FitResult, theirs: Any) -> None:
    ours, wanted = fit.to_cabinetry(), cabinetry.fit.fit(*theirs)
    assert set(ours.labels) == set(wanted.labels)
    order = [ours.labels.index(name) for name in wanted.labels]
    np.testing.assert_allclose(ours.bestfit[order], wanted.bestfit, atol=2e-3)
    np.testing.assert_allclose(ours.uncertainty[order], wanted.uncertainty, rtol=0.01)
    np.testing.assert_allclose(ours.corr_mat[np.ix_(order, order)], wanted.corr_mat, atol=0.01)
    figure = cabinetry.visualize.pulls(ours, exclude="mu", save_figure=False, close_figure=False)
    drawn = [
        sorted(line.get_xdata()) for line in figure.axes[0].lines if len(line.get_xdata()) == 2
    ]
    assert sorted(fit.values[name] for name in ("jes", "norm")) in drawn
    cabinetry.visualize.correlation_matrix(ours, save_figure=False)


@pytest.mark.filterwarnings("ignore")
def test_a_ranking_is_that_of_cabinetry(fit: sbi.FitResult, theirs: Any) -> None:
    ours = sbi.impacts(fit, "mu").to_cabinetry()
    wanted = cabinetry.fit.ranking(*theirs, poi_name="mu")
    order = [ours.labels.index(name) for name in wanted.labels]
    for key in ("bestfit", "prefit_up", "prefit_down", "postfit_up", "postfit_down"):
        found = getattr(ours, key)[order]
        np.testing.assert_allclose(found, getattr(wanted, key), atol=4e-3, err_msg=key)
    figure = cabinetry.visualize.ranking(ours, save_figure=False, close_figure=False)
    widths = {round(bar.get_width(), 9) for ax in figure.axes for bar in ax.patches}
    assert {round(float(value), 9) for value in ours.postfit_up} <= widths


@pytest.mark.filterwarnings("ignore")
def test_a_scan_and_a_limit_are_those_of_cabinetry(fit: sbi.FitResult, theirs: Any) -> None:
    ends = fit.values["mu"] - 2 * fit.errors["mu"], fit.values["mu"] + 2 * fit.errors["mu"]
    scan = fit.profile("mu", values=np.linspace(*ends, 5))
    ours = scan.to_cabinetry()
    wanted = cabinetry.fit.scan(*theirs, "mu", par_range=ends, n_steps=5)
    np.testing.assert_allclose(ours.delta_nlls, wanted.delta_nlls, atol=5e-3)
    assert ours.uncertainty == pytest.approx(wanted.uncertainty, rel=0.1)
    cabinetry.visualize.scan(ours, save_figure=False)
    limit = sbi.limit(fit.like, "mu", points=7).to_cabinetry()
    found = cabinetry.fit.limit(*theirs, poi_name="mu", bracket=(0.3, 8.0))
    assert limit.observed_limit == pytest.approx(found.observed_limit, rel=0.01)
    np.testing.assert_allclose(limit.expected_limit, found.expected_limit, rtol=0.02)
    assert limit.expected_CLs.shape == (7, 5)
    cabinetry.visualize.limit(limit, save_figure=False)
