"""What pictures show is what was given: the data of the artists, not their pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import rootml
from rootml.errors import EmptySelectionError, NonFiniteError, SchemaError, UsageError

hist: Any = pytest.importorskip("hist")
pytest.importorskip("mplhep")
plt: Any = pytest.importorskip("matplotlib.pyplot")

from rootml import plot  # noqa: E402 - needs matplotlib

RNG = np.random.default_rng(3)
EDGES = np.linspace(0, 10, 6)
X = RNG.uniform(0, 10, 400)
W = RNG.normal(0.8, 0.6, 400)
Y = RNG.integers(0, 2, 400)


@pytest.fixture(autouse=True)
def figures_closed() -> Iterator[None]:
    plt.switch_backend("Agg")
    yield
    plt.close("all")


def filled(values: Any, weights: Any = None) -> Any:
    return hist.Hist.new.Var(EDGES, name="pt").Weight().fill(values, weight=weights)


def test_a_histogram_is_drawn_with_its_contents() -> None:
    ax = plot.hist({"a": filled(X, W)}, labels={"a": "mine"}, units={"pt": "GeV"})
    (stairs,) = ax.patches
    np.testing.assert_allclose(stairs.get_data().values, np.histogram(X, EDGES, weights=W)[0])
    assert ax.get_xlabel() == "pt [GeV]"
    assert ax.get_legend_handles_labels()[1] == ["mine"]
    ax.figure.canvas.draw()


def test_density_has_area_one_and_stacks_add_up() -> None:
    (stairs,) = plot.hist(filled(X), density=True).patches
    assert (stairs.get_data().values * np.diff(EDGES)).sum() == pytest.approx(1)
    ax = plot.hist({"a": filled(X), "b": filled(X / 2)}, stack=True)
    np.testing.assert_allclose(
        ax.patches[1].get_data().values,
        np.histogram(X, EDGES)[0] + np.histogram(X / 2, EDGES)[0],
    )


def test_what_is_outside_of_the_axis_is_told() -> None:
    ax = plot.hist(filled(np.concatenate([X, np.full(100, 99.0)])))
    assert ax.get_title(loc="right") == "20 % outside of the axis"


def test_data_over_simulation() -> None:
    stats = pytest.importorskip("scipy.stats")
    data, sim = filled(X), filled(np.concatenate([X, X]), np.full(800, 0.55))
    upper, lower = plot.data_mc(data, {"sim": sim}, style="CMS")
    points = lower.containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(points, data.values() / sim.values())
    counts = data.values()
    below, above = upper.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert below == pytest.approx(stats.chi2.ppf(0.158655, 2 * counts[0]) / 2, rel=1e-4)
    assert above == pytest.approx(stats.chi2.ppf(0.841345, 2 * counts[0] + 2) / 2, rel=1e-4)
    with pytest.raises(SchemaError, match="other bins"):
        plot.data_mc(data, {"sim": hist.Hist.new.Reg(3, 0, 10).Weight()})


def test_scores_and_roc_of_weights_of_any_sign() -> None:
    ax = plot.scores(X, Y, W, bins=list(EDGES))
    wanted = np.histogram(X[Y == 1], EDGES, weights=W[Y == 1])[0]
    np.testing.assert_allclose(
        ax.patches[1].get_data().values, wanted / (wanted.sum() * np.diff(EDGES))
    )
    line = plot.roc({"dnn": (X, Y, W)}).lines[0]
    assert (line.get_xdata()[-1], line.get_ydata()[-1]) == pytest.approx((1, 1))
    with pytest.raises(UsageError, match="add up to"):
        plot.roc({"dnn": (X, Y, -np.abs(W))})
    with pytest.raises(UsageError, match="labels"):
        plot.overtraining((X, Y, None), (X, Y + 1, None))
    plot.overtraining((X, Y, W), (X, Y, W), log=False)


def test_parameters_scans_and_limits() -> None:
    left, right = plot.impacts("mu", ["a", "b", "c"], [0.1, -0.5, 0.2], [-0.1, 0.4, -0.3], most=2)
    assert [text.get_text() for text in left.get_yticklabels()] == ["b", "c"]
    assert left.get_title(loc="left") == "2 of 3 nuisances"
    assert right.get_xlabel() == "shift of mu"
    with pytest.raises(SchemaError, match="covariance"):
        plot.correlation(["a"], [[3.0]])
    values = np.linspace(0, 2, 9)
    ax = plot.scan("mu", values[::-1], (values[::-1] - 1) ** 2, labels={"mu": r"$\mu$"}, best=1.0)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), values)
    ax = plot.limit("mu", values, None, np.exp(-np.outer([0.5, 1, 2, 3, 4], values)))
    assert ax.get_legend_handles_labels()[1][-1] == "95 % CL"
    with pytest.raises(SchemaError, match="one row per quantile"):
        plot.limit("mu", values, None, values)
    _, lower = plot.closure(
        ([9.0, 16.0], [3.0, 4.0]), {"a": ([13.0, 16.0], [4.0, 3.0])}, [0, 1, 2], name="pt"
    )
    np.testing.assert_allclose(lower.lines[1].get_ydata(), [0.8, 0.0])


def test_axes_of_the_user_are_drawn_into() -> None:
    ax = plt.figure().add_subplot()
    assert plot.hist(filled(X), ax=ax, style="ATLAS") is ax
    with pytest.raises(UsageError, match="style='CDF'"):
        plot.hist(filled(X), style="CDF")  # type: ignore[arg-type]


# --- from a dataset ---


@pytest.fixture
def data(tmp_path: Path) -> rootml.Dataset:
    jets = [list(range(n % 4)) for n in range(400)]
    table = pa.table({"x": X, "w": W, "y": Y, "jets": jets})
    pa.parquet.write_table(table, tmp_path / "events.parquet", row_group_size=150)
    return rootml.open(tmp_path / "events.parquet", label="y", weight="w")


def test_a_dataset_gives_a_histogram_by_label(data: rootml.Dataset) -> None:
    found: Any = data.filter("x > 2").hist("2 * x", bins=list(2 * EDGES))
    for label in (0, 1):
        mine = (X > 2) & (label == Y)
        part = found[hist.loc(str(label)), :]
        np.testing.assert_allclose(
            part.values(), np.histogram(X[mine], EDGES, weights=W[mine])[0], atol=1e-12
        )
        np.testing.assert_allclose(
            part.variances(), np.histogram(X[mine], EDGES, weights=W[mine] ** 2)[0], atol=1e-12
        )
    assert len(plot.hist(found).patches) == 2


def test_all_values_are_in_the_range_that_is_found(data: rootml.Dataset) -> None:
    found = data.hist("x", bins=7, by_label=False)
    assert found.values().sum() == pytest.approx(W.sum())
    assert found.values(flow=True).sum() == pytest.approx(W.sum())


def test_lists_count_each_element(data: rootml.Dataset) -> None:
    found = data.hist("jets", bins=3, range=(0, 3), by_label=False)
    numbers = np.arange(400) % 4
    wanted = [W[numbers > value].sum() for value in range(3)]
    np.testing.assert_allclose(found.values(), wanted)


def test_bad_histograms(data: rootml.Dataset) -> None:
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        data.hist("log(x - 100)")
    with pytest.raises(EmptySelectionError, match="no value"):
        data.filter("x > 99").hist("x", by_label=False)
    with pytest.raises(UsageError, match="rising edges"):
        data.hist("x", bins=[3, 2])
    with pytest.raises(UsageError, match="low < high"):
        data.hist("x", bins=3, range=(2, 1))
