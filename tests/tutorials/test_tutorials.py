"""Every tutorial is a notebook, runs in a fresh folder, and leaves the pictures it promises."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).parents[2] / "tutorials"
SHARED = Path(__file__).parents[3] / "shared" / "data"
DATA = Path(os.environ.get("ROOTML_TEST_DATA", SHARED)).resolve()
HELPERS = {"collisions", "jets", "nano", "page", "photons", "triton_server"}  # for the others
NEEDS = {
    "analysis": ("torch", "xgboost", "onnxruntime", "llvmlite", "iminuit", "hist"),
    "dask_cluster": ("distributed", "matplotlib"),
    "deploy_forest": ("xgboost", "llvmlite", "onnx", "onnxruntime", "matplotlib"),
    "fast_to_full": ("torch", "scipy", "sklearn", "matplotlib"),
    "fit_in_roofit": ("ROOT", "torch", "iminuit", "matplotlib"),
    "lhc_analysis": ("ROOT", "torch", "iminuit", "distributed", "matplotlib"),
    "morph_photons": ("torch", "xgboost", "scipy", "matplotlib"),
    "move_from_rdataloader": ("ROOT", "torch", "matplotlib"),
    "move_from_uproot": ("matplotlib",),
    "move_from_weaver": ("weaver", "lightning", "torch", "matplotlib"),
    "offshell_interference": ("iminuit", "matplotlib"),
    "particle_clouds": ("torch", "matplotlib"),
    "reading": ("matplotlib",),
    "sharing": (),
    "train_bdt": ("xgboost", "llvmlite", "matplotlib"),
    "train_tensorflow": ("tensorflow", "matplotlib"),
    "train_torch": ("torch", "matplotlib"),
}
LONG = {
    "analysis",
    "deploy_forest",
    "fast_to_full",
    "fit_in_roofit",
    "lhc_analysis",
    "morph_photons",
    "move_from_weaver",
    "offshell_interference",
}
ELSEWHERE = {"quickstart", "serve_forest", "train_distributed"}  # have tests of their own
SCRIPTS = sorted(path.stem for path in TUTORIALS.glob("*.py"))


def test_every_script_is_known() -> None:
    assert {*NEEDS, *HELPERS} | ELSEWHERE >= set(SCRIPTS) >= {*NEEDS, *HELPERS, "quickstart"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_a_notebook(name: str) -> None:
    """jupytext makes a valid notebook of it, which begins with a title, with prose and code."""
    jupytext = pytest.importorskip("jupytext")
    nbformat = pytest.importorskip("nbformat")
    notebook = jupytext.read(TUTORIALS / f"{name}.py", fmt="py:percent")
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    for cell in notebook.cells:
        assert cell.source.strip()
        if cell.cell_type == "code":
            compile(cell.source, name, "exec")
    again = jupytext.reads(jupytext.writes(notebook, fmt="ipynb"), fmt="ipynb")
    assert [cell.source for cell in again.cells] == [cell.source for cell in notebook.cells]
    assert {cell.cell_type for cell in notebook.cells} == {"markdown", "code"}


def run(name: str, folder: Path, **settings: str) -> str:
    """What a tutorial prints, run as a user does, in small; skip without its packages."""
    for package in NEEDS[name]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    environment = {
        **os.environ,
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",  # two at a time
        "PYTHONPATH": str(TUTORIALS),
        "ROOTML_TEST_DATA": str(DATA),
        "ROOTML_TUTORIALS": "small",
        **settings,
    }
    done = subprocess.run(
        [sys.executable, str(TUTORIALS / f"{name}.py")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long) if name in LONG else name for name in NEEDS],
)
def test_tutorial_runs(name: str, tmp_path: Path) -> None:
    assert run(name, tmp_path)
    promised = set(re.findall(r'"([\w-]+\.png)"', (TUTORIALS / f"{name}.py").read_text("utf-8")))
    drawn = {path.name: path for path in tmp_path.rglob("*.png")}
    assert promised <= set(drawn)
    assert drawn or name == "sharing", "a tutorial shows what there is to see"
    for path in drawn.values():
        assert path.stat().st_size > 4_000


def test_clouds_are_made_where_the_open_data_are_absent(tmp_path: Path) -> None:
    assert "reading tutorial-clouds/ttbar.root" in run(
        "particle_clouds", tmp_path, ROOTML_TEST_DATA=str(tmp_path)
    )
