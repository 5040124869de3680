"""From a forest to flat tables: distinct predicates, trees as lookups, lanes, the plan.

Pure NumPy; `codegen` reads these tables.
"""

from __future__ import annotations
