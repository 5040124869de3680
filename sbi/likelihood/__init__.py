"""The likelihood: model, columns of ratios, binned terms, constraints, and their kernels.

`_model` is what users write, `_layout` what becomes of it; `_unbinned`, `_binned_term` and
`_constraints` are summed by `_likelihood`, and channels by `_combined`. `_kernels*` are compiled
by `_jit`; `_kernels_numpy` is the reference of the tests.
"""

from __future__ import annotations
