"""The command line as a whole: version, help, exit codes, errors."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import typer

import rootml
from rootml._internal.jsonable import jsonable
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
    with pytest.raises(UsageError):
        main(["fail", "--debug"])


def test_what_was_not_foreseen_asks_for_a_report(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        logging.getLogger("rootml.somewhere").warning("look %s", "here")
        warnings.showwarning("old", UserWarning, "file.py", 3)
        message = "int + str"
        raise TypeError(message)

    monkeypatch.setattr(
        app, "registered_commands", [typer.models.CommandInfo("fail", callback=fail)]
    )
    show = warnings.showwarning
    assert main(["fail"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == ["warning: look here", "warning: old", "error: TypeError: int + str"]
    assert "rootml doctor" in lines[3]
    assert warnings.showwarning is show
    assert not logging.getLogger("rootml").handlers


def test_a_file_is_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data/file.root:Events"]) == 2
    assert "rootml inspect data/file.root:Events" in capsys.readouterr().err


def commands() -> list[list[str]]:
    """All commands, as words."""
    alone = [["inspect"], ["describe"], ["skim"], ["batches"], ["predict"], ["doctor"]]
    groups = {
        "bdt": ["info", "compile", "explain", "convert", "bench"],
        "sbi": ["fit", "limit", "diagnose"],
        "morph": ["fit", "apply", "validate"],
    }
    return alone + [[group, name] for group, names in groups.items() for name in names]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_offers_json_and_help(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "-h"]) == 0
    text = capsys.readouterr().out
    assert "--json" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    if len(words) == 1:
        assert f"rootml {words[0]}" in text.partition("Examples:")[2]


@pytest.mark.parametrize("group", ["bdt", "sbi", "morph"])
def test_every_group_has_examples(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([group, "--help"]) == 0
    assert f"rootml {group}" in capsys.readouterr().out.partition("Examples:")[2]


def test_json_has_no_nan() -> None:
    content = {"a": [float("nan"), np.float32("inf"), -np.inf, np.int64(3), True, None],
               1: (Path("x"), np.array([[1.5, np.nan]]))}  # fmt: skip
    found = jsonable(content)
    assert found == {"a": ["NaN", "Infinity", "-Infinity", 3, True, None],
                     "1": ["x", [[1.5, "NaN"]]]}  # fmt: skip
    json.dumps(found, allow_nan=False)
    assert [float(text) for text in found["a"][1:3]] == [np.inf, -np.inf]


def test_as_a_module_and_without_optional_packages() -> None:
    code = (
        "import sys; from rootml.cli import main; main(['--version']); "
        "print(*{'torch', 'ROOT', 'tensorflow', 'llvmlite', 'dask'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["rootml", rootml.__version__]
