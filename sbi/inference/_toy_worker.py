"""Fits some toys: ``python -m rootml.sbi.inference._toy_worker FOLDER WORKER GENERATOR``.

It reads the model, its share of toy numbers and the task from the folder, and writes one line per
toy there. The generator is named on the command line only: what lies in a folder is data.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rootml.sbi.files._json import read
from rootml.sbi.inference._toy_files import appended
from rootml.sbi.inference._toy_task import Task
from rootml.sbi.inference._toys import run_here, source_of


def main(folder: str, worker: str, generator: str) -> None:
    """Fit the toys of ``todo-<worker>.json``."""
    toy_folder = Path(folder)
    saved = read(toy_folder / "toys-model.json")
    header = json.loads((toy_folder / "toys.json").read_text(encoding="utf-8"))
    task = Task(
        header["truth"], header["seed"], tuple(header["tests"]), header["engine"], header["fixed"]
    )
    source = source_of(saved.model, saved.data.get("reference"), task, generator or None)
    numbers = json.loads((toy_folder / f"todo-{worker}.json").read_text(encoding="utf-8"))
    with appended(toy_folder / f"toys-worker{worker}.jsonl") as file:
        for _ in run_here(source, task, numbers, file):
            pass


if __name__ == "__main__":
    main(*sys.argv[1:4])
