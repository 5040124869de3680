"""From trained networks to one graph: scale, networks, calibration, normalisation, average.

::

    z     = (x - mean) / width
    l_m   = curve(network_m(z) @ differences) - log(norm_m)        # per member m of the ensemble
    r     = mean over m of exp(l_m)

The average is that of the ratios, not of their logarithms: a mean of normalised densities is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.estimator._calibration import Curve, append_curves
from rootml.sbi.estimator._graph import Builder, Graph
from rootml.sbi.estimator._network import Layers, append_layers


@dataclass(frozen=True)
class Scale:
    """Shift and scale of the inputs, each `(inputs,)`: z = (x - mean) / width."""

    mean: Float
    width: Float


@dataclass(frozen=True)
class Member:
    """One network.

    Attributes:
        layers: Its weights and offsets.
        log_norm: Logarithms of the norms: `(targets,)`, or the coefficients of `monomials(theta)`.
        base: Coefficients of `monomials` of inputs and parameters, which are added, or None.
    """

    layers: Layers
    log_norm: Float
    base: Float | None = None


def differences(classes: int, reference: int) -> Float:
    """The matrix `(classes, targets)` from logits to log ratios to the reference."""
    matrix = np.delete(np.eye(classes), reference, axis=1)
    matrix[reference] = -1.0
    return matrix


def class_graph(
    scale: Scale,
    members: Sequence[Member],
    matrix: Float,
    curves: tuple[Curve, ...],
    activation: str,
) -> Graph:
    """The graph ``x -> members, log_ratio, ratio`` of classifiers between samples."""
    build = Builder(x=len(scale.mean))
    z = _scaled(build, "x", scale)
    values = []
    for member in members:
        (matrix_in, offset), *_ = member.layers
        logits = append_layers(
            build, build.linear(z, matrix_in, offset), member.layers, activation
        )
        value = append_curves(build, build.linear(logits, matrix), curves)
        values.append(build.add("Sub", value, build.constant(member.log_norm)))
    return averaged(build, values, matrix.shape[1])


def score_graph(curves: tuple[Curve, ...], log_norm: Float) -> Graph:
    """The graph ``x -> members, log_ratio, ratio`` for log ratios x from another classifier."""
    build = Builder(x=len(log_norm))
    value = append_curves(build, "x", curves)
    value = build.add("Sub", value, build.constant(log_norm))
    return averaged(build, [value], len(log_norm))


def parametric_graph(
    scale: Scale, theta: Scale, members: Sequence[Member], activation: str
) -> Graph:
    """The graph ``x, theta -> members, log_ratio, ratio`` of a network that depends on theta.

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
    """Log ratios of the members side by side, and the logarithm of the mean ratio.

    exp() is taken of deviations from the mean logarithm, which are small, so nothing overflows.
    """
    count = len(values)
    members = ""
    for number, value in enumerate(values):
        place = np.zeros((width, count * width))
        place[:, number * width : (number + 1) * width] = np.eye(width)
        spread = build.linear(value, place)
        members = build.add("Add", members, spread) if members else spread
    if count == 1:
        log_ratio = values[0]
    else:
        mean = np.tile(np.eye(width), (count, 1)) / count
        centre = build.linear(members, mean)
        apart = build.add("Sub", members, build.linear(centre, np.tile(np.eye(width), count)))
        lift = build.add("Log", build.linear(build.add("Exp", apart), mean))
        log_ratio = build.add("Add", centre, lift)
    ratio = build.add("Exp", log_ratio)
    return build.graph(
        members=(members, count * width), log_ratio=(log_ratio, width), ratio=(ratio, width)
    )
