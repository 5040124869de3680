"""`Dataset.redefine` against RDataFrame's ``Redefine``."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

import rootml
from rootml.errors import UsageError

PT = np.array([10.0, 25.0, 31.0, 47.0, 60.0, 90.0])
ETA = np.array([0.5, -1.0, 2.0, 0.1, -2.4, 1.5])


@pytest.fixture
def path(tmp_path: Path) -> str:
    name = str(tmp_path / "events.root")
    with uproot.recreate(name) as file:
        file.mktree("Events", {"pt": "float64", "eta": "float64", "pt_up": "float64"})
        file["Events"].extend({"pt": PT, "eta": ETA, "pt_up": PT + 1})
    return name


def columns(data: rootml.Dataset, *names: str) -> list[list[float]]:
    array = data.select(list(names)).to_awkward()
    return [array[name].tolist() for name in names]


@pytest.mark.needs_root
def test_as_redefine_of_root(path: str, root: Any) -> None:
    """Texts given before see the old values, those given later the new ones."""
    frame = (
        root.RDataFrame("Events", path)
        .Define("twice", "2 * pt")
        .Filter("pt > 20")
        .Redefine("pt", "pt + eta")
        .Define("sum", "pt + twice")
        .Filter("pt < 61.5")
        .Redefine("pt", "pt * 2")
        .Redefine("twice", "twice + 1")
        .Filter("pt > 52")
    )
    theirs = frame.AsNumpy(["pt", "twice", "sum", "eta"])
    data = (
        rootml.open(path)
        .define(twice="2 * pt")
        .filter("pt > 20")
        .redefine(pt="pt + eta")
        .define(sum="pt + twice")
        .filter("pt < 61.5")
        .redefine(pt="pt * 2")
        .redefine(twice="twice + 1")
        .filter("pt > 52")
    )
    assert columns(data, *theirs) == [theirs[name].tolist() for name in theirs]
    assert len(theirs["pt"]) == 3
    again = pickle.loads(pickle.dumps(data))
    assert columns(again, "pt") == [theirs["pt"].tolist()]
    batches = data.select(["pt"]).batches(2, dtype="float64").numpy()
    assert np.concatenate(list(batches))[:, 0].tolist() == theirs["pt"].tolist()


def test_names_of_one_call_see_the_old_values(path: str) -> None:
    data = rootml.open(path).redefine(pt="eta", eta="pt")
    assert columns(data, "pt", "eta") == [ETA.tolist(), PT.tolist()]


def test_label_and_weight_keep_the_values_of_then(path: str) -> None:
    data = rootml.open(path, label="pt > 40", weight="pt").redefine(pt="-pt").select(["eta"])
    block = next(data.map_partitions(_both, label=True, weight=True))
    assert block == ((PT > 40).astype(int).tolist(), PT.tolist())
    later = data.with_weight("pt").with_label("pt < -40")
    block = next(later.map_partitions(_both, label=True, weight=True))
    assert block == ((PT > 40).astype(int).tolist(), (-PT).tolist())


def _both(block: Any) -> Any:
    return block.label.tolist(), block.weight.tolist()


def test_all_columns_and_variations(path: str) -> None:
    data = rootml.open(path).redefine(pt="pt / 2")
    assert data.columns == ("pt", "eta", "pt_up")
    assert data.to_awkward()["pt"].tolist() == (PT / 2).tolist()
    varied = data.vary("up", suffix="_up").select(["pt"])
    assert columns(varied, "pt") == [((PT + 1) / 2).tolist()]


def test_a_scan_of_before_holds_and_fingerprints_differ(path: str) -> None:
    data = rootml.open(path).filter("pt > 30")
    rows = data.scan().num_rows
    new = data.redefine(pt="pt / 10")
    assert new.scan().num_rows == rows == 4
    assert len({d.fingerprint for d in (data, new, new.redefine(pt="pt / 10"))}) == 3
    assert new.filter("pt < 5").scan().num_rows == 2


def test_what_cannot_be_redefined(path: str, tmp_path: Path) -> None:
    data = rootml.open(path)
    with pytest.raises(UsageError, match=r"no such column yet; nearest: .*'pt'"):
        data.redefine(ptt="pt").types()
    with pytest.raises(UsageError, match="replace it with redefine"):
        data.define(a="pt").define(a="eta")
    with pytest.raises(UsageError, match="replace the column with redefine"):
        data.define(pt="eta").types()
    with pytest.raises(UsageError, match="'pt' is redefined, and a split tells events apart"):
        data.split(test=0.5, by="floor(pt)")[0].redefine(pt="2").types()
    with pytest.raises(UsageError, match="which TOML cannot say"):
        rootml.toml.save(data.redefine(pt="2 * pt"), tmp_path / "data.toml")
