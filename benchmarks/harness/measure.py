"""Clocks, memory and the machine."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("rootml", "numpy", "uproot", "awkward", "zstandard", "isal", "torch", "root")


def status_mb(field: str) -> float:
    """A field of /proc/self/status in MB (Linux), else the peak that the kernel kept."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field + ":"))


def reset_peak() -> float:
    """Forget the peak so far; the resident memory now, in MB."""
    Path("/proc/self/clear_refs").write_text("5")
    return status_mb("VmRSS")


def peak_mb() -> float:
    """Highest resident memory since `reset_peak`, in MB."""
    return status_mb("VmHWM")


def timed_epoch(batches: Iterator[Any]) -> dict[str, float]:
    """Go through one epoch: rows, seconds on the clock and of all threads, first batch."""
    from harness.engines import rows

    cpu, wall = time.process_time(), time.perf_counter()
    first = count = 0.0
    for batch in batches:
        first = first or time.perf_counter() - wall
        count += rows(batch)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"rows": count, "wall": wall, "cpu": cpu, "first": first}


def cpu_name() -> str:
    """The model of the processor, as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (FileNotFoundError, StopIteration):
        return platform.processor() or platform.machine()


def installed(package: str) -> str:
    """``"numpy 2.4"``, or that it is missing."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def machine() -> str:
    """One line on what this was measured with."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f"{os.getloadavg()[0]:.1f}"
    packages = ", ".join(map(installed, PACKAGES))
    return (
        f"{cpu_name()}, {cores} cores, load {load} at the start; "
        f"{platform.system()}, Python {platform.python_version()}, {packages}"
    )
