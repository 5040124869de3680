"""Docstrings as they are written in the code, turned into Markdown for the API reference.

They are plain text first: read by `help()`, run as doctests. Three things that are plain there
mean something else to Markdown, and one to the parser of the sections:

- an example (``>>>``) would be a quotation of a quotation: it is fenced;
- a reST table (``====  ====``) would be a heading: it becomes a table;
- ``::`` before an indented block would be shown: the block is fenced instead;
- one line for several arguments (``test, validation: Fractions``) is split.

Names of ours in backticks become links, where the reference has them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import griffe

PACKAGES = (
    "rootml", "rootml.batching", "rootml.bdt", "rootml.errors", "rootml.expressions", "rootml.sbi",
    "rootml.sbi.morphing", "rootml.sbi.roofit", "rootml.storage", "rootml.toml",
)  # fmt: skip
"""Packages whose names the reference shows; modules below them are private."""

_RULE = re.compile(r"^={2,}(?: +={2,})+$")
_NAME = re.compile(r"(?<!`)`(?P<name>rootml(?:\.\w+)+|[A-Z]\w+\.[a-z]\w*)`(?!`)")
_SHARED = re.compile(r"^(?P<indent> +)(?P<names>\w+(?:, \w+)+): (?P<text>.*)$")


def to_markdown(text: str) -> str:
    """The docstring as Markdown.

    >>> print(to_markdown("One.\\n\\n>>> 1 + 1\\n2"))
    One.
    <BLANKLINE>
    ```pycon
    >>> 1 + 1
    2
    ```
    """
    lines = text.expandtabs().splitlines()
    for change in (_tables, _literals, _examples, _shared_arguments):
        lines = list(change(lines))
    return "\n".join(lines)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _examples(lines: list[str]) -> Iterator[str]:
    """Fence doctests; one ends at a blank line that no further prompt follows."""
    fence, place = "", 0
    for number, line in enumerate(lines):
        if not fence and line.lstrip().startswith(">>>"):
            place = _indent(line)
            fence = "```"
            yield "```pycon"
        rest = lines[number + 1 :]
        goes_on = bool(rest) and (rest[0].strip() != "" or _next_is_prompt(rest))
        yield line[place:] if fence else line
        if fence and not goes_on:
            yield fence
            fence = ""


def _next_is_prompt(rest: list[str]) -> bool:
    following = next((line for line in rest if line.strip()), "")
    return following.lstrip().startswith(">>>")


def _literals(lines: list[str]) -> Iterator[str]:
    """Fence the indented block after ``::``."""
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if not line.rstrip().endswith("::"):
            yield line
            continue
        if line.strip() != "::":
            yield line.rstrip()[:-1]
        while position < len(lines) and not lines[position].strip():
            position += 1
        block = []
        outer = _indent(line)
        while position < len(lines) and (
            not lines[position].strip() or _indent(lines[position]) > outer
        ):
            block.append(lines[position])
            position += 1
        while block and not block[-1].strip():
            block.pop()
        inner = min((_indent(item) for item in block if item.strip()), default=0)
        code = [item[inner:] for item in block]
        yield from ("", f"```{_language(code)}", *code, "```", "")


def _language(lines: list[str]) -> str:
    try:
        ast.parse("\n".join(lines))
    except SyntaxError:
        return "text"
    return "python"


def _tables(lines: list[str]) -> Iterator[str]:
    """Markdown tables in the place of reST's simple tables."""
    position = 0
    while position < len(lines):
        if not _RULE.match(lines[position].strip()):
            yield lines[position]
            position += 1
            continue
        end = position
        rules = [position]
        while len(rules) < 3 and end + 1 < len(lines) and lines[end + 1].strip():
            end += 1
            if _RULE.match(lines[end].strip()):
                rules.append(end)
        yield from _table(lines[position : end + 1])
        position = end + 1


def _table(lines: list[str]) -> Iterator[str]:
    starts = [match.start() for match in re.finditer(r"=+", lines[0])]
    stops = [*starts[1:], None]

    def cells(line: str) -> list[str]:
        return [line[a:b].strip() for a, b in zip(starts, stops, strict=True)]

    rules = [number for number, line in enumerate(lines) if _RULE.match(line.strip())]
    head = [cells(line) for line in lines[rules[0] + 1 : rules[1]]]
    if len(rules) == 2:  # no head
        head, body = [[""] * len(starts)], head
    else:
        body = [cells(line) for line in lines[rules[1] + 1 : rules[2]]]
    rows: list[list[str]] = []
    for row in body:
        if row[0] or not rows:
            rows.append(row)
        else:  # goes on with the row before
            rows[-1] = [f"{a} {b}".strip() for a, b in zip(rows[-1], row, strict=True)]
    yield ""
    yield "| " + " | ".join(head[0]) + " |"
    yield "|" + "---|" * len(starts)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


def _shared_arguments(lines: list[str]) -> Iterator[str]:
    """One item for each of several arguments that share a line."""
    section = False
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if line in {"Args:", "Attributes:"}:
            section = True
        elif line and not line.startswith(" "):
            section = False
        match = _SHARED.match(line) if section and _indent(line) == 4 else None
        if match is None:
            yield line
            continue
        more = []
        while position < len(lines) and _indent(lines[position]) > 4:
            more.append(lines[position])
            position += 1
        names = match["names"].split(", ")
        yield f"    {names[0]}: {match['text']}"
        yield from more
        for name in names[1:]:
            yield f"    {name}: See `{names[0]}`."


def linked(text: str, package: str) -> str:
    """The text with `rootml.name` and `Class.method` as links; plain where nothing is found.

    Args:
        package: Where a class without a module is looked for, but for `Dataset`.
    """

    def link(match: re.Match[str]) -> str:
        name = match["name"]
        where = "rootml" if name.startswith("Dataset.") else package
        full = name if name.startswith("rootml.") else f"{where}.{name}"
        return f'<autoref identifier="{full}" optional><code>{name}</code></autoref>'

    parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith("```") else _NAME.sub(link, part) for part in parts)


def package_of(path: str) -> str:
    """The public package of an object, by its dotted path.

    >>> package_of("rootml.sbi.morphing.validation._report.ClosureReport.save")
    'rootml.sbi.morphing'
    """
    inside = (package for package in PACKAGES if f"{path}.".startswith(f"{package}."))
    return max(inside, key=len, default="rootml")


class Docstrings(griffe.Extension):
    """Changes the docstring of each object once it is loaded; leaves out private arguments."""

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Called by griffe for every function and method."""
        for name in [p.name for p in func.parameters if p.name.startswith("_")]:
            del func.parameters[name]

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Called by griffe for every class: private fields of dataclasses are no arguments."""
        for name, member in list(cls.members.items()):
            if member.is_attribute and name.startswith("_") and not name.startswith("__"):
                del cls.members[name]

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for every module, class, function and attribute."""
        if obj.docstring is not None:
            text = to_markdown(obj.docstring.value)
            obj.docstring.value = linked(text, package_of(obj.path))
