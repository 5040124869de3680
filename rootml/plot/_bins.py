"""Numbers behind histograms: contents, errors, bins, events by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.optional import optional_import
from rootml._internal.types import Float, Weights
from rootml.errors import SchemaError, UsageError

if TYPE_CHECKING:
    import hist


def split_categories(histograms: Any) -> dict[str, Any]:
    """Histograms of one axis by name.

    Raises:
        UsageError: Something else.
    """
    if isinstance(histograms, Mapping) and histograms:
        return dict(histograms)
    axes: Any = getattr(histograms, "axes", ())
    if len(axes) == 1:
        return {"": histograms}
    if len(axes) == 2 and axes[0].traits.discrete:
        return {str(value): histograms[number, :] for number, value in enumerate(axes[0])}
    message = (
        "a histogram has one axis, or a category axis and another one; or give {name: histogram}; "
        f"not {type(histograms).__name__} of {len(axes)} axes"
    )
    raise UsageError(message)


def common_axis(histograms: Mapping[str, Any]) -> tuple[Float, str]:
    """The edges that all share, and the name of the quantity.

    Raises:
        SchemaError: They have different edges.
    """
    edges: Float | None = None
    name = ""
    for key, each in histograms.items():
        (axis,) = each.axes
        mine = np.asarray(axis.edges, dtype=np.float64)
        name = name or axis.label or axis.name
        if edges is not None and not np.array_equal(edges, mine):
            message = f"histogram {key!r} has other bins than the first one"
            raise SchemaError(message)
        edges = mine
    assert edges is not None
    return edges, name


def contents(histogram: Any, name: str, *, density: bool = False) -> tuple[Float, Float]:
    """Contents of the bins and their errors; `density`: per width, of area 1."""
    values = np.asarray(histogram.values(), dtype=np.float64)
    errors = np.sqrt(variances(histogram))
    if not density:
        return values, errors
    area = float(values.sum())
    if not area > 0:
        message = f"density=True: the contents of {name!r} add up to {area:g}"
        raise UsageError(message)
    scale = 1.0 / (area * np.diff(histogram.axes[0].edges))
    return values * scale, errors * scale


def variances(histogram: Any) -> Float:
    found = histogram.variances()
    if found is None:
        message = "a histogram without variances has no errors: fill it with storage Weight"
        raise UsageError(message)
    return np.asarray(found, dtype=np.float64)


def total_errors(histograms: Sequence[Any]) -> Float:
    total: Float = np.sqrt(np.sum([variances(each) for each in histograms], axis=0))
    return total


def data_errors(histogram: Any) -> tuple[Float, Float, Float]:
    """Contents, and errors below and above."""
    values, errors = contents(histogram, "data")
    if not np.allclose(values, np.square(errors)):  # weighted
        return values, errors, errors
    stats = optional_import("scipy.stats", feature="rootml.plot.data_mc()", extra="sbi")
    tail = (1 - 0.682689492) / 2
    low = np.where(values > 0, stats.chi2.ppf(tail, 2 * values) / 2, 0.0)
    high = stats.chi2.ppf(1 - tail, 2 * values + 2) / 2
    return values, values - low, high - values


def by_label(score: Any, label: Any, weight: Any) -> dict[str, tuple[Float, Float]]:
    """Scores and weights of the events of each label, by its text.

    Raises:
        UsageError: Arrays of different lengths, or scores or weights that are not finite.
    """
    values = np.asarray(score, dtype=np.float64)
    names = np.asarray(label)
    weights = np.ones(len(values)) if weight is None else np.asarray(weight, dtype=np.float64)
    if values.ndim != 1 or not values.shape == names.shape == weights.shape:
        message = (
            f"score {values.shape}, label {names.shape} and weight {weights.shape}: expected one "
            "number per event each"
        )
        raise UsageError(message)
    for what, each in (("score", values), ("weight", weights)):
        bad = int(np.count_nonzero(~np.isfinite(each)))
        if bad:
            message = f"{bad:,} of {len(each):,} events have a {what} that is NaN or infinite"
            raise UsageError(message)
    if not len(values):
        message = "there are no events"
        raise UsageError(message)
    return {
        f"{value:g}" if names.dtype.kind in "iuf" else str(value): (
            values[names == value],
            weights[names == value],
        )
        for value in np.unique(names)
    }


def edges_of(values: Float, bins: int | Sequence[float]) -> Float:
    if isinstance(bins, int):
        return np.asarray(np.histogram_bin_edges(values, bins), dtype=np.float64)
    return np.asarray(bins, dtype=np.float64)


def filled(edges: Float, values: Float, weights: Weights) -> hist.Hist:
    package = optional_import("hist", feature="rootml.plot", extra="plot")
    axis = package.axis.Variable(edges, name="score", flow=True)
    inside = np.where(values == edges[-1], np.nextafter(edges[-1], -np.inf), values)
    return package.Hist(axis, storage=package.storage.Weight()).fill(inside, weight=weights)
