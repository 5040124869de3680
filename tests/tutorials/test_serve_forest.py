"""The tutorial on inference as a service, with NVIDIA's own server: `make test-triton`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
TRITON = os.environ.get("ROOTML_TRITON_PYTHON", "")


@pytest.mark.skipif(not TRITON, reason="needs ROOTML_TRITON_PYTHON, an environment with pytriton")
def test_files_are_scored_through_triton(tmp_path: Path) -> None:
    """The tutorial asserts that all bits are those of the forest in its own process."""
    for package in ("xgboost", "llvmlite", "matplotlib"):
        pytest.importorskip(package)
    paths = [str(PROJECT / folder) for folder in (".editable", "tutorials")]
    environment = {
        **os.environ,
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(paths),
        "ROOTML_TRITON_PYTHON": str(Path(TRITON).absolute()),
    }
    done = subprocess.run(
        [sys.executable, str(PROJECT / "tutorials" / "serve_forest.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    log = tmp_path / "tutorial-data" / "triton.log"
    server = log.read_text(errors="replace")[-3000:] if log.exists() else ""
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:] + server
    assert "5 friend files, equal" in done.stdout
    assert (tmp_path / "tutorial-data" / "service.png").stat().st_size > 4_000
