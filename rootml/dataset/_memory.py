"""Blocks of events joined in memory: an awkward array, an Arrow table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from rootml._internal.optional import optional_import
from rootml.dataset._columns import arrow_batch, concatenate, record_array
from rootml.dataset._reader import EventBlock
from rootml.errors import UnsupportedTypeError, UsageError
from rootml.storage import Column, ColumnType

if TYPE_CHECKING:
    import awkward as ak
    import pandas as pd


def to_awkward(blocks: Sequence[EventBlock]) -> ak.Array:
    """See `Dataset.to_awkward`; at least one block."""
    return record_array(_joined(blocks), sum(block.num_rows for block in blocks))


def to_pandas(blocks: Sequence[EventBlock]) -> pd.DataFrame:
    """See `Dataset.to_pandas`; at least one block."""
    pandas = optional_import("pandas", feature="Dataset.to_pandas()", extra="pandas")
    columns = {
        name: column if isinstance(column, np.ndarray) else column.to_list()
        for name, column in _joined(blocks).items()
    }
    return pandas.DataFrame(columns)


def check_flat(types: Mapping[str, ColumnType], where: str) -> None:
    """See that every column has one value per event.

    Raises:
        UnsupportedTypeError: One has not.
    """
    for name, kind in types.items():
        if kind.kind not in {"scalar", "string"}:
            message = (
                f"{where}: column {name!r} is {kind}, and a data frame has one value per row; "
                "select others, reduce it (Sum$(...), [0]), or use to_awkward()"
            )
            raise UnsupportedTypeError(message)


def _joined(blocks: Sequence[EventBlock]) -> dict[str, Column]:
    """The columns of all blocks, then label and weight where blocks have them."""
    rows = [_fields(block) for block in blocks]
    return {name: concatenate([row[name] for row in rows]) for name in rows[0]}


def _fields(block: EventBlock) -> dict[str, Column]:
    fields = dict(block.columns)
    for name, values in (("label", block.label), ("weight", block.weight)):
        if values is None:
            continue
        if name in fields:
            message = (
                f"{block.partition.where}: a column is called {name!r} already; rename it, "
                f"as in select(['{name}_ = {name}'])"
            )
            raise UsageError(message)
        fields[name] = values
    return fields


def to_arrow(blocks: Sequence[EventBlock]) -> pa.Table:
    """See `Dataset.to_arrow`; at least one block."""
    batches = [arrow_batch(block.columns) for block in blocks]
    schema = pa.unify_schemas([batch.schema for batch in batches])  # nulls may be in one alone
    tables = (pa.Table.from_batches([batch]) for batch in batches)
    return pa.concat_tables([table.cast(schema) for table in tables])
