"""Fits of several ways in turns, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness_sbi.fits import WAYS, Outcome
from harness_sbi.problem import Problem

WORKER = Path(__file__).parent / "worker.py"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


class Fitter:
    """One way to fit, behind a pipe."""

    def __init__(self, process: subprocess.Popen[str], name: str) -> None:
        self._process, self._name = process, name

    def __call__(self) -> Outcome:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print("fit", file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            message = f"the process of {self._name} ended with exit code {self._process.wait()}"
            raise RuntimeError(message)
        return Outcome(**json.loads(answer))


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
        process.stdin.close()
        process.wait()
        process.stdout.close()


def turns(problem: Problem, number: int) -> dict[str, list[Outcome]]:
    """Outcomes by way; a first turn only warms up."""
    found: dict[str, list[Outcome]] = {name: [] for name in WAYS}
    with ExitStack() as stack:
        fits = {name: stack.enter_context(fitter(name, problem)) for name in WAYS}
        for turn in range(number + 1):
            for name, fit in fits.items():
                outcome = fit()
                if turn:
                    found[name].append(outcome)
    return found
