"""The route ``"function"``: Python functions that RooFit calls for all events at once.

``RooFit.bindFunction`` keeps the output buffer of the first dataset that it meets, and fails at
the second of another size, so also in a RooSimultaneous. Here the output is always RooFit's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rootml._internal.reprs import HtmlRepr, Part, facts_text
from rootml._internal.types import Float
from rootml.errors import UsageError
from rootml.sbi.likelihood import _kernels_numpy
from rootml.sbi.likelihood._columns import RatioColumns
from rootml.sbi.likelihood._parameters import Parameter, check_range
from rootml.sbi.roofit import _callbacks
from rootml.sbi.roofit._data import make_variable
from rootml.sbi.roofit._factory import Factory
from rootml.sbi.roofit._ownership import Handle, Owner
from rootml.sbi.roofit._parameters import make_parameter
from rootml.sbi.roofit._root import bridge

if TYPE_CHECKING:
    from rootml.sbi.likelihood._likelihood import Likelihood
    from rootml.sbi.likelihood._unbinned import Unbinned

EventFunction: TypeAlias = Callable[[dict[str, Float], dict[str, float]], Any]


@dataclass(eq=False, repr=False)
class RooFitFunction(HtmlRepr):
    """A Python function in RooFit, and everything that it needs alive.

    Attributes:
        function: The RooAbsReal.
        observables: Its RooRealVars per event, by name.
        parameters: Its RooRealVars with one value, by name.
    """

    function: Any
    observables: Mapping[str, Any]
    parameters: Mapping[str, Any]
    handle: Handle

    def _facts(self) -> list[tuple[str, str]]:
        return [
            ("RooFit function", str(self.function.GetName())),
            ("of events", ", ".join(self.observables)),
            ("of parameters", ", ".join(self.parameters)),
        ]

    def __repr__(self) -> str:
        return facts_text(self._facts())

    def _html_parts(self) -> list[Part]:
        return [self._facts()]


def function(
    call: EventFunction,
    observables: Mapping[str, tuple[float, float]],
    parameters: Mapping[str, Parameter | float],
    *,
    name: str = "ratio",
) -> RooFitFunction:
    """A Python function of events and parameters as a RooAbsReal: e.g. r(x | theta) of a network.

    It is called once for all events: for plots, integrals and pdfs (RooWrapperPdf), with datasets
    of any sizes, also in a RooSimultaneous. It cannot be written to a file.

    Args:
        call: Given ``{"x": (event,)}`` and ``{"theta": value}``, returns ``(event,)``. It must be
            smooth in the parameters, or MINUIT's errors are wrong: no ReLU, sums in float64.
        observables: Their ranges, by name.
        parameters: Start values, or `Parameter` with limits, by name.
        name: Its name in RooFit.

    Raises:
        MissingPackageError: ROOT is not installed.
        UsageError: A name is used twice, or a range is none.

    >>> def ratio(events, values):
    ...     return 1.0 + values["a"] * events["x"]
    >>> made = function(ratio, {"x": (-1.0, 1.0)}, {"a": 0.2})      # doctest: +SKIP
    >>> made.function.getVal()                                      # doctest: +SKIP
    1.0
    """
    _check_names(observables, parameters)
    owner = Owner()
    factory = Factory(owner)
    columns = {}
    for key, (low, high) in observables.items():
        check_range(0.5 * (low + high), low, high)
        columns[key] = factory.make("RooRealVar", key, key, 0.5 * (low + high), low, high)
    settings = {
        key: make_parameter(key, p if isinstance(p, Parameter) else Parameter(float(p)), factory)
        for key, p in parameters.items()
    }

    batch = _Call(call, list(columns), list(settings))
    title = f"Python function {name}"
    made = _make(factory, batch, name, title, [*columns.values(), *settings.values()])
    return RooFitFunction(
        made, MappingProxyType(columns), MappingProxyType(settings), owner.handle
    )


@dataclass(frozen=True)
class _Call:
    """A function by names. It must not hold RooFit objects, which hold it."""

    function: EventFunction
    observables: list[str]
    parameters: list[str]

    def __call__(self, rows: int, arrays: Sequence[Float]) -> Any:  # what the function returns
        count = len(self.observables)
        events = {
            name: np.broadcast_to(array, (rows,))
            for name, array in zip(self.observables, arrays[:count], strict=True)
        }
        return self.function(events, _single(self.parameters, arrays[count:]))


def _check_names(observables: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    twice = sorted(set(observables) & set(parameters))
    if twice or not observables:
        reason = f"{twice[0]!r} is both" if twice else "there are no observables"
        message = f"observables and parameters need different names; {reason}"
        raise UsageError(message)


def _make(
    factory: Factory, batch: _callbacks.Batch, name: str, title: str, variables: Sequence[Any]
) -> Any:
    number = _callbacks.register_batch(batch)
    factory.owner.on_close(lambda: _callbacks.forget(number))
    listed = factory.arguments(variables)
    return factory.owner.own(
        bridge().Batch(factory.names(name), title, listed, number, _callbacks.batch_pointer())
    )


def _single(names: Sequence[str], arrays: Sequence[Float]) -> dict[str, float]:
    """Values of parameters, which must be the same for all events."""
    values = {}
    for name, array in zip(names, arrays, strict=True):
        if len(array) != 1:
            message = (
                f"the parameter {name!r} has {len(array)} values: is it a column of the data?"
            )
            raise UsageError(message)
        values[name] = float(array[0])
    return values


class BatchDensity:
    """The density of an event over the reference's, from columns, by our own code.

    Attributes:
        variables: The columns as RooRealVars, by their key: nominal ratios, ratios at +-1.
        arrays: Their values at the observed events.
        density: The density, with integral 1.
    """

    def __init__(self, factory: Factory, like: Likelihood, parameters: Mapping[str, Any]) -> None:
        assert like.unbinned is not None
        self.variables: dict[str, Any] = {}
        self.arrays: dict[str, Float] = {}
        keys = []
        for process, label, values in like.unbinned.columns.arrays():
            key = f"{process}.{label}"
            name = f"r_{process}" if label == "nominal" else f"r_{process}_{label}"
            keys.append((process, label))
            self.arrays[key] = values
            self.variables[key] = make_variable(factory, name, f"p_{process} / p_ref, {label}")
        variables = [*self.variables.values(), *parameters.values()]
        title = "density over that of the reference"
        batch = _Density(like.unbinned, keys, list(parameters))
        self.density = _make(factory, batch, "density", title, variables)


class _Density:
    """The density as a function of arrays. It must not hold RooFit objects, which hold it."""

    def __init__(
        self, unbinned: Unbinned, keys: list[tuple[str, str]], parameters: list[str]
    ) -> None:
        self._unbinned, self._keys, self._parameters = unbinned, keys, parameters
        self._known: tuple[list[Float], Float] | None = None

    def __call__(self, rows: int, arrays: Sequence[Float]) -> Float:
        if not rows:
            return np.empty(0)
        count = len(self._keys)
        given = [np.broadcast_to(array, (rows,)) for array in arrays[:count]]
        theta = np.array(list(_single(self._parameters, arrays[count:]).values()))
        layout, yields = self._unbinned.layout, self._unbinned.yields.values(theta)
        plan = layout.plan(theta)
        scaled = yields / yields.sum()
        if self._unbinned.normaliser is not None:
            scaled = scaled * np.exp(-self._unbinned.normaliser.values(plan))
        blocks = _kernels_numpy.blocks(self._matrix(given), None, layout, plan)
        return np.concatenate([scaled @ block.terms for block in blocks])

    def _matrix(self, given: list[Float]) -> Float:
        """Rows of the layout; the last ones are kept, as a fit asks for them again and again."""
        if self._known is not None and all(map(np.array_equal, self._known[0], given)):
            return self._known[1]
        nested: dict[str, Any] = {}
        for (process, label), values in zip(self._keys, given, strict=True):
            nested.setdefault(process, {})[label] = values
        columns = RatioColumns({process: _pairs(labels) for process, labels in nested.items()})
        matrix = self._unbinned.layout.matrix(columns, "given")
        self._known = [array.copy() for array in given], matrix
        return matrix


def _pairs(labels: Mapping[str, Float]) -> dict[str, Any]:
    """From ``nominal, jes.up, jes.down`` to ``nominal, jes: (up, down)``."""
    found: dict[str, Any] = {"nominal": labels["nominal"]}
    for label in labels:
        if label.endswith(".up"):
            name = label.removesuffix(".up")
            found[name] = labels[label], labels[f"{name}.down"]
    return found
