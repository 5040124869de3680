"""Parameters that torch trains, kept as NumPy arrays by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rootml._internal import devices
from rootml._internal.optional import optional_import

if TYPE_CHECKING:
    from torch import device as Device

State = dict[str, npt.NDArray[Any]]


def import_torch() -> Any:  # the module
    """torch, or an error that says how to get it."""
    return optional_import("torch", feature="training a flow", extra="torch")


def torch_device(name: str) -> Device:
    """The device of torch with this name.

    Raises:
        UsageError: There is no such device here.
        MissingPackageError: torch is not installed.
    """
    return devices.torch_device(name, feature="training a flow")


class TrainableArrays:
    """Named float32 arrays as torch leaves: the base of every network that is trained here.

    Args:
        device: Of torch, where they are.
    """

    def __init__(
        self, state: Mapping[str, npt.NDArray[Any]], names: Iterable[str], *, device: str = "cpu"
    ) -> None:
        self._torch = import_torch()
        self._device = torch_device(device)
        self._leaves = {
            name: self._torch.tensor(
                np.asarray(state[name], np.float32), device=self._device, requires_grad=True
            )
            for name in names
        }

    def parameters(self) -> list[Any]:
        """The leaves to train."""
        return list(self._leaves.values())

    def decayed(self) -> list[Any]:
        """What shrinks in a training: the matrices; the memory is that of the leaves."""
        return [leaf.detach() for leaf in self._leaves.values() if leaf.ndim > 1]

    def state(self) -> State:
        """Copies of all parameters."""
        return {name: leaf.detach().cpu().numpy().copy() for name, leaf in self._leaves.items()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Replace all parameters."""
        with self._torch.no_grad():
            for name, leaf in self._leaves.items():
                leaf.copy_(self._torch.from_numpy(np.asarray(state[name], np.float32)))
