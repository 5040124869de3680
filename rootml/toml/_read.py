"""From TOML to a dataset.

::

    for each [[sample]]:  files, label, weight, ... as rootml.open; then its define, cuts, select
    then define, cuts, select of all samples
    + unites them

Nothing is read from the files of events; their names are looked up, as `rootml.open` does.
"""

from __future__ import annotations

import functools
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from rootml._internal.event_hash import RANGE, check_by
from rootml._internal.urls import is_remote
from rootml._internal.validators import check_choice
from rootml.dataset._opening import _title
from rootml.dataset._sample import (
    Define,
    Filter,
    Sample,
    among_friends,
    check_entry_range,
    check_normalisation,
    check_value,
    extended,
    parse_selection,
)
from rootml.dataset._splits import Split, check_seed, fold_sides, split_sides
from rootml.errors import CorruptFileError, RootmlError, UsageError, nearest
from rootml.files._files import Files, FileSpec
from rootml.files._friends import FriendLink, match_friends
from rootml.files._matching import UNMATCHED, MatchedFriends, matched_friends
from rootml.storage import Remote, expand_paths
from rootml.storage._paths import Url, missing_file
from rootml.toml._remote import CACHE, REMOTE, from_table
from rootml.toml._write import FORMAT, VERSION

if TYPE_CHECKING:
    from rootml.dataset import Dataset

T = TypeVar("T")

_CHANGES = {"cuts", "define", "select"}
_HEAD = {"format", "version", "sample"} | _CHANGES
_SAMPLE = _CHANGES | {
    "by", "cross_section", "entries", "files", "friends", "label", "luminosity", "matched",
    "remote", "sum_of_weights", "title", "unmatched", "vary", "weight",
}  # fmt: skip
_EXACT = {"by", "outside", "seed", "split", "start", "stop", "stream"}
_FRACTIONS = {"by", "seed", "split", "test", "validation"}
_FOLDS = {"by", "fold", "of", "seed", "side"}


def _by_ids(table: Mapping[str, Any]) -> bool:
    """Whether the friends of a sample are matched by ids."""
    return "by" in table or "unmatched" in table


def load(path: str | os.PathLike[str], *, headers: Mapping[str, str] | None = None) -> Dataset:
    """The dataset that a TOML file describes; reads no events.

    Args:
        headers: Values of the headers that the file names for requests to web servers (key
            `remote` of a sample), which it does not hold itself, for they are secrets.

    Raises:
        MissingFileError: No such file, or it names files that do not exist.
        CorruptFileError: Not TOML; says in which line.
        UsageError: An unknown key or an invalid value; the message names it. A header that the
            file names and that is not given, or the other way round.
        ExpressionError: A cut or definition that cannot be parsed.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise missing_file(str(path)) from None
    except IsADirectoryError:
        message = f"{str(path)!r} is a folder, not a TOML file"
        raise UsageError(message) from None
    except UnicodeDecodeError as error:
        message = f"{str(path)!r} is not a TOML file: it is not UTF-8 text ({error})"
        raise CorruptFileError(message) from None
    return _Reader(str(path), path.absolute().parent, headers).dataset(text)


def loads(
    text: str,
    *,
    folder: str | os.PathLike[str] = ".",
    headers: Mapping[str, str] | None = None,
) -> Dataset:
    """The dataset that a TOML text describes; see `load`.

    Args:
        folder: What relative paths of files belong to.
        headers: As for `load`.

    >>> import pyarrow as pa, pyarrow.parquet
    >>> pa.parquet.write_table(pa.table({"pt": [10.0, 60.0, 35.0]}), "events.parquet")
    >>> data = loads('''
    ... cuts = ["pt > 30"]
    ... [[sample]]
    ... files = "events.parquet"
    ... label = 1
    ... ''')
    >>> data.to_awkward().tolist()
    [{'pt': 60.0}, {'pt': 35.0}]
    """
    return _Reader("the TOML text", Path(folder).absolute(), headers).dataset(text)


def read_sample(
    table: Mapping[str, Any], *, head: Mapping[str, Any], where: str, about: str, folder: Path
) -> Dataset:
    """The dataset of one table, as ``[[sample]]`` of a file, with what the top of the file adds.

    Args:
        head: ``define``, ``cuts``, ``select`` of all samples.
        where, about: What errors call the file and the table.
        folder: What relative paths belong to.
    """
    from rootml.dataset import Dataset

    reader = _Reader(where, folder, None)
    data = Dataset([reader.sample(table, about, head)])
    reader.check_syntax(data)
    return data


class _Reader:
    """Reads one text; `where` is what errors call it, `folder` what paths belong to."""

    def __init__(self, where: str, folder: Path, headers: Mapping[str, str] | None) -> None:
        self.where = where
        self.folder = folder
        self.headers = {} if headers is None else dict(headers)
        self.named: set[str] = set()

    def refuse(self, about: str, problem: str) -> NoReturn:
        message = f"{self.where}: {about}: {problem}"
        raise UsageError(message)

    def dataset(self, text: str) -> Dataset:
        from rootml.dataset import Dataset

        try:
            content = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            message = f"{self.where} is not TOML: {error}"
            raise CorruptFileError(message) from None
        self.check_head(content)
        samples = self.tables(content["sample"], "[[sample]]")
        parts = [
            Dataset([self.sample(table, f"[[sample]] {number}", content)])
            for number, table in enumerate(samples, 1)
        ]
        unknown = sorted(self.headers.keys() - self.named)
        if unknown:
            named = sorted(self.named)
            self.refuse(
                "headers", f"{unknown} are given, and no sample names them; named: {named}"
            )
        data = parts[0]
        for part in parts[1:]:
            data = data + part
        self.check_syntax(data)
        return data

    def check_syntax(self, data: Dataset) -> None:
        """Say now what cannot be parsed, as `Dataset.filter` and `Dataset.define` do."""
        for sample in data.samples:
            texts = [define.text for define in sample.definitions]
            texts += [cut.text for cut in sample.cuts if isinstance(cut, Filter)]
            for text in texts:
                self.checked(lambda: data._check_syntax(text), sample.title)  # noqa: B023 - at once

    def check_head(self, content: Mapping[str, Any]) -> None:
        self.check_keys(content, _HEAD, "the top")
        if content.get("format", FORMAT) != FORMAT:
            self.refuse("format", f"expected {FORMAT!r}, not {content['format']!r}")
        if content.get("version", VERSION) != VERSION:
            problem = f"{content['version']!r}; this rootml knows version {VERSION}"
            self.refuse("version", problem)
        if not content.get("sample"):
            problem = "missing; a dataset needs at least one, with files = ..."
            self.refuse("[[sample]]", problem)

    def check_keys(self, table: Mapping[str, Any], known: set[str], about: str) -> None:
        for key in table:
            if key not in known:
                near = nearest(key, known, limit=4)
                self.refuse(about, f"unknown key {key!r}; nearest: {near}")

    def tables(self, value: Any, about: str) -> list[Mapping[str, Any]]:
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            self.refuse(about, f"expected a list of tables, not {value!r}")
        return value

    def checked(self, check: Callable[[], T], about: str) -> T:
        """What `check` gives; its error says where in the file it arose."""
        try:
            return check()
        except RootmlError as error:
            if str(error).startswith(self.where):
                raise
            message = f"{self.where}: {about}: {error}"
            raise type(error)(message) from error

    # --- samples ------------------------------------------------------------------------------

    def sample(self, table: Mapping[str, Any], about: str, head: Mapping[str, Any]) -> Sample:
        self.check_keys(table, _SAMPLE, about)
        if "files" not in table:
            self.refuse(about, "files = ... is missing")
        remote = self.remote(table, f"{about}: remote")
        specs = self.checked(lambda: self.specs(table, about, remote), f"{about}: files")
        title = table.get("title", _title(table["files"], specs))
        if not isinstance(title, str):
            self.refuse(f"{about}: title", f"expected a text, not {title!r}")
        friends = self.by_ids(table, specs, about)
        exact = self.matched(table, about, remote)
        matched = (*friends, *exact)
        files = Files(replace(spec, matched=matched) for spec in specs)
        files._folder = str(self.folder)
        norm = [table.get(key) for key in ("cross_section", "luminosity", "sum_of_weights")]
        sample = Sample(
            files,
            title,
            label=self.value(table, "label", about),
            weight=self.value(table, "weight", about),
            normalisation=self.checked(lambda: check_normalisation(*norm), about),
            entry_range=self.entries(table, about),
            suffixes=tuple(self.texts(table.get("vary", []), f"{about}: vary")),
            cuts=tuple(among_friends(each) for each in friends if each.unmatched == "drop"),
        )
        sample = self.changed(self.changed(sample, table, about), head, "the top")
        self.check_dropped(sample, exact, f"{about}: matched")
        return sample

    def value(self, table: Mapping[str, Any], key: str, about: str) -> int | float | str | None:
        value = table.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float, str, type(None))):
            problem = f"expected a number, a column or an expression, not {value!r}"
            self.refuse(f"{about}: {key}", problem)
        return self.checked(lambda: check_value(value, key), about)

    def entries(self, table: Mapping[str, Any], about: str) -> tuple[int | None, int | None]:
        value = table.get("entries", {})
        if not isinstance(value, Mapping):
            problem = f"expected {{ start = 0, stop = 1000 }}, not {value!r}"
            self.refuse(f"{about}: entries", problem)
        self.check_keys(value, {"start", "stop"}, f"{about}: entries")
        pair = (value.get("start"), value.get("stop"))
        return self.checked(lambda: check_entry_range(pair), f"{about}: entries")

    def texts(self, value: Any, about: str) -> list[str]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            self.refuse(about, f"expected a text or a list of texts, not {value!r}")
        return items

    # --- files --------------------------------------------------------------------------------

    def remote(self, table: Mapping[str, Any], about: str) -> Remote:
        """How the URLs of a sample are read."""
        value = table.get("remote", {})
        if not isinstance(value, Mapping):
            self.refuse(about, f"expected {{ timeout = 20, ... }}, not {value!r}")
        self.check_keys(value, REMOTE, about)
        facts = dict(value)
        if "cache" in facts:
            facts["cache"] = self.cache(facts["cache"], f"{about}: cache")
        if "headers" in facts:
            if isinstance(facts["headers"], Mapping):
                problem = (
                    "expected the names, not the values, which are secrets: load(headers=...)"
                )
                self.refuse(f"{about}: headers", problem)
            facts["headers"] = self.texts(facts["headers"], f"{about}: headers")
            self.named |= set(facts["headers"])
        return self.checked(lambda: from_table(facts, self.headers), about)

    def cache(self, value: Any, about: str) -> dict[str, Any]:
        if not isinstance(value, Mapping) or "path" not in value:
            self.refuse(about, f'expected {{ path = "...", limit = "10 GB" }}, not {value!r}')
        self.check_keys(value, CACHE, about)
        return {**value, "path": self.path(value["path"], f"{about}: path")}

    def specs(self, table: Mapping[str, Any], about: str, remote: Remote) -> list[FileSpec]:
        found = self.listed(table["files"], f"{about}: files", remote)
        self.check_twice(found)
        if "friends" not in table or _by_ids(table):
            return found
        links = match_friends([spec.path for spec in found], self.friends(table["friends"], about))
        return [
            replace(spec, friends=(*spec.friends, *more))
            for spec, more in zip(found, links, strict=True)
        ]

    def listed(self, value: Any, about: str, remote: Remote) -> list[FileSpec]:
        """Paths, patterns and tables of one file each."""
        found: list[FileSpec] = []
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping):
                found.append(self.file(item, about, remote))
                continue
            path = self.path(item, about)
            found += [FileSpec(*each) for each in expand_paths(path, remote=remote)]
        return found

    def check_twice(self, found: Sequence[FileSpec]) -> None:
        if not found:
            message = "no files given"
            raise UsageError(message)
        locations = [(os.path.realpath(spec.path), spec.tree) for spec in found]
        for location, spec in zip(locations, found, strict=True):
            if locations.count(location) > 1:
                message = f"{spec.where!r} is given twice: its entries would count double"
                raise UsageError(message)

    def path(self, value: Any, about: str) -> str:
        """A path, pattern or URL, anchored at the folder."""
        if not isinstance(value, str) or not value.strip():
            self.refuse(about, f"expected a path, not {value!r}")
        text = value.removeprefix("file://")
        if is_remote(text) or text.startswith("~"):
            return text
        return os.path.join(self.folder, text)  # noqa: PTH118 - keeps the spelling

    def file(self, table: Mapping[str, Any], about: str, remote: Remote) -> FileSpec:
        """``{ file, tree, friends }``: taken as it is, no pattern."""
        self.check_keys(table, {"file", "tree", "friends"}, about)
        friends = self.tables(table.get("friends", []), f"{about}: friends")
        return FileSpec(
            self.literal(table, about, remote),
            self.name(table, "tree", about),
            tuple(self.link(friend, f"{about}: friends", remote) for friend in friends),
        )

    def link(self, table: Mapping[str, Any], about: str, remote: Remote) -> FriendLink:
        self.check_keys(table, {"file", "tree", "alias"}, about)
        alias = self.name(table, "alias", about)
        path = self.literal(table, about, remote)
        return FriendLink(path, self.name(table, "tree", about), alias)

    def literal(self, table: Mapping[str, Any], about: str, remote: Remote) -> str:
        path = self.path(table.get("file"), f"{about}: file")
        if is_remote(path):
            return Url(path, remote)
        if not Path(path).exists():
            raise missing_file(path)
        return path

    def name(self, table: Mapping[str, Any], key: str, about: str) -> str | None:
        value = table.get(key)
        if value is not None and not (isinstance(value, str) and value.strip()):
            self.refuse(f"{about}: {key}", f"expected a name, not {value!r}")
        return value

    def friends(self, value: Any, about: str) -> Any:  # paths, or {alias: paths}
        """As `rootml.open` takes them, anchored."""
        about = f"{about}: friends"
        if isinstance(value, Mapping):
            return {alias: self.friends(paths, about) for alias, paths in value.items()}
        return [self.path(path, about) for path in self.texts(value, about)]

    # --- friends matched by ids ---------------------------------------------------------------

    def by_ids(
        self, table: Mapping[str, Any], specs: Sequence[FileSpec], about: str
    ) -> tuple[MatchedFriends, ...]:
        """``friends = ..., by = ..., unmatched = ...``, as `rootml.open` takes them."""
        if not _by_ids(table):
            return ()
        friends = self.friends(table.get("friends", []), about)
        files = [spec.path for spec in specs]
        by, unmatched = table.get("by"), table.get("unmatched", "error")
        return self.checked(
            lambda: matched_friends(files, friends, by, unmatched), f"{about}: friends"
        )

    def matched(
        self, table: Mapping[str, Any], about: str, remote: Remote
    ) -> tuple[MatchedFriends, ...]:
        """As `dumps` writes them: with the alias, and what they drop among the cuts."""
        about = f"{about}: matched"
        tables = self.tables(table.get("matched", []), about)
        pool = functools.partial(self.pool, about=about, remote=remote)
        return tuple(self.checked(functools.partial(pool, each), about) for each in tables)

    def pool(self, table: Mapping[str, Any], about: str, remote: Remote) -> MatchedFriends:
        """One table of `matched`."""
        self.check_keys(table, {"alias", "by", "files", "unmatched"}, about)
        alias, by = self.name(table, "alias", about), check_by(table.get("by"))
        if alias is None or by is None or not table.get("files"):
            self.refuse(about, f"expected alias, files and by, not {dict(table)}")
        unmatched: Any = check_choice("unmatched", table.get("unmatched", "error"), UNMATCHED)
        specs = self.listed(table["files"], about, remote)
        return MatchedFriends(tuple((s.path, s.tree) for s in specs), alias, by, unmatched)

    def check_dropped(self, sample: Sample, friends: Sequence[MatchedFriends], about: str) -> None:
        """Events that the friends lack must be cut away where they are said to be dropped."""
        cuts = {cut.text for cut in sample.cuts if isinstance(cut, Filter)}
        for each in friends:
            if each.unmatched == "drop" and each.flag not in cuts:
                problem = (
                    f"unmatched = 'drop' needs the cut {each.flag!r} among cuts = [...]; "
                    "or write friends = ..., by = ..., unmatched = 'drop'"
                )
                self.refuse(about, problem)

    # --- cuts, definitions, columns -----------------------------------------------------------

    def changed(self, sample: Sample, table: Mapping[str, Any], about: str) -> Sample:
        """The sample with the definitions, cuts and columns of a table."""
        defines = [self.define(*item, about) for item in self.items(table, "define", about)]
        cuts = table.get("cuts", [])
        outputs = sample.outputs
        if "select" in table:
            texts = self.texts(table["select"], f"{about}: select")
            new, outputs = self.checked(lambda: parse_selection(texts, {}), f"{about}: select")
            defines += new
        sample = self.checked(
            lambda: replace(sample, definitions=extended(sample, defines), outputs=outputs), about
        )
        for item in cuts if isinstance(cuts, list) else [cuts]:
            before = sum(isinstance(cut, Split) for cut in sample.cuts)
            sample = replace(sample, cuts=(*sample.cuts, self.cut(item, before, f"{about}: cuts")))
        return sample

    def items(self, table: Mapping[str, Any], key: str, about: str) -> list[tuple[str, Any]]:
        value = table.get(key, {})
        if not isinstance(value, Mapping):
            self.refuse(f"{about}: {key}", f"expected NAME = expression, not {value!r}")
        return list(value.items())

    def define(self, name: str, value: Any, about: str) -> Define:
        about = f"{about}: define: {name}"
        table = value if isinstance(value, Mapping) else {"text": value}
        self.check_keys(table, {"text", "missing"}, about)
        text, missing = table.get("text"), table.get("missing")
        if isinstance(text, bool) or not isinstance(text, (str, int, float)):
            self.refuse(about, f"expected an expression, not {text!r}")
        if isinstance(missing, bool) or not isinstance(missing, (int, float, type(None))):
            self.refuse(about, f"missing: expected a number, not {missing!r}")
        return Define(name, str(text).strip(), missing)

    def cut(self, value: Any, splits: int, about: str) -> Filter | Split:
        """A cut: an expression, with a name or without, or a side of a split or of folds."""
        table = {"cut": value} if isinstance(value, str) else value
        if not isinstance(table, Mapping) or not table.keys() & {"cut", "split", "fold", "start"}:
            problem = (
                f"expected an expression, {{ name, cut }}, {{ split, test }} or {{ fold, of }}, "
                f"not {value!r}"
            )
            self.refuse(about, problem)
        if "cut" in table:
            return self.filter(table, about)
        if "start" in table:
            return self.exact_side(table, about)
        return self.checked(lambda: self.side(table, about), about).after(splits)

    def filter(self, table: Mapping[str, Any], about: str) -> Filter:
        self.check_keys(table, {"cut", "name"}, about)
        text = table["cut"]
        name = table.get("name", text)
        if not isinstance(text, str) or not isinstance(name, str) or not text.strip():
            self.refuse(about, f"expected texts, not {dict(table)}")
        return Filter(name if "name" in table else name.strip(), text.strip())

    def side(self, table: Mapping[str, Any], about: str) -> Split:
        by, seed = check_by(table.get("by")), check_seed(table.get("seed", 0))
        if "fold" in table:
            self.check_keys(table, _FOLDS, about)
            folds = fold_sides(table.get("of"), by=by, seed=seed)
            number, side = table["fold"], table.get("side")
            if number not in range(len(folds)) or side not in {"train", "test"}:
                problem = (
                    f"fold = 0 to {len(folds) - 1}, side = 'train' or 'test', not {dict(table)}"
                )
                self.refuse(about, problem)
            train, test = folds[int(number)]
            return test if side == "test" else train
        self.check_keys(table, _FRACTIONS, about)
        validation = table.get("validation")
        sides = split_sides(table.get("test"), validation, by=by, seed=seed)
        names = ["train", "test"] if validation is None else ["train", "validation", "test"]
        if table["split"] not in names:
            self.refuse(about, f"split is one of {names}, not {table['split']!r}")
        return sides[names.index(table["split"])]

    def exact_side(self, table: Mapping[str, Any], about: str) -> Split:
        """As `dumps` writes it."""
        self.check_keys(table, _EXACT, about)
        start, stop = (self.edge(table.get(key), f"{about}: {key}") for key in ("start", "stop"))
        name, stream = table.get("split", "split"), table.get("stream", 0)
        outside = table.get("outside", False)
        good = isinstance(name, str) and isinstance(outside, bool) and start <= stop
        if not good or isinstance(stream, bool) or not isinstance(stream, int) or stream < 0:
            self.refuse(about, f"not a side of a split: {dict(table)}")
        by = self.checked(lambda: check_by(table.get("by")), about)
        seed = self.checked(lambda: check_seed(table.get("seed", 0)), about)
        return Split(name, by, seed, stream, start, stop, outside)

    def edge(self, value: Any, about: str) -> int:
        try:
            number = int(value, 16)
        except (TypeError, ValueError):
            number = -1
        if not 0 <= number <= RANGE:
            self.refuse(about, f"expected a hexadecimal number up to 2**64, not {value!r}")
        return number
