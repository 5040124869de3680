"""Helpers that all parts share, against SciPy, scikit-learn and plain counting."""

from __future__ import annotations

import errno
import inspect
import re
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rootml._internal import notebook, progress
from rootml._internal import validators as check
from rootml._internal.atomic import atomic_path
from rootml._internal.loss_display import LossDisplay
from rootml._internal.reprs import Grid, HtmlRepr, Paragraph
from rootml._internal.statistics import (
    effective_events,
    ks_distance,
    normalised,
    roc_area,
    roc_area_of_labels,
    weighted_quantiles,
)
from rootml.errors import MissingFileError, UsageError


@pytest.fixture
def samples() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores with ties of two samples, and weights."""
    rng = np.random.default_rng(5)
    a, b = np.round(rng.normal(0.3, 1, 400), 1), np.round(rng.normal(0, 1, 300), 1)
    return a, b, rng.exponential(1.0, 400), rng.exponential(2.0, 300)


def test_roc_area_is_that_of_scikit_learn(samples: Any) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    a, b, wa, wb = samples
    labels = np.concatenate([np.ones(len(a)), np.zeros(len(b))])
    scores, weights = np.concatenate([a, b]), np.concatenate([wa, wb])
    wanted = metrics.roc_auc_score(labels, scores, sample_weight=weights)
    assert roc_area(a, b, wa, wb)[0] == pytest.approx(wanted, abs=1e-12)
    assert roc_area_of_labels(scores, labels, weights) == pytest.approx(wanted, abs=1e-12)


def test_the_error_of_a_roc_area_is_its_scatter() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(400):
        a, b = rng.normal(0.5, 1, 200), rng.normal(0, 1, 300)
        found.append(roc_area(a, b, rng.exponential(1, 200), np.ones(300)))
    values, errors = np.array(found).T
    # the scatter of 400 values is known to 3.5 %
    assert errors.mean() == pytest.approx(values.std(), rel=0.12)


def test_negative_weights_subtract_events() -> None:
    a, b = np.array([1.0, 2.0, 3.0, 3.0]), np.array([0.0, 2.5])
    weights = np.array([1.0, 1.0, 1.0, -1.0])  # the last two cancel
    assert roc_area(a, b, weights)[0] == pytest.approx(roc_area(a[:2], b)[0], abs=1e-15)
    assert ks_distance(a, b, weights) == pytest.approx(ks_distance(a[:2], b), abs=1e-15)


def test_ks_distance_is_that_of_scipy(samples: Any) -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b, *_ = samples
    assert ks_distance(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic, abs=1e-15)


def test_quantiles_are_those_of_numpy(samples: Any) -> None:
    a, probabilities = samples[0], np.linspace(0.0, 1.0, 21)
    wanted = np.quantile(a, probabilities, method="inverted_cdf")
    np.testing.assert_array_equal(weighted_quantiles(a, probabilities), wanted)


def test_effective_events() -> None:
    assert effective_events(np.full(7, 0.3)) == pytest.approx(7)
    assert effective_events(np.array([1.0, -1.0])) == 0
    assert effective_events(np.array([-1.0, -1.0])) == 0
    assert effective_events(np.zeros(0)) == 0
    with pytest.raises(UsageError, match="add up to 0"):
        normalised(np.ones(2), np.array([1.0, -1.0]))


@pytest.mark.parametrize("value", [0, -1, 1.0, "1", None, True, np.bool_(True), np.float64(2)])
def test_what_is_not_a_positive_whole_number(value: Any) -> None:
    with pytest.raises(UsageError, match=r"n=.*: expected a whole number of at least 1"):
        check.check_whole("n", value, minimum=1)


@pytest.mark.parametrize("value", [1, np.int64(7), np.uint8(3)])
def test_whole_numbers_of_any_library(value: Any) -> None:
    found = check.check_whole("n", value, minimum=1, maximum=7)
    assert type(found) is int
    assert found == value


@pytest.mark.parametrize("value", [0.0, 1.5, float("nan"), float("inf"), "0.5", None, True])
def test_what_is_not_a_fraction(value: Any) -> None:
    with pytest.raises(UsageError, match=r"expected a number above 0 and at most 1"):
        check.check_number("fraction", value, above=0.0, maximum=1.0)


def test_flags() -> None:
    assert check.check_flag("x", np.bool_(True)) is True
    with pytest.raises(UsageError, match="expected True or False"):
        check.check_flag("x", 1)


def test_named_options_keep_the_signature() -> None:
    class Loader:
        @check.named_options
        def batches(self, size: int, *, shuffle: bool = False) -> tuple[int, bool]:
            """Doc."""
            return size, shuffle

    assert Loader().batches(3, shuffle=True) == (3, True)
    assert list(inspect.signature(Loader.batches).parameters) == ["self", "size", "shuffle"]
    assert Loader.batches.__doc__ == "Doc."
    with pytest.raises(
        UsageError, match=r"batches\(\) has no option 'shufle'; nearest: 'shuffle'"
    ):
        Loader().batches(3, shufle=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="size"):  # Python's own: nothing is misspelt
        Loader().batches()  # type: ignore[call-arg]
    with pytest.raises(UsageError, match=r"batches\(\) takes its options by name: shuffle="):
        Loader().batches(3, True)  # type: ignore[call-arg]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    path.write_text("old")

    def write_half() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert path.read_text() == "old"
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".txt"
    assert [each.name for each in tmp_path.iterdir()] == ["kept.txt"]
    assert path.read_text() == "new"
    with pytest.raises(MissingFileError), atomic_path(tmp_path / "absent" / "x.txt"):
        pass


def test_a_full_disk_says_which_file(tmp_path: Path) -> None:
    """pyarrow and uproot leave it out; errors of something else are left alone."""
    path = tmp_path / "kept.txt"
    for error, named in (
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.ECONNRESET, "Connection reset"), False),
        (OSError("the power is gone"), False),
    ):
        with pytest.raises(OSError, match=str(error.args[-1])) as caught, atomic_path(path):
            raise error
        assert caught.value.filename == (str(path) if named else None)
    assert not list(tmp_path.iterdir())


def test_html_is_escaped() -> None:
    class Result(HtmlRepr):
        def _html_title(self) -> str:
            return "<Result>"

        def _html_parts(self) -> list[Any]:
            return [[("<a>", "<b>")], Grid(("<c>",), [("<d>",)]), Paragraph("<e>", bold="<f>")]

    html = Result()._repr_html_()
    for each in ("Result", *"abcdef"):
        assert f"&lt;{each}&gt;" in html


def test_long_steps_write_lines_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.05)

    def slow() -> Any:
        yield 1
        time.sleep(0.3)  # one item alone is not silent either
        yield 2

    assert list(progress.track(slow(), total=2, what="reading", enabled=True)) == [1, 2]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3
    assert lines[0].startswith("reading: 1 of 2 (50 %)")
    assert lines[-1].startswith("reading: 2 of 2 (100 %)")
    assert progress_thread_ends()


def progress_thread_ends() -> bool:
    """Whether the thread that writes lines is gone a moment after the last block."""
    for thread in threading.enumerate():
        if thread.name == "rootml-progress":
            thread.join(timeout=5)
            return not thread.is_alive()
    return True


def test_progress_goes_to_the_log_by_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.02)
    with caplog.at_level("INFO", logger="rootml.progress"):
        for _ in progress.track(range(3), total=3, what="fitting"):
            time.sleep(0.03)
    assert any("fitting: 1 of 3" in message for message in caplog.messages)


def test_trainings_and_single_steps_write_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also what has no items to count: a network with its loss, a status that changes."""
    monkeypatch.setattr(progress, "INTERVAL", 0.02)
    with caplog.at_level("INFO", logger="rootml.progress"):
        display = LossDisplay(enabled=None)
        with display.showing():
            report = display.start("network 1 of 2", 100)
            report(40, 0.625)
            time.sleep(0.1)
        with progress.status("comparing") as show:
            show("comparing pt")
            time.sleep(0.1)
    assert any(
        line.startswith("network 1 of 2: 40 of 100 (40 %)") and line.endswith("loss 0.62500")
        for line in caplog.messages
    )
    assert "comparing pt: 0 s" in caplog.messages
    count = len(caplog.messages)
    time.sleep(0.05)
    assert len(caplog.messages) == count
    with LossDisplay(enabled=False).showing() as silent:
        silent.start("x", 3)(1, 0.5)


def test_what_says_nothing_else_says_that_it_works(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A line only while no other one is written."""
    monkeypatch.setattr(progress, "INTERVAL", 0.02)
    with caplog.at_level("INFO", logger="rootml.progress"), progress.working("fit"):
        time.sleep(0.1)
        assert "fit: 0 s" in caplog.messages
        with progress.status("more"):
            time.sleep(0.03)
            number = caplog.messages.count("fit: 0 s")
            time.sleep(0.1)
            assert caplog.messages.count("fit: 0 s") == number
        time.sleep(0.1)
        assert caplog.messages.count("fit: 0 s") > number


def test_a_bar_in_a_bar_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "has_bars", lambda: True)
    for _ in progress.track(range(2), total=2, what="outer"):
        with progress.one_bar() as alone:
            assert not alone
        assert list(progress.track([1, 2], total=2, what="inner")) == [1, 2]
        with progress.status("inner") as show:
            show("more")
    with progress.one_bar() as alone:
        assert alone


def test_progress_ends_with_the_consumer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.01)
    closed = []

    def items() -> Any:
        try:
            yield from range(9)
        finally:
            closed.append(True)

    source = items()
    tracked = progress.track(source, total=9, what="x", enabled=True)
    next(tracked)
    tracked.close()  # type: ignore[attr-defined]
    source.close()
    assert closed
    assert progress_thread_ends()


def test_short_steps_behind_one_another_are_not_silent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """None of them lasts as long as the time between two lines."""
    monkeypatch.setattr(progress, "INTERVAL", 0.05)
    start = time.monotonic()
    with caplog.at_level("INFO", logger="rootml.progress"), progress.working("all"):
        for number in range(15):
            with progress.status(f"step {number}"):
                time.sleep(0.02)
    lines = [(r.created, r.getMessage()) for r in caplog.records]
    assert 2 <= len(lines) <= 0.02 + (time.monotonic() - start) / 0.05
    assert all(re.fullmatch(r"(step \d+|all): 0 s", line) for _, line in lines)


def test_a_thousand_fits_start_one_thread(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started = []

    class Counted(threading.Thread):
        def start(self) -> None:
            started.append(self.name)
            super().start()

    monkeypatch.setattr(progress, "_WRITER", progress._Writer())
    monkeypatch.setattr(threading, "Thread", Counted)

    @progress.long_step("fitting")
    def fit(*, progress: bool | None = None) -> None:
        assert progress is None

    with caplog.at_level("INFO", logger="rootml.progress"):
        for _ in range(1000):
            fit()
    assert started == ["rootml-progress"]
    assert caplog.messages == []


def test_a_notebook_shows_one_line_without_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kernel is told, in order: a new output, what it becomes, and what is left."""
    told: list[str] = []

    class Handle:
        def update(self, html: Any) -> None:
            told.append(html.data)

    def shown(html: Any, *, display_id: bool) -> Handle:
        assert display_id
        told.append(f"new {html.data}")
        return Handle()

    fake: Any = types.ModuleType("IPython.display")
    fake.display, fake.HTML = shown, lambda data: types.SimpleNamespace(data=data)
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr("rootml._internal.loss_display.has_bars", lambda: True)
    monkeypatch.setattr("rootml._internal.loss_display.in_notebook", lambda: True)
    monkeypatch.setattr(notebook, "REFRESH", 0.0)
    assert list(progress.track([1, 2], total=2, what="<a>")) == [1, 2]
    assert told[0].startswith("new ")
    assert "&lt;a&gt;: 0 of 2" in told[0]
    assert 'value="0.500"' in told[1]
    assert told[-1] == ""  # a short step leaves nothing
    told.clear()
    monkeypatch.setattr(notebook, "_KEPT", 0.0)
    with LossDisplay(enabled=None).showing() as display_of_losses:
        display_of_losses.start("network 1 of 1", 10)(5, 0.25)
    with progress.status("comparing") as show:
        show("comparing pt")
    assert [line.startswith("new ") for line in told] == [True, False, True, False, False]
    assert "5 of 10 (50 %)" in told[1]
    assert "loss 0.25" in told[1]
    assert "comparing pt" in told[-1]


@pytest.mark.timeout(20)
def test_lines_without_a_pause_stop_nobody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Blocks begin and end while lines are written as fast as can be."""
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    for _ in range(20):
        with progress.status("outer", enabled=True):
            time.sleep(0.005)
            assert list(progress.track([1], total=1, what="inner", enabled=True)) == [1]
    assert "outer: 0 s" in capsys.readouterr().err
