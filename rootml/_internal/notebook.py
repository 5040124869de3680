"""Progress in notebooks: one output that is written anew, as plain HTML.

It needs no widgets, so a saved page shows the same as a running notebook.
"""

from __future__ import annotations

import importlib
import time
from html import escape
from typing import Any

REFRESH = 0.2
"""Seconds between two updates."""
_KEPT = 2.0  # seconds; what took less leaves nothing on the page
_LINE = '<div style="font-family:monospace;font-size:90%;white-space:pre">{}</div>'


def line_html(text: str, share: float | None) -> str:
    """A bar, if there is a share of what is to be done, and a text; the text is escaped.

    >>> line_html("reading <x>", None)
    '<div style="font-family:monospace;font-size:90%;white-space:pre">reading &lt;x&gt;</div>'
    """
    bar = "" if share is None else f'<progress value="{share:.3f}" style="width:12em"></progress> '
    return _LINE.format(bar + escape(text))


class NotebookLine:
    """An output of the current cell, from the first `show` on."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._start = self._shown = time.monotonic()
        self._last: tuple[str, float | None] = ("", None)

    def show(self, text: str, share: float | None = None) -> None:
        """Show a text, and a bar filled to `share`; at most five times a second."""
        self._last = (text, share)
        now = time.monotonic()
        if self._handle is None or now - self._shown > REFRESH:
            self._write(line_html(text, share))
            self._shown = now

    def close(self) -> None:
        """Leave the last text on the page, or nothing after a short step."""
        if self._handle is not None:
            long = time.monotonic() - self._start > _KEPT
            self._write(line_html(*self._last) if long else "")

    def _write(self, html: str) -> None:
        shown: Any = importlib.import_module("IPython.display")  # this is a kernel: it is there
        if self._handle is None:
            self._handle = shown.display(shown.HTML(html), display_id=True)
        else:
            self._handle.update(shown.HTML(html))
