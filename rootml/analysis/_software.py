"""Who made a result: versions of the software, and the commit of the analysis."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from rootml import __version__

_ALWAYS = ("awkward", "numpy", "uproot")
_DISTRIBUTIONS = {"xgboost": ("xgboost", "xgboost-cpu")}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Version of rootml and of packages, as far as they are installed.

    >>> sorted(versions(["numpy"]))
    ['numpy', 'rootml']
    """
    found = {"rootml": __version__}
    for package in packages:
        for name in _DISTRIBUTIONS.get(package, (package,)):
            try:
                found[package] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
            break
    return found


def environment(packages: Iterable[str]) -> dict[str, Any]:
    """Versions with Python and the system."""
    return {
        **versions([*_ALWAYS, *packages]),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def commit(folder: Path) -> dict[str, Any] | None:
    """The git commit of a folder, and whether something is not committed; None without git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        run = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return run.stdout.strip()

    try:
        found = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": found, "changed": bool(changed)}
