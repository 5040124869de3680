"""Who owns RooFit objects, and until when.

RooFit links objects by plain pointers: one that dies while another still points at it is a crash
later. So the objects of one likelihood have one owner in C++ (`Keeper` of `bridge.h`), and all
Python objects that we hand out hold a `Handle` on it. When the last of them is gone, the objects
die together, unless RooFit objects of the user's (an NLL made by ``createNLL``, a sum) still point
at them: then they are kept, and looked at again whenever another likelihood comes or goes.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from rootml.sbi.roofit._root import at_exit, bridge, import_root

T = TypeVar("T")
_living: list[Any] = []  # every owner whose objects exist
_retired: list[tuple[Any, Callable[[], None]]] = []  # those that nobody in Python holds any more


class Handle:
    """Held by all that needs the objects; a token without content."""


class Owner:
    """The owner of the RooFit objects of one likelihood.

    Args:
        immortal: Leave the objects alive for ever. For the small ones of the `nll` route, which a
            RooMinimizer may hold unseen; what they call in Python ends all the same.

    Attributes:
        handle: What keeps everything alive.
    """

    def __init__(self, *, immortal: bool = False) -> None:
        sweep()
        self.handle = Handle()
        self._keeper = bridge().Keeper()
        _living.append(self._keeper)
        at_exit(_leave)
        self._actions: list[Callable[[], None]] = []
        actions = self._actions
        keeper = self._keeper

        def end() -> None:
            for action in actions:
                action()
            if immortal:
                keeper.abandon()

        weakref.finalize(self.handle, _retire, keeper, end).atexit = False

    def own(self, item: T) -> T:
        """Take over a RooFit object made in Python; the same object, with a handle."""
        import_root().SetOwnership(item, False)
        self._keeper.adopt(item)
        return self.attach_handle(item)

    def attach_handle(self, item: T) -> T:
        """A Python object that keeps all the others alive."""
        item._rootml_handle = self.handle  # type: ignore[attr-defined]
        return item

    def on_close(self, action: Callable[[], None]) -> None:
        """Call this when the objects die."""
        self._actions.append(action)


def _retire(keeper: Any, end: Callable[[], None]) -> None:
    _retired.append((keeper, end))
    sweep()


def sweep() -> None:
    """Let those die that nobody points at any more."""
    for entry in list(_retired):
        keeper, end = entry
        if not keeper.inUse():
            _retired.remove(entry)
            _living[:] = [other for other in _living if other is not keeper]
            end()


def _leave() -> None:
    """At the end of the process ROOT takes its own house down: ours must not be in its way."""
    for keeper in _living:
        keeper.abandon()
