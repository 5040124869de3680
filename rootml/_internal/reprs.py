"""Tables as text and as HTML: one look for everything a user prints.

The HTML takes colours and fonts from the page it is shown in, light or dark; it has no style
sheet, script or id that could meet another's. What comes from files and users is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

_LEFT = 1
_NAME = "text-align:left;vertical-align:top;white-space:nowrap"


@dataclass(frozen=True, slots=True, repr=False)
class Grid:
    """Rows of texts under a header; columns from number `left` on are numbers, set flush right.

    Prints as text; notebooks show an HTML table.

    >>> print(Grid(("cut", "events"), [("all", "1,000"), ("pt > 30", "12")]))
    cut      events
    all       1,000
    pt > 30      12
    """

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    left: int = _LEFT

    def __str__(self) -> str:
        table = [self.header, *self.rows]
        widths = [max(len(row[i]) for row in table) for i in range(len(self.header))]
        return "\n".join(
            "  ".join(
                text.ljust(width) if i < self.left else text.rjust(width)
                for i, (text, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.html()

    def html(self) -> str:
        """An HTML table; texts are escaped."""
        head = "".join(self._cell("th", i, text) for i, text in enumerate(self.header))
        body = "".join(
            "<tr>" + "".join(self._cell("td", i, text) for i, text in enumerate(row)) + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _cell(self, tag: str, column: int, text: str) -> str:
        side = "left" if column < self.left else "right"
        wrap = "" if column < self.left else ";white-space:nowrap"
        return f'<{tag} style="text-align:{side}{wrap}">{escape(text)}</{tag}>'


def facts_text(facts: Sequence[tuple[str, str]]) -> str:
    """``name   value`` lines."""
    width = max(len(name) for name, _ in facts)
    return "\n".join(f"{name.ljust(width)}  {value}".rstrip() for name, value in facts)


def facts_html(facts: Sequence[tuple[str, str]]) -> str:
    """The same as an HTML table; texts are escaped."""
    rows = "".join(
        f'<tr><th style="{_NAME}">{escape(name)}</th>'
        f'<td style="text-align:left;overflow-wrap:anywhere">{escape(value)}</td></tr>'
        for name, value in facts
    )
    return f"<table><tbody>{rows}</tbody></table>"


def titled_html(title: str, *parts: str) -> str:
    """Parts that are HTML already, under a title; wide tables get a scroll bar of their own."""
    head = f'<p style="margin:0.5em 0"><strong>{escape(title)}</strong></p>'
    return f'<div style="overflow-x:auto">{head}{"".join(parts)}</div>'


def shorten(items: Sequence[str], most: int = 8) -> str:
    """Items with commas, cut to `most`.

    >>> shorten(["a", "b", "c"], 2)
    'a, b, ... (3 in all)'
    """
    shown = ", ".join(items[:most])
    return shown if len(items) <= most else f"{shown}, ... ({len(items)} in all)"


def percent(part: float, whole: float) -> str:
    """``part / whole`` as a percentage; "-" where that means nothing."""
    return f"{100 * part / whole:.2f} %" if whole else "-"


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A line of text under a table; escaped in HTML, but for a bold word in front."""

    text: str
    bold: str = ""

    def html(self) -> str:
        """As an HTML paragraph."""
        bold = f"<b>{escape(self.bold)}</b> " if self.bold else ""
        return f"<p>{bold}{escape(self.text)}</p>"


Facts: TypeAlias = Sequence[tuple[str, str]]
Part: TypeAlias = Facts | Grid | Paragraph


class HtmlRepr:
    """Mixin: shows an object in notebooks as the parts that `_html_parts` gives.

    >>> class Result(HtmlRepr):
    ...     def _html_parts(self):
    ...         return [[("events", "12")]]
    >>> "<td" in Result()._repr_html_()
    True
    """

    __slots__ = ()

    def _html_title(self) -> str | None:
        """What stands above the parts; None: nothing."""
        return None

    def _html_parts(self) -> Iterable[Part]:
        """Facts, grids and paragraphs, in order."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        parts = [
            part.html() if isinstance(part, (Grid, Paragraph)) else facts_html(part)
            for part in self._html_parts()
        ]
        title = self._html_title()
        return "".join(parts) if title is None else titled_html(title, *parts)
