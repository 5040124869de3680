"""Trees as experiments write them and tutorials do not, made by ROOT: against what went in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rootml
from rootml.errors import ExpressionError, RootmlError, UnsupportedTypeError
from rootml.storage import open_table

pytestmark = pytest.mark.needs_root

MAKE = """
struct RootmlTrack { float px = 0; int charge = 0; std::vector<float> hits; };
struct RootmlVertex { float z = 0; int quality = 0; };
struct RootmlEvent {
  int run = 0; RootmlVertex vertex; std::vector<RootmlTrack> tracks; virtual ~RootmlEvent() {}
};
void make_rootml_split_tree(const char *path, int level) {
  TFile file(path, "RECREATE");
  TTree tree("T", "");
  RootmlEvent event, *pointer = &event;
  tree.Branch("event", &pointer, 32000, level);
  for (int k = 0; k < 20; ++k) {
    event.run = k; event.vertex.z = 0.5 * k; event.vertex.quality = 10 * k;
    event.tracks.clear();
    for (int j = 0; j < k % 3; ++j) {
      RootmlTrack track; track.px = k + j; track.charge = -j; track.hits.assign(j, k);
      event.tracks.push_back(track);
    }
    tree.Fill();
  }
  tree.Write();
}
"""


MAKE_RNTUPLE = """
#include <ROOT/RField.hxx>
#include <ROOT/RNTupleModel.hxx>
#include <ROOT/RNTupleWriter.hxx>
#include <variant>
void make_rootml_rntuple(const char *path) {
  using namespace ROOT;
  auto model = RNTupleModel::Create();
  auto variant = model->MakeField<std::variant<int, float>>("variant");
  auto variants = model->MakeField<std::vector<std::variant<int, float>>>("variants");
  auto pairs = model->MakeField<std::vector<std::pair<int, float>>>("pairs");
  auto writer = RNTupleWriter::Recreate(std::move(model), "N", path);
  std::shared_ptr<std::array<int, 2>> late;
  for (int k = 0; k < 60; ++k) {
    if (k == 30) {
      auto updater = writer->CreateModelUpdater();
      updater->BeginUpdate();
      updater->AddField(RFieldBase::Create("late", "std::array<int,2>").Unwrap());
      updater->CommitUpdate();
      late = writer->GetModel().GetDefaultEntry().GetPtr<std::array<int, 2>>("late");
    }
    if (k % 2) *variant = k; else *variant = 0.5f * k;
    variants->assign(k % 3, *variant);
    pairs->assign(k % 3, {k, 0.5f * k});
    if (late) *late = {k, -k};
    writer->Fill();
    if (k % 20 == 19) writer->CommitCluster(true);
  }
}
"""


@pytest.fixture(scope="module")
def make(root: Any) -> Any:
    root.gInterpreter.Declare(MAKE)
    root.gInterpreter.Declare(MAKE_RNTUPLE)
    return root


def test_a_split_object_within_a_split_object(make: Any, tmp_path: Path) -> None:
    path = f"{tmp_path}/split.root"
    make.make_rootml_split_tree(path, 99)
    found = rootml.open(path).to_awkward()
    assert found["event"][5].to_list() == {
        "run": 5,
        "vertex": {"vertex.z": 2.5, "vertex.quality": 50},
        "tracks": {
            "tracks.px": [5.0, 6.0],
            "tracks.charge": [0, -1],
            "tracks.hits": [[], [5.0]],
        },
    }
    assert found["vertex.quality"].to_list() == [10 * k for k in range(20)]
    assert rootml.open(path).filter("Sum$(tracks.px) > 20").scan().num_rows == sum(
        sum(k + j for j in range(k % 3)) > 20 for k in range(20)
    )


def test_an_element_of_a_split_list_of_objects(make: Any, tmp_path: Path) -> None:
    """``tracks[i].px`` and ``tracks.px[i]`` are one thing, as in TTree::Draw."""
    path = f"{tmp_path}/elements.root"
    make.make_rootml_split_tree(path, 99)
    file = make.TFile.Open(path)
    for cut in ("tracks[0].px > 5", "tracks[1].px > 5 && tracks[0].charge == 0"):
        expected = file.Get("T").Draw("run", cut, "goff")
        for dialect in ("rootml", "draw"):
            found = rootml.open(path).filter(cut, dialect=dialect).scan().num_rows
            assert found == expected > 0, (cut, dialect)
    with pytest.raises(ExpressionError, match=r"write x.member\[i\]"):
        rootml.open(path).filter("tracks[0] > 5").scan()


def test_what_uproot_cannot_read_is_not_called_damaged(make: Any, tmp_path: Path) -> None:
    path = f"{tmp_path}/whole.root"
    make.make_rootml_split_tree(path, 1)
    data = rootml.open(path)
    assert data.select(["run"]).to_awkward()["run"].to_list() == list(range(20))
    with pytest.raises(UnsupportedTypeError, match="column 'tracks'.*cannot be read: Not.*wise"):
        data.select(["tracks"]).to_awkward()


def test_fields_of_an_rntuple_that_uproot_mixes_up(make: Any, tmp_path: Path) -> None:
    """Over several clusters, and from the middle of them: against what was written."""
    path = f"{tmp_path}/n.root"
    make.make_rootml_rntuple(path)
    variant = [k if k % 2 else 0.5 * k for k in range(60)]
    written: dict[str, list[Any]] = {
        "variant": variant,
        "variants": [[variant[k]] * (k % 3) for k in range(60)],
        "late": [[k, -k] if k >= 30 else [0, 0] for k in range(60)],
        "pairs.0": [[k] * (k % 3) for k in range(60)],
        "pairs.1": [[0.5 * k] * (k % 3) for k in range(60)],
    }
    with open_table(path, "N") as table:
        for start, stop in ((0, 60), (20, 40), (10, 50), (29, 31), (39, 60), (40, 41)):
            for name, values in table.read(list(written), start, stop).items():
                assert values.tolist() == written[name][start:stop], (name, start, stop)
    data = rootml.open(path).select(["one = pairs.first", "two = 2 * pairs._1"])
    assert data.to_awkward()["one"].tolist() == written["pairs.0"]
    assert data.to_awkward()["two"].tolist() == [
        [2 * x for x in each] for each in written["pairs.1"]
    ]


def test_damage_in_pages_that_uproot_reads_is_found(make: Any, tmp_path: Path) -> None:
    """By the checksums of pages and of their lists; uproot compares neither."""
    path = tmp_path / "n.root"
    make.make_rootml_rntuple(str(path))
    names, rng, found = ["variants", "pairs.1", "late"], np.random.default_rng(4), 0
    with open_table(str(path), "N") as table:
        whole = {name: column.tolist() for name, column in table.read(names, 0, 60).items()}
    raw = np.frombuffer(path.read_bytes(), np.uint8)
    for number in range(150):
        damaged = raw.copy()
        damaged[rng.integers(1000, len(raw))] ^= 1 << rng.integers(0, 8)
        copy = tmp_path / f"{number}.root"
        copy.write_bytes(damaged.tobytes())
        try:
            with open_table(str(copy), "N") as table:
                read = {name: column.tolist() for name, column in table.read(names, 0, 60).items()}
        except RootmlError as error:
            assert str(copy) in str(error)  # noqa: PT017
            found += 1
        else:
            assert read == whole
    assert found > 10
