"""Rounding against the examples and the rule of the Review of Particle Physics."""

from __future__ import annotations

import math

import pytest

from rootml._internal.rounding import rounded


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.827, 0.119, ("0.83", "0.12")),  # the two examples of the Review
        (0.827, 0.367, ("0.8", "0.4")),
        (0.827, 0.354, ("0.83", "0.35")),
        (0.827, 0.355, ("0.8", "0.4")),
        (0.827, 0.949, ("0.8", "0.9")),
        (0.827, 0.962, ("0.8", "1.0")),
        (0.827, 0.9999, ("0.8", "1.0")),
        (-0.001, 0.2, ("0.00", "0.20")),
        (123456.0, 987.0, ("123500", "1000")),
        (1e-9, 1.2e-10, ("1.00e-09", "1.2e-10")),
        (3.2e9, 2.4e7, ("3.200e+09", "2.4e+07")),
        (1.5, 0.0, ("1.5", "-")),
        (1.23456789, math.nan, ("1.23457", "nan")),
        (math.inf, 1.0, ("inf", "1")),
    ],
)
def test_rule_of_the_particle_data_group(
    value: float, error: float, expected: tuple[str, str]
) -> None:
    assert rounded(value, error) == expected


def test_further_numbers_have_the_same_place() -> None:
    assert rounded(1.23456, 0.0123, 0.0456) == ("1.235", "0.012", "0.046")
