"""One file, one analysis: ``rootml run analysis.toml``, from files to fits, pictures and a report.

`_read` reads the file, `_samples` its datasets; `steps/` holds the kinds of steps behind the
interface `_step`; `_runner` runs those that are not up to date by what `_record` keeps of each;
`_report` makes the page; `_provenance` reads what a file says of its making. It stands on
everything else: nothing but the command line imports it.
"""

from __future__ import annotations

from rootml._internal.provenance import stamped
from rootml.analysis._analysis import Analysis, load_analysis
from rootml.analysis._provenance import provenance
from rootml.analysis._runner import Ended, Planned
from rootml.analysis._step import Step

__all__ = ["Analysis", "Ended", "Planned", "Step", "load_analysis", "provenance", "stamped"]
