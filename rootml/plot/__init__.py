"""Pictures of everything a user holds, by matplotlib and mplhep.

Each function takes arrays (or histograms of `hist`), draws into ``ax=`` or a figure of its own,
and returns the axes. Every ``.plot()`` of a result calls one of them. What all share:

- ``ax``: axes to draw into; None: a new figure, which a notebook shows.
- ``labels``: how names are written, e.g. ``{"mu": r"$\\mu$"}``.
- ``units``: units of quantities, e.g. ``{"MET_pt": "GeV"}``.
- ``style``: "plain", "CMS" or "ATLAS", then what stands beside the name, and after a comma what
  stands on the right: ``"CMS Preliminary, 138 fb$^{-1}$ (13 TeV)"``. Without such a text it is
  "Private Work" (CMS) or "Work in Progress" (ATLAS).

`panels` makes axes for several pictures, `write` writes a file. Colour-blind readers can
distinguish the colours. Weights may have any sign. Legends stay off what is drawn.

`_axes` has what all share, `_bins` the numbers behind histograms, the other modules a family of
pictures each.
"""

from __future__ import annotations

from rootml.plot._axes import Labels, Style, many_figures, named, panels, write
from rootml.plot._comparisons import agreement, calibration, closure, efficiency, quantiles, toys
from rootml.plot._curves import band, contour, limit, roc, scan
from rootml.plot._histograms import data_mc, hist, overtraining, scores, steps
from rootml.plot._parameters import correlation, cutflow, impacts, importance, pulls

__all__ = [
    "Labels",
    "Style",
    "agreement",
    "band",
    "calibration",
    "closure",
    "contour",
    "correlation",
    "cutflow",
    "data_mc",
    "efficiency",
    "hist",
    "impacts",
    "importance",
    "limit",
    "many_figures",
    "named",
    "overtraining",
    "panels",
    "pulls",
    "quantiles",
    "roc",
    "scan",
    "scores",
    "steps",
    "toys",
    "write",
]
