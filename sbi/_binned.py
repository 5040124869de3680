"""Binned channels: counts with expectations in the same parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rootml.errors import DensityError, UsageError
from rootml.sbi._model import Nuisance, Parameter
from rootml.sbi._morph import Array


class Binned:
    """Channels of counts."""

    channels: tuple[str, ...] = ()
    parameters: Mapping[str, Parameter | Nuisance]

    @staticmethod
    def from_pyhf(workspace: Mapping[str, Any]) -> Binned:
        """Read a pyhf workspace."""
        message = f"binned channels cannot be read yet: {sorted(workspace)}"
        raise UsageError(message)

    def bind(self, names: Sequence[str]) -> BoundBinned:
        """The term as a function of all parameters."""
        raise NotImplementedError


class BoundBinned:
    """The term of the likelihood."""

    def value(self, theta: Array) -> float:
        """The term."""
        raise NotImplementedError

    def gradient(self, theta: Array) -> tuple[float, Array]:
        """The term and its derivatives."""
        raise NotImplementedError

    def hessian(self, theta: Array) -> Array:
        """Second derivatives."""
        raise NotImplementedError

    def explain(self, theta: Array) -> DensityError:
        """What is not positive."""
        raise NotImplementedError
