"""`rootml morph`: fit, apply and validate on small files of the paper's toy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import uproot
from morphing_toy import write_toy

from rootml.cli import main

ROWS = 1500
FILES = ["--sim", "{folder}/sim.root", "--data", "{folder}/data.root"]
NAMES = ["-f", "v1A", "-f", "v1B", "-c", "pt", "-c", "eta"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files and a model fitted to them by the command."""
    pytest.importorskip("xgboost")
    torch.set_num_threads(1)
    made = tmp_path_factory.mktemp("morph")
    for kind in ("sim", "data"):
        write_toy(made / f"{kind}.root", kind, ROWS)
    options = ["--id", "event", "--steps", "40", "--seed", "3", "--quiet", *NAMES]
    files = ["--sim", f"{made}/sim.root:Events", "--data", f"{made}/data.root:Events"]
    assert main(["morph", "fit", f"{made}/toy.morph", *files, *options]) == 0
    return made


def test_fit_writes_a_model(folder: Path) -> None:
    assert (folder / "toy.morph").stat().st_size > 1000


def test_apply_writes_a_friend_beside_each_entry(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = folder / "corrected"
    words = ["morph", "apply", f"{folder}/toy.morph", "--sim", f"{folder}/sim.root:Events"]
    words += ["-o", str(output), "--suffix", "_new", "--cut", "eta < 1.5", "--quiet"]
    assert main(words) == 0
    (path,) = output.glob("*.root")
    friend = uproot.open(path)["Friends"].arrays(library="np")
    original = uproot.open(folder / "sim.root")["Events"].arrays(library="np")
    assert len(friend["v1A_new"]) == ROWS
    selected = original["eta"] < 1.5
    np.testing.assert_array_equal(np.isfinite(friend["v1A_new"]), selected)
    moved = friend["v1A_new"][selected] != original["v1A"][selected]
    assert moved.mean() > 0.9
    assert main(words) == 1
    assert str(path) in capsys.readouterr().err  # is there already
    assert main([*words, "--overwrite"]) == 0
    capsys.readouterr()
    assert main([*words, "--overwrite", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["paths"], found["rows"]) == ([str(path)], int(selected.sum()))
    assert found["outside"].keys() == {"pt", "eta"}


def test_fit_from_toml_files_with_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("sim", "data"):
        text = f"cuts = ['pt < 4']\n[[sample]]\nfiles = '{kind}.root:Events'\n"
        (folder / f"{kind}.toml").write_text(text)
    words = ["morph", "fit", f"{folder}/small.morph", "--sim", f"{folder}/sim.toml"]
    words += ["--data", f"{folder}/data.toml", "--steps", "5", "--reweight", "none", "--quiet"]
    assert main([*words, *NAMES, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["features"] == ["v1A", "v1B"]
    assert found["bytes"] == (folder / "small.morph").stat().st_size
    assert main([*words, *NAMES, "--sim-weight", "2"]) == 2
    assert "--sim-weight applies to ROOT files" in capsys.readouterr().err


def test_validate_prints_tables_json_and_draws(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["morph", "validate", f"{folder}/toy.morph", "--quiet", "--classifier", "trees"]
    words += ["--sim", f"{folder}/sim.root:Events", "--data", f"{folder}/data.root:Events"]
    assert main([*words, "--plots", f"{folder}/plots", "-o", f"{folder}/report.json"]) == 0
    written = capsys.readouterr()
    assert "two-sample AUC" in written.out
    assert "v1B" in written.out
    assert "6 pictures" in written.err
    assert len(list((folder / "plots").glob("*.png"))) == 2 + 2 + 2
    assert json.loads((folder / "report.json").read_text())["report"]["rows"] == ROWS
    assert main([*words, "--json", "--cut", "pt < 3"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["after"]["chi2_per_ndf_max"] < numbers["before"]["chi2_per_ndf_max"]
    assert numbers["before"]["rows"] < ROWS


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["fit", "m", "--sim", "absent.root", "--data", "absent.root", *NAMES], 1, "absent.root"),
        (["apply", "absent.morph", "--sim", "x.root", "-o", "y"], 1, "absent.morph"),
        (["fit", "m", "--sim", "x.root"], 2, "--data"),
        (["validate", "{folder}/sim.root", "--sim", "x.root", "--data", "x.root"], 1, "sim.root"),
        (
            ["fit", "m", *FILES, "-f", "v1a", "-c", "pt", "--reweight", "none"],
            1,
            "v1A",
        ),
        (
            ["fit", "m", *FILES, *NAMES, "--reweight", "magic"],
            1,
            "magic",
        ),
    ],
)
def test_what_goes_wrong_is_one_line(
    folder: Path, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [word.replace("{folder}", str(folder)) for word in words]
    assert main(["morph", *filled]) == code
    assert said in capsys.readouterr().err
