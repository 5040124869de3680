"""From an analysis file to samples and steps, checked as far as it can be without reading events.

::

    [sample.NAME]   keys of [[sample]] of a dataset file
    [step.NAME]     kind = ..., and the settings of that kind
    define, cuts    of all samples
    [split]         test = 0.25, by = [...]
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rootml._internal.validators import check_whole
from rootml.analysis._samples import Samples, SplitSettings
from rootml.analysis._settings import check_keys, read_settings
from rootml.analysis._step import Selecting, Step
from rootml.analysis.steps import KINDS
from rootml.errors import CorruptFileError, RootmlError, UsageError, nearest
from rootml.storage import missing_file
from rootml.toml._read import read_sample

_TOP = ("cuts", "define", "output", "sample", "seed", "split", "step", "title")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
RESERVED = ("all", "report")


@dataclass(frozen=True)
class Description:
    """What an analysis file says.

    Attributes:
        path: The file.
        sha256: Of its content.
        title: For the report.
        output: Folder of all results.
        seed: Of everything that is random.
        samples: With the selection of the analysis.
        steps: In the order in which they run: each behind those that it needs.
        contents: The table of each step, as it is written.
    """

    path: Path
    sha256: str
    title: str
    output: Path
    seed: int
    samples: Samples
    steps: dict[str, Step]
    contents: dict[str, dict[str, Any]]


def read(path: Path) -> Description:
    """The description that a file holds.

    Raises:
        MissingFileError: No such file, or it names files that do not exist.
        CorruptFileError: Not TOML; says in which line.
        UsageError: A key, a kind, a sample or a step that is not known (names the nearest), a
            value of another type, or steps that need each other in a circle.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise missing_file(str(path)) from None
    except IsADirectoryError:
        message = f"{str(path)!r} is a folder, not an analysis file"
        raise UsageError(message) from None
    try:
        content = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"{path} is not TOML: {error}"
        raise CorruptFileError(message) from None
    try:
        return _Reader(path, content).description(hashlib.sha256(data).hexdigest())
    except RootmlError as error:
        if str(error).startswith(str(path)):
            raise
        message = f"{path}: {error}"
        raise type(error)(message) from error


class _Reader:
    """Reads the content of one file."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.path = path
        self.content = content
        self.folder = path.absolute().parent

    def description(self, sha256: str) -> Description:
        check_keys(self.content, _TOP, "the top")
        seed = check_whole("seed", self.content.get("seed", 0), minimum=0)
        contents = self.tables("step")
        samples = Samples(self.samples(), self.split(), seed)
        steps = {name: self.step(name, table) for name, table in contents.items()}
        for name, step in steps.items():
            _check_references(name, step, steps, samples)
        return Description(
            self.path, sha256, self.text("title", self.path.stem),
            self.folder / self.text("output", f"{self.path.stem}-output"), seed, samples,
            in_order(steps), contents,
        )  # fmt: skip

    def text(self, key: str, default: str) -> str:
        value = self.content.get(key, default)
        if not isinstance(value, str) or not value.strip():
            message = f"{key}={value!r}: expected a text"
            raise UsageError(message)
        return value

    def tables(self, key: str) -> dict[str, dict[str, Any]]:
        """The tables ``[key.NAME]``."""
        found = self.content.get(key, {})
        good = isinstance(found, Mapping) and all(isinstance(v, Mapping) for v in found.values())
        if not good or not found:
            message = f"[{key}.NAME]: missing; an analysis needs at least one"
            raise UsageError(message)
        for name in found:
            if _NAME.fullmatch(name) is None or name in RESERVED:
                message = (
                    f"[{key}.{name}]: letters, digits, _ and - are allowed in names, and "
                    f"{' and '.join(RESERVED)} are not"
                )
                raise UsageError(message)
        return {name: dict(table) for name, table in found.items()}

    def samples(self) -> dict[str, Any]:
        head = {key: self.content[key] for key in ("define", "cuts") if key in self.content}
        return {
            name: read_sample(
                {"title": name, **table}, head=head, where=str(self.path),
                about=f"[sample.{name}]", folder=self.folder,
            )
            for name, table in self.tables("sample").items()
        }  # fmt: skip

    def split(self) -> SplitSettings | None:
        table = self.content.get("split")
        if table is None:
            return None
        if not isinstance(table, Mapping):
            message = f"split={table!r}: expected a table, [split]"
            raise UsageError(message)
        return read_settings(SplitSettings, table, "[split]")

    def step(self, name: str, table: Mapping[str, Any]) -> Step:
        about, kind = f"[step.{name}]", table.get("kind")
        if kind not in KINDS:
            known = nearest(str(kind), KINDS, limit=len(KINDS))
            what = "kind = ... is missing" if kind is None else f"unknown kind {kind!r}"
            message = f"{about}: {what}; nearest: {known}"
            raise UsageError(message)
        rest = {key: value for key, value in table.items() if key != "kind"}
        step = read_settings(KINDS[kind], rest, about)
        if step.needs_split() and "split" not in self.content:
            message = (
                f"{about}: a step of kind {kind!r} is for events that nothing was trained on: say "
                "how to divide them, [split] with test = 0.25"
            )
            raise UsageError(message)
        return step


def _check_references(name: str, step: Step, steps: Mapping[str, Step], samples: Samples) -> None:
    """See that what a step names is there, and of the kind that it needs.

    Raises:
        UsageError: It is not; names the nearest.
    """
    about = f"[step.{name}]"
    for sample in step.sample_names():
        if sample not in samples.datasets:
            known = nearest(sample, samples.datasets, limit=6)
            message = f"{about}: no sample {sample!r}; nearest: {known}"
            raise UsageError(message)
    for other, kinds in step.references().items():
        if other not in steps:
            message = f"{about}: no step {other!r}; nearest: {nearest(other, steps, limit=6)}"
            raise UsageError(message)
        if steps[other].kind not in kinds:
            wanted = " or ".join(map(repr, kinds))
            message = (
                f"{about}: the step {other!r} is of kind {steps[other].kind!r}, where one of kind "
                f"{wanted} is needed"
            )
            raise UsageError(message)
    if isinstance(step, Selecting):
        for other in step.friends:
            lost = sorted(set(step.sample_names()) - set(steps[other].sample_names()))
            if lost:
                message = (
                    f"{about}: the step {other!r} gives no scores for {lost}: add them to its "
                    "samples"
                )
                raise UsageError(message)


def in_order(steps: Mapping[str, Step]) -> dict[str, Step]:
    """The steps, each behind those that it needs; else in the order of the file.

    Raises:
        UsageError: Some need each other in a circle.
    """
    done: dict[str, Step] = {}
    while len(done) < len(steps):
        ready = [n for n in steps if n not in done and set(steps[n].references()) <= done.keys()]
        if not ready:
            message = f"steps that need each other: {' -> '.join(_circle(steps, done))}"
            raise UsageError(message)
        done[ready[0]] = steps[ready[0]]
    return done


def _circle(steps: Mapping[str, Step], done: Mapping[str, Step]) -> list[str]:
    """One circle among the steps that are not done."""
    path = [next(name for name in steps if name not in done)]
    while True:
        needed = next(name for name in steps[path[-1]].references() if name not in done)
        if needed in path:
            return [*path[path.index(needed) :], needed]
        path.append(needed)
