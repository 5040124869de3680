"""A likelihood as RooFit objects: three routes, one answer.

`Likelihood.to_roofit` makes them; CERN's ROOT is needed (extra ``root``).

=============  =============================================================================
``"columns"``  a RooDataSet with ratio columns and a pdf of stock classes. Readable in plain
               ROOT without rootml, Python or a compiler; written to a workspace file; for
               ``fitTo``, RooSimultaneous, RooStats. Z(alpha) is a formula of bounded error.
``"nll"``      the compiled likelihood as one RooAbsReal with its gradient: the fastest. For
               RooMinimizer, ``createProfile``, RooAddition with other NLLs. In memory only.
``"function"`` the density ratio as a RooAbsReal that is evaluated for all events at once,
               for plots, and for pdfs of one's own. In memory only. See also `function`, for
               any Python function, e.g. a network that depends on parameters.
=============  =============================================================================

RooFit's NLL is compared with ours when the objects are made. What lives in Python memory refuses
to be written to a file or imported into a workspace. The objects own what they need: keep the
returned object, or any of the RooFit objects in it, while you use one.

Minimisers of your own: ``ROOT.RooMinimizer(obj.nll)``, whose error level is right by itself; that
of a RooAddition is not (``setErrorLevel(0.5)``). Weighted events, and the bins of binned channels,
make a weighted dataset, for which ``fitTo`` wants to know ``SumW2Error``. RooStats needs limits on
the parameters of interest.

RooFit's fits stop a few hundredths of a standard deviation from the minimum (its estimated
distance is 1e-3); after ``minimizer.setEps(0.01)`` they agree with `sbi.fit` to a thousandth.

The formula of log Z(alpha) holds a few nuisances per process (about five of strong effect); where
none is good enough, `to_roofit` says so. The other routes have no such limit.
"""

from __future__ import annotations

from rootml.sbi.roofit._batch import RooFitFunction, function
from rootml.sbi.roofit._make import to_roofit
from rootml.sbi.roofit._objects import RooFitObjects

__all__ = ["RooFitFunction", "RooFitObjects", "function", "to_roofit"]
