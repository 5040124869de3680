# %% [markdown]
# # A report while it happens
#
# What the quickstart writes on the terminal and, at its end, into one html file without anything
# from outside: titles, sentences, claims that were checked, pictures for light and dark screens.

# %%
from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from textwrap import indent
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib import pyplot as plt
from rich.console import Console
from rich.progress import track

mpl.use("Agg")  # draws into files, needs no screen

STYLE = """
:root { --text: #1d2430; --soft: #5a6472; --back: #ffffff; --card: #f4f6f9; --line: #d9dee6;
  --good: #12724a; --link: #1f5fae; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ee; --soft: #a0aab8; --back: #14181f;
  --card: #1c222c; --line: #333c4a; --good: #5fd0a0; --link: #86b7f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 68rem; color: var(--text);
  background: var(--back); font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { line-height: 1.2; margin: .5rem 0; } h2 { margin: 0 0 .3rem; font-size: 1.25rem; }
section { border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.2rem;
  margin: 1.2rem 0; background: var(--card); }
section > small, .lead { color: var(--soft); } p { margin: .4rem 0; max-width: 54rem; }
ul { list-style: none; margin: .6rem 0; padding: 0; max-width: 54rem; }
li { padding-left: 1.5rem; text-indent: -1.5rem; }
li::before { content: "\\2713"; color: var(--good); font-weight: bold; display: inline-block;
  width: 1.5rem; text-indent: 0; }
.pictures { display: grid; gap: 1rem; margin-top: .8rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
img { display: block; width: 100%; height: auto; border-radius: .4rem; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .9rem; margin-top: .3rem; }
pre { overflow-x: auto; font: .85rem/1.4 ui-monospace, monospace; }
"""
LIGHT = {"figure.facecolor": "#f4f6f9", "axes.facecolor": "#f4f6f9", "text.color": "#1d2430"}
DARK = {"figure.facecolor": "#1c222c", "axes.facecolor": "#1c222c", "text.color": "#e4e8ee"}
COLOURS = ["#3b7dd8", "#d8603b", "#3aa37a", "#a36bd0"]  # told apart on both, by most eyes


class ClaimFailed(Exception):
    """What was claimed did not hold."""


@dataclass
class Section:
    """One step of the report."""

    title: str
    seconds: float = 0.0
    lines: list[str] = field(default_factory=list)
    table: str = ""
    claims: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)


class Page:
    """Collects what is said and drawn; tells it on the terminal at once."""

    def __init__(self, folder: Path, *, steps: int) -> None:
        self.folder, self.steps = folder, steps
        self.sections: list[Section] = []
        self.drawings: dict[str, Callable[[Any], None]] = {}
        self.console = Console(highlight=False)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A section; what is said inside belongs to it."""
        self.sections.append(Section(title))
        self.console.print(f"\n[bold]{len(self.sections)}/{self.steps}  {title}[/]")
        begun = time.perf_counter()
        yield
        self.sections[-1].seconds = time.perf_counter() - begun

    def track(self, items: Any, name: str) -> Iterator[Any]:
        """`items`, with a bar on terminals; they know their number."""
        shown = self.console.is_terminal
        return iter(
            track(items, f"     {name}", console=self.console, transient=True, disable=not shown)
        )

    def say(self, text: str) -> None:
        """A sentence or two."""
        self.sections[-1].lines.append(text)
        self.console.print(f"     {text}", markup=False, soft_wrap=True)

    def table(self, text: str) -> None:
        """Lines of a table, as they are."""
        self.sections[-1].table = text
        self.console.print(indent(text, "     "), markup=False, soft_wrap=True)

    def claim(self, text: str, holds: Any) -> None:
        """Something that was checked; what does not hold ends the program.

        Raises:
            ClaimFailed: It does not hold.
        """
        if not holds:
            message = f"this does not hold: {text}"
            raise ClaimFailed(message)
        self.sections[-1].claims.append(text)
        self.console.print("   [green]✓[/]", end=" ")
        self.console.print(text, markup=False, soft_wrap=True)

    def picture(self, name: str, caption: str, draw: Callable[[Any], None]) -> None:
        """Draw into axes, for light and for dark screens; the light one is kept as a file too."""
        self.drawings[name] = draw
        light, dark = (_drawn([draw], colours) for colours in (LIGHT, DARK))
        (self.folder / f"{name}.png").write_bytes(light)
        self.sections[-1].pictures.append(
            f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{_uri(dark)}">'
            f'<img src="{_uri(light)}" alt="{escape(caption)}"></picture>'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )

    def overview(self, name: str, pictures: Sequence[str]) -> None:
        """Some of the pictures side by side, as one more file."""
        drawn = _drawn([self.drawings[each] for each in pictures], LIGHT)
        (self.folder / f"{name}.png").write_bytes(drawn)

    def write(self, title: str, lead: str) -> Path:
        """The page, as one file; its path."""
        body = "\n".join(_section(number, part) for number, part in enumerate(self.sections, 1))
        path = self.folder / "report.html"
        path.write_text(
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
            f'<body><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>\n{body}\n</body>'
            "</html>\n",
            encoding="utf-8",
        )
        return path


def _section(number: int, part: Section) -> str:
    lines = "".join(f"<p>{escape(line)}</p>" for line in part.lines)
    table = f"<pre>{escape(part.table)}</pre>" if part.table else ""
    claims = "".join(f"<li>{escape(claim)}</li>" for claim in part.claims)
    pictures = f'<div class="pictures">{"".join(part.pictures)}</div>' if part.pictures else ""
    return (
        f"<section><h2>{number}. {escape(part.title)}</h2><small>{part.seconds:.1f} s</small>"
        f"{lines}{table}{f'<ul>{claims}</ul>' if claims else ''}{pictures}</section>"
    )


def _drawn(draw: Sequence[Callable[[Any], None]], colours: dict[str, str]) -> bytes:
    edges = ("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    looks: Any = {
        **colours,
        **dict.fromkeys(edges, colours["text.color"]),
        "axes.prop_cycle": cycler(color=COLOURS),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.framealpha": 0.7,
        "legend.edgecolor": "none",
        "legend.facecolor": colours["axes.facecolor"],
    }
    with mpl.rc_context(looks):
        size = 5.6 * len(draw), 3.9
        figure = plt.figure(figsize=size, layout="constrained")
        for number, each in enumerate(draw, 1):
            each(figure.add_subplot(1, len(draw), number))
        kept = io.BytesIO()
        figure.savefig(kept, format="png", dpi=130)
        plt.close(figure)
    return kept.getvalue()


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
