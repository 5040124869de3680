"""What is installed: wheel and sdist, extras, pins, the Makefile's promises."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]
PARTS = ("batching", "bdt", "sbi")
QUICKSTART = ("collisions", "page", "photons", "quickstart")
"""Programs of tutorials/ that a wheel holds, for `rootml quickstart`."""


@cache
def metadata() -> dict[str, Any]:
    """The content of pyproject.toml."""
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


def sources() -> list[Path]:
    """The package's Python files, each once."""
    found = (path for part in ("rootml", *PARTS) for path in (PROJECT / part).rglob("*.py"))
    kept = (p for p in found if not any(q.is_symlink() for q in (p, *p.parents)))
    return sorted(path for path in kept if "__pycache__" not in path.parts)


def installed_name(path: Path) -> str:
    """Where a source file stands in the wheel."""
    name = path.relative_to(PROJECT).as_posix()
    return name if name.startswith("rootml/") else f"rootml/{name}"


# --- wheel and sdist -----------------------------------------------------------------------------


def build(source: Path, target: str, folder: Path) -> Path:
    """Build with the backend that pyproject names."""
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(PROJECT, "wheel", tmp_path_factory.mktemp("wheel"))


def test_wheel_holds_every_module_once_and_nothing_beside_rootml(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len(set(names)) == len(names)
    modules = {name for name in names if name.endswith(".py")}
    programs = {f"rootml/_tutorials/{name}.py" for name in QUICKSTART}
    assert modules == {installed_name(path) for path in sources()} | programs
    assert {"rootml/py.typed", "rootml/_tutorials/analysis.toml"} <= set(names)
    templates = {installed_name(path) for path in (PROJECT / "bdt").rglob("*.hpp")}
    assert templates
    assert templates <= set(names)
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"rootml"}


def test_wheel_works_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "import rootml, rootml.batching, rootml.bdt, rootml.sbi.morphing\n"
        "print(rootml.__version__, rootml.batching.__file__)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    version, file = run.stdout.split()
    assert file == str(tmp_path / "site" / "rootml" / "batching" / "__init__.py")
    assert f"-{version}-" in wheel.name


def test_quickstart_imports_what_the_wheel_holds() -> None:
    scripts = {path.stem for path in (PROJECT / "tutorials").glob("*.py")}
    for name in QUICKSTART:
        tree = ast.parse((PROJECT / "tutorials" / f"{name}.py").read_text(encoding="utf-8"))
        imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert imported & scripts <= set(QUICKSTART)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_wheel_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    """All of it imports from there, and the quickstart runs, without the repository."""
    for package in ("torch", "matplotlib", "xgboost", "llvmlite", "iminuit"):
        pytest.importorskip(package)
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    subprocess.run([*command, "--quiet", str(wheel)], check=True, cwd=tmp_path)
    site = next((tmp_path / "venv" / "lib").glob("python3*")) / "site-packages"
    # all else is that of this environment, whose .pth files (our clone!) are not read
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", "utf-8")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> str:
        done = subprocess.run(
            words, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    code = (
        "import importlib, pkgutil, rootml\n"
        "names = [m.name for m in pkgutil.walk_packages(rootml.__path__, 'rootml.')]\n"
        "for name in names: importlib.import_module(name)\n"
        "print(len(names), rootml.__file__)"
    )
    number, file = run(str(python), "-c", code).split()
    assert int(number) > 400
    assert file == str(site / "rootml" / "__init__.py")
    rootml = str(python.parent / "rootml")
    assert run(rootml, "--version").startswith("rootml 0.")
    said = run(
        rootml, "quickstart", "--events", "30000", "--photons", "4000", "--steps", "200",
        "--output", "shown",
    )  # fmt: skip
    assert re.findall(r"^(\d)/6 ", said, re.MULTILINE) == list("123456")
    assert (tmp_path / "shown" / "report.html").exists()


def test_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    archive = build(PROJECT, "sdist", tmp_path / "sdist")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    again = build(source, "wheel", tmp_path / "again")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as two:
        assert {n: one.read(n) for n in one.namelist()} == {n: two.read(n) for n in two.namelist()}


# --- extras and pins -----------------------------------------------------------------------------


def named_extras(path: Path) -> Iterator[str]:
    """Extras that the strings of a source file tell the user to install."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "extra" and isinstance(keyword.value, ast.Constant):
                    yield str(keyword.value.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for match in re.findall(r"rootml\[([a-z,]+)\]", node.value):
                yield from match.split(",")


def test_extras_that_errors_name_exist() -> None:
    named = {extra for path in sources() for extra in named_extras(path)} - {"none"}
    assert "torch" in named  # the search finds something
    assert named <= set(metadata()["project"]["optional-dependencies"])


def requirements(extras: set[str], groups: set[str]) -> Iterator[Requirement]:
    """What pip is asked for, extras of ours followed."""
    project = metadata()["project"]
    texts = list(project["dependencies"])
    for extra in extras:
        texts += project["optional-dependencies"][extra]
    for group in groups:
        for text in metadata()["dependency-groups"][group]:
            if isinstance(text, dict):
                yield from requirements(set(), {text["include-group"]})
            else:
                texts.append(text)
    yield from map(Requirement, texts)


def pins() -> dict[str, str]:
    """Package to version, from constraints.txt."""
    lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_what_make_installs_is_pinned_and_allowed() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    extras = {e for found in re.findall(r"\"\.\[([\w,]+)\]\"", makefile) for e in found.split(",")}
    groups = set(re.findall(r"--group (\w+)", makefile))
    assert {"torch", "plot"} <= extras
    assert "dev" in groups
    versions = pins()
    for requirement in requirements(extras, groups):
        name = canonicalize_name(requirement.name)
        assert name in versions, f"{name} has no pin in constraints.txt"
        assert requirement.specifier.contains(versions[name], prereleases=True)


def test_every_pip_call_is_constrained() -> None:
    for name in ("Makefile", ".ci/run"):
        text = (PROJECT / name).read_text(encoding="utf-8")
        for line in text.splitlines():
            if re.search(r"pip install", line):
                assert "--constraint constraints.txt" in line
    assert pins()["torch"] == "2.13.0"


def test_all_is_all_that_needs_no_system_library() -> None:
    extras = metadata()["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    covered = set(re.findall(r"[a-z]+", everything.split("[")[1]))
    assert set(extras) - covered - {"all"} == {"root", "xrootd"}


# --- make ----------------------------------------------------------------------------------------


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("no make")
    given = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "PYTHON"}  # of the make that runs us
    inherited = {name: value for name, value in os.environ.items() if name not in given}
    return subprocess.run(
        ["make", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        env={**inherited, **environment},
    )


@pytest.mark.parametrize("target", ["quickstart", "test", "test-full", "lint", "bench", "clean"])
def test_make_knows_its_targets(target: str) -> None:
    run = make("--dry-run", target)
    assert run.returncode == 0, run.stderr


def old_python(folder: Path, name: str) -> Path:
    """A stand-in for an interpreter that is too old: it fails every question of version."""
    path = folder / name
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)
    return path


def test_make_says_when_python_is_too_old(tmp_path: Path) -> None:
    for name in ("python3", "python3.13", "python3.12", "python3.11", "python"):
        old_python(tmp_path, name)
    tools = {tool: shutil.which(tool) for tool in ("sh", "make", "echo", "test", "mkdir", "touch")}
    for tool, where in tools.items():
        if where:
            (tmp_path / tool).symlink_to(where)
    room = tmp_path / "stamps"
    run = make("quickstart", f"STAMPS={room}", "SHELL=/bin/sh", PATH=str(tmp_path))
    assert run.returncode != 0
    assert "rootml needs Python 3.11 or newer" in run.stderr
    assert not room.exists()


# --- papers --------------------------------------------------------------------------------------


def test_changelog_and_citation_name_the_version() -> None:
    import rootml

    version = rootml.__version__.split(".dev")[0]
    assert version in (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = (PROJECT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(rf"^version: \"?{re.escape(version)}", citation, re.MULTILINE)
    for field in ("cff-version", "message", "title", "authors", "license"):
        assert re.search(rf"^{field}:", citation, re.MULTILINE), field


def test_ci_runs_what_the_readme_says() -> None:
    script = PROJECT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    text = script.read_text(encoding="utf-8")
    assert "make test" in text
    assert "make lint" in text
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert "make quickstart" in readme
    assert "make test" in readme
