"""Density ratios learned from samples by classification.

`_estimator`: the public class. `_settings`, `_samples`: its options and input, checked. `_learn`,
`_learn_parametric`, `_classifier`: from samples to ratios, with `_network`, `_training`,
`_calibration`, `_normalisation`. `_assemble`, `_graph`, `_onnx`, `_load`: the result as a graph
and as a file. `_ratios`, `_parametric`, `_record`: the objects that users hold.
Learners take `TrainingSettings`, never the estimator.
"""

from __future__ import annotations

from rootml.sbi.estimator._estimator import RatioEstimator
from rootml.sbi.estimator._parametric import ParametricRatios, RatioLikelihood
from rootml.sbi.estimator._ratios import Ratios
from rootml.sbi.estimator._shape_decision import ShapeDecision
from rootml.sbi.estimator._training_uncertainty import training_uncertainty

__all__ = [
    "ParametricRatios",
    "RatioEstimator",
    "RatioLikelihood",
    "Ratios",
    "ShapeDecision",
    "training_uncertainty",
]
