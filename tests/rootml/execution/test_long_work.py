"""Long work on a cluster: results as they are done, errors by name, nothing left behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import distributed
import pytest
from dask_state import settled

from rootml.errors import ClusterError, StateError, UsageError
from rootml.execution import completed

DASK: Any = distributed  # half typed


@dataclass(frozen=True)
class Part:
    """A number with a name."""

    number: int

    @property
    def where(self) -> str:
        return f"part {self.number}"


PARTS = [Part(number) for number in range(6)]


def squares(slow: int) -> Callable[[Part], int]:
    """Squares of numbers, of which one takes a while."""

    def square(part: Part) -> int:
        time.sleep(1.0 if part.number == slow else 0.0)
        return int(part.number**2)

    return square


def refused(error: type[Exception]) -> Callable[[Part], int]:
    """A function that fails for one number."""

    def refuse(part: Part) -> int:
        if part.number == 3:
            message = "not this one"
            raise error(message)
        return part.number

    return refuse


def test_results_come_as_they_are_done(threads: Any) -> None:
    found = [(part.number, result) for part, result in completed(
        threads, squares(slow=0), PARTS, what="squares"
    )]  # fmt: skip
    assert sorted(found) == [(number, number**2) for number in range(6)]
    assert found[0] != (0, 0)
    assert settled(threads)


@pytest.mark.parametrize(("raised", "seen"), [(StateError, StateError), (OSError, ClusterError)])
def test_an_error_is_named(threads: Any, raised: type[Exception], seen: type[Exception]) -> None:
    with pytest.raises(seen, match="part 3: .*not this one"):
        list(completed(threads, refused(raised), PARTS, what="numbers"))
    assert settled(threads)


def test_clients_that_cannot_work(threads: Any) -> None:
    closed = DASK.Client(threads.cluster, set_as_default=False)
    closed.close()
    with pytest.raises(ClusterError, match="the client is closed"):
        list(completed(closed, squares(0), PARTS, what="squares"))
    with pytest.raises(UsageError, match=r"takes a distributed\.Client"):
        list(completed("tcp://nowhere", squares(0), PARTS, what="squares"))
