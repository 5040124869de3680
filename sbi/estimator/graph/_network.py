"""Multilayer perceptrons: torch modules in training, parts of a graph afterwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rootml._internal.types import Array
from rootml.errors import UsageError
from rootml.sbi.estimator.graph._graph import Builder

if TYPE_CHECKING:
    from torch.nn import Sequential

Layers: TypeAlias = "list[tuple[Array, Array]]"
"""Weights `(in, out)` and offsets `(out,)` of each layer; the last has no activation."""

SMOOTH = ("silu", "tanh")
ACTIVATIONS = (*SMOOTH, "relu")


def check_activation(name: str, *, parametric: bool) -> str:
    """Return a valid activation.

    Raises:
        UsageError: No such activation; or "relu" for a network that depends on parameters. Its
            log-likelihood is piecewise linear in them, so the second derivative, and with it the
            error of a fit, is wrong (measured: half the right error).
    """
    if name not in ACTIVATIONS:
        message = f"activation={name!r}: expected one of {', '.join(map(repr, ACTIVATIONS))}"
        raise UsageError(message)
    if parametric and name not in SMOOTH:
        message = (
            f"activation={name!r} with parameters=: the likelihood would be piecewise linear in "
            f"the parameters, and a fit would quote wrong errors; use 'silu' or 'tanh'"
        )
        raise UsageError(message)
    return name


def torch_network(torch: Any, widths: Sequence[int], activation: str, seed: int) -> Sequential:
    """A ``torch.nn.Sequential`` with layers of these widths, from input to output.

    It begins with the numbers that ``torch.nn.Linear`` draws after ``torch.manual_seed(seed)``,
    from a generator of its own: torch's is shared by all threads of a process, as Dask has them.
    """
    kind = {"silu": torch.nn.SiLU, "tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[activation]
    draws = torch.Generator().manual_seed(seed)
    layers: list[Any] = []
    for rows, columns in pairwise(widths):
        layer = torch.nn.utils.skip_init(torch.nn.Linear, rows, columns)
        bound = 1.0 / math.sqrt(rows)
        torch.nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5.0), generator=draws)
        torch.nn.init.uniform_(layer.bias, -bound, bound, generator=draws)
        layers += [layer, kind()]
    network: Sequential = torch.nn.Sequential(*layers[:-1])
    return network


def layers_of(network: Any) -> Layers:
    """Copies of the arrays of a `torch_network`."""
    return [
        (
            layer.weight.detach().cpu().numpy().T.astype(np.float64),
            layer.bias.detach().cpu().numpy().astype(np.float64),
        )
        for layer in network
        if hasattr(layer, "weight")
    ]


def append_layers(build: Builder, z: str, layers: Layers, activation: str) -> str:
    """Append all layers after the first, whose sums are `z`; returns the sums of the last."""
    for matrix, offset in layers[1:]:
        if activation == "silu":
            z = build.add("Mul", z, build.add("Sigmoid", z))
        else:
            z = build.add("Tanh" if activation == "tanh" else "Relu", z)
        z = build.linear(z, matrix, offset)
    return z
