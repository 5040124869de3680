"""What a step is: settings that know what they need, and what to do with it.

An interface; the folder `steps` has the implementations, a module each.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from rootml._internal.jsonable import jsonable
from rootml.analysis._samples import Samples, Side, with_scores
from rootml.analysis._settings import setting, text, texts
from rootml.dataset import Dataset
from rootml.plot import write


@dataclass(frozen=True)
class Outcome:
    """What a step tells about its result.

    Attributes:
        facts: Pairs of a name and a value, as texts.
        tables: Tables, as texts.
        problems: What somebody has to look at.
        notes: What somebody should know who uses the result.
    """

    facts: Sequence[tuple[str, str]] = ()
    tables: Sequence[str] = ()
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Context:
    """What a step works with.

    Attributes:
        name: Of the step.
        folder: Where its files go; all that is in it afterwards is its output.
        seed: Of the step: made of that of the analysis and of the name.
        samples: The samples of the analysis.
        steps: The steps of the analysis.
        result: Opens the result of another step, by name.
        stamp: Who made a file: written into it, where its format has room.
        progress: Show bars; None: on a terminal.
    """

    name: str
    folder: Path
    seed: int
    samples: Samples
    steps: Mapping[str, Step]
    result: Callable[[str], Any]
    stamp: dict[str, Any] = field(default_factory=dict)
    progress: bool | None = None

    def data(
        self,
        names: Sequence[str],
        *,
        side: Side | None = None,
        friends: Sequence[str] = (),
        cut: str | None = None,
    ) -> list[Dataset]:
        """The selected events of samples.

        Args:
            side: Of the split.
            friends: Steps whose scores stand beside the events.
            cut: One more.
        """
        return [self._one(name, side, friends, cut) for name in names]

    def _one(
        self, name: str, side: Side | None, friends: Sequence[str], cut: str | None
    ) -> Dataset:
        data = self.samples[name]
        for step in friends:
            data = with_scores(data, self.result(step)[name])
        data = self.samples.side(data, side)
        return data if cut is None else data.filter(cut)

    def json(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file, with the stamp."""
        whole = {**content, "provenance": self.stamp}
        (self.folder / name).write_text(json.dumps(jsonable(whole), indent=1), encoding="utf-8")

    def picture(self, name: str, axes: Any) -> None:
        """Write a PNG file, with the stamp as its comment."""
        write(axes, self.folder / f"{name}.png", metadata={"Comment": json.dumps(self.stamp)})


@dataclass(frozen=True, kw_only=True)
class Step:
    """Settings of a step.

    Attributes:
        kind: What ``kind = ...`` in the file says.
        packages: Whose versions matter for the result.
    """

    kind: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def sample_names(self) -> tuple[str, ...]:
        """Samples that it reads."""

    def references(self) -> dict[str, tuple[str, ...]]:
        """Steps whose results it uses, each with the kinds that it may have."""
        return {}

    def texts(self) -> tuple[str, ...]:
        """Columns and expressions that every sample of it must have."""
        return ()

    def needs_split(self) -> bool:
        """Whether it makes sense only where events are divided into training and test."""
        return False

    @abstractmethod
    def run(self, context: Context) -> Outcome:
        """Write the files of the step into the folder of the context."""

    @abstractmethod
    def open(self, folder: Path) -> Any:
        """The result, read from the files that `run` wrote."""


@dataclass(frozen=True, kw_only=True)
class Selecting(Step):
    """A step that may cut once more, and use scores.

    Attributes:
        cut: In addition to those of the analysis.
        friends: Steps of kind "scores".
    """

    cut: str | None = setting(text, None)
    friends: tuple[str, ...] = setting(texts, ())

    def references(self) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(self.friends, ("scores",))
