"""How good a score is, on the test side of the split."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rootml.analysis._samples import Side, check_distinct, check_weights, united
from rootml.analysis._settings import numbers, setting, text, texts
from rootml.analysis._step import Context, Outcome, Selecting
from rootml.dataset import Dataset
from rootml.evaluation import evaluate
from rootml.evaluation._evaluate import DEFAULT_POINTS


@dataclass(frozen=True, kw_only=True)
class Evaluate(Selecting):
    """`rootml.evaluate`: area under the ROC curve, working points, training beside test.

    Attributes:
        score: A column, e.g. of ``friends``, or an expression.
        signal, background: Samples.
        by: Columns in whose bins efficiencies are wanted.
        working_points: Signal efficiencies.
    """

    kind: ClassVar[str] = "evaluate"

    score: str = setting(text)
    signal: tuple[str, ...] = setting(texts)
    background: tuple[str, ...] = setting(texts)
    by: tuple[str, ...] = setting(texts, ())
    working_points: tuple[float, ...] = setting(numbers, DEFAULT_POINTS)

    def __post_init__(self) -> None:
        check_distinct({"signal": self.signal, "background": self.background})

    def sample_names(self) -> tuple[str, ...]:
        return (*self.signal, *self.background)

    def texts(self) -> tuple[str, ...]:
        return (self.score, *self.by, *([] if self.cut is None else [self.cut]))

    def needs_split(self) -> bool:
        return True

    def run(self, context: Context) -> Outcome:
        found = evaluate(
            self._events(context, "test"), self.score, train=self._events(context, "train"),
            by=self.by, working_points=self.working_points, progress=context.progress,
        )  # fmt: skip
        context.json("evaluation.json", found.to_dict())
        context.picture("roc", found.plot())
        for number_, (_, each) in enumerate(found.efficiencies.items(), 1):
            context.picture(f"efficiency-{number_}", each.plot())
        return Outcome(found._facts(), [str(found._points()), *map(str, found._more())])

    def open(self, folder: Path) -> Any:
        """The numbers, as a dict."""
        return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))

    def _events(self, context: Context, side: Side) -> Dataset:
        found = []
        for label, key in ((1, "signal"), (0, "background")):
            names = getattr(self, key)
            data = united(context.data(names, side=side, friends=self.friends, cut=self.cut))
            check_weights(data, f"{key} ({', '.join(names)})", progress=context.progress)
            found.append(data.with_label(label))
        return united(found)
