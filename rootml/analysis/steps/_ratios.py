"""Learned likelihood ratios, and the test of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rootml._internal.provenance import stamped
from rootml.analysis._samples import Side, check_weights
from rootml.analysis._settings import (
    flag,
    number,
    setting,
    table,
    text,
    texts,
    whole,
    wholes,
)
from rootml.analysis._step import Context, Outcome, Selecting, Step
from rootml.errors import UsageError

MODEL = "ratios.onnx"


@dataclass(frozen=True, kw_only=True)
class RatiosStep(Selecting):
    """`rootml.sbi.RatioEstimator`: density ratios of samples, learned on the training side.

    Attributes:
        processes: Samples whose densities are wanted, the reference among them.
        reference: The sample over which the ratios are normalised.
        inputs: Columns or expressions, one number per event.
        variations: ``{ process = { nuisance = ["up", "down"] } }``: samples with systematic
            variations of the shape.
        ensemble, folds, hidden, epochs, batch_size, learning_rate, patience: As the estimator.
    """

    kind: ClassVar[str] = "ratios"
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    processes: tuple[str, ...] = setting(texts)
    reference: str = setting(text)
    inputs: tuple[str, ...] = setting(texts)
    variations: dict[str, dict[str, tuple[str, ...]]] = setting(table(table(texts)), {})
    ensemble: int = setting(whole(1), 5)
    folds: int = setting(whole(2), 5)
    hidden: tuple[int, ...] = setting(wholes, (64, 64))
    epochs: int | None = setting(whole(1), None)
    batch_size: int | None = setting(whole(1), None)
    learning_rate: float = setting(number(above=0.0), 6e-3)
    patience: int | None = setting(whole(1), None)

    def __post_init__(self) -> None:
        if self.reference not in self.processes:
            message = f"reference={self.reference!r} is none of processes={list(self.processes)}"
            raise UsageError(message)
        if len(set(self.processes)) < 2:
            message = f"processes={list(self.processes)}: there is only one class, 2 are needed"
            raise UsageError(message)
        for process, each in self.variations.items():
            if process not in self.processes:
                message = f"variations.{process}: it is none of {list(self.processes)}"
                raise UsageError(message)
            for nuisance, pair in each.items():
                if len(pair) != 2:
                    message = f"variations.{process}.{nuisance}: expected two samples, [up, down]"
                    raise UsageError(message)

    def sample_names(self) -> tuple[str, ...]:
        varied = [n for each in self.variations.values() for pair in each.values() for n in pair]
        return tuple(dict.fromkeys((*self.processes, *varied)))

    def texts(self) -> tuple[str, ...]:
        return self.inputs if self.cut is None else (*self.inputs, self.cut)

    def events(self, context: Context, side: Side | None) -> dict[str, Any]:
        """Samples as `RatioEstimator.fit` and `diagnose` take them."""

        def one(name: str) -> Any:
            (data,) = context.data([name], side=side, friends=self.friends, cut=self.cut)
            check_weights(data, f"the sample {name!r}", progress=context.progress)
            return data

        found: dict[str, Any] = {}
        for process in self.processes:
            varied: Mapping[str, tuple[str, ...]] = self.variations.get(process, {})
            shapes = {name: tuple(map(one, pair)) for name, pair in varied.items()}
            nominal = one(process)
            found[process] = {"nominal": nominal, **shapes} if shapes else nominal
        return found

    def run(self, context: Context) -> Outcome:
        from rootml import sbi

        split = context.samples.split
        estimator = sbi.RatioEstimator(
            self.inputs, ensemble=self.ensemble, folds=self.folds, hidden=self.hidden,
            epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate,
            patience=self.patience, by=list(split.by) if split and split.by else None,
            seed=context.seed, progress=context.progress,
        )  # fmt: skip
        ratios = estimator.fit(self.events(context, "train"), reference=self.reference)
        files = {name: context.samples.identities(name) for name in self.sample_names()}
        with stamped(files=files):
            ratios.save(context.folder / MODEL)
        shapes = [
            (f"{s.process}, {s.nuisance}", "shape kept" if s.kept else "shape dropped")
            for s in ratios.record.shapes
        ]
        facts = [("ratios", ", ".join(ratios.outputs)), ("reference", self.reference), *shapes]
        tables = [str(grid) for grid in ratios.record.grids()]
        return Outcome(facts, tables, notes=ratios.record.notes)

    def open(self, folder: Path) -> Any:
        """The `rootml.sbi.Ratios`."""
        from rootml import sbi

        return sbi.RatioEstimator.load(folder / MODEL)


@dataclass(frozen=True, kw_only=True)
class Diagnose(Step):
    """`rootml.sbi.diagnose`: ratios against events of the test side.

    Attributes:
        ratios: A step of kind "ratios".
        fit: A step of kind "fit" that the ratios are for: each check says which bias it sees.
        classifier: Whether to train a second classifier as a test.
        max_events: Events of each sample that are used.
    """

    kind: ClassVar[str] = "diagnose"

    ratios: str = setting(text)
    fit: str | None = setting(text, None)
    classifier: bool = setting(flag, True)
    max_events: int = setting(whole(1), 100_000)

    def sample_names(self) -> tuple[str, ...]:
        return ()

    def references(self) -> dict[str, tuple[str, ...]]:
        fits = {} if self.fit is None else {self.fit: ("fit",)}
        return {self.ratios: ("ratios",), **fits}

    def needs_split(self) -> bool:
        return True

    def run(self, context: Context) -> Outcome:
        from rootml import sbi

        settings = context.steps[self.ratios]
        assert isinstance(settings, RatiosStep)
        like = None if self.fit is None else context.result(self.fit).likelihood
        report = sbi.diagnose(
            context.result(self.ratios), settings.events(context, "test"), fit=like,
            classifier=self.classifier, max_events=self.max_events, seed=context.seed,
            progress=context.progress,
        )  # fmt: skip
        for name, axes in report.plot().items():
            context.picture(name.replace(" ", "-"), axes)
        context.json("diagnose.json", {"checks": [list(each.row()) for each in report.checks]})
        number_ = len(report.failed)
        facts = [("checks", str(len(report.checks))), ("failed", str(number_)),
                 ("not tested", str(len(report.untested)))]  # fmt: skip
        problems = [f"{c.subject}: {c.what} = {c.value:.4g}. {c.remark}" for c in report.failed]
        return Outcome(facts, [str(report)], problems)

    def open(self, folder: Path) -> Any:
        """The rows of the report."""
        import json

        return json.loads((folder / "diagnose.json").read_text(encoding="utf-8"))["checks"]
