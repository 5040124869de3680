"""A fit, as users hold it: results, scans, contours, tables, notes.

`_fit`, `_fitted_parameter`, `_fit_tables`: the result. `_scan`, `_contour`: the likelihood around
it. `_acts_on`, `_dropped_shapes`, `_extrapolation`, `_finite_samples`: what it says of parameters
and of what it does not know. `_cabinetry`, `_hepdata`: forms of other programs.
"""
