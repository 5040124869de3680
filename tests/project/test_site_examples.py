"""The Python on the pages of docs/ runs, on generated files, and prints what the pages say.

A page is one program: its ```` ```python ```` blocks, in order, in a folder with the files that
`tutorials/collisions.py` makes. A block ```` ```text title="Output" ```` is what the block before
it prints, `...` standing for anything. What a reader need not see stands in a comment,
``<!-- setup: ... -->``; what cannot run here says why: ``<!-- not run: ... -->`` before the block.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import importlib.util
import io
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.parent.name != "reference")
EVENTS = 5_000

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE
)
SETUP = re.compile(r"^<!-- setup:\n(?P<code>.*?)^-->$", re.DOTALL | re.MULTILINE)
NOT_RUN = re.compile(r"<!-- not run: (?P<why>[^>]+?) -->\s*\Z")


@dataclass(frozen=True)
class Block:
    """A piece of Python: where it begins in its page, what it prints, why it is not run."""

    line: int
    code: str
    output: str | None = None
    not_run: str | None = None


def blocks(text: str) -> list[Block]:
    """The Python of a page, in order."""
    found: list[tuple[int, Block]] = []
    for match in SETUP.finditer(text):
        found.append((match.start(), Block(line_of(text, match.start("code")), match["code"])))
    fences = list(FENCE.finditer(text))
    for number, match in enumerate(fences):
        if match["info"].split()[:1] != ["python"]:
            continue
        following = fences[number + 1] if number + 1 < len(fences) else None
        shown = following is not None and following["info"] == 'text title="Output"'
        output = textwrap.dedent(following["code"]) if following is not None and shown else None
        excuse = NOT_RUN.search(text[: match.start()])
        block = Block(
            line_of(text, match.start("code")),
            textwrap.dedent(match["code"]),
            output,
            excuse["why"] if excuse else None,
        )
        found.append((match.start(), block))
    return [block for _, block in sorted(found, key=lambda pair: pair[0])]


def line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def needs(text: str) -> list[str]:
    """Optional packages of a page, from its front matter."""
    match = re.match(r"---\n(.*?)^---$", text, re.DOTALL | re.MULTILINE)
    return list((yaml.safe_load(match[1]) or {}).get("needs", [])) if match else []


def name_of(path: Path) -> str:
    return path.relative_to(DOCS).as_posix()


@pytest.fixture(scope="session")
def collisions(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of the tutorials, made once."""
    folder = tmp_path_factory.mktemp("collisions")
    tutorial("collisions").make_files(folder, EVENTS)
    return sorted(folder.iterdir())


def tutorial(name: str) -> Any:
    """A module of the folder of tutorials."""
    spec = importlib.util.spec_from_file_location(name, PROJECT / "tutorials" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def tutorials_importable() -> Iterator[None]:
    """For what a page's setup takes from there."""
    sys.path.insert(0, str(PROJECT / "tutorials"))
    try:
        yield
    finally:
        sys.path.remove(str(PROJECT / "tutorials"))


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_page_runs(
    path: Path, collisions: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = path.read_text(encoding="utf-8")
    if not blocks(text):
        return
    for package in needs(text):
        pytest.importorskip(package)
    for file in collisions:
        os.link(file, tmp_path / file.name)
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": "page"}
    with tutorials_importable():
        for block in blocks(text):
            run(block, path, space)


def run(block: Block, path: Path, space: dict[str, Any]) -> None:
    """Run a block in the namespace of its page, and compare what it prints."""
    code = compile("\n" * (block.line - 1) + block.code, str(path), "exec", dont_inherit=True)
    if block.not_run:
        return
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, space)
    if block.output is not None:
        options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        where = f"{name_of(path)}, line {block.line}"
        same = doctest.OutputChecker().check_output(block.output, printed.getvalue(), options)
        assert same, f"{where} prints\n{printed.getvalue()}"


def test_the_pages_have_examples() -> None:
    """A guard of the test above: it finds what it should run, and little is excused."""
    found = [block for path in PAGES for block in blocks(path.read_text(encoding="utf-8"))]
    excused = [block for block in found if block.not_run]
    assert len(found) > 40
    assert len(excused) < len(found) / 5
    assert sum(block.output is not None for block in found) > 10


def test_blocks_are_found() -> None:
    text = textwrap.dedent(
        """\
        <!-- setup:
        a = 1
        -->
        === "Tab"

            ```python
            print(a)
            ```

            ```text title="Output"
            1
            ```

        <!-- not run: no network -->
        ```python
        b
        ```
        """
    )
    assert blocks(text) == [
        Block(2, "a = 1\n"),
        Block(7, "print(a)\n", "1\n"),
        Block(16, "b\n", None, "no network"),
    ]
