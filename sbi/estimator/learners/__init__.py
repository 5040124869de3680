"""From samples to ratios: what is trained, tested on held-out events, and kept.

`_learn`: samples of one density each, with `_differences` and `_shapes` for nuisances.
`_learn_parametric`: ratios that depend on parameters, with `_pair_loader`, `_pairs` and `_score`.
`_classifier`: ratios from classifiers of others. `_held_out`, `_residuals`, `_inputs`: what events
say.
"""
