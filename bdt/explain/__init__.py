"""Why a score is what it is: contributions of the features (SHAP), leaves, single trees.

`_paths` follows the features from the roots to the leaves, `_tables` lays the numbers out for the
kernel, `_kernel` emits it, `_contributions` calls it; `_leaves` lets the engine of the margins
give the leaves.
"""

from __future__ import annotations

__all__: list[str] = []
