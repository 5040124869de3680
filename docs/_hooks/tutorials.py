"""The tutorials as pages: each percent script of tutorials/ becomes one, with a place in the menu.

Cells of text are Markdown as they are, cells of code are shown as code; the tests run the scripts.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

FOLDER = Path(__file__).parents[2] / "tutorials"
ORDER = (
    "quickstart",
    "reading",
    "train_torch",
    "train_tensorflow",
    "particle_clouds",
    "train_bdt",
    "deploy_forest",
    "serve_forest",
    "sharing",
    "train_distributed",
    "dask_cluster",
    "fit_in_roofit",
    "offshell_interference",
    "morph_photons",
    "fast_to_full",
)
"""What comes first in the menu; the others follow by name, what they import last."""
NOTE = """!!! note "This page is a program"

    It is `tutorials/{name}.py`: run it as it is, or open it as a notebook with jupytext. The tests
    run it.
"""


def scripts() -> list[Path]:
    """The tutorials in the order of the menu."""
    paths = {path.stem: path for path in FOLDER.glob("*.py")}
    helpers = {name for path in paths.values() for name in imported(path)} & paths.keys()
    first = [name for name in ORDER if name in paths]
    others = sorted(paths.keys() - helpers - set(first))
    return [paths[name] for name in [*first, *others, *sorted(helpers - set(first))]]


def imported(path: Path) -> Iterator[str]:
    """Names of modules that a script imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def title(path: Path) -> str:
    """The heading of a tutorial."""
    match = re.search(r"^# # (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return match[1] if match else path.stem


def as_markdown(path: Path) -> str:
    """The page of a script."""
    cells = re.split(r"^# %%", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    texts = []
    for cell in cells:
        kind, _, body = cell.partition("\n")
        if kind.strip() == "[markdown]":
            texts.append(re.sub(r"^# ?", "", body, flags=re.MULTILINE).strip())
        elif body.strip():
            texts.append(f"```python\n{body.strip()}\n```")
    head, _, rest = texts[0].partition("\n\n")
    return "\n\n".join([head, NOTE.format(name=path.stem), rest, *texts[1:]]) + "\n"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Called by MkDocs first: the tutorials get their place in the menu, behind the guide."""
    menu = [{title(path).replace("`", ""): f"tutorials/{path.stem}.md"} for path in scripts()]
    nav = config.nav or []
    for entry in nav:
        if isinstance(entry, dict) and "Tutorials" in entry:
            entry["Tutorials"] = [*entry["Tutorials"][:1], *menu]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by MkDocs once it has found the pages: ours are added."""
    for path in scripts():
        page = File.generated(config, f"tutorials/{path.stem}.md", content=as_markdown(path))
        files.append(page)
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Called by MkDocs for each page: the list of tutorials."""
    if page.file.src_uri != "tutorials/index.md":
        return markdown
    rows = [f"| [{title(path)}]({path.stem}.md) | `{path.name}` |" for path in scripts()]
    table = "\n".join(["| tutorial | script |", "|---|---|", *rows])
    return markdown.replace("<!-- the tutorials -->", table)


def on_serve(server: Any, **_: Any) -> None:
    """Called by MkDocs before it serves: rebuild when a tutorial changes."""
    server.watch(str(FOLDER))
