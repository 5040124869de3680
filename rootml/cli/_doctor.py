"""`rootml doctor`: what is installed, what is missing for what, what will be used."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from rootml.cli import _datasets as given
from rootml.cli._output import echo, echo_facts, echo_grid, echo_json

EXAMPLES = """\b
Examples:
  rootml doctor
  rootml doctor --quick             without importing the packages
  rootml doctor --json > doctor.json  for a bug report"""


def doctor(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Look whether packages are there, import none.")
    ] = False,
    quiet: given.Quiet = False,
    as_json: given.AsJson = False,
) -> None:
    """What is installed, what is missing for what.

    Also the processor and the engine for forests, cores, memory, caches.

    Exit code 1 if something that is installed does not work: a package that
    cannot be imported, or is too old. A package that is not installed is not an error.
    """
    from rootml import __version__
    from rootml.cli import _doctor_checks as checks

    packages = checks.examine(
        checks.required(), tries=not quick, progress=False if quiet else None
    )
    facts = {
        "rootml": __version__, **checks.machine(), "bdt_engine": checks.engine(),
        "caches": checks.caches(),
    }  # fmt: skip
    bad = [package for package in packages if package.status in checks.BAD]
    core = [p for p in packages if not p.extra and p.status == "missing"]
    healthy = not bad and not core
    if as_json:
        listed = [dataclasses.asdict(package) for package in packages]
        echo_json(facts | {"packages": listed, "healthy": healthy})
    else:
        _show(facts, packages)
    for package in bad + core:
        what = f"rootml[{package.extra}]" if package.extra else "rootml"
        reason = package.reason or "it is missing"
        typer.echo(
            f"error: {package.name}: {reason}; try: pip install --force-reinstall '{what}'",
            err=True,
        )
    if not healthy:
        raise typer.Exit(1)


def _show(facts: dict[str, Any], packages: list[Any]) -> None:
    from rootml._internal.reprs import Grid
    from rootml._internal.sizes import format_bytes
    from rootml.cli._doctor_checks import USES, by_extra

    engine = facts["bdt_engine"]
    memory, free = facts["memory_bytes"], facts["memory_available_bytes"]
    lines = [
        ("rootml", facts["rootml"]),
        ("python", f"{facts['python']} ({facts['executable']})"),
        ("system", facts["system"]),
        ("processor", facts["cpu"]),
        ("features", ", ".join(facts["cpu_features"]) or "unknown"),
        ("cores", str(facts["cores"])),
        ("memory", "unknown" if memory is None else
         format_bytes(memory) + ("" if free is None else f", {format_bytes(free)} available")),
        ("open files", "unknown" if facts["open_files"] is None else f"{facts['open_files']:,}"),
        ("forests", f"engine {engine['engine']}, instructions {engine['isa']}"
         + (f" ({engine['reason']})" if engine["reason"] else "")),
    ]  # fmt: skip
    lines += [(f"cache of {c['what']}", _cache(c)) for c in facts["caches"]]
    lines += [(name, value) for name, value in facts["variables"].items()]
    echo_facts(lines)
    rows = [
        (extra or "(always)", package.name, package.status, package.version or "-")
        for extra, members in by_extra(packages).items()
        for package in members
    ]
    echo("")
    if not rows:
        echo("rootml is not installed as a package: which extras there are is not known")
        return
    echo_grid(Grid(("extra", "package", "status", "version"), rows, left=4))
    lacking = [
        (extra, f"{USES.get(extra, '')}: pip install 'rootml[{extra}]'")
        for extra, members in by_extra(packages).items()
        if extra and any(package.status == "missing" for package in members)
    ]
    if lacking:
        echo("\nnot installed, and what for:")
        echo_facts(lacking)


def _cache(facts: dict[str, Any]) -> str:
    folder = facts["folder"] or "none"
    return folder if facts["writable"] else f"{folder} ({facts['reason']})"
