"""Many data sets, each fitted: in parallel, the same for any number of workers, resumable.

Toys are equal to the last bit for equal settings of the machine's linear algebra (threads).
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from rootml._internal.progress import track
from rootml._internal.validators import is_a
from rootml.errors import (
    StateError,
    UsageError,
)
from rootml.sbi.files._json import write
from rootml.sbi.inference._asimov import Generator, Toys
from rootml.sbi.inference._combined_toys import CombinedToys
from rootml.sbi.inference._toy_files import ToyFiles, appended
from rootml.sbi.inference._toy_task import Source, Task, ToyResults, collect
from rootml.sbi.likelihood._columns import RatioColumns, as_columns
from rootml.sbi.likelihood._combined import CombinedLikelihood
from rootml.sbi.likelihood._model import Model

_HEADER, _MODEL = "toys.json", "toys-model.json"
_PAUSE = 0.05  # seconds between looks at the workers


def toys(
    model: Model | CombinedLikelihood,
    reference: Any = None,
    *,
    number: int,
    seed: int,
    truth: Mapping[str, float] | None = None,
    tests: Sequence[Mapping[str, float]] = (),
    fixed: Mapping[str, float] | None = None,
    generator: Generator | str | None = None,
    workers: int = 1,
    folder: str | Path | None = None,
    engine: str = "auto",
    progress: bool | None = None,
) -> ToyResults:
    """Draw data sets from a model and fit each.

    Args:
        model: A model; or a combination of likelihoods, whose parts are drawn independently but
            for the outcomes of auxiliary measurements that several of them share. Combinations
            are fitted in this process.
        reference: Columns at reference events, to draw from and for Z(alpha). Of a combination:
            these columns by part; needed where a part has no reference events of its own.
        number: How many.
        seed: The same seed gives the same toys, for any number of workers.
        truth: Values to draw at; parameters left out have their start values.
        tests: Further fits of each toy, with these parameters held.
        fixed: Parameters held in all fits.
        generator: ``generator(rng, truth)`` gives the Columns of one toy instead of drawing from
            the reference; for several workers its name, ``"package.module:function"``.
        workers: Processes.
        folder: Keep finished toys there; a call with the same arguments goes on where the last one
            stopped, also with a larger `number`.
        progress: Show a bar; None: on a terminal.

    Raises:
        StateError: The folder holds toys of another model, truth or seed.
        UsageError: Too few reference events; a function as `generator` with several workers.

    >>> import numpy as np
    >>> from rootml.sbi import Model, Parameter
    >>> model = Model({"S": "mu * 100"}, {"mu": Parameter(1.0, lower=0.0)})
    >>> results = toys(model, {"S": np.ones(200)}, number=20, seed=1)
    >>> len(results), round(float(results.errors.mean()), 2)
    (20, 0.1)
    """
    _check_counts(number, seed, workers)
    if isinstance(model, CombinedLikelihood):
        if workers > 1 or folder is not None or generator is not None:
            message = "toys of a CombinedLikelihood take no workers=, folder= or generator="
            raise UsageError(message)
        source = CombinedToys(model, reference or {}, truth or {}, tests)
        task = Task(source.truth, seed, tuple(map(dict, tests)), "", dict(fixed or {}))
        rows = run_here(source, task, range(number), None)
        done = list(track(rows, total=number, what="toys", enabled=progress))
        return collect(done, task, list(model.parameters))
    if not is_a(model, Model):
        message = f"toys() takes a Model or CombinedLikelihood, not a {type(model).__name__}"
        raise UsageError(message)
    events = None if reference is None else as_columns(reference)
    names = list(model.all_parameters)
    point = dict(zip(names, model.theta(**(truth or {})), strict=True))
    for test in tests:
        model.theta(**test)
    task = Task(point, seed, tuple(dict(t) for t in tests), engine, dict(fixed or {}))
    if workers > 1 and callable(generator):
        message = "workers cannot call a function of this process: name it 'module:function'"
        raise UsageError(message)
    with _folder(folder, needed=workers > 1) as toy_folder:
        finished = (
            {} if toy_folder is None else _resume(toy_folder, model, events, task, generator)
        )
        missing = [i for i in range(number) if i not in finished]
        if workers == 1 or len(missing) < 2:
            found = _here(model, events, task, generator, missing, toy_folder, progress)
        else:
            assert toy_folder is not None
            found = _there(model, events, generator, missing, workers, toy_folder, progress)
        by_number = finished | found
    return collect([by_number[i] for i in range(number)], task, names)


def _check_counts(number: int, seed: int, workers: int) -> None:
    if number < 1 or workers < 1:
        message = f"{number} toys by {workers} workers: both must be positive"
        raise UsageError(message)
    if seed < 0:
        message = f"seed={seed}: a seed is a whole number from 0"
        raise UsageError(message)


def named_function(name: str) -> Callable[..., Any]:
    """The function ``"package.module:function"``.

    Raises:
        UsageError: There is none.
    """
    module, colon, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function) if colon else None
    except (ImportError, AttributeError) as error:
        message = f"no function {name!r}: {error}"
        raise UsageError(message) from error
    if not callable(found):
        message = f"{name!r} does not name a function as 'package.module:function'"
        raise UsageError(message)
    return found  # type: ignore[no-any-return]


def source_of(
    model: Model, events: RatioColumns | None, task: Task, generator: Generator | str | None
) -> Toys:
    """Where toys are drawn from."""
    function = named_function(generator) if isinstance(generator, str) else generator
    return Toys(model, events, generator=function, truth=task.truth, engine=task.engine)


def run_here(
    source: Source, task: Task, numbers: Iterable[int], file: IO[str] | None
) -> Iterable[dict[str, Any]]:
    """Run toys one after the other, each written as one line when it is done."""
    for number in numbers:
        row = task.run(source, number)
        if file is not None:
            file.write(json.dumps(row) + "\n")
            file.flush()
        yield row


def _here(
    model: Model, events: RatioColumns | None, task: Task, generator: Generator | str | None,
    missing: list[int], toy_folder: Path | None, progress: bool | None,
) -> dict[int, dict[str, Any]]:  # fmt: skip
    if not missing:
        return {}
    source = source_of(model, events, task, generator)
    if toy_folder is None:
        rows = run_here(source, task, missing, None)
        return {
            r["toy"]: r for r in track(rows, total=len(missing), what="toys", enabled=progress)
        }
    with appended(toy_folder / f"toys-{os.getpid()}.jsonl") as file:
        rows = run_here(source, task, missing, file)
        return {
            r["toy"]: r for r in track(rows, total=len(missing), what="toys", enabled=progress)
        }


def _there(
    model: Model, events: RatioColumns | None, generator: Generator | str | None,
    missing: list[int], workers: int, toy_folder: Path, progress: bool | None,
) -> dict[int, dict[str, Any]]:  # fmt: skip
    """Split among processes that read the model from the folder."""
    write(toy_folder / _MODEL, model, {} if events is None else {"reference": events})
    name = generator if isinstance(generator, str) else ""
    processes = []
    for worker in range(min(workers, len(missing))):
        ours = json.dumps(missing[worker::workers])
        (toy_folder / f"todo-{worker}.json").write_text(ours, encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "rootml.sbi.inference._toy_worker",
            str(toy_folder),
            str(worker),
            name,
        ]
        processes.append(
            subprocess.Popen(
                command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
            )
        )  # fmt: skip
    files = ToyFiles(toy_folder)
    try:
        for _ in track(_finished(processes, files, len(missing)), total=len(missing),
                       what="toys", enabled=progress):  # fmt: skip
            pass
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()
    found = files.update()
    return {i: found[i] for i in missing}


def _finished(
    processes: list[subprocess.Popen[str]], files: ToyFiles, number: int
) -> Iterable[int]:
    """Count toys while workers write them; stop when all have ended.

    Raises:
        UsageError: A worker failed; with what it said.
    """
    counted, before = 0, len(files.update())
    while True:
        ended = [process.poll() for process in processes]
        for process, code in zip(processes, ended, strict=True):
            if code not in {None, 0}:
                said = process.stderr.read() if process.stderr is not None else ""
                message = f"a process that fits toys failed:\n{said.strip()[-2000:]}"
                raise UsageError(message)
        now = min(len(files.update()) - before, number)
        while counted < now:
            counted += 1
            yield counted
        if None not in ended:
            return
        time.sleep(_PAUSE)


# --- on disk -------------------------------------------------------------------------------------


def point_folder(folder: str | Path | None, value: float, *more: str) -> Path | None:
    """Where toys of one value of a parameter are kept, in the folder of a construction."""
    return None if folder is None else Path(folder) / "-".join([f"at-{value!r}", *more])


class _folder:
    """The folder of the user, a temporary one, or none."""

    def __init__(self, given: str | Path | None, *, needed: bool) -> None:
        self._temporary = (
            tempfile.TemporaryDirectory(prefix="rootml-toys-")
            if given is None and needed
            else None
        )
        self._given = None if given is None else Path(given)

    def __enter__(self) -> Path | None:
        if self._temporary is not None:
            return Path(self._temporary.name)
        if self._given is not None:
            self._given.mkdir(parents=True, exist_ok=True)
        return self._given

    def __exit__(self, *_: object) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()


def _resume(
    toy_folder: Path, model: Model, events: RatioColumns | None, task: Task,
    generator: Generator | str | None,
) -> dict[int, dict[str, Any]]:  # fmt: skip
    """Toys that are there, if they are toys of this task."""
    header = {
        "truth": dict(task.truth), "seed": task.seed, "tests": [dict(t) for t in task.tests],
        "fixed": dict(task.fixed), "engine": task.engine, "generator": _name_of(generator),
        "model": _fingerprint(model),
        "reference": None if events is None else events.sha256(),
    }  # fmt: skip
    file = toy_folder / _HEADER
    if not file.exists():
        file.write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
        return {}
    before = json.loads(file.read_text(encoding="utf-8"))
    for key, value in json.loads(json.dumps(header)).items():
        if before.get(key) != value:
            message = (
                f"{toy_folder} holds toys of another {key}: {str(before.get(key))[:80]}, not "
                f"{str(value)[:80]}; use another folder"
            )
            raise StateError(message)
    return ToyFiles(toy_folder).update()


def _name_of(generator: Generator | str | None) -> str | None:
    if generator is None or isinstance(generator, str):
        return generator
    return f"{generator.__module__}:{getattr(generator, '__qualname__', '?')}"


def _fingerprint(model: Model) -> str:
    with tempfile.TemporaryDirectory() as folder:
        text = write(Path(folder) / "model.json", model, {}).read_bytes()
    return hashlib.sha256(text).hexdigest()
