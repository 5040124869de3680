"""Reading root:// in processes that hold other large libraries, each order in one of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot
from remote_servers import XRootDServer

STEPS = {
    "tensorflow": "import tensorflow",
    "torch": "import torch",
    "frame": "ROOT.RDataFrame('Events', path).Filter('x > 0').Count().GetValue()",
    "root": "f = ROOT.TFile.Open(url); assert f.Get('Events').GetEntries() == 20000; f.Close()",
    "ours": "assert len(rootml.open(url + ':Events').to_arrow()) == 20000",
}
START = "import sys; url, path = sys.argv[1:]; import rootml"


@pytest.mark.parametrize(
    "order",
    [
        "tensorflow ours",
        "ours tensorflow ours",
        "torch tensorflow ours",
        pytest.param("frame ours frame ours", marks=pytest.mark.needs_root),
        pytest.param("ours frame ours", marks=pytest.mark.needs_root),
        pytest.param("tensorflow frame ours", marks=pytest.mark.needs_root),
        pytest.param("root ours root ours", marks=pytest.mark.needs_root),
    ],
)
def test_neighbours(order: str, xrootd: XRootDServer, remote_folder: Path, tmp_path: Path) -> None:
    """What has been loaded before, by whomever, does not end the process."""
    steps = order.split()
    for module in {"tensorflow", "torch"}.intersection(steps):
        pytest.importorskip(module)
    needs_root = {"frame", "root"}.intersection(steps)
    if needs_root:
        pytest.importorskip("ROOT")
    served = remote_folder / "neighbours.root"
    if not served.exists():
        with uproot.recreate(served) as file:
            file.mktree("Events", {"x": "float32"})
            file["Events"].extend({"x": np.arange(20_000, dtype=np.float32)})
    lines = [START, *["import ROOT"] * bool(needs_root), *(STEPS[step] for step in steps)]
    program = "\n".join([*lines, "print('reached the end')"])
    done = subprocess.run(
        [sys.executable, "-c", program, xrootd.url(served.name), str(served)],
        capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.strip() == "reached the end", done.stderr[-2000:]
    assert done.returncode == 0
