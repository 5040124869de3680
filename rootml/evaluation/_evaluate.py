"""`rootml.evaluate`: the numbers and pictures that tell how good a score is."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from html import escape
from typing import Any

import numpy as np

from rootml._internal.atomic import atomic_path
from rootml._internal.progress import long_step
from rootml._internal.reprs import Grid, HtmlRepr, Part, facts_html, facts_text
from rootml._internal.statistics import effective_events, ks_distance, roc_area
from rootml._internal.validators import check_number
from rootml.dataset import Dataset
from rootml.errors import UsageError
from rootml.evaluation._efficiencies import BinnedEfficiency, WorkingPoint, binned, working_point
from rootml.evaluation._importance import FeatureImportance, importance_of
from rootml.evaluation._scored import Scored, read
from rootml.plot import Style, overtraining, panels, roc, scores, write
from rootml.plot._curves import two_classes

DEFAULT_POINTS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
_GOOD = 0.95  # a ROC area above which linear scales show nothing
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Evaluation: {score}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font-family: sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }}
table {{ border-collapse: collapse; margin: 0 0 1.5em }}
th, td {{ padding: 0.2em 1.2em 0.2em 0 }}
thead th {{ border-bottom: 1px solid #999 }}
img {{ display: block; max-width: 100%; margin: 0 0 1em }}
</style></head>
<body>
<h1>Evaluation: {score}</h1>
{tables}
{pictures}
</body></html>
"""


@dataclass(frozen=True, repr=False)
class Evaluation(HtmlRepr):
    """How good a score separates label 1 from label 0; prints as tables, in notebooks too.

    Attributes:
        score: Name of the score; "prediction" for that of a model.
        auc, auc_error: Area under the ROC curve, and its error (DeLong).
        working_points: At the signal efficiencies that were asked for.
        test, train: What was read; `train` is None where none was given.
        train_auc, train_auc_error: The same of the training events.
        ks: For each label the Kolmogorov-Smirnov distance of training and test scores.
        efficiencies: By the columns `by`, in bins of each.
        importance: What the features do to the score; None without a model that says it.
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
    efficiencies: dict[str, BinnedEfficiency] = field(default_factory=dict)
    importance: FeatureImportance | None = None

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
                f"{100 * point.signal:.2f} ± {100 * point.signal_error:.2f} %",
                f"{100 * point.background:.3f} ± {100 * point.background_error:.3f} %",
                f"{point.rejection:.5g}",
            )
            for point in self.working_points
        ]
        return Grid(("score at least", "signal", "background", "rejection"), rows)

    def __str__(self) -> str:
        parts = [facts_text(self._facts()), str(self._classes()), str(self._points())]
        return "\n\n".join([*parts, *map(str, self._more())])

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """The numbers as texts, numbers and lists, ready for `json.dumps` but for NaN."""
        importance = self.importance
        return {
            "score": self.score,
            "auc": self.auc,
            "auc_error": self.auc_error,
            "train_auc": self.train_auc,
            "train_auc_error": self.train_auc_error,
            "ks": self.ks,
            "working_points": [asdict(point) for point in self.working_points],
            "efficiencies": {name: each.to_dict() for name, each in self.efficiencies.items()},
            "importance": None
            if importance is None
            else dict(zip(importance.names, importance.size.tolist(), strict=True)),
        }

    def _html_title(self) -> str:
        return "rootml.evaluate"

    def _html_parts(self) -> list[Part]:
        more = [each._grid() for each in self._more()]
        return [self._facts(), self._classes(), self._points(), *more]

    def _more(self) -> list[BinnedEfficiency | FeatureImportance]:
        """Tables and pictures that were asked for."""
        found: list[BinnedEfficiency | FeatureImportance] = [*self.efficiencies.values()]
        return found if self.importance is None else [*found, self.importance]

    # --- pictures -----------------------------------------------------------------------------

    def plot(self, *, ax: Sequence[Any] | None = None, style: Style = "plain") -> tuple[Any, Any]:
        """The ROC curve and the scores of both labels, training beside test if there is one.

        Scales are logarithmic where the area is above 0.95.

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
        log = self.auc > _GOOD
        roc(curves, log=log, ax=left, style=style)
        labels = {"0": "background", "1": "signal", "score": self.score}
        if self.train is None:
            scores(*self.test.arrays, log=log, ax=right, labels=labels, style=style)
        else:
            train, test = self.train.arrays, self.test.arrays
            overtraining(train, test, log=log, ax=right, labels=labels, style=style)
        return left, right

    def report(self, path: str | os.PathLike[str]) -> str:
        """Write tables and pictures to one HTML file, which needs no other file.

        Returns:
            The path.
        """
        pictures = [_png(self.plot()), *(_png(each.plot()) for each in self._more())]
        with atomic_path(path) as temporary:
            grids = [self._classes(), self._points(), *(each._grid() for each in self._more())]
            tables = "".join([facts_html(self._facts()), *(each.html() for each in grids)])
            page = _PAGE.format(
                score=escape(self.score), tables=tables, pictures="\n".join(pictures)
            )
            temporary.write_text(page, encoding="utf-8")
        return os.fspath(path)


def _png(axes: Any) -> str:
    """A picture as an element of a page."""
    stream = io.BytesIO()
    write(axes, stream)
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<img alt="" src="data:image/png;base64,{data}">'


@long_step("evaluating")
def evaluate(
    test: Dataset,
    score: str | None = None,
    *,
    train: Dataset | None = None,
    model: Any = None,
    by: str | Sequence[str] | Mapping[str, Any] = (),
    working_points: Sequence[float] = DEFAULT_POINTS,
    progress: bool | None = None,
) -> Evaluation:
    """How well a score separates the events of label 1 from those of label 0.

    Args:
        test: Events with labels 0 and 1 that were not trained on; weights of any sign. On the
            cluster of ``Dataset.on`` they are read there.
        score: A column or an expression, e.g. of a friend tree; a larger one is more like label 1.
        train: The events of the training: how much of them does the score know by heart?
        model: Instead of `score`: a compiled forest or anything else whose ``predict(dataset)``
            gives one score per selected event; a torch module, or a function of NumPy arrays
            `(event, column)`, which gets the columns of `test` in batches, as of
            `Dataset.batches`.
        working_points: Signal efficiencies.
        progress: Show bars; None: on a terminal.

    Raises:
        MissingColumnError: No such score; names the nearest ones.
        UsageError: Neither `score` nor `model`, labels other than 0 and 1, one class only, or a
            class whose weights do not add up to more than 0.
        NonFiniteError: Scores or weights that are NaN or infinite; says in which file and entry.
        EmptySelectionError: No event is selected.

    >>> import pyarrow as pa, pyarrow.parquet, rootml
    >>> events = pa.table({"y": [0, 0, 1, 1], "dnn": [0.1, 0.4, 0.35, 0.8]})
    >>> pa.parquet.write_table(events, "scored.parquet")
    >>> rootml.evaluate(rootml.open("scored.parquet", label="y"), score="dnn").auc
    0.75
    """
    if score is None and model is None:
        message = "give score= (a column) or model= (which predicts it)"
        raise UsageError(message)
    wanted = [check_number("working_points", each, above=0, maximum=1) for each in working_points]
    bins = _bins_by(by)
    read_one = partial(read, score=score, model=model, progress=progress)
    found = read_one(test, by=list(bins))
    signal, background = _classes_of(test, found)
    area, error = roc_area(signal[0], background[0], signal[1], background[1])
    points = tuple(working_point(signal, background, each) for each in wanted)
    known = None if train is None else read_one(train, by=[])
    train_area = train_error = None
    ks: dict[int, float] = {}
    if train is not None and known is not None:
        first = _classes_of(train, known)
        train_area, train_error = roc_area(first[0][0], first[1][0], first[0][1], first[1][1])
        for value, a, b in zip((1, 0), first, (signal, background), strict=True):
            ks[value] = ks_distance(a[0], b[0], a[1], b[1])
    return Evaluation(
        "prediction" if score is None else score, area, error, points, found, known,
        train_area, train_error, ks,
        {name: binned(name, edges, found, points) for name, edges in bins.items()},
        importance_of(model, test, found.label, found.weight)
        if hasattr(model, "contributions") else None,
    )  # fmt: skip


def _bins_by(by: str | Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Columns and the edges of their bins, None where these are to be found."""
    if isinstance(by, Mapping):
        return dict(by)
    return dict.fromkeys([by] if isinstance(by, str) else by)


def _classes_of(data: Dataset, found: Scored) -> tuple[Any, Any]:
    """Scores and weights of both classes, each of which has to weigh something.

    Raises:
        UsageError: As `evaluate`, with the dataset in front.
    """
    present = np.unique(found.label).tolist()
    if present != [0, 1]:
        names = ", ".join(f"{each:g}" for each in present)
        missing = " and ".join(f"{each}" for each in (0, 1) if each not in present)
        advice = (
            f"no selected event has label {missing}: unite samples of both, rootml.open(..., "
            "label=1) + rootml.open(..., label=0)"
            if missing
            else "evaluate two classes at a time: .filter(...) and .with_label(...)"
        )
        message = f"{data}: the events have the labels {names}, expected 0 and 1: {advice}"
        raise UsageError(message)
    signal, background = two_classes(*found.arrays)
    for label, (_, weight) in ((1, signal), (0, background)):
        if not weight.sum() > 0:
            message = (
                f"{data}: the weights of the {len(weight):,} events of label {label} add up to "
                f"{weight.sum():g}, so there are no efficiencies: another weight, or "
                ".with_weight(None) to count events"
            )
            raise UsageError(message)
    return signal, background
