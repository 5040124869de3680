"""From trained networks to one graph: scale, networks, calibration, normalisation, average.

::

    z      = (x - mean) / width, and ramps of x
    l_m    = curve(network_m(z) @ differences) - log(norm_m)       # per member m of the ensemble
    l_m,k  = l_m + log(variation k / nominal)_m                    # for each kept shape
    r      = mean over m of exp(l_m)

The average is that of the ratios, not of their logarithms: a mean of normalised densities is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from rootml._internal.types import Array, Float, Float32
from rootml.sbi.estimator.graph._calibration import Curve, append_curves
from rootml.sbi.estimator.graph._graph import Builder, Graph
from rootml.sbi.estimator.graph._network import Layers, append_layers
from rootml.sbi.estimator.graph._ramps import Ramp, ramp_ends, ramp_values


@dataclass(frozen=True)
class Scale:
    """What networks see of the inputs: z = (x - mean) / width, each `(inputs,)`, then ramps."""

    mean: Float
    width: Float
    ramps: tuple[Ramp, ...] = ()

    def scaled(self, x: Array) -> Float32:
        """z and the values of the ramps of float32 inputs, `(events, columns)`."""
        mean, width = (values.astype(np.float32) for values in (self.mean, self.width))
        z = (x - mean) / width
        if not self.ramps:
            return z
        return np.concatenate([z, ramp_values(x, self.ramps)], axis=1)

    @property
    def columns(self) -> int:
        """Number of inputs and ramps."""
        return len(self.mean) + len(self.ramps)


@dataclass(frozen=True)
class Member:
    """One network.

    Attributes:
        layers: Its weights and offsets.
        log_norm: Logarithms of the norms: `(targets,)`, or the coefficients of `monomials(theta)`.
        base: Coefficients of `monomials` of inputs and parameters, which are added, or None.
        differences: Per process the network of its variations, see `_differences`.
    """

    layers: Layers
    log_norm: Float
    base: Float | None = None
    differences: Mapping[str, Layers] = field(default_factory=dict)


def differences(classes: int, reference: int) -> Float:
    """The matrix `(classes, targets)` from logits to log ratios to the reference."""
    matrix = np.delete(np.eye(classes), reference, axis=1)
    matrix[reference] = -1.0
    return matrix


@dataclass(frozen=True)
class Outputs:
    """Where the ratios of a `class_graph` come from.

    Attributes:
        nominal: For each output the column of the nominal log ratio of its process, or None for
            the reference, whose log ratio is 0.
        differences: For each process with kept shapes, the outputs that its network changes.
    """

    nominal: tuple[int | None, ...]
    differences: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def class_graph(
    scale: Scale,
    members: Sequence[Member],
    matrix: Float | None,
    curves: tuple[Curve, ...],
    activation: str,
    outputs: Outputs | None = None,
) -> Graph:
    """The graph ``x -> member0, ..., log_ratio, ratio`` of classifiers between samples.

    Args:
        matrix: From logits to nominal log ratios, see `differences`; None: there is no ratio but
            that of the reference.
        outputs: None: the nominal log ratios.
    """
    if outputs is None:
        outputs = Outputs(tuple(range(0 if matrix is None else matrix.shape[1])))
    build = Builder(x=len(scale.mean))
    z = _columns(build, scale)
    values = []
    for member in members:
        value = _nominal(build, z, member, matrix, curves, activation, outputs)
        for process, places in outputs.differences.items():
            learned = _network(build, z, member.differences[process], activation)
            selector = np.zeros((len(places), len(outputs.nominal)))
            selector[np.arange(len(places)), places] = 1.0
            value = build.add("Add", value, build.linear(learned, selector))
        values.append(value)
    return averaged(build, values, len(outputs.nominal))


def _nominal(
    build: Builder,
    z: Columns,
    member: Member,
    matrix: Float | None,
    curves: tuple[Curve, ...],
    activation: str,
    outputs: Outputs,
) -> str:
    """The nominal log ratio of the process of each output."""
    if matrix is None:
        return build.linear("x", np.zeros((build.width("x"), len(outputs.nominal))))
    logits = _network(build, z, member.layers, activation)
    value = append_curves(build, build.linear(logits, matrix), curves)
    value = build.add("Sub", value, build.constant(member.log_norm))
    if outputs.nominal == tuple(range(matrix.shape[1])):
        return value
    spread = np.zeros((matrix.shape[1], len(outputs.nominal)))
    for output, column in enumerate(outputs.nominal):
        if column is not None:
            spread[column, output] = 1.0
    return build.linear(value, spread)


Columns: TypeAlias = "list[tuple[str, int]]"
"""Values of a graph that stand side by side, with their widths."""


def _columns(build: Builder, scale: Scale) -> Columns:
    """What networks see of x."""
    found = [(_scaled(build, "x", scale), len(scale.mean))]
    if scale.ramps:
        found.append((_ramps(build, scale), len(scale.ramps)))
    return found


def _ramps(build: Builder, scale: Scale) -> str:
    """`ramp_values`: 1 - 2 relu(1 - relu(part)), which is exact beyond both ends."""
    pick = np.zeros((len(scale.mean), len(scale.ramps)))
    pick[[ramp.column for ramp in scale.ramps], np.arange(len(scale.ramps))] = 1.0
    low, high = ramp_ends(scale.ramps)
    part = build.add("Sub", build.linear("x", pick), build.constant(low))
    part = build.add("Relu", build.add("Div", part, build.constant(high - low)))
    one = build.constant(np.ones(len(low)))
    rest = build.add("Relu", build.add("Add", build.add("Neg", part), one))
    return build.add("Add", build.add("Neg", build.add("Add", rest, rest)), one)


def _network(build: Builder, columns: Columns, layers: Layers, activation: str) -> str:
    (matrix, offset), *_ = layers
    (z, rows), *more = columns
    first = build.linear(z, matrix[:rows], offset)
    for name, width in more:
        first = build.add("Add", first, build.linear(name, matrix[rows : rows + width]))
        rows += width
    return append_layers(build, first, layers, activation)


def network_graph(scale: Scale, layers: Layers, activation: str) -> Graph:
    """The graph ``x -> y`` of one network."""
    build = Builder(x=len(scale.mean))
    y = _network(build, _columns(build, scale), layers, activation)
    return build.graph(y=(y, layers[-1][0].shape[1]))


def score_graph(curves: tuple[Curve, ...], log_norm: Float) -> Graph:
    """The same for log ratios x from another classifier."""
    build = Builder(x=len(log_norm))
    value = append_curves(build, "x", curves)
    value = build.add("Sub", value, build.constant(log_norm))
    return averaged(build, [value], len(log_norm))


def parametric_graph(
    scale: Scale, theta: Scale, members: Sequence[Member], activation: str
) -> Graph:
    """The graph ``x, theta -> member0, ..., log_ratio, ratio`` of a network that depends on theta.

    theta may have one row for all events.
    """
    inputs = len(scale.mean)
    build = Builder(x=inputs, theta=len(theta.mean))
    z, t = _scaled(build, "x", scale), _scaled(build, "theta", theta)
    terms = _monomials(build, [(t, len(theta.mean))])
    both = _monomials(build, [(z, inputs), (t, len(theta.mean))])
    values = []
    for member in members:
        (matrix, offset), *_ = member.layers
        first = build.add(
            "Add", build.linear(z, matrix[:inputs]), build.linear(t, matrix[inputs:], offset)
        )
        value = append_layers(build, first, member.layers, activation)
        if member.base is not None:
            base = build.linear(both, member.base[1:, None], member.base[:1])
            value = build.add("Add", value, base)
        norm = build.linear(terms, member.log_norm[1:, None], member.log_norm[:1])
        values.append(build.add("Sub", value, norm))
    return averaged(build, values, 1)


def monomials(theta: Float) -> Float:
    """1, the parameters, and their products of two; `(rows, terms)`.

    >>> monomials(np.array([[2.0, 3.0]])).tolist()
    [[1.0, 2.0, 3.0, 4.0, 6.0, 9.0]]
    """
    left, right = np.triu_indices(theta.shape[1])
    return np.concatenate(
        [np.ones((len(theta), 1)), theta, theta[:, left] * theta[:, right]], axis=1
    )


def _monomials(build: Builder, parts: Sequence[tuple[str, int]]) -> str:
    """`monomials` without the 1 as nodes of a graph, for several values side by side."""
    width = sum(size for _, size in parts)
    left, right = np.triu_indices(width)
    pick, none = np.eye(width), np.zeros((width, width))
    first = np.concatenate([pick, pick[:, left]], axis=1)
    second = np.concatenate([none, pick[:, right]], axis=1)
    ones = np.repeat([1.0, 0.0], [width, len(left)])
    factors, start = ["", ""], 0
    for name, size in parts:
        rows = slice(start, start + size)
        for k, matrix in enumerate((first, second)):
            one = build.linear(name, matrix[rows], ones if k == 1 and start == 0 else None)
            factors[k] = build.add("Add", factors[k], one) if factors[k] else one
        start += size
    return build.add("Mul", *factors)


def _scaled(build: Builder, name: str, scale: Scale) -> str:
    shifted = build.add("Sub", name, build.constant(scale.mean))
    return build.add("Div", shifted, build.constant(scale.width))


def averaged(build: Builder, values: Sequence[str], width: int) -> Graph:
    """Outputs ``member0``, ``member1``, ...: log ratios; and the logarithm of the mean ratio.

    exp() is taken of deviations from the mean logarithm, which are small, so nothing overflows.
    """
    log_ratio = values[0]
    if len(values) > 1:
        count = build.constant(float(len(values)))
        centre = build.add("Div", _total(build, values), count)
        apart = [build.add("Exp", build.add("Sub", value, centre)) for value in values]
        mean = build.add("Div", _total(build, apart), count)
        log_ratio = build.add("Add", centre, build.add("Log", mean))
    members = {member_output(number): (value, width) for number, value in enumerate(values)}
    ratio = build.add("Exp", log_ratio)
    return build.graph(**members, log_ratio=(log_ratio, width), ratio=(ratio, width))


def _total(build: Builder, values: Sequence[str]) -> str:
    total = values[0]
    for value in values[1:]:
        total = build.add("Add", total, value)
    return total


def member_output(number: int) -> str:
    """Name of the output of a graph with the log ratios of one member."""
    return f"member{number}"
