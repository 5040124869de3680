"""The compiled kernels against plain NumPy, in value, gradient, and at the edges of floats."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sbi_problems import many_nuisances

from rootml import sbi
from rootml.errors import DensityError, UsageError
from rootml.sbi.likelihood import _jit

CODES = ("log-quadratic", "code0", "code1", "code4", "code5")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("events", [1, 511, 512, 513, 9000])
@pytest.mark.parametrize("nuisances", [0, 1, 6])
def test_engines_agree(events: int, nuisances: int, weighted: bool) -> None:
    model, columns, reference = many_nuisances(
        events, nuisances, codes=CODES, weighted=weighted, reference=700
    )
    ours = model.likelihood(columns, reference=reference, engine="compiled")
    plain = model.likelihood(columns, reference=reference, engine="numpy")
    rng = np.random.default_rng(5)
    for _ in range(3):
        theta = np.concatenate([[rng.uniform(0.2, 3.0)], rng.normal(0.0, 1.0, nuisances)])
        value, gradient = ours.nll_gradient(theta)
        expected, rise = plain.nll_gradient(theta)
        scale = max(abs(expected), 1.0)
        assert value == pytest.approx(expected, abs=1e-12 * scale)
        assert ours.nll(theta) == pytest.approx(expected, abs=1e-12 * scale)
        assert gradient == pytest.approx(rise, abs=1e-12 * max(np.abs(rise).max(), events))
        for square in ("nll_hessian", "score_covariance"):
            hessian = getattr(plain, square)(theta)
            found = getattr(ours, square)(theta)
            assert found == pytest.approx(hessian, abs=1e-12 * max(np.abs(hessian).max(), events))


def test_extreme_densities() -> None:
    """From subnormal to nearly infinite: log of the product of mantissas must not care."""
    ratios = np.array([5e-324, 1e-310, 2.3e-308, 1e-200, 1.0, 1e200, 1.7e308])
    for weights in (None, np.linspace(0.5, 2.0, 7)):
        model = sbi.Model({"S": "mu"}, {"mu": 1.0})
        columns = sbi.RatioColumns({"S": ratios}, weights)
        expected = 1.0 - np.sum((1.0 if weights is None else weights) * np.log(ratios))
        for engine in ("numpy", "compiled"):
            like = model.likelihood(columns, engine=engine)
            assert like(mu=1.0) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
@pytest.mark.parametrize("ratio", [0.0, -1.0])
def test_a_density_that_is_not_positive_names_process_and_events(
    engine: str, ratio: float
) -> None:
    ratios = np.ones(1000)
    ratios[[17, 400]] = ratio
    model = sbi.Model({"S": "mu * 1000"}, {"mu": 1.0})
    like = model.likelihood({"S": ratios}, engine=engine)
    with pytest.raises(DensityError, match=r"'S'.*2 of 1,000 events.*17 .*400 ") as caught:
        like(mu=1.0)
    assert "mu=1" in str(caught.value)
    assert np.isnan(like.nll([1.0], strict=False))


def test_unknown_engine() -> None:
    model = sbi.Model({"S": "mu"}, {"mu": 1.0})
    with pytest.raises(UsageError, match="engine 'fortran'"):
        model.likelihood({"S": [1.0]}, engine="fortran")


def test_exp_and_log_against_numpy() -> None:
    x = np.concatenate([np.linspace(-708.0, 709.4, 20001), [-750.0, 710.0, 0.0, -0.0]])
    out = np.ones_like(x)
    _times_exp(out, x)
    with np.errstate(over="ignore"):
        expected = np.exp(x)
    expected[x < -708.0] = 0.0
    np.testing.assert_allclose(out, expected, rtol=4e-15, atol=0.0)
    y = np.exp(np.linspace(-700.0, 700.0, 20001))
    logs = np.array([_log(y[i : i + 1]) for i in range(0, len(y), 20)])
    np.testing.assert_allclose(logs, np.log(y[::20]), rtol=1e-15, atol=3e-16)


@_jit.numba.njit
def _times_exp(out, exponent):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i] *= _jit.vector_exp(exponent[i])


@_jit.numba.njit
def _log(values):  # type: ignore[no-untyped-def]
    return _jit.vector_log(values[0])


@pytest.mark.parametrize("variable", ["ROOTML_CACHE", "XDG_CACHE_HOME"])
def test_cache_is_private(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROOTML_CACHE", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    folder = (
        tmp_path / "kernels" if variable == "ROOTML_CACHE" else tmp_path / "rootml" / "kernels"
    )
    assert _jit.cache_folder() == folder
    assert not list(tmp_path.iterdir())  # asking makes nothing
    assert _jit._made_folder() == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    assert _jit._made_folder() is None
    monkeypatch.setenv(variable, "/proc/nowhere")
    assert _jit._made_folder() is None


def test_kernels_are_kept_where_the_variable_says(tmp_path: Path) -> None:
    code = (
        "import numpy as np; from rootml.sbi.likelihood import _jit\n"
        "from rootml.sbi.likelihood._kernels_hessian import *\n"
        "print(_jit.cache_folder())"
    )
    for place, kept in ((str(tmp_path / "cache"), True), ("", False)):
        environment = {**os.environ, "ROOTML_CACHE": place, "HOME": str(tmp_path / "home")}
        environment |= {"XDG_CACHE_HOME": str(tmp_path / "xdg")}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == (str(tmp_path / "cache" / "kernels") if kept else "None")
        assert (tmp_path / "cache" / "kernels").is_dir()
        assert not (tmp_path / "xdg" / "rootml").exists()
        assert not (tmp_path / "home").exists()


BITS = """
import numpy as np
from sbi_problems import SignalBackground
one, rng = SignalBackground(150.0), np.random.default_rng(4)
like = one.model().likelihood(one.columns(one.draw(rng)), reference=one.reference(600))
for step in (0.1, -0.2, 0.3):
    point = np.array(like.start) + step
    value, gradient = like.nll_gradient(point)
    numbers = [like.nll(point), value, *gradient, *like.nll_hessian(point).ravel()]
    print(*(float(number).hex() for number in numbers))
"""


@pytest.mark.long
def test_kernels_that_were_kept_give_the_bits_of_those_just_compiled(tmp_path: Path) -> None:
    """Or a process that compiles, and workers that load what it kept, would differ."""
    environment = {**os.environ, "ROOTML_CACHE": str(tmp_path / "cache")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    found = [
        subprocess.run(
            [sys.executable, "-c", BITS],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in ("compiles", "loads")
    ]
    assert list((tmp_path / "cache" / "kernels").rglob("*.nbc"))
    assert found[0] == found[1]
    assert len(found[0].split()) > 12
