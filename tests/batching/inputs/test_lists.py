"""Columns of lists on their way to rows."""

from __future__ import annotations

import awkward as ak
import numpy as np

from rootml.batching.inputs._layout import _offsets_and_content


def test_offsets_that_columns_share_are_not_copied() -> None:
    offsets, numbers = np.array([0, 2, 2, 5]), np.arange(7.0)
    layout = ak.contents.ListOffsetArray(
        ak.index.Index64(offsets), ak.contents.NumpyArray(numbers)
    )
    found, content = _offsets_and_content(ak.Array(layout))
    assert np.shares_memory(found, offsets)
    assert content.tolist() == [0, 1, 2, 3, 4]


def test_lists_of_any_make_have_offsets_from_zero() -> None:
    whole = ak.Array([[1.0, 2.0], [], [3.0, 4.0, 5.0], [6.0]])
    short = ak.contents.ListOffsetArray(
        ak.index.Index32(np.array([0, 2, 2], np.int32)), ak.contents.NumpyArray(np.arange(2.0))
    )
    for array in (whole[1:3], whole[[3, 2]], ak.Array(short), whole[:0]):
        offsets, content = _offsets_and_content(array)
        assert offsets.dtype == np.int64
        assert offsets[0] == 0
        assert np.diff(offsets).tolist() == ak.num(array).tolist()
        assert content.tolist() == ak.flatten(array).tolist()
