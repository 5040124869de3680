"""Blocks of events joined in memory: an awkward array, an Arrow table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rootml.dataset._columns import arrow_batch, concatenate, record_array
from rootml.dataset._reader import EventBlock
from rootml.storage import Column

if TYPE_CHECKING:
    import awkward as ak


def to_awkward(blocks: Sequence[EventBlock]) -> ak.Array:
    """See `Dataset.to_awkward`; at least one block."""
    columns: dict[str, Column] = {
        name: concatenate([block.columns[name] for block in blocks]) for name in blocks[0].columns
    }
    return record_array(columns, sum(block.num_rows for block in blocks))


def to_arrow(blocks: Sequence[EventBlock]) -> Any:
    """See `Dataset.to_arrow`; at least one block."""
    batches = [arrow_batch(block.columns) for block in blocks]
    schema = pa.unify_schemas([batch.schema for batch in batches])  # nulls may be in one alone
    tables = (pa.Table.from_batches([batch]) for batch in batches)
    return pa.concat_tables([table.cast(schema) for table in tables])
