"""Flows that carry simulation onto data.

::

    morpher = Morpher(features=[...], conditions=["pt", "eta", "rho"]).fit(sim=mc, data=data)
    corrected = morpher.transform(events)                    # the kind of container that came
    morpher.apply(mc, "corrected/", suffix="_corr")          # friend trees, same entries
    report = morpher.validate(mc, data)                      # tables; report.plot("closure/")

`Generator` draws features of one domain from conditions. The classes are in `_morpher` and
`_generator`, what both share in `_base` and `_settings`, what a fit does in `_fit`. The rooms:
`preprocessing` (tables that make features normal, and back), `reweighting` (equal spectra of the
conditions), `flow` (the flow and its training), `inference` (events through the fitted map; ONNX),
`files` (the fitted map, and how it is kept), `validation` (reports; measures of weighted samples
that can be used alone).
Only the names below are public.
"""

from __future__ import annotations

from rootml.sbi.morphing._generator import Generator
from rootml.sbi.morphing._morpher import Morpher
from rootml.sbi.morphing._uncertainty_band import combine_members
from rootml.sbi.morphing.flow._training import LossRecord
from rootml.sbi.morphing.inference._apply import Applied
from rootml.sbi.morphing.inference._generate import Generated
from rootml.sbi.morphing.reweighting._reweight import Closure, Kinematics
from rootml.sbi.morphing.validation._metrics_sample import Sample
from rootml.sbi.morphing.validation._pairs import PairResult, Pairs
from rootml.sbi.morphing.validation._report import ClosureReport
from rootml.sbi.morphing.validation._validate import make_report, validate
from rootml.sbi.morphing.validation._validate_compare import Comparison, Options

__all__ = [
    "Applied",
    "Closure",
    "ClosureReport",
    "Comparison",
    "Generated",
    "Generator",
    "Kinematics",
    "LossRecord",
    "Morpher",
    "Options",
    "PairResult",
    "Pairs",
    "Sample",
    "combine_members",
    "make_report",
    "validate",
]
