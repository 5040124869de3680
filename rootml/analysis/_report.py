"""The last step of each analysis: one HTML file with all results."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rootml.analysis._record import Record, read_record
from rootml.analysis._step import Context, Outcome, Step

PAGE = "report.html"
_SHELL = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font-family: sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; }}
img {{ max-width: min(100%, 46em); height: auto; }}
pre {{ overflow-x: auto; }}
table.facts td {{ padding: .1em 1.2em .1em 0; vertical-align: top; }}
.problem {{ background: #fff0d0; color: #222; padding: .5em 1em; }}
details pre {{ font-size: .8em; }}
</style></head>
<body>
<h1>{title}</h1>
{parts}
</body></html>
"""


@dataclass(frozen=True, kw_only=True)
class Report(Step):
    """Facts, tables and pictures of all steps, with where each comes from."""

    kind: ClassVar[str] = "report"

    title: str
    samples: tuple[str, ...]
    steps: tuple[str, ...]

    def sample_names(self) -> tuple[str, ...]:
        return self.samples

    def references(self) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(self.steps, ())

    def run(self, context: Context) -> Outcome:
        output = context.folder.parent
        records = {name: read_record(output / name) for name in self.steps}
        parts = [_contents(records), self._samples(context)]
        parts += [
            _section(name, record, output / name)
            for name, record in records.items()
            if record is not None
        ]
        page = _SHELL.format(title=html.escape(self.title), parts="\n".join(parts))
        (context.folder / PAGE).write_text(page, encoding="utf-8")
        looks = sum(len(each.outcome["problems"]) for each in records.values() if each)
        return Outcome([("page", PAGE), ("to look at", str(looks))])

    def open(self, folder: Path) -> Path:
        """The page."""
        return folder / PAGE

    def _samples(self, context: Context) -> str:
        rows = []
        for name, data in context.samples.datasets.items():
            total = data.scan(progress=context.progress).total
            rows.append((name, f"{total.count:,} events, sum of weights {total.sumw:.6g}"))
        return f"<h2>Samples</h2>\n{_facts(rows)}"


def _contents(records: Mapping[str, Record | None]) -> str:
    """Links to the steps; those with something to look at are marked."""
    links = [
        f'<a href="#{html.escape(name)}">{html.escape(name)}</a>'
        + (" <b>LOOK</b>" if record.outcome["problems"] else "")
        for name, record in records.items()
        if record is not None
    ]
    return f"<p>{' &middot; '.join(links)}</p>"


def _facts(rows: list[tuple[str, str]]) -> str:
    cells = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>"
        for name, value in rows
    )
    return f'<table class="facts">{cells}</table>'


def _section(name: str, record: Record, folder: Path) -> str:
    """A step: what it tells, its pictures, where it comes from."""
    outcome = record.outcome
    known, kind = html.escape(name), html.escape(record.more["kind"])
    parts = [f'<h2 id="{known}">{known} <small>({kind})</small></h2>']
    parts += [
        f'<p class="problem"><b>LOOK</b> {html.escape(text)}</p>' for text in outcome["problems"]
    ]
    parts.append(_facts([(key, value) for key, value in outcome["facts"]]))
    parts += [f"<pre>{html.escape(text)}</pre>" for text in outcome["tables"]]
    parts += [f"<p>Note: {html.escape(text)}</p>" for text in outcome.get("notes", ())]
    parts += [
        _picture(folder / each, f"{name}: {each}")
        for each in record.outputs
        if each.endswith(".png")
    ]
    parts.append(_origin(record))
    return "\n".join(parts)


def _picture(path: Path, name: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<p><img alt="{html.escape(name)}" src="data:image/png;base64,{data}"></p>'


def _origin(record: Record) -> str:
    outputs = {name: each.checksum for name, each in record.outputs.items()}
    text = json.dumps({**record.more, "inputs": record.inputs, "outputs": outputs}, indent=1)
    return (
        f"<details><summary>Where it comes from</summary><pre>{html.escape(text)}</pre></details>"
    )
