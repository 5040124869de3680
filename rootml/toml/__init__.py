"""Datasets as small TOML files: written from a `Dataset`, read as one, easy to write by hand.

::

    select = ["HT", "MET_pt", "lead = Jet_pt[0]"]            # of all samples, as are
    cuts = ["nJet >= 2", { name = "lead", cut = "Jet_pt[0] > 30" },
            { split = "train", test = 0.25, by = ["run", "event"], seed = 1 }]

    [define]
    HT = "Sum$(Jet_pt)"
    dR = { text = "Jet_dR[0]", missing = -1.0 }

    [[sample]]
    files = "signal_*.root:Events"      # or a list; relative to the folder of this file
    label = 1
    weight = "genWeight"
    cross_section = 0.0123
    sum_of_weights = "Runs:genEventSumw"

    [[sample]]
    files = ["dy.root:Events", { file = "tt.root", tree = "Events" }]
    label = 0
    cuts = ["Generator_weight > 0"]     # before those of all samples

Everything but `files` may be left out. Other keys of a sample: `title`, `luminosity`, `entries`
(``{ start = 0, stop = 1000 }``), `friends` (as `rootml.open` takes them), `vary` (suffixes of a
systematic variation), `define`, `select`. A side of folds is a cut as well:
``{ fold = 0, of = 5, side = "test" }``. Friends are matched by ids with ``by = ["run", "event"]``
and ``unmatched = "drop"`` beside `friends`; `dumps` writes them as `matched`, and what they drop
as a cut.
How URLs are read (`rootml.storage.Remote`) is ``remote = { timeout = 20, retries = 3 }``, with
``cache = { path = "...", limit = "10 GB" }``. Secrets are never written: of its headers the file
holds the names, and `load` takes the values; a URL with a user, a password or a query is refused.
A key that is not known is an error, and so is a dataset that holds what TOML cannot say.
"""

from __future__ import annotations

from rootml.toml._read import load, loads
from rootml.toml._write import dumps, save

__all__ = ["dumps", "load", "loads", "save"]
