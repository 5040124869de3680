"""What a training is given: options, samples, events.

`_settings`: all options, checked, as the learners take them. `_samples`: densities of the samples,
and how events are divided. `_loaders`, `_events`, `_event_sample`, `_disk_matrix`: events as they
stream by, some of them, and values on disk. Imports nothing of the other rooms.
"""
