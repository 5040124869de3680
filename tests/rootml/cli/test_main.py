"""The command line as a whole: version, help, exit codes, errors."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

import rootml
from rootml.cli import app, main
from rootml.errors import UsageError


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"rootml {rootml.__version__}"


def test_help_and_a_wrong_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "--debug" in capsys.readouterr().out
    assert main(["no-such-command"]) == 2
    assert "no-such-command" in capsys.readouterr().err


def test_an_error_is_one_line_unless_debugging(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        message = "nothing like that"
        raise UsageError(message)

    monkeypatch.setattr(
        app, "registered_commands", [typer.models.CommandInfo("fail", callback=fail)]
    )
    assert main(["fail"]) == 1
    assert capsys.readouterr().err == "error: nothing like that\n"
    with pytest.raises(UsageError):
        main(["--debug", "fail"])


def test_as_a_module_and_without_optional_packages() -> None:
    code = (
        "import sys; from rootml.cli import main; main(['--version']); "
        "print(*{'torch', 'ROOT', 'tensorflow', 'llvmlite', 'dask'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["rootml", rootml.__version__]
