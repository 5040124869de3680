"""The exported map in onnxruntime, without rootml, beside `transform`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from morphing_toy import CONDITIONS, FEATURES

import rootml
from rootml.sbi.morphing import Morpher

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("torch")


@pytest.fixture
def columns(sim: rootml.Dataset) -> dict[str, Any]:
    found = sim.select([*FEATURES, *CONDITIONS, "event"]).to_awkward()
    return {name: ak.to_numpy(found[name]).astype("f8") for name in (*FEATURES, *CONDITIONS)} | {
        "event": ak.to_numpy(found.event)
    }


def run(path: Path, columns: dict[str, Any], draws: Any) -> tuple[Any, Any]:
    session = onnxruntime.InferenceSession(path.read_bytes())
    inputs = {
        "features": np.column_stack([columns[name] for name in FEATURES]),
        "conditions": np.column_stack([columns[name] for name in CONDITIONS]),
        "draws": draws,
    }
    corrected, morphed = session.run(None, inputs)
    return corrected, morphed


@pytest.mark.parametrize("member", [0, 2])
def test_onnxruntime_gives_the_same(
    morpher: Morpher, columns: dict[str, Any], tmp_path: Path, member: int
) -> None:
    columns["pt"][:3] = 1e9, -1, np.nan
    columns["v1A"][3:7] = np.nan, np.inf, 30.0, -30.0
    morpher.to_onnx(tmp_path / "m.onnx", which=member)
    corrected, morphed = run(tmp_path / "m.onnx", columns, morpher.draws(columns))
    expected = morpher.transform(columns, which=member, flag="ok")
    assert np.array_equal(morphed, expected["ok"])
    assert not morphed[:5].any()
    assert not morphed[5:7].any()  # outside of the range of the training
    for j, name in enumerate(FEATURES):
        np.testing.assert_allclose(corrected[:, j], expected[name], rtol=1e-4, atol=1e-4)


def test_any_number_of_rows(morpher: Morpher, columns: dict[str, Any], tmp_path: Path) -> None:
    morpher.to_onnx(tmp_path / "m.onnx")
    for rows in (1, 2, 77):
        few = {name: column[:rows] for name, column in columns.items()}
        corrected, morphed = run(tmp_path / "m.onnx", few, morpher.draws(few))
        assert corrected.shape == (rows, 4)
        assert morphed.shape == (rows,)


def test_the_model_says_what_its_columns_are(morpher: Morpher, tmp_path: Path) -> None:
    morpher.to_onnx(tmp_path / "m.onnx")
    meta = onnxruntime.InferenceSession((tmp_path / "m.onnx").read_bytes()).get_modelmeta()
    assert meta.custom_metadata_map["features"] == ",".join(FEATURES)
    assert meta.custom_metadata_map["conditions"] == ",".join(CONDITIONS)
    assert "draws" in meta.description
