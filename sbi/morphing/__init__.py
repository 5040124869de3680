"""Flows that carry simulation onto data.

::

    morpher = Morpher(features=[...], conditions=["pt", "eta", "rho"]).fit(sim=mc, data=data)
    corrected = morpher.transform(events)                    # the kind of container that came
    morpher.apply(mc, "corrected/", suffix="_corr")          # friend trees, same entries
    report = morpher.validate(mc, data)                      # tables; report.plot("closure/")

The rooms: `_morpher` (the public class), `_rows` (events to rows and back), `_draws` (random
numbers by event), `_preprocess`, `_preprocess_fit` (Gaussianisation), `_reweight`,
`_reweight_network` (kinematics), `_flow`, `_spline`, `_compiled_spline` (the flow), `_fit`,
`_training`, `_settle`, `_calibrate` (learning, closing marginals, the band), `_model`,
`_flow_inference`, `_compiled_flow`, `_apply` (using), `_save`, `_persist`, `_onnx` (keeping, handing on). Judging:
`_validate`, `_validate_compare`, `_report`, `_report_json`, `_plots`; measures of weighted
samples, for anybody: `_metrics`, `_metrics_frechet`, `_metrics_kernel`, `_metrics_sample`,
`_metrics_support`, `_slices`, `_two_sample`.
"""

from __future__ import annotations

from rootml.sbi.morphing._morpher import Morpher
from rootml.sbi.morphing.flow._training import LossRecord
from rootml.sbi.morphing.inference._apply import Applied
from rootml.sbi.morphing.reweighting._reweight import Closure, Kinematics
from rootml.sbi.morphing.validation._metrics_sample import Sample
from rootml.sbi.morphing.validation._report import ClosureReport
from rootml.sbi.morphing.validation._validate import make_report, validate
from rootml.sbi.morphing.validation._validate_compare import Comparison, Options

__all__ = [
    "Applied",
    "Closure",
    "ClosureReport",
    "Comparison",
    "Kinematics",
    "LossRecord",
    "Morpher",
    "Options",
    "Sample",
    "make_report",
    "validate",
]
