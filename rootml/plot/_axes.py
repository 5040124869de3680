"""What all pictures share: axes, colours, names with units, the tag of an experiment, legends."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from rootml._internal.atomic import check_target
from rootml._internal.optional import optional_import
from rootml._internal.types import Float
from rootml._internal.validators import check_choice
from rootml.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Style: TypeAlias = str
"""``"plain"``, ``"CMS"`` or ``"ATLAS"``, then what is written beside it; see `rootml.plot`."""

Labels: TypeAlias = Mapping[str, str] | None

AnyAxes = TypeVar("AnyAxes")
"""Axes, or a list of axes."""

COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
"""The ten colours of M. Petroff, https://arxiv.org/abs/2107.02270, for any eyes."""

_DEFAULT_TAG = {"CMS": "Private Work", "ATLAS": "Work in Progress"}


# --- figures -------------------------------------------------------------------------------------


def axes_of(ax: Axes | None, style: Style, *, width: float = 6.0, height: float = 4.5) -> Axes:
    """`ax`, or axes in a figure of their own that notebooks show; with the experiment's name."""
    check_style(style)
    if ax is None:
        ax = new_figure(width, height).add_subplot()
    write_tag(ax, style)
    return ax


def two_panels(ax: Any, style: Style) -> tuple[Any, Any]:
    """`ax`, or the upper and the lower axes of a new figure, which share the quantity.

    Raises:
        UsageError: `ax` is not two axes.
    """
    check_style(style)
    if ax is None:
        figure = new_figure(6.0, 5.5)
        ax = _pair(figure.add_gridspec(1, 1)[0])
    if not isinstance(ax, (Sequence, np.ndarray)) or len(ax) != 2:
        message = f"ax= takes the upper and the lower axes here, not {type(ax).__name__}"
        raise UsageError(message)
    upper, lower = ax
    write_tag(upper, style)
    upper.tick_params(labelbottom=False)
    return upper, lower


def _pair(cell: Any) -> tuple[Any, Any]:
    """A large panel and a small one below it, in a cell of a grid."""
    upper, lower = cell.subgridspec(2, 1, height_ratios=(3, 1)).subplots(sharex=True)
    return upper, lower


def new_figure(width: float, height: float) -> Figure:
    """A figure that pyplot knows, so that a notebook shows it."""
    pyplot = optional_import("matplotlib.pyplot", feature="rootml.plot", extra="plot")
    figure = pyplot.figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)  # inches
    return figure


def many_figures() -> AbstractContextManager[None]:
    """A context in which matplotlib does not warn of more than 20 open figures."""
    module = optional_import("matplotlib", feature="rootml.plot", extra="plot")
    context: AbstractContextManager[None] = module.rc_context({"figure.max_open_warning": 0})
    return context


def panels(number: int, *, residuals: bool = False, size: float = 4.4) -> list[Any]:
    """Axes in a grid, for the ``ax=`` of as many pictures.

    Args:
        number: How many.
        residuals: Give each an upper and a lower panel, as `closure` takes them.
        size: Width of each in inches.

    Returns:
        Axes, or pairs of axes.

    Raises:
        UsageError: Fewer than one.

    >>> import rootml.plot
    >>> len(rootml.plot.panels(5))
    5
    """
    if number < 1:
        message = f"panels({number}): expected at least one"
        raise UsageError(message)
    columns = 2 if number in {2, 4} else min(3, number)
    rows = -(-number // columns)
    height = size if residuals else 0.8 * size
    figure = new_figure(size * columns, height * rows)
    grid = figure.add_gridspec(rows, columns)
    cells = [grid[divmod(each, columns)] for each in range(number)]
    if residuals:
        pairs = [_pair(cell) for cell in cells]
    else:
        pairs = [(ax, ax) for ax in map(figure.add_subplot, cells)]
    for upper, lower in pairs:  # the layout has room for texts from the beginning
        upper.set(ylabel=" ", title=" ")
        lower.set_xlabel(" ")
    return list(pairs) if residuals else [ax for ax, _ in pairs]


def write(axes: AnyAxes, path: Any, *, metadata: Mapping[str, str] | None = None) -> AnyAxes:
    """Write the figure of these axes to a file, and let pyplot forget it.

    Args:
        axes: What a function of `rootml.plot` returned.
        path: A file, whose suffix says the format, or a binary stream; None: nothing is written,
            and notebooks show the figure.
        metadata: Texts that go into the file, as matplotlib's ``savefig`` takes them.

    Returns:
        The axes.

    Raises:
        MissingFileError: There is no such folder.
    """
    if path is None:
        return axes
    target = check_target(path) if isinstance(path, (str, os.PathLike)) else path
    first: Any = axes
    while isinstance(first, (Sequence, np.ndarray)):
        first = first[0]
    figure = first.figure.figure  # of a part of a figure: the whole
    figure.savefig(target, dpi=150, metadata=metadata)
    optional_import("matplotlib.pyplot", feature="rootml.plot", extra="plot").close(figure)
    return axes


# --- texts ---------------------------------------------------------------------------------------


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


def check_style(style: Style) -> tuple[str, str, str]:
    """The experiment, the text beside its name, and the text on the right.

    Raises:
        UsageError: Another experiment.

    >>> check_style("CMS Preliminary, 138 fb$^{-1}$ (13 TeV)")
    ('CMS', 'Preliminary', '138 fb$^{-1}$ (13 TeV)')
    """
    left, _, right = style.partition(",")
    experiment, _, text = left.strip().partition(" ")
    if experiment not in ("plain", *_DEFAULT_TAG):
        check_choice("style", style, ("plain", *_DEFAULT_TAG))
    return experiment, text.strip() or _DEFAULT_TAG.get(experiment, ""), right.strip()


def write_tag(ax: Any, style: Style) -> None:
    """Write the experiment and what `style` says beside it above the axes."""
    experiment, text, right = check_style(style)
    ax.set_title(right, loc="right", fontsize="small")
    if experiment == "plain":
        ax.set_title(text, loc="left", fontsize="medium", fontweight="bold")
        return
    name_font, text_font = _fonts(experiment)
    title = ax.set_title(experiment, loc="left", fontproperties=name_font)
    ax.annotate(
        text, (1, 0), xycoords=title, xytext=(4, 0), textcoords="offset points", va="bottom",
        fontproperties=text_font, annotation_clip=False,
    )  # fmt: skip


@functools.cache
def _fonts(experiment: str) -> tuple[Any, Any]:
    """Fonts of an experiment's name and of the text beside it, as mplhep writes them.

    Only the fonts: mplhep places texts for the layout of the moment, and draws the figure twice.
    """
    mplhep = optional_import("mplhep", feature=f"style={experiment!r}", extra="plot")
    figures = optional_import("matplotlib.figure", feature="rootml.plot", extra="plot")
    writer = mplhep.cms if experiment == "CMS" else mplhep.atlas
    written = writer.text("text", ax=figures.Figure().add_subplot(), loc=0)[:2]
    fonts = [each.get_fontproperties() for each in written]
    for font, size in zip(fonts, (13, 11), strict=True):
        font.set_size(size)
    return fonts[0], fonts[1]


def note(ax: Any, text: str) -> None:
    """Write a remark above the axes on the right, over what `style` put there."""
    below = ax.get_title(loc="right")
    ax.set_title(f"{text}\n{below}" if below else text, loc="right", fontsize="small")


# --- room for the legend -------------------------------------------------------------------------


def legend(ax: Any, *, ncols: int | None = None, downwards: bool = False) -> None:
    """A legend in an upper corner, with the axis made longer until nothing is behind it.

    Args:
        ncols: Columns; None: two for more than five entries.
        downwards: Last of all what was drawn first: data, then a stack from its top.
    """
    handles, _ = ax.get_legend_handles_labels()
    if not handles:
        return
    options: dict[str, Any] = {"ncols": ncols or 1 + (len(handles) > 5), "fontsize": "small"}
    if downwards:
        options["handles"] = handles[::-1]
    found = ax.legend(frameon=False, loc="upper right", **options)
    ax.get_ylim()  # the limits of what is drawn so far
    box = found.get_window_extent().transformed(ax.transAxes.inverted())
    spare = 1.15  # the layout is made when the figure is drawn, and may make the axes smaller
    width, bottom = spare * (1.0 - box.x0), 1.0 - spare * (1.0 - box.y0)
    drawn = list(_vertices(ax))
    right, left = _top(drawn, 1.0 - width, 1.0), _top(drawn, 0.0, width)
    if right > bottom and left < right:
        found.set_loc("upper left")
        right = left
    _raise_top(ax, right, floor=max(bottom, 0.25))


def _top(drawn: Sequence[Float], low: float, high: float) -> float:
    """The highest point between two places of the axis, all in fractions of the axes."""
    inside = [xy[(xy[:, 0] >= low) & (xy[:, 0] <= high), 1] for xy in drawn]
    return max((float(y.max()) for y in inside if len(y)), default=0.0)


def _raise_top(ax: Any, top: float, floor: float) -> None:
    """Stretch the vertical axis so that what reached `top` reaches `floor` only."""
    if top <= floor:
        return
    low, high = ax.get_ylim()
    if ax.get_yscale() == "log":
        ax.set_ylim(low, low * (high / low) ** (top / floor))
    else:
        ax.set_ylim(low, low + (high - low) * top / floor)


def _vertices(ax: Any) -> Iterator[Float]:
    """Points along all that is drawn in the units of the data, in fractions of the axes."""
    to_axes = ax.transAxes.inverted()
    for artist in (*ax.lines, *ax.patches, *ax.collections):
        transform = artist.get_transform()
        if not all(transform.contains_branch_seperately(ax.transData)):
            continue  # lines and bands across the whole axes
        paths = artist.get_paths() if hasattr(artist, "get_paths") else [artist.get_path()]
        for path in paths:
            points = to_axes.transform(transform.transform(path.interpolated(8).vertices))
            yield points[np.isfinite(points).all(axis=1)]
