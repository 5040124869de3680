"""Parameters of a fit: correlations, pulls and impacts; cuts and features by their weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.types import Float
from rootml.errors import SchemaError, UsageError
from rootml.plot._axes import Labels, Style, axes_of, colour, named, note

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def correlation(
    names: Sequence[str],
    matrix: Any,
    *,
    reach: float = 1.0,
    title: str = "correlation",
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
    """A correlation matrix, with numbers in percent while they can be read.

    Args:
        names: Parameters or columns.
        matrix: Correlations from -1 to 1, `(name, name)`; or differences of such.
        reach: The colours go from minus to plus this value; numbers beyond have the last colour.
        title: What is written at the scale of colours.
        ax, labels, units, style: As for all functions of `rootml.plot`.

    Raises:
        SchemaError: Not such a matrix.

    >>> import rootml.plot
    >>> ax = rootml.plot.correlation(["mu", "jes"], [[1.0, -0.3], [-0.3, 1.0]])
    >>> [text.get_text() for text in ax.texts]
    ['100', '-30', '-30', '100']
    """
    values = np.asarray(matrix, dtype=np.float64)
    count = len(names)
    if values.shape != (count, count):
        message = f"{count} names and a matrix of shape {values.shape}"
        raise SchemaError(message)
    beyond = float(np.nanmax(np.abs(values), initial=0.0))
    if beyond > 2 + 1e-6 or (reach == 1.0 and beyond > 1 + 1e-6):
        message = f"correlations are from -1 to 1, found {beyond:g}: is this a covariance matrix?"
        raise SchemaError(message)
    side, own = 2.2 + 0.42 * max(3, min(count, 40)), ax is None
    ax = axes_of(ax, style, width=side + 0.8, height=side)
    if own:  # the layout that has room for names beside squares
        ax.figure.set_layout_engine("compressed", w_pad=0.08, h_pad=0.06)
    scale = 100.0  # percent, as the numbers
    image = ax.imshow(scale * values, vmin=-scale * reach, vmax=scale * reach, cmap="RdBu_r")
    written = [named(name, labels) for name in names]
    tilt = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if count > 3 else {}
    ax.set_xticks(range(count), written, **tilt)
    ax.set_yticks(range(count), written)
    ax.tick_params(length=0)
    if count <= 20:
        _write_numbers(ax, scale * values, scale * reach)
    scale_of = named(title, labels, {title: "%", **(units or {})})
    ax.figure.colorbar(image, ax=ax, label=scale_of, fraction=0.046)
    return ax


def _write_numbers(ax: Any, values: Any, reach: float) -> None:
    """The numbers of a matrix into its fields."""
    digits = 0 if reach > 60 else 1
    for (i, j), value in np.ndenumerate(values):
        tint = "white" if abs(value) > 0.6 * reach else "black"
        text = f"{round(value, digits) + 0.0:g}" if np.isfinite(value) else "?"  # no -0
        ax.text(j, i, text, ha="center", va="center", color=tint, fontsize="small")


def impacts(
    name: str,
    nuisances: Sequence[str],
    up: Any,
    down: Any,
    *,
    pulls: Any = None,
    errors: Any = None,
    most: int | None = 30,
    ax: Any = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> tuple[Any, Any]:
    """Impacts of nuisance parameters on a parameter and their pulls in one panel, largest first.

    Bars are impacts, on the upper scale; points are pulls, on the lower one. A nuisance whose
    impact is NaN has no bar, but a remark.

    Args:
        name: The parameter of interest.
        nuisances: Names.
        up, down: Shifts of the parameter with each nuisance at plus and minus one standard
            deviation, `(nuisance,)`.
        pulls: (fit - auxiliary measurement) / width, `(nuisance,)`; None: not drawn, NaN: one
            without such a measurement.
        errors: Errors of the nuisances in the same widths, `(nuisance,)`; needs `pulls`.
        most: Draw only so many; the title says how many there are. None: all.
        ax: Axes for the pulls, to which a second scale is added; None: a new figure.
        labels, units, style: As for all functions of `rootml.plot`.

    Returns:
        The axes with the pulls and those with the impacts.

    Raises:
        SchemaError: Arrays of other lengths.

    >>> import rootml.plot
    >>> low, high = rootml.plot.impacts("mu", ["jes"], [0.1], [-0.1], pulls=[0.5], errors=[0.9])
    >>> high.get_xlabel()
    'impact on mu'
    """
    given = _columns(nuisances, {"up": up, "down": down, "pulls": pulls, "errors": errors})
    size = np.maximum(np.abs(given["up"]), np.abs(given["down"]))
    order = np.argsort(np.where(np.isnan(size), -np.inf, -size), kind="stable")[:most]
    rows = np.arange(len(order))[::-1]
    ax = axes_of(ax, style, width=6.4, height=1.9 + 0.3 * max(3, len(order)))
    bars = ax.twiny()
    ax.set_zorder(bars.get_zorder() + 1)  # points over bars
    ax.patch.set_visible(False)
    _draw_bars(bars, rows, given["up"][order], given["down"][order])
    bars.set_xlabel(f"impact on {named(name, labels, units)}")
    values = given["pulls"][order] if "pulls" in given else np.full(len(order), np.nan)
    _draw_pulls(ax, rows, values, given["errors"][order] if "errors" in given else None)
    _name_rows(ax, rows, [named(nuisances[number], labels) for number in order])
    if len(order) < len(nuisances):
        note(ax, f"{len(order)} of {len(nuisances)} nuisances")
    _legend_above(ax, bars, len(order))
    return ax, bars


def pulls(
    nuisances: Sequence[str],
    values: Any,
    errors: Any = None,
    *,
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
    """Pulls of nuisance parameters with their errors, in widths of the auxiliary measurements.

    Args:
        nuisances: Names.
        values: (fit - auxiliary measurement) / width, `(nuisance,)`.
        errors: In the same widths, `(nuisance,)`; None: not drawn.
        ax, labels, units, style: As for all functions of `rootml.plot`.

    Raises:
        SchemaError: Arrays of other lengths.
    """
    given = _columns(nuisances, {"values": values, "errors": errors})
    rows = np.arange(len(nuisances))[::-1]
    ax = axes_of(ax, style, width=5.2, height=1.2 + 0.3 * max(3, len(rows)))
    _draw_pulls(ax, rows, given["values"], given.get("errors"))
    _name_rows(ax, rows, [named(each, labels, units) for each in nuisances])
    return ax


def _columns(names: Sequence[str], columns: Mapping[str, Any]) -> dict[str, Float]:
    """The columns that are given as arrays, one number per name."""
    given = {
        key: np.asarray(each, dtype=np.float64)
        for key, each in columns.items()
        if each is not None
    }
    for key, each in given.items():
        if each.shape != (len(names),):
            message = f"{len(names)} nuisances and {key} of shape {each.shape}"
            raise SchemaError(message)
    return given


def _draw_bars(ax: Any, rows: Any, up: Float, down: Float) -> None:
    for values, tint, text in (
        (up, colour(0), r"$+1\,\sigma$"),
        (down, colour(1), r"$-1\,\sigma$"),
    ):
        ax.barh(rows, values, color=tint, height=0.7, alpha=0.85, label=text)
    reach = 1.15 * max(
        float(np.nanmax(np.abs(values), initial=0.0)) for values in (up, down)
    )  # fmt: skip
    ax.set_xlim(-(reach or 1.0), reach or 1.0)
    for row in rows[~(np.isfinite(up) & np.isfinite(down))]:
        ax.annotate(
            "no minimum", (0.99, row), xycoords=("axes fraction", "data"), ha="right", va="center",
            fontsize="small", color=colour(2),
        )  # fmt: skip


def _draw_pulls(ax: Any, rows: Any, values: Float, errors: Float | None) -> None:
    ax.axvspan(-1.0, 1.0, color="grey", alpha=0.15, linewidth=0)
    ax.axvline(0.0, color="grey", linewidth=1)
    if np.isfinite(values).any():
        ax.errorbar(values, rows, xerr=errors, fmt="o", color="black", markersize=4, label="pull")
    outer = np.abs(values) + (0.0 if errors is None else errors)
    reach = max(2.2, 1.1 * float(np.nanmax(outer, initial=0.0)))
    ax.set_xlim(-reach, reach)
    ax.set_xlabel("pull: (fit $-$ auxiliary) / width")


def _name_rows(ax: Any, rows: Any, names: Sequence[str]) -> None:
    ax.set_yticks(rows, names)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(-0.6, len(rows) - 0.4)


def _legend_above(ax: Any, bars: Any, rows: int) -> None:
    """One line of the legend over the highest row."""
    shown, more = (each.get_legend_handles_labels() for each in (bars, ax))
    handles, texts = [*shown[0], *more[0]], [*shown[1], *more[1]]
    ax.set_ylim(-0.6, rows + 0.7)
    ax.legend(
        handles, texts, frameon=False, fontsize="small", loc="upper center", ncols=len(handles),
        borderaxespad=0.1,
    )  # fmt: skip


# --- cuts and features ---------------------------------------------------------------------------


def cutflow(
    steps: Sequence[str],
    contents: Mapping[str, Any],
    *,
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
    """What each cut leaves, as a fraction of all events; the scale is logarithmic where needed.

    Args:
        steps: Names of the cuts; the first one is "all events".
        contents: ``{name: (step,)}``: events or sums of weights after each cut.
        ax, labels, units, style: As for all functions of `rootml.plot`.

    Raises:
        SchemaError: Arrays of other lengths.
        UsageError: Nothing to begin with.

    >>> import rootml.plot
    >>> ax = rootml.plot.cutflow(["all events", "nJet > 1"], {"signal": [200.0, 50.0]})
    >>> [text.get_text() for text in ax.texts]
    ['100 %', '25 %']
    """
    rows = np.arange(len(steps))[::-1].astype(np.float64)
    shares = {key: _shares(key, each, len(steps)) for key, each in contents.items()}
    ax = axes_of(ax, style, width=6.4, height=1.4 + 0.34 * len(steps) * max(1, len(shares)))
    thick = 0.8 / max(1, len(shares))
    least = min((float(np.min(v[v > 0], initial=1.0)) for v in shares.values()), default=1.0)
    if least < 0.02:
        ax.set_xscale("log")
    for number, (key, values) in enumerate(shares.items()):
        place = rows + 0.4 - thick * (number + 0.5)
        ax.barh(place, values, height=0.92 * thick, color=colour(number), label=named(key, labels))
        for y, value in zip(place, values, strict=True):
            at = max(value, least) if least < 0.02 else max(value, 0.0)
            offset = {"xytext": (3, 0), "textcoords": "offset points"}
            ax.annotate(f"{100 * value:.3g} %", (at, y), va="center", fontsize="small", **offset)
    ax.set_xlim(least / 2 if least < 0.02 else min(0.0, *map(np.min, shares.values())), None)
    low, high = ax.get_xlim()
    ax.set_xlim(low, high * (high / low) ** 0.15 if least < 0.02 else high + 0.12 * (high - low))
    _name_rows(ax, rows, [named(step, labels, units) for step in steps])
    ax.set_xlabel("fraction of all events")
    if any(contents):
        ax.set_ylim(-0.6, len(rows) + 0.2)
        ax.legend(
            frameon=False, fontsize="small", loc="upper right", ncols=len(shares),
            borderaxespad=0.1,
        )  # fmt: skip
    return ax


def _shares(name: str, contents: Any, number: int) -> Float:
    values = np.asarray(contents, dtype=np.float64)
    if values.shape != (number,):
        message = f"{number} steps and contents of {name!r} of shape {values.shape}"
        raise SchemaError(message)
    if not values[0] > 0:
        message = f"the contents of {name!r} before any cut are {values[0]:g}: no fractions"
        raise UsageError(message)
    shares: Float = values / values[0]
    return shares


def importance(
    names: Sequence[str],
    values: Any,
    *,
    what: str = "importance",
    most: int | None = 30,
    ax: Axes | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Axes:
    """Features by their importance, the largest first.

    Args:
        names: The features.
        values: `(feature,)`.
        what: What the numbers are.
        most: Draw only so many; the title says how many there are. None: all.
        ax, labels, units, style: As for all functions of `rootml.plot`.

    Raises:
        SchemaError: Arrays of other lengths.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.shape != (len(names),):
        message = f"{len(names)} features and values of shape {found.shape}"
        raise SchemaError(message)
    order = np.argsort(-found, kind="stable")[:most]
    rows = np.arange(len(order))[::-1]
    ax = axes_of(ax, style, width=5.6, height=1.2 + 0.28 * max(3, len(order)))
    ax.barh(rows, found[order], color=colour(0), height=0.7)
    _name_rows(ax, rows, [named(names[number], labels) for number in order])
    ax.set_xlabel(named(what, labels, units))
    if len(order) < len(names):
        note(ax, f"{len(order)} of {len(names)} features")
    return ax
