"""What `Morpher` and `Generator` have in common: names, seed, ranges, and whether they are fitted.

What a fit has found is a `FlowModel`; the class that holds it is a `FittedFlow`.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from rootml._internal.reprs import HtmlRepr
from rootml.errors import UsageError
from rootml.sbi.morphing._settings import Settings
from rootml.sbi.morphing.preprocessing._preprocess import Conditions


class FlowModel(Protocol):
    """What a fit has found."""

    @property
    def conditions(self) -> Conditions:
        """Ranges and scales of the conditions."""
        ...


Model = TypeVar("Model", bound=FlowModel)


class FittedFlow(HtmlRepr, Generic[Model]):
    """A flow with its settings, and what a fit has found."""

    _settings: Settings
    _fitted: Model | None

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that are changed or drawn."""
        return self._settings.names.features

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the columns that the features depend on."""
        return self._settings.names.conditions

    @property
    def id(self) -> tuple[str, ...]:
        """Names of the columns that identify an event; empty: its position does."""
        return self._settings.names.ids

    @property
    def seed(self) -> int:
        """Of everything random in the training."""
        return self._settings.seed

    @property
    def fitted(self) -> bool:
        """Whether `fit` was called, or a fitted one was loaded."""
        return self._fitted is not None

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """For each condition the range of the training (with two domains: in both of them).

        Raises:
            UsageError: Not fitted.
        """
        found = self._require_fitted("fit").conditions
        pairs = zip(found.low.tolist(), found.high.tolist(), strict=True)
        return dict(zip(self.conditions, pairs, strict=True))

    def _require_fitted(self, call: str) -> Model:
        """What the fit has found.

        Raises:
            UsageError: Not fitted; says what to call.
        """
        if self._fitted is None:
            name = type(self).__name__
            message = f"this {name} is not fitted yet: call {call}, or load one"
            raise UsageError(message)
        return self._fitted
