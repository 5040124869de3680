"""Datasets and loaders over files on real servers: everything that works with local files."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from event_files import NUM_EVENTS, check_epoch, columns_of
from remote_servers import Place, Proxy, XRootDServer

import rootml
from rootml.batching import Padded
from rootml.storage import Remote, open_table

READ_BY_RANGES = ("ttree", "rntuple", "parquet")
Samples = Callable[[str], list[list[str]]]
MODES: dict[str, dict[str, Any]] = {
    "sequential": {},
    "resident": {"shuffle": True},
    "pool": {"shuffle": True, "buffer_bytes": 150_000, "unit_bytes": 6_000},
    "disk": {"shuffle": True, "buffer_bytes": 90_000, "unit_bytes": 6_000, "cache": "shuffled"},
}

POOL: dict[str, Any] = {"buffer_bytes": 400_000, "unit_bytes": 6_000}


def opened(place: Place, samples: Samples, format_: str = "ttree", **options: Any) -> Any:
    """Background and signal from a server."""
    tree = "" if format_ == "parquet" else ":Events"
    background, signal = (
        rootml.open(
            [f"{place.url(name)}{tree}" for name in names],
            label=label,
            weight="weight",
            remote=Remote(timeout=20, **options),
        )
        for label, names in enumerate(samples(format_))
    )
    return background + signal


@pytest.mark.parametrize("mode", MODES)
def test_epochs_have_every_event_once_and_right(
    place: Place, remote_samples: Samples, mode: str, tmp_path: Path
) -> None:
    options = dict(MODES[mode])
    if "cache" in options:
        options["cache"] = tmp_path / options["cache"]
    data = opened(place, remote_samples).select(["x", "y", "k"])
    loader = data.batches(100, seed=5, observers=["id"], **options)
    epochs = [check_epoch(loader.iterate()).ids for _ in range(2)]
    for ids in epochs:
        np.testing.assert_array_equal(np.sort(ids), np.arange(NUM_EVENTS))
    assert (mode == "sequential") == bool(np.array_equal(epochs[0], epochs[1]))
    assert loader.mode == mode
    loader.close()


@pytest.mark.parametrize("format_", READ_BY_RANGES)
def test_cuts_lists_and_other_formats(
    xrootd: XRootDServer, remote_samples: Samples, format_: str
) -> None:
    data = opened(xrootd, remote_samples, format_).filter("k != 3 && Length$(jet) > 0")
    ids = np.arange(NUM_EVENTS)
    passing = ids[(ids % 7 != 3) & (ids % 4 > 0)]
    inputs = {"event": ["x", "y", "k"], "jets": Padded(["jet", "tag"], length=2, value=-1)}
    loader = data.batches(64, shuffle=True, inputs=inputs, observers=["id"])
    np.testing.assert_array_equal(np.sort(check_epoch(loader.iterate()).ids), passing)
    assert data.scan().num_rows == len(passing)


def test_skim_to_local_files(place: Place, remote_samples: Samples, tmp_path: Path) -> None:
    data = opened(place, remote_samples).filter("x > 100").select(["id", "jet"])
    paths = data.skim(tmp_path / "skim")
    with uproot.open(paths[0]) as file:
        tree = next(iter(file.values()))
        expected = columns_of(np.arange(201, 700))
        assert ak.array_equal(tree["jet"].array(), expected["jet"], dtype_exact=False)
    found = ak.concatenate([rootml.open(path).to_awkward() for path in paths])
    np.testing.assert_array_equal(np.sort(found["id"]), np.arange(201, NUM_EVENTS))


def test_workers_of_a_cluster_read_by_themselves(
    place: Place, remote_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    data = opened(place, remote_samples, retries=2).filter("k != 3").select(["id", "x"])
    expected = data.to_awkward()
    assert expected["id"].tolist() == [i for i in range(NUM_EVENTS) if i % 7 != 3]
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, dashboard_address=None, processes=True
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        found = data.on(client).to_awkward()
    assert ak.array_equal(found, expected)


def test_workers_of_torch_read_by_themselves(place: Place, remote_samples: Samples) -> None:
    data = pytest.importorskip("torch.utils.data")
    loader = (
        opened(place, remote_samples)
        .select(["x", "y", "k"])
        .batches(100, shuffle=True, seed=2, observers=["id"], **POOL)
    )
    here = np.concatenate([batch.observers["id"] for batch in loader.iterate()])
    assert sorted(here) == list(range(NUM_EVENTS))
    workers = data.DataLoader(loader.torch(), batch_size=None, num_workers=2)
    found = [observers["id"].numpy() for *_, observers in workers]
    assert sorted(np.concatenate(found)) == list(range(NUM_EVENTS))


def test_friends_on_the_server(
    place: Place, remote_samples: Samples, remote_folder: Path, tmp_path: Path
) -> None:
    name = remote_samples("ttree")[0][0]
    local = rootml.open(f"{remote_folder / name}:Events")
    score = np.arange(700, dtype=np.float32) ** 2
    (path,) = local.write_friend(tmp_path, {"score": score})
    shutil.copy(path, remote_folder / f"friend_of_{name}")
    (remote_folder / f"friend_of_{name}").chmod(0o644)
    data = rootml.open(
        f"{place.url(name)}:Events",
        friends=place.url(f"friend_of_{name}"),
        remote=Remote(timeout=20),
    )
    found = data.filter("score > 100").select(["id", "score"]).to_awkward()
    assert found["id"].tolist() == list(range(11, 700))
    np.testing.assert_array_equal(found["score"], score[11:])


# --- how much is read ----------------------------------------------------------------------------

COLUMNS, WANTED, EVENTS, CLUSTER = 60, ("c03", "c17", "c18", "c41", "j1"), 120_000, 40_000


def wide_events(rows: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Columns that hardly compress."""
    rng = np.random.default_rng(int(rows[0]))
    found: dict[str, Any] = {
        f"c{number:02d}": rng.normal(size=len(rows)).astype(np.float32)
        for number in range(COLUMNS)
    }
    counts = rng.integers(0, 4, len(rows))
    for name in ("j1", "j2"):
        found[name] = ak.unflatten(rng.normal(size=counts.sum()).astype(np.float32), counts)
    return found


@pytest.fixture(scope="session")
def wide_file(remote_folder: Path) -> Callable[[str], str]:
    """The name of a file of many columns, by format."""
    made: dict[str, str] = {}

    def name(format_: str) -> str:
        if format_ in made:
            return made[format_]
        parts = [
            wide_events(np.arange(start, start + CLUSTER)) for start in range(0, EVENTS, CLUSTER)
        ]
        made[format_] = f"wide_{format_}.{'parquet' if format_ == 'parquet' else 'root'}"
        path = remote_folder / made[format_]
        if format_ == "parquet":
            whole = ak.concatenate([ak.Array(part) for part in parts])
            ak.to_parquet(whole, path, row_group_size=CLUSTER, extensionarray=False)
            return made[format_]
        with uproot.recreate(path) as file:
            types = {column: ak.type(values).content for column, values in parts[0].items()}
            if format_ == "ttree":
                writer = file.mktree("Events", types)
            else:
                writer = file.mkrntuple("Events", ak.Array(parts[0]).layout.form)
            for part in parts:
                writer.extend(part if format_ == "ttree" else ak.Array(part))
        return made[format_]

    return name


def needed_bytes(path: Path, format_: str) -> int:
    """Compressed size of the wanted columns, as other libraries know it."""
    if format_ == "parquet":
        metadata = pq.ParquetFile(path).metadata
        chunks = [
            metadata.row_group(group).column(number)
            for group in range(metadata.num_row_groups)
            for number in range(metadata.num_columns)
        ]
        wanted = [c for c in chunks if c.path_in_schema.split(".")[0] in WANTED]
        return sum(chunk.total_compressed_size for chunk in wanted)
    with uproot.open(path) as file:
        tree = file["Events"]
        if format_ == "ttree":
            return sum(
                int(tree[name].basket_compressed_bytes(number))
                for name in WANTED
                for number in range(tree[name].num_baskets)
            )
        return sum(_pages(tree, name) for name in WANTED)


def _pages(tree: Any, name: str) -> int:
    records = tree.field_records
    number = next(i for i, field in enumerate(records) if field.field_name == name)
    fields = {number} | {i for i, field in enumerate(records) if field.parent_field_id == number}
    columns = [column.idx for column in tree.column_records if column.field_id in fields]
    return sum(
        page.locator.num_bytes
        for links in tree.page_link_list
        for column in columns
        for page in links[column].pages
    )


@pytest.mark.parametrize("format_", READ_BY_RANGES)
def test_bytes_over_the_wire_are_those_of_the_columns(
    request: pytest.FixtureRequest,
    place: Place,
    wide_file: Callable[[str], str],
    remote_folder: Path,
    format_: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = wide_file(format_)
    place.url(name)
    proxy = Proxy(place.port)
    request.addfinalizer(proxy.close)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
    url = place.url(name, proxy.port)
    data = rootml.open(url if format_ == "parquet" else f"{url}:Events").select([*WANTED])
    loader = data.batches(
        1000, inputs=[*WANTED[:-1]], observers=["n = Length$(j1)"], unit_bytes="300 kB"
    )
    rows = sum(batch.num_rows for batch in loader.iterate())
    loader.close()
    assert rows == EVENTS
    ratio = proxy.received / needed_bytes(remote_folder / name, format_)
    assert 0.9 < ratio <= 1.1, ratio


def test_one_vector_read_per_unit(
    xrootd: XRootDServer, wide_file: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client: Any = importlib.import_module("XRootD.client")
    asked: list[int] = []
    plain = client.File.vector_read

    def counted(self: Any, chunks: Any, *args: Any, **options: Any) -> Any:
        asked.append(len(chunks))
        return plain(self, chunks, *args, **options)

    with open_table(xrootd.url(wide_file("ttree"))) as table:
        table.read([*WANTED], 0, CLUSTER)  # what is known of the columns is read here
        monkeypatch.setattr(client.File, "vector_read", counted)
        table.read([*WANTED], CLUSTER, 2 * CLUSTER)
    assert len(asked) == 1
    assert 2 <= asked[0] <= len(WANTED)
