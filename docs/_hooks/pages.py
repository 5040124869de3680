"""The programs of the pages: which Python a page has, and what it needs to run.

A page is one program: its ```` ```python ```` blocks, in order, in a folder with the files that
`tutorials/collisions.py` makes. A block ```` ```text title="Output" ```` is what the block before
it prints, `...` standing for anything. What a reader need not see stands in a comment,
``<!-- setup: ... -->``; what cannot run here says why: ``<!-- not run: ... -->`` before the block.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    def run(self, path: Path, space: dict[str, Any]) -> None:
        """Run it in the namespace of its page; errors name the line of the page."""
        code = compile("\n" * (self.line - 1) + self.code, str(path), "exec", dont_inherit=True)
        if not self.not_run:
            exec(code, space)


def blocks(text: str) -> list[Block]:
    """The Python of a page, in order."""
    found = [
        (match.start(), Block(line_of(text, match.start("code")), match["code"]))
        for match in SETUP.finditer(text)
    ]
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
    """The number of the line at a position."""
    return text.count("\n", 0, position) + 1
