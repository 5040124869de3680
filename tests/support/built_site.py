"""The documentation site, built once for all tests, and what its pages hold."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
PACKAGES = ("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers.python", "pymdownx")


def built_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site; built by whichever worker comes first, while the others wait."""
    for package in PACKAGES:
        pytest.importorskip(package)
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, log = shared / "site", shared / "site.log"
    with FileLock(shared / "site.lock"):
        if not log.exists():
            log.write_text(build(folder), encoding="utf-8")
    said = log.read_text(encoding="utf-8")
    assert said == "", said
    return folder


def build(folder: Path) -> str:
    """Build the site with warnings as errors; what it complained of.

    Not with --quiet, which hides warnings from --strict as well.
    """
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(
        [*command, "--site-dir", str(folder)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},  # an advertisement for its successor
    )
    lines = (done.stdout + done.stderr).splitlines()
    said = [line for line in lines if line.strip() and not line.startswith("INFO")]
    if done.returncode:
        said.append(f"mkdocs ended with {done.returncode}")
    return "\n".join(said)


def hook(name: str) -> Any:
    """A module of docs/_hooks."""
    path = DOCS / "_hooks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"docs_hooks_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there for their module
    spec.loader.exec_module(module)
    return module


def inventory(site: Path) -> set[str]:
    """The names that the reference documents, as objects.inv has them for other projects."""
    _, _, body = (site / "objects.inv").read_bytes().partition(b"zlib.\n")
    return {line.split(" ", 1)[0] for line in zlib.decompress(body).decode().splitlines()}


@dataclass
class Page(HTMLParser):
    """What a page of the site holds."""

    path: Path
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    headings: list[str] = field(default_factory=list)
    _heading: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.ids |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link" and "href" in found:
            self.resources.append(found["href"])
        elif "src" in found:
            self.resources.append(found["src"])
        if tag == "span" and "doc-object-name" in found.get("class", ""):
            self._heading = True

    def handle_data(self, data: str) -> None:
        if self._heading:
            self.headings.append(data.strip())
            self._heading = False


@cache
def page(path: Path) -> Page:
    """The page, read once."""
    return Page(path)


def html_pages(site: Path) -> Iterator[Path]:
    """All pages but that of errors 404, whose links are from the root of a server."""
    return (path for path in sorted(site.rglob("*.html")) if path.name != "404.html")
