"""Density ratios learned from samples by classification.

The rooms: `_estimator` (the public class), `_samples` (what was given, checked and divided),
`_learn` and `_learn_parametric` (from samples to networks, curves and norms), `_network`,
`_training`, `_calibration`, `_normalisation`, `_assemble` (all of it as one graph), `_graph` (its
evaluation), `_onnx`, `_load` (files), `_ratios`, `_parametric` (what users hold), `_classifier`
(scores of other classifiers).
"""

from __future__ import annotations

from rootml.sbi.estimator._estimator import RatioEstimator
from rootml.sbi.estimator._parametric import ParametricRatios, RatioLikelihood
from rootml.sbi.estimator._ratios import Ratios

__all__ = ["ParametricRatios", "RatioEstimator", "RatioLikelihood", "Ratios"]
