"""How one network is trained, and where.

`_training`: the loop. `_models`, `_feed`: networks and batches on a device.
`_trainer`, `_cluster`, `_network_files`: members of an ensemble here or on a cluster, and those
that are finished on disk.
"""
