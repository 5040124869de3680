"""Which rows come when: computed from numbers alone, before anything is read.

`_plan` and `_schedule` order units and rows, `_sharding` divides them over ranks, `_rng` makes
the random numbers, `_state` saves where an epoch stands. Nothing here reads a file.
"""

from __future__ import annotations
