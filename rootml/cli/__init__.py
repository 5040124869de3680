"""The command line `rootml`: thin commands over the Python functions.

One module per group of commands (`_bdt`, `_sbi`, `_morph`), each of which imports its part inside
the commands, when they run. Commands print with `typer.echo` or rich, and offer ``--json``. Errors
of the hierarchy become one line on standard error and exit code 1; ``rootml --debug ...`` shows
where they were raised. A wrong command line is exit code 2.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rootml.cli._app import app
from rootml.errors import RootmlError

__all__ = ["app", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `rootml` with `arguments` (default: those of the process); the exit code.

    >>> main(["--version"])
    rootml ...
    0
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(words, prog_name="rootml")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except RootmlError as error:
        if words[:1] == ["--debug"]:
            raise
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0
