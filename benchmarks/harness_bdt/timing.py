"""Engines in turns on the same rows, CPU time of the process; start-up in fresh processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness_bdt.engines import Score

_SECONDS = 0.4
"""What one round of a slow engine may take: it gets fewer rows."""


def in_turns(
    engines: dict[str, Score], x: NDArray[np.float32], rows: int, rounds: int
) -> dict[str, list[float]]:
    """ns per event of each engine, round by round, each in its turn, after one warm-up.

    Batches are of `rows` rows; small ones are repeated, and large ones cut for slow engines.
    """
    plans = {name: _plan(score, x, rows) for name, score in engines.items()}
    found: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, score in engines.items():
            batches = plans[name]
            start = time.process_time()
            for batch in batches:
                score(batch)
            passed = time.process_time() - start
            found[name].append(passed / sum(map(len, batches)) * 1e9)
    return found


def _plan(score: Score, x: NDArray[np.float32], rows: int) -> list[NDArray[np.float32]]:
    few = x[: min(rows, 2000)]
    score(few)
    start = time.process_time()
    score(few)
    each = max(time.process_time() - start, 1e-7) / len(few)
    batch = min(rows, max(1000, int(_SECONDS / each)), len(x))
    if rows == 1:
        batch = 1
    number = max(1, min(int(0.05 / (each * batch)), len(x) // batch, 2000))
    return [np.ascontiguousarray(x[i * batch : (i + 1) * batch]) for i in range(number)]


def ratio(found: dict[str, list[float]], other: str, ours: str = "rootml") -> float:
    """The median over rounds of the other's time over ours."""
    return statistics.median(a / b for a, b in zip(found[other], found[ours], strict=True))


_START = """
import json, sys, time
import numpy as np
import rootml.bdt
clock = time.perf_counter
a = clock(); forest = rootml.bdt.load(sys.argv[1])
b = clock(); c0 = time.process_time(); model = forest.compile()
model.predict(np.zeros((1, forest.num_features), np.float32))
model.predict(np.zeros((1000, forest.num_features), np.float32))
c = clock(); print(json.dumps([b - a, c - b, time.process_time() - c0]))
"""


def start_up(path: Path) -> dict[str, float]:
    """Seconds in fresh processes: reading, compiling and the first predictions, cold and warm."""
    with tempfile.TemporaryDirectory() as cache:
        os.chmod(cache, 0o700)  # noqa: PTH101
        environment = {**os.environ, "ROOTML_CACHE": cache}
        runs = [_run(path, environment) for _ in range(3)]
    return {
        "load": statistics.median(run[0] for run in runs),
        "cold": runs[0][1],
        "cold_cpu": runs[0][2],
        "warm": min(run[1] for run in runs[1:]),
    }


def _run(path: Path, environment: dict[str, str]) -> list[float]:
    command = [sys.executable, "-c", _START, str(path)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    result: list[float] = json.loads(done.stdout)
    return result


def one_event(model: Any, x: NDArray[np.float32], rounds: int) -> dict[str, float]:
    """Microseconds for one event at a time: in the kernel, and called from Python."""
    engine = model._engine
    memory = engine._memory()
    out = np.empty((len(x), model.forest.num_outputs), model.forest.dtype)
    job = memory.few_job.copy()
    job[2:5] = x.ctypes.data, len(x), out.ctypes.data
    singles = [x[i : i + 1] for i in range(len(x))]
    found: dict[str, list[float]] = {"kernel": [], "python": []}
    for _ in range(rounds):
        start = time.thread_time()
        engine._score_few(job.ctypes.data)
        found["kernel"].append((time.thread_time() - start) / len(x) * 1e6)
        start = time.thread_time()
        for single in singles:
            model.predict(single)
        found["python"].append((time.thread_time() - start) / len(x) * 1e6)
    return {name: statistics.median(values) for name, values in found.items()}


def two_threads(model: Any, x: NDArray[np.float32], rounds: int) -> dict[str, float]:
    """How many times as fast as one thread two threads and two processes are, on the clock.

    Each of the processes makes the whole call, again and again, as the threads do: the bar is what
    a machine gives that is left to two users.
    """
    found: dict[str, list[float]] = {"one": [], "threads": [], "processes": []}
    for _ in range(rounds):
        found["one"].append(_per_call(model, x, 1))
        found["threads"].append(_per_call(model, x, 2))
        found["processes"].append(_two_processes(model, x) / 2)
    one = statistics.median(found["one"])
    return {name: one / statistics.median(times) for name, times in found.items()}


def _per_call(model: Any, x: NDArray[np.float32], threads: int) -> float:
    """Seconds of a call: the median of those within a fifth of a second."""
    times, end = [], time.perf_counter() + 0.2
    while time.perf_counter() < end:
        start = time.perf_counter()
        model.predict_margin(x, threads=threads)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _two_processes(model: Any, x: NDArray[np.float32]) -> float:
    """Seconds of a call while another process makes the same call; the mean of both."""
    context = multiprocessing.get_context("fork")
    together, found = context.Barrier(2), context.SimpleQueue()

    def call() -> None:
        together.wait()
        found.put(_per_call(model, x, 1))

    processes = [context.Process(target=call) for _ in range(2)]
    for process in processes:
        process.start()
    times: list[float] = [found.get() for _ in processes]
    for process in processes:
        process.join()
    return statistics.mean(times)
