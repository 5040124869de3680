"""Devices and threads of torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch, afterwards as many as before.

    For products so small that threads only wait for each other, and for sums in one order.
    """
    torch = optional_import("torch", feature="training a network", extra="torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
