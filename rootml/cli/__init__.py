"""The command line `rootml`: thin commands over the Python functions.

One module per command or group of commands, each of which imports its part inside the commands,
when they run. Results go to standard output, and with ``--json`` they are one JSON document;
progress, notes, warnings and errors go to standard error. Exit codes:

====  ===========================================================================================
0     done
1     it could not be done: one line says why (a file, a column, a selection, a fit, ...)
3     done, but something has to be looked at: `rootml run`, `rootml sbi diagnose`
2     the command line makes no sense: an unknown option, a missing argument, ``--label`` without
      a value
130   interrupted by Ctrl-C
141   whoever read the output closed it (``rootml inspect f.root | head``)
====  ===========================================================================================

``--debug``, anywhere, shows where an error was raised.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from rootml.cli._app import CLOSED, app
from rootml.cli._output import styled
from rootml.errors import RootmlError

__all__ = ["app", "main"]

_PROGRESS = "rootml.progress"
_SPELT = {
    "say overwrite=True": "give --overwrite",
    "dtype='float64'": "--dtype float64",
    "nonfinite='keep'": "--nonfinite keep",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `rootml` with `arguments` (default: those of the process); the exit code.

    >>> main(["--version"])
    rootml ...
    0
    """
    words, debug = _take_debug(list(sys.argv[1:] if arguments is None else arguments))
    with _messages(debug=debug):
        try:
            code = _run(words, debug=debug)
            sys.stdout.flush()
        except BrokenPipeError:
            _forget_output()
            code = CLOSED
    return code


def _run(words: Sequence[str], *, debug: bool) -> int:
    try:
        app(words, prog_name="rootml")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:
        raise
    except RootmlError as error:
        if debug:
            raise
        _say_error(str(error))
    except OSError as error:
        if debug:
            raise
        about = "" if error.filename is None else f": {error.filename!r}"
        _say_error(f"{error.strerror or error}{about}")
    except Exception as error:
        if debug:
            raise
        _say_error(
            f"{type(error).__name__}: {error}\n"
            "This was not foreseen. Please report it with the output of the same command with "
            "--debug, and of `rootml doctor`."
        )
    return 1


def _take_debug(words: list[str]) -> tuple[list[str], bool]:
    """The words without ``--debug``, wherever it stands, and whether it was there."""
    end = words.index("--") if "--" in words else len(words)
    head = [word for word in words[:end] if word != "--debug"]
    return head + words[end:], len(head) < end


def _say_error(text: str) -> None:
    """The message of an error; arguments of Python functions in it are spelt as options."""
    for python, option in _SPELT.items():
        text = text.replace(python, option)
    text = re.sub(r"force=\['([\w-]+)'\]", r"--force \1", text)
    sys.stderr.write(f"{styled('error:', err=True)} {text}\n")


def _forget_output() -> None:
    """Let nothing be written to the closed pipe when the process ends."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class _Lines(logging.Handler):
    """Log records as lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.name == _PROGRESS else f"{record.levelname.lower()}: "
        sys.stderr.write(f"{level}{record.getMessage()}\n")
        sys.stderr.flush()


@contextmanager
def _messages(*, debug: bool) -> Iterator[None]:
    """Logging and warnings as lines on standard error; names that no terminal knows, escaped."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    logger, handler, show = logging.getLogger("rootml"), _Lines(), warnings.showwarning
    level = logger.level

    def say(message: Warning | str, *_: Any, **__: Any) -> None:
        sys.stderr.write(f"warning: {message}\n")

    progress = logging.getLogger(_PROGRESS)
    before = progress.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)
    if not sys.stderr.isatty():  # a batch job: lines where a terminal shows bars
        progress.setLevel(logging.INFO)
    if not debug:
        warnings.showwarning = say
    try:
        yield
    finally:
        warnings.showwarning = show
        progress.setLevel(before)
        logger.setLevel(level)
        logger.removeHandler(handler)
