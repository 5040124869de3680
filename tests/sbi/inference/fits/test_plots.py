"""Every `.plot()` shows the numbers of its result, in axes that are given or that pyplot knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rootml import sbi
from rootml.errors import UsageError

pytest.importorskip("iminuit")
plt: Any = pytest.importorskip("matplotlib.pyplot")
pytestmark = pytest.mark.usefixtures("figures_closed")


@pytest.fixture(scope="module")
def like() -> sbi.Likelihood:
    rng = np.random.default_rng(2)
    x, reference = rng.normal(0.2, 1, 390), rng.normal(0, 1, 2000)
    nuisances = {
        "jes": sbi.Nuisance(yields={"S": 1.1, "B": 0.95}),
        "lumi": sbi.Nuisance(yields={"S": 1.02, "B": 1.02}),
    }
    mu = sbi.Parameter(1.0, lower=0.0)
    model = sbi.Model({"S": "mu * 100", "B": "300"}, {"mu": mu}, nuisances)
    return model.likelihood(
        {"S": np.exp(x - 0.5), "B": np.ones(390)},
        reference={"S": np.exp(reference - 0.5), "B": np.ones(2000)},
    )


@pytest.fixture(scope="module")
def fit(like: sbi.Likelihood) -> sbi.FitResult:
    return sbi.fit(like)


def test_scans_contours_and_pulls(fit: sbi.FitResult) -> None:
    ax = plt.figure().add_subplot()
    scan = fit.profile("mu", points=7)
    assert scan.plot(ax=ax, labels={"mu": r"$\mu$"}, style="CMS") is ax
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), scan.t)
    assert ax.get_xlabel() == r"$\mu$"
    contour = fit.contour("mu", "jes", points=8)
    ax = contour.plot(units={"mu": "fb"})
    np.testing.assert_array_equal(ax.lines[0].get_xydata()[:-1], min(contour.curves.items())[1])
    assert ax.get_xlabel() == "mu [fb]"
    ax = fit.plot()
    np.testing.assert_allclose(
        ax.lines[-1].get_xdata(), [fit.values["jes"], fit.values["lumi"]], rtol=1e-12
    )
    assert plt.get_fignums()  # a notebook shows them
    alone = sbi.fit(
        sbi.Model({"S": "mu"}, {"mu": sbi.Parameter(9.0)}).likelihood({"S": [1.0] * 9})
    )
    with pytest.raises(UsageError, match="there are no pulls; plot a parameter: 'mu'"):
        alone.plot()


def test_impacts_show_shifts_and_pulls(fit: sbi.FitResult) -> None:
    table = sbi.impacts(fit, "mu")
    pulls, bars = table.plot(labels={"jes": "JES"})
    names = {"jes": "JES"}
    assert [text.get_text() for text in pulls.get_yticklabels()] == [
        names.get(row.nuisance, row.nuisance) for row in table.rows
    ]
    widths = [bar.get_width() for bar in bars.patches]
    assert widths == [row.up for row in table.rows] + [row.down for row in table.rows]
    np.testing.assert_array_equal(pulls.lines[-1].get_xdata(), [r.pull for r in table.rows])


def test_limits_and_goodness_of_fit(like: sbi.Likelihood, fit: sbi.FitResult) -> None:
    found = sbi.limit(like, "mu", points=9)
    ax = found.plot()
    curves = {line.get_label().split(":")[0]: line.get_ydata() for line in ax.lines}
    np.testing.assert_array_equal(curves["observed"], found.curves["observed"])
    np.testing.assert_array_equal(curves["expected"], found.curves["expected"])
    assert curves["95 % CL"] == pytest.approx([0.05, 0.05])
    test = sbi.goodness_of_fit(fit, bins=6)
    _, lower = test.plot()
    wanted = (test.expected - test.observed) / np.sqrt(test.expected)
    np.testing.assert_allclose(lower.lines[-1].get_ydata(), wanted)


@pytest.mark.parametrize("what", ["toys", "neyman"])
def test_toys(what: str, like: sbi.Likelihood) -> None:
    assert like.reference is not None
    if what == "toys":
        drawn = sbi.toys(like.model, like.reference, number=12, seed=1)
        counts = drawn.plot("mu").patches[0].get_data().values
        assert counts.sum() == 12
        return
    belt = sbi.neyman(like, "mu", values=[0.5, 1.0, 1.5], number=4, seed=2)
    lines: list[Any] = belt.plot().lines
    np.testing.assert_array_equal(lines[0].get_ydata(), belt.t)
    np.testing.assert_array_equal(lines[1].get_ydata(), belt.critical)


def test_a_file_is_written_and_closed(fit: sbi.FitResult, tmp_path: Any) -> None:
    writers: list[Callable[..., Any]] = [fit.plot, sbi.impacts(fit, "mu").plot]
    for number, write in enumerate(writers):
        write(path=tmp_path / f"{number}.pdf")
        assert (tmp_path / f"{number}.pdf").read_bytes().startswith(b"%PDF")
    assert not plt.get_fignums()
