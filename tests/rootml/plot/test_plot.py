"""What pictures show is what was given: the data of the artists, not their pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import rootml
from rootml.errors import (
    EmptySelectionError,
    MissingFileError,
    NonFiniteError,
    SchemaError,
    UsageError,
)

hist: Any = pytest.importorskip("hist")
pytest.importorskip("mplhep")
plt: Any = pytest.importorskip("matplotlib.pyplot")
pytestmark = pytest.mark.usefixtures("figures_closed")

from rootml import plot  # noqa: E402 - needs matplotlib

RNG = np.random.default_rng(3)
EDGES = np.linspace(0, 10, 6)
X = RNG.uniform(0, 10, 400)
W = RNG.normal(0.8, 0.6, 400)
Y = RNG.integers(0, 2, 400)


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


def test_rounding_is_not_outside_of_the_axis() -> None:
    rng = np.random.default_rng(5)
    for seed in range(20):
        inside = hist.Hist.new.Reg(25, 0, 1, name="s").Weight()
        inside.fill(rng.uniform(size=500), weight=rng.uniform(size=500))
        assert plot.hist(inside).get_title(loc="right") == "", seed
        plt.close("all")


def test_bins_of_whole_numbers_have_ticks_of_whole_numbers() -> None:
    truth = (np.full(20, 9.0), np.full(20, 3.0))
    _, lower = plot.closure(truth, {"fit": truth}, np.arange(21) - 0.5)
    assert all(float(tick).is_integer() for tick in lower.get_xticks())


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
    left, right = plot.impacts(
        "mu", ["a", "b", "c"], [0.1, -0.5, 0.2], [-0.1, 0.4, -0.3], pulls=[1, 2, np.nan], most=2
    )
    assert [text.get_text() for text in left.get_yticklabels()] == ["b", "c"]
    assert left.get_title(loc="right") == "2 of 3 nuisances"
    assert right.get_xlabel() == "impact on mu"
    assert [bar.get_width() for bar in right.patches] == [-0.5, 0.2, 0.4, -0.3]
    np.testing.assert_array_equal(left.lines[-1].get_xdata(), [2, np.nan])
    with pytest.raises(SchemaError, match="covariance"):
        plot.correlation(["a"], [[3.0]])
    values = np.linspace(0, 2, 9)
    ax = plot.scan("mu", values[::-1], (values[::-1] - 1) ** 2, labels={"mu": r"$\mu$"}, best=1.0)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), values)
    ax = plot.limit("mu", values, None, np.exp(-np.outer([0.5, 1, 2, 3, 4], values)))
    texts = ax.get_legend_handles_labels()[1]
    assert texts[-1] == "95 % CL"
    assert texts[2] == "expected: mu < 1.5"  # exp(-2 mu) is 0.05 there
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
        plot.hist(filled(X), style="CDF")


CURVE = np.linspace(0, 2, 9)
BARS = ([9.0, 16.0], [3.0, 4.0])
ANGLE = np.linspace(0, 2 * np.pi, 30)

DRAWN: dict[str, Callable[..., Any]] = {
    "hist": lambda **look: plot.hist({"a": filled(X), "b": filled(X / 2)}, **look),
    "stack": lambda **look: plot.hist({"a": filled(X), "b": filled(X / 2)}, stack=True, **look),
    "log": lambda **look: plot.hist({"a": filled(X), "b": filled(X / 2)}, log=True, **look),
    "data_mc": lambda **look: plot.data_mc(filled(X), {k: filled(X / 2) for k in "ab"}, **look),
    "steps": lambda **look: plot.steps({"a": [1, 5], "b": [5, 1]}, [0, 1, 2], **look),
    "scores": lambda **look: plot.scores(X, Y, **look),
    "overtraining": lambda **look: plot.overtraining((X, Y, None), (X, Y, None), **look),
    "roc": lambda **look: plot.roc({"good": (X + 9 * Y, Y, W)}, **look),
    "log roc": lambda **look: plot.roc({"good": (X + 9 * Y, Y, None)}, log=True, **look),
    "inverted roc": lambda **look: plot.roc({"bad": (X - 9 * Y, Y, W)}, **look),
    "scan": lambda **look: plot.scan("mu", CURVE, {"a": CURVE**2, "b": 2 * CURVE}, **look),
    "contour": lambda **look: plot.contour(
        "a", "b", {0.68: np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=1)}, best=(0, 0), **look
    ),
    "limit": lambda **look: plot.limit(
        "mu", CURVE, 1 - CURVE / 9, 1 - np.outer([0.5, 0.4, 0.3, 0.2, 0.1], CURVE), **look
    ),
    "band": lambda **look: plot.band(CURVE, {"a": (CURVE, CURVE)}, expected=1.0, **look),
    "closure": lambda **look: plot.closure(BARS, {"a": BARS}, [0, 1, 2], start=[9, 9], **look),
    "ratios": lambda **look: plot.closure(
        BARS, {"a": BARS, "b": ([30, 2], [1, 1])}, [0, 1, 2], below="ratio", log=None, **look
    ),
    "quantiles": lambda **look: plot.quantiles(
        CURVE, {"a": (CURVE - 1, CURVE, CURVE + 1)}, target=(CURVE - 1, CURVE, CURVE + 1), **look
    ),
    "efficiency": lambda **look: plot.efficiency(
        {"a": ([0.5, 0.4, 0.58], [0.05] * 3), "b": ([0.1, 0.2, 0.1], [0.05] * 3)},
        [0, 1, 2, 3],
        **look,
    ),
    "toys": lambda **look: plot.toys(W, name="mu", **look),
}


def clipped(figure: Any) -> list[str]:
    """Texts that are not wholly within a figure that was drawn."""
    inside, found = figure.bbox.padded(0.5), []
    for ax in figure.axes:
        axes = (ax.xaxis, ax.yaxis)
        ticks = [
            tick.label1
            for axis in axes
            for tick in axis.get_major_ticks()
            if min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
        ]
        titles = [title for title in ax.get_children() if hasattr(title, "get_text")]
        for text in (*ticks, *titles, *ax.texts, *(axis.label for axis in axes)):
            box = text.get_window_extent()
            if (
                text.get_text()
                and text.get_visible()
                and box.width
                and (not inside.contains(box.x0, box.y0) or not inside.contains(box.x1, box.y1))
            ):
                found.append(text.get_text())
    return found


@pytest.mark.parametrize("name", DRAWN)
def test_no_legend_is_on_what_is_drawn_and_nothing_is_clipped(name: str) -> None:
    """Points every few pixels along each curve, bar and band: none is behind the legend."""
    drawn = DRAWN[name](style="CMS Simulation, 13 TeV")
    ax = drawn[0] if isinstance(drawn, tuple) else drawn
    ax.figure.canvas.draw()
    assert clipped(ax.figure) == []
    box = ax.get_legend().get_window_extent()
    for artist in (*ax.lines, *ax.patches, *ax.collections):
        transform = artist.get_transform()
        if not all(transform.contains_branch_seperately(ax.transData)):
            continue
        paths = artist.get_paths() if hasattr(artist, "get_paths") else [artist.get_path()]
        for path in paths:
            points = path.interpolated(40).transformed(transform).vertices
            assert box.count_contains(points) == 0


@pytest.mark.parametrize(
    ("number", "name"), [(1, "jes"), (3, "jes"), (4, "a longer name"), (8, "b")]
)
def test_names_at_a_matrix_are_not_clipped(number: int, name: str) -> None:
    matrix = np.full((number, number), 0.3) + 0.7 * np.eye(number)
    names = [f"{name}_{each}" for each in range(number)]
    for style in ("plain", "CMS Preliminary, 138 fb$^{-1}$ (13 TeV)"):
        figure: Any = plot.correlation(names, matrix, style=style).figure
        figure.canvas.draw()
        assert clipped(figure) == []


def test_a_stack_is_told_from_its_top_behind_the_data() -> None:
    simulation = {"low": filled(X), "high": filled(X)}
    upper, _ = plot.data_mc(filled(X), simulation, units={"pt": "GeV"})
    texts = [text.get_text() for text in upper.get_legend().get_texts()]
    assert texts == ["data", "stat. error", "high", "low"]
    assert upper.get_ylabel() == "events / 2 GeV"


@pytest.mark.parametrize("name", DRAWN)
def test_every_picture_goes_into_axes_that_are_given(name: str) -> None:
    two = name in {"data_mc", "closure", "ratios"}
    ax: Any = plt.figure().subplots(2) if two else plt.figure().add_subplot()
    number = len(plt.get_fignums())
    drawn = DRAWN[name](ax=ax)
    assert (tuple(drawn) == tuple(ax)) if two else (drawn is ax)
    assert len(plt.get_fignums()) == number


def test_pictures_in_several_panels(tmp_path: Path) -> None:
    pairs = plot.panels(5, residuals=True)
    for pair in pairs:
        DRAWN["closure"](ax=pair, style="ATLAS")
    assert plt.get_fignums()  # known to pyplot: a notebook shows it
    plot.write(pairs, tmp_path / "sheet.png")
    assert not plt.get_fignums()
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(MissingFileError, match="no folder"):
        plot.write(plot.panels(1), tmp_path / "absent" / "sheet.png")
    with pytest.raises(UsageError, match="at least one"):
        plot.panels(0)
    with pytest.raises(UsageError, match="the upper and the lower axes"):
        DRAWN["closure"](ax=plt.figure().add_subplot())


def test_names_of_experiments_stand_beside_their_text() -> None:
    ax = DRAWN["steps"](style="CMS Preliminary, 138 fb$^{-1}$ (13 TeV)")
    ax.set_yticks([1, 5], ["a very long name of a tick", "b"])  # the layout changes
    ax.figure.canvas.draw()
    (text,) = [each for each in ax.texts if each.get_text() == "Preliminary"]
    name = next(each for each in ax.get_children() if getattr(each, "_text", "") == "CMS")
    assert 0 < text.get_window_extent().x0 - name.get_window_extent().x1 < 20
    assert ax.get_title(loc="right") == "138 fb$^{-1}$ (13 TeV)"


def test_nothing_is_left_out_in_silence() -> None:
    _, lower = plot.closure(BARS, {"a": ([99.0, 16.0], [4.0, 3.0])}, [0, 1, 2])
    assert lower.get_ylim()[1] > 18  # (99 - 9) / 5 standard deviations
    _, lower = plot.closure(BARS, {"a": ([99.0, 2.0], [4.0, 3.0])}, [0, 1, 2], below="ratio")
    assert [line.get_marker() for line in lower.lines if len(line.get_xdata())][-2:] == ["^", "v"]
    left, right = plot.impacts("mu", list("abc"), [0.1, np.nan, 0.2], [0, 0.1, 0], most=2)
    assert [text.get_text() for text in left.get_yticklabels()] == ["b", "c"]
    assert [text.get_text() for text in right.texts] == ["no minimum"]


def test_a_calibration_has_its_residuals_below() -> None:
    upper, lower = plot.calibration([0.2, 0.6], [0.3, 0.5], [0.05, 0.2])
    np.testing.assert_allclose(lower.lines[-1].get_ydata(), [2, -0.5])
    assert upper.get_xlim() == (0, 1)
    with pytest.raises(SchemaError, match="per bin"):
        plot.calibration([0.2], [0.3, 0.5], [0.05, 0.2])


def test_ends_of_intervals_are_where_the_parabola_says() -> None:
    x = np.linspace(-3, 3, 601)
    lines = plot.scan("mu", x, x**2).collections
    ends = [segment[0, 0] for segments in lines for segment in segments.get_segments()]
    np.testing.assert_allclose(ends, [-1, 1, -2, 2], atol=1e-4)


def test_a_cut_flow_is_a_fraction_of_all_events() -> None:
    ax = plot.cutflow(["all", "a", "b"], {"s": [4.0, 2.0, 1.0], "b": [50.0, 5.0, 0.05]})
    assert [bar.get_width() for bar in ax.patches] == [1, 0.5, 0.25, 1, 0.1, 0.001]
    assert ax.get_xscale() == "log"
    with pytest.raises(UsageError, match="before any cut"):
        plot.cutflow(["all", "a"], {"s": [0.0, 0.0]})
    ax = plot.importance(["a", "b", "c"], [0.1, 0.3, 0.2], most=2)
    assert [bar.get_width() for bar in ax.patches] == [0.3, 0.2]


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


def test_the_cut_flow_of_a_dataset_is_drawn(data: rootml.Dataset) -> None:
    ax = data.filter("x > 2", name="fast").cutflow().plot(weighted=False, labels={"1": "signal"})
    wanted = [1.0, (X[Y == 1] > 2).mean()]
    assert [bar.get_width() for bar in ax.patches[2:]] == pytest.approx(wanted)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["all events", "fast"]
    assert ax.get_legend_handles_labels()[1] == ["0", "signal"]


def test_reports_may_open_many_figures() -> None:
    """matplotlib warns of more than 20, and warnings are errors here."""
    diagnostics = pytest.importorskip("rootml.sbi.diagnostics._report")
    curves = {f"pulls {n}": ("pulls", "mu", {"pulls": W}) for n in range(22)}
    drawn = diagnostics.Report((), (), curves).plot()
    assert len(drawn) == len(plt.get_fignums()) == 22
