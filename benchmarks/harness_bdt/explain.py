"""Contributions, leaves and interactions beside XGBoost's, in turns, CPU time of one thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from harness_bdt.engines import Subject

ROWS, FEW = 4096, 64


def explained(subject: Subject, rounds: int) -> dict[str, tuple[float, float, float]]:
    """Microseconds per event of ours, of XGBoost, and the median ratio, by what is asked."""
    import xgboost

    model = subject.forest.compile()
    booster = xgboost.Booster({"nthread": 1}, model_file=subject.path)

    def matrix(rows: int) -> Any:
        return xgboost.DMatrix(
            subject.x[:rows], feature_types=booster.feature_types, enable_categorical=True
        )

    many, few, x = matrix(ROWS), matrix(FEW), subject.x[:ROWS]
    cases: dict[str, tuple[Callable[[], Any], int, Callable[[], Any], int]] = {
        "contributions": (
            lambda: model.contributions(x), ROWS,
            lambda: booster.predict(few, pred_contribs=True), FEW,
        ),
        "approximate": (
            lambda: model.contributions(x, approximate=True), ROWS,
            lambda: booster.predict(many, pred_contribs=True, approx_contribs=True), ROWS,
        ),
        "leaves": (
            lambda: model.predict_leaf(x), ROWS,
            lambda: booster.predict(many, pred_leaf=True), ROWS,
        ),
    }  # fmt: skip
    made = {}
    for name, (ours, our_rows, theirs, their_rows) in cases.items():
        ours()
        pairs = [(_each(ours, our_rows), _each(theirs, their_rows)) for _ in range(rounds)]
        made[name] = (
            statistics.median(a for a, _ in pairs),
            statistics.median(b for _, b in pairs),
            statistics.median(b / a for a, b in pairs),
        )
    return made


def _each(call: Callable[[], Any], rows: int) -> float:
    start = time.process_time()
    call()
    return (time.process_time() - start) / rows * 1e6
