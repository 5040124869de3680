"""root://, https:// and s3:// from real servers: the same values as from the local file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from event_files import columns_of
from remote_servers import HttpsServer, Place, S3Place, XRootDServer

from rootml.errors import MissingFileError, MissingTreeError, UsageError
from rootml.storage import Remote, expand_paths, list_trees, open_table

ROWS = 1500
RANGES = ((0, ROWS), (0, 1), (249, 251), (500, 750), (1333, ROWS), (700, 700))


def assert_same(found: Any, expected: Any, what: str) -> None:
    assert ak.array_equal(ak.Array(found), ak.Array(expected), dtype_exact=False), what


@pytest.mark.parametrize("format_", ["ttree", "rntuple", "parquet", "arrow"])
def test_values_are_those_of_the_events(
    place: Place, remote_events: Callable[[str, int], str], format_: str
) -> None:
    url = place.url(remote_events(format_, ROWS))
    with open_table(url) as table:
        assert (table.path, table.format, table.num_entries) == (url, format_, ROWS)
        names = list(table.columns)
        for start, stop in RANGES:
            expected = columns_of(np.arange(start, stop, dtype=np.int64))
            found = table.read(names, start, stop)
            assert list(found) == names
            assert {*expected} <= {*names}  # counters may stand beside them
            for name in expected:
                assert_same(found[name], expected[name], f"{name} of {start} to {stop}")


@pytest.mark.parametrize(
    ("name", "tree"),
    [
        ("uproot-HZZ.root", "events"),
        ("uproot-stl_containers.root", "tree"),
        ("uproot-small-flat-tree.root", "tree"),
        ("Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root", "Events"),
    ],
)
def test_real_files_are_read_as_uproot_reads_the_local_copy(
    xrootd: XRootDServer,
    https: HttpsServer,
    remote_folder: Path,
    real_file: Callable[[str], str],
    name: str,
    tree: str,
) -> None:
    shutil.copy(real_file(name), remote_folder / name)
    for server in (xrootd, https):
        url = server.url(name)
        with open_table(url, tree) as table, uproot.open(remote_folder / name) as local:
            assert table.fingerprint.uuid == str(local.file.uuid)
            assert list_trees(url)[tree] == local[tree].num_entries == table.num_entries
            stop = table.num_entries
            for column, kind in table.columns.items():
                if kind.kind == "unsupported":
                    continue
                found = table.read([column], stop // 3, stop)[column]
                keys: list[str] = local[tree].keys()
                path = next(key for key in keys if column in {key, key.split("/")[-1]})
                expected = local[tree][path].array(entry_start=stop // 3, entry_stop=stop)
                assert_same(found, expected, column)


@pytest.mark.parametrize("several", ["answered", "ignored", "refused"])
def test_a_web_server_that_answers_several_ranges_is_asked_once(
    https: HttpsServer, remote_events: Callable[[str, int], str], several: str
) -> None:
    https.several = several == "answered"
    https.refuses_several = several == "refused"
    expected = columns_of(np.arange(500, 750, dtype=np.int64))
    with open_table(https.url(remote_events("ttree", ROWS)), remote=Remote(gap=0)) as table:
        table.read(["x", "k", "weight"], 0, 10)
        https.served.clear()
        found = table.read(["x", "k", "weight"], 500, 750)
    for name in found:
        assert_same(found[name], expected[name], name)
    assert len(https.served) == (1 if several == "answered" else 3)


def test_the_web_side_of_xrootd(
    xrootd: XRootDServer, remote_events: Callable[[str, int], str]
) -> None:
    url = f"http://127.0.0.1:{xrootd.web_port}/{remote_events('ttree', ROWS)}"
    expected = columns_of(np.arange(100, 1300, dtype=np.int64))
    with open_table(url, "Events", remote=Remote(gap=0)) as table:
        found = table.read(["id", "x", "jet", "flag"], 100, 1300)
    for name in found:
        assert_same(found[name], expected[name], name)


def test_globs_where_the_protocol_lists(
    xrootd: XRootDServer, s3: S3Place, https: HttpsServer, remote_folder: Path
) -> None:
    names = ["glob/part_10.root", "glob/part_2.root", "glob/deep/part_3.root", "glob/other.txt"]
    for name in names:
        (remote_folder / name).parent.mkdir(parents=True, exist_ok=True)
        (remote_folder / name).parent.chmod(0o755)
        (remote_folder / name).write_bytes(b"x")
        s3.url(name)
    for base in (xrootd.url(""), "s3://events/"):
        assert expand_paths(f"{base}glob/part_*.root:Events") == [
            (f"{base}glob/part_2.root", "Events"),
            (f"{base}glob/part_10.root", "Events"),
        ]
        deep = [path for path, _ in expand_paths(f"{base}glob/**/part_*.root")]
        assert deep == [f"{base}{name}" for name in (names[2], names[1], names[0])]
        with pytest.raises(MissingFileError, match=r"no file matches .*nothing_\*.root"):
            expand_paths(f"{base}glob/nothing_*.root")
    with pytest.raises(UsageError, match="https:// cannot list files"):
        expand_paths(https.url("glob/part_*.root"))


def test_what_is_not_there_is_named(
    place: Place, remote_events: Callable[[str, int], str], s3: S3Place
) -> None:
    url = place.url(remote_events("ttree", ROWS))
    wanted = r"nearest: 'Events'; available: 'Events' \(1,500 ent"
    with pytest.raises(MissingTreeError, match=wanted):
        open_table(url, "Event")
    missing = url.replace("ttree", "no_such")
    with pytest.raises(MissingFileError, match="no_such"):
        open_table(missing, "Events", remote=Remote(retries=0))
