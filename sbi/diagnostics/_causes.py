"""Advice: what most likely made a check fail, by what is known of the training and the samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rootml.sbi.diagnostics._binned import survival
from rootml.sbi.diagnostics._pairs import Pair
from rootml.sbi.diagnostics._report import Check
from rootml.sbi.estimator.learners._learn import FEW_EVENTS, FEW_STEPS
from rootml.sbi.estimator.ratios._record import TrainingRecord

_TOPICS = {"calibration", "closure", "normalisation"}
_LITTLE_OVERLAP = 0.01
"""Part of the effective events of a sample that lies where the other one has events, too."""
_OVERTRAINED = 0.01
"""Of the held-out loss, by which the training loss is below it where noise was learned."""
UNKNOWN = (
    "the events may be of another density than in the training, or the network is not flexible "
    "enough: more hidden units, or more epochs"
)


def with_causes(
    checks: Sequence[Check], pairs: Sequence[Pair], record: TrainingRecord
) -> list[Check]:
    """The checks, those of ratios that failed or had too few events with the likely cause."""
    by_name = {pair.name: pair for pair in pairs}
    return [_with_cause(check, by_name, record) for check in checks]


def _with_cause(check: Check, pairs: Mapping[str, Pair], record: TrainingRecord) -> Check:
    pair = pairs.get(check.subject.partition(":")[0])
    if pair is None or check.topic not in _TOPICS:
        return check
    if check.ok is False:
        why = cause(pair, record)
        if why == UNKNOWN:
            why = finite_training(check, pair, record) or why
        return replace(check, remark=f"{check.remark}; {why}")
    if not check.tested and check.sees is None:
        return replace(check, remark=untested_cause(pair))
    return check


def overlap(pair: Pair) -> float:
    """Part of the smaller sample's effective events where the densities overlap."""
    return pair.effective_overlap / min(pair.numerator.effective, pair.reference.effective)


def finite_training(check: Check, pair: Pair, record: TrainingRecord) -> str:
    """Whether the size of the training sample alone explains that a check failed; empty: no.

    The number then also has the fluctuation of the training events, ``n_held / n_train`` times
    the variance that the check knows.
    """
    sums = record.sums.get(pair.name)
    if sums is None or check.expected is None or check.threshold is None or "AUC" in check.what:
        return ""
    chi2, freedom = check.value, round(check.expected)
    if check.error == 0.0:
        return ""
    if check.error is not None:
        chi2, freedom = ((check.value - check.expected) / check.error) ** 2, 1
    more = 1.0 + pair.numerator.effective / max(sums.effective_events, 1.0)
    if survival(chi2 / more, freedom) <= check.threshold:
        return ""
    return (
        f"the fluctuation of its {sums.effective_events:,.0f} effective training events explains "
        "it: more of them, or training_uncertainty in the fit"
    )


def untested_cause(pair: Pair) -> str:
    """Why there are too few events."""
    if overlap(pair) < _LITTLE_OVERLAP:
        return "the densities hardly overlap: choose a reference nearer to this sample"
    return "the held-out samples are too small"


def cause(pair: Pair, record: TrainingRecord) -> str:
    """Why a ratio is wrong, most likely."""
    steps = min((h.steps for h in record.histories), default=FEW_STEPS)
    if steps < FEW_STEPS:
        return f"a network made only {steps} steps: use more epochs or a smaller batch_size"
    falling = [h.best == len(h.held_out) - 1 for h in record.histories if len(h.held_out) > 1]
    if falling and all(falling):
        return "the held-out loss still fell when the training ended: use more epochs"
    if overlap(pair) < _LITTLE_OVERLAP:
        return "the densities hardly overlap: choose a reference nearer to this sample"
    sums = record.sums.get(pair.name)
    if sums is not None and (sums.effective_events < FEW_EVENTS or _overtrained(record)):
        return f"{sums.effective_events:,.0f} effective events are too few to train with"
    return UNKNOWN


def _overtrained(record: TrainingRecord) -> bool:
    gaps = [
        h.held_out[h.best] - h.train[-1] > _OVERTRAINED * abs(h.held_out[h.best])
        for h in record.histories
        if h.held_out and h.train
    ]
    return bool(gaps) and all(gaps)
