"""From a likelihood to its minimum, and what is known there.

`_minimise`, `_quasi_newton`, `_curvature`: the steps. `_account`, `_flat`: covariance, validity,
directions without information. `_minos`: where a profile crosses a level. `_quantiles`: of the
normal and chi^2 distributions. Imports nothing of the other rooms.
"""
