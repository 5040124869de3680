"""The application: its global options and its groups of commands."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rootml.cli import (
    _batches,
    _describe,
    _doctor,
    _evaluate,
    _inspect,
    _predict,
    _provenance,
    _quickstart,
    _run,
    _skim,
)
from rootml.cli._bdt import bdt
from rootml.cli._morph import morph
from rootml.cli._sbi import sbi

INTERRUPTED = 130
CLOSED = 141
_FILES = (".root", ".parquet", ".pq", ".arrow", ".feather")

_EPILOG = """\b
Begin with:
  rootml inspect file.root                  what is in a file
  rootml describe file.root:Events --cut 'nJet > 1'
  rootml skim 'mc_*.root:Events' skims/ --cut 'nJet > 1' --columns 'Jet_*,MET_pt'
  rootml run analysis.toml                  a whole analysis, from files to the fit
  rootml doctor                             what is installed, what is missing

\b
Exit codes: 0 done, 1 it could not be done, 2 the command line makes no sense,
3 done, but look at the result (run, sbi diagnose), 130 interrupted, 141 the
output was closed. --debug, anywhere, shows where an error was raised; --json,
behind a command, prints one JSON document."""


class _Commands(TyperGroup):
    """Ends in one way for all commands when the user, or the reader of a pipe, has had enough."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # as click has it
        """As usual, but a file in place of a command is met with the command to look into it."""
        name = args[0]
        if self.get_command(ctx, name) is None and name.partition(":")[0].lower().endswith(_FILES):
            ctx.fail(f"No such command {name!r}. To look into a file: rootml inspect {name}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:  # as click has it
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.stderr.write("interrupted\n")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise typer.Exit(CLOSED) from None


app = typer.Typer(
    name="rootml",
    cls=_Commands,
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=_inspect.EXAMPLES)(_inspect.inspect)
app.command(epilog=_describe.EXAMPLES)(_describe.describe)
app.command(epilog=_skim.EXAMPLES)(_skim.skim)
app.command(epilog=_batches.EXAMPLES)(_batches.batches)
app.command(epilog=_evaluate.EXAMPLES)(_evaluate.evaluate)
app.command(epilog=_predict.EXAMPLES)(_predict.predict)
app.command(epilog=_run.EXAMPLES)(_run.run)
app.command(epilog=_provenance.EXAMPLES)(_provenance.provenance)
app.command(epilog=_quickstart.EXAMPLES)(_quickstart.quickstart)
app.command(epilog=_doctor.EXAMPLES)(_doctor.doctor)
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
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error was raised; may stand anywhere.")
    ] = False,
) -> None:
    """ROOT files meet machine learning: try `rootml inspect FILE`, `rootml doctor`."""
