"""Runs the steps of an analysis that are not up to date.

::

    for each step, behind those that it needs:
        inputs = settings, samples, results of other steps, seed, versions
        record = what the step wrote down when it ran last
        outputs are not as in the record       -> an error: somebody changed them
        inputs are those of the record         -> skip
        else run it in a hidden folder, write the record, give the folder its name

A step whose inputs were made anew, but came out the same, is skipped.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rootml._internal.progress import working
from rootml._internal.provenance import stamped
from rootml.analysis._read import Description
from rootml.analysis._record import Record, digest, files_in, read_record, replace_folder
from rootml.analysis._report import Report
from rootml.analysis._software import commit, environment, versions
from rootml.analysis._step import Context, Step
from rootml.errors import (
    ChangedFileError,
    CorruptFileError,
    RootmlError,
    StateError,
    UsageError,
    nearest,
)

_log = logging.getLogger(__name__)
REPORT = "report"


@dataclass(frozen=True)
class Planned:
    """What is to be done about a step.

    Attributes:
        name, kind: Of the step.
        action: "skip"; "run"; "perhaps": only if a step that it needs gives another result; or
            "left out", by ``only=``.
        reason: Why.
    """

    name: str
    kind: str
    action: Literal["skip", "run", "perhaps", "left out"]
    reason: str


@dataclass(frozen=True)
class Ended:
    """How a step ended.

    Attributes:
        name, kind: Of the step.
        ran: False: it was up to date.
        seconds: How long it took.
        record: What was written down.
    """

    name: str
    kind: str
    ran: bool
    seconds: float
    record: Record


class Runner:
    """Plans and runs the steps of one analysis."""

    def __init__(self, description: Description) -> None:
        self.description = description
        self.steps: dict[str, Step] = {
            **description.steps,
            REPORT: Report(
                title=description.title,
                samples=tuple(description.samples.datasets),
                steps=tuple(description.steps),
            ),
        }

    def folder(self, name: str) -> Path:
        """Where the files of a step are."""
        return self.description.output / name

    def chosen(self, names: Collection[str], what: str) -> tuple[str, ...]:
        """Names of steps, checked; "all" stands for all of them.

        Raises:
            UsageError: No such step; names the nearest.
        """
        for name in names:
            if name != "all" and name not in self.steps:
                known = nearest(name, self.steps, limit=6)
                message = f"{what}: no step {name!r}; nearest: {known}"
                raise UsageError(message)
        return tuple(self.steps) if "all" in names else tuple(names)

    # --- what is to be done ----------------------------------------------------------------------

    def plan(self, *, only: Collection[str] = (), force: Collection[str] = ()) -> list[Planned]:
        """What `run` would do, as far as it can be known before.

        Raises:
            ChangedFileError: Outputs were changed by hand; names them.
            RootmlError: Columns that are not there, files that cannot be read.
        """
        wanted, forced = self.chosen(only, "only"), self.chosen(force, "force")
        self._check_columns()
        needed = {other for name in wanted for other in self.steps[name].references()}
        found: dict[str, Planned] = {}
        for name, step in self.steps.items():
            if wanted and name not in wanted:
                planned = self._left_out(name, step, needed=name in needed)
            else:
                planned = self._planned(name, step, forced, found)
            found[name] = planned
        self._check_needed(found, wanted)
        return list(found.values())

    def _left_out(self, name: str, step: Step, *, needed: bool) -> Planned:
        if not needed:
            return Planned(name, step.kind, "left out", "")
        record = self._record(name, forced=False)
        reason = "has never run" if record is None else self._difference(name, step, record)
        return Planned(name, step.kind, "left out", reason)

    def _planned(
        self, name: str, step: Step, forced: Collection[str], before: Mapping[str, Planned]
    ) -> Planned:
        record = self._record(name, forced=name in forced)
        waits = [n for n in step.references() if before[n].action in {"run", "perhaps"}]
        if name in forced:
            return Planned(name, step.kind, "run", "forced")
        if record is None:
            return Planned(name, step.kind, "run", "has never run")
        if reason := self._difference(name, step, record):
            return Planned(name, step.kind, "run", reason)
        if waits:
            text = f"if {' or '.join(waits)} gives another result"
            return Planned(name, step.kind, "perhaps", text)
        return Planned(name, step.kind, "skip", "up to date")

    def _check_needed(self, found: Mapping[str, Planned], wanted: Collection[str]) -> None:
        """See that what chosen steps need is there, if it is not run as well.

        Raises:
            StateError: It is not.
        """
        for name in wanted:
            for other in self.steps[name].references():
                planned = found[other]
                if planned.action == "left out" and planned.reason:
                    message = (
                        f"the step {name!r} needs {other!r}, which is not up to date "
                        f"({planned.reason}): run it too"
                    )
                    raise StateError(message)

    def _record(self, name: str, *, forced: bool) -> Record | None:
        """The record of a step whose outputs are as it wrote them.

        Raises:
            ChangedFileError: They are not, and the step is not forced.
        """
        folder = self.folder(name)
        try:
            record = read_record(folder)
        except RootmlError:
            if forced:
                return None
            raise
        changed = [] if record is None or forced else record.changed(folder)
        if changed:
            files = ", ".join(str(folder / each) for each in changed[:4])
            message = (
                f"the step {name!r} did not write what is in {files}: it was changed by hand, or "
                "by another program. Steps that use it would give results that nobody can "
                f"repeat. Put the old file back, or keep yours elsewhere and make it anew by "
                f"forcing the step (force=[{name!r}])"
            )
            raise ChangedFileError(message)
        return record

    def _difference(self, name: str, step: Step, record: Record) -> str:
        """Why a step is not up to date, in words; empty if it is."""
        if gone := record.missing(self.folder(name)):
            return f"{gone[0]} is gone"
        return difference(record.inputs, self.inputs(name, step))

    def _check_columns(self) -> None:
        """See that the columns of all steps are there, but scores that are still to be made.

        Raises:
            RootmlError: They are not; says which step asks for them.
        """
        for name, step in self.description.steps.items():
            friends = [self.description.steps[each] for each in getattr(step, "friends", ())]
            future = {score for each in friends for score in getattr(each, "models", ())}
            for sample in step.sample_names():
                data = self.description.samples[sample]
                for text in step.texts():
                    if not future & words_of(text):
                        with self._located(name):
                            data.select([text]).types()

    # --- inputs ----------------------------------------------------------------------------------

    def inputs(self, name: str, step: Step) -> dict[str, Any]:
        """All that the result of a step depends on; of steps that have not run, None."""
        split = self.description.samples.split
        contents = self.description.contents
        return {
            "settings": _plain(contents.get(name, {"title": self.description.title})),
            "seed": self.seed(name),
            "split": None if split is None else _plain(asdict(split)),
            "samples": {each: self._fingerprint(each) for each in step.sample_names()},
            "steps": {each: self._digest(each) for each in step.references()},
            "versions": versions(step.packages),
        }

    @functools.cache  # noqa: B019 - a runner lives as long as a command
    def _fingerprint(self, sample: str) -> str:
        return self.description.samples[sample].fingerprint

    def _digest(self, name: str) -> str | None:
        try:
            record = read_record(self.folder(name))
        except CorruptFileError:  # the step itself is refused, or forced
            return None
        return None if record is None else record.digest

    def seed(self, name: str) -> int:
        """Of a step: a hash of the seed of the analysis and of the name."""
        text = f"{self.description.seed}:{name}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little") >> 1

    # --- running ---------------------------------------------------------------------------------

    def run(
        self,
        *,
        only: Collection[str] = (),
        force: Collection[str] = (),
        progress: bool | None = None,
        on_begin: Callable[[Planned], None] | None = None,
        on_end: Callable[[Ended], None] | None = None,
    ) -> list[Ended]:
        """Run what is to be run; how each step ended. What is finished stays, whatever comes.

        Raises:
            RootmlError: As `plan`, or of a step; says which.
        """
        ended = []
        self.description.output.mkdir(parents=True, exist_ok=True)
        with locked(self.description.output / ".lock"):
            planned = {each.name: each for each in self.plan(only=only, force=force)}
            for name, step in self.steps.items():
                if planned[name].action == "left out":
                    continue
                one = self._one(name, step, planned[name], progress, on_begin)
                ended.append(one)
                if on_end is not None:
                    on_end(one)
        return ended

    def _one(
        self, name: str, step: Step, planned: Planned, progress: bool | None,
        on_begin: Callable[[Planned], None] | None,
    ) -> Ended:  # fmt: skip
        forced = planned.reason == "forced"
        record = self._record(name, forced=forced)
        if record is not None and not forced and not self._difference(name, step, record):
            return Ended(name, step.kind, False, 0.0, record)
        if on_begin is not None:
            on_begin(planned)
        begun = time.monotonic()
        made = self._make(name, step, record, progress, anew=forced)
        return Ended(name, step.kind, True, time.monotonic() - begun, made)

    def _make(
        self, name: str, step: Step, before: Record | None, progress: bool | None, *, anew: bool
    ) -> Record:
        """Run a step in a hidden folder, or take what an interrupted run has finished there."""
        inputs = self.inputs(name, step)
        folder = self.description.output / f".{name}-{digest(inputs)[:12]}.part"
        for other in self.description.output.glob(f".{name}-*.part"):
            if other != folder or anew:
                shutil.rmtree(other)
        record = read_record(folder)
        if record is None:
            folder.mkdir(exist_ok=True)
            record = self._execute(name, step, folder, inputs, progress)
        replace_folder(folder, self.folder(name), {} if before is None else before.outputs)
        return record

    def _execute(
        self, name: str, step: Step, folder: Path, inputs: dict[str, Any], progress: bool | None
    ) -> Record:
        begun, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
        analysis = {"file": self.description.path.name, "sha256": self.description.sha256}
        git = commit(self.description.path.absolute().parent)
        stamp = {
            "step": name, "kind": step.kind, "analysis": analysis, "git": git,
            "seed": inputs["seed"], "inputs": digest(inputs), "software": inputs["versions"],
        }  # fmt: skip
        context = Context(
            name, folder, self.seed(name), self.description.samples, self.steps, self.result,
            stamp, progress,
        )  # fmt: skip
        written = {key: value for key, value in stamp.items() if key != "inputs"}
        with self._located(name), stamped(**written), working(name, enabled=progress):
            outcome = step.run(context)
        more = {
            **stamp, "software": environment(step.packages),
            "files": {each: self.description.samples.files(each) for each in step.sample_names()},
            "begun": begun.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 3),
        }  # fmt: skip
        more.pop("inputs")
        told = {"facts": [list(each) for each in outcome.facts], "tables": list(outcome.tables),
                "problems": list(outcome.problems), "notes": list(outcome.notes)}  # fmt: skip
        record = Record(inputs, files_in(folder), told, more)
        record.write(folder)
        return record

    def result(self, name: str) -> Any:
        """The result of a step, opened.

        Raises:
            UsageError: No such step.
            StateError: It has not run.
        """
        (name,) = self.chosen([name], "result")
        folder = self.folder(name)
        if self._record(name, forced=False) is None:
            message = f"the step {name!r} has not run: there is no {folder}"
            raise StateError(message)
        return self.steps[name].open(folder)

    @contextlib.contextmanager
    def _located(self, name: str) -> Iterator[None]:
        """Errors say which step they are of."""
        try:
            yield
        except RootmlError as error:
            message = f"{self.description.path}: [step.{name}]: {error}"
            raise type(error)(message) from error


def words_of(text: str) -> set[str]:
    """Names in an expression.

    >>> sorted(words_of("score = forest > 0.5"))
    ['forest', 'score']
    """
    cleaned = "".join(c if c.isalnum() or c == "_" else " " for c in text)
    return {word for word in cleaned.split() if not word[0].isdigit()}


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is not as it was, in words; empty if all is.

    >>> difference({"seed": 1, "settings": {"rounds": 5}}, {"seed": 1, "settings": {"rounds": 6}})
    'changed: rounds'
    """
    found = []
    for key, value in now.items():
        if before.get(key) == value:
            continue
        old = before.get(key)
        if not isinstance(value, Mapping) or not isinstance(old, Mapping):
            found.append(key)
            continue
        names = [n for n in {**old, **value} if old.get(n) != value.get(n)]
        word = {"samples": "sample ", "steps": "result of ", "versions": "version of "}
        found += [f"{word.get(key, '')}{name}" for name in names]
    return f"changed: {', '.join(found)}" if found else ""


def _plain(content: Any) -> Any:
    """As JSON gives it back: lists for tuples."""
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_plain(each) for each in content]
    return content if isinstance(content, (bool, int, float, str, type(None))) else str(content)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process works in a folder.

    Raises:
        StateError: Another one does.
    """
    try:
        import fcntl
    except ImportError:  # a system without it
        yield
        return
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            message = f"{str(path.parent)!r} is being written by another `rootml run`: wait for it"
            raise StateError(message) from None
        yield
