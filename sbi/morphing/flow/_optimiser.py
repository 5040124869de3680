"""Adam on all parameters of a training as one vector, and a moving average of them.

The leaves become views of that vector, and so do their gradients: clipping, decay, update and
average are one operation each, however many leaves there are.

References:
    Kingma, Ba: arXiv:1412.6980; Loshchilov, Hutter: arXiv:1711.05101 (decay apart from the
    gradient).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rootml.sbi.morphing.flow._leaves import import_torch

if TYPE_CHECKING:
    from torch import Tensor

_AVERAGE = 0.005
_CLIP = 5.0
_BETAS, _SMALL = (0.9, 0.999), 1e-8
_FUSED = ("cpu", "cuda")
"""Devices for which torch (2.4 or newer) has Adam as one kernel."""


class Optimiser:
    """Updates leaves in place.

    Args:
        leaves: To be trained, all on one device; their memory moves to one vector.
        decayed: Gives tensors that share the memory of the leaves: what shrinks at each step.

    Attributes:
        values: All parameters, one vector.
        average: Their moving average.
    """

    def __init__(self, leaves: Sequence[Any], decayed: Any) -> None:
        torch = self._torch = import_torch()
        self.values = torch.cat([leaf.detach().reshape(-1) for leaf in leaves])
        self._gradient = torch.zeros_like(self.values)
        sizes = [leaf.numel() for leaf in leaves]
        parts = self.values.split(sizes), self._gradient.split(sizes)
        for leaf, value, gradient in zip(leaves, *parts, strict=True):
            leaf.data = value.view_as(leaf)
            leaf.grad = gradient.view_as(leaf)
        self.average = self.values.clone()
        self._shrinks = self._mask(decayed())
        self._vector = torch.nn.Parameter(self.values)
        self._vector.grad = self._gradient
        fused = self.values.device.type in _FUSED
        self._adam = torch.optim.AdamW(
            [self._vector], betas=_BETAS, eps=_SMALL, weight_decay=0.0, fused=fused
        )

    def _mask(self, decayed: Sequence[Any]) -> Tensor:
        """1 for what shrinks, else 0."""
        kept = self.values.clone()
        self.values.zero_()
        for each in decayed:
            each.fill_(1.0)
        found: Tensor = self.values.clone()
        self.values.copy_(kept)
        return found

    def begin(self) -> None:
        """Set the gradients to 0, before they are found anew."""
        self._gradient.zero_()

    def step(self, *, rate: float, decay: float) -> None:
        """One update from the gradients of the leaves.

        Args:
            rate: Learning rate.
            decay: Times the rate: by how much weights shrink.
        """
        torch = self._torch
        norm = torch.linalg.vector_norm(self._gradient)
        self._gradient.div_(torch.clamp(norm / _CLIP, min=1.0))
        with torch.no_grad():
            self.values.addcmul_(self.values, self._shrinks, value=-rate * decay)
        self._adam.param_groups[0]["lr"] = rate
        self._adam.step()
        with torch.no_grad():
            self.average.lerp_(self.values, _AVERAGE)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything that a checkpoint has to hold."""
        found = {"values": self.values, "average": self.average}
        found |= {f"adam.{k}": each for k, each in self._adam.state[self._vector].items()}
        return {name: each.detach().cpu().numpy().copy() for name, each in found.items()}

    def load(self, arrays: Mapping[str, Any]) -> None:
        """The reverse of `arrays`."""
        torch = self._torch
        tensors = {name: torch.from_numpy(np.array(each)) for name, each in arrays.items()}
        with torch.no_grad():
            self.values.copy_(tensors["values"])
            self.average.copy_(tensors["average"])
        adam = {name[len("adam.") :]: each for name, each in tensors.items() if "adam." in name}
        groups = self._adam.state_dict()["param_groups"]
        self._adam.load_state_dict({"state": {0: adam} if adam else {}, "param_groups": groups})
