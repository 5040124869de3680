"""Flows of others, of one size: 6 transforms, two hidden layers, 8 bins; by name.

A peer carries rows forward with the switch at 0 and back with the switch at 1, in torch, and takes
training steps; preprocessing, which ours includes, is not charged to it.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

TRANSFORMS, BINS = 6, 8
ROWS = 4096


def zuko_autoregressive(features: int, context: int, hidden: int) -> Any:
    """What CMS uses in the paper's code: one direction takes as many passes as features."""
    import zuko

    return zuko.flows.NSF(
        features, context, transforms=TRANSFORMS, bins=BINS, hidden_features=[hidden] * 2
    )


def zuko_coupling(features: int, context: int, hidden: int) -> Any:
    """The same in two passes."""
    import zuko

    return zuko.flows.NSF(
        features, context, transforms=TRANSFORMS, bins=BINS, hidden_features=[hidden] * 2, passes=2
    )


def nflows_coupling(features: int, context: int, hidden: int) -> Any:
    """nflows' coupling splines with its residual networks."""
    nets = importlib.import_module("nflows.nn.nets")
    transforms = importlib.import_module("nflows.transforms")

    def network(inputs: int, outputs: int) -> Any:
        return nets.ResidualNet(
            inputs, outputs, hidden_features=hidden, context_features=context, num_blocks=1
        )

    layers = [
        transforms.PiecewiseRationalQuadraticCouplingTransform(
            mask=torch.arange(features) % 2 == layer % 2,
            transform_net_create_fn=network,
            num_bins=BINS,
            tails="linear",
            tail_bound=5.0,
        )
        for layer in range(TRANSFORMS)
    ]
    return transforms.CompositeTransform(layers)


MAKERS: dict[str, Callable[[int, int, int], Any]] = {
    "zuko autoregressive": zuko_autoregressive,
    "zuko coupling": zuko_coupling,
    "nflows coupling": nflows_coupling,
}


def missing() -> list[str]:
    """Peers whose package is not installed."""
    packages = {name: name.split(" ", maxsplit=1)[0] for name in MAKERS}
    return [
        name for name, package in packages.items() if importlib.util.find_spec(package) is None
    ]


class Peer:
    """One of them, with what is done to it."""

    def __init__(self, name: str, features: int, context: int, *, hidden: int) -> None:
        torch.manual_seed(0)
        self._zuko = name.startswith("zuko")
        self._module = MAKERS[name](features, context, hidden)
        self._optimizer = torch.optim.Adam(self._module.parameters(), 1e-3)

    def _forward(self, x: Any, context: Any) -> tuple[Any, Any]:
        if self._zuko:
            found: tuple[Any, Any] = self._module(context).transform.call_and_ladj(x)
            return found
        z, logs = self._module(x, context)
        return z, logs

    def _inverse(self, z: Any, context: Any) -> Any:
        if self._zuko:
            return self._module(context).transform.inv(z)
        return self._module.inverse(z, context)[0]

    def morph(self, x: Any, context: Any) -> None:
        """Forward and back, in batches."""
        with torch.no_grad():
            for start in range(0, len(x), ROWS):
                c = context[start : start + ROWS].clone()
                c[:, -1] = 0
                z, _ = self._forward(x[start : start + ROWS], c)
                c[:, -1] = 1
                self._inverse(z, c)

    def step(self, x: Any, context: Any) -> None:
        """One update on these rows."""
        z, logs = self._forward(x, context)
        loss = (0.5 * (z * z).sum(1) - logs).mean()
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._module.parameters(), 5.0)
        self._optimizer.step()


def seconds(call: Callable[..., object], *arguments: Any) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    call(*arguments)
    return time.process_time() - start


def inputs(rows: int, features: int, context: int) -> tuple[Any, Any]:
    """Rows for a peer."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, features)).astype(np.float32)
    c = rng.normal(size=(rows, context)).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(c)
