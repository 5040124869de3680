"""From a dataset to TOML.

::

    for each sample:  a table of what differs from the default; what is not known is refused
    select, cuts, define:  once for all, where all samples have the same
    files:  "file:tree", where reading that gives the same again, else { file, tree, friends }
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from rootml._internal.atomic import AtomicPath
from rootml._internal.urls import is_remote
from rootml.dataset._sample import Define, Filter, Sample, parse_selection
from rootml.dataset._splits import Split
from rootml.errors import UsageError
from rootml.files._files import FileSpec
from rootml.storage._paths import split_tree
from rootml.toml._remote import as_table, options, public

if TYPE_CHECKING:
    from rootml.dataset import Dataset

FORMAT = "rootml.dataset"
VERSION = 1
COMMON = ("select", "cuts", "define")

_SPECIAL = re.compile(r"[*?\[]|^~")
_KNOWN = frozenset(
    {
        "files", "title", "definitions", "cuts", "outputs", "label", "weight", "normalisation",
        "entry_range", "suffixes", "label_level", "weight_level",
    }
)  # fmt: skip


def dumps(data: Dataset, *, folder: str | os.PathLike[str] | None = None) -> str:
    """A dataset as TOML; reads nothing.

    Args:
        folder: Where the text will lie: files below it are named relative to it, so that both can
            be moved together. None: all paths are absolute.

    Credentials are not written: a URL with a user, a password or a query is an error, and of the
    headers of `rootml.storage.Remote` only the names are there; `load` takes their values. Where a
    dataset is computed (`Dataset.on`) is not a part of it.

    Raises:
        UsageError: Something that TOML cannot say, such as a Python function, or must not; the
            message names it.

    >>> import pyarrow as pa, pyarrow.parquet, rootml
    >>> pa.parquet.write_table(pa.table({"pt": [10.0, 60.0, 35.0]}), "events.parquet")
    >>> data = rootml.open("events.parquet", label=1).filter("pt > 30").select(["pt"])
    >>> print(dumps(data, folder="."))
    # a dataset of rootml; see rootml.toml
    format = "rootml.dataset"
    version = 1
    select = [
        "pt",
    ]
    cuts = [
        "pt > 30",
    ]
    <BLANKLINE>
    [[sample]]
    title = "events.parquet"
    files = [
        "events.parquet",
    ]
    label = 1
    """
    base = None if folder is None else Path(folder).absolute()
    samples = [_sample(sample, base) for sample in data.samples]
    common = {
        key: samples[0][key]
        for key in COMMON
        if key in samples[0] and all(sample.get(key) == samples[0][key] for sample in samples)
    }
    own = [{key: facts[key] for key in facts if key not in common} for facts in samples]
    document = {"format": FORMAT, "version": VERSION} | common | {"sample": own}
    for sample, facts in zip(data.samples, samples, strict=True):
        for key, value in facts.items():
            _check_value(value, key, sample)
    return "# a dataset of rootml; see rootml.toml\n" + tomli_w.dumps(document)


def save(data: Dataset, path: str | os.PathLike[str]) -> None:
    """Write a dataset to a TOML file, which appears when it is complete; see `dumps`.

    Files in the folder of `path`, or below, are named relative to it.

    Raises:
        UsageError: Something that TOML cannot say; the message names it.
        MissingFileError: The folder does not exist.
    """
    text = dumps(data, folder=Path(path).absolute().parent)
    atomic = AtomicPath(str(path))
    Path(atomic.temporary).write_text(text, encoding="utf-8")
    atomic.commit()


# --- a sample ------------------------------------------------------------------------------------


def _sample(sample: Sample, base: Path | None) -> dict[str, Any]:
    """What differs from the default, in the order in which it is written."""
    _check_known(sample)
    facts: dict[str, Any] = {"title": sample.title}
    specs = sample.files.specs
    facts["files"] = [_file(spec, base, sample.title) for spec in specs]
    facts["matched"] = _matched(sample, base) or None
    facts["remote"] = _remote(sample, base)
    facts |= {"label": sample.label, "weight": sample.weight}
    if sample.normalisation is not None:
        norm = sample.normalisation
        facts |= {field.name: getattr(norm, field.name) for field in fields(norm)}
    start, stop = sample.entry_range
    facts["entries"] = _without_none({"start": start, "stop": stop}) or None
    facts["vary"] = list(sample.suffixes) or None
    facts["select"] = None if sample.outputs is None else [_output(o) for o in sample.outputs]
    facts["cuts"] = [_cut(cut, sample) for cut in sample.cuts] or None
    facts["define"] = {d.name: _define(d) for d in sample.definitions} or None
    return _without_none(facts)


def _without_none(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if value is not None}


def _check_known(sample: Sample) -> None:
    """Refuse what a later version of `Sample` may hold and this one would leave out."""
    for field in fields(sample):
        if field.compare and field.name not in _KNOWN:
            value = getattr(sample, field.name)
            if value != field.default:
                raise _refusal(sample, field.name, value)
    replaced = [define.name for define in sample.definitions if define.replaces]
    if replaced:
        message = (
            f"{sample.title}: {replaced[0]!r} is redefined, which TOML cannot say: define the new "
            "values under another name, or keep the dataset in a script"
        )
        raise UsageError(message)


def _refusal(sample: Sample | None, what: str, value: Any) -> UsageError:
    kind = f"a Python {type(value).__name__}" + (" (a function)" if callable(value) else "")
    about = "" if sample is None else f" of {sample.title}"
    return UsageError(
        f"{what}{about} cannot be written as TOML: {value!r} is {kind}; say it as an expression, "
        "or keep the dataset in a script"
    )


def _file(spec: FileSpec, base: Path | None, title: str) -> str | dict[str, Any]:
    whole = public(spec.path, title)
    path = _relative(whole, base)
    text = path if spec.tree is None else f"{path}:{spec.tree}"
    full = whole if spec.tree is None else f"{whole}:{spec.tree}"
    plain = split_tree(full) == (whole, spec.tree) and not _SPECIAL.search(text)
    if plain and not spec.friends:
        return text
    links = [
        _without_none(
            {
                "file": _relative(public(link.path, title), base),
                "tree": link.tree,
                "alias": link.alias,
            }
        )
        for link in spec.friends
        if not link.recorded
    ]
    return _without_none({"file": path, "tree": spec.tree, "friends": links or None})


def _matched(sample: Sample, base: Path | None) -> list[dict[str, Any]]:
    """Friends that are matched by ids; they belong to all files. What they drop is a cut."""
    return [
        {
            "alias": friends.alias,
            "files": [_file(FileSpec(*place), base, sample.title) for place in friends.places],
            "by": list(friends.by),
            "unmatched": friends.unmatched,
        }
        for friends in sample.files.specs[0].matched
    ]


def _remote(sample: Sample, base: Path | None) -> dict[str, Any] | None:
    specs = sample.files.specs
    paths = [spec.path for spec in specs]
    paths += [path for each in specs[0].matched for path, _ in each.places]
    paths += [link.path for spec in specs for link in spec.friends if not link.recorded]
    remote = options(paths, sample.title)
    if remote is None:
        return None
    facts = as_table(remote)
    if "cache" in facts:
        facts["cache"]["path"] = _relative(facts["cache"]["path"], base)
    return facts


def _relative(path: str, base: Path | None) -> str:
    if base is None or is_remote(path) or not Path(path).is_relative_to(base):
        return path
    return Path(path).relative_to(base).as_posix()


def _output(text: str) -> str:
    definitions, outputs = parse_selection([text], {})
    if definitions or outputs != (text,):
        message = f"the column {text!r} cannot be written as TOML: it would read as a definition"
        raise UsageError(message)
    return text


def _define(define: Define) -> str | dict[str, Any]:
    if define.missing is None:
        return define.text
    return {"text": define.text, "missing": define.missing}


def _cut(cut: Any, sample: Sample) -> str | dict[str, Any]:
    if isinstance(cut, Filter):
        return cut.text if cut.name == cut.text else {"name": cut.name, "cut": cut.text}
    if not isinstance(cut, Split):
        raise _refusal(sample, "a cut", cut)
    facts = {"split": cut.name, "by": None if cut.by is None else list(cut.by)}
    facts |= {"seed": cut.seed, "stream": cut.stream}  # type: ignore[dict-item]
    facts |= {"start": hex(cut.start), "stop": hex(cut.stop)}
    return _without_none(facts) | ({"outside": True} if cut.outside else {})


# --- TOML ----------------------------------------------------------------------------------------


def _check_value(value: Any, where: str, sample: Sample) -> None:
    """Refuse what TOML cannot say; `where` says in the message what it belongs to."""
    if isinstance(value, str):
        _check_text(value, where)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _check_text(key, key)
            _check_value(inner, key, sample)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_value(item, where, sample)
    elif not isinstance(value, (bool, int, float)):
        raise _refusal(sample, where, value)


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        message = f"{where} cannot be written as TOML: {text!r} is not valid Unicode; rename it"
        raise UsageError(message) from None
