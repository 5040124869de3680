"""The benchmark goes on when a peer crashes, says so, and stops when we do."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest

WORKER = """
import json, os, signal, sys
job, folder = json.loads(sys.argv[1]), {folder!r}
name = job["way"].replace("/", "-")
path = os.path.join(folder, name)
for _ in sys.stdin:
    done = len(open(path).read()) if os.path.exists(path) else 0
    open(path, "a").write("x")
    if done + 1 in {crashes!r}.get(job["way"], []):
        os.kill(os.getpid(), signal.SIGSEGV)
    seconds = {{"nll": 0.25, "iminuit": 0.125}}.get(job["way"], 4.0)
    values = {{"mu": 1.0, "alpha": 0.0}}
    print(json.dumps({{"seconds": seconds, "values": values, "errors": {{"mu": 1, "alpha": 1}}}}),
          flush=True)
"""


def rows(
    folder: Path, monkeypatch: pytest.MonkeyPatch, crashes: dict[str, list[int]]
) -> dict[str, Any]:
    """Rows of four turns whose fits are not done, but crash as told."""
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    monkeypatch.syspath_prepend(str(benchmarks))
    turns = importlib.import_module("harness_sbi.turns")
    worker = folder / "worker.py"
    worker.write_text(WORKER.format(folder=str(folder), crashes=crashes))
    monkeypatch.setattr(turns, "WORKER", worker)
    spec = importlib.util.spec_from_file_location("benchmark_of_sbi", benchmarks / "sbi.py")
    assert spec is not None
    assert spec.loader is not None
    benchmark: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    problem = importlib.import_module("harness_sbi.problem").Problem(100_000)
    return {row.figure: row for row in benchmark.fit_rows(problem, 4)}


def test_without_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = rows(tmp_path, monkeypatch, {})
    assert found["nll"].value == 16.0
    assert found["nll"].passes
    assert found["iminuit"].text.startswith("125.00 ms; 32.0x bindFunction, NumPy")
    assert not any("crash" in row.text for row in found.values())


def test_a_peer_that_crashes_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first in its third fit, the second in each."""
    crashes = {"bindFunction, NumPy": [3], "bindFunction, torch": list(range(1, 20))}
    found = rows(tmp_path, monkeypatch, crashes)
    assert found["bindFunction, NumPy"].text.endswith("crashed 1 times (SIGSEGV), 3 of 4 fits")
    assert found["bindFunction, torch"].text == "crashed 3 times (SIGSEGV), 0 of 4 fits"
    assert "torch" not in found["nll"].text
    assert found["nll"].value == 16.0


def test_ours_may_not_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="process of columns ended with SIGSEGV"):
        rows(tmp_path, monkeypatch, {"columns": [2]})
