"""Value, gradient and Hessian against the formula in 40 digits, term by term."""

from __future__ import annotations

import functools
from typing import Any

import mpmath
import numpy as np
import pytest

from rootml import sbi

mp = mpmath.mpf
CODES = ("log-quadratic", "code0", "code1", "code4", "code5")
EVENTS, REFERENCE = 9, 7
POINTS = {"inside": (1.3, 0.4, -0.7, 1.02), "outside": (0.8, -1.8, 2.1, 0.95)}


def exact_factor(code: str, up: Any, down: Any, a: Any) -> Any:
    """The factor from its definition (CERN-OPEN-2012-016; ROOT's flexibleInterpSingle)."""
    log_up, log_down = mpmath.log(up), mpmath.log(down)
    if code == "log-quadratic":
        return mpmath.exp((log_up - log_down) / 2 * a + (log_up + log_down) / 2 * a * a)
    if code == "code0":
        return 1 + (a * (up - 1) if a >= 0 else -a * (down - 1))
    if code == "code1" or (code == "code5" and abs(a) >= 1):
        return up**a if a >= 0 else down ** (-a)
    if code == "code4":
        if abs(a) >= 1:
            return 1 + (a * (up - 1) if a >= 0 else -a * (down - 1))
        spread, mean = (up - down) / 2, (up + down - 2) / 16
        return 1 + a * (spread + a * mean * (15 + a * a * (-10 + 3 * a * a)))
    s0, a0 = (up + down) / 2, (up - down) / 2
    u1, d1 = up * log_up, -down * log_down
    u2, d2 = u1 * log_up, -d1 * log_down
    s1, a1, s2, a2 = (u1 + d1) / 2, (u1 - d1) / 2, (u2 + d2) / 2, (u2 - d2) / 2
    terms = [
        (15 * a0 - 7 * s1 + a2) / 8,
        (-24 + 24 * s0 - 9 * a1 + s2) / 8,
        (-5 * a0 + 5 * s1 - a2) / 4,
        (12 - 12 * s0 + 7 * a1 - s2) / 4,
        (3 * a0 - 3 * s1 + a2) / 8,
        (-8 + 8 * s0 - 5 * a1 + s2) / 8,
    ]
    return 1 + sum(term * a**n for n, term in enumerate(terms, start=1))


class Case:
    """S and B with two shape nuisances (one on both), an interference column, weights."""

    def __init__(self, code: str) -> None:
        rng = np.random.default_rng(11)
        self.code = code

        def columns(number: int) -> dict[str, Any]:
            nominal = {p: np.exp(rng.normal(0.0, 0.4, number)) for p in "SB"}
            interference = rng.normal(0.0, 0.3, number)

            def shape(p: str) -> tuple[Any, Any]:
                spread = rng.normal(0.0, 0.2, (2, number))
                return nominal[p] * np.exp(spread[0]), nominal[p] * np.exp(spread[1])

            return {
                "S": {"nominal": nominal["S"], "jes": shape("S")},
                "I": interference,
                "B": {
                    "nominal": nominal["B"],
                    "jer": shape("B"),
                    "jes": shape("B"),
                },  # not jes, jer
            }

        self.columns = sbi.RatioColumns(columns(EVENTS), rng.uniform(0.5, 1.5, EVENTS))
        self.reference = sbi.RatioColumns(columns(REFERENCE), rng.uniform(0.5, 1.5, REFERENCE))
        self.model = sbi.Model(
            {"S": "mu * 30", "I": "-sqrt(mu) * 4 * lumi", "B": "80 * lumi"},
            {"mu": sbi.Parameter(1.0, lower=0.0)},
            {
                "jes": sbi.Nuisance(
                    interpolation=code, yields={"B": (1.1, 0.93)}, yield_interpolation=code,
                    width=0.8, observed=0.3,
                ),
                "jer": sbi.Nuisance(interpolation=code, constraint="poisson", value=1.0,
                                    width=20.0, observed=22.0, lower=-3.0),
                "lumi": sbi.Nuisance("lognormal", width=1.03, observed=0.99),
            },
        )  # fmt: skip

    def exact(self, mu: Any, jes: Any, jer: Any, lumi: Any) -> Any:
        """The formula."""
        b_factor = exact_factor(self.code, mp("1.1"), mp("0.93"), jes)
        yields = {
            "S": mu * 30, "I": -mpmath.sqrt(mu) * 4 * lumi, "B": 80 * lumi * b_factor,
        }  # fmt: skip
        alphas = {"jes": jes, "jer": jer}
        total = sum(yields.values())
        norm = {p: self.mean(p, alphas) / self.mean(p, {}) for p in "SB"} | {"I": mp(1)}
        assert self.columns.weights is not None
        for i, weight in enumerate(self.columns.weights):
            density = sum(
                yields[p] / norm[p] * self.ratio(self.columns, p, i, alphas) for p in "SIB"
            )
            total -= mp(weight) * mpmath.log(density)
        total += ((jes - mp("0.3")) / mp("0.8")) ** 2 / 2
        total += 20 * jer - 22 * mpmath.log(20 * jer) if jer > 0 else 0
        log_width = mpmath.log(mp("1.03"))
        return total + ((mpmath.log(lumi) - mpmath.log(mp("0.99"))) / log_width) ** 2 / 2

    def mean(self, process: str, alphas: dict[str, Any]) -> Any:
        """A mean over the reference, times the sum of weights."""
        assert self.reference.weights is not None
        return sum(
            mp(w) * self.ratio(self.reference, process, i, alphas)
            for i, w in enumerate(self.reference.weights)
        )

    def ratio(
        self, columns: sbi.RatioColumns, process: str, i: int, alphas: dict[str, Any]
    ) -> Any:
        """The morphed ratio of one event."""
        nominal = mp(columns.ratio(process)[i])
        value = nominal
        for name in columns.nuisances(process):
            if name in alphas:
                up, down = (mp(side[i]) / nominal for side in columns.variation(process, name))
                value *= exact_factor(self.code, up, down, alphas[name])
        return value


@functools.cache
def exact_at(code: str, point: tuple[float, ...]) -> tuple[float, list[float], list[list[float]]]:
    """Value, gradient and Hessian of the formula."""
    function, n = Case(code).exact, len(point)
    at = tuple(mp(x) for x in point)

    def order(*places: int) -> float:
        counts = tuple(places.count(i) for i in range(n))
        return float(mpmath.diff(function, at, counts))

    upper = {(i, j): order(i, j) for i in range(n) for j in range(i, n)}
    hessian = [[upper[min(i, j), max(i, j)] for j in range(n)] for i in range(n)]
    return float(function(*at)), [order(i) for i in range(n)], hessian


@pytest.fixture(autouse=True)
def _digits() -> Any:
    before, mpmath.mp.dps = mpmath.mp.dps, 40
    yield
    mpmath.mp.dps = before


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
@pytest.mark.parametrize("where", POINTS)
@pytest.mark.parametrize("code", CODES)
def test_value_gradient_and_hessian(code: str, where: str, engine: str) -> None:
    case, (mu, jes, jer, lumi) = Case(code), POINTS[where]
    jer = abs(jer)  # its Poisson constraint wants a positive one
    like = case.model.likelihood(case.columns, reference=case.reference, engine=engine)
    point = {"mu": mu, "jes": jes, "jer": jer, "lumi": lumi}
    assert list(like.parameters) == list(point)
    expected, gradient, hessian = exact_at(code, tuple(point.values()))
    assert like(**point) == pytest.approx(expected, rel=1e-14)
    scale = max(map(abs, gradient))
    assert list(like.gradient(**point).values()) == pytest.approx(gradient, abs=1e-12 * scale)
    assert like.hessian(**point) == pytest.approx(
        np.array(hessian), rel=1e-10, abs=1e-11 * np.abs(hessian).max()
    )


def test_interference_may_be_negative_while_the_total_is_not(off_shell: Any) -> None:
    """Non-negative hypotheses and signed columns: the same likelihood, that of the densities."""
    cells = off_shell.draw(np.random.default_rng(4))
    like = off_shell.model().likelihood(off_shell.columns(cells))
    base = (off_shell.B / off_shell.B.sum())[cells]
    sums = {name: float(getattr(off_shell, name).sum()) for name in ("S", "I", "B")}
    signed = sbi.Model(
        {"S": f"mu * {sums['S']}", "I": f"sqrt(mu) * {sums['I']}", "B": sums["B"]},
        {"mu": sbi.Parameter(1.0, lower=1e-4, upper=20.0)},
    ).likelihood({
        "S": (off_shell.S / off_shell.S.sum())[cells] / base,
        "I": (off_shell.I / off_shell.I.sum())[cells] / base,
        "B": np.ones(len(cells)),
    })  # fmt: skip
    assert signed.columns is not None
    assert (signed.columns.ratio("I") < 0.0).any()
    for mu in (0.3, 1.0, 2.5):
        rates = off_shell.expected(mu)
        exact = rates.sum() - np.log(rates[cells] / base).sum()
        assert like(mu=mu) == pytest.approx(exact, rel=1e-13)
        assert signed(mu=mu) == pytest.approx(exact, rel=1e-13)


def test_normalisation_is_the_integral(problem: Any) -> None:
    """log Z of the exact problem by quadrature: scipy integrates the morphed density."""
    from scipy.integrate import quad

    x = problem.draw(np.random.default_rng(1))
    like = problem.likelihood(x)
    for alpha in (-2.0, 0.5, 1.7):

        def morphed(at: float, alpha: float = alpha) -> float:
            nominal, up, down = (
                problem.background(np.array([at]), s)[0] for s in (0.0, 1.0, -1.0)
            )
            log_up, log_down = np.log(up / nominal), np.log(down / nominal)
            odd, even = (log_up - log_down) / 2, (log_up + log_down) / 2
            return float(nominal * np.exp(odd * alpha + even * alpha**2))

        integral = quad(morphed, 0.0, 10.0, epsabs=1e-12)[0]
        plan = like.unbinned.layout.plan(np.array([1.0, alpha]))
        found = like.unbinned.normaliser.values(plan)
        assert found[1] == pytest.approx(np.log(integral), abs=2e-7)
        assert found[0] == 0.0
        assert abs(np.log(integral)) > 1e-5  # there is something to normalise


def test_equals_the_analytic_likelihood_where_it_was_simulated(
    problem: Any, data: Any, like: sbi.Likelihood
) -> None:
    at = [(mu, jes) for mu in (0.5, 1.0, 2.0) for jes in (-1.0, 0.0, 1.0)]
    shift = like(mu=1.0, jes=0.0) - problem.analytic(data, 1.0, 0.0)
    for mu, jes in at:
        assert like(mu=mu, jes=jes) - problem.analytic(data, mu, jes) == pytest.approx(
            shift, abs=1e-3
        )  # the midpoint rule of the reference
