"""`rootml doctor`: what is installed and what works; broken packages are made up."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from rootml.cli import _doctor_checks as checks
from rootml.cli import main

PROJECT = Path(__file__).parents[3]


def test_every_package_of_every_extra_is_known() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    found = checks.by_extra(checks.required())
    assert set(found) == {"", *extras} - {"all"}
    for extra, lines in extras.items():
        if extra != "all":
            names = {line.partition(">")[0].partition("[")[0].strip() for line in lines}
            assert names <= {package.name for package in found[extra]}
    assert len(found[""]) == len(project["dependencies"])


def test_what_the_metadata_says_where_there_is_no_checkout(monkeypatch: Any) -> None:
    lines = ["numpy>=1.26", 'torch>=2.4; extra == "torch"',
             'dask[distributed]>=2024.8; extra == "dask"',
             'rootml[torch,dask]; extra == "all"']  # fmt: skip
    monkeypatch.setattr(checks, "__file__", "/nowhere/at/all/module.py")
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: lines)
    found = [(p.extra, p.name, p.module, p.minimum) for p in checks.required()]
    assert found == [
        ("", "numpy", "numpy", "1.26"), ("torch", "torch", "torch", "2.4"),
        ("dask", "dask", "dask", "2024.8"), ("dask", "distributed", "distributed", ""),
    ]  # fmt: skip


def made_up(folder: Path, name: str, code: str) -> checks.Package:
    (folder / f"{name}.py").write_text(code)
    return checks.Package(name, name, "bdt", minimum="2.0")


def test_packages_that_do_not_work(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    packages = [
        made_up(tmp_path, "works_well", "__version__ = '2.10'"),
        made_up(tmp_path, "too_old", "__version__ = '1.9.9'"),
        made_up(tmp_path, "raises_this", "raise ImportError('libmissing.so.3: cannot open')"),
        made_up(tmp_path, "crashes_hard", "import os; os.abort()"),
        checks.Package("not_there_at_all", "not_there_at_all", "bdt"),
    ]
    found = {p.name: p for p in checks.examine(packages, tries=True, progress=False)}
    assert {name: p.status for name, p in found.items()} == {
        "works_well": "ok", "too_old": "old", "raises_this": "broken", "crashes_hard": "broken",
        "not_there_at_all": "missing",
    }  # fmt: skip
    assert "libmissing.so.3" in found["raises_this"].reason
    assert "signal 6" in found["crashes_hard"].reason
    assert found["too_old"].reason == "1.9.9 is older than 2.0"
    quick = checks.examine(packages, tries=False)
    assert [p.status for p in quick] == ["not tried"] * 4 + ["missing"]


@pytest.mark.parametrize(
    ("status", "code"), [("ok", 0), ("not tried", 0), ("missing", 0), ("old", 1), ("broken", 1)]
)
def test_exit_code(status: checks.Status, code: int, monkeypatch: Any, capsys: Any) -> None:
    package = checks.Package("llvmlite", "llvmlite", "bdt", "0.45", "0.1", status, "bad luck")
    monkeypatch.setattr(checks, "examine", lambda *_, **__: [package])
    assert main(["doctor"]) == code
    text, said = capsys.readouterr()
    assert status in text
    assert ("error: llvmlite: bad luck" in said) == bool(code)
    assert ("pip install 'rootml[bdt]'" in text) == (status == "missing")
    assert main(["doctor", "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"] == (code == 0)
    assert found["packages"][0]["status"] == status


def test_a_missing_core_package_is_no_health(monkeypatch: Any, capsys: Any) -> None:
    package = checks.Package("isal", "isal", "")
    monkeypatch.setattr(checks, "examine", lambda *_, **__: [package])
    assert main(["doctor"]) == 1
    assert "error: isal: it is missing" in capsys.readouterr().err


def test_this_machine(capsys: Any) -> None:
    assert main(["doctor", "--quick", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert found["python"] == sys.version.split()[0]
    flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    assert set(found["cpu_features"]) <= set(flags)
    assert 1 << 28 < found["memory_bytes"] < 1 << 50
    versions = {p["name"]: p["version"] for p in found["packages"]}
    assert versions["numpy"] == importlib.metadata.version("numpy")


def test_the_engine_and_its_cache(monkeypatch: Any, tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("llvmlite")
    monkeypatch.setenv("ROOTML_CACHE", str(tmp_path / "cache"))
    assert main(["doctor", "--quick", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bdt_engine"]["engine"] == "llvm"
    assert found["caches"][0] == {
        "what": "forests", "folder": str(tmp_path / "cache" / "bdt"), "writable": True,
        "reason": "",
    }  # fmt: skip
    kernels = [str(tmp_path / "cache" / "kernels")] * (len(found["caches"]) - 1)
    assert [cache["folder"] for cache in found["caches"][1:]] == kernels
    assert not (tmp_path / "cache").exists()
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("ROOTML_CACHE", "")
    assert main(["doctor", "--quick"]) == 0
    assert "kept in memory only" in capsys.readouterr().out


def test_without_llvmlite_the_other_engine_is_named() -> None:
    code = (
        "import sys; sys.modules['llvmlite'] = None; sys.modules['llvmlite.binding'] = None\n"
        "from rootml.cli import main; sys.exit(main(['doctor', '--quick']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "engine numpy" in done.stdout
    assert "rootml[bdt]" in done.stdout


def test_requirements_of_other_processors_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [("llvmlite>=0.45", "bdt"), ("llvmlite>=0.48; platform_machine == 'aarch64'", "bdt")]
    monkeypatch.setattr(checks, "_requirements", lambda: lines)
    for machine, minimums in (("x86_64", ["0.45"]), ("aarch64", ["0.48"])):
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        assert [package.minimum for package in checks.required()] == minimums


def test_every_extra_says_what_it_is_for() -> None:
    assert {package.extra for package in checks.required()} <= checks.USES.keys()


def test_packages_that_are_installed_are_found() -> None:
    """The name of a distribution need not be that of its module: `ml-dtypes`, `hepdata-lib`."""
    installed = {
        dist.name.lower().replace("_", "-") for dist in importlib.metadata.distributions()
    }
    seen = {p.name: p.status for p in checks.examine(checks.required(), tries=False)}
    missing = {name for name, status in seen.items() if status == "missing"}
    assert missing.isdisjoint(installed)
