"""Folders of finished networks: which training they are of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rootml.errors import CorruptFileError, StateError
from rootml.sbi.estimator.training._network_files import NetworkFiles

FACTS = {"format": 5, "samples": ["S", "B"], "settings": {"hidden": [32]}, "steps at edges": True}


@dataclass
class Member:
    weights: Any
    loss: float


def restored(given: Any) -> Member:
    return Member(**given)


def test_what_was_finished_is_found_again(tmp_path: Path) -> None:
    NetworkFiles(tmp_path / "new", FACTS, restored).write(1, Member(np.arange(3.0), 0.5))
    found = NetworkFiles(tmp_path / "new", FACTS, restored).finished(3)
    assert list(found) == [1]
    np.testing.assert_array_equal(found[1].weights, [0.0, 1.0, 2.0])
    assert found[1].loss == 0.5


@pytest.mark.parametrize(
    "lost", [["steps at edges"], ["settings"], ["settings", "steps at edges"]]
)
def test_folders_of_older_versions_are_refused(tmp_path: Path, lost: list[str]) -> None:
    """They know less of what networks depend on; what they do not know is named."""
    NetworkFiles(tmp_path, FACTS, restored).write(0, Member(np.arange(3.0), 0.5))
    header = tmp_path / "training.json"
    old = {k: v for k, v in json.loads(header.read_text()).items() if k not in lost}
    header.write_text(json.dumps(old))
    with pytest.raises(StateError, match=f"whose {', '.join(lost)} differ; use another folder"):
        NetworkFiles(tmp_path, FACTS, restored)
    assert json.loads(header.read_text()) == old  # the folder stays as it was
    assert (tmp_path / "network-0.npz").exists()


@pytest.mark.parametrize("other", [{"kinks": 3}, {"format": 4}, {"format": 6}])
def test_folders_of_other_versions_are_refused(tmp_path: Path, other: dict[str, int]) -> None:
    NetworkFiles(tmp_path, {**FACTS, **other}, restored)
    with pytest.raises(StateError, match=f"whose {next(iter(other))} differ"):
        NetworkFiles(tmp_path, FACTS, restored)


def test_networks_of_an_older_layout_are_refused(tmp_path: Path) -> None:
    files = NetworkFiles(tmp_path, FACTS, restored)
    files.write(0, {"weights": np.arange(3.0)})  # before there was a loss
    with pytest.raises(CorruptFileError, match=r"network-0.npz: not a finished network.*loss"):
        files.finished(1)


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_damaged_header_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "training.json").write_text(text)
    with pytest.raises(CorruptFileError, match=r"training.json: not what a training writes"):
        NetworkFiles(tmp_path, FACTS, restored)
