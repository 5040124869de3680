"""`Analysis`: one file, one analysis."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from rootml._internal.reprs import Grid, HtmlRepr, Part
from rootml.analysis._read import Description, read
from rootml.analysis._runner import REPORT, Ended, Planned, Runner
from rootml.analysis._samples import Side, with_scores
from rootml.analysis._step import Step
from rootml.dataset import Dataset


class Analysis(HtmlRepr):
    """The steps of an analysis file: what they are, what is to be done, and their results.

    `load_analysis` makes it.

    Attributes:
        description: What the file says.
        steps: Settings by name, in the order in which the steps run.
    """

    def __init__(self, description: Description) -> None:
        self.description = description
        self._runner = Runner(description)

    @property
    def steps(self) -> dict[str, Step]:
        """Settings of the steps."""
        return dict(self._runner.steps)

    @property
    def output(self) -> Path:
        """The folder of all results."""
        return self.description.output

    @property
    def report(self) -> Path:
        """The page with all results."""
        return self._runner.folder(REPORT) / "report.html"

    def plan(self, *, only: Collection[str] = (), force: Collection[str] = ()) -> list[Planned]:
        """What `run` would do; reads no events, but opens the files.

        Args:
            only, force: As `run`.

        Raises:
            ChangedFileError: Results were changed by hand.
            MissingColumnError: A step asks for a column that is not there.
            UsageError: No such step.
            StateError: A step of `only` needs another one that is not up to date.
        """
        return self._runner.plan(only=only, force=force)

    def run(
        self,
        *,
        only: Collection[str] = (),
        force: Collection[str] = (),
        progress: bool | None = None,
        on_begin: Callable[[Planned], None] | None = None,
        on_end: Callable[[Ended], None] | None = None,
    ) -> list[Ended]:
        """Run the steps that are not up to date; what is finished stays, whatever comes.

        Args:
            only: Run no other steps.
            force: Run these though they are up to date, or were changed by hand; "all": all.
            progress: Show bars; None: on a terminal.
            on_begin, on_end: Called before and after each step.

        Raises:
            RootmlError: As `plan`, or of a step: the message says which.
        """
        return self._runner.run(
            only=only, force=force, progress=progress, on_begin=on_begin, on_end=on_end
        )

    def dataset(
        self, sample: str, *, side: Side | None = None, friends: Collection[str] = ()
    ) -> Dataset:
        """The selected events of a sample.

        Args:
            side: "train" or "test"; None: all.
            friends: Steps of kind "scores" whose scores stand beside the events.

        Raises:
            MissingParameterError: No such sample.
            StateError: A step of `friends` has not run.
        """
        data = self.description.samples[sample]
        for step in friends:
            data = with_scores(data, self.result(step).get(sample, {}))
        return self.description.samples.side(data, side)

    def result(self, step: str) -> Any:
        """What a step has made, opened: a compiled forest, ratios, the files of a fit, ...

        Raises:
            UsageError: No such step.
            StateError: It has not run.
            ChangedFileError: Its files were changed by hand.
        """
        return self._runner.result(step)

    # --- representation --------------------------------------------------------------------------

    def _grid(self) -> Grid:
        rows = [
            (name, step.kind, ", ".join((*step.sample_names(), *step.references())))
            for name, step in self.description.steps.items()
        ]
        return Grid(("step", "kind", "needs"), rows, left=3)

    def __repr__(self) -> str:
        return f"Analysis {self.description.title!r}\n{self._grid()}"

    def _html_title(self) -> str:
        return f"Analysis: {self.description.title}"

    def _html_parts(self) -> list[Part]:
        return [self._grid()]


def load_analysis(path: str | os.PathLike[str]) -> Analysis:
    """The analysis that a TOML file describes; reads no events.

    Raises:
        MissingFileError: No such file, or it names files that do not exist.
        CorruptFileError: Not TOML; says in which line.
        UsageError: A key, a kind, a sample or a step that is not known (names the nearest), a
            value of another type, or steps that need each other in a circle.

    >>> import pyarrow as pa, pyarrow.parquet
    >>> pa.parquet.write_table(pa.table({"pt": [10.0, 60.0, 35.0]}), "events.parquet")
    >>> _ = Path("analysis.toml").write_text('''
    ... cuts = "pt > 30"
    ... [sample.simulation]
    ... files = "events.parquet"
    ... [step.pt]
    ... kind = "histogram"
    ... column = "pt"
    ... samples = "simulation"
    ... bins = [0, 50, 100]
    ... ''')
    >>> analysis = load_analysis("analysis.toml")
    >>> [(each.name, each.ran) for each in analysis.run()]
    [('pt', True), ('report', True)]
    >>> [(each.name, each.ran) for each in analysis.run()]
    [('pt', False), ('report', False)]
    >>> analysis.result("pt")["simulation"]["contents"]
    [1.0, 1.0]
    """
    return Analysis(read(Path(path)))
