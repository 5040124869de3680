"""Members of an ensemble from the plain values of their files; see `_network_files`."""

from __future__ import annotations

from typing import Any

from rootml.sbi.estimator.graph._assemble import Member
from rootml.sbi.estimator.learners._held_out import RatioMoments
from rootml.sbi.estimator.learners._learn import ClassNetworks
from rootml.sbi.estimator.learners._learn_parametric import ParametricNetwork
from rootml.sbi.estimator.training._training import History, Trained


def class_networks(given: Any) -> ClassNetworks:
    """The networks of a classifier between samples."""
    nominal = given["nominal"]
    return ClassNetworks(
        None if nominal is None else _trained(nominal),
        tuple(_trained(each) for each in given["differences"]),
    )


def parametric_network(given: Any) -> ParametricNetwork:
    """A network that depends on parameters."""
    member = given["member"]
    return ParametricNetwork(
        Member(_layers(member["layers"]), member["log_norm"], member["base"]),
        float(given["share"]),
        _history(given["history"]),
        RatioMoments(given["moments"]["sums"]),
        float(given["contradiction"]),
    )


def _trained(given: Any) -> Trained:
    return Trained(_layers(given["layers"]), _history(given["history"]))


def _layers(given: Any) -> Any:
    return [(matrix, offset) for matrix, offset in given]


def _history(given: Any) -> History:
    return History(
        tuple(given["train"]), tuple(given["held_out"]), given["best"], given["steps"],
        given["batch_size"],
    )  # fmt: skip
