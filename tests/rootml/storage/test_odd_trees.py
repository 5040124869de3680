"""Trees as experiments write them and tutorials do not, made by ROOT: against what went in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rootml
from rootml.errors import UnsupportedTypeError

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


@pytest.fixture(scope="module")
def make(root: Any) -> Any:
    root.gInterpreter.Declare(MAKE)
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


def test_what_uproot_cannot_read_is_not_called_damaged(make: Any, tmp_path: Path) -> None:
    path = f"{tmp_path}/whole.root"
    make.make_rootml_split_tree(path, 1)
    data = rootml.open(path)
    assert data.select(["run"]).to_awkward()["run"].to_list() == list(range(20))
    with pytest.raises(UnsupportedTypeError, match="column 'tracks'.*cannot be read: Not.*wise"):
        data.select(["tracks"]).to_awkward()
