"""Partitions, the selection index, cutflow: against uproot, NumPy and RDataFrame's report."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from event_files import FORMATS, NUM_BACKGROUND, NUM_EVENTS, columns_of, write_events

import rootml
from rootml.errors import ChangedFileError, CorruptFileError, MissingFileError, StateError

Events = Callable[[str], rootml.Dataset]
IDS = np.arange(NUM_EVENTS, dtype=np.int64)
ALL = columns_of(IDS)


# --- partitions ---


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("target", [1, 3000, 10_000, 10**9])
def test_partitions_cover_each_entry_once(events: Events, format_: str, target: int) -> None:
    data = events(format_).select(["x", "y"])
    partitions = data.partitions(target)
    entries: dict[Any, list[Any]] = {}
    for partition in partitions:
        entries.setdefault((partition.sample, partition.file), []).append(partition)
    sizes = []
    for parts in entries.values():
        assert parts[0].start == 0
        assert all(a.stop == b.start for a, b in itertools.pairwise(parts))
        sizes.append(parts[-1].stop)
    assert sizes == [700, 1301, 90, 1000, 811]
    if target == 10**9:
        assert len(partitions) == 5
    if target == 1:  # a cluster is never cut
        assert len(partitions) == sum(-(-size // 250) for size in sizes)
    assert data.partitions(target) == partitions


def test_partitions_do_not_depend_on_the_cut(events: Events) -> None:
    data = events("ttree").select(["x"])
    assert data.filter("k > 3").partitions(4000) == data.partitions(4000)


# --- the index ---


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("threads", [1, 4])
def test_index_knows_which_entries_pass(events: Events, format_: str, threads: int) -> None:
    data = events(format_).filter("k > 2").filter("flag || y < 300")
    wanted = (ALL["k"] > 2) & (ALL["flag"] | (ALL["y"] < 300))
    index = data.scan(target_bytes=3000, threads=threads)
    assert len(index.partitions) > 5
    assert index.num_rows == wanted.sum()
    assert index.num_entries == NUM_EVENTS
    masks = [index.mask(number) for number in range(len(index.partitions))]
    np.testing.assert_array_equal(np.concatenate([m for m in masks if m is not None]), wanted)
    np.testing.assert_array_equal(index.counts, [m.sum() for m in masks if m is not None])
    w = ALL["weight"][wanted].astype(np.float64)
    np.testing.assert_allclose(
        [index.total.sumw, index.total.sumw2, index.total.effective],
        [w.sum(), (w**2).sum(), w.sum() ** 2 / (w**2).sum()],
    )


def test_saved_index_is_used_instead_of_a_scan(events: Events, tmp_path: Path) -> None:
    data = events("ttree").filter("k > 2")
    saved = tmp_path / "k.index"
    first = data.scan(saved=saved)
    assert saved.exists()
    again = events("ttree").filter("k > 2")
    second = again.scan(saved=saved)
    assert (second.num_rows, second.key) == (first.num_rows, first.key)
    assert second.total == first.total
    np.testing.assert_array_equal(second.counts, first.counts)
    assert str(again.cutflow()) == str(data.cutflow())
    assert [each.name for each in tmp_path.iterdir()] == ["k.index"]


def test_saved_index_of_something_else(events: Events, tmp_path: Path) -> None:
    saved = tmp_path / "k.index"
    data = events("ttree").filter("k > 2")
    index = data.scan(saved=saved)
    for other in (events("ttree").filter("k > 3"), events("ttree"), data.with_weight(1)):
        with pytest.raises(StateError, match="another selection"):
            rootml.Dataset(other.samples).scan(saved=saved)
        partition = index.partitions[0]
        with pytest.raises(StateError, match="another selection"):
            other.read(partition, ["x"], index=index)


@pytest.mark.parametrize("damage", ["cut", "bits", "text", "empty"])
def test_damaged_index(events: Events, tmp_path: Path, damage: str) -> None:
    saved = tmp_path / "k.index"
    events("ttree").filter("k > 2").scan(saved=saved)
    raw = saved.read_bytes()
    changed = {
        "cut": raw[: len(raw) // 2],
        "bits": raw.replace(b'"format"', b'"fromat"'),
        "text": b"hello",
        "empty": b"",
    }
    saved.write_bytes(changed[damage])
    with pytest.raises(CorruptFileError, match=r"k\.index' is damaged"):
        events("ttree").filter("k > 2").scan(saved=saved)


def test_index_of_files_that_changed(tmp_path: Path) -> None:
    path = tmp_path / "f.root"
    write_events(path, IDS[:500], "ttree")
    name, saved = f"{path}:Events", tmp_path / "f.index"
    index = rootml.open(name).filter("k > 2").scan(saved=saved)
    index.verify()
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    with pytest.raises(ChangedFileError, match=r"f\.root"):
        index.verify()
    with pytest.raises(ChangedFileError, match=r"f\.root"):
        rootml.open(name).filter("k > 2").scan(saved=saved)
    path.unlink()
    with pytest.raises(MissingFileError, match=r"f\.root"):
        index.verify()
    with pytest.raises(MissingFileError, match="there is no folder"):
        write_and_open(tmp_path / "g.root").scan(saved=tmp_path / "not" / "f.index")


def write_and_open(path: Path) -> rootml.Dataset:
    write_events(path, IDS[:500], "ttree")
    return rootml.open(f"{path}:Events")


def test_file_that_changes_under_a_dataset(tmp_path: Path) -> None:
    data = write_and_open(tmp_path / "f.root").filter("k > 2")
    data.scan()
    time.sleep(0.01)
    write_events(tmp_path / "f.root", IDS[:400], "ttree")
    with pytest.raises(ChangedFileError, match=r"f\.root"):
        data.verify()
    with pytest.raises(ChangedFileError, match=r"f\.root"):
        data.select(["x"]).to_awkward()


def test_damaged_baskets_are_reported_from_threads(tmp_path: Path) -> None:
    data = write_and_open(tmp_path / "f.root")
    raw = bytearray((tmp_path / "f.root").read_bytes())
    for place in range(400, len(raw) * 2 // 3, 97):
        raw[place] ^= 0x5A
    (tmp_path / "f.root").write_bytes(bytes(raw))
    with pytest.raises(CorruptFileError, match=r"f\.root"):
        rootml.open(f"{tmp_path}/f.root:Events").to_awkward(threads=3)
    del data


# --- cutflow ---


def test_cutflow_per_label(events: Events) -> None:
    data = events("ttree").filter("k > 1", name="k").filter("jet[0] > 200").filter("flag")
    lead = np.full(NUM_EVENTS, -1.0)
    lead[ALL["id"] % 4 > 0] = ALL["id"][ALL["id"] % 4 > 0]
    masks = [np.ones(NUM_EVENTS, bool), ALL["k"] > 1, lead > 200, ALL["flag"]]
    steps = data.cutflow().steps
    assert [step.name for step in steps] == ["all events", "k", "jet[0] > 200", "flag"]
    passed = masks[0]
    for step, mask in zip(steps, masks, strict=True):
        passed = passed & mask
        for label in (0, 1):
            mine = passed & ((IDS >= NUM_BACKGROUND) == label)
            w = ALL["weight"][mine].astype(np.float64)
            assert step.labels[label].count == mine.sum()
            np.testing.assert_allclose(step.labels[label].sumw, w.sum(), atol=1e-9)
            np.testing.assert_allclose(step.labels[label].sumw2, (w**2).sum())
        assert step.sums.count == passed.sum()


@pytest.mark.needs_root
def test_cutflow_is_the_report_of_rdataframe(real_file: Callable[[str], str], root: Any) -> None:
    path = real_file("uproot-HZZ.root")
    cuts = {"jets": "NJet >= 2", "met": "MET_px*MET_px + MET_py*MET_py > 400", "muon": "NMuon > 0"}
    frame = root.RDataFrame("events", path)
    data = rootml.open(path)
    for name, cut in cuts.items():
        frame, data = frame.Filter(cut, name), data.filter(cut, name=name)
    report = frame.Report().GetValue()
    for step in data.cutflow().steps[1:]:
        theirs = report.At(step.name)
        assert step.sums.count == theirs.GetPass()
    assert data.scan().num_rows == frame.Count().GetValue()


def test_samples_with_different_cuts_have_a_flow_each(events: Events) -> None:
    data = events("ttree")
    one, other = (rootml.Dataset([sample]) for sample in data.samples)
    both = one.filter("k > 1") + other.filter("k > 2")
    flows = both.cutflow().flows
    assert len(flows) == 2
    with pytest.raises(rootml.errors.UsageError, match="different cuts"):
        _ = both.cutflow().steps
    assert sum(flow.steps[-1].sums.count for flow in flows) == both.scan().num_rows


def test_many_labels_are_no_classes(events: Events) -> None:
    index = events("ttree").with_label("id").scan()
    with pytest.raises(rootml.errors.UsageError, match="more values than classes"):
        _ = index.labels
    assert index.total.count == NUM_EVENTS


def test_uproot_agrees_on_a_real_file(real_file: Callable[[str], str]) -> None:
    path = real_file("uproot-Zmumu-zstd.root")
    with uproot.open(path) as file:
        columns = file["events"].arrays(["pt1", "eta1", "M", "Run", "Event"], library="np")
    wanted = (columns["pt1"] > 30) & (np.abs(columns["eta1"]) < 1.5)
    found = rootml.open(path).filter("pt1 > 30 && fabs(eta1) < 1.5").select(["M"]).to_awkward()
    np.testing.assert_array_equal(found["M"], columns["M"][wanted])
