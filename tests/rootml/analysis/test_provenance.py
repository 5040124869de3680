"""What files say they were made from, read back from each format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

import rootml
from rootml import sbi
from rootml.analysis import provenance, stamped
from rootml.cli import main
from rootml.errors import CorruptFileError, MissingFileError


@pytest.fixture
def data(tmp_path: Path) -> rootml.Dataset:
    pq.write_table(pa.table({"x": np.arange(5.0)}), tmp_path / "in.parquet")
    return rootml.open(str(tmp_path / "in.parquet"))


@pytest.mark.parametrize("format_", ["root", "rntuple", "parquet", "arrow"])
def test_friends_and_skims_hold_their_makers(
    data: rootml.Dataset, tmp_path: Path, format_: str
) -> None:
    with stamped(seed=3):
        with stamped(git={"commit": "abc", "changed": False}):
            (friend,) = data.write_friend(
                tmp_path / "friends", {"s": np.arange(5.0)}, format=format_
            )
        (skim,) = data.filter("x > 1").skim(tmp_path / "skim", format=format_)
    found = provenance(friend)
    assert found["origin"]["path"] == "in.parquet"
    assert (found["seed"], found["git"]["commit"]) == (3, "abc")
    assert found["software"]["rootml"] == rootml.__version__
    assert provenance(skim)["seed"] == 3
    assert "git" not in provenance(skim)


def test_a_root_file_holds_it_as_plain_text(data: rootml.Dataset, tmp_path: Path) -> None:
    """What others read without rootml."""
    with stamped(seed=3):
        (path,) = data.write_friend(tmp_path / "friends", {"s": np.arange(5.0)}, format="root")
    with uproot.open(path) as file:
        assert json.loads(str(file["rootml"]))["provenance"]["seed"] == 3


def test_ratios_hold_their_makers(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    onnx = pytest.importorskip("onnx")
    from rootml import sbi

    rng = np.random.default_rng(1)
    for name, mean in (("S", 1.0), ("B", 0.0)):
        pq.write_table(pa.table({"x": rng.normal(mean, 1.0, 500)}), tmp_path / f"{name}.parquet")
    samples = {name: rootml.open(str(tmp_path / f"{name}.parquet")) for name in "SB"}
    estimator = sbi.RatioEstimator(["x"], ensemble=2, epochs=1, hidden=(4,), progress=False)
    ratios = estimator.fit(samples, reference="B")
    with stamped(seed=11):
        ratios.save(tmp_path / "ratios.onnx")
    assert provenance(tmp_path / "ratios.onnx")["seed"] == 11
    texts = {each.key: each.value for each in onnx.load(tmp_path / "ratios.onnx").metadata_props}
    assert json.loads(texts["provenance"])["software"]["rootml"] == rootml.__version__
    again = sbi.RatioEstimator.load(tmp_path / "ratios.onnx")
    assert again.record.to_json() == ratios.record.to_json()


@pytest.mark.parametrize("kind", ["npz", "hs3", "combined"])
def test_likelihoods_hold_their_makers(tmp_path: Path, kind: str) -> None:
    sample = {"name": "s", "data": [5.0], "modifiers": [
        {"name": "mu", "type": "normfactor", "data": None}]}  # fmt: skip
    whole = {
        "channels": [{"name": "one", "samples": [sample]}],
        "observations": [{"name": "one", "data": [7.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }
    like = sbi.Model({}, binned=sbi.Binned.from_pyhf(whole)).likelihood(None)
    kept: Any = sbi.CombinedLikelihood({"a": like}) if kind == "combined" else like
    with stamped(seed=11):
        path = sbi.save(kept, tmp_path / "m.json", format="hs3" if kind == "hs3" else "npz")
    found = provenance(path)
    assert (found["seed"], found["software"]["rootml"]) == (11, rootml.__version__)
    if kind != "hs3":
        assert sbi.load(path)(mu=1.5) == kept(mu=1.5)


def test_pictures_hold_their_makers(tmp_path: Path) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    figure = plt.figure(figsize=(1, 1))
    figure.savefig(tmp_path / "a.png", metadata={"Comment": json.dumps({"seed": 5})})
    figure.savefig(tmp_path / "b.png")
    plt.close(figure)
    assert provenance(tmp_path / "a.png") == {"seed": 5}
    assert provenance(tmp_path / "b.png") == {}


def test_files_of_others_say_nothing(tmp_path: Path, capsys: Any) -> None:
    for name, content in (("a.json", b"{}"), ("b.bin", b"\x01\x02"), ("c", b"")):
        (tmp_path / name).write_bytes(content)
        if name == "c":
            with pytest.raises(CorruptFileError, match="c: what it says"):
                provenance(tmp_path / name)
        else:
            assert provenance(tmp_path / name) == {}
    assert provenance(tmp_path) == {}
    with pytest.raises(MissingFileError, match="nowhere"):
        provenance(tmp_path / "nowhere")
    (tmp_path / "bad.json").write_text('{"provenance": 3}')
    with pytest.raises(CorruptFileError, match=r"bad\.json"):
        provenance(tmp_path / "bad.json")
    assert main(["provenance", str(tmp_path / "a.json")]) == 1
    assert "says nothing" in capsys.readouterr().err


def test_command_line(data: rootml.Dataset, tmp_path: Path, capsys: Any) -> None:
    with stamped(seed=3, git=None):
        (path,) = data.write_friend(tmp_path / "friends", {"s": np.arange(5.0)})
    assert main(["provenance", path]) == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line)
    assert (told["seed"], told["origin.path"], told["git"]) == ("3", "in.parquet", "-")
    assert main(["provenance", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[path]["seed"] == 3
