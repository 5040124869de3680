"""What a training is given to learn from and to be judged by; where it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow.parquet
import pytest
from morphing_toy import CONDITIONS, FEATURES
from scipy import stats

import rootml
from rootml.errors import MissingFileError
from rootml.sbi.morphing import Morpher
from rootml.sbi.morphing.flow._training import Trainer

pytest.importorskip("torch")


def test_sorted_files_are_validated_whole(
    sim: rootml.Dataset, data: rootml.Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of more held-out rows than are used, not just the first ones."""
    seen: list[Any] = []

    class Seen(Trainer):
        def __init__(self, flow: Any, train: Any, validation: Any, *args: Any, **kw: Any) -> None:
            seen.append(validation.context[validation.context[:, -1] == 0, 0])
            super().__init__(flow, train, validation, *args, **kw)

    columns = sim.to_awkward()
    columns = columns[np.argsort(columns["pt"])]
    table = ak.to_arrow_table(columns, extensionarray=False)
    pyarrow.parquet.write_table(table, tmp_path / "sorted.parquet")
    monkeypatch.setattr("rootml.sbi.morphing._fit.MAX_VALIDATION_ROWS", 300)
    monkeypatch.setattr("rootml.sbi.morphing._fit.Trainer", Seen)
    morpher = Morpher(FEATURES, CONDITIONS, steps=2, reweight="none", max_rows=len(columns))
    morpher.fit(rootml.open(str(tmp_path / "sorted.parquet")), data, progress=False)
    everything = columns["pt"].to_numpy()
    ranks = [np.quantile(seen[0], q) for q in (0.1, 0.5, 0.9)]
    assert len(seen[0]) == 300
    # the first column of the context is Gaussianised over both domains together
    both = np.concatenate([everything, data.to_awkward()["pt"].to_numpy()])
    expected = [
        stats.norm.ppf((both < np.quantile(everything, q)).mean()) for q in (0.1, 0.5, 0.9)
    ]
    np.testing.assert_allclose(ranks, expected, atol=0.15)


@pytest.mark.parametrize("method", ["save", "to_onnx"])
def test_a_folder_that_is_missing_is_named(morpher: Morpher, method: str, tmp_path: Path) -> None:
    place = tmp_path / "none"
    with pytest.raises(MissingFileError, match=r"there is no folder '.*none'"):
        getattr(morpher, method)(place / "file.x")
    assert not place.exists()
