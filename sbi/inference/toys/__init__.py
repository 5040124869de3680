"""Data sets that were not measured: Asimov data and toys, and fits of many.

`_asimov`, `_toy_source`, `_combined_toys`, `_learned_reference`: where events come from.
`_toy_task`, `_toys`: what is done with each, and with all. `_work`, `_records`: long tasks in
processes or on a cluster, and what is finished of them in a folder.
"""
