"""Devices of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rootml._internal.optional import optional_import
from rootml.errors import UsageError

if TYPE_CHECKING:
    from torch import device as Device


def torch_device(name: str, *, feature: str) -> Device:
    """The device of torch with this name.

    Args:
        feature: What needs torch, for the message where it is missing.

    Raises:
        UsageError: There is no such device here.
        MissingPackageError: torch is not installed.
    """
    torch = optional_import("torch", feature=feature, extra="torch")
    try:
        device: Device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        message = f"device={name!r}: torch cannot use it here: {reason}"
        raise UsageError(message) from error
    return device
