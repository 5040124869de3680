"""RNTuple, through uproot."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rootml.storage._base import Columns, ColumnType
from rootml.storage._ttree import UprootTable
from rootml.storage._types import type_of_form


class RNTupleTable(UprootTable):
    """An RNTuple."""

    format = "rntuple"

    def _cluster_bounds(self, tree: Any) -> npt.NDArray[np.int64]:
        starts = [cluster.num_first_entry for cluster in tree.cluster_summaries]
        return np.unique(np.array([0, *starts, self.num_entries], np.int64))

    def _make_columns(self, tree: Any) -> Columns:
        types = {}
        for name in tree.keys():  # noqa: SIM118 - not a dict: iterating gives something else
            field = tree[name]
            try:
                form, path = field.to_akform()
                array = form.length_zero_array()
                for step in path:
                    array = array[step]
                types[name] = type_of_form(array.form, field.typename)
            except Exception as error:  # noqa: BLE001 - uproot has no class for "cannot read this"
                types[name] = ColumnType("unsupported", text=f"{field.typename}: {error}")
        return Columns(types)

    def _array(self, tree: Any, name: str, start: int, stop: int) -> Any:
        return tree[name].array(entry_start=start, entry_stop=stop)
