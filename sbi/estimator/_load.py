"""From the facts in a file back to ratios."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rootml.errors import CorruptFileError
from rootml.sbi.estimator._graph import Graph
from rootml.sbi.estimator._parametric import ParametricRatios
from rootml.sbi.estimator._ratios import Ratios
from rootml.sbi.estimator._record import TrainingRecord


def assembled(path: str, graph: Graph, facts: Mapping[str, Any]) -> Ratios | ParametricRatios:
    """The ratios of a graph with its facts.

    Raises:
        CorruptFileError: Facts that are incomplete, or that do not fit the graph.
    """
    try:
        record = TrainingRecord.from_json(facts["record"])
        inputs, outputs = tuple(facts["inputs"]), tuple(facts["outputs"])
        names = tuple(facts["names"])
        members = int(facts["members"])
        widths = {"members": members * len(outputs)}
        widths |= dict.fromkeys(("log_ratio", "ratio"), len(outputs))
        expected = {"x": len(names)}
        made: Ratios | ParametricRatios
        if facts["kind"] == "parametric":
            ranges = {name: (low, high) for name, (low, high) in facts["parameters"].items()}
            expected["theta"] = len(ranges)
            made = ParametricRatios(
                inputs, names, ranges, facts["reference"], members, record, graph
            )
        else:
            tree = {name: tuple(each) for name, each in facts["tree"].items()}
            made = Ratios(inputs, names, outputs, facts["reference"], tree, members, record, graph)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"{path}: the facts beside the graph are damaged: {error!r}"
        raise CorruptFileError(message) from error
    if dict(graph.inputs) != expected or dict(graph.outputs) != widths:
        message = f"{path}: inputs {dict(graph.inputs)}, outputs {dict(graph.outputs)} do not fit"
        raise CorruptFileError(message)
    return made
