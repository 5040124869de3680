"""A process that works for another one: see `_processes`.

It reads a function and then items from its standard input, and answers each on its standard
output; what anything else prints goes to standard error.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

from rootml.errors import RootmlError


def main() -> None:
    """Work until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one decides
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    pickle: Any = importlib.import_module("pickle")
    questions = sys.stdin.buffer

    def answer(kind: str, what: Any) -> None:
        pickle.dump((kind, what), answers, protocol=5)
        answers.flush()

    try:
        function = pickle.load(questions)
    except Exception as error:  # noqa: BLE001 - it is raised in the other process
        answer("failed", f"{type(error).__name__}: {error}")
        return
    answer("ready", None)
    while True:
        try:
            item = pickle.load(questions)
        except EOFError:
            return
        try:
            outcome = "result", function(item)
        except RootmlError as error:
            outcome = "ours", error
        except Exception as error:  # noqa: BLE001 - it is raised in the other process
            outcome = "failed", f"{type(error).__name__}: {error}"
        answer(*outcome)


if __name__ == "__main__":
    main()
