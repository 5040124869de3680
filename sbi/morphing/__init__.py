"""Flows that carry simulation onto data.

::

    morpher = Morpher(features=[...], conditions=["pt", "eta", "rho"]).fit(sim=mc, data=data)
    corrected = morpher.transform(events)                    # the kind of container that came
    morpher.apply(mc, "corrected/", suffix="_corr")          # friend trees, same entries

The rooms: `_morpher` (the public class), `_rows` (events to rows and back), `_draws` (random
numbers by event), `_preprocess`, `_preprocess_fit` (Gaussianisation), `_reweight` (kinematics),
`_flow`, `_spline`, `_spline_compiled` (the flow), `_fit`, `_training` (learning), `_model`,
`_infer`, `_apply` (using), `_save`, `_persist`, `_onnx` (keeping, handing on).
"""

from __future__ import annotations

from rootml.sbi.morphing._apply import Applied
from rootml.sbi.morphing._morpher import Morpher
from rootml.sbi.morphing._reweight import Closure, Kinematics
from rootml.sbi.morphing._training import Check

__all__ = ["Applied", "Check", "Closure", "Kinematics", "Morpher"]
