"""A decision forest, trained by XGBoost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rootml._internal.optional import optional_import
from rootml._internal.progress import track
from rootml.analysis._settings import choice, mapping, number, setting, whole
from rootml.analysis._step import Context, Outcome
from rootml.analysis.steps._training import Training
from rootml.dataset import Dataset
from rootml.errors import UsageError

MODEL = "model.json"


@dataclass(frozen=True, kw_only=True)
class XGBoost(Training):
    """Boosted trees: XGBoost trains them on batches that are streamed from the files.

    The step holds the model with the best validation loss. Both classes weigh the same.

    Attributes:
        rounds: Maximum number of trees.
        early_stopping: Stop after so many rounds without a better validation loss.
        max_depth, learning_rate: Of XGBoost.
        negative_weights: XGBoost refuses them: "error", or "drop" such events in the training.
        parameters: Other parameters of XGBoost.
        threads: None: all cores.
    """

    kind: ClassVar[str] = "xgboost"
    packages: ClassVar[tuple[str, ...]] = ("xgboost",)

    rounds: int = setting(whole(1), 200)
    early_stopping: int = setting(whole(1), 20)
    max_depth: int = setting(whole(1), 6)
    learning_rate: float = setting(number(above=0.0), 0.1)
    negative_weights: str = setting(choice("error", "drop"), "error")
    parameters: dict[str, Any] = setting(mapping, {})
    threads: int | None = setting(whole(1), None)

    def run(self, context: Context) -> Outcome:
        xgboost = optional_import("xgboost", feature="a step of kind 'xgboost'", extra="xgboost")
        train, valid = self.divided(context)
        check_names(train)
        self._check_signs(train, context)
        first, second = (self._matrix(xgboost, each, context) for each in (train, valid))
        booster, losses = self._boost(xgboost, first, second, context)
        best = int(np.argmin(losses))
        booster = booster[: best + 1]
        booster.set_attr(rootml=json.dumps(context.stamp), best_iteration=str(best))
        booster.save_model(context.folder / MODEL)
        facts = [("trees", f"{best + 1:,}"), ("validation loss", f"{losses[best]:.5f}")]
        return Outcome(facts)

    def open(self, folder: Path) -> Any:
        """The forest, compiled: a `rootml.bdt.Model`."""
        from rootml import bdt

        return bdt.load(folder / MODEL).compile()

    def prepared(self, data: Dataset) -> Dataset:
        """Without events of negative weight, if they are to be dropped."""
        (sample,) = data.samples
        if self.negative_weights == "error" or not isinstance(sample.weight, str):
            return data
        return data.filter(f"({sample.weight}) > 0")

    def _check_signs(self, data: Dataset, context: Context) -> None:
        negative = data.scan(progress=context.progress).total.negative
        if negative:
            message = (
                f"{negative:,} events of the training have negative weights, which XGBoost "
                'refuses: negative_weights = "drop" leaves them out of the training (of nothing '
                'else), or train a network (kind = "torch"), which takes them'
            )
            raise UsageError(message)

    def _matrix(self, xgboost: Any, data: Dataset, context: Context) -> Any:
        loader = data.batches(
            8192, balance="weights", nonfinite="keep", threads=self.threads,
            progress=context.progress,
        )  # fmt: skip
        return xgboost.QuantileDMatrix(loader.xgboost())

    def _boost(
        self, xgboost: Any, train: Any, valid: Any, context: Context
    ) -> tuple[Any, list[float]]:
        options = {
            "objective": "binary:logistic", "eval_metric": "logloss", "seed": context.seed,
            "max_depth": self.max_depth, "eta": self.learning_rate, **self.parameters,
        }  # fmt: skip
        if self.threads is not None:
            options["nthread"] = self.threads
        booster = xgboost.Booster(options, [train, valid])
        losses: list[float] = []
        for number_ in track(
            range(self.rounds), total=self.rounds, what="boosting", enabled=context.progress
        ):
            booster.update(train, number_)
            losses.append(float(booster.eval(valid, "valid", number_).rpartition(":")[2]))
            if len(losses) - 1 - int(np.argmin(losses)) >= self.early_stopping:
                break
        return booster, losses


def check_names(data: Dataset) -> None:
    """See that every input has a name that XGBoost keeps.

    Raises:
        UsageError: It has brackets.
    """
    for name in data.columns:
        if set(name) & set("[]<"):
            message = f"the input {name!r} needs a name, as in 'lead = {name}'"
            raise UsageError(message)
