"""What each cut leaves: events and sums of weights per label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rootml._internal.reprs import Grid, HtmlRepr, Paragraph, Part, percent
from rootml.dataset._sample import Sample
from rootml.dataset._weight_sums import Label, Steps, Sums, add_sums, total
from rootml.errors import UsageError
from rootml.plot import Labels, Style, write
from rootml.plot import cutflow as draw_cutflow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIRST = "all events"


@dataclass(frozen=True, slots=True)
class CutStep:
    """One row of a cutflow.

    Attributes:
        name: Name of the cut (its text, if it has no name), or "all events".
        labels: Sums over the events that pass this cut and those before it, by label (None: the
            data have no label).
    """

    name: str
    labels: dict[Label, Sums]

    @property
    def sums(self) -> Sums:
        """Sums over all labels."""
        return total(self.labels.values())


@dataclass(frozen=True, slots=True)
class Flow:
    """The cuts that one or several samples went through.

    Attributes:
        samples: Titles of the samples.
        steps: All events first, then after each cut.
    """

    samples: tuple[str, ...]
    steps: tuple[CutStep, ...]

    def grid(self) -> Grid:
        """Rows for the table: per label and step events, sum of weights, efficiencies."""
        weighted = any(
            sums.sumw != sums.count or sums.negative
            for step in self.steps
            for sums in step.labels.values()
        )
        header = ["label", "cut", "events", "relative", "cumulative"]
        header += ["sum of weights", "relative", "cumulative"] if weighted else []
        rows = []
        for label in self.steps[0].labels:
            first = before = self.steps[0].labels[label]
            for step in self.steps:
                sums = step.labels.get(label, Sums())
                row = ["" if label is None else str(label), step.name, f"{sums.count:,}"]
                row += [percent(sums.count, before.count), percent(sums.count, first.count)]
                if weighted:
                    row += [f"{sums.sumw:.6g}"]
                    row += [percent(sums.sumw, before.sumw), percent(sums.sumw, first.sumw)]
                rows.append(tuple(row))
                before = sums
        return Grid(tuple(header), rows, left=2)


@dataclass(frozen=True, slots=True)
class Cutflow(HtmlRepr):
    """Events and sums of weights after each cut; prints as a table, in notebooks too.

    "Relative" is to the cut before, "cumulative" to all events. An event whose cut is unknown
    (``Jet_pt[0] > 30`` without jets) counts as failing. Samples that went through different cuts
    have a table each.

    Attributes:
        flows: One per different sequence of cuts.
    """

    flows: tuple[Flow, ...]

    @classmethod
    def of(cls, samples: Sequence[Sample], sums: Sequence[Steps]) -> Cutflow:
        """The cutflow of samples from their sums after each cut."""
        groups: dict[tuple[str, ...], list[int]] = {}
        for number, sample in enumerate(samples):
            names = (FIRST, *(cut.name for cut in sample.cuts))
            groups.setdefault(names, []).append(number)
        flows = []
        for names, numbers in groups.items():
            merged = [dict[Label, Sums]() for _ in names]
            for number in numbers:
                merged = [
                    add_sums(one, other) for one, other in zip(merged, sums[number], strict=True)
                ]
            steps = [
                CutStep(name, dict(sorted(step.items(), key=lambda item: str(item[0]))))
                for name, step in zip(names, merged, strict=True)
            ]
            flows.append(Flow(tuple(samples[n].title for n in numbers), tuple(steps)))
        return cls(tuple(flows))

    @property
    def steps(self) -> tuple[CutStep, ...]:
        """The steps, where all samples went through the same cuts.

        Raises:
            UsageError: They went through different ones; look at `flows`.
        """
        if len(self.flows) > 1:
            message = "the samples went through different cuts: each of .flows has its own .steps"
            raise UsageError(message)
        return self.flows[0].steps

    def plot(
        self,
        *,
        weighted: bool = True,
        ax: Any = None,
        labels: Labels = None,
        units: Labels = None,
        style: Style = "plain",
        path: Any = None,
    ) -> Axes:
        """Draw what each cut leaves of each label, see `rootml.plot.cutflow`.

        Args:
            weighted: Sums of weights; False: numbers of events.
            ax, labels, units, style: As for all functions of `rootml.plot`.
            path: Write the picture there; None: notebooks show it.

        Returns:
            The axes.

        Raises:
            UsageError: The samples went through different cuts, or a label has no weight at all.
        """
        steps = self.steps
        contents = {
            "" if label is None else str(label): [step.labels.get(label, Sums()) for step in steps]
            for label in steps[0].labels
        }
        values = {
            name: [each.sumw if weighted else each.count for each in sums]
            for name, sums in contents.items()
        }
        look: Any = {"ax": ax, "labels": labels, "units": units, "style": style}
        return write(draw_cutflow([step.name for step in steps], values, **look), path)

    def __str__(self) -> str:
        if len(self.flows) == 1:
            return str(self.flows[0].grid())
        return "\n\n".join(f"{', '.join(flow.samples)}\n{flow.grid()}" for flow in self.flows)

    __repr__ = __str__

    def _html_parts(self) -> Iterator[Part]:
        for flow in self.flows:
            if len(self.flows) > 1:
                yield Paragraph(", ".join(flow.samples))
            yield flow.grid()
