"""Parameters of a fit: correlations, pulls and impacts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rootml.errors import SchemaError
from rootml.plot._axes import Labels, Style, axes_of, colour, named, new_figure


def correlation(
    names: Sequence[str],
    matrix: Any,
    *,
    ax: Any = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> Any:
    """A correlation matrix, with numbers in percent while they can be read.

    Args:
        names: Parameters or columns.
        matrix: Correlations from -1 to 1, `(name, name)`.
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
    if beyond > 1 + 1e-6:
        message = f"correlations are from -1 to 1, found {beyond:g}: is this a covariance matrix?"
        raise SchemaError(message)
    side = 2.2 + 0.42 * max(3, min(count, 40))
    ax = axes_of(ax, style, width=side + 0.8, height=side)
    image = ax.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r")
    written = [named(name, labels, units) for name in names]
    ax.set_xticks(range(count), written, rotation=90 if count > 4 else 0)
    ax.set_yticks(range(count), written)
    if count <= 20:
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                tint = "white" if abs(value) > 0.6 else "black"
                text = f"{100 * value:.0f}" if np.isfinite(value) else "?"
                ax.text(j, i, text, ha="center", va="center", color=tint, fontsize="small")
    ax.figure.colorbar(image, ax=ax, label="correlation", fraction=0.046)
    return ax


def impacts(
    name: str,
    nuisances: Sequence[str],
    up: Any,
    down: Any,
    *,
    pulls: Any = None,
    errors: Any = None,
    most: int | None = 30,
    ax: Sequence[Any] | None = None,
    labels: Labels = None,
    units: Labels = None,
    style: Style = "plain",
) -> tuple[Any, Any]:
    """Pulls of nuisance parameters beside their impacts on a parameter, the largest first.

    Args:
        name: The parameter of interest.
        nuisances: Names.
        up, down: Shifts of the parameter with each nuisance at plus and minus one standard
            deviation, `(nuisance,)`.
        pulls: (fit - auxiliary measurement) / width, `(nuisance,)`; None: not drawn.
        errors: Errors of the nuisances in the same widths, `(nuisance,)`; needs `pulls`.
        most: Draw only so many; the title says how many there are. None: all.
        ax: Axes for pulls and for impacts; None: a new figure.
        labels, units, style: As for all functions of `rootml.plot`.

    Returns:
        The axes with the pulls and those with the impacts.

    Raises:
        SchemaError: Arrays of other lengths.
    """
    count = len(nuisances)
    columns = {"up": up, "down": down, "pulls": pulls, "errors": errors}
    given = {
        key: np.asarray(each, dtype=np.float64)
        for key, each in columns.items()
        if each is not None
    }
    for key, each in given.items():
        if each.shape != (count,):
            message = f"{count} nuisances and {key} of shape {each.shape}"
            raise SchemaError(message)
    size = np.maximum(np.abs(given["up"]), np.abs(given["down"]))
    order = np.argsort(-size, kind="stable")[:most]
    if ax is None:
        figure = new_figure(8.0, 1.5 + 0.3 * max(3, len(order)))
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 3))
    else:
        left, right = ax
    axes_of(right, style)
    rows = np.arange(len(order))[::-1]
    _draw_pulls(left, rows, given, order)
    left.set_yticks(rows, [named(nuisances[number], labels, units) for number in order])
    left.set_ylim(-0.6, len(order) - 0.4)
    for key, tint, text in (
        ("up", colour(0), r"$+1\,\sigma$"),
        ("down", colour(1), r"$-1\,\sigma$"),
    ):
        right.barh(rows, given[key][order], color=tint, height=0.7, alpha=0.85, label=text)
    right.axvline(0.0, color="grey", linewidth=1)
    right.set_xlabel(rf"shift of {named(name, labels, units)}")
    right.margins(x=0.08)
    if len(order) < count:
        left.set_title(f"{len(order)} of {count} nuisances", fontsize="small", loc="left")
    right.legend(frameon=False, fontsize="small", loc="lower right")
    return left, right


def _draw_pulls(ax: Any, rows: Any, given: dict[str, Any], order: Any) -> None:
    ax.axvspan(-1.0, 1.0, color="grey", alpha=0.2, linewidth=0)
    ax.axvline(0.0, color="grey", linewidth=1)
    reach = 2.2
    if "pulls" in given:
        values = given["pulls"][order]
        errors = given["errors"][order] if "errors" in given else None
        ax.errorbar(values, rows, xerr=errors, fmt="o", color="black", markersize=4)
        outer = np.abs(values) + (0.0 if errors is None else errors)
        reach = max(reach, 1.1 * float(np.nanmax(outer, initial=0.0)))
    ax.set_xlim(-reach, reach)
    ax.set_xlabel("pull")
