"""Datasets as commands are given them: files and options, or TOML files.

::

    rootml describe sig_*.root --tree Events --label 1 --weight genWeight --cut 'nJet > 1'
    rootml describe --sample 1=sig_*.root:Events --sample 0=bkg_*.root:Events
    rootml describe analysis.toml --cut 'nJet > 1'

A TOML file states the tree, label, weight and so on itself, so those options are refused; cuts,
definitions and columns are added to either.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from rootml.cli._complete import columns_of, files_and_trees, trees_of

if TYPE_CHECKING:
    from rootml.dataset import Dataset

Files: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE[:TREE]",
        help="Files, globs, URLs, or TOML files that describe datasets.",
        autocompletion=files_and_trees,
    ),
]
Tree: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--tree",
        "-t",
        metavar="TREE",
        help="Tree of files that are given without.",
        autocompletion=trees_of,
    ),
]
Cut: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--cut", metavar="CUT",
        help="Keep these events, e.g. 'nJet >= 2 && Jet_pt[0] > 30'; repeatable.",
        autocompletion=columns_of,
    ),
]  # fmt: skip
Define: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--define",
        "-d",
        metavar="NAME=EXPR",
        help="A new column, e.g. 'HT=Sum$(Jet_pt)'; repeatable.",
    ),
]
Columns: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--columns", "-c", metavar="COLUMNS", autocompletion=columns_of,
        help="Columns, patterns and expressions, e.g. 'Jet_*,MET_pt,lead = Jet_pt[0]'; "
        "repeatable.",
    ),
]  # fmt: skip
Label: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--label", metavar="VALUE", help="Number, column or expression.", autocompletion=columns_of
    ),
]
Weight: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--weight",
        metavar="VALUE",
        help="Number, column or expression.",
        autocompletion=columns_of,
    ),
]
SampleOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--sample", metavar="LABEL=FILES",
        help="Files with a label of their own, LABEL=FILES, e.g. "
        "'1=sig_*.root:Events'; repeatable.",
    ),
]  # fmt: skip
CrossSection: TypeAlias = Annotated[
    float | None,
    typer.Option("--cross-section", metavar="NUMBER", help="Scale the weights to this."),
]
Luminosity: TypeAlias = Annotated[
    float | None,
    typer.Option("--luminosity", metavar="NUMBER", help="Times this; needs --cross-section."),
]
SumOfWeights: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--sum-of-weights", metavar="VALUE", help="Number, expression, or 'Runs:genEventSumw'."
    ),
]
Friends: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--friends", metavar="FILES", help="Files of friend trees; repeatable."),
]
Entries: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--entries", metavar="START:STOP", help="Only entries START:STOP, counted over the files."
    ),
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Threads: TypeAlias = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="Default: one per core.", min=1)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What options say of a dataset, as they were typed; each may be missing."""

    files: Sequence[str] = ()
    sample: Sequence[str] = ()
    tree: str | None = None
    label: str | None = None
    weight: str | None = None
    cross_section: float | None = None
    luminosity: float | None = None
    sum_of_weights: str | None = None
    friends: Sequence[str] = ()
    entries: str | None = None
    cut: Sequence[str] = ()
    define: Sequence[str] = ()
    columns: Sequence[str] = ()
    names: dict[str, str] = field(default_factory=dict)

    def dataset(self) -> Dataset:
        """The dataset; reads no events."""
        data = self._opened()
        for text in self.define:
            name, expression = assignment(text, "--define", "HT=Sum$(Jet_pt)")
            data = data.define({name: expression})
        for cut in self.cut:
            data = data.filter(cut)
        if self.columns:
            data = data.select(expanded(data, self.columns))
        return data

    # --- files --------------------------------------------------------------------------------

    def _opened(self) -> Dataset:
        from rootml import toml

        if not self.files and not self.sample:
            message = "no files are given; give some, as 'mc_*.root:Events', or a TOML file."
            raise typer.BadParameter(message)
        described = [name for name in self.files if is_toml(name)]
        plain = [name for name in self.files if not is_toml(name)]
        parts = []
        if plain:
            parts.append(self._open(plain, self.label))
        for text in self.sample:
            label, files = assignment(text, "--sample", "1=sig_*.root:Events")
            parts.append(self._open([files], label))
        if described:
            self._check_toml(described[0], plain)
        parts += [toml.load(name) for name in described]
        data = parts[0]
        for part in parts[1:]:
            data = data + part
        return data

    def _open(self, files: Sequence[str], label: str | None) -> Dataset:
        import rootml

        paths: Any = files[0] if len(files) == 1 else files
        options: dict[str, Any] = {"label": number(label), "weight": number(self.weight)}
        options |= {"cross_section": self.cross_section, "luminosity": self.luminosity}
        options["sum_of_weights"] = number(self.sum_of_weights)
        options["entry_range"] = entry_range(self.entries)
        options["friends"] = list(self.friends) or None
        if self.tree is not None:
            paths = dict.fromkeys(files, self.tree)
        return rootml.open(paths, **options)

    def _check_toml(self, name: str, plain: Sequence[str]) -> None:
        """Options about files mean nothing for those that a TOML file describes."""
        if plain or self.sample:
            return
        for option in (
            "tree", "label", "weight", "cross_section", "luminosity", "sum_of_weights", "friends",
            "entries",
        ):  # fmt: skip
            if getattr(self, option) not in (None, (), []):
                spelt = self.names.get(option, f"--{option.replace('_', '-')}")
                message = f"{spelt} applies to ROOT files; {name} already states its samples."
                raise typer.BadParameter(message)


def is_toml(path: str) -> bool:
    """Whether it describes a dataset, and not a file of events."""
    return Path(path).suffix.lower() == ".toml"


def number(text: str | None) -> int | float | str | None:
    """A number where the text is one, else the text.

    >>> number("1"), number("0.5"), number("genWeight")
    (1, 0.5, 'genWeight')
    """
    for kind in (int, float):
        try:
            return None if text is None else kind(text)
        except ValueError:
            continue
    return text


def assignment(text: str, option: str, example: str) -> tuple[str, str]:
    """``NAME=VALUE`` as two texts; exit code 2 if it is none."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not (name and equals and value) or value.startswith("="):
        message = f"{text!r} is not of the form {option} {example}"
        raise typer.BadParameter(message)
    return name, value


def entry_range(text: str | None) -> tuple[int | None, int | None] | None:
    """``START:STOP``, of which either may be left out."""
    if text is None:
        return None
    start, colon, stop = text.partition(":")
    if not colon or not all(end.strip().isdecimal() or not end.strip() for end in (start, stop)):
        message = f"--entries {text!r}: give the first and the one behind the last, as 0:1000"
        raise typer.BadParameter(message)
    return (int(start) if start.strip() else None), (int(stop) if stop.strip() else None)


# --- columns -------------------------------------------------------------------------------------


def expanded(data: Dataset, texts: Iterable[str]) -> list[str]:
    """What to select: commas outside parentheses divide, patterns stand for the columns they meet.

    Raises:
        typer.BadParameter: A pattern that meets no column.
    """
    items = [item.strip() for text in texts for item in _divided(data, text) if item.strip()]
    found: list[str] = []
    for item in items:
        found += _matching(data, item)
    return list(dict.fromkeys(found))


def _divided(data: Dataset, text: str) -> list[str]:
    """The text at its commas, but for those in brackets and quotation marks."""
    if text in data.columns:
        return [text]
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote or letter in "'\"":
            quote = "" if letter == quote else quote or letter
        else:
            depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _matching(data: Dataset, item: str) -> list[str]:
    from rootml.errors import RootmlError, nearest

    if not set(item) & set("*?") or item in data.columns or re.search(r"\s", item):
        return [item]
    names = list(data.columns)
    try:
        data.select(item).types()
    except RootmlError:
        pass
    else:
        return [item]  # a product: both of its factors are columns
    found = [name for name in names if fnmatch.fnmatchcase(name, item)]
    if not found:
        message = f"--columns {item!r} meets no column; nearest: {nearest(item, names)}"
        raise typer.BadParameter(message)
    return found
