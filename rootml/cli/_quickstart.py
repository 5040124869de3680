"""`rootml quickstart`: the main uses of rootml on files that it makes, also from a wheel."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

import rootml
from rootml.cli._output import note
from rootml.errors import MissingFileError, MissingPackageError

EXAMPLES = """\b
Examples:
  rootml quickstart
  rootml quickstart --events 50000 --output here/"""
_NEEDS = ("torch", "xgboost", "llvmlite", "iminuit", "numba", "scipy", "sklearn", "matplotlib")


def quickstart(
    *,
    events: Annotated[
        int, typer.Option(min=10_000, metavar="N", help="Simulated collisions.")
    ] = 500_000,
    photons: Annotated[
        int, typer.Option(min=1_000, metavar="N", help="Events with photons.")
    ] = 20_000,
    steps: Annotated[
        int, typer.Option(min=1, metavar="N", help="Of the training of the flow.")
    ] = 800,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder of all files.")
    ] = Path("quickstart-output"),
) -> None:
    """Show the main uses on files that it makes: a minute or two.

    ROOT files, a network in torch, a compiled forest, scores beside the
    events, a fit of a signal strength, simulation carried onto data; a page
    with the pictures. Needs the extras torch, bdt, sbi, plot and XGBoost.
    """
    program = tutorials() / "quickstart.py"
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        message = (
            f"the quickstart needs what is not installed, {', '.join(missing)}; install it with: "
            "pip install 'rootml[torch,bdt,sbi,plot]' xgboost-cpu"
        )
        raise MissingPackageError(message, name=missing[0])
    note(f"this is {program}")
    arguments = ["--events", str(events), "--photons", str(photons), "--steps", str(steps)]
    command = [sys.executable, str(program), *arguments, "--output", str(output)]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def tutorials() -> Path:
    """The folder of the programs: in a wheel beside the package, else in the clone.

    Raises:
        MissingFileError: They are in neither.
    """
    package = Path(rootml.__file__).resolve().parent
    for folder in (package / "_tutorials", package.parent / "tutorials"):
        if (folder / "quickstart.py").exists():
            return folder
    message = f"the programs of the tutorials are not installed beside {package}"
    raise MissingFileError(message)
