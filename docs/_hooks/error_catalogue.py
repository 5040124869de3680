"""The page of errors, made from `rootml/errors.py` and `errors.toml` when the site is built.

The classes, what they derive from and their first lines come from the code, read as text and never
imported; when each is raised and what to do comes from the TOML file.
"""

from __future__ import annotations

import ast
import logging
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "rootml" / "errors.py"
WORDS = HERE / "errors.toml"
PAGE = "errors.md"
MARK = "<!-- the catalogue -->"

logger = logging.getLogger("mkdocs.hooks.errors")  # a warning of MkDocs ends a strict build


@dataclass(frozen=True)
class ErrorClass:
    """An error as `rootml/errors.py` has it.

    Attributes:
        name: Of the class.
        bases: Of its parents, `RootmlError` first.
        summary: Its docstring.
    """

    name: str
    bases: tuple[str, ...]
    summary: str


def error_classes() -> list[ErrorClass]:
    """The classes of the hierarchy, in the order of the file."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    return [
        ErrorClass(node.name, tuple(map(ast.unparse, node.bases)), ast.get_docstring(node) or "")
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    ]


def overview(errors: list[ErrorClass]) -> str:
    """A table of all classes."""
    rows = [f"| [`{error.name}`](#{error.name}) | {first_line(error)} |" for error in errors]
    return "\n".join(["| error | |", "|---|---|", *rows])


def other_base(error: ErrorClass) -> str:
    """The builtin that it is as well."""
    return next(base for base in error.bases if base != "RootmlError")


def first_line(error: ErrorClass) -> str:
    """The docstring's first sentence."""
    return " ".join(error.summary.split("\n\n")[0].split())


def words() -> dict[str, dict[str, str]]:
    """What `errors.toml` says, by class."""
    return tomllib.loads(WORDS.read_text(encoding="utf-8"))


def entry(error: ErrorClass, said: dict[str, str]) -> str:
    """The section of one class."""
    parts = [
        f"### {error.name} {{ #{error.name} }}",
        f"{first_line(error)} Also a `{other_base(error)}`.",
        f"**When.** {said['when']}",
        f"**What to do.** {said['do']}",
    ]
    if "example" in said:
        program = f"```python\n{said['example'].strip()}\n```"
        parts += [program, f'```text title="{error.name}"\n{said["message"].strip()}\n```']
    return "\n\n".join(parts)


def catalogue() -> str:
    """The table, and a section per class, as Markdown."""
    said, errors = words(), error_classes()[1:]
    for missing in sorted({error.name for error in errors} - said.keys()):
        logger.warning("%s has no entry for %s", WORDS.name, missing)
        said[missing] = {"when": "(not described yet)", "do": "(not described yet)"}
    return "\n\n".join([overview(errors), *(entry(error, said[error.name]) for error in errors)])


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Called by MkDocs for each page."""
    if page.file.src_uri != PAGE:
        return markdown
    return markdown.replace(MARK, catalogue())


def on_serve(server: Any, **_: Any) -> None:
    """Called by MkDocs before it serves: rebuild when the sources change."""
    for path in (SOURCE, WORDS):
        server.watch(str(path))
