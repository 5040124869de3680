"""Which files a user means, and what is said where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rootml.errors import MissingFileError, UsageError
from rootml.storage import expand_paths
from rootml.storage._paths import split_tree


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("part_1.root", "part_2.root", "part_10.root", "dy.root", "tt.parquet"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.root").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("dy.root", [("dy.root", None)]),
        ("dy.root:Events", [("dy.root", "Events")]),
        ("dy.root:/dir//Events/", [("dy.root", "dir/Events")]),
        ("part_*.root:T", [(f"part_{n}.root", "T") for n in (1, 2, 10)]),
        ("**/x.root", [("sub/x.root", None)]),
        (["tt.parquet", "dy.root:A"], [("tt.parquet", None), ("dy.root", "A")]),
        ({"dy.root": "A", "tt.parquet": None}, [("dy.root", "A"), ("tt.parquet", None)]),
        (["part_2.root:A", {"dy.root": "B"}], [("part_2.root", "A"), ("dy.root", "B")]),
        ({"part_?.root": "A"}, [("part_1.root", "A"), ("part_2.root", "A")]),
        (Path("dy.root"), [("dy.root", None)]),
        (["dy.root:A", "dy.root:B"], [("dy.root", "A"), ("dy.root", "B")]),
        ("https://host:443/a.root?x=1:T", [("https://host:443/a.root?x=1", "T")]),
        ("root://host:1094//a/b.root", [("root://host:1094//a/b.root", None)]),
        ("s3://bucket/a.parquet", [("s3://bucket/a.parquet", None)]),
    ],
)
def test_what_is_meant(folder: Path, given: Any, expected: list[Any]) -> None:
    assert expand_paths(given) == expected


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ("dz.root", MissingFileError, "no such file: 'dz.root'.*has: 'dy.root'"),
        ("sup/x.root", MissingFileError, "no folder 'sup'; nearest: 'sub'"),
        ("nothing_*.root", MissingFileError, "no file matches 'nothing_"),
        ([], UsageError, "no files given"),
        ("", UsageError, "not a path"),
        ("dy.root:", UsageError, "ends in a colon"),
        (7, UsageError, "cannot take int"),
        ({"dy.root:A": "B"}, UsageError, "two trees"),
        (["dy.root", "./dy.root"], UsageError, "given twice"),
        (["dy.root:A", "d*.root:A"], UsageError, "given twice"),
        ([b"dy.root"], UsageError, "cannot take bytes"),
        ({"dy.root": ["A"]}, UsageError, r"\['A'\]}; give one name: {'dy.root': 'A'}"),
        ({"dy.root": ["A", "B"]}, UsageError, r"several trees: \['dy.root:A', 'dy.root:B'\]"),
        ({"dy.root": 7}, UsageError, "'dy.root': 7"),
        ({"dy.root": ""}, UsageError, "'dy.root': ''"),
    ],
)
def test_what_makes_no_sense(folder: Path, given: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        expand_paths(given)


def test_a_colon_in_the_name_of_a_file_that_exists(folder: Path) -> None:
    (folder / "run:7").write_bytes(b"")
    assert split_tree("run:7") == ("run:7", None)
    assert split_tree("run:8") == ("run", "8")
