"""Residuals and ranks of paired events: against SciPy, known answers, and bad ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from morphing_known import Known
from scipy import stats

from rootml.errors import StateError, UsageError
from rootml.sbi.morphing.inference._rows import Names
from rootml.sbi.morphing.validation._pairs import INDEPENDENT, compare_pairs, mid_ranks
from rootml.sbi.morphing.validation._report import ClosureReport
from rootml.sbi.morphing.validation._validate import validate, validate_correction
from rootml.sbi.morphing.validation._validate_compare import Options

QUICK = Options(classifier="trees", slices=2)
NAMES = Names(("x",), ("c",), ("event",))


def test_ranks_and_residuals_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    y = np.round(rng.normal(size=500), 1)  # with ties
    x = np.round(y + rng.normal(0.2, 0.5, 500), 1)
    (found,) = compare_pairs(("x",), x[:, None], y[:, None])
    ranks = [(stats.rankdata(each) - 0.5) / 500 for each in (x, y)]
    np.testing.assert_allclose(mid_ranks(x), ranks[0])
    assert found.rank_distance == pytest.approx(np.abs(ranks[0] - ranks[1]).mean())
    assert found.rank_correlation == pytest.approx(stats.spearmanr(x, y).statistic)
    test = stats.ttest_rel(x, y)
    assert found.bias / found.bias_error == pytest.approx(test.statistic)
    assert found.width == pytest.approx(stats.tstd(x - y))
    assert found.absolute == pytest.approx(np.abs(x - y).mean())


def test_independent_events_have_the_rank_distance_of_independent_numbers() -> None:
    rng = np.random.default_rng(2)
    (found,) = compare_pairs(("x",), rng.normal(size=(20_000, 1)), rng.normal(size=(20_000, 1)))
    assert found.rank_distance == pytest.approx(INDEPENDENT, abs=4 * found.rank_error)
    (constant,) = compare_pairs(("x",), np.zeros((20, 1)), rng.normal(size=(20, 1)))
    assert np.isnan(constant.rank_correlation)


def events(count: int, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same generator events, simulated twice: what `Known` corrects but for the noise."""
    rng = np.random.default_rng(seed)
    event, c = rng.permutation(10 * count)[:count], rng.uniform(0, 4, count)
    true = rng.normal(size=count)
    fast = {"event": event, "c": c, "x": true + rng.normal(0, 0.1, count)}
    full = {"event": event, "c": c, "x": 2 * (true + rng.normal(0, 0.1, count)) + c}
    return fast, full


def test_partners_are_found_by_id_in_any_order() -> None:
    fast, full = events(1500, 3)
    order = np.random.default_rng(4).permutation(1500)[:1400]
    report = validate_correction(
        Known(NAMES),
        fast,
        {name: values[order] for name, values in full.items()},
        max_rows=10_000,
        options=QUICK,
        by_event=True,
    )
    assert report.pairs is not None
    assert report.pairs.rows == 1400
    (before,), (after,) = report.pairs.before, report.pairs.after
    corrected = 2 * fast["x"][order] + fast["c"][order]
    assert after.bias == pytest.approx((corrected - full["x"][order]).mean())
    assert after.width == pytest.approx(2 * np.sqrt(2) * 0.1, rel=0.1)
    assert before.width > 3 * after.width
    assert any(note.startswith("pairs: 1,400 of 1,500 rows") for note in report.notes)
    assert "1,400 pairs" in str(report)
    assert report._repr_html_().count("<table>") == 4
    assert report.numbers()["after"]["pairs_width_x"] == after.width
    again = ClosureReport.from_json(report.to_json())
    assert str(again) == str(report)


def test_distances_stand_beside_the_classifier() -> None:
    fast, full = events(1000, 5)
    report = validate_correction(Known(NAMES), fast, full, max_rows=10_000, options=QUICK)
    first = [row[0] for row in report.summary().rows[:3]]
    assert first[0] == "two-sample AUC"
    assert all("physics distance" in title for title in first[1:])
    assert "FPD and KPD compare moments" in str(report)
    assert report.pairs is None
    with pytest.raises(StateError, match="no pairs were compared"):
        report.per_pair()


def test_ids_that_do_not_pair_events_are_named() -> None:
    fast, full = events(1200, 6)

    def pairs(sim: Any, data: Any) -> ClosureReport:
        return validate_correction(
            Known(NAMES), sim, data, max_rows=10_000, options=QUICK, by_event=True
        )

    twice = {**fast, "event": fast["event"] // 2}
    with pytest.raises(UsageError, match=r"of 1,200 rows of the simulation have the id of"):
        pairs(twice, full)
    other = {**full, "event": full["event"] + 10**6}
    with pytest.raises(UsageError, match=r"0 of 1,200 rows of the simulation have an event"):
        pairs(fast, other)


def test_pairs_need_an_id() -> None:
    class Fitted:
        _morph = Known(Names(("x",), ("c",), ()))

    with pytest.raises(UsageError, match=r"Morpher\(\.\.\., id=\['run', 'event'\]\)"):
        validate(Fitted(), {}, {}, pairs="event")
    with pytest.raises(UsageError, match="pairs='row'"):
        validate(Fitted(), {}, {}, pairs="row")  # type: ignore[arg-type]
