"""Files: what is saved is what is loaded, and a changed file is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from sbi_problems import SignalBackground

from rootml import sbi
from rootml.cli import main
from rootml.errors import (
    ChangedFileError,
    CorruptFileError,
    MissingFileError,
    RootmlError,
    UsageError,
)
from rootml.sbi.files._json import read
from rootml.sbi.likelihood._binned import example_workspace
from rootml.sbi.likelihood._origin import Beyond, DroppedShape, Origin


@pytest.fixture
def everything(problem: SignalBackground, data: Any) -> sbi.Likelihood:
    """A likelihood with every kind of constraint, weights, and binned channels."""
    model = sbi.Model(
        {"S": "mu * 100", "B": "900 * norm / sqrt(mu)"},
        {"mu": sbi.Parameter(1.0, lower=0.1, upper=5.0), "k": sbi.Parameter(2.0, fixed=True)},
        {
            "jes": sbi.Nuisance(
                interpolation="code5", yields={"B": 1.1}, width=0.9, yield_interpolation="code1"
            ),
            "norm": sbi.Nuisance("lognormal", width=1.1, upper=3.0),
            "tau": sbi.Nuisance("poisson", width=30.0, observed=28.0),
            "free": sbi.Nuisance("none", value=0.3, fixed=True),
        },
        binned=example_workspace(),
        name="signal_region_events",
    )
    weights = np.random.default_rng(0).uniform(0.5, 1.5, len(data))
    columns = sbi.RatioColumns(problem.columns(data), weights)
    return model.likelihood(columns, reference=problem.reference()).with_observed(
        jes=0.3, norm=1.05
    )


@pytest.mark.parametrize("kind", ["npz", "parquet", "root"])
def test_what_is_known_of_ratios_comes_back(
    everything: sbi.Likelihood, tmp_path: Path, kind: str
) -> None:
    """Members of the ensemble, dropped shapes, and that weights are expected counts."""
    columns = everything.columns
    assert columns is not None
    some = np.array([2, 5, 11])
    members = tuple(dict(columns.take(some).scaled({"S": x})) for x in (1.1, 0.9))
    beyond = (Beyond("x", 7, -1.0, 2.5),)
    origin = Origin((DroppedShape("B", "jes", 0.02),), some, members, beyond)
    known = sbi.RatioColumns(dict(columns), columns.weights, asimov=True, origin=origin)
    path = sbi.save(everything.with_columns(known), tmp_path / "model.json", format=kind)
    found = sbi.load(path).columns
    assert found.asimov
    assert found.origin.dropped == origin.dropped
    assert found.origin.beyond == beyond
    assert np.array_equal(found.origin.sampled, some)
    for ours, theirs in zip(members, found.origin.members, strict=True):
        pairs = zip(
            sbi.RatioColumns(ours).arrays(), sbi.RatioColumns(theirs).arrays(), strict=True
        )
        assert all(a[:2] == b[:2] and np.array_equal(a[2], b[2]) for a, b in pairs)
    (file,) = tmp_path.glob("*.members.npz")
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(ChangedFileError, match=r"members\.npz was changed"):
        sbi.load(path)


@pytest.mark.parametrize("kind", ["npz", "parquet", "root"])
def test_a_likelihood_comes_back(everything: sbi.Likelihood, tmp_path: Path, kind: str) -> None:
    path = sbi.save(everything, tmp_path / "model.json", format=kind)
    loaded = sbi.load(path)
    assert loaded.model == everything.model
    assert loaded.observed == everything.observed
    theta = everything.start + 0.05
    value, gradient = everything.nll_gradient(theta)
    again, rise = loaded.nll_gradient(theta)
    assert again == value
    assert np.array_equal(rise, gradient)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "model.json", f"model.observed.{kind}", f"model.reference.{kind}"
    ]  # fmt: skip


def test_columns_can_be_read_by_others(everything: sbi.Likelihood, tmp_path: Path) -> None:
    path = sbi.save(everything, tmp_path / "model.json", format="root")
    document = json.loads(path.read_text())
    (facts,) = (d for d in document["data"] if d["name"] == "observed")
    key = next(c["key"] for c in facts["columns"] if c["process"] == "S")
    with uproot.open(tmp_path / facts["file"]) as file:
        (tree,) = file.values(filter_classname="TTree")
        array = tree[key].array(library="np")
    assert everything.columns is not None
    assert np.array_equal(array, everything.columns.ratio("S"))


def test_models_and_binned_likelihoods(everything: sbi.Likelihood, tmp_path: Path) -> None:
    assert sbi.load(sbi.save(everything.model, tmp_path / "a.json")) == everything.model
    like = sbi.asimov(sbi.Model({}, binned=example_workspace()), mu=1.5)
    again = sbi.load(sbi.save(like, tmp_path / "b.json"))
    assert again.nll(like.start) == like.nll(like.start)
    assert not list(tmp_path.glob("*.npz"))


def test_spelling_of_hs3(everything: sbi.Likelihood, tmp_path: Path) -> None:
    document = json.loads(sbi.save(everything, tmp_path / "model.json").read_text())
    assert document["metadata"]["hs3_version"] == "0.2"
    (domain,) = document["domains"]
    assert domain["type"] == "product_domain"
    assert {"name": "mu", "min": 0.1, "max": 5.0} in domain["axes"]
    kinds = {d["name"]: d["type"] for d in document["distributions"]}
    assert kinds["signal_region_events"] == "rootml:ratio_mixture"
    assert kinds["jes_constraint"] == "gaussian_dist"
    assert kinds["norm_constraint"] == "lognormal_dist"
    assert kinds["tau_constraint"] == "poisson_dist"
    assert "free_constraint" not in kinds
    (likelihood,) = document["likelihoods"]
    assert set(likelihood) >= {"name", "distributions", "data", "aux_distributions"}
    points = {p["name"]: p["parameters"] for p in document["parameter_points"]}
    assert {"name": "k", "value": 2.0, "const": True} in points["default_values"]
    assert {"name": "jes_observed", "value": 0.3, "const": True} in points[
        "auxiliary_measurements"
    ]


@pytest.mark.parametrize("kind", ["npz", "parquet", "root"])
def test_a_changed_file_is_refused(everything: sbi.Likelihood, tmp_path: Path, kind: str) -> None:
    path = sbi.save(everything, tmp_path / "model.json", format=kind)
    file = tmp_path / f"model.reference.{kind}"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ChangedFileError, match=r"model.reference.*changed after"):
        sbi.load(path)
    file.unlink()
    with pytest.raises(MissingFileError, match="belongs beside"):
        sbi.load(path)


def test_attachments_are_bound(everything: sbi.Likelihood, tmp_path: Path) -> None:
    network = tmp_path / "ratios.onnx"
    network.write_bytes(b"network")
    path = sbi.save(everything, tmp_path / "model.json", attachments={"ratios": network})
    assert read(path).attachments == {"ratios": network}
    network.write_bytes(b"another")
    with pytest.raises(ChangedFileError, match=r"ratios.onnx"):
        sbi.load(path)
    with pytest.raises(MissingFileError):
        sbi.save(everything, tmp_path / "x.json", attachments={"a": tmp_path / "none.onnx"})


def change(path: Path, edit: Any) -> None:
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (lambda d: d.pop("distributions"), CorruptFileError),
        (lambda d: d.update(distributions=[]), CorruptFileError),
        (lambda d: d["data"][0].update(file="../other.npz"), UsageError),
        (lambda d: d["data"][0].update(file="/etc/passwd"), UsageError),
        (lambda d: d["data"][0].update(format="pickle"), UsageError),
        (lambda d: d["data"][0]["columns"][0].update(key="nothing"), CorruptFileError),
        (lambda d: d["data"][0].update(events=3), CorruptFileError),
        (lambda d: d["distributions"][0]["processes"][0].update({"yield": "x + 1"}), KeyError),
        (lambda d: d["domains"][0]["axes"].clear(), CorruptFileError),
    ],
    ids=range(9),
)
def test_files_that_do_not_fit_together(
    everything: sbi.Likelihood, tmp_path: Path, edit: Any, error: type[Exception]
) -> None:
    path = sbi.save(everything, tmp_path / "model.json")
    change(path, edit)
    with pytest.raises(error) as caught:
        sbi.load(path)
    assert isinstance(caught.value, RootmlError)


def test_not_a_model_file(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    with pytest.raises(MissingFileError, match="no such model file"):
        sbi.load(path)
    for content in ("{", "[]", '"text"', "{}", '{"distributions": 3}'):
        path.write_text(content)
        with pytest.raises(CorruptFileError, match=r"model\.json"):
            sbi.load(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CorruptFileError):
        sbi.load(path)


def shifted(like: sbi.Likelihood) -> sbi.ShiftedLikelihood:
    """With the shifts of three replicas."""
    names, rng = tuple(like.parameters)[:3], np.random.default_rng(1)
    shifts = sbi.SampleShifts(names, rng.normal(0.0, 0.1, (4, 3)), np.array([0.1, 0.2, 0.3]))
    return sbi.ShiftedLikelihood(like, shifts, prefix="finite")


def test_shifts_of_samples_come_back(everything: sbi.Likelihood, tmp_path: Path) -> None:
    like = shifted(everything)
    assert len(like.parameters) > len(everything.parameters)
    path = sbi.save(like, tmp_path / "model.json")
    again = sbi.load(path)
    assert isinstance(again, sbi.ShiftedLikelihood)
    assert list(again.parameters) == list(like.parameters)
    assert "finite0" in again.parameters
    theta = like.start + 0.05
    value, gradient = like.nll_gradient(theta)
    found, rise = again.nll_gradient(theta)
    assert found == value
    assert np.array_equal(rise, gradient)


@pytest.mark.parametrize(
    "edit",
    [
        lambda s: s["shifts"][0].pop(),
        lambda s: s["names"].pop(),
        lambda s: s.pop("prefix"),
        lambda s: s.update(errors=[1.0, None, 1.0]),
        lambda s: s.update(errors="three"),
    ],
    ids=range(5),
)
def test_shifts_that_do_not_fit_together(
    everything: sbi.Likelihood, tmp_path: Path, edit: Any
) -> None:
    path = sbi.save(shifted(everything), tmp_path / "model.json")
    change(path, lambda document: edit(document["misc"]["rootml"]["shifts"]))
    with pytest.raises(CorruptFileError, match="not a model file of rootml"):
        sbi.load(path)


def test_a_combination_comes_back(everything: sbi.Likelihood, tmp_path: Path) -> None:
    """A model file per part, bound by checksums; events in the formats of the parts."""
    simple = sbi.Model({"S": "mu * 3"}, {"mu": everything.parameters["mu"]})  # type: ignore[dict-item]
    both = sbi.CombinedLikelihood(
        {"ee": shifted(everything), "mumu": simple.likelihood({"S": [1.0, 2.0]})}
    )
    network = tmp_path / "ratios.onnx"
    network.write_bytes(b"network")
    path = sbi.save(both, tmp_path / "all.json", attachments={"ratios": network})
    again = sbi.load(path)
    assert isinstance(again, sbi.CombinedLikelihood)
    assert list(again.parts) == ["ee", "mumu"]
    assert again.nll_gradient(both.start)[0] == both.nll_gradient(both.start)[0]
    assert sbi.load(tmp_path / "all.mumu.json").nll([1.0]) == both.parts["mumu"].nll([1.0])
    network.write_bytes(b"another")
    with pytest.raises(ChangedFileError, match=r"ratios\.onnx"):
        sbi.load(path)
    network.write_bytes(b"network")
    part = tmp_path / "all.mumu.json"
    part.write_text(part.read_text().replace("mu * 3", "mu * 4"))
    with pytest.raises(ChangedFileError, match=r"all\.mumu\.json"):
        sbi.load(path)
    part.unlink()
    with pytest.raises(MissingFileError, match=r"all\.mumu\.json"):
        sbi.load(path)


def test_a_combination_is_fitted_from_the_command_line(
    problem: SignalBackground, data: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = problem.likelihood(data[::2]), problem.likelihood(data[1::2])
    both = sbi.CombinedLikelihood(dict(zip("ab", half, strict=True)))
    path = sbi.save(both, tmp_path / "both.json")
    assert main(["sbi", "fit", str(path), "--impacts", "mu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["values"] == pytest.approx(sbi.fit(both).values)
    assert list(found["impacts"]) == ["jes"]


def test_likelihoods_that_are_no_model_files(tmp_path: Path) -> None:
    simple = sbi.Model({"S": "mu"}, {"mu": 1.0}).likelihood({"S": [1.0]})
    with pytest.raises(UsageError, match=r"part '\.\./a'"):
        sbi.save(sbi.CombinedLikelihood({"../a": simple}), tmp_path / "all.json")

    class Mine(sbi.Likelihood):
        """Something else."""

    mine = Mine(simple.model, simple.unbinned)
    with pytest.raises(UsageError, match="a Mine cannot be saved"):
        sbi.save(mine, tmp_path / "all.json")


def test_unknown_format(everything: sbi.Likelihood, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'csv'"):
        sbi.save(everything, tmp_path / "model.json", format="csv")
