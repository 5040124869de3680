"""A fit of learned ratios to data, or to what the model expects of data."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rootml.analysis._samples import Side
from rootml.analysis._settings import (
    made_of,
    mapping,
    number,
    setting,
    table,
    text,
    texts,
)
from rootml.analysis._step import Context, Outcome, Step
from rootml.analysis.steps._ratios import RatiosStep
from rootml.errors import UsageError

LIKELIHOOD, RESULT = "likelihood.json", "fit.json"
_EXPECTED = re.compile(r"\bexpected\b")


@dataclass(frozen=True)
class FitFiles:
    """What a step of kind "fit" has written.

    Attributes:
        likelihood: The `rootml.sbi.Likelihood` with its data.
        result: `rootml.sbi.FitResult.to_dict`, with intervals, impacts and limit.
    """

    likelihood: Any
    result: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Fit(Step):
    """`rootml.sbi.fit` of an unbinned likelihood.

    Attributes:
        ratios: A step of kind "ratios".
        data: The sample that is fitted; or
        asimov: parameter values: what the model expects there is fitted instead of data.
        processes: The yield of each process of the ratios, an expression in the parameters; the
            word ``expected`` stands for the sum of weights of its selected events.
        parameters: ``{ mu = { value = 1.0, lower = 0.0 } }``, fields of `rootml.sbi.Parameter`.
        nuisances: ``{ jes = { yields = { background = [1.05, 0.96] } } }``, fields of
            `rootml.sbi.Nuisance`.
        minos: Parameters whose intervals and profiles are wanted.
        impacts: The parameter of interest: what each nuisance does to it.
        limit: A parameter whose upper limit (CLs) is wanted.
        level: Of the limit.
    """

    kind: ClassVar[str] = "fit"
    packages: ClassVar[tuple[str, ...]] = ("iminuit",)

    ratios: str = setting(text)
    data: str | None = setting(text, None)
    asimov: dict[str, float] | None = setting(table(number()), None)
    processes: dict[str, str] = setting(table(text))
    parameters: dict[str, dict[str, Any]] = setting(table(mapping))
    nuisances: dict[str, dict[str, Any]] = setting(table(mapping), {})
    minos: tuple[str, ...] = setting(texts, ())
    impacts: str | None = setting(text, None)
    limit: str | None = setting(text, None)
    level: float = setting(number(above=0.0, maximum=0.9999), 0.95)

    def __post_init__(self) -> None:
        if (self.data is None) == (self.asimov is None):
            message = "give data = (a sample) or asimov = { mu = 1.0 }, one of both"
            raise UsageError(message)
        self.model(dict.fromkeys(self.processes, 1.0))

    def sample_names(self) -> tuple[str, ...]:
        return () if self.data is None else (self.data,)

    def references(self) -> dict[str, tuple[str, ...]]:
        return {self.ratios: ("ratios",)}

    def model(self, expected: dict[str, float]) -> Any:
        """The `rootml.sbi.Model`, for sums of weights of the processes.

        Raises:
            UsageError: A setting that makes no sense.
        """
        from rootml.sbi import Model, Nuisance, Parameter

        return Model(
            {name: _EXPECTED.sub(f"({expected[name]!r})", yields)
             for name, yields in self.processes.items()},
            {name: made_of(Parameter, each, f"parameters.{name}")
             for name, each in self.parameters.items()},
            {name: made_of(Nuisance, each, f"nuisances.{name}")
             for name, each in self.nuisances.items()},
        )  # fmt: skip

    def run(self, context: Context) -> Outcome:
        from rootml import sbi

        like = self._likelihood(context)
        sbi.save(like, context.folder / LIKELIHOOD)
        fit = sbi.fit(like).require_valid()
        found = fit.to_dict()
        facts = [(name, str(fit[name]).partition(" = ")[2]) for name in self.parameters]
        if any(name in fit.values for name in self.nuisances):
            context.picture("pulls", fit.plot())
        for name in self.minos:
            low, high = fit.minos(name)
            found.setdefault("minos", {})[name] = [low, high]
            facts.append((f"{name}, interval", f"[{low:.6g}, {high:.6g}]"))
            context.picture(f"profile-{name}", fit.plot(name))
        facts += self._more(fit, like, found, context)
        context.json(RESULT, found)
        return Outcome(facts, [str(fit.summary())], fit.problems, fit.notes)

    def _more(
        self, fit: Any, like: Any, found: dict[str, Any], context: Context
    ) -> list[tuple[str, str]]:
        """Impacts and the limit."""
        from rootml import sbi

        facts = []
        if self.impacts is not None:
            table_ = sbi.impacts(fit, self.impacts)
            found["impacts"] = {row.nuisance: [row.up, row.down] for row in table_.rows}
            context.picture(f"impacts-{self.impacts}", table_.plot())
        if self.limit is not None:
            limit = sbi.limit(like, self.limit, level=self.level)
            found["limit"] = {"observed": limit.observed, "expected": list(limit.expected)}
            context.picture(f"limit-{self.limit}", limit.plot())
            facts.append((f"{self.limit} below", f"{limit.observed:.4g} at {self.level:.0%} CL"))
        return facts

    def _likelihood(self, context: Context) -> Any:
        from rootml import sbi

        settings = context.steps[self.ratios]
        assert isinstance(settings, RatiosStep)
        self._check_processes(settings)
        ratios = context.result(self.ratios)
        model = self.model(self._expected(settings, context))
        side: Side | None = None if context.samples.split is None else "test"
        options: Any = {"friends": settings.friends, "cut": settings.cut}
        (reference,) = context.data([settings.reference], side=side, **options)
        columns = ratios.columns(reference, progress=context.progress)
        if self.data is None:
            truth: Any = self.asimov
            return sbi.asimov(model, columns, **truth)
        (data,) = context.data([self.data], **options)
        observed = ratios.columns(data, progress=context.progress)
        return model.likelihood(observed, reference=columns)

    def _expected(self, settings: RatiosStep, context: Context) -> dict[str, float]:
        events = settings.events(context, None)
        nominal = {k: v["nominal"] if isinstance(v, dict) else v for k, v in events.items()}
        return {
            name: float(nominal[name].scan(progress=context.progress).total.sumw)
            for name in self.processes
        }

    def _check_processes(self, settings: RatiosStep) -> None:
        """See that the processes are those of the ratios.

        Raises:
            UsageError: One is missing, or unknown.
        """
        if set(self.processes) != set(settings.processes):
            message = (
                f"processes = {sorted(self.processes)}, but the ratios of {self.ratios!r} have "
                f"{sorted(settings.processes)}"
            )
            raise UsageError(message)

    def open(self, folder: Path) -> FitFiles:
        """The likelihood and the numbers of the fit."""
        from rootml import sbi

        found = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        found.pop("provenance")
        return FitFiles(sbi.load(folder / LIKELIHOOD), found)
