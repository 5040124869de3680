"""Binned channels: counts whose expectations share the parameters of the unbinned channel."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rootml._internal.reprs import Grid, HtmlRepr, Part
from rootml._internal.types import Float
from rootml._internal.validators import is_a
from rootml.errors import RootmlError, SchemaError, UsageError, nearest
from rootml.sbi.likelihood._binned_samples import Sample, check_counts
from rootml.sbi.likelihood._binned_term import BinnedTerm
from rootml.sbi.likelihood._parameters import Nuisance, Parameter
from rootml.sbi.likelihood._pyhf import read_workspace


@dataclass(frozen=True, eq=False)
class Binned(HtmlRepr):
    """Channels of counts, as read from a pyhf workspace.

    Attributes:
        observed: Counts of each channel, ``(bin,)``; need not be whole (Asimov data).
        samples: Expected counts and what the parameters do to them.
        parameters: Parameters and nuisances, by pyhf's names (``gamma[0]`` for bins).
        poi: The parameter of interest that the workspace names.
        workspace: The workspace as it was given, with the measurement that was read.

    Equal if the workspaces and the counts are.

    >>> binned = Binned.from_pyhf(example_workspace())
    >>> binned.channels, list(binned.parameters)
    (('signal_region',), ['mu', 'bkg_norm', 'mc[0]', 'mc[1]'])
    >>> binned.expected(mu=2.0)
    {'signal_region': array([70., 60.])}
    """

    observed: Mapping[str, Float]
    samples: tuple[Sample, ...]
    parameters: Mapping[str, Parameter | Nuisance]
    poi: str | None = None
    workspace: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Binned) and self.to_pyhf() == other.to_pyhf()

    def __hash__(self) -> int:
        return hash((self.channels, tuple(self.parameters)))

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return tuple(self.observed)

    @staticmethod
    def from_pyhf(workspace: Mapping[str, Any], *, measurement: str | None = None) -> Binned:
        """Read a pyhf workspace (HistFactory in JSON).

        All modifiers are read: normfactor, normsys, histosys, shapefactor, staterror, shapesys,
        lumi; interpolation codes are pyhf's ``code4`` and ``code4p``, the defaults of ROOT.

        Args:
            measurement: Its name, if the workspace has several.

        Raises:
            SchemaError: The workspace does not fit together; names channel and sample.
        """
        if not is_a(workspace, Mapping):
            message = (
                f"a pyhf workspace is a dict, as json.load gives it, not a "
                f"{type(workspace).__name__}"
            )
            raise SchemaError(message)
        try:
            return Binned(*read_workspace(workspace, measurement))
        except RootmlError:
            raise
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            message = f"the pyhf workspace does not fit together: {type(error).__name__}: {error}"
            raise SchemaError(message) from error

    def bind(self, names: Sequence[str]) -> BinnedTerm:
        """The term of the likelihood as a function of the parameters `names`, in this order."""
        return BinnedTerm(self.observed, self.samples, names)

    def expected(self, **values: float) -> dict[str, Float]:
        """Expected counts per channel; parameters left out have their start values."""
        for name in values:
            if name not in self.parameters:
                message = f"no parameter {name!r}; available: {nearest(name, self.parameters)}"
                raise UsageError(message)
        theta = np.array(
            [values.get(name, p.value) for name, p in self.parameters.items()], np.float64
        )
        return self.bind(list(self.parameters)).expected(theta)

    def with_observed(self, observed: Mapping[str, Any]) -> Binned:
        """The same channels with other counts.

        Raises:
            SchemaError: A channel is missing, or has another number of bins.
        """
        counts = {}
        for channel, before in self.observed.items():
            if channel not in observed:
                message = f"no counts for channel {channel!r}; there is {sorted(observed)}"
                raise SchemaError(message)
            counts[channel] = check_counts(observed[channel], channel, len(before))
        return replace(self, observed=counts)

    def to_pyhf(self) -> dict[str, Any]:
        """The workspace, with the counts of `observed`."""
        workspace: dict[str, Any] = json.loads(json.dumps(self.workspace))
        for entry in workspace["observations"]:
            entry["data"] = self.observed[entry["name"]].tolist()
        return workspace

    def _grid(self) -> Grid:
        rows = [
            (s.channel, s.name, f"{s.nominal.sum():.6g}", f"{len(s.nominal)}",
             f"{self.observed[s.channel].sum():.6g}")
            for s in self.samples
        ]  # fmt: skip
        return Grid(("channel", "sample", "expected", "bins", "observed"), rows, left=2)

    def __repr__(self) -> str:
        return str(self._grid())

    def _html_parts(self) -> list[Part]:
        return [self._grid()]


def example_workspace() -> dict[str, Any]:
    """A small pyhf workspace: two bins, a signal, a background with uncertainties."""
    signal = {
        "name": "signal",
        "data": [5.0, 10.0],
        "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
    }
    background = {
        "name": "background",
        "data": [60.0, 40.0],
        "modifiers": [
            {"name": "bkg_norm", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
            {"name": "mc", "type": "staterror", "data": [3.0, 2.0]},
        ],
    }
    return {
        "version": "1.0.0",
        "channels": [{"name": "signal_region", "samples": [signal, background]}],
        "observations": [{"name": "signal_region", "data": [68.0, 49.0]}],
        "measurements": [{"name": "all", "config": {"poi": "mu", "parameters": []}}],
    }
