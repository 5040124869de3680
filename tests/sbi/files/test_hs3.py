"""HS3 files beside what others make of them: pyhs3, ROOT's own reader, pyhf."""

from __future__ import annotations

import copy
import importlib.util
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sbi_workspaces import every_modifier

from rootml import sbi
from rootml.errors import CorruptFileError, MissingFileError, UsageError


def workspace() -> dict[str, Any]:
    """Names with spaces, and a measurement of the luminosity that is not its nominal value."""
    return every_modifier(shape="jet scale", lumi=1.01)


@pytest.fixture(scope="module")
def like() -> sbi.Likelihood:
    """Its likelihood."""
    return sbi.Model({}, binned=sbi.Binned.from_pyhf(workspace())).likelihood(None)


@pytest.fixture(scope="module")
def file(like: sbi.Likelihood, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sbi.save(like, tmp_path_factory.mktemp("hs3") / "model.json", format="hs3")


def points(like: sbi.Likelihood, number: int) -> list[dict[str, float]]:
    """Points of parameter space, also beyond +-1 where interpolations change; the first: start."""
    rng = np.random.default_rng(1)
    low, high = np.array([_range(each) for each in like.parameters.values()]).T
    rows = [like.start, *rng.uniform(low, high, (number - 1, len(low)))]
    return [dict(zip(like.parameters, row.tolist(), strict=True)) for row in rows]


def _range(parameter: Any) -> tuple[float, float]:
    if parameter.fixed:
        return parameter.value, parameter.value
    return (-1.6, 1.6) if parameter.value == 0.0 else (0.7, 1.4)


def written(name: str) -> str:
    """A parameter's name in the file."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", name.rstrip("]"))


# In a process of its own: its import changes how the whole process logs, and what it computes.
PYHS3 = """
import json, sys
import numpy as np, pyhs3, pytensor
file, names, points = json.load(sys.stdin)
read = pyhs3.Workspace.load(file)
term = read.model(read.analyses["analysis"]).log_prob
inputs = {v.name: v for v in pytensor.graph.traversal.explicit_graph_inputs([term])}
assert set(inputs) <= set(names), inputs
mode = pytensor.compile.mode.Mode(linker="py", optimizer="fast_compile")
function = pytensor.function(list(inputs.values()), term, mode=mode, on_unused_input="ignore")
found = []
for point in points:
    values = [np.full((1,) * v.type.ndim, point[name]) for name, v in inputs.items()]
    found.append(-float(np.ravel(function(*values))[0]))
print(json.dumps(found))
"""


def test_pyhs3_gives_our_likelihood(like: sbi.Likelihood, file: Path) -> None:
    """Differences to the first point: constants of the Poisson terms are no matter."""
    if importlib.util.find_spec("pyhs3") is None:
        pytest.skip("needs pyhs3")
    chosen = points(like, 12)
    named = [{written(name): value for name, value in point.items()} for point in chosen]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PYHS3],
        input=json.dumps([str(file), [written(name) for name in like.parameters], named]),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs = np.array(json.loads(done.stdout.splitlines()[-1]))
    ours = np.array([like(**point) for point in chosen])
    assert np.ptp(ours) > 10
    np.testing.assert_allclose(theirs - theirs[0], ours - ours[0], rtol=0, atol=1e-8)


@pytest.mark.needs_root
def test_root_reads_our_likelihood(root: Any, like: sbi.Likelihood, file: Path) -> None:
    """By RooJSONFactoryWSTool, with nothing of ours: channels, and each constraint once."""
    root.RooMsgService.instance().setGlobalKillBelow(root.RooFit.ERROR)
    read = root.RooWorkspace("read")
    assert root.RooJSONFactoryWSTool(read).importJSON(str(file))
    channels = [
        read.pdf(f"{name}_model").createNLL(
            read.data(f"{name}_observed"), root.RooFit.Extended(True)
        )
        for name in like.binned.channels  # type: ignore[union-attr]
    ]
    constraints = [each for each in read.allPdfs() if each.GetName().endswith("onstraint")]
    assert len(constraints) == 10  # two implied ones, lumi, seven bins
    found = []
    for point in points(like, 12):
        for name, value in point.items():
            read.var(written(name)).setVal(value)
        total = sum(each.getVal() for each in channels)
        total -= sum(math.log(each.getVal()) for each in constraints)
        found.append((total, like(**point)))
    theirs, ours = np.array(found).T
    np.testing.assert_allclose(theirs - theirs[0], ours - ours[0], rtol=0, atol=1e-8)
    assert read.var("mu").getMax() == like.parameters["mu"].upper
    assert read.var("stat_1").isConstant()


@pytest.mark.filterwarnings("ignore:.*RefResolver:DeprecationWarning")
def test_pyhf_workspaces_come_back(like: sbi.Likelihood) -> None:
    """In and out again, with other counts: pyhf gives our likelihood of what is written."""
    pyhf = pytest.importorskip("pyhf")
    assert isinstance(like.binned, sbi.Binned)
    changed = like.binned.with_observed({"signal_region": [60, 48], "control": [100, 90, 80]})
    written_back = pyhf.Workspace(json.loads(json.dumps(changed.to_pyhf())))
    settings = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
    model = written_back.model(modifier_settings=settings)
    data = written_back.data(model)
    ours = sbi.Model({}, binned=changed).likelihood(None)
    names = model.config.par_names
    found = []
    for point in points(ours, 6):
        values = [point[name] for name in names]
        found.append((-float(model.logpdf(values, data)[0]), ours(**point)))
    theirs, mine = np.array(found).T
    np.testing.assert_allclose(theirs - theirs[0], mine - mine[0], rtol=0, atol=1e-8)


def test_a_model_without_data_of_its_own_is_written_too(
    like: sbi.Likelihood, file: Path, tmp_path: Path
) -> None:
    model = sbi.save(like.model, tmp_path / "model.json", format="hs3")
    assert json.loads(model.read_text("utf-8")) == json.loads(file.read_text("utf-8"))


def test_what_hs3_cannot_say_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    model = sbi.Model({"S": "mu * 3", "B": "7"}, {"mu": sbi.Parameter(1.0, lower=0.0)})
    unbinned = model.likelihood({"S": [2.0, 0.5], "B": [1.0, 1.0]})
    for what in (model, unbinned):
        with pytest.raises(UsageError, match="HS3 has no learned ratios.*'S', 'B'"):
            sbi.save(what, path, format="hs3")
    binned = sbi.Model({}, binned=sbi.Binned.from_pyhf(workspace())).likelihood(None)
    combined = sbi.CombinedLikelihood({"a": binned})
    with pytest.raises(UsageError, match="a CombinedLikelihood cannot be written as HS3"):
        sbi.save(combined, path, format="hs3")
    with pytest.raises(UsageError, match="attachments"):
        sbi.save(binned, path, format="hs3", attachments={"a": path})
    assert not path.exists()


@pytest.mark.parametrize("facts", [{"auxdata": [0.5]}, {"sigmas": [2.0]}])
def test_constraints_that_hs3_does_not_imply_are_refused_by_name(
    facts: dict[str, list[float]], tmp_path: Path
) -> None:
    other = copy.deepcopy(workspace())
    other["measurements"][0]["config"]["parameters"].append({"name": "bkg_norm", **facts})
    like = sbi.Model({}, binned=sbi.Binned.from_pyhf(other)).likelihood(None)
    with pytest.raises(UsageError, match=r"implies.*'bkg_norm'"):
        sbi.save(like, tmp_path / "model.json", format="hs3")


def test_asimov_data_keep_their_outcomes(like: sbi.Likelihood, tmp_path: Path) -> None:
    """Outcomes of written constraints may be any; those of implied ones are 0."""
    asimov = sbi.asimov(like.model, mu=1.5, lumi=1.1)
    document = json.loads(sbi.save(asimov, tmp_path / "a.json", format="hs3").read_text("utf-8"))
    known = {each["name"]: each for each in document["distributions"]}
    assert known["lumi_constraint"]["x"] == pytest.approx(1.1)
    with pytest.raises(UsageError, match="bkg_norm"):
        sbi.save(sbi.asimov(like.model, bkg_norm=1.0), tmp_path / "b.json", format="hs3")


def test_our_reader_says_that_it_is_not_ours(file: Path, tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError, match="not a model file of rootml"):
        sbi.load(file)
    with pytest.raises(MissingFileError):
        sbi.save(sbi.load, tmp_path / "no" / "folder.json", format="hs3")  # type: ignore[arg-type]
