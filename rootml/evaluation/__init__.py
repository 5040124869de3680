"""How good a score is: areas, efficiencies, agreement of training and test, what features do.

`rootml.evaluate` (`_evaluate`) reads a dataset with scores (`_scored`) and gives an `Evaluation`,
with working points and efficiencies in bins (`_efficiencies`) and, where the model can say it, the
importance of its features (`_importance`).
"""

from __future__ import annotations

from rootml.evaluation._efficiencies import BinnedEfficiency, WorkingPoint
from rootml.evaluation._evaluate import Evaluation, evaluate
from rootml.evaluation._importance import FeatureImportance
from rootml.evaluation._scored import Scored

__all__ = [
    "BinnedEfficiency",
    "Evaluation",
    "FeatureImportance",
    "Scored",
    "WorkingPoint",
    "evaluate",
]
