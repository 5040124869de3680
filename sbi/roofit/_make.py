"""`to_roofit`: a likelihood by one of the routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from rootml.errors import UsageError
from rootml.sbi.likelihood._acts_on import acts_on
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._likelihood import Likelihood
from rootml.sbi.likelihood._parameters import Nuisance
from rootml.sbi.roofit._assemble import Assembled, Events, assemble, extended
from rootml.sbi.roofit._batch import BatchDensity
from rootml.sbi.roofit._binned import make_channels
from rootml.sbi.roofit._check import Check, check
from rootml.sbi.roofit._columns import ColumnDensity
from rootml.sbi.roofit._constraints import make_constraints
from rootml.sbi.roofit._effects import Effect, piecewise
from rootml.sbi.roofit._factory import Factory
from rootml.sbi.roofit._nll import make_nll
from rootml.sbi.roofit._objects import RooFitObjects
from rootml.sbi.roofit._ownership import Owner
from rootml.sbi.roofit._parameters import make_parameters
from rootml.sbi.roofit._rates import make_yields
from rootml.sbi.roofit._root import quiet

Route: TypeAlias = Literal["columns", "nll", "function"]
ROUTES = ("columns", "nll", "function")
_EXACT = 1e-6  # tolerance of a route without approximation


def to_roofit(
    like: Fittable,
    route: Route = "columns",
    *,
    tolerance: float = 1e-3,
    reach: float = 5.0,
) -> RooFitObjects:
    """RooFit objects of a likelihood; see the package's docstring for the routes.

    Args:
        like: The likelihood; with "nll" anything that is `Fittable`.
        route: ``"columns"``, ``"nll"`` or ``"function"``.
        tolerance: ``"columns"``: how far the NLL may be from ours because log Z(alpha) becomes a
            formula; it may grow as ``1 + |alpha|^2 / 2``.
        reach: ``"columns"``: the formula holds for nuisances on shapes within ``[-reach, reach]``,
            which become their limits in RooFit.

    Raises:
        MissingPackageError: ROOT is not installed.
        UsageError: No such route, or no formula for Z(alpha) that is good enough.
        MismatchError: RooFit's NLL is not ours.

    >>> from rootml import sbi
    >>> model = sbi.Model({"S": "mu * 3"}, {"mu": sbi.Parameter(0.5, lower=0.0, upper=9.0)})
    >>> like = model.likelihood({"S": [1.0] * 6})
    >>> obj = to_roofit(like, "nll")                                # doctest: +SKIP
    >>> minimizer = ROOT.RooMinimizer(obj.nll)                      # doctest: +SKIP
    """
    if route not in ROUTES:
        message = f"route={route!r} must be one of {', '.join(map(repr, ROUTES))}"
        raise UsageError(message)
    if not (tolerance > 0.0 and reach > 1.0):
        message = f"tolerance={tolerance} must exceed 0 and reach={reach} must exceed 1"
        raise UsageError(message)
    if route == "nll":
        return _nll(like)
    if type(like) is not Likelihood:  # not of a class made of it: that has other values
        message = (
            f"a {type(like).__name__} is not a mixture of columns, so it has no route={route!r}; "
            'use route="nll"'
        )
        raise UsageError(message)
    return _pdf(like, route, tolerance, reach)


def _nll(like: Fittable) -> RooFitObjects:
    owner = Owner(immortal=True)
    factory = Factory(owner)
    parameters = make_parameters(factory, like)
    nll = make_nll(like, parameters.values(), owner, factory.names("nll"))
    found = check(like, parameters, nll.getVal, tolerance=_EXACT, route="nll")
    return RooFitObjects("nll", like, parameters, owner.handle, found, items={"nll": nll})


def _pdf(like: Likelihood, route: Route, tolerance: float, reach: float) -> RooFitObjects:
    factory = Factory(Owner())
    narrow = _ranges(like, reach) if route == "columns" else None
    parameters = make_parameters(factory, like, narrow)
    made: ColumnDensity | BatchDensity | None = None
    events = None
    if like.unbinned is not None:
        yields = make_yields(factory, like.model, parameters)
        total = factory.sum("nu", "expected events", list(yields.values()))
        total = factory.product(
            "nu_model", "expected events", [total, *_idle(factory, like, parameters)]
        )
        if route == "columns":
            made = ColumnDensity(
                factory, like, parameters, yields, total, tolerance=tolerance, reach=reach
            )
        else:
            made = BatchDensity(factory, like, parameters)
        name = like.model.name
        pdf = extended(factory, name, made.density, total)
        weights = like.unbinned.columns.weights
        events = Events(name, pdf, made.variables, made.arrays, weights)
    channels = []
    if like.binned is not None:
        idle = [] if like.unbinned is not None else _idle(factory, like, parameters)
        channels = make_channels(factory, like.binned, parameters, idle)
    constraints, outcomes = make_constraints(factory, like, parameters)
    whole = assemble(factory, events, channels, constraints)
    if outcomes:
        whole.data.setGlobalObservables(factory.set_of(outcomes.values()))
    allowed = tolerance if route == "columns" else _EXACT
    found = _check_pdf(like, route, parameters, whole, allowed)
    items = {"pdf": whole.pdf, "data": whole.data}
    if made is not None:
        items["function"] = made.density
    return RooFitObjects(
        route, like, parameters, factory.owner.handle, found,
        observables=whole.observables,
        global_observables=outcomes,
        errors=made.errors if isinstance(made, ColumnDensity) else {},
        items=items,
    )  # fmt: skip


def _idle(factory: Factory, like: Likelihood, parameters: Mapping[str, Any]) -> list[Any]:
    """A factor of 1 that depends on the nuisances that act on nothing; none if all act.

    RooFit leaves out the constraint of a parameter that its pdf does not depend on.
    """
    acting = acts_on(like)
    one = factory.constant(1.0)
    effects = [
        Effect(parameters[name], "code5", one, one)
        for name, p in like.parameters.items()
        if isinstance(p, Nuisance) and p.constraint != "none" and not acting[name]
    ]
    return piecewise(factory, "idle", "nuisances that act on nothing", effects)


def _check_pdf(
    like: Likelihood, route: str, parameters: dict[str, Any], made: Assembled, tolerance: float
) -> Check:
    with quiet():
        nll = made.pdf.createNLL(made.data, Extended=True)
        return check(like, parameters, nll.getVal, tolerance=tolerance, route=route)


def _ranges(like: Likelihood, reach: float) -> dict[str, tuple[float, float]]:
    """Limits of the nuisances on shapes, within which log Z is known."""
    if like.unbinned is None:
        return {}
    names = {factor.nuisance for factor in like.unbinned.layout.factors}
    for name in sorted(names):
        if abs(like.parameters[name].value or 0.0) >= reach:
            message = (
                f"the nuisance {name!r} starts at {like.parameters[name].value}, but log Z is a "
                f"formula only within +-{reach:g}: use a larger reach="
            )
            raise UsageError(message)
    return dict.fromkeys(names, (-reach, reach))
