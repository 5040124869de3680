"""Runs the tutorials as notebooks, so that their pages show what they print and draw.

    make notebooks ARGS="reading train_bdt"        (all, if none is named)

writes docs/tutorials/NAME.ipynb with all outputs, which the site offers for download and makes the
page of. A test says which are older than their program. The tutorials run in small.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "tutorials"
TARGET = Path(__file__).parents[1] / "tutorials"
WITHOUT = frozenset({
    "quickstart", "analysis", "page", "collisions", "jets", "nano", "photons", "train_distributed",
    "serve_forest", "triton_server", "lhc_analysis",
})  # fmt: skip
"""Not run as notebooks: what others import, what writes a report of its own, what starts ranks or
a server, what takes many minutes."""
PRELUDE = """
import matplotlib_inline.backend_inline as _inline, matplotlib.pyplot as _pyplot
_inline.set_matplotlib_formats("png")
_pyplot.rcParams["figure.dpi"] = 100
"""
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def sources(name: str) -> list[tuple[str, str]]:
    """Kind and text of each cell of a tutorial."""
    import jupytext

    notebook = jupytext.read(FOLDER / f"{name}.py", fmt="py:percent")
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def is_current(name: str) -> bool:
    """Whether the notebook has the cells of the program."""
    import nbformat

    path = TARGET / f"{name}.ipynb"
    if not path.exists():
        return False
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return [(cell.cell_type, cell.source) for cell in notebook.cells] == sources(name)


def without_paths(text: str, folder: str) -> str:
    """Names of files only: those of the run, and those of the collection of real files."""
    data = os.environ.get("ROOTML_TEST_DATA", folder)
    return text.replace(f"{folder}/", "").replace(f"{data}/", "")


def tidy(output: Any, folder: str) -> Any | None:
    """An output without colours and paths of this machine; None for progress and warnings."""
    if output.output_type == "stream":
        output.text = without_paths(ESCAPES.sub("", output.text), folder)
        return output if output.name == "stdout" else None
    if output.output_type == "execute_result":
        output.execution_count = None
        output.data["text/plain"] = without_paths(output.data["text/plain"], folder)
    elif "image/png" not in output.data:
        return None
    kept = ("image/png",) if "image/png" in output.data else ("text/plain", "text/html")
    output.data = {kind: output.data[kind] for kind in kept if kind in output.data}
    output.metadata = {}
    return output


def render(name: str) -> Path:
    """Run a tutorial in an empty folder and write its notebook."""
    import jupytext
    import nbformat
    from nbclient import NotebookClient

    notebook = jupytext.read(FOLDER / f"{name}.py", fmt="py:percent")
    notebook.cells.insert(0, nbformat.v4.new_code_cell(PRELUDE))  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": folder}}
        ).execute()
    del notebook.cells[0]
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.execution_count = None
            outputs = (tidy(each, folder) for each in cell.outputs)
            cell.outputs = [each for each in outputs if each is not None]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    path = TARGET / f"{name}.ipynb"
    text = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
    path.write_text(f"{text}\n", encoding="utf-8")
    return path


def main() -> None:
    """Render the tutorials that the command line names, or those that are not current."""
    os.environ.setdefault("ROOTML_TUTORIALS", "small")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")])
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    known = sorted({path.stem for path in FOLDER.glob("*.py")} - WITHOUT)
    for name in sys.argv[1:] or [each for each in known if not is_current(each)]:
        path = render(name)
        print(f"{path.relative_to(Path.cwd())}: {path.stat().st_size / 1e3:.0f} kB", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
