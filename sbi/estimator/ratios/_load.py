"""From the graph and metadata of a file back to ratios."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rootml.errors import CorruptFileError
from rootml.sbi.estimator.graph._assemble import member_output
from rootml.sbi.estimator.graph._graph import Graph
from rootml.sbi.estimator.ratios._parametric import ParametricRatios
from rootml.sbi.estimator.ratios._ratios import Ratios
from rootml.sbi.estimator.ratios._record import TrainingRecord


def assembled(path: str, graph: Graph, facts: Mapping[str, Any]) -> Ratios | ParametricRatios:
    """The ratios that a graph and its metadata describe.

    Raises:
        CorruptFileError: Metadata that is incomplete or does not fit the graph.
    """
    try:
        record = TrainingRecord.from_json(facts["record"])
        inputs, outputs = tuple(facts["inputs"]), tuple(facts["outputs"])
        names = tuple(facts["names"])
        members = int(facts["members"])
        names_out = [member_output(number) for number in range(members)]
        widths = dict.fromkeys([*names_out, "log_ratio", "ratio"], len(outputs))
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
        message = f"{path}: the metadata of the graph is damaged: {error!r}"
        raise CorruptFileError(message) from error
    if dict(graph.inputs) != expected or dict(graph.outputs) != widths:
        sides = f"inputs {dict(graph.inputs)} and outputs {dict(graph.outputs)}"
        message = f"{path}: {sides} of the graph do not match its metadata"
        raise CorruptFileError(message)
    return made
