"""Inference at the edges: no events, ties, a signal at its limit, a huge -log L.

Counting experiments against exact Poisson probabilities and the asymptotic formulae written down;
the published likelihoods of the ATLAS sbottom search (HEPData 1748602) against pyhf.
"""

from __future__ import annotations

import json
import math
import os
import tarfile
from pathlib import Path
from typing import Any

import jsonpatch
import numpy as np
import pyhf
import pytest
from sbi_counting import cls_of_formula, count
from scipy import optimize, stats

from rootml import sbi
from rootml.errors import UsageError
from rootml.sbi.inference.toys._toy_task import child_seeds

pytestmark = pytest.mark.filterwarnings("ignore:.*RefResolver:DeprecationWarning")  # in pyhf


@pytest.mark.parametrize(("background", "signal"), [(1.0, 1.0), (3.0, 1.0), (1.0, 0.1)])
def test_limit_at_zero_events(background: float, signal: float) -> None:
    """The fit stands at mu = 0 and has no error there; the limit is that of the formula."""
    like = count(background, 0, signal)
    assert sbi.fit(like).at_limit == ["mu"]
    right = optimize.brentq(lambda s: cls_of_formula(0, background, s) - 0.05, 0.1, 20.0)
    assert sbi.limit(like, "mu", points=2).observed == pytest.approx(right / signal, rel=1e-3)


def test_limit_by_toys_at_zero_events() -> None:
    """CLs of no event is exp(-s) exactly."""
    found = sbi.limit_by_toys(count(1.0, 0), "mu", values=[1.5, 4.0], number=400, seed=1)
    error = np.sqrt(np.exp(-found.values) / 400 + 1.0 / 400)
    assert (np.abs(found.curves["observed"] - np.exp(-found.values)) < 4.0 * error).all()


@pytest.mark.parametrize("background", [0.5, 3.0, 10.0])
def test_discovery_toys_count_ties(background: float) -> None:
    """The probability of at least as many counts, not of more; a bound where no toy has them."""
    model = count(background, 1).model
    number = 300
    toys = sbi.toys(
        model, number=number, seed=5, truth={"mu": 0.0}, tests=[{"mu": 0.0}], progress=False
    )
    for observed in (int(background) + 1, int(background) + 3):
        exact = float(stats.poisson.sf(observed - 1, background))
        found = sbi.discovery(count(background, observed), "mu", toys_null=toys)
        assert abs(found.p_value - exact) < 4.0 * math.sqrt(exact * (1.0 - exact) / number)
        assert not found.bound
    none = sbi.discovery(count(background, background + 40.0), "mu", toys_null=toys)
    assert none.bound
    assert none.p_value == pytest.approx(1.0 - 0.05 ** (1.0 / number))
    assert math.isfinite(none.significance)
    assert "< 0.00" in repr(none)


def test_seeds_share_no_toys() -> None:
    """Seeds that are added would give seed 1 and 2 the same toys at neighbouring values."""
    first, second = (np.ravel(child_seeds(seed, 20, 2)) for seed in (1, 2))
    assert not set(first) & set(second)
    assert len(set(first)) == 40


def test_cls_of_values_that_cannot_be_tested() -> None:
    with pytest.raises(UsageError, match="above that without a signal"):
        sbi.cls(count(1.0, 1), "mu", 0.0)


def test_minos_where_the_likelihood_is_large() -> None:
    """154,000 events, -log L about -1.7e6: differences of 0.5 are to be found in it."""
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(0.0, 0.5, 600), rng.uniform(-5.0, 5.0, 154_000)])

    def columns(x: Any) -> dict[str, Any]:
        peak = [10.0 * stats.norm.pdf(x, 0.0, width) for width in (0.5, 0.55, 0.45)]
        tilt = (1.0 + 0.05 * x / 5.0, 1.0 - 0.05 * x / 5.0)
        return {"S": {"nominal": peak[0] + 1e-9, "width": (peak[1] + 1e-9, peak[2] + 1e-9)},
                "B": {"nominal": np.ones_like(x), "tilt": tilt}}  # fmt: skip

    model = sbi.Model(
        {"S": "mu * 600", "B": "154000"}, {"mu": sbi.Parameter(1.0, lower=-5.0, upper=8.0)},
        {name: sbi.Nuisance(interpolation="code5") for name in ("width", "tilt")}
        | {"norm": sbi.Nuisance(yields={"B": 1.02})},
    )  # fmt: skip
    like = model.likelihood(columns(x), reference=columns(rng.uniform(-5.0, 5.0, 20_000)))
    result = sbi.fit(like)
    assert result.valid
    assert result.nll < -1.5e6
    low, high = result.minos("mu")
    for end in (low, high):
        held = sbi.fit(like, fixed={"mu": end}, start=result.values)
        assert 2.0 * (held.nll - result.nll) == pytest.approx(1.0, abs=0.02)


# --- published likelihoods -------------------------------------------------------------------

_ARCHIVE = "pyhf-ins1748602-probability-models.tar.gz"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of HEPData record 1748602, from the folder of ROOTML_TEST_DATA."""
    archive = Path(os.environ.get("ROOTML_TEST_DATA", ".")) / _ARCHIVE
    if not archive.is_file():
        pytest.skip(f"{_ARCHIVE} is not in the folder that ROOTML_TEST_DATA names")
    folder = tmp_path_factory.mktemp("sbottom")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def sbottom(folder: Path, region: str, patch: str) -> dict[str, Any]:
    """The workspace of one signal hypothesis."""
    background, change = (
        json.loads((folder / f"Region{region}" / name).read_text())
        for name in ("BkgOnly.json", f"patch.sbottom_{patch}.json")
    )
    workspace: dict[str, Any] = jsonpatch.apply_patch(background, change)
    return workspace


def lowest_of_pyhf(workspace: dict[str, Any], like: sbi.Likelihood, ours: Any) -> list[float]:
    """-2 log L, by our function, at the minima that pyhf finds from its start and from ours.

    Where its minimiser does not converge, the point where it stopped counts: no minimum of ours
    may lie above that either.
    """
    codes = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
    read = pyhf.Workspace(workspace)
    model = read.model(modifier_settings=codes)
    names = model.config.par_names
    first = [ours[name] for name in names]
    backend = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer())
    found = []
    try:
        for start in (None, first):
            try:
                best = pyhf.infer.mle.fit(read.data(model), model, init_pars=start)
            except pyhf.exceptions.FailedMinimization as error:
                best = error.result.x
            point = dict(zip(names, np.asarray(best).tolist(), strict=True))
            found.append(2.0 * like.nll([point[name] for name in like.parameters]))
    finally:
        pyhf.set_backend(*backend)
    return found


def check_published(folder: Path, region: str, patch: str) -> None:
    """Our fit is valid, and not above what pyhf finds."""
    workspace = sbottom(folder, region, patch)
    like = sbi.Model({}, binned=workspace).likelihood(None)
    result = sbi.fit(like)
    assert result.valid, result.problems
    theirs = lowest_of_pyhf(workspace, like, result.values)
    assert len(theirs) == 2
    assert 2.0 * result.nll < min(theirs) + 1e-3


def check_cls(folder: Path, region: str, patch: str) -> None:
    """CLs of mu = 1 is pyhf's."""
    workspace = sbottom(folder, region, patch)
    codes = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
    read = pyhf.Workspace(workspace)
    model = read.model(modifier_settings=codes)
    backend = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer())
    try:
        theirs = float(pyhf.infer.hypotest(1.0, read.data(model), model, test_stat="qtilde"))
    finally:
        pyhf.set_backend(*backend)
    ours = sbi.cls(sbi.Model({}, binned=workspace).likelihood(None), "mu_SIG", 1.0).observed
    assert ours == pytest.approx(theirs, abs=1e-3)


def patches(folder: Path, region: str) -> list[str]:
    """25 of a region: every k-th by name."""
    names = sorted(p.stem.split("sbottom_")[1] for p in (folder / f"Region{region}").glob("p*"))
    return names[:: len(names) // 25][:25]


def test_a_published_likelihood(published: Path) -> None:
    check_published(published, "B", "800_205_60")
    workspace = sbottom(published, "C", "600_280_150")
    found = sbi.cls(sbi.Model({}, binned=workspace).likelihood(None), "mu_SIG", 1.0)
    assert found.observed == pytest.approx(0.8860, abs=1e-3)  # of pyhf 0.7.6


@pytest.mark.slow
@pytest.mark.parametrize("place", range(25))
@pytest.mark.parametrize("region", ["A", "B", "C"])
def test_published_likelihoods(published: Path, region: str, place: int) -> None:
    check_published(published, region, patches(published, region)[place])


# where pyhf's own fits converge: those of the others raise FailedMinimization
@pytest.mark.slow
@pytest.mark.parametrize(
    ("region", "patch"),
    [
        ("A", "1000_900_60"), ("A", "500_380_250"), ("A", "800_650_60"),
        ("B", "400_370_240"), ("B", "600_500_60"), ("B", "800_580_450"),
        ("C", "600_280_150"), ("C", "700_380_250"), ("C", "800_750_60"),
    ],
)  # fmt: skip
def test_cls_of_published_likelihoods(published: Path, region: str, patch: str) -> None:
    check_cls(published, region, patch)
