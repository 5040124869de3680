"""What users hold: learned ratios, with what is known of their training.

`_ratios`, `_parametric`: the ratios. `_record`: samples, losses, norms and decisions. `_merge`,
`_load`: from other ratios and from files. `_range_watch`: events beyond the training's range.
"""
