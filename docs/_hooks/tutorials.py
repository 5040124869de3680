"""The tutorials as pages: each percent script of tutorials/ becomes one, with a place in the menu.

Cells of text are Markdown as they are, cells of code are shown as code; the tests run the scripts.
"""

from __future__ import annotations

import ast
import base64
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

FOLDER = Path(__file__).parents[2] / "tutorials"
NOTEBOOKS = Path(__file__).parents[1] / "tutorials"
ORDER = (
    "quickstart",
    "analysis",
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
    "lhc_analysis",
    "morph_photons",
    "fast_to_full",
)
"""What comes first in the menu; the others follow by name, what they import last."""
RANK = """---
search:
  boost: {boost}
---

"""
"""Guides come before tutorials in the search, and both before what only makes files."""
NOTE = """!!! note "This page is a program"

    It is `tutorials/{name}.py`; the tests run it.{notebook}
"""
LINK = """ As a notebook with its outputs:
    [{name}.ipynb]({name}.ipynb){{ download }}."""


def scripts() -> list[Path]:
    """The tutorials in the order of the menu."""
    paths = {path.stem: path for path in FOLDER.glob("*.py")}
    helpers = imported_scripts()
    first = [name for name in ORDER if name in paths]
    others = sorted(paths.keys() - helpers - set(first))
    return [paths[name] for name in [*first, *others, *sorted(helpers - set(first))]]


def imported_scripts() -> set[str]:
    """Names of the scripts that others import."""
    paths = list(FOLDER.glob("*.py"))
    return {name for path in paths for name in imported(path)} & {path.stem for path in paths}


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


@dataclass
class Cell:
    """A cell of a tutorial: its kind and text, what it prints, the pictures that it draws."""

    kind: str
    text: str
    printed: str = ""
    pictures: list[bytes] = field(default_factory=list)


def cells_of(path: Path) -> list[Cell]:
    """From the notebook beside the guide, which has the outputs, or else from the program."""
    notebook = NOTEBOOKS / f"{path.stem}.ipynb"
    if notebook.exists():
        content = json.loads(notebook.read_text(encoding="utf-8"))
        return [run_cell(cell) for cell in content["cells"]]
    found = []
    for cell in re.split(r"^# %%", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        kind, _, body = cell.partition("\n")
        if kind.strip() == "[markdown]":
            found.append(Cell("markdown", re.sub(r"^# ?", "", body, flags=re.MULTILINE).strip()))
        elif body.strip():
            found.append(Cell("code", body.strip()))
    return found


def run_cell(cell: dict[str, Any]) -> Cell:
    """A cell of a notebook, with its outputs."""
    found = Cell(cell["cell_type"], "".join(cell["source"]))
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        if "image/png" in data:
            found.pictures.append(base64.b64decode("".join(data["image/png"])))
        else:
            found.printed += "".join(output.get("text", data.get("text/plain", "")))
    return found


def as_markdown(path: Path, cells: Sequence[Cell]) -> str:
    """The page of a script."""
    texts, pictures = [], 0
    for cell in cells:
        texts.append(cell.text if cell.kind == "markdown" else f"```python\n{cell.text}\n```")
        if cell.printed.strip():
            texts.append(f'```text title="Output"\n{cell.printed.rstrip()}\n```')
        for _ in cell.pictures:
            texts.append(f"![What this draws]({picture_name(path, pictures)})")
            pictures += 1
    head, _, rest = texts[0].partition("\n\n")
    link = LINK.format(name=path.stem) if (NOTEBOOKS / f"{path.stem}.ipynb").exists() else ""
    note = NOTE.format(name=path.stem, notebook=link)
    return "\n\n".join([head, note, rest, *texts[1:]]) + "\n"


def picture_name(path: Path, number: int) -> str:
    """Of a picture of a tutorial, in the folder of its page."""
    return f"{path.stem}-{number}.png"


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
    helpers = imported_scripts()
    for path in scripts():
        cells = cells_of(path)
        boost = 0.1 if path.stem in helpers else 0.5
        text = RANK.format(boost=boost) + as_markdown(path, cells)
        files.append(File.generated(config, f"tutorials/{path.stem}.md", content=text))
        for number, picture in enumerate(p for cell in cells for p in cell.pictures):
            name = f"tutorials/{picture_name(path, number)}"
            files.append(File.generated(config, name, content=picture))
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
