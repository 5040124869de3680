"""A sample: files that belong together, and everything that was stated about their events."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import numpy as np

from rootml._internal.validators import check_choice
from rootml.dataset._splits import Split
from rootml.errors import SchemaError, UsageError
from rootml.execution import ProcessLock
from rootml.expressions import Dialect, from_draw
from rootml.files import MatchedFriends
from rootml.files._files import FileInfo, Files

Number: TypeAlias = "int | float"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Filter:
    """A cut, and what it is called in the cutflow; `level` as that of `Define`."""

    name: str
    text: str
    level: int = 0


def among_friends(friends: MatchedFriends, level: int = 0) -> Filter:
    """The cut that drops what the friends lack."""
    return Filter(f"among the friends {friends.alias}", friends.flag, level)


@dataclass(frozen=True, slots=True)
class Define:
    """A derived column.

    Attributes:
        missing: What events get that lack an element; None: an error.
        level: Calls of `Dataset.redefine` before this text was given: it sees what those gave.
        replaces: A redefinition: texts of higher levels see it in the place of what was there.
    """

    name: str
    text: str
    missing: Number | None = None
    level: int = 0
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What the weights of a sample are scaled to: ``cross_section * luminosity``.

    Attributes:
        cross_section: In the inverse of the unit of `luminosity`.
        sum_of_weights: A number, ``"tree:expression"``, or an expression of the events.
    """

    cross_section: float | None
    luminosity: float | None
    sum_of_weights: float | str

    def scale(self, total: float) -> float:
        """The factor for weights whose sum is `total`."""
        factors = (self.cross_section, self.luminosity)
        return math.prod(1.0 if factor is None else factor for factor in factors) / total


_ALIAS = re.compile(r"\s*(?P<name>[A-Za-z_][\w.]*)\s*=(?!=)\s*(?P<text>.+)", re.DOTALL)

_IN_TREE = re.compile(r"(?P<tree>[\w./;-]+):(?!:)(?P<text>.+)", re.DOTALL)

Cut: TypeAlias = "Filter | Split"


def check_dialect(dialect: Any) -> Dialect:
    """The dialect, if it is one.

    Raises:
        UsageError: It is not.
    """
    return "draw" if check_choice("dialect", dialect, ["rootml", "draw"]) == "draw" else "rootml"


def check_named(outputs: Iterable[str]) -> None:
    """Refuse columns without a name that the dialect "draw" would compute in another way.

    Raises:
        UsageError: There is one.
    """
    for text in outputs:
        if not re.fullmatch(r"[\w.]+", text):
            message = f'give the column {text!r} a name with dialect="draw": "name = {text}"'
            raise UsageError(message)


def translated(text: T, dialect: Dialect, *, cut: bool = False) -> T:
    """A text in the spelling of rootml; anything else, such as a number, as it is."""
    if dialect == "draw" and isinstance(text, str):
        return from_draw(text, cut=cut)  # type: ignore[return-value]
    return text


class ScaleCache:
    """Scales of the weights of a sample and of all samples made from it, each computed once.

    `functools.cached_property` would not do: before Python 3.12 all samples share one lock, and
    the threads that sum up weights need the scale of another sample.
    """

    def __init__(self) -> None:
        self._lock = ProcessLock()
        self._found: dict[Any, float] = {}

    def find(self, key: Any, compute: Callable[[], float]) -> float:
        """The scale that belongs to `key`; `compute` is called the first time."""
        with self._lock:
            if key not in self._found:
                self._found[key] = compute()
            return self._found[key]


@dataclass(frozen=True)
class Sample:
    """Files of one kind of events: the unit of labels, weights and normalisation.

    Attributes:
        title: What the user gave for the files, for messages.
        definitions: Derived columns; the order does not matter.
        cuts: Cuts and sides of splits, in the order in which they were asked for.
        outputs: Names or expressions of the selected columns; None: all.
        label: A number, or the text of an expression; None: no label.
        weight: A number, or the text of an expression; None: 1.
        entry_range: Entries of the sample, counted over its files; None: from the begin, to the
            end.
        suffixes: Systematic variations: a column X is read as X + suffix where there is one.
        label_level, weight_level: As `Define.level`.
        dialect: What the texts of later steps are written in; those that are here are rootml's.
    """

    files: Files
    title: str
    definitions: tuple[Define, ...] = ()
    cuts: tuple[Cut, ...] = ()
    outputs: tuple[str, ...] | None = None
    label: Number | str | None = None
    weight: Number | str | None = None
    normalisation: Normalisation | None = None
    entry_range: tuple[int | None, int | None] = (None, None)
    suffixes: tuple[str, ...] = ()
    scales: ScaleCache = field(default_factory=ScaleCache, compare=False, repr=False)
    dialect: Dialect = field(default="rootml", compare=False, repr=False)
    label_level: int = 0
    weight_level: int = 0

    @property
    def level(self) -> int:
        """How often columns were redefined."""
        return max((define.level + 1 for define in self.definitions if define.replaces), default=0)

    @property
    def constant_label(self) -> float | None:
        """The label, if it is one number for the whole sample."""
        return None if self.label is None or isinstance(self.label, str) else float(self.label)

    @property
    def weighted(self) -> bool:
        """Whether events of this sample have weights other than 1."""
        return self.weight is not None or self.normalisation is not None

    def __str__(self) -> str:
        return self.title

    def to_sum(self, what: str) -> Sample:
        """The sample whose weights add up to this one's `Normalisation.sum_of_weights`.

        All entries count: no cuts and no entry range. Weights are nominal whatever `suffixes`
        say, else the variation of a weight would cancel.

        Args:
            what: ``"tree:expression"``: over another tree of the same files; or an expression of
                the events. ``"weight"`` is this sample's own weight, unless there is such a
                column.
        """
        match = _IN_TREE.fullmatch(what)
        if match and what not in self.files.columns:
            files = self.files.with_tree(match["tree"], friends=False)
            return Sample(files, f"{self.title}, sum_of_weights={what!r}", weight=match["text"])
        text = what
        if what == "weight" and what not in self.files.columns:
            text = "1" if self.weight is None else str(self.weight)
        return Sample(
            self.files, self.title, definitions=self.definitions, weight=text,
            weight_level=self.weight_level,
        )  # fmt: skip

    def file_ranges(self, infos: Sequence[FileInfo]) -> list[tuple[int, int, int]]:
        """``(file, start, stop)`` of each file within `entry_range`.

        Raises:
            UsageError: The range goes beyond the entries of the sample.
        """
        edges = np.cumsum([0, *(info.num_entries for info in infos)]).tolist()
        first, last = self.entry_range
        first, last = first or 0, edges[-1] if last is None else last
        if last > edges[-1] or first > edges[-1]:
            message = (
                f"{self.title}: entry_range={self.entry_range} goes beyond the "
                f"{edges[-1]:,} entries of its {len(infos)} file(s)"
            )
            raise UsageError(message)
        ranges = []
        for number, (begin, end) in enumerate(itertools.pairwise(edges)):
            start, stop = max(first, begin), min(last, end)
            if start < stop:
                ranges.append((number, start - begin, stop - begin))
        return ranges


def check_entry_range(entry_range: Any) -> tuple[int | None, int | None]:
    """`entry_range` as a pair.

    Raises:
        UsageError: Not ``(start, stop)`` with 0 <= start <= stop.
    """
    if entry_range is None:
        return None, None
    try:
        start, stop = entry_range
    except (TypeError, ValueError):
        start = stop = ""  # refused below
    good = all(
        end is None or (isinstance(end, (int, np.integer)) and not isinstance(end, bool))
        for end in (start, stop)
    )
    if not good or (start or 0) < 0 or (stop is not None and stop < (start or 0)):
        message = (
            f"entry_range is (start, stop) with 0 <= start <= stop or None, not {entry_range!r}"
        )
        raise UsageError(message)
    return (None if start is None else int(start)), (None if stop is None else int(stop))


def check_value(value: Any, what: str) -> Number | str | None:
    """A label or weight as the user may give it: a number or the text of an expression.

    Raises:
        UsageError: Something else, or a number that is not finite.
    """
    if value is None or (isinstance(value, str) and value.strip()):
        return value.strip() if isinstance(value, str) else None
    whole = isinstance(value, (bool, np.bool_, int, np.integer))
    if whole and -(2**63) <= int(value) < 2**63:
        return int(value)
    if isinstance(value, (float, np.floating)) and math.isfinite(value):
        return float(value)
    kind = "a number of at most 64 bits" if whole else "a finite number"
    message = f"{what} must be {kind}, a column or an expression, not {value!r}"
    raise UsageError(message)


def check_normalisation(
    cross_section: Any, luminosity: Any, sum_of_weights: Any
) -> Normalisation | None:
    """The three arguments that scale the weights, checked together.

    Raises:
        UsageError: One without another that it needs, or not a finite number.
    """
    if cross_section is None and luminosity is None and sum_of_weights is None:
        return None
    for name, value in (("cross_section", cross_section), ("luminosity", luminosity)):
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if value is not None and not (number and math.isfinite(value)):
            message = f"{name} must be a finite number, not {value!r}"
            raise UsageError(message)
    if luminosity is not None and cross_section is None:
        message = "luminosity= needs cross_section="
        raise UsageError(message)
    total = check_value(sum_of_weights, "sum_of_weights")
    if total is None:
        message = (
            "cross_section= needs sum_of_weights=: a number, where it is written "
            "('Runs:genEventSumw'), or what to sum over all events of the files (e.g. 'genWeight',"
            " or 'weight' for the weight of this sample)"
        )
        raise UsageError(message)
    total = total if isinstance(total, str) else float(total)
    return Normalisation(
        None if cross_section is None else float(cross_section),
        None if luminosity is None else float(luminosity),
        total,
    )


def checked_text(text: Any, wanted: str) -> str:
    """`text` without space around it.

    Raises:
        UsageError: Not a text, or an empty one.
    """
    if not isinstance(text, str) or not text.strip():
        message = f"{wanted}, not {text!r}"
        raise UsageError(message)
    return text.strip()


def extended(sample: Sample, new: Sequence[Define]) -> tuple[Define, ...]:
    """The definitions of a sample and new ones; re-adding an identical definition is a no-op.

    Raises:
        UsageError: A name that means something else already, or none.
    """
    found = list(sample.definitions)
    known = {define.name: define for define in found}
    for define in new:
        if not define.name:
            message = f"a name for {define.text!r} is missing"
            raise UsageError(message)
        before = known.get(define.name)
        if before is None or define.replaces:
            found.append(define)
        elif before != define:
            message = (
                f"{define.name!r} is defined already, as {before.text!r}; choose another name for "
                f"{define.text!r}, or replace it with redefine()"
            )
            raise UsageError(message)
        known[define.name] = define
    return tuple(found)


def check_fit(one: Sample, other: Sample) -> None:
    """See that two samples can be united.

    Raises:
        SchemaError: Different columns are selected, or only one has a label.
    """
    if (one.outputs is None) != (other.outputs is None):
        with_, without = (one, other) if one.outputs is not None else (other, one)
        message = (
            f"columns are selected of {with_} and not of {without}: select the same of both, or "
            "after uniting them"
        )
        raise SchemaError(message)
    if one.outputs is not None and other.outputs is not None:
        mine, theirs = set(one.outputs), set(other.outputs)
        if mine != theirs:
            message = (
                f"different columns are selected: {one} has {sorted(mine - theirs)} that {other} "
                f"has not, which has {sorted(theirs - mine)} instead"
            )
            raise SchemaError(message)
    if (one.label is None) != (other.label is None):
        with_, without = (one, other) if one.label is not None else (other, one)
        message = f"{with_} has a label and {without} has none: give label= to both or to none"
        raise SchemaError(message)


def parse_selection(
    columns: str | Iterable[str] | None, more: Mapping[str, str]
) -> tuple[list[Define], tuple[str, ...]]:
    """What `Dataset.select` takes, as new definitions and the names or texts of the outputs.

    Raises:
        UsageError: Nothing, something that is not a string, or a repeated name.

    >>> parse_selection(["pt", "twice = 2 * pt"], {})[1]
    ('pt', 'twice')
    """
    new, outputs = [], []
    for item in [columns] if isinstance(columns, str) else list(columns or ()):
        text = checked_text(item, "select() takes names and expressions")
        match = _ALIAS.fullmatch(text)
        if match:
            new.append(Define(match["name"], match["text"].strip()))
        outputs.append(match["name"] if match else text)
    new += [Define(name, checked_text(text, f"select({name}=)")) for name, text in more.items()]
    outputs += more
    if not outputs or len(set(outputs)) != len(outputs):
        twice = sorted({name for name in outputs if outputs.count(name) > 1})
        message = f"select(): {f'{twice} twice' if twice else 'no columns'}"
        raise UsageError(message)
    return new, tuple(outputs)
