"""Everything shown runs: docstring examples, the README; tutorials have tests of their own."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rootml
from rootml.errors import MissingPackageError

PROJECT = Path(__file__).parents[2]
TUTORIALS = PROJECT / "tutorials"

# --- docstrings ----------------------------------------------------------------------------------


def modules() -> list[str]:
    """Every module of rootml, private ones too."""
    found = pkgutil.walk_packages(rootml.__path__, "rootml.")
    return ["rootml", *sorted(module.name for module in found)]


@pytest.mark.parametrize("name", modules())
def test_docstring_examples(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        module = importlib.import_module(name)
    except MissingPackageError as error:
        pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(optionflags=options)
    for example in doctest.DocTestFinder(exclude_empty=True).find(module):
        runner.run(example)
    assert runner.failures == 0, capsys.readouterr().out


def test_the_public_face_has_examples() -> None:
    """A guard of the test above: it finds examples where they are due."""
    for name in ("rootml", "rootml.batching", "rootml.expressions", "rootml.storage"):
        package = importlib.import_module(name)
        files = [m for m in modules() if m == name or m.startswith(f"{name}._")]
        found = sum(
            len(test.examples)
            for file in [name, *files]
            for test in doctest.DocTestFinder().find(importlib.import_module(file))
        )
        assert found > 0, package


# --- README --------------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    """The README's fenced blocks whose info string is exactly `language`."""
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{re.escape(language)}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run(script: Path, *arguments: str, cwd: Path) -> str:
    """Run a script as a user does; its output."""
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(TUTORIALS), "OMP_NUM_THREADS": "1"},  # two at a time
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def test_readme_examples(tmp_path: Path) -> None:
    for package in ("torch", "xgboost", "llvmlite", "iminuit"):
        pytest.importorskip(package)
    examples = blocks("python")
    assert examples
    script = tmp_path / "readme.py"
    script.write_text("\n".join(["from __future__ import annotations", *examples]))
    make = (
        "from pathlib import Path; from collisions import make_files; make_files(Path(), 20_000)"
    )
    (tmp_path / "make.py").write_text(make)
    run(tmp_path / "make.py", cwd=tmp_path)
    run(script, cwd=tmp_path)


def test_links_in_the_papers_lead_somewhere() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (PROJECT / name).read_text(encoding="utf-8")
        targets = re.findall(r"\]\((?!https?:)([^)#]+)", text)
        assert [target for target in targets if not (PROJECT / target).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "docs/cli.md"])
def test_every_command_is_named(page: str) -> None:
    from rootml.cli import app

    names = [command.callback.__name__ for command in app.registered_commands if command.callback]
    names += [str(group.typer_instance and group.typer_instance.info.name)
              for group in app.registered_groups]  # fmt: skip
    text = (PROJECT / page).read_text(encoding="utf-8")
    assert len(names) > 10
    assert [name for name in names if not re.search(rf"`(rootml )?{name}\b", text)] == []


# --- benchmarks ----------------------------------------------------------------------------------


@pytest.mark.needs_root
def test_benchmark_engines_deliver_every_row(tmp_path: Path) -> None:
    """The runners of ours and of the peers, on small files made as the benchmark makes them."""
    pytest.importorskip("ROOT")
    pytest.importorskip("torch")
    check = PROJECT / "benchmarks" / "harness" / "check.py"
    output = run(check, str(tmp_path), cwd=tmp_path)
    assert output.splitlines()[-1] == "all engines deliver every row"
