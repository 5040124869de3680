"""Runs pages of the guide and keeps the pictures that they write.

    make pictures ARGS="plots trust"        (those that are not current, if none is named)

`docs/assets/PAGE/NAME.png` is the file NAME.png that the program of `docs/guide/PAGE.md` writes.
`docs/assets/PAGE/program.sha256` says of which program; a test says which pages changed since.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DOCS = HERE.parent
ASSETS = DOCS / "assets"
sys.path.insert(0, str(HERE))
from pages import blocks  # type: ignore[import-not-found]  # noqa: E402 - its neighbour

PROGRAM = "program.sha256"


def pages() -> list[str]:
    """The pages whose programs draw what they show."""
    return sorted(path.parent.name for path in ASSETS.glob(f"*/{PROGRAM}"))


def wanted(page: str) -> set[str]:
    """Names of the pictures that a page shows of its own."""
    text = (DOCS / "guide" / f"{page}.md").read_text(encoding="utf-8")
    return set(re.findall(rf"\.\./assets/{page}/([\w.-]+\.png)", text))


def digest(page: str) -> str:
    """Of all Python of a page that is run."""
    text = (DOCS / "guide" / f"{page}.md").read_text(encoding="utf-8")
    code = "\n".join(block.code for block in blocks(text) if not block.not_run)
    return hashlib.sha256(code.encode()).hexdigest()


def is_current(page: str) -> bool:
    """Whether the pictures are those of the program, and none is missing or left over."""
    folder = ASSETS / page
    there = {path.name for path in folder.glob("*.png")}
    same = (folder / PROGRAM).read_text(encoding="utf-8").strip() == digest(page)
    return same and there == wanted(page)


def draw(page: str) -> list[Path]:
    """Run a page in an empty folder and keep the pictures that it shows.

    Raises:
        FileNotFoundError: The program does not write one of them.
    """
    path = DOCS / "guide" / f"{page}.md"
    target = ASSETS / page
    target.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        run(path)
        written = {each.name: each for each in Path(folder).rglob("*.png")}
        missing = wanted(page) - written.keys()
        if missing:
            message = (
                f"{path} shows {sorted(missing)}; its program writes {sorted(written)}, not those"
            )
            raise FileNotFoundError(message)
        for name in wanted(page):
            shutil.copy(written[name], target / name)
    for old in target.glob("*.png"):
        if old.name not in wanted(page):
            old.unlink()
    (target / PROGRAM).write_text(f"{digest(page)}\n", encoding="utf-8")
    return sorted(target.glob("*.png"))


def run(path: Path) -> None:
    """The program of a page, beside the files of the tutorials."""
    sys.path.insert(0, str(DOCS.parent / "tutorials"))
    from collisions import make_files

    make_files(Path(), 5_000)
    space: dict[str, Any] = {"__name__": "page"}
    for block in blocks(path.read_text(encoding="utf-8")):
        block.run(path, space)


def main() -> None:
    """Draw those that the command line names, or those that are not current."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    for page in sys.argv[1:] or [each for each in pages() if not is_current(each)]:
        for path in draw(page):
            size = path.stat().st_size / 1e3
            print(f"{path.relative_to(DOCS.parent)}: {size:.0f} kB", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
