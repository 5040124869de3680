"""Pieces of work as generators of steps, so that emitters can put one between another."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Made = TypeVar("Made")


def finished(steps: Generator[None, None, Made]) -> Made:
    """What a generator of steps returns in the end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: Made = end.value
            return made


def side_by_side(
    main: Generator[None, None, None], steps: int, other: Generator[None, None, Made], number: int
) -> Made:
    """Emit two pieces of work, the `number` steps of the other spread over the `steps` of one.

    One needs shuffles and the other loads and logic: a processor does them at once if they stand
    close to each other.
    """
    done = 0
    for step, _ in enumerate(main, start=1):
        while done < number * step // steps:
            next(other)
            done += 1
    return finished(other)
