"""Fits of several ways in turns, each in a process of its own.

A peer whose process crashes is started anew and misses the turn; if it crashes too often it is
left out from then on. What happened is part of the result. Ours may not crash.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness_sbi.fits import WAYS, Outcome
from harness_sbi.problem import Problem

WORKER = Path(__file__).parent / "worker.py"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


MOST_CRASHES = 2


class CrashError(RuntimeError):
    """The process of a way to fit has ended."""


class Fitter:
    """One way to fit, behind a pipe."""

    def __init__(self, process: subprocess.Popen[str], name: str) -> None:
        self._process, self._name = process, name

    def __call__(self) -> Outcome:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        answer = ""
        with suppress(BrokenPipeError):
            print("fit", file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        if not answer.endswith("\n"):
            message = f"the process of {self._name} ended with {_end(self._process.wait())}"
            raise CrashError(message)
        return Outcome(**json.loads(answer))


def _end(code: int) -> str:
    """An exit code, or the name of the signal that ended a process."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


@contextmanager
def fitter(name: str, problem: Problem) -> Iterator[Fitter]:
    """A process that fits."""
    job = json.dumps({"way": name, "events": problem.events, "code": problem.code})
    process = subprocess.Popen(
        [sys.executable, str(WORKER), job],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ONE_THREAD},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Fitter(process, name)
    finally:
        with suppress(BrokenPipeError):  # it went with something unread
            process.stdin.close()
        process.wait()
        process.stdout.close()


@dataclass
class Turns:
    """What came of some turns.

    Attributes:
        outcomes: By way and number of the turn; a first turn only warms up and is not here.
        crashes: How the process of a way ended, each time that it crashed.
    """

    outcomes: dict[str, dict[int, Outcome]]
    crashes: dict[str, list[str]]


def turns(problem: Problem, number: int, *, ours: Sequence[str]) -> Turns:
    """Fits by all ways.

    Args:
        ours: Ways that may not crash.

    Raises:
        CrashError: One of ours did.
    """
    found = Turns({name: {} for name in WAYS}, {})
    with ExitStack() as stack:
        fits = {name: _Way(name, problem, stack) for name in WAYS}
        for turn in range(number + 1):
            for name, fit in fits.items():
                try:
                    outcome = fit()
                except CrashError as error:
                    if name in ours:
                        raise
                    found.crashes.setdefault(name, []).append(str(error))
                    continue
                if outcome is not None and turn:
                    found.outcomes[name][turn] = outcome
    return found


class _Way:
    """A way to fit, started when it is wanted, and anew after a crash."""

    def __init__(self, name: str, problem: Problem, stack: ExitStack) -> None:
        self._name, self._problem, self._stack = name, problem, stack
        self._fit: Fitter | None = None
        self._starts = 0

    def __call__(self) -> Outcome | None:
        """A fit; None if it crashed too often."""
        if self._fit is None:
            if self._starts > MOST_CRASHES:
                return None
            self._starts += 1
            fit = self._stack.enter_context(fitter(self._name, self._problem))
            if self._starts > 1:
                fit()  # warms up
            self._fit = fit
        try:
            return self._fit()
        except CrashError:
            self._fit = None
            raise
