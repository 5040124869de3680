"""The command line in a shell: pipes, signals, terminals, completion."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

ROOTML = [sys.executable, "-c", "import sys; from rootml.cli import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shell")
    with uproot.recreate(made / "events.root") as file:
        columns = {f"column_{number:03}": np.float32 for number in range(300)}
        file.mktree("Events", {"pt": np.float32, "eta": np.float32, **columns})
        file.mktree("Runs", {"sumw": np.float64})
    return made


def run(folder: Path, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "PYTHONUNBUFFERED"}}
    return subprocess.run(
        [*ROOTML, *words], cwd=folder, capture_output=True, text=True, check=False,
        env=environment | more.pop("env", {}), **more,
    )  # fmt: skip


def in_terminal(folder: Path, columns: int, *words: str, **variables: str) -> str:
    """What a terminal of so many columns gets."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "NO_COLOR"}}
    process = subprocess.Popen(
        [*ROOTML, *words], cwd=folder, stdin=inner, stdout=inner, stderr=inner,
        env={**environment, "TERM": "xterm", **variables},
    )  # fmt: skip
    os.close(inner)
    found = b""
    while True:
        try:
            part = os.read(outer, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        found += part
    os.close(outer)
    assert process.wait() == 0
    return found.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("words", [["inspect", "events.root:Events"], ["inspect", "events.root",
                                   "--json"]])  # fmt: skip
def test_a_closed_pipe_ends_it_quietly(words: list[str], folder: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*ROOTML, *words], cwd=folder, stdout=write, stderr=subprocess.PIPE,
                          text=True, check=False)  # fmt: skip
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == ""


def test_interrupted(folder: Path) -> None:
    code = (
        "import signal, sys, time, rootml.cli._inspect_facts as facts\n"
        "from rootml.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # shells may ignore it
        "def wait(*_):\n    print('ready', file=sys.stderr, flush=True); time.sleep(60)\n"
        "facts.file_facts = wait\n"
        "sys.exit(main(['inspect', 'events.root']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert process.stderr.read() == "interrupted\n"
    process.stderr.close()


def test_a_file_gets_whole_lines(folder: Path) -> None:
    done = run(folder, "inspect", "events.root:Events", env={"COLUMNS": "20"})
    assert done.returncode == 0
    assert "column_299  float32" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("columns", [30, 80])
def test_lines_fit_the_terminal(columns: int, folder: Path) -> None:
    text = in_terminal(folder, columns, "inspect", "events.root:Events", NO_COLOR="1")
    assert all(len(line.rstrip()) <= columns for line in plain(text).splitlines())
    assert "column_299" in text


def plain(text: str) -> str:
    """Without the escapes of a terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_colour_only_where_it_is_wanted(folder: Path) -> None:
    words = ("inspect", "events.root:Events")
    assert "\x1b[1m" in in_terminal(folder, 90, *words)
    assert "\x1b[3" not in in_terminal(folder, 90, *words, NO_COLOR="1")
    assert "\x1b" not in in_terminal(folder, 90, *words, TERM="dumb")


def test_json_for_people_and_for_programs(folder: Path) -> None:
    words = ("inspect", "events.root:Runs", "--json")
    piped = run(folder, *words).stdout
    shown = in_terminal(folder, 60, *words)
    assert len(piped.splitlines()) == 1
    assert len(shown.splitlines()) > 10
    assert json.loads(piped) == json.loads(shown)


def test_a_name_that_the_encoding_lacks(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "größe Ω.root").write_bytes((folder / "events.root").read_bytes())
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(
        [*ROOTML, "inspect", "größe Ω.root:Runs"], cwd=tmp_path, capture_output=True, check=False,
        env=environment,
    )  # fmt: skip
    assert done.returncode == 0
    assert "größe \\u03a9.root" in done.stdout.decode("latin-1")


@pytest.mark.parametrize(
    ("words", "place", "expected"),
    [
        ("rootml ins", 1, ["inspect"]),
        ("rootml inspect ev", 2, ["events.root"]),
        ("rootml inspect events.root:", 2, ["events.root:Events", "events.root:Runs"]),
        ("rootml inspect events.root : Ru", 4, ["Runs"]),  # as bash divides it
        ("rootml describe events.root --tree E", 4, ["Events"]),
        ("rootml describe events.root:Events --cut e", 4, ["eta"]),
        ("rootml describe events.root : Events --cut p", 6, ["pt"]),
        ("rootml skim events.root:Events out -c pt,column_01", 5,
         [f"pt,column_01{digit}" for digit in range(10)]),
        ("rootml describe none.root --cut e", 4, []),
        ("rootml morph va", 2, ["validate"]),
    ],
)  # fmt: skip
def test_completion(words: str, place: int, expected: list[str], folder: Path) -> None:
    variables = {
        "_ROOTML_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(place),
    }
    done = run(folder, env=variables)
    assert done.stdout.split() == expected
    assert done.stderr == ""


def test_no_permission(folder: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    """root may read everything: the system's refusal is made up."""
    from rootml.cli import main

    real: Callable[..., int] = os.open

    def refuse(path: Any, *more: Any, **options: Any) -> int:
        if str(path).endswith("events.root"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *more, **options)

    monkeypatch.setattr(os, "open", refuse)
    path = str(folder / "events.root")
    for words in (["inspect", path], ["describe", path], ["skim", path, str(tmp_path / "o")]):
        assert main(words) == 1
        assert capsys.readouterr().err == f"error: Permission denied: {path!r}\n"
