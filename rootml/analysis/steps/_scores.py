"""Scores of trained models, as friend trees beside the files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rootml.analysis._settings import setting, text, texts
from rootml.analysis._settings import table as table_of
from rootml.analysis._step import Context, Outcome, Step
from rootml.analysis.steps._training import Training
from rootml.errors import UsageError


def _models(name: str, value: Any) -> dict[str, str]:
    """``{score = "step"}``, or a list of steps, whose names the scores get."""
    if isinstance(value, dict):
        found: dict[str, str] = table_of(text)(name, value)
        if not found:
            message = f"{name}: expected SCORE = step, or a list of steps"
            raise UsageError(message)
        return found
    return {each: each for each in texts(name, value)}


@dataclass(frozen=True, kw_only=True)
class Scores(Step):
    """Friend trees with the scores of models for all selected events of samples.

    A forest is compiled for it. Steps with ``friends = ["this step"]`` use the scores as columns.

    Attributes:
        models: Score to step, or a list of steps.
        samples: Whose files get friends.
    """

    kind: ClassVar[str] = "scores"

    models: dict[str, str] = setting(_models)
    samples: tuple[str, ...] = setting(texts)

    def sample_names(self) -> tuple[str, ...]:
        return self.samples

    def references(self) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(self.models.values(), ("torch", "xgboost"))

    def run(self, context: Context) -> Outcome:
        facts = []
        for score, step in self.models.items():
            model, settings = context.result(step), context.steps[step]
            assert isinstance(settings, Training)
            for name in self.samples:
                (data,) = context.data([name], friends=settings.friends)
                model.write_friend(
                    data.select(list(settings.inputs)), context.folder / name / score, name=score,
                    overwrite=True, progress=context.progress,
                )  # fmt: skip
            facts.append((score, f"of {step}, {len(self.samples)} samples"))
        return Outcome(facts)

    def open(self, folder: Path) -> dict[str, dict[str, list[str]]]:
        """Paths of the friends, by sample and score."""
        return {
            name: {
                score: sorted(str(path) for path in (folder / name / score).iterdir()
                              if not path.name.startswith("."))
                for score in self.models
            }
            for name in self.samples
        }  # fmt: skip
