"""A process of its own for one engine or one figure; talks JSON lines with `batching.py`.

The first argument is ``{"task": name, ...}``. An engine answers each line of its input (an epoch
number) with a line of measurements; any other task answers once.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any, TextIO

sys.path[0] = str(Path(__file__).parents[1])  # benchmarks/, where `harness` is found


def own_stdout() -> TextIO:
    """The real standard output; whatever the libraries print goes to standard error instead."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def main() -> None:
    from harness.case import Case
    from harness.engines import ENGINES
    from harness.measure import timed_epoch
    from harness.tasks import TASKS

    answers = own_stdout()
    job: dict[str, Any] = json.loads(sys.argv[1])
    case = Case.from_json(job["case"])
    if job["task"] != "engine":
        print(json.dumps(TASKS[job["task"]](case, **job["options"])), file=answers, flush=True)
        return
    epoch = ENGINES[job["options"]["engine"]](case)
    for line in sys.stdin:
        print(json.dumps(timed_epoch(epoch(int(line)))), file=answers, flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
