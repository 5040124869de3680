"""CERN's ROOT, imported when it is needed, with the bridge declared to its interpreter."""

from __future__ import annotations

import atexit
import warnings
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeAlias

from rootml._internal.optional import optional_import

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RootObject: TypeAlias = Any
"""An object of ROOT, or one of its classes or modules: PyROOT gives them no types."""

FEATURE = "Likelihood.to_roofit()"


@cache
def import_root() -> RootObject:
    """The ROOT module.

    Raises:
        MissingPackageError: ROOT is not installed; names the extra.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*alpha stage")  # the wheel says so at import
        return optional_import("ROOT", feature=FEATURE, extra="root")


@cache
def bridge() -> RootObject:
    """The namespace of the classes in `bridge.h`, declared to cling once per process.

    Raises:
        RuntimeError: cling refuses the header; it has printed why.
    """
    root = import_root()
    if not hasattr(root, "rootml_roofit"):
        header = resources.files("rootml.sbi.roofit").joinpath("bridge.h")
        if not root.gInterpreter.Declare(header.read_text(encoding="utf-8")):
            message = f"this ROOT ({root.gROOT.GetVersion()}) cannot compile rootml's bridge.h"
            raise RuntimeError(message)
    return root.rootml_roofit


@cache
def at_exit(action: Callable[[], None]) -> None:
    """Do this at the end of the process, before ROOT's own cleaning; once for each `action`."""
    import_root()  # what is registered later runs earlier
    atexit.register(action)


@contextmanager
def quiet() -> Iterator[Any]:
    """ROOT, with RooFit's messages below an error silenced inside the block."""
    root = import_root()
    service = root.RooMsgService.instance()
    before = service.globalKillBelow()
    service.setGlobalKillBelow(root.RooFit.ERROR)
    try:
        yield root
    finally:
        service.setGlobalKillBelow(before)
