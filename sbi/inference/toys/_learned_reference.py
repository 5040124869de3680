"""A learned density of the reference: new events of it, with their ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from rootml._internal.reprs import HtmlRepr, Part, facts_text
from rootml._internal.types import Array
from rootml.errors import SchemaError, UsageError


class Sampler(Protocol):
    """What draws features of events given conditions: a `rootml.sbi.morphing.Generator`."""

    def sample(self, conditions: Any, *, seed: int, ids: Any) -> Any:
        """The conditions with the features, and with ``drawn``, which says where there are any."""
        ...


class LearnedReference(HtmlRepr):
    """New events of the reference's density, learned from a sample: a `DensitySource`.

    For toys with more events than the reference sample has, ``toys(..., generator=learned)``, and
    for Asimov data, ``asimov(model, learned.reference(rng, 10**6))``. Conditions are those of
    events of the sample, drawn again; features given these are new. Give `toys` no `reference`
    then: Z(alpha) comes from events of the learned density, so that toys close whatever the flow
    has missed. (With the sample as `reference`, fits of toys of N events are biased by about
    sqrt(N / events of the training) of their error.) Ratios whose mean over the new events is not
    1 within its error and 1 % are refused.

    Args:
        generator: A `rootml.sbi.morphing.Generator` that was fitted to the reference sample.
        columns: Ratio columns of events given as a dict of arrays: `Ratios.columns`.
        conditions: The conditions of the reference sample, by name, arrays ``(event,)``; other
            columns that `columns` needs may be among them.
        weights: Of the reference sample, not negative; None: all 1.

    Raises:
        SchemaError: Arrays of several lengths.
        UsageError: Negative weights, no events.

    >>> import numpy as np
    >>> class Gaussian:                                    # stands for a fitted Generator
    ...     def sample(self, conditions, *, seed, ids):
    ...         rng = np.random.default_rng(seed)
    ...         x = rng.normal(conditions["c"])
    ...         return {**conditions, "x": x, "drawn": np.ones(len(x), bool)}
    >>> columns = lambda events: {"S": np.exp(0.1 * events["x"]), "B": np.ones(len(events["x"]))}
    >>> learned = LearnedReference(Gaussian(), columns, {"c": np.array([-1.0, 1.0])})
    >>> sorted(learned.reference(np.random.default_rng(1), 5))
    ['B', 'S']
    """

    def __init__(
        self,
        generator: Sampler,
        columns: Callable[[Mapping[str, Array]], Any],
        conditions: Mapping[str, Any],
        *,
        weights: Any = None,
    ) -> None:
        self.generator: Sampler = generator
        self.columns: Callable[[Mapping[str, Array]], Any] = columns
        self.conditions: dict[str, Array] = {
            name: np.asarray(values) for name, values in conditions.items()
        }
        lengths = {name: len(values) for name, values in self.conditions.items()}
        number = max(lengths.values(), default=0)
        if len(set(lengths.values())) > 1:
            message = f"conditions of several lengths: {lengths}"
            raise SchemaError(message)
        if not number:
            message = "LearnedReference needs conditions of at least one event"
            raise UsageError(message)
        own = np.ones(number) if weights is None else np.asarray(weights, np.float64)
        if own.shape != (number,) or not (own >= 0.0).all() or not own.sum() > 0.0:
            message = (
                f"weights= must be {number:,} numbers that are not negative: events are drawn by "
                "them"
            )
            raise UsageError(message)
        self._cumulative = np.cumsum(own)

    def reference(self, rng: np.random.Generator, number: int) -> Any:
        """Ratio columns of new events.

        Args:
            rng: All that is random comes from here.
            number: How many events.

        Raises:
            UsageError: The generator draws nothing for some conditions.
        """
        places = rng.uniform(0.0, self._cumulative[-1], number)
        chosen = np.searchsorted(self._cumulative, places, side="right")
        chosen = np.minimum(chosen, len(self._cumulative) - 1)
        given = {name: values[chosen] for name, values in self.conditions.items()}
        seed = int(rng.integers(2**31))
        events = dict(self.generator.sample(given, seed=seed, ids=np.arange(number)))
        undrawn = int((~np.asarray(events.pop("drawn"))).sum())
        if undrawn:
            message = (
                f"the generator draws nothing for {undrawn:,} of {number:,} events: conditions "
                "that are not finite or outside of the range of its training"
            )
            raise UsageError(message)
        return self.columns(events)

    def _facts(self) -> list[tuple[str, str]]:
        return [
            ("LearnedReference", ""),
            ("generator", type(self.generator).__name__),
            ("conditions", ", ".join(self.conditions)),
            ("events", f"{len(self._cumulative):,}"),
        ]

    def __repr__(self) -> str:
        return facts_text(self._facts())

    def _html_parts(self) -> list[Part]:
        return [self._facts()]
