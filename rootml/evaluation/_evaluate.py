"""`rootml.evaluate`: the numbers and pictures that tell how good a score is."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rootml._internal.atomic import atomic_path
from rootml._internal.reprs import Grid, HtmlRepr, Part, facts_text
from rootml._internal.statistics import effective_events, ks_distance, roc_area
from rootml._internal.types import Float
from rootml._internal.validators import check_number
from rootml.dataset import Dataset, EventBlock
from rootml.errors import EmptySelectionError, NonFiniteError, UsageError
from rootml.plot import Style, overtraining, panels, roc, scores, write
from rootml.plot._curves import efficiencies, two_classes

DEFAULT_POINTS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>rootml.evaluate</title></head>
<body style="font-family:sans-serif;max-width:60em;margin:2em auto">
{tables}
<img alt="ROC curve and scores" style="max-width:100%" src="data:image/png;base64,{picture}">
</body></html>
"""


@dataclass(frozen=True, slots=True)
class WorkingPoint:
    """Events with a score of at least `threshold` are called signal.

    Attributes:
        threshold: The score.
        signal, background: Fractions of the weight of both classes that pass.
    """

    threshold: float
    signal: float
    background: float

    @property
    def rejection(self) -> float:
        """One over the background efficiency; infinite where nothing passes."""
        return 1 / self.background if self.background else float("inf")


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores, labels and weights of the events of one dataset, float64 `(event,)` each."""

    score: Float
    label: Float
    weight: Float

    @property
    def arrays(self) -> tuple[Float, Float, Float]:
        """As the functions of `rootml.plot` take them."""
        return self.score, self.label, self.weight


@dataclass(frozen=True, repr=False)
class Evaluation(HtmlRepr):
    """How good a score separates label 1 from label 0; prints as tables, in notebooks too.

    Attributes:
        score: Name of the score.
        auc, auc_error: Area under the ROC curve, and its error (DeLong).
        working_points: At the signal efficiencies that were asked for.
        test, train: What was read; `train` is None where none was given.
        train_auc, train_auc_error: The same of the training events.
        ks: For each label the Kolmogorov-Smirnov distance of training and test scores.
    """

    score: str
    auc: float
    auc_error: float
    working_points: tuple[WorkingPoint, ...]
    test: Scored
    train: Scored | None
    train_auc: float | None
    train_auc_error: float | None
    ks: dict[int, float]

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("score", self.score), ("AUC", f"{self.auc:.4f} ± {self.auc_error:.4f}")]
        if self.train_auc is not None and self.train_auc_error is not None:
            error = float(np.hypot(self.auc_error, self.train_auc_error))
            facts += [
                ("AUC, training", f"{self.train_auc:.4f} ± {self.train_auc_error:.4f}"),
                ("difference", f"{self.train_auc - self.auc:+.4f} ± {error:.4f}"),
            ]
        facts += [(f"KS distance, label {n}", f"{value:.4f}") for n, value in self.ks.items()]
        return facts

    def _classes(self) -> Grid:
        rows = []
        for value in (1, 0):
            mine = self.test.weight[self.test.label == value]
            rows.append(
                (
                    str(value),
                    f"{len(mine):,}",
                    f"{mine.sum():.6g}",
                    f"{effective_events(mine):.1f}",
                )
            )
        return Grid(("label", "events", "sum of weights", "effective"), rows)

    def _points(self) -> Grid:
        rows = [
            (
                f"{point.threshold:.6g}",
                f"{100 * point.signal:.2f} %",
                f"{100 * point.background:.3f} %",
                f"{point.rejection:.5g}",
            )
            for point in self.working_points
        ]
        return Grid(("score at least", "signal", "background", "rejection"), rows)

    def __str__(self) -> str:
        return f"{facts_text(self._facts())}\n\n{self._classes()}\n\n{self._points()}"

    __repr__ = __str__

    def _html_title(self) -> str:
        return "rootml.evaluate"

    def _html_parts(self) -> list[Part]:
        return [self._facts(), self._classes(), self._points()]

    # --- pictures -----------------------------------------------------------------------------

    def plot(self, *, ax: Sequence[Any] | None = None, style: Style = "plain") -> tuple[Any, Any]:
        """The ROC curve and the scores of both labels, training beside test if there is one.

        Args:
            ax: Two axes; None: a new figure.
            style: As for all functions of `rootml.plot`.

        Returns:
            Both axes.
        """
        left, right = panels(2, size=5.2) if ax is None else ax
        curves = {"test": self.test.arrays}
        if self.train is not None:
            curves["train"] = self.train.arrays
        roc(curves, ax=left, style=style)
        labels = {"0": "background", "1": "signal", "score": self.score}
        if self.train is None:
            scores(*self.test.arrays, ax=right, labels=labels, style=style)
        else:
            overtraining(self.train.arrays, self.test.arrays, ax=right, labels=labels, style=style)
        return left, right

    def report(self, path: str | os.PathLike[str]) -> str:
        """Write tables and pictures to one HTML file, which needs no other file.

        Returns:
            The path.
        """
        stream = io.BytesIO()
        write(self.plot(), stream)
        picture = base64.b64encode(stream.getvalue()).decode()
        with atomic_path(path) as temporary:
            page = _PAGE.format(tables=self._repr_html_(), picture=picture)
            temporary.write_text(page, encoding="utf-8")
        return os.fspath(path)


def evaluate(
    test: Dataset,
    score: str | None = None,
    *,
    train: Dataset | None = None,
    model: Any = None,
    working_points: Sequence[float] = DEFAULT_POINTS,
    progress: bool | None = None,
) -> Evaluation:
    """How well a score separates the events of label 1 from those of label 0.

    Args:
        test: Events with labels 0 and 1 that were not trained on; weights of any sign. On the
            cluster of ``Dataset.on`` they are read there.
        score: A column or an expression, e.g. of a friend tree; a larger one is more like label 1.
        train: The events of the training: how much of them does the score know by heart?
        model: Instead of `score`: anything whose ``predict(dataset)`` gives one score per
            selected event, in order.
        working_points: Signal efficiencies.
        progress: Show bars; None: on a terminal.

    Raises:
        UsageError: Neither or both of `score` and `model`, labels other than 0 and 1, one class
            only, or a class whose weights do not add up to more than 0.
        NonFiniteError: Scores or weights that are NaN or infinite.
        EmptySelectionError: No event is selected.

    >>> import pyarrow as pa, pyarrow.parquet, rootml
    >>> events = pa.table({"y": [0, 0, 1, 1], "dnn": [0.1, 0.4, 0.35, 0.8]})
    >>> pa.parquet.write_table(events, "scored.parquet")
    >>> rootml.evaluate(rootml.open("scored.parquet", label="y"), score="dnn").auc
    0.75
    """
    if (score is None) == (model is None):
        message = "give score= (a column) or model= (which predicts it), one of both"
        raise UsageError(message)
    wanted = [check_number("working_points", each, above=0, maximum=1) for each in working_points]
    read = _read(test, score, model, progress)
    signal, background = two_classes(*read.arrays)
    area, error = roc_area(signal[0], background[0], signal[1], background[1])
    known = None if train is None else _read(train, score, model, progress)
    train_area = train_error = None
    ks: dict[int, float] = {}
    if known is not None:
        first = two_classes(*known.arrays)
        train_area, train_error = roc_area(first[0][0], first[1][0], first[0][1], first[1][1])
        for value, a, b in zip((1, 0), first, (signal, background), strict=True):
            ks[value] = ks_distance(a[0], b[0], a[1], b[1])
    points = tuple(working_point(signal, background, each) for each in wanted)
    name = type(model).__name__ if score is None else score
    return Evaluation(name, area, error, points, read, known, train_area, train_error, ks)


def working_point(
    signal: tuple[Float, Float], background: tuple[Float, Float], efficiency: float
) -> WorkingPoint:
    """The highest threshold that at least such a fraction of the signal passes."""
    x, y, thresholds = efficiencies(signal, background)
    first = int(np.flatnonzero(x >= efficiency * (1 - 1e-12))[0])
    return WorkingPoint(float(thresholds[first]), float(x[first]), float(y[first]))


def _read(data: Dataset, score: str | None, model: Any, progress: bool | None) -> Scored:
    """The scores of the selected events with label and weight."""
    columns = data if score is None else data.select([score])
    names: list[str] | None = [] if score is None else None
    parts = list(
        columns.map_partitions(
            _arrays, columns=names, label=True, weight=True, progress=progress, what="evaluating"
        )
    )
    if not parts:
        message = f"{data}: no event is selected, so there is nothing to evaluate"
        raise EmptySelectionError(message)
    found, labels, weights = (np.concatenate(each) for each in zip(*parts, strict=True))
    values = np.asarray(found if score is not None else model.predict(data), dtype=np.float64)
    if values.shape != labels.shape:
        message = (
            f"{data}: scores of shape {values.shape} for {len(labels):,} selected events: expected"
            " one number per event"
        )
        raise UsageError(message)
    for what, each in (("scores", values), ("weights", weights)):
        bad = int(np.count_nonzero(~np.isfinite(each)))
        if bad:
            message = f"{data}: {bad:,} of {len(each):,} {what} are NaN or infinite"
            raise NonFiniteError(message)
    return Scored(values, labels.astype(np.float64), weights)


def _arrays(block: EventBlock) -> tuple[Any, Any, Any]:
    """The score of a block (its labels, if a model is to give it), its labels and weights."""
    score = next(iter(block.columns.values()), block.label)
    return score, block.label, block.weight
