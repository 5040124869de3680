"""`loader.predict` with models that return something else than it wants, or the same memory."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import rootml
from rootml.batching.rows._pipeline import THREAD_NAME
from rootml.errors import SchemaError

ROWS = 50


@pytest.fixture
def loader(tmp_path: Path) -> rootml.batching.BatchLoader:
    table = pa.table({"x": np.arange(ROWS, dtype=np.float32)})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    data = rootml.open(f"{tmp_path}/t.parquet")
    return data.batches(20, shuffle=True, buffer_bytes="1 MB")


def test_one_array_that_is_filled_again_and_again(loader: Any) -> None:
    memory = np.empty(20, np.float32)

    def model(x: Any) -> Any:
        return np.multiply(x[:, 0], 2, out=memory[: len(x)])

    np.testing.assert_array_equal(loader.predict(model), 2 * np.arange(ROWS))
    view = loader.predict(lambda x: x[:, 0])
    assert view.base is None
    np.testing.assert_array_equal(view, np.arange(ROWS))


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (lambda x: (x[:, 0], x[:, 0]), "a tuple of 2: return one array, or a dict"),
        (lambda x: [x[:, 0], x], "a list of 2: return one array, or a dict"),
        (lambda x: np.ma.masked_less(x[:, 0], 7), "masked scores; fill them"),
        (lambda x: {}, "of an event {} at first"),
        (lambda x: {str(len(x)): x[:, 0]}, r"{'20': \(\)} at first, and now {'10': \(\)}"),
        (lambda x: np.ones((len(x), len(x))), r"\(20,\)} at first, and now .* \(10,\)}"),
        (lambda x: 3.0, r"an array \(\) for 20 rows"),
        (lambda x: None, r"returned an array \(\) for"),
    ],
)
def test_what_is_no_score_per_event(loader: Any, model: Any, problem: str) -> None:
    with pytest.raises(SchemaError, match=problem) as caught:
        loader.predict(model)
    assert caught.traceback  # which holds the frames of the loop, but no thread of the loader
    assert not [each for each in threading.enumerate() if THREAD_NAME in each.name]


def test_a_torch_module_with_two_outputs(loader: Any) -> None:
    torch = pytest.importorskip("torch")

    class Two(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x, x

    with pytest.raises(SchemaError, match="a tuple of 2"):
        loader.predict(Two())
