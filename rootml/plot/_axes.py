"""What all pictures share: axes, colours, names with units, the tag of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from rootml._internal.optional import optional_import
from rootml._internal.validators import check_choice

Style: TypeAlias = Literal["plain", "CMS", "ATLAS"]
Labels: TypeAlias = Mapping[str, str] | None

COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
"""The ten colours of M. Petroff, https://arxiv.org/abs/2107.02270, for any eyes."""


def axes_of(ax: Any, style: Style, *, width: float = 6.0, height: float = 4.5) -> Any:
    """`ax`, or axes in a figure of their own that notebooks show; with the experiment's name."""
    check_choice("style", style, ("plain", "CMS", "ATLAS"))
    if ax is None:
        ax = new_figure(width, height).add_subplot()
    if style != "plain":
        mplhep = optional_import("mplhep", feature=f"style={style!r}", extra="plot")
        experiment = mplhep.cms if style == "CMS" else mplhep.atlas
        experiment.text("Preliminary" if style == "CMS" else "Internal", ax=ax, loc=0, fontsize=11)
    return ax


def new_figure(width: float, height: float) -> Any:
    """A figure that pyplot knows, so that a notebook shows it."""
    pyplot = optional_import("matplotlib.pyplot", feature="rootml.plot", extra="plot")
    return pyplot.figure(figsize=(width, height), layout="constrained")


def named(name: str, labels: Labels, units: Labels = None) -> str:
    """How a quantity is written on an axis.

    >>> named("MET_pt", {"MET_pt": "missing momentum"}, {"MET_pt": "GeV"})
    'missing momentum [GeV]'
    """
    text = (labels or {}).get(name, name)
    unit = (units or {}).get(name)
    return f"{text} [{unit}]" if unit else text


def colour(number: int) -> str:
    """The colour of the curve or histogram of that number."""
    return COLOURS[number % len(COLOURS)]


def headroom(ax: Any, factor: float = 1.3) -> None:
    """Leave room for a legend above what is drawn."""
    low, high = ax.get_ylim()
    if ax.get_yscale() == "log":
        if low > 0:
            ax.set_ylim(low, high * (high / low) ** (factor - 1))
    else:
        ax.set_ylim(low, low + factor * (high - low))


def legend(ax: Any, **options: Any) -> None:
    """A legend without a frame, if there is anything to say."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize="small", **options)


def close(figure: Any) -> None:
    """Let pyplot forget a figure that is not to be shown."""
    optional_import("matplotlib.pyplot", feature="rootml.plot", extra="plot").close(figure)
