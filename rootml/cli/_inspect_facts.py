"""What is in a file, as plain numbers and texts: for `rootml inspect`.

Names, types, entries and clusters come from `rootml.storage`, as everything else in rootml sees
them; sizes and compression from the metadata of the file, through uproot and pyarrow.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rootml._internal.urls import is_remote
from rootml.errors import RootmlError
from rootml.storage import Table, find_friends, list_trees, open_table
from rootml.storage._failures import reading
from rootml.storage._open import RNTUPLES, TTREES, _format, _newest
from rootml.storage._uproot import open_file

Facts = dict[str, Any]

_ALGORITHMS = {0: "zlib", 1: "zlib", 2: "lzma", 3: "zlib", 4: "lz4", 5: "zstd"}  # 0: the default
_BIG_FILE = 1_000_000


def file_facts(path: str, tree: str | None) -> Facts:
    """Everything about one file: its trees, with their columns; and what else is in it.

    Args:
        tree: Only this one; None: all. A tree that cannot be read has an ``"error"``, unless it is
            the one asked for.

    Raises:
        MissingFileError, MissingTreeError, CorruptFileError, UsageError: As
            `rootml.storage.open_table`.
    """
    kind = _format(path)
    facts: Facts = {"path": path, "format": kind}
    if kind != "root":
        table = open_table(path, tree)
        facts |= {"bytes": table.fingerprint.size, **_arrow_head(table)}
        return facts | {"trees": [_table_facts(table, _arrow_sizes(table))]}
    if tree is not None:
        open_table(path, tree)  # if the tree does not exist, the error lists those that do
    wrong = _list(path) if tree is None else None
    try:
        with reading(path), open_file(path, minimal_ttree_metadata=False) as file:
            found = _root_facts(path, tree, file)
    except RootmlError as error:
        raise wrong or error from None
    if wrong is not None and all("error" in each for each in found["trees"]):
        raise wrong
    return facts | found


def _list(path: str) -> RootmlError | None:
    """See what is wrong with the file, or one of its trees, in the words of the reader."""
    try:
        list_trees(path)
    except RootmlError as error:
        return error
    return None


# --- ROOT files ----------------------------------------------------------------------------------


def _root_facts(path: str, tree: str | None, file: Any) -> Facts:
    classes = file.classnames(recursive=True, cycle=True)
    trees = {name: kind for name, kind in classes.items() if kind in TTREES | RNTUPLES}
    wanted = _newest(trees) if tree is None else {tree: _with_cycle(tree, trees)}
    newest = set(_newest(trees).values())
    others = Counter(kind for kind in classes.values() if kind not in TTREES | RNTUPLES)
    size = os.stat(path).st_size if not is_remote(path) else file.file.source.num_bytes  # noqa: PTH116
    return {
        "bytes": None if size is None else int(size),
        "uuid": str(file.file.uuid),
        "writer": f"ROOT {_version(int(file.file._fVersion))}",
        "compression": _setting(int(file.file._fCompress)),
        "trees": [
            _tree_facts(path, name, full, trees[full], file, named=tree is not None)
            for name, full in wanted.items()
        ],
        "older_cycles": sorted(trees.keys() - newest, key=str) if tree is None else [],
        "others": dict(sorted(others.items())),
    }


def _with_cycle(tree: str, trees: Mapping[str, str]) -> str:
    return tree if ";" in tree else _newest(trees)[tree]


def _version(code: int) -> str:
    code %= _BIG_FILE
    return f"{code // 10000}.{code // 100 % 100:02d}/{code % 100:02d}"


def _setting(code: int) -> str:
    """ROOT's 100 * algorithm + level as words.

    >>> _setting(505), _setting(1), _setting(0)
    ('zstd 5', 'zlib 1', 'none')
    """
    algorithm, level = divmod(code, 100)
    return "none" if level <= 0 else f"{_ALGORITHMS.get(algorithm, algorithm)} {level}"


def _tree_facts(
    path: str, name: str, full: str, classname: str, file: Any, *, named: bool
) -> Facts:
    head: Facts = {"name": name, "cycle": int(full.rpartition(";")[2]), "class": classname}
    try:
        table = open_table(path, full)
        with reading(table.where):
            inner = file[full]
            sizes = _branch_sizes(inner, table) if classname in TTREES else _field_sizes(inner)
        facts = head | _table_facts(table, sizes)
        facts["friends"] = _friends(path, full) if classname in TTREES else []
    except RootmlError as error:
        if named:
            raise
        return head | {"error": str(error)}
    return facts | {"name": name}


def _branch_sizes(tree: Any, table: Table) -> dict[str, Facts]:
    found: dict[str, Facts] = {}
    for path, branch in tree.iteritems(recursive=True, full_paths=True):
        name = table.columns.canonical(path) if path in table.columns else path
        inner = [branch, *branch.itervalues(recursive=True)]  # a split object: those below it
        packed = sum(int(each.compressed_bytes) for each in inner)
        unpacked = sum(int(each.uncompressed_bytes) for each in inner)
        code = int(branch.member("fCompress"))
        if code % 100 == 0 and packed < unpacked:  # it says nothing more
            code = int(tree.file._fCompress)
        size = _size(packed, unpacked, _setting(code))
        inside = any(each.num_baskets for each in inner) and not packed
        if inside:
            size |= {"packed_bytes": None, "unpacked_bytes": None}
        found.setdefault(name, size | {"inside": inside, "top": "/" not in path})
    return found


def _field_sizes(tree: Any) -> dict[str, Facts]:
    """Sizes of fields: the pages of their columns, and the fields below.

    A projected field has the pages of another one, which count once for the whole.
    """
    fields = tree.field_records
    parents = [int(field.parent_field_id) for field in fields]
    sources = [
        n if field.source_field_id is None else int(field.source_field_id)
        for n, field in enumerate(fields)
    ]
    own = _pages_by_field(tree)
    found: dict[str, Facts] = {}
    for n, path in enumerate(_field_paths(tree, parents)):
        below = [k for k in range(len(fields)) if n in _upwards(k, parents)]
        each = [own[sources[k]] for k in below]
        settings = sorted({setting for part in each for setting in part[2]})
        size = _size(sum(p[0] for p in each), sum(p[1] for p in each),
                     ", ".join(map(_setting, settings)) or None)  # fmt: skip
        same = None if sources[n] == n else sources[below[-1]]
        found.setdefault(path, size | {"top": parents[n] == n and same is None, "same_as": same})
    names = _field_paths(tree, parents)
    for size in found.values():
        size["same_as"] = None if size["same_as"] is None else names[size["same_as"]]
    return found


def _pages_by_field(tree: Any) -> list[tuple[int, int, set[int]]]:
    """Of each field alone: bytes packed and unpacked, and settings of the compression."""
    packed = [0] * len(tree.field_records)
    unpacked = [0] * len(packed)
    settings: list[set[int]] = [set() for _ in packed]
    for cluster in tree.page_link_list:
        for column, pages in zip(tree.column_records, cluster, strict=False):
            number = int(column.field_id)
            elements = sum(int(page.num_elements) for page in pages.pages)
            packed[number] += sum(int(page.locator.num_bytes) for page in pages.pages)
            unpacked[number] += (elements * int(column.nbits) + 7) // 8
            if pages.pages and pages.compression_settings is not None:
                settings[number].add(int(pages.compression_settings))
    return list(zip(packed, unpacked, settings, strict=True))


def _upwards(number: int, parents: list[int]) -> list[int]:
    """A field and those it is in, up to the top."""
    chain = [number]
    while parents[chain[-1]] != chain[-1] and len(chain) <= len(parents):
        chain.append(parents[chain[-1]])
    return chain


def _field_paths(tree: Any, parents: list[int]) -> list[str]:
    """Names with those of the fields around them, but for records without a name ("_0")."""
    names = [str(field.field_name) for field in tree.field_records]
    chains = [_upwards(number, parents)[::-1] for number in range(len(names))]
    return [
        ".".join(names[n] for n in chain if n == chain[0] or not names[n].startswith("_"))
        for chain in chains
    ]


def _friends(path: str, tree: str) -> list[Facts]:
    found = []
    for friend in find_friends(path, tree):
        where = friend.path or path
        candidates = [Path(where), Path(path).parent / where]
        there = None if is_remote(where) else any(place.exists() for place in candidates)
        found.append({"tree": friend.tree, "path": where, "alias": friend.alias, "found": there})
    return found


# --- Parquet and Arrow ---------------------------------------------------------------------------


def _arrow_head(table: Table) -> Facts:
    metadata = getattr(table, "_metadata", None)
    if metadata is None:
        return {"writer": None, "compression": None}
    kinds = {
        str(metadata.row_group(group).column(column).compression).lower()
        for group in range(metadata.num_row_groups)
        for column in range(metadata.num_columns)
    }
    return {"writer": metadata.created_by, "compression": ", ".join(sorted(kinds)) or None}


def _arrow_sizes(table: Table) -> dict[str, Facts]:
    """Of Parquet, from the metadata of its column chunks; Arrow does not say."""
    metadata = getattr(table, "_metadata", None)
    leaves = getattr(table, "_leaves", {})
    if metadata is None:
        return {}
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    found = {}
    for name, leaf in leaves.items():
        chunks = [g.column(i) for g in groups for i in range(leaf.first, leaf.last)]
        kinds = sorted({str(chunk.compression).lower() for chunk in chunks})
        found[name] = _size(
            sum(chunk.total_compressed_size for chunk in chunks),
            sum(chunk.total_uncompressed_size for chunk in chunks),
            ", ".join(kinds) or None,
        ) | {"top": len(leaf.path) == 1}
    return found


# --- all formats ---------------------------------------------------------------------------------


def _size(packed: int, unpacked: int, compression: str | None) -> Facts:
    return {"packed_bytes": packed, "unpacked_bytes": unpacked, "ratio": _ratio(packed, unpacked),
            "compression": compression}  # fmt: skip


def _ratio(packed: int, unpacked: int) -> float | None:
    return unpacked / packed if packed and unpacked else None


def _table_facts(table: Table, sizes: Mapping[str, Facts]) -> Facts:
    columns = []
    for name, kind in table.columns.items():
        own = dict(sizes.get(name, _size(0, 0, None)))
        if name not in sizes:
            own |= {"packed_bytes": None, "unpacked_bytes": None}
        columns.append(
            {"name": name, "type": str(kind), "kind": kind.kind, "file_type": kind.text} | own
        )
    known = [size for size in sizes.values() if size.get("top", True)]
    packed = sum(size["packed_bytes"] or 0 for size in known) if known else None
    unpacked = sum(size["unpacked_bytes"] or 0 for size in known) if known else None
    kinds = Counter(size["compression"] for size in known if size["compression"])
    return {
        "name": table.name,
        "format": table.format,
        "entries": table.num_entries,
        "clusters": _clusters(table),
        "packed_bytes": packed,
        "unpacked_bytes": unpacked,
        "ratio": _ratio(packed or 0, unpacked or 0),
        "compression": [kind for kind, _ in kinds.most_common()],
        "inside_the_tree": sum(bool(size.get("inside")) for size in sizes.values()),
        "friends": [],
        "columns": columns,
    }


def _clusters(table: Table) -> Facts:
    rows = np.diff(table.clusters())
    if not len(rows):
        return {"count": 0, "smallest": 0, "median": 0, "largest": 0}
    return {"count": len(rows), "smallest": int(rows.min()), "median": int(np.median(rows)),
            "largest": int(rows.max())}  # fmt: skip
