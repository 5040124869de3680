"""Prints pins of the oldest versions that pyproject.toml allows, for `make test-oldest`.

torch keeps the pin of constraints.txt: its builds are gigabytes large. Packages without a lower
bound are left alone.

    python tests/support/oldest_versions.py > oldest.txt
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = Path(__file__).parents[2]
PINNED = ("torch",)
CPU_BUILDS = {"tensorflow": "tensorflow-cpu", "xgboost": "xgboost-cpu"}
"""What the groups of pyproject.toml install in place of them."""


def requirements() -> list[Requirement]:
    """What users install: the core and the extras, not the tools of the tests."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        texts += extra
    found = [Requirement(text) for text in texts if not text.startswith("rootml[")]
    return [each for each in found if each.marker is None or each.marker.evaluate()]


def oldest(requirement: Requirement) -> Version | None:
    """The lower bound; None if there is none."""
    bounds = [Version(each.version) for each in requirement.specifier if each.operator == ">="]
    return max(bounds, default=None)


def pins() -> dict[str, str]:
    """Names and versions: the largest of the lower bounds of each package."""
    found: dict[str, Version] = {}
    for requirement in requirements():
        version = oldest(requirement)
        if version is not None and requirement.name not in PINNED:
            found[requirement.name] = max(version, found.get(requirement.name, version))
    made = {name: _pin(version) for name, version in found.items()}
    made |= {build: made[name] for name, build in CPU_BUILDS.items()}
    constraints = (PROJECT / "constraints.txt").read_text(encoding="utf-8")
    for name in PINNED:
        made[name] = re.search(rf"^{name}(==\S+)$", constraints, re.MULTILINE)[1]  # type: ignore[index]
    return made


def _pin(version: Version) -> str:
    """The version itself; where it says only ``2.6``, the newest patch release of that."""
    exact = version.is_prerelease or len(version.release) > 2
    return f"=={version}" if exact else f"~={version}.0"


if __name__ == "__main__":
    sys.stdout.writelines(f"{name}{pin}\n" for name, pin in sorted(pins().items()))
