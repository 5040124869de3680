"""The samples of an analysis, with its selection: whole, or the side of a split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rootml._internal.urls import redact
from rootml.analysis._settings import number, setting, texts, whole
from rootml.dataset import Dataset
from rootml.errors import EmptySelectionError, MissingParameterError, UsageError, nearest

Side = Literal["train", "test"]


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """How events are divided into training and test.

    Attributes:
        test: Fraction of the events for the test.
        by: Columns that identify an event; none: file and entry.
        seed: Of the hash; None: that of the analysis.
    """

    test: float = setting(number(above=0.0, maximum=1.0))
    by: tuple[str, ...] = setting(texts, ())
    seed: int | None = setting(whole(0), None)


@dataclass(frozen=True)
class Samples:
    """Datasets by name.

    Attributes:
        datasets: With the cuts and definitions of the analysis.
        split: How each is divided; None: it is not.
        seed: Of the split, where that has none of its own.
    """

    datasets: Mapping[str, Dataset]
    split: SplitSettings | None
    seed: int

    def __getitem__(self, name: str) -> Dataset:
        if name not in self.datasets:
            message = f"no sample {name!r}; nearest: {nearest(name, self.datasets, limit=4)}"
            raise MissingParameterError(message)
        return self.datasets[name]

    def side(self, data: Dataset, side: Side | None) -> Dataset:
        """The training or the test side of a dataset; None: all of it."""
        if side is None or self.split is None:
            return data
        seed = self.seed if self.split.seed is None else self.split.seed
        train, test = data.split(test=self.split.test, by=list(self.split.by) or None, seed=seed)
        return train if side == "train" else test

    def files(self, name: str) -> list[dict[str, Any]]:
        """The files of a sample, for its provenance: path, size, time and UUID."""
        infos = [info for sample in self[name].samples for info in sample.files.infos()]
        found = [pair for info in infos for pair in info.fingerprints]
        return [
            {"path": redact(str(path)), "size": print_.size, "modified": print_.modified,
             "uuid": print_.uuid}
            for path, print_ in found
        ]  # fmt: skip

    def identities(self, name: str) -> list[dict[str, Any]]:
        """The same without the time, which changes where the content does not."""
        return [{k: v for k, v in each.items() if k != "modified"} for each in self.files(name)]


def with_scores(data: Dataset, paths: Mapping[str, Sequence[str]]) -> Dataset:
    """The same events with the scores of friend trees beside them."""
    for score, each in paths.items():
        data = data.with_friends({f"{score}_scores": list(each)})
    return data


def united(parts: Sequence[Dataset]) -> Dataset:
    """All of them as one."""
    whole_, *others = parts
    for each in others:
        whole_ = whole_ + each
    return whole_


def check_weights(data: Dataset, what: str, *, progress: bool | None) -> Any:
    """See that a class has events, whose weights add up to something; its sums of weights.

    Raises:
        EmptySelectionError: No event is selected.
        UsageError: The weights add up to zero or less.
    """
    sums = data.scan(progress=progress).total
    if not sums.count:
        message = f"{what}: no event is selected, so there is only one class: look at the cuts"
        raise EmptySelectionError(message)
    if not sums.sumw > 0:
        message = (
            f"{what}: the weights of the {sums.count:,} selected events add up to {sums.sumw:g}, "
            "where a sum above 0 is needed: look at weight = ... of the sample"
        )
        raise UsageError(message)
    return sums


def check_distinct(groups: Mapping[str, Iterable[str]]) -> None:
    """See that no sample is in two classes.

    Raises:
        UsageError: It is.
    """
    seen: dict[str, str] = {}
    for key, names in groups.items():
        for name in names:
            if name in seen:
                where = f"twice in {key}" if seen[name] == key else f"in {seen[name]} and in {key}"
                message = f"the sample {name!r} is {where}: its events would be of both"
                raise UsageError(message)
            seen[name] = key
