"""What the features of a model do to its score, by the contributions that it gives (SHAP)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.reprs import Grid, HtmlRepr, Part
from rootml._internal.types import Float
from rootml.dataset import Dataset
from rootml.errors import UsageError
from rootml.plot import Labels, Style, write
from rootml.plot import importance as draw_importance

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False)
class FeatureImportance(HtmlRepr):
    """How far each feature moves the margin of an event, in the mean; the largest first.

    Attributes:
        names: The features.
        size: Mean of the absolute contributions (SHAP), `(feature,)`; events count by the absolute
            value of their weight.
        signal, background: Mean contributions to the events of both classes: a positive one makes
            them more like signal.
    """

    names: tuple[str, ...]
    size: Float
    signal: Float
    background: Float

    def plot(
        self,
        *,
        most: int | None = 30,
        ax: Any = None,
        labels: Labels = None,
        units: Labels = None,
        style: Style = "plain",
        path: Any = None,
    ) -> Axes:
        """Draw the sizes, see `rootml.plot.importance`.

        Args:
            most: So many features; None: all.
            ax, labels, units, style: As for all functions of `rootml.plot`.
            path: Write the picture there; None: notebooks show it.

        Returns:
            The axes.
        """
        look: Any = {"ax": ax, "labels": labels, "units": units, "style": style, "most": most}
        what = "mean |contribution| to the margin (SHAP)"
        return write(draw_importance(self.names, self.size, what=what, **look), path)

    def _grid(self) -> Grid:
        columns = (self.size, self.signal, self.background)
        rows = [
            (name, f"{size:.4g}", f"{one:+.4g}", f"{zero:+.4g}")
            for name, size, one, zero in zip(self.names, *columns, strict=True)
        ]
        return Grid(("feature", "mean |contribution|", "in signal", "in background"), rows)

    def __str__(self) -> str:
        return str(self._grid())

    __repr__ = __str__

    def _html_title(self) -> str:
        return "contributions of the features"

    def _html_parts(self) -> list[Part]:
        return [self._grid()]


def importance_of(model: Any, data: Dataset, label: Float, weight: Float) -> FeatureImportance:
    """The means of what ``model.contributions(data)`` gives.

    Raises:
        UsageError: Contributions of several outputs, or of another number of events.
    """
    found = np.asarray(model.contributions(data), dtype=np.float64)
    if found.ndim != 2 or len(found) != len(label):
        message = (
            f"{type(model).__name__}.contributions gave the shape {found.shape} for "
            f"{len(label):,} events: expected (event, feature + 1)"
        )
        raise UsageError(message)
    values, mass = found[:, :-1], np.abs(weight)
    size = mass @ np.abs(values) / mass.sum()
    means = [_mean(values[label == each], mass[label == each]) for each in (1, 0)]
    order = np.argsort(-size, kind="stable")
    names = _names(model, values.shape[1])
    return FeatureImportance(
        tuple(names[number] for number in order), size[order], *(each[order] for each in means)
    )


def _mean(values: Float, mass: Float) -> Float:
    mean: Float = mass @ values / mass.sum()
    return mean


def _names(model: Any, number: int) -> tuple[str, ...]:
    """Names of the features, if the model or its forest has some."""
    for holder in (model, getattr(model, "forest", None)):
        names = getattr(holder, "names", None) or getattr(holder, "feature_names", None)
        if names is not None and len(names) == number:
            return tuple(map(str, names))
    return tuple(f"f{each}" for each in range(number))
