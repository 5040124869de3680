"""From a likelihood to its minimum, and what is known there.

`_minimise`, `_quasi_newton`, `_curvature`: the steps, and `_search`, which takes them in turn.
`_account`, `_flat`: covariance, validity, flat directions. `_minos`: where a profile
crosses a level. `_quantiles`: of the normal and chi^2 distributions. Imports nothing of the other
rooms.
"""
