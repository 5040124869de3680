"""Ensembles that were trained apart, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rootml.errors import UsageError
from rootml.sbi.estimator.graph._assemble import averaged, member_output
from rootml.sbi.estimator.graph._graph import Builder, Graph
from rootml.sbi.estimator.ratios._record import Norm, TrainingRecord


class Ensemble(Protocol):
    """What `Ratios` and `ParametricRatios` have in common."""

    @property
    def members(self) -> int:
        """Number of networks."""
        ...

    @property
    def record(self) -> TrainingRecord:
        """Of the training."""
        ...

    @property
    def graph(self) -> Graph:
        """The computation."""
        ...


def merged(
    parts: Sequence[Ensemble], same: Sequence[str], width: int
) -> tuple[int, TrainingRecord, Graph]:
    """Number of networks, record and graph of all of them.

    Args:
        same: Attributes that must agree.
        width: Number of ratios.

    Raises:
        UsageError: Ratios of something else.
    """
    first = parts[0]
    for number, each in enumerate(parts[1:], 1):
        for name in same:
            _check_same(name, getattr(first, name), getattr(each, name), number)
        _check_same("samples", first.record.sums, each.record.sums, number)
        _check_same("decisions on shapes", _shapes(first.record), _shapes(each.record), number)
    build = Builder(**first.graph.inputs)
    values: list[str] = []
    for each in parts:
        values += build.include(each.graph, [member_output(m) for m in range(each.members)])
    return len(values), _record(parts), averaged(build, values, width)


def _shapes(record: TrainingRecord) -> list[Any]:
    return [(s.process, s.nuisance, s.kept, s.parts) for s in record.shapes]


def _check_same(what: str, first: Any, other: Any, number: int) -> None:
    if first == other:
        return
    changed = [each for each in other if each not in first] if isinstance(other, list) else other
    message = (
        f"part {number} has other {what} than part 0: {str(changed)[:200]}; only ensembles of the "
        f"same samples and inputs can be merged"
    )
    if what.startswith("decisions"):
        message += (
            ". Let the first part decide for the others: "
            "estimator.with_settings(shapes=ratios.record.shapes, seed=...)"
        )
    raise UsageError(message)


def _record(parts: Sequence[Ensemble]) -> TrainingRecord:
    records = [each.record for each in parts]
    return TrainingRecord(
        records[0].sums,
        tuple(history for record in records for history in record.histories),
        _norms([(each.members, each.record.norms) for each in parts]),
        sum(record.seconds for record in records),
        tuple(dict.fromkeys(note for record in records for note in record.notes)),
        records[0].shapes,
    )


def _norms(parts: Sequence[tuple[int, Mapping[str, Norm]]]) -> dict[str, Norm]:
    """Means over all networks; their errors are those of the same events, not independent."""
    total = sum(members for members, _ in parts)
    return {
        name: Norm(
            sum(members * norms[name].mean for members, norms in parts) / total,
            sum(members * norms[name].error for members, norms in parts) / total,
            max(norms[name].gain for _, norms in parts),
            calibrated=any(norms[name].calibrated for _, norms in parts),
        )
        for name in parts[0][1]
    }
