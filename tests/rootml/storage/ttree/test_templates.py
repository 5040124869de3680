"""Trees built alike: the second is not parsed, and is read as uproot reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from rootml.storage import open_table
from rootml.storage.ttree import _storage, _survey, _templates
from rootml.storage.ttree._branches import Branch, Tree
from rootml.storage.ttree._templates import Templates

WIDE = 300
ROWS = 40


@pytest.fixture(autouse=True)
def _no_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_templates, "_BRANCHES", Templates())
    monkeypatch.setattr(_survey, "_SURVEYS", Templates())


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the branches that are parsed one by one."""
    names: list[str] = []
    whole = Tree._branch

    def noted(self: Tree, *args: Any, **options: Any) -> Branch:
        branch = whole(self, *args, **options)
        names.append(branch.name)
        return branch

    monkeypatch.setattr(Tree, "_branch", noted)
    return names


def columns(seed: int, width: int = 5, kind: str = "f4", prefix: str = "c") -> dict[str, Any]:
    """Numbers and lists; the longest list differs from seed to seed."""
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {
        f"{prefix}{n}": rng.normal(scale=100, size=ROWS).astype(kind) for n in range(width)
    }
    counts = rng.integers(0, 3 + seed, ROWS)
    found["v"] = ak.unflatten(rng.normal(size=int(counts.sum())), counts)
    return found


def write(path: Path, content: dict[str, Any], parts: int = 1) -> str:
    with uproot.recreate(path) as file:
        file.mktree("T", {name: ak.type(ak.Array(v)).content for name, v in content.items()})
        for part in np.array_split(np.arange(ROWS), parts):
            file["T"].extend({name: v[part[0] : part[-1] + 1] for name, v in content.items()})
    return str(path)


def check(path: str, content: dict[str, Any]) -> None:
    with open_table(path, "T") as table, uproot.open(f"{path}:T") as tree:
        assert set(table.columns) == set(tree.keys())
        assert table.clusters().tolist() == [*tree.common_entry_offsets()]
        stored = sum(int(branch.compressed_bytes) for branch in tree.branches)
        assert table.stored_bytes(list(table.columns)) == stored
        for name in list(content)[:4] + list(content)[-2:]:
            assert str(table.columns[name]) in {"float32", "int32", "var * float64"}
            found = table.read([name], 3, ROWS)[name]
            assert found.tolist() == tree[name].array()[3:].tolist(), name
            assert found.tolist() == content[name][3:].tolist(), name


@pytest.mark.parametrize("width", [5, WIDE])
def test_the_second_file_is_not_parsed(
    tmp_path: Path, parsed: list[str], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (columns(seed, width) for seed in (1, 2, 3))
    check(write(tmp_path / "1.root", first), first)
    assert parsed
    parsed.clear()
    monkeypatch.setattr(_survey, "_survey", None)
    check(write(tmp_path / "2.root", second), second)
    check(write(tmp_path / "3.root", third, parts=3), third)  # other seek tables
    assert width == WIDE or not parsed


@pytest.mark.parametrize("width", [5, WIDE])
@pytest.mark.parametrize("change", [{"kind": "i4"}, {"prefix": "d"}], ids=["type", "names"])
def test_records_of_one_length_may_differ(
    tmp_path: Path, width: int, change: dict[str, Any]
) -> None:
    first, second = columns(1, width), columns(1, width, **change)
    paths = write(tmp_path / "1.root", first), write(tmp_path / "2.root", second)
    sizes = set()
    for path in paths:
        with open_table(path, "T") as table:
            assert isinstance(table, _storage.TTreeTable)
            assert table._key is not None
            sizes.add(table._key.objlen)
    assert len(sizes) == 1
    for _ in range(2):
        check(paths[0], first)
        check(paths[1], second)
    with open_table(paths[0], "T") as one, open_table(paths[1], "T") as other:
        assert dict(one.columns) != dict(other.columns)
