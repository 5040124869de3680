"""Pictures of everything a user holds, by matplotlib and mplhep.

Each function takes arrays (or histograms of `hist`), draws into ``ax=`` or a figure of its own,
and returns the axes. What all share:

- ``ax``: axes to draw into; None: a new figure.
- ``labels``: how names are written, e.g. ``{"mu": r"$\\mu$"}``.
- ``units``: units of quantities, e.g. ``{"MET_pt": "GeV"}``.
- ``style``: "plain", "CMS" or "ATLAS"; the latter two write the name of the experiment.

Colour-blind readers can distinguish the colours. Weights may have any sign.

`_axes` has what all share, the other modules a family of pictures each.
"""

from __future__ import annotations

from rootml.plot._axes import Style
from rootml.plot._curves import closure, limit, roc, scan
from rootml.plot._histograms import data_mc, hist, overtraining, scores
from rootml.plot._parameters import correlation, impacts

__all__ = [
    "Style",
    "closure",
    "correlation",
    "data_mc",
    "hist",
    "impacts",
    "limit",
    "overtraining",
    "roc",
    "scan",
    "scores",
]
