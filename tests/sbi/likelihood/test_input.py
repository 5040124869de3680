"""Bad input is an error that names process, count and first offending entries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sbi_problems import SignalBackground

from rootml import sbi
from rootml.errors import (
    DensityError,
    ExpressionError,
    MissingColumnError,
    MissingParameterError,
    NonFiniteError,
    RootmlError,
    SchemaError,
    UsageError,
)

MODEL = sbi.Model(
    {"S": "mu * 3", "B": "7"},
    {"mu": sbi.Parameter(1.0, lower=0.0, upper=5.0)},
    {"jes": sbi.Nuisance()},
)
ONES = np.ones(4)


def holes(value: float) -> Any:
    """A column with two bad entries."""
    ratios = np.ones(100)
    ratios[[7, 12]] = value
    return ratios


@pytest.mark.parametrize(
    ("columns", "error", "says"),
    [
        ({"S": holes(math.nan), "B": np.ones(100)}, NonFiniteError, "'S'.*2 of 100.*7 .nan"),
        ({"S": holes(math.inf), "B": np.ones(100)}, NonFiniteError, "'S'.*2 of 100.*7 .inf"),
        ({"S": ONES, "B": np.ones(5)}, SchemaError, "'B' has 5 events, that of 'S' has 4"),
        ({"S": ONES}, MissingColumnError, "'B' has no column; available: 'S'"),
        ({"S": ONES, "B": ONES, "T": ONES}, UsageError, "'T', which is not a process"),
        ({"S": [], "B": []}, UsageError, "no events"),
        ({1: ONES, "B": ONES}, SchemaError, "a process has a name, not 1"),
        ({"S": [[1.0], [1.0, 2.0]], "B": ONES}, SchemaError, "'S' is no array of numbers"),
        ({}, UsageError, "no columns"),
        (None, UsageError, "no columns"),
        ([1.0, 2.0], SchemaError, "a dict of one array per process.*not a list"),
        (np.ones(3), SchemaError, "not a ndarray"),
        (
            {"S": np.ma.masked_array([1.0, 2.0, 3.0], [False, True, True]), "B": np.ones(3)},
            SchemaError, "'S' is masked for 2 of 3 events, first number 1",
        ),
        ({"S": ONES, "B": np.ones((4, 2))}, SchemaError, "'B'.*one number per event"),
        ({"S": ONES, "B": np.array(["a"] * 4)}, SchemaError, "'B'.*one number per event"),
        ({"S": ONES, "B": {"jes": (ONES, ONES)}}, MissingColumnError, "'B' have no 'nominal'"),
        ({"S": ONES, "B": {"nominal": ONES, "jes": ONES}}, SchemaError, "two arrays"),
        (
            {"S": ONES, "B": {"nominal": ONES, "jer": (ONES, ONES)}},
            UsageError, "'jer', which is not a nuisance.*'jes'",
        ),
        (
            {"S": ONES, "B": {"nominal": ONES, "jes": (ONES, ONES)}},
            UsageError, "'B' changes with 'jes'.*reference=",
        ),
    ],
)  # fmt: skip
def test_columns(columns: Any, error: type[RootmlError], says: str) -> None:
    with pytest.raises(error, match=says):
        MODEL.likelihood(columns)


@pytest.mark.parametrize("bad", [0.0, -0.5, math.inf])
def test_variations_without_a_logarithm(bad: float) -> None:
    up = holes(bad)
    ours = {"S": np.ones(100), "B": {"nominal": np.ones(100), "jes": (up, np.ones(100))}}
    with pytest.raises(NonFiniteError, match=r"'B'.*jes.up.*2 of 100 events.*7 "):
        MODEL.likelihood(ours, reference=ours)


@pytest.mark.parametrize(
    ("expected", "says"),
    [
        (math.inf, "finite number, not inf"), (math.nan, "not nan"), (None, "not None"),
        (True, "not True"), ("inf", "'inf' is inf"), ("1e308 * 1e308", "is inf"),
    ],
)  # fmt: skip
def test_yields_that_are_no_numbers(expected: Any, says: str) -> None:
    with pytest.raises(ExpressionError, match=says):
        sbi.Model({"S": expected})


@pytest.mark.parametrize("code", ["log-quadratic", "code1", "code5"])
def test_shapes_that_overflow(code: str) -> None:
    """Far outside of what was simulated, one event grows beyond all numbers."""
    model = sbi.Model({"S": "5", "B": "7"}, {}, {"jes": sbi.Nuisance(interpolation=code)})
    up = np.ones(600)
    up[300] = 1e70
    ours = {"S": np.ones(600), "B": {"nominal": np.ones(600), "jes": (up, 1.0 / up)}}
    like = model.likelihood(
        ours, reference={"S": ONES, "B": {"nominal": ONES, "jes": (ONES, ONES)}}
    )
    for engine in ("compiled", "numpy"):
        like = model.likelihood(ours, reference=like.reference, engine=engine)
        assert math.isfinite(like(jes=4.0))
        assert math.isnan(like.nll([5.0], strict=False))
        with pytest.raises(
            DensityError, match=r"of process 'B' is not a finite.* 1 of 600.*number 300 \(inf\)"
        ):
            like(jes=5.0)


def test_huge_ratios_are_no_error() -> None:
    """Their sum is infinite, they are not."""
    huge = np.full(4, 1.7e308)
    like = MODEL.likelihood({"S": huge, "B": ONES})
    assert like(mu=1e-3, jes=0.0) == pytest.approx(
        7.003 - 4 * (math.log(3e-3) + math.log(1.7e308))
    )


def test_reference_of_other_columns() -> None:
    data = {"S": ONES, "B": {"nominal": ONES, "jes": (ONES, ONES)}}
    with pytest.raises(MissingColumnError, match=r"reference columns of process 'B'.*\[\].*jes"):
        MODEL.likelihood(data, reference={"S": ONES, "B": ONES})
    empty = {"S": ONES, "B": {"nominal": 0 * ONES, "jes": (0 * ONES, 0 * ONES)}}
    with pytest.raises(DensityError, match="reference events have no density of process 'B'"):
        MODEL.likelihood(data, reference=empty)


@pytest.mark.parametrize(
    ("weights", "error", "says"),
    [
        ([1.0, -1.0, 2.0, -2.0], UsageError, "weights of 4 events sum to 0"),
        ([1.0, math.nan, 2.0, 1.0], NonFiniteError, "weights.*1 of 4 events.*number 1 .nan"),
        ([1.0], SchemaError, "weights of shape"),
        ([1e308, 1e308, 1e308, -1.0], UsageError, "so large that their sum is inf"),
    ],
)
def test_weights(weights: Any, error: type[RootmlError], says: str) -> None:
    with pytest.raises(error, match=says):
        sbi.RatioColumns({"S": ONES}, weights)


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({"mu": 1.0}, MissingParameterError, "no value for 'jes'"),
        ({"mu": 1.0, "jse": 0.0}, MissingParameterError, "no parameter 'jse'; it has 'jes'"),
        ({"mu": 5.1, "jes": 0.0}, UsageError, r"mu = 5.1 is outside of its range \[0.0, 5.0\]"),
        ({"mu": math.nan, "jes": 0.0}, UsageError, "outside"),
        ({"mu": np.ones(2), "jes": 0.0}, UsageError, r"mu = array\(\[1., 1.\]\): one number"),
        ({"mu": "1", "jes": 0.0}, UsageError, "mu = '1': one number is needed"),
    ],
)
def test_points(values: dict[str, Any], error: type[RootmlError], says: str) -> None:
    like = MODEL.likelihood({"S": ONES, "B": ONES})
    for call in (like, like.gradient, like.hessian):
        with pytest.raises(error, match=says):
            call(**values)
    with pytest.raises(UsageError, match="2 parameters"):
        like.nll([1.0])
    with pytest.raises(UsageError, match="jes = nan is not a number"):
        like.nll([1.0, math.nan])
    assert math.isnan(like.nll_gradient([1.0, math.inf], strict=False)[0])


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"processes": {"S": "mu * 3"}}, MissingParameterError, "'S'.*'mu', which the model"),
        ({"processes": {}}, UsageError, "at least one process"),
        ({"processes": {"S 1": "1"}}, UsageError, "'S 1' is not a valid name"),
        (
            {"processes": {"S": "1"}, "parameters": {"a": 1.0},
             "nuisances": {"a": sbi.Nuisance()}},
            UsageError, "both a parameter and a nuisance",
        ),
        (
            {"processes": {"S": "1"}, "nuisances": {"a": sbi.Nuisance(yields={"X": 1.1})}},
            UsageError, "'X', which is not a process",
        ),
    ],
)  # fmt: skip
def test_models(arguments: Any, error: type[RootmlError], says: str) -> None:
    with pytest.raises(error, match=says):
        sbi.Model(**arguments)


@pytest.mark.parametrize(
    "make",
    [
        lambda: sbi.Parameter(2.0, upper=1.0),
        lambda: sbi.Parameter(math.nan),
        lambda: sbi.Nuisance("gauss"),  # type: ignore[arg-type]
        lambda: sbi.Nuisance(interpolation="code7"),
        lambda: sbi.Nuisance(width=0.0),
        lambda: sbi.Nuisance("lognormal", width=0.9),
        lambda: sbi.Nuisance("poisson", width=9.0, observed=-1.0),
        lambda: sbi.Nuisance(yields={"B": (1.1, -0.1)}),
        lambda: sbi.Nuisance(yields={"B": 0.0}),
    ],
    ids=range(9),
)
def test_parameters(make: Any) -> None:
    with pytest.raises(UsageError):
        make()


def test_auxiliary_measurements(like: sbi.Likelihood) -> None:
    moved = like.with_observed(jes=1.0)
    difference = moved(mu=1.0, jes=0.5) - like(mu=1.0, jes=0.5)
    assert difference == pytest.approx(0.5 * (0.25 - 0.25), abs=1e-10)
    assert moved(mu=1.0, jes=2.0) - like(mu=1.0, jes=2.0) == pytest.approx(0.5 - 2.0, abs=1e-9)
    with pytest.raises(MissingParameterError, match="'mu' has no auxiliary"):
        like.with_observed(mu=1.0)


def test_a_yield_without_a_value_is_named(problem: SignalBackground) -> None:
    model = sbi.Model({"S": "sqrt(mu) * 3"}, {"mu": sbi.Parameter(1.0, lower=-1.0)})
    like = model.likelihood({"S": ONES})
    with pytest.raises(DensityError, match="yield of process 'S' is not a number at mu=-0.5"):
        like(mu=-0.5)


def test_reprs_show_and_escape(like: sbi.Likelihood) -> None:
    assert "reference events" in repr(like)
    assert "jes" in repr(like.model)
    assert "events" in repr(like.columns)
    for thing in (like, like.model, like.columns):
        assert "<table>" in thing._repr_html_()  # type: ignore[union-attr]


@pytest.mark.parametrize("what", ["value", "lower", "upper"])
@pytest.mark.parametrize("kind", [sbi.Nuisance, sbi.Parameter])
@pytest.mark.parametrize("given", ["1", True, [1.0], np.array([0.0, 1.0]), 1j])
def test_values_and_limits_are_numbers(what: str, kind: Any, given: Any) -> None:
    with pytest.raises(UsageError, match=rf"{what}=.* of a parameter: a number is needed"):
        kind(**{"value": 0.5, what: given})
    assert kind(value=np.float32(0.5), lower=np.int64(0), upper=np.inf).upper is None
