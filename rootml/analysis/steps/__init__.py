"""Kinds of steps, a module each: settings, what they need, and what they do.

Each is a dataclass of `rootml.analysis._step.Step`, listed in `KINDS`. A new kind is a module
here, an entry there, and a row in docs/guide/analysis.md. They may use `rootml.bdt` and
`rootml.sbi`, inside functions only.
"""

from __future__ import annotations

from rootml.analysis._step import Step
from rootml.analysis.steps._evaluate import Evaluate
from rootml.analysis.steps._fit import Fit
from rootml.analysis.steps._histogram import Histogram
from rootml.analysis.steps._ratios import Diagnose, RatiosStep
from rootml.analysis.steps._scores import Scores
from rootml.analysis.steps._torch import Torch
from rootml.analysis.steps._xgboost import XGBoost

__all__ = ["KINDS"]

KINDS: dict[str, type[Step]] = {
    each.kind: each
    for each in (Diagnose, Evaluate, Fit, Histogram, RatiosStep, Scores, Torch, XGBoost)
}
"""By what ``kind = ...`` says."""
