"""What opening reads by itself: baskets in the record of a tree, and RNTuples of a known schema.

uproot and ROOT say what is right; where our own parser is, uproot must not be asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

import rootml
from rootml.errors import CorruptFileError
from rootml.storage import open_table
from rootml.storage._uproot import UprootTree
from rootml.storage.rntuple import _storage
from rootml.storage.rntuple._envelopes import Unknown
from rootml.storage.rntuple._storage import RNTupleTable
from rootml.storage.ttree._storage import TTreeTable

EVENTS = 37


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files for which uproot is asked."""
    paths: list[str] = []
    true = UprootTree.open

    def spied(tree: UprootTree) -> Any:
        paths.append(Path(tree._guard.path).name)
        return true(tree)

    monkeypatch.setattr(UprootTree, "open", spied)
    return paths


# --- baskets in the record of a tree ---

CODE = r"""
void rootml_unflushed(const char *path, int events, int written) {
  TFile file(path, "RECREATE");
  TTree *tree = new TTree("T", "T");
  tree->SetAutoFlush(0);
  Int_t n; Float_t x, v[10]; Double_t fixed[3]; Bool_t good; char text[20];
  std::vector<double> vec;
  tree->Branch("n", &n, "n/I"); tree->Branch("x", &x, "x/F"); tree->Branch("v", v, "v[n]/F");
  tree->Branch("fixed", fixed, "fixed[3]/D"); tree->Branch("good", &good, "good/O");
  tree->Branch("text", text, "text/C"); tree->Branch("vec", &vec);
  for (int i = 0; i < events; ++i) {
    n = i % 4; x = .5f * i; good = i % 3 == 0; vec.assign(i % 3, i * .25);
    for (int k = 0; k < n; ++k) v[k] = i + k;
    for (int k = 0; k < 3; ++k) fixed[k] = i - k;
    snprintf(text, 20, "event %d", i);
    tree->Fill();
    if (i == written - 1) tree->FlushBaskets();
  }
  file.WriteTObject(tree);  // unlike TTree::Write this writes no baskets before
  file.Close();
}
"""


@pytest.fixture(scope="module")
def unflushed(root: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("unflushed")
    assert root.gInterpreter.Declare(CODE)
    paths = {"all": str(folder / "all.root"), "some": str(folder / "some.root")}
    root.rootml_unflushed(paths["all"], EVENTS, 0)
    root.rootml_unflushed(paths["some"], EVENTS, 20)
    return paths


@pytest.mark.needs_root
@pytest.mark.parametrize("which", ["all", "some"])
def test_baskets_in_the_record_of_the_tree(
    unflushed: dict[str, str], which: str, asked: list[str]
) -> None:
    path = unflushed[which]
    with uproot.open(path) as file, open_table(path) as table:
        tree = file["T"]
        assert all(branch.embedded_baskets for branch in tree.branches)
        names = [name for name in table.columns if name != "text"]
        for start, stop in ((0, EVENTS), (5, 31), (21, 22), (20, 20)):
            found = table.read(names, start, stop)
            for name in names:
                theirs = tree[name].array(entry_start=start, entry_stop=stop)
                assert ak.to_list(found[name]) == ak.to_list(theirs), (name, start, stop)
        assert isinstance(table, TTreeTable)
        assert not asked
        texts = table.read(["text"], 0, EVENTS)["text"]
        assert texts.tolist() == [f"event {number}" for number in range(EVENTS)]


@pytest.mark.needs_root
def test_as_root_reads_them(unflushed: dict[str, str], root: Any) -> None:
    theirs = root.RDataFrame("T", unflushed["some"]).AsNumpy(["n", "x"])
    mine = rootml.open(unflushed["some"]).select(["n", "x"]).to_awkward()
    assert mine["n"].tolist() == theirs["n"].tolist()
    assert mine["x"].tolist() == theirs["x"].tolist()


# --- RNTuples of a known schema ---


def write(path: Path, seed: int, *, names: str = "abc", clusters: int = 3) -> dict[str, Any]:
    """Scalars, lists, strings and fixed arrays; what is in it."""
    random = np.random.default_rng(seed)
    parts = []
    with uproot.recreate(path) as file:
        for number in range(clusters):
            counts = random.integers(0, 4, 50 + number)
            size = len(counts)
            part = {
                **{name: random.normal(size=size) for name in names},
                "i": random.integers(-100, 100, size),
                "good": random.random(size) > 0.5,
                "v": ak.unflatten(random.random(counts.sum(), dtype=np.float32), counts),
                "text": ak.Array([f"{each}" for each in counts]),
            }
            if number == 0:
                file.mkrntuple("Events", part)
            else:
                file["Events"].extend(part)
            parts.append(part)
    return {name: ak.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_storage, "_SCHEMAS", _storage._Schemas())


def test_a_known_schema_is_not_parsed_again(tmp_path: Path, asked: list[str]) -> None:
    contents = [write(tmp_path / f"{n}.root", n, clusters=n + 1) for n in range(3)]
    other = write(tmp_path / "other.root", 9, names="abd")
    for number, content in enumerate([*contents, other]):
        name = f"{number}.root" if number < 3 else "other.root"
        with open_table(str(tmp_path / name)) as table:
            assert isinstance(table, RNTupleTable)
            assert table.num_entries == len(content["i"])
            plain = [each for each in content if each != "text"]
            found = table.read(plain, 0, table.num_entries)
            for each in plain:
                assert ak.to_list(found[each]) == ak.to_list(content[each]), (name, each)
            assert asked == ["0.root", "other.root"][: 1 + (number == 3)]
    with open_table(str(tmp_path / "2.root")) as table:
        part = table.read(["text", "v"], 40, 120)  # strings are uproot's
        assert part["text"].tolist() == contents[2]["text"][40:120].tolist()
        assert part["v"].tolist() == contents[2]["v"][40:120].tolist()
        assert isinstance(table, RNTupleTable)
        with uproot.open(tmp_path / "2.root") as file:
            assert table.fingerprint.uuid == str(file.file.uuid)
            first = [cluster.num_first_entry for cluster in file["Events"].cluster_summaries]
            assert table._clusters.tolist() == [*first, table.num_entries]


def test_page_tables_are_those_of_uproot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.root", 1)
    ours = open_table(str(tmp_path / "a.root"))
    assert isinstance(ours, RNTupleTable)
    assert ours._lists is not None

    def refuse(*_: Any) -> None:
        raise Unknown

    monkeypatch.setattr(_storage, "read_metadata", refuse)
    theirs = open_table(str(tmp_path / "a.root"))
    assert isinstance(theirs, RNTupleTable)
    assert theirs._lists is None
    mine, uproots = ours._known(list(ours.columns)), theirs._known(list(ours.columns))
    assert mine.keys() == uproots.keys() == {"a", "b", "c", "i", "good", "v"}
    for name, pages in mine.items():
        for column in ("values", "ends"):
            one, other = getattr(pages, column), getattr(uproots[name], column)
            if one is None or other is None:
                assert one is other
                continue
            for field in ("kind", "dtype"):
                assert getattr(one, field) == getattr(other, field)
            for field in ("bounds", "clusters", "offsets", "sizes", "checked"):
                np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    assert (ours.num_entries, ours.fingerprint) == (theirs.num_entries, theirs.fingerprint)


def test_damaged_metadata_is_said_to_be(tmp_path: Path) -> None:
    """A bit turned anywhere in header, footer, page list or anchor."""
    path = tmp_path / "a.root"
    write(path, 1)
    whole = path.read_bytes()
    with uproot.open(path) as file:
        tree = file["Events"]
        members = tree._members
        link = tree.footer.cluster_group_records[0].page_list_link.locator
        places = [
            (members["fSeekHeader"], members["fNBytesHeader"]),
            (members["fSeekFooter"], members["fNBytesFooter"]),
            (link.offset, link.num_bytes),
        ]
    random = np.random.default_rng(3)
    for offset, size in places:
        for at in random.integers(offset, offset + size, 12).tolist():
            damaged = bytearray(whole)
            damaged[at] ^= 1 << int(random.integers(8))
            path.write_bytes(damaged)
            with pytest.raises(CorruptFileError):
                open_table(str(path))
