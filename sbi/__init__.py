"""Likelihood ratios: learn, combine, fit, hand to RooFit.

>>> import numpy as np
>>> from rootml import sbi
>>> rng = np.random.default_rng(1)
>>> x = np.concatenate([rng.normal(0.0, 1.0, 300), rng.uniform(-5.0, 5.0, 700)])
>>> ratio = 10.0 * np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi)      # p_S / p_B, here known
>>> model = sbi.Model({"S": "mu * 300", "B": "700"}, {"mu": sbi.Parameter(1.0, lower=0.0)})
>>> fit = sbi.fit(model.likelihood({"S": ratio, "B": np.ones(1000)}))
>>> bool(fit.valid), abs(fit.values["mu"] - 1.0) < 3 * fit.errors["mu"]
(True, True)
"""

from __future__ import annotations

from rootml.sbi.diagnostics._diagnose import diagnose
from rootml.sbi.diagnostics._report import Check, Report
from rootml.sbi.estimator import (
    ParametricRatios,
    RatioEstimator,
    RatioLikelihood,
    Ratios,
    ShapeDecision,
    training_uncertainty,
)
from rootml.sbi.files._json import load, save
from rootml.sbi.inference._goodness_of_fit import GoodnessOfFit, goodness_of_fit
from rootml.sbi.inference._impacts import Impacts, impacts
from rootml.sbi.inference._neyman import Neyman, neyman
from rootml.sbi.inference._samples import (
    SampleShifts,
    ShiftedLikelihood,
    bootstrap_reference,
    sample_shifts,
)
from rootml.sbi.inference.fits._contour import Contour
from rootml.sbi.inference.fits._fit import FitResult, fit
from rootml.sbi.inference.fits._fitted_parameter import FittedParameter
from rootml.sbi.inference.fits._scan import Profile
from rootml.sbi.inference.limits._asymptotic import cls, limit
from rootml.sbi.inference.limits._by_toys import limit_by_toys
from rootml.sbi.inference.limits._discovery import Discovery, discovery
from rootml.sbi.inference.limits._limit import CLs, Limit
from rootml.sbi.inference.toys._asimov import asimov
from rootml.sbi.inference.toys._learned_reference import LearnedReference
from rootml.sbi.inference.toys._toy_source import DensitySource
from rootml.sbi.inference.toys._toy_task import ToyResults
from rootml.sbi.inference.toys._toys import toys
from rootml.sbi.likelihood._binned import Binned
from rootml.sbi.likelihood._columns import RatioColumns
from rootml.sbi.likelihood._combined import CombinedLikelihood
from rootml.sbi.likelihood._expressions import Formula
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._likelihood import Likelihood
from rootml.sbi.likelihood._model import Model
from rootml.sbi.likelihood._parameters import Nuisance, Parameter

__all__ = [
    "Binned",
    "CLs",
    "Check",
    "CombinedLikelihood",
    "Contour",
    "DensitySource",
    "Discovery",
    "FitResult",
    "Fittable",
    "FittedParameter",
    "Formula",
    "GoodnessOfFit",
    "Impacts",
    "LearnedReference",
    "Likelihood",
    "Limit",
    "Model",
    "Neyman",
    "Nuisance",
    "Parameter",
    "ParametricRatios",
    "Profile",
    "RatioColumns",
    "RatioEstimator",
    "RatioLikelihood",
    "Ratios",
    "Report",
    "SampleShifts",
    "ShapeDecision",
    "ShiftedLikelihood",
    "ToyResults",
    "asimov",
    "bootstrap_reference",
    "cls",
    "diagnose",
    "discovery",
    "fit",
    "goodness_of_fit",
    "impacts",
    "limit",
    "limit_by_toys",
    "load",
    "neyman",
    "sample_shifts",
    "save",
    "toys",
    "training_uncertainty",
]
