"""Numbers that are packed into fewer bits, against ROOT's own reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rootml
from rootml.errors import UnsupportedTypeError

WRITE = """
void write_packed(const char* path) {
  TFile file(path, "recreate"); TTree tree("t", "t");
  int n; Float16_t f[3], g[10], h[2][2]; Double32_t d[2], e[10], s, p[2], q[2];
  tree.Branch("n", &n); tree.Branch("f", f, "f[3]/f[0,100,12]");
  tree.Branch("g", g, "g[n]/f[-5, 5]"); tree.Branch("h", h, "h[2][2]/f[0,0,10]");
  tree.Branch("d", d, "d[2]/d[0,6.28,16]"); tree.Branch("e", e, "e[n]/d[-3,3,20]");
  tree.Branch("s", &s, "s/d[0,10,8]"); tree.Branch("p", p, "p[2]/d");
  tree.Branch("q", q, "q[2]/d[0,pi,9]");
  auto lv = new ROOT::Math::PtEtaPhiMVector(1, 2, 3, 4); tree.Branch("lv", &lv, 32000, 0);
  TRandom3 random(1);
  for (int i = 0; i < 200; ++i) {
    n = i % 4; s = random.Uniform(0, 10);
    for (auto& x : f) x = random.Uniform(0, 100);
    for (auto& x : g) x = random.Uniform(-5, 5);
    for (auto& row : h) for (auto& x : row) x = random.Gaus(0, 30);
    for (auto& x : d) x = random.Uniform(0, 6.28);
    for (auto& x : e) x = random.Uniform(-3, 3);
    for (auto& x : p) x = random.Gaus();
    for (auto& x : q) x = random.Uniform(0, 3);
    tree.Fill();
  }
  tree.Write();
}
"""


@pytest.mark.needs_root
def test_arrays_with_a_range(tmp_path: Path, root: Any) -> None:
    """uproot takes the size for the range: values were wrong, or not read."""
    root.gInterpreter.Declare(WRITE)
    path = str(tmp_path / "packed.root")
    root.write_packed(path)
    file = root.TFile(path)
    tree = file.Get("t")
    data = rootml.open(path)
    for name in "fghdesp":
        count = tree.Draw(name, "", "goff")
        expected = np.array([tree.GetV1()[i] for i in range(count)])
        found = np.concatenate([np.ravel(x) for x in data.select([name]).to_awkward()[name]])
        atol = 1e-6 if name == "g" else 1e-8  # uproot adds the lower edge, -5, in float32
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=atol, err_msg=name)
    file.Close()
    with pytest.raises(UnsupportedTypeError, match=r"'q'.*pi.*write what you need as numbers"):
        data.select(["q"]).to_awkward()
    vectors = data.select(["pt = lv.Pt()", "phi = lv.Phi()"]).to_awkward()
    assert vectors["pt"].tolist() == [1.0] * 200
    assert vectors["phi"].tolist() == [3.0] * 200
