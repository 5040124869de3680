"""A process of its own for one way to fit: each line of input asks for a fit, answered in JSON.

Apart, because processes with ``bindFunction`` crashed in Python's garbage collector now and then
(ours alone never did), and torch has threads. For the same reason nobody collects garbage here.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # benchmarks/, where the harnesses are found


def main() -> None:
    gc.disable()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the libraries print goes to standard error
    from harness_sbi.fits import WAYS
    from harness_sbi.problem import Problem

    job = json.loads(sys.argv[1])
    fit = WAYS[job["way"]](Problem(job["events"], job["code"]))
    for _ in sys.stdin:
        print(json.dumps(asdict(fit())), file=answers, flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
