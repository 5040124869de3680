"""`rootml inspect`: what is in files."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rootml.cli import _datasets as given
from rootml.cli._output import echo, echo_facts, echo_grid, echo_json, note

if TYPE_CHECKING:
    from rootml._internal.reprs import Grid

EXAMPLES = """\b
Examples:
  rootml inspect file.root
  rootml inspect file.root:Events --columns 'Jet_*'
  rootml inspect root://host//store/file.root data.parquet --json"""

Facts = dict[str, Any]


def inspect(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE[:TREE]", help="Files, globs or URLs.",
            autocompletion=given.files_and_trees,
        ),
    ],
    *,
    columns: Annotated[
        list[str] | None,
        typer.Option("--columns", "-c", metavar="PATTERN",
                     help="Only these, e.g. 'Jet_*'; repeatable."),
    ] = None,
    as_json: given.AsJson = False,
) -> None:  # fmt: skip
    """What is in files: trees, columns, sizes, ...

    Also types, clusters, friends, compression, older cycles. Columns are shown
    of a tree that is named, or the only one. "packed" is the size in the file,
    "unpacked" that in memory, about.
    """
    from rootml.cli._inspect_facts import file_facts
    from rootml.storage import expand_paths

    found = [file_facts(path, tree) for path, tree in expand_paths(_without_toml(files))]
    patterns = [each.strip() for text in columns or [] for each in text.split(",")]
    if patterns:
        _keep(found, patterns)
    if as_json:
        echo_json({"files": found})
    else:
        for number, facts in enumerate(found):
            if number:
                echo("")
            _show(facts, wanted=bool(patterns))
    broken = [tree["error"] for facts in found for tree in facts["trees"] if "error" in tree]
    if broken:
        typer.echo(f"error: {broken[0]}", err=True)
        raise typer.Exit(1)


def _without_toml(files: list[str]) -> list[str]:
    for name in files:
        if given.is_toml(name):
            message = f"{name} describes a dataset: see `rootml describe {name}`."
            raise typer.BadParameter(message)
    return files


def _keep(found: list[Facts], patterns: list[str]) -> None:
    """Leave only columns that a pattern meets.

    Raises:
        MissingColumnError: A pattern meets none.
    """
    from rootml.errors import MissingColumnError, nearest

    trees = [tree for facts in found for tree in facts["trees"] if "error" not in tree]
    names = {column["name"] for tree in trees for column in tree["columns"]}
    for pattern in patterns:
        if not fnmatch.filter(names, pattern) and pattern not in names:
            message = f"no column meets {pattern!r}; nearest: {nearest(pattern, names)}"
            raise MissingColumnError(message)
    for tree in trees:
        tree["columns"] = [c for c in tree["columns"] if _meets(c["name"], patterns)]


def _meets(name: str, patterns: list[str]) -> bool:
    return any(name == p or fnmatch.fnmatchcase(name, p) for p in patterns)


# --- as text -------------------------------------------------------------------------------------


def _show(facts: Facts, *, wanted: bool) -> None:
    from rootml._internal.reprs import shorten
    from rootml._internal.sizes import format_bytes

    names = {"root": "ROOT file", "parquet": "Parquet file", "arrow": "Arrow file"}
    about = [names[facts["format"]]]
    if facts["bytes"] is not None:
        about.append(format_bytes(facts["bytes"]))
    if facts["writer"]:
        about.append(f"written by {facts['writer']}")
    others = [f"{count} {kind}" for kind, count in facts.get("others", {}).items()]
    lines = [("file", facts["path"]), ("format", ", ".join(about))]
    lines += [("others", shorten(others, 12))] if others else []
    if facts.get("older_cycles"):
        lines.append(("older", f"{shorten(facts['older_cycles'])}: not read unless named"))
    echo_facts(lines)
    trees = facts["trees"]
    if not trees:
        note(f"{facts['path']} has no tree")
    elif len(trees) == 1 and "error" not in trees[0]:
        _show_tree(trees[0])
    else:
        echo("")
        echo_grid(_trees(trees))
        if wanted:
            for tree in trees:
                if tree.get("columns"):
                    echo(f"\n{tree['name']}")
                    echo_grid(_columns(tree))
        else:
            note(f"rootml inspect '{facts['path']}:{trees[0]['name']}' shows the columns")


def _show_tree(tree: Facts) -> None:
    from rootml._internal.reprs import shorten

    what = tree.get("class") or tree["format"]
    if tree["name"]:
        cycle = f", cycle {tree['cycle']}" if "cycle" in tree else ""
        lines = [("tree", f"{tree['name']} ({what}{cycle})")]
    else:
        lines = []
    lines += [
        ("entries", f"{tree['entries']:,}"),
        ("columns", f"{len(tree['columns']):,}"),
        ("clusters", _clusters(tree["clusters"])),
        ("size", _sizes(tree)),
    ]
    if tree["inside_the_tree"]:
        many = f"{tree['inside_the_tree']:,} branches lie in the tree's own record"
        lines.append(("", f"{many}: their sizes are not known"))
    lines += [("friend", _friend(friend)) for friend in tree["friends"]]
    bad = [column["name"] for column in tree["columns"] if column["kind"] == "unsupported"]
    if bad:
        lines.append(("unreadable", shorten(bad, 20)))
    echo_facts(lines)
    echo("")
    echo_grid(_columns(tree))


def _clusters(clusters: Facts) -> str:
    count, smallest, largest = clusters["count"], clusters["smallest"], clusters["largest"]
    if count <= 1:
        return f"{count}" + (f" of {largest:,} entries" if count else "")
    return f"{count:,} of {smallest:,} to {largest:,} entries, median {clusters['median']:,}"


def _sizes(tree: Facts) -> str:
    from rootml._internal.sizes import format_bytes

    if not tree["packed_bytes"]:
        return "not recorded" if tree["entries"] else "nothing"
    ratio = f", ratio {tree['ratio']:.2f}" if tree["ratio"] else ""
    how = ", ".join(tree["compression"]) or "no compression"
    packed, unpacked = format_bytes(tree["packed_bytes"]), format_bytes(tree["unpacked_bytes"])
    return f"{packed} packed, {unpacked} unpacked{ratio}, {how}"


def _friend(friend: Facts) -> str:
    there = {True: "", False: " (not there)", None: ""}[friend["found"]]
    alias = "" if friend["alias"] == friend["tree"] else f" as {friend['alias']}"
    return f"{friend['tree']}{alias} in {friend['path']}{there}"


def _trees(trees: list[Facts]) -> Grid:
    from rootml._internal.reprs import Grid
    from rootml._internal.sizes import format_bytes

    rows = []
    for tree in trees:
        if "error" in tree:
            rows.append((tree["name"], tree["class"], "not readable", "", "", "", ""))
            continue
        packed = "-" if tree["packed_bytes"] is None else format_bytes(tree["packed_bytes"])
        rows.append(
            (tree["name"], tree["class"], ", ".join(tree["compression"]) or "-",
             f"{tree['entries']:,}", f"{len(tree['columns']):,}", f"{tree['clusters']['count']:,}",
             packed)
        )  # fmt: skip
    header = ("tree", "class", "compression", "entries", "columns", "clusters", "packed")
    return Grid(header, rows, left=3)


def _columns(tree: Facts) -> Grid:
    from rootml._internal.reprs import Grid
    from rootml._internal.sizes import format_bytes

    kinds = {column["compression"] for column in tree["columns"]} - {None}
    mixed = len(kinds) > 1
    header = ["column", "type", *(["compression"] if mixed else []), "packed", "unpacked", "ratio"]
    rows = []
    for column in tree["columns"]:
        packed, unpacked = column["packed_bytes"], column["unpacked_bytes"]
        row = [column["name"], _type(column)]
        row += [column["compression"] or "-"] if mixed else []
        row += [
            "-" if packed is None else format_bytes(packed),
            "-" if unpacked is None else format_bytes(unpacked),
        ]
        rows.append((*row, f"{column['ratio']:.2f}" if column["ratio"] else "-"))
    return Grid(tuple(header), rows, left=3 if mixed else 2)


def _type(column: Facts) -> str:
    if column["kind"] == "unsupported":
        return f"unreadable: {column['type'].partition(' (')[0]}"
    name = column["file_type"] or "records" if column["kind"] == "other" else str(column["type"])
    return f"{name} = {column['same_as']}" if column.get("same_as") else name
