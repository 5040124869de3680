"""From a forest to flat tables, with NumPy alone.

`_predicates`: distinct comparisons, ranks, category sets. `_trees`: trees as lookups of masks.
`_lanes`: the same forest for few rows. `_traversal`: for deep forests. `_plan` chooses.
To change a layout, change the table here and its emitter in `codegen` together.
"""

from __future__ import annotations
