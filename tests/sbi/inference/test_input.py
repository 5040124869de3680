"""Arguments of fits, intervals, toys that make no sense are refused before anything is done."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sbi_problems import SignalBackground

from rootml import sbi
from rootml.errors import MissingParameterError, RootmlError, SchemaError, UsageError

untyped: Any = sbi  # as users without a type checker see it
nuisance: Any = sbi.Nuisance


@pytest.fixture(scope="module")
def result() -> sbi.FitResult:
    problem = SignalBackground()
    return sbi.fit(problem.likelihood(problem.draw(np.random.default_rng(1))))


Call = Callable[[sbi.FitResult], Any]
CALLS: list[tuple[Call, str]] = [
    (lambda r: sbi.fit(r.like, fixed={"mu": math.nan}), "cannot start at mu = nan"),
    (lambda r: sbi.fit(r.like, start={"mu": "1"}), "cannot start at mu = 1"),  # type: ignore[dict-item]
    (lambda r: sbi.fit(r.like, strategy=9), "strategy=9"),
    (lambda r: r.minos("mu", level=2.0), "level must be a number between 0 and 1, not 2.0"),
    (lambda r: r.minos("mu", level=0.0), "level must be a number between 0 and 1, not 0.0"),
    (lambda r: r.profile("mu", values=[]), "finite numbers"),
    (lambda r: r.profile("mu", values=[1.0, math.nan]), "finite numbers"),
    (lambda r: r.profile("mu", points=3).interval(1.0), "level must be a number between 0 and 1"),
    (lambda r: r.contour("mu", "mu"), "two parameters"),
    (lambda r: r.contour("mu", "jes", levels=(0.68, 1.5)), "a number between 0 and 1"),
    (lambda r: sbi.goodness_of_fit(r, bins=0), "bins=0"),
    (lambda r: sbi.goodness_of_fit(r, toys=-1), "toys=-1"),
    (lambda r: sbi.goodness_of_fit(r, toys=2, seed=-1), "seed=-1"),
    (lambda r: sbi.limit(r.like, "mu", level=1.0), "level must be a number between 0 and 1"),
    (lambda r: sbi.neyman(r.like, "mu", values=[], number=5, seed=1), "finite numbers"),
    (lambda r: sbi.limit(r.like, "mu", level="95 %"), "between 0 and 1, not '95 %'"),  # type: ignore[arg-type]
    (lambda r: sbi.limit(r.like, "mu", points=0), "points=0"),
    (lambda r: sbi.limit(r, "mu"), "not a FitResult: a fit has it as its .like"),  # type: ignore[arg-type]
    (lambda r: sbi.cls(r.like, "mu", "1"), "value='1'"),  # type: ignore[arg-type]
    (lambda r: sbi.discovery(r.like, "mu", null=math.nan), "null=nan"),
    (lambda r: sbi.fit(r.like.model), r"not a Model: make one .* model.likelihood\("),  # type: ignore[attr-defined]
    (lambda r: sbi.fit(r.like, fixed=["mu"]), "values by name"),  # type: ignore[arg-type]
    (lambda r: sbi.fit(r.like, calls=0), "calls=0"),
    (lambda r: r.profile("mu", sigmas=-1.0), "sigmas=-1.0"),
    (lambda r: r.profile("mu", values="abc"), "finite numbers, not 'abc'"),
    (lambda r: r.contour("mu", "jes", levels=0.68), "give several"),  # type: ignore[arg-type]
    (lambda r: sbi.goodness_of_fit(r.like), "the result of sbi.fit"),  # type: ignore[arg-type]
    (lambda r: sbi.bootstrap_reference(r.like, 1, seed=1), "number=1"),
    (lambda r: sbi.bootstrap_reference(r.like, 5, seed=-1), "seed=-1"),
    (
        lambda r: sbi.neyman(r.like, "mu", values=[1.0], number=5, seed=1, level=2.0),
        "level must be a number between 0 and 1",
    ),
    (
        lambda r: sbi.limit_by_toys(r.like, "mu", values=[2.0, 1.0], number=5, seed=1),
        "increasing numbers",
    ),
    (
        lambda r: sbi.sample_shifts(r, [({"S": [1.0], "B": {
            "nominal": [1.0], "jes": ([1.0], [1.0])}}, None)] * 2),
        "a replica has columns of 1 events",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "says"), CALLS, ids=range(len(CALLS)))
def test_of_fits(result: sbi.FitResult, call: Call, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        call(result)


def test_of_toys(problem: SignalBackground) -> None:
    model, reference = problem.model(), problem.reference()
    with pytest.raises(UsageError, match="seed=-1"):
        sbi.toys(model, reference, number=1, seed=-1)
    with pytest.raises(UsageError, match="mu = nan is not a finite number"):
        sbi.asimov(model, reference, mu=math.nan)
    with pytest.raises(SchemaError, match="not a int"):
        sbi.toys(model, reference, number=1, seed=1, generator=lambda _, __: 5)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: untyped.Model({"S": "mu"}, {"mu": "a"}), UsageError, "not 'a'"),
        (lambda: untyped.Model({"S": "mu"}, {"mu": None}), UsageError, "not None"),
        (lambda: untyped.Model({"S": "1"}, {}, {"a": 1.0}), UsageError, "'a' must be a Nuisance"),
        (lambda: nuisance(yields={"B": "x"}), UsageError, "'B' must be two positive factors"),
        (lambda: nuisance(yields={"B": (1.0, 2.0, 3.0)}), UsageError, "'B' must be two positive"),
        (lambda: nuisance(width="1"), UsageError, "width of a gaussian"),
        (lambda: untyped.Binned.from_pyhf("workspace.json"), SchemaError, "not a str"),
        (lambda: untyped.Binned.from_pyhf({}), SchemaError, "'channels'"),
        (
            lambda: untyped.Binned.from_pyhf({
                "channels": [{}], "observations": [{}], "measurements": [{"config": {}}]}),
            SchemaError, "does not fit together",
        ),
        (
            lambda: sbi.Formula.parse("a * b").function(["a"]),
            MissingParameterError, "parameter 'b'; available: 'a'",
        ),
    ],
    ids=range(10),
)  # fmt: skip
def test_of_models(make: Any, error: type[RootmlError], says: str) -> None:
    with pytest.raises(error, match=says):
        make()


def test_numbers_of_any_type_are_numbers() -> None:
    model = untyped.Model(
        {"S": np.float32(3.0), "B": np.int64(7)}, {"mu": np.float64(1.5)},
        {
            "a": nuisance(yields={"B": np.array([1.25, 0.5])}),
            "b": nuisance(yields={"S": np.float32(2.0)}),
        },
    )  # fmt: skip
    assert model.expected() == {"S": 3.0, "B": 7.0}
    assert model.nuisances["a"].yields == {"B": (1.25, 0.5)}
    assert model.nuisances["b"].yields == {"S": (2.0, 0.5)}
