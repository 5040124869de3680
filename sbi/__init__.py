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

from rootml.sbi._asimov import asimov
from rootml.sbi._binned import Binned
from rootml.sbi._columns import Columns
from rootml.sbi._combined import CombinedLikelihood
from rootml.sbi._diagnostics import diagnose
from rootml.sbi._expressions import Formula
from rootml.sbi._fit import FitResult, fit
from rootml.sbi._fittable import Fittable
from rootml.sbi._gof import GoodnessOfFit, goodness_of_fit
from rootml.sbi._impacts import Impacts, impacts
from rootml.sbi._json import load, save
from rootml.sbi._likelihood import Likelihood
from rootml.sbi._limits import Discovery, Limit, discovery, limit, limit_by_toys
from rootml.sbi._model import Model, Nuisance, Parameter
from rootml.sbi._neyman import Neyman, neyman
from rootml.sbi._report import Check, Report
from rootml.sbi._samples import (
    SampleShifts,
    ShiftedLikelihood,
    bootstrap_reference,
    sample_shifts,
)
from rootml.sbi._scan import Contour, Profile
from rootml.sbi._toys import ToyResults, toys
from rootml.sbi.estimator import ParametricRatios, RatioEstimator, RatioLikelihood, Ratios

__all__ = [
    "Binned",
    "Check",
    "Columns",
    "CombinedLikelihood",
    "Contour",
    "Discovery",
    "FitResult",
    "Fittable",
    "Formula",
    "GoodnessOfFit",
    "Impacts",
    "Likelihood",
    "Limit",
    "Model",
    "Neyman",
    "Nuisance",
    "Parameter",
    "ParametricRatios",
    "Profile",
    "RatioEstimator",
    "RatioLikelihood",
    "Ratios",
    "Report",
    "SampleShifts",
    "ShiftedLikelihood",
    "ToyResults",
    "asimov",
    "bootstrap_reference",
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
]
