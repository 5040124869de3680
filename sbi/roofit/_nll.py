"""The route ``"nll"``: the compiled likelihood as one RooFit object, with its derivatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rootml.sbi.roofit import _callbacks
from rootml.sbi.roofit._root import RootObject, bridge, import_root

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rootml.sbi.likelihood._fittable import Fittable
    from rootml.sbi.roofit._ownership import Owner


def make_nll(like: Fittable, parameters: Iterable[Any], owner: Owner, name: str) -> RootObject:
    """A RooAbsReal whose value is ``like.nll`` at the values of `parameters`, in their order.

    Where a density is not positive the value is NaN, from which MINUIT steps back.
    """
    variables = import_root().RooArgList()
    for parameter in parameters:
        variables.add(parameter)
    number = _callbacks.register_nll(
        _callbacks.Nll(
            len(like.parameters),
            lambda theta: like.nll_gradient(theta, strict=False),
            like.nll_hessian,
        )
    )
    owner.on_close(lambda: _callbacks.forget(number))
    title = "negative log-likelihood of rootml.sbi"
    return owner.own(bridge().Nll(name, title, variables, number, _callbacks.nll_pointer()))
