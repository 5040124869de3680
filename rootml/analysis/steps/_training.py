"""What trainings of classifiers share: two classes, and their inputs."""

from __future__ import annotations

from dataclasses import dataclass

from rootml.analysis._samples import check_distinct, check_weights, united
from rootml.analysis._settings import number, setting, texts
from rootml.analysis._step import Context, Selecting
from rootml.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class Training(Selecting):
    """A classifier of signal against background, on the training side of the split.

    Attributes:
        signal, background: Samples.
        inputs: Columns, or ``name = expression``.
        validation: Fraction of the training side that decides when to stop.
    """

    signal: tuple[str, ...] = setting(texts)
    background: tuple[str, ...] = setting(texts)
    inputs: tuple[str, ...] = setting(texts)
    validation: float = setting(number(above=0.0, maximum=0.9), 0.2)

    def __post_init__(self) -> None:
        check_distinct({"signal": self.signal, "background": self.background})

    def sample_names(self) -> tuple[str, ...]:
        return (*self.signal, *self.background)

    def texts(self) -> tuple[str, ...]:
        return self.inputs if self.cut is None else (*self.inputs, self.cut)

    def prepared(self, data: Dataset) -> Dataset:
        """The events of a sample that are trained on."""
        return data

    def classes(self, context: Context) -> dict[int, Dataset]:
        """The training side of both, by label.

        Raises:
            EmptySelectionError, UsageError: A class without events, or without weight.
        """
        found = {}
        for label, key in ((1, "signal"), (0, "background")):
            names = getattr(self, key)
            parts = context.data(names, side="train", friends=self.friends, cut=self.cut)
            data = united([self.prepared(each) for each in parts])
            check_weights(data, f"{key} ({', '.join(names)})", progress=context.progress)
            found[label] = data.select(list(self.inputs)).with_label(label)
        return found

    def divided(self, context: Context) -> tuple[Dataset, Dataset]:
        """Training and validation, both classes together."""
        split = context.samples.split
        by = list(split.by) if split is not None and split.by else None
        both = united(list(self.classes(context).values()))
        train, valid = both.split(test=self.validation, by=by, seed=context.seed)
        return train, valid
