"""Contours and scans go where the likelihood says: limits, skewed and bent regions."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import optimize, stats

from rootml import sbi
from rootml.errors import ConvergenceError
from rootml.sbi.inference.minimum._minimise import Objective, prepare, start_of

pytest.importorskip("iminuit")
Float = npt.NDArray[np.float64]


def mixture(**parameters: sbi.Parameter) -> sbi.Likelihood:
    x = np.random.default_rng(4).normal(0.0, 1, 300)
    model = sbi.Model({"S": "mu * 10", "B": "300 * b"}, parameters, {})
    return model.likelihood({"S": np.exp(x - 0.5), "B": np.ones(300)})


@pytest.fixture(scope="module")
def three() -> sbi.FitResult:
    rng = np.random.default_rng(2)
    x, reference = rng.normal(0.2, 1, 390), rng.normal(0, 1, 2000)
    nuisances = {
        "jes": sbi.Nuisance(yields={"S": 1.1, "B": 0.95}),
        "lumi": sbi.Nuisance(yields={"S": 1.02, "B": 1.02}),
    }
    model = sbi.Model({"S": "mu * 100", "B": "300"}, {"mu": sbi.Parameter(1.0)}, nuisances)
    like = model.likelihood(
        {"S": np.exp(x - 0.5), "B": np.ones(390)},
        reference={"S": np.exp(reference - 0.5), "B": np.ones(2000)},
    )
    return sbi.fit(like)


def distances(points: Float, curve: Float, scale: Float) -> Float:
    """From points to a closed curve of straight pieces."""
    a = curve / scale
    step = np.roll(a, -1, axis=0) - a
    away = (points / scale)[:, None] - a
    share = np.clip((away * step).sum(-1) / np.maximum((step**2).sum(-1), 1e-300), 0, 1)
    found: Float = np.linalg.norm(away - share[..., None] * step, axis=-1).min(axis=1)
    return found


def test_contours_are_those_of_minuit(three: sbi.FitResult) -> None:
    """All others refitted: Minuit's points lie on the curves, which are smooth."""
    found = three.contour("mu", "jes", levels=(0.68, 0.95), progress=False)
    theta, free = start_of(three.like, fixed={}, start=three.values)
    minuit = prepare(Objective(three.like, free), theta, strategy=1)
    minuit.migrad()
    scale = np.array([three.errors["mu"], three.errors["jes"]])
    for level, curve in found.curves.items():
        expected = np.asarray(minuit.mncontour("mu", "jes", cl=level, size=12))
        assert distances(expected, curve, scale).max() < 5e-3
        step = np.roll(curve, -1, axis=0) - curve
        angle = np.unwrap(np.arctan2(*(step / scale).T[::-1]))
        assert np.abs(np.diff(angle)).max() < math.radians(10)
        assert angle[-1] - angle[0] == pytest.approx(2 * math.pi, abs=0.3)  # counter-clockwise


def test_a_region_ends_at_limits() -> None:
    """A curve goes along the limits, and everything within it is likely enough."""
    mu, b = sbi.Parameter(1.0, lower=0.0), sbi.Parameter(1.0, lower=0.9, upper=1.1)
    like = mixture(mu=mu, b=b)
    fit = sbi.fit(like)
    curve = fit.contour("mu", "b", levels=(0.95,)).curves[0.95]
    assert curve.min(axis=0) == pytest.approx([0.0, 0.9], abs=0)
    t = np.array([2 * (like(mu=x, b=y) - fit.nll) for x, y in curve])
    edge = stats.chi2.ppf(0.95, 2)
    at_limit = (curve[:, 0] == 0.0) | np.isin(curve[:, 1], [0.9, 1.1])
    assert t[~at_limit] == pytest.approx(np.full((~at_limit).sum(), edge), rel=1e-3)
    assert (t[at_limit] <= edge * (1 + 1e-3)).all()
    assert 10 < at_limit.sum() < len(curve) - 10
    # Green's theorem, beside counting a fine grid of the likelihood
    x, y = curve.T
    area = 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    xs, ys = np.linspace(0.0, 8.0, 161), np.linspace(0.9, 1.1, 101)
    inside = sum(2 * (like(mu=u, b=v) - fit.nll) < edge for u in xs for v in ys)
    assert area == pytest.approx(inside * 0.05 * 0.002, rel=0.03)


def test_a_region_within_the_limits_alone_is_their_rectangle() -> None:
    mu, b = sbi.Parameter(1.0, lower=0.0, upper=2.0), sbi.Parameter(1.0, lower=0.95, upper=1.02)
    fit = sbi.fit(mixture(mu=mu, b=b))
    curve = fit.contour("mu", "b", levels=(0.9999,)).curves[0.9999]
    corners = np.array([[0.0, 0.95], [2.0, 0.95], [2.0, 1.02], [0.0, 1.02]])
    assert distances(corners, curve, np.ones(2)).max() == 0.0
    assert (np.isin(curve[:, 0], [0.0, 2.0]) | np.isin(curve[:, 1], [0.95, 1.02])).all()


def test_a_bent_region_is_followed_to_its_tips() -> None:
    """Only the product of two parameters is measured: Minuit's contour has six points and ends."""
    model = sbi.Model({"S": "a * b * 100"}, {"a": sbi.Parameter(1.0, lower=0.05, upper=20.0)},
                      {"b": sbi.Nuisance("lognormal", width=2.0)})  # fmt: skip
    fit = sbi.fit(model.likelihood({"S": [1.0] * 100}))
    curve = fit.contour("a", "b", levels=(0.95,)).curves[0.95]

    def t(a: float, b: float) -> float:
        nu = 100 * a * b
        poisson = 2 * (nu - 100 - 100 * math.log(nu / 100))
        return poisson + (math.log(b) / math.log(2.0)) ** 2

    edge = stats.chi2.ppf(0.95, 2)
    assert [t(a, b) for a, b in curve] == pytest.approx([edge] * len(curve), rel=1e-3)
    reach = 2.0 ** math.sqrt(edge)  # ln b / ln 2 where the product is as measured
    assert curve[:, 1].max() == pytest.approx(reach, rel=1e-3)
    assert curve[:, 1].min() == pytest.approx(1 / reach, rel=1e-2)


def test_contours_without_an_end_are_refused() -> None:
    """-log L hardly changes: no curve, and an error that says so."""
    model = sbi.Model({"S": "10 / (1 + a**2 + b**2) + 90"},
                      {"a": sbi.Parameter(0.5), "b": sbi.Parameter(0.5)})  # fmt: skip
    fit = sbi.fit(model.likelihood({"S": [1.0] * 98}))
    with pytest.raises(ConvergenceError):
        fit.contour("a", "b")


def test_a_scan_reaches_its_lines_on_a_skewed_side() -> None:
    """Both ends are where t = sigmas^2: of a count of 3, far from symmetric."""
    model = sbi.Model({"S": "mu * 10"}, {"mu": sbi.Parameter(1.0, lower=0.0)})
    fit = sbi.fit(model.likelihood({"S": np.ones(3)}))
    scan = fit.profile("mu")

    def excess(m: float) -> float:
        return 2.0 * (m - 3.0 - 3.0 * math.log(m / 3.0)) - 3.2**2

    ends = [optimize.brentq(excess, *sides) / 10 for sides in ((1e-6, 3.0), (3.0, 60.0))]
    assert [scan.values[0], scan.values[-1]] == pytest.approx(ends, rel=1e-5)
    assert len(scan.values) == 31
    assert fit.values["mu"] in scan.values
    assert scan.t[[0, -1]] == pytest.approx([3.2**2] * 2, rel=1e-5)
    ax = scan.plot()
    assert [text.get_text() for text in ax.texts] == ["68.3 %", "95.4 %", "99.7 %"]


def test_a_scan_ends_at_a_limit() -> None:
    model = sbi.Model({"S": "mu * 10", "B": "3"}, {"mu": sbi.Parameter(1.0, lower=0.0)})
    fit = sbi.fit(model.likelihood({"S": np.ones(5), "B": np.ones(5)}))
    scan = fit.profile("mu", points=12)
    assert scan.values[0] == 0.0
    assert (np.diff(scan.values) > 0).all()
    assert len(scan.values) == 12
    assert scan.t[-1] == pytest.approx(3.2**2, rel=1e-5)
    none = sbi.fit(model.likelihood({"S": np.ones(1), "B": np.ones(1)}))
    assert none.values["mu"] == 0.0
    assert none.profile("mu", points=5).values[0] == 0.0
