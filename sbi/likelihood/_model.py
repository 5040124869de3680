"""The statistical model: processes with yields, parameters, nuisance parameters, binned channels.

A model knows no events. `Model.likelihood` marries it to columns of density ratios.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rootml._internal.reprs import Grid, HtmlRepr, Part
from rootml._internal.validators import is_a, is_number
from rootml.errors import MissingParameterError, UsageError, nearest
from rootml.sbi.likelihood._binned import Binned
from rootml.sbi.likelihood._expressions import Formula
from rootml.sbi.likelihood._parameters import Nuisance, Parameter
from rootml.sbi.likelihood._yields import Yields

if TYPE_CHECKING:
    from rootml.sbi.likelihood._likelihood import Likelihood

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\[[0-9]+\])?")


@dataclass(frozen=True)
class Model(HtmlRepr):
    """Processes with their expected yields, the parameters, and the binned channels beside them.

    The density of one event is ``sum_p nu_p(theta) r_p(x) f_p(x; alpha) / Z_p(alpha)`` relative to
    the reference; `nu_p` is the expression of process `p` times the effects of the nuisances.

    Attributes:
        processes: Expected yields, expressions in the parameters (and nuisances, by name);
            negative ones are allowed as long as the total density is positive.
        parameters: Parameters without a constraint, of interest or not; a number is a start value.
        nuisances: Nuisance parameters, in any number.
        binned: Channels of counts in the same likelihood: a `Binned`, or a pyhf workspace.
        name: The channel's name in files and in RooFit.

    Raises:
        UsageError: Names that clash or are not identifiers.
        ExpressionError: A yield that is not arithmetic.
        MissingParameterError: A yield with a parameter that is not there.

    >>> model = Model(
    ...     processes={"S": "mu * 300", "B": "2700"},
    ...     parameters={"mu": Parameter(1.0, lower=0.0, upper=5.0)},
    ...     nuisances={"jes": Nuisance(yields={"B": (1.05, 0.96)})},
    ... )
    >>> model.expected(mu=2.0, jes=1.0)
    {'S': 600.0, 'B': 2835.0}
    """

    processes: Mapping[str, str | float | Formula]
    parameters: Mapping[str, Parameter | float] = field(default_factory=dict)
    nuisances: Mapping[str, Nuisance] = field(default_factory=dict)
    binned: Binned | Mapping[str, Any] | None = None
    name: str = "unbinned"

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        formulas = {
            name: text if isinstance(text, Formula) else Formula.parse(text)
            for name, text in self.processes.items()
        }
        set_(self, "processes", formulas)
        set_(self, "parameters", {k: _parameter(v) for k, v in self.parameters.items()})
        set_(self, "nuisances", dict(self.nuisances))
        if self.binned is not None and not isinstance(self.binned, Binned):
            set_(self, "binned", Binned.from_pyhf(self.binned))
        _check_names(self)
        _check_parameters(self)

    @property
    def formulas(self) -> dict[str, Formula]:
        """The yields as parsed expressions."""
        return dict(self.processes)  # type: ignore[arg-type]

    @property
    def all_parameters(self) -> dict[str, Parameter | Nuisance]:
        """Parameters, nuisances, then those that only the binned channels have; in this order."""
        found: dict[str, Parameter | Nuisance] = {**self.parameters, **self.nuisances}  # type: ignore[dict-item]
        if self.binned is not None:
            found.update({k: v for k, v in self.binned.parameters.items() if k not in found})  # type: ignore[union-attr]
        return found

    def expected(self, **values: float) -> dict[str, float]:
        """The expected yield of each process; parameters left out have their start values."""
        found = self.yields().values(self.theta(**values)).tolist()
        return dict(zip(self.processes, found, strict=True))

    def yields(self) -> Yields:
        """The expected yields and their derivatives, as functions of theta."""
        return Yields(self.formulas, self.nuisances, list(self.all_parameters))

    def theta(self, **values: float) -> list[float]:
        """Values in the order of `all_parameters`; those left out have their start values.

        Raises:
            MissingParameterError: No such parameter.
            UsageError: A value that is not a finite number.
        """
        known = self.all_parameters
        for name, value in values.items():
            if name not in known:
                message = f"the model has no parameter {name!r}; it has {nearest(name, known)}"
                raise MissingParameterError(message)
            if not is_number(value):
                message = f"{name} = {value!r} is not a finite number"
                raise UsageError(message)
        return [float(values.get(name, p.value)) for name, p in known.items()]  # type: ignore[arg-type]

    def likelihood(
        self, columns: Any, *, reference: Any = None, engine: str = "auto", threads: int = 1
    ) -> Likelihood:
        """The likelihood of observed events.

        Args:
            columns: Density ratios ``p_process / p_reference`` at each event: ``{"S": r, "B":
                {"nominal": r, "jes": (r_up, r_down)}}``, arrays of shape ``(event,)``; r_up and
                r_down are absolute ratios too. Or a `RatioColumns`, which may carry weights.
            reference: The same columns at events of the reference sample, for the normalisation
                Z(alpha) of morphed shapes; needed only with these.
            engine: ``"compiled"`` (numba) and ``"numpy"`` keep all numbers as float64. ``"auto"``
                is compiled if numba is there, and keeps more than 2 million numbers (events times
                columns) as float32, more than 1 GiB of them in a temporary file; sums are
                float64.
            threads: Of the sums over events; their results are the same for any number.

        Raises:
            MissingColumnError: A process without a column.
            NonFiniteError: NaN or infinite ratios; names process, count and first events.
            UsageError: Empty data, weights that sum to zero, a shape nuisance without reference.

        >>> import numpy as np
        >>> model = Model({"S": "mu * 3", "B": "7"}, {"mu": Parameter(1.0)})
        >>> like = model.likelihood({"S": np.array([2.0, 0.5]), "B": np.ones(2)})
        >>> round(like(mu=1.0), 6)
        5.294984
        """
        from rootml.sbi.likelihood._likelihood import build

        return build(self, columns, reference=reference, engine=engine, threads=threads)

    def with_binned(self, binned: Binned | None) -> Model:
        """The same model with other binned channels."""
        return replace(self, binned=binned)

    def _grid(self) -> Grid:
        rows = [("process", name, str(f), "") for name, f in self.processes.items()]
        for name, p in self.all_parameters.items():
            kind = p.constraint if isinstance(p, Nuisance) else "free"
            rows.append((kind, name, f"{p.value:g}", f"[{p.lower}, {p.upper}]"))
        return Grid(("kind", "name", "yield or start", "range"), rows, left=4)

    def __repr__(self) -> str:
        return str(self._grid())

    def _html_parts(self) -> list[Part]:
        return [self._grid()]


def _parameter(given: Parameter | float) -> Parameter:
    if isinstance(given, Parameter):
        return given
    if not is_number(given):
        message = f"a parameter is a Parameter or a finite number where fits start, not {given!r}"
        raise UsageError(message)
    return Parameter(float(given))


def _check_names(model: Model) -> None:
    if not model.processes and model.binned is None:
        message = "a model needs at least one process or binned channel"
        raise UsageError(message)
    for kind in ("processes", "parameters", "nuisances"):
        for name in getattr(model, kind):
            if not _NAME.fullmatch(name):
                message = f"{kind}: {name!r} is not a valid name: use letters, digits and _"
                raise UsageError(message)
    twice = sorted(set(model.parameters) & set(model.nuisances))
    if twice:
        message = f"{twice[0]!r} is both a parameter and a nuisance"
        raise UsageError(message)
    for name, nuisance in model.nuisances.items():
        if not is_a(nuisance, Nuisance):
            message = f"the nuisance {name!r} must be a Nuisance, not {nuisance!r}"
            raise UsageError(message)
        for process in nuisance.yields:
            if process not in model.processes:
                message = (
                    f"the nuisance {name!r} acts on the yield of {process!r}, which is not a "
                    f"process of the model; it has {nearest(process, model.processes)}"
                )
                raise UsageError(message)


def _check_parameters(model: Model) -> None:
    known = model.all_parameters
    for process, formula in model.formulas.items():
        for name in sorted(formula.names):
            if name not in known:
                message = (
                    f"the yield of {process!r}, {formula}, has the parameter {name!r}, which the "
                    f"model has not; it has {nearest(name, known)}"
                )
                raise MissingParameterError(message)
    if model.binned is None:
        return
    for name, theirs in model.binned.parameters.items():  # type: ignore[union-attr]
        ours = known[name]
        if _constraint_of(ours) != _constraint_of(theirs):
            message = (
                f"{name!r} is constrained as {_constraint_of(ours)} by the model and as "
                f"{_constraint_of(theirs)} by the binned channels (constraint, width, outcome)"
            )
            raise UsageError(message)


def _constraint_of(parameter: Parameter | Nuisance) -> tuple[Any, ...]:
    if isinstance(parameter, Parameter):
        return ("none",)
    if parameter.constraint == "none":
        return ("none",)
    return parameter.constraint, parameter.width, parameter.observed
