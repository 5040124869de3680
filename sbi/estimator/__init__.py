"""Density ratios learned from samples by classification.

`_estimator`, `_training_uncertainty`: the public class, and the bootstrap around it. Its rooms,
each imports those before it only: `inputs` (options, samples, events), `graph` (what is
evaluated), `training` (one network), `ratios` (the objects that users hold), `learners` (from
samples to ratios). Learners take `TrainingSettings`, never the estimator.
"""

from __future__ import annotations

from rootml.sbi.estimator._estimator import RatioEstimator
from rootml.sbi.estimator._training_uncertainty import training_uncertainty
from rootml.sbi.estimator.inputs._shape_decision import ShapeDecision
from rootml.sbi.estimator.ratios._parametric import ParametricRatios, RatioLikelihood
from rootml.sbi.estimator.ratios._ratios import Ratios

__all__ = [
    "ParametricRatios",
    "RatioEstimator",
    "RatioLikelihood",
    "Ratios",
    "ShapeDecision",
    "training_uncertainty",
]
