"""The Python on the pages of docs/ runs, on generated files, and prints what the pages say.

`docs/_hooks/pages.py` says what of a page is run, and how it is written.
"""

from __future__ import annotations

import contextlib
import doctest
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
from built_site import hook

PAGE_PROGRAMS = hook("pages")
blocks, Block = PAGE_PROGRAMS.blocks, PAGE_PROGRAMS.Block
PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.parent.name != "reference")

# Pages that train networks for 10 s and more run with `make test-long`.
TRAIN = {f"guide/{name}.md" for name in ("diagnostics", "morphing", "ratios", "trust")}

NUMBER = re.compile(r"[-+]?\d+\.\d+(?!\.\.)")


@dataclass(frozen=True)
class Head:
    """What the front matter of a page says: optional packages, and see `agree`."""

    needs: tuple[str, ...] = ()
    tolerance: float = 0.0


def head_of(text: str) -> Head:
    """The front matter of a page."""
    match = re.match(r"---\n(.*?)^---$", text, re.DOTALL | re.MULTILINE)
    lines = dict(re.findall(r"^(\w+): *(.*)$", match[1], re.MULTILINE)) if match else {}
    needs = re.findall(r"[\w.]+", lines.get("needs", ""))
    return Head(tuple(needs), float(lines.get("tolerance", 0)))


def agree(expected: str, printed: str, tolerance: float) -> bool:
    """Whether a page shows what was printed.

    Args:
        tolerance: What decimal fractions may differ by, relative to their size (at least 1):
            trained networks are not the same to the last digit on every machine.
    """
    if tolerance:
        printed = with_numbers_of(expected, printed, tolerance)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected, printed, options)


def with_numbers_of(expected: str, printed: str, tolerance: float) -> str:
    """`printed`, with the numbers of `expected` in each line where they are close."""
    wanted, lines = expected.splitlines(), printed.splitlines()
    if len(wanted) != len(lines):
        return printed
    for place, (line, other) in enumerate(zip(wanted, lines, strict=True)):
        numbers, ours = NUMBER.findall(line), NUMBER.findall(other)
        if len(numbers) == len(ours) and all(
            abs(float(a) - float(b)) <= tolerance * max(1.0, abs(float(a)))
            for a, b in zip(numbers, ours, strict=True)
        ):
            replacements = iter(numbers)
            lines[place] = NUMBER.sub(lambda _, each=replacements: next(each), other)  # type: ignore[misc]
    return "\n".join(lines) + "\n"


def name_of(path: Path) -> str:
    return path.relative_to(DOCS).as_posix()


@contextlib.contextmanager
def tutorials_importable() -> Iterator[None]:
    """For what a page's setup takes from there."""
    sys.path.insert(0, str(PROJECT / "tutorials"))
    try:
        yield
    finally:
        sys.path.remove(str(PROJECT / "tutorials"))


def pages_with_examples() -> list[Any]:
    """Parameters: the pages; those that want ROOT, and those that train networks, marked so."""
    found = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        marks = [pytest.mark.needs_root] if "ROOT" in head_of(text).needs else []
        if name_of(path) in TRAIN:
            marks.append(pytest.mark.long)
        if blocks(text):
            found.append(pytest.param(path, id=name_of(path), marks=marks))
    return found


@pytest.mark.parametrize("path", pages_with_examples())
def test_page_runs(
    path: Path,
    collision_files: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    text = path.read_text(encoding="utf-8")
    head = head_of(text)
    for package in head.needs:
        if package == "ROOT":
            request.getfixturevalue("root")  # which imports it without its remarks
        else:
            pytest.importorskip(package)
    for file in collision_files:
        os.link(file, tmp_path / file.name)
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": "page"}
    with tutorials_importable():
        for block in blocks(text):
            run(block, path, space, head.tolerance)


def run(block: Any, path: Path, space: dict[str, Any], tolerance: float) -> None:
    """Run a block in the namespace of its page, and compare what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        block.run(path, space)
    if block.output is not None and not block.not_run:
        same = agree(block.output, printed.getvalue(), tolerance)
        assert same, f"{name_of(path)}, line {block.line} prints\n{printed.getvalue()}"


def test_the_pages_have_examples() -> None:
    """A guard of the test above: it finds what it should run, and little is excused."""
    found = [block for path in PAGES for block in blocks(path.read_text(encoding="utf-8"))]
    excused = [block for block in found if block.not_run]
    assert len(found) > 40
    assert len(excused) < len(found) / 5
    assert sum(block.output is not None for block in found) > 10


def test_numbers_may_differ_by_the_tolerance_and_nothing_else_may() -> None:
    assert agree("mu  1.218 0.1\n", "mu   1.225 0.1\n", 0.01)
    assert not agree("mu  1.218 0.1\n", "mu   1.25 0.1\n", 0.01)
    assert not agree("mu  1.218\n", "mu   1.225\n", 0.0)
    assert not agree("20 toys 0.12\n", "19 toys 0.12\n", 0.5)
    assert not agree("0.12\n", "", 0.5)


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
