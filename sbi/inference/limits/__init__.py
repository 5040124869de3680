"""Discovery and upper limits: tests of one parameter, asymptotic and by toys.

`_statistic`: conditional fits and the test statistics made of them. `_discovery`: significances.
`_limit`: what limits and CLs are, with pictures and tables. `_asymptotic`, `_by_toys`: where the
distributions of the statistics come from.
"""
