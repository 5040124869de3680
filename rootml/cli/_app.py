"""The application: its global options and its groups of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from rootml.cli._bdt import bdt
from rootml.cli._morph import morph
from rootml.cli._sbi import sbi

app = typer.Typer(
    name="rootml",
    help="ROOT files meet machine learning.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(bdt)
app.add_typer(morph)
app.add_typer(sbi)


def _version(asked: bool) -> None:
    if asked:
        from rootml import __version__

        typer.echo(f"rootml {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error was raised. Comes first.")
    ] = False,
) -> None:
    """ROOT files meet machine learning."""
