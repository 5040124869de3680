"""How good a score is: areas, working points, agreement of training and test.

`rootml.evaluate` reads a dataset with scores and gives an `Evaluation`.
"""

from __future__ import annotations

from rootml.evaluation._evaluate import Evaluation, Scored, WorkingPoint, evaluate

__all__ = ["Evaluation", "Scored", "WorkingPoint", "evaluate"]
