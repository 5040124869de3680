"""Numbers as the Particle Data Group rounds them: to the digits that the error leaves."""

from __future__ import annotations

import math

_LONGEST = 7  # decimals; smaller numbers are written with an exponent


def rounded(value: float, error: float, *more: float) -> tuple[str, ...]:
    """A value and its error (and further numbers) with as many digits as the error says.

    Two digits of the error are kept if its first three are 100 to 354, one if they are 355 to
    949; above, it is rounded to 1000 and keeps two. Without an error that is positive and finite:
    six digits of the value, and "-".

    References:
        Particle Data Group, Review of Particle Physics, Introduction, section 5.3,
        https://pdg.lbl.gov/2024/reviews/rpp2024-rev-rpp-intro.pdf

    >>> rounded(0.827, 0.119), rounded(0.827, 0.367), rounded(123456.0, 987.0)
    (('0.83', '0.12'), ('0.8', '0.4'), ('123500', '1000'))
    """
    numbers = (value, error, *more)
    if not (math.isfinite(error) and error > 0.0 and math.isfinite(value)):
        return (f"{value:.6g}", *("-" if not x else f"{x:.3g}" for x in numbers[1:]))
    place = decimals(error)
    largest = max(abs(value), abs(error))
    if place > _LONGEST or (place < 0 and largest >= 1e7):
        digits = [max(place + _exponent(x), 0) if x else 0 for x in numbers]
        return tuple(f"{x:.{d}e}" for x, d in zip(numbers, digits, strict=True))
    return tuple(_fixed(x, place) for x in numbers)


def decimals(error: float) -> int:
    """Decimals of an error; negative: zeros before the point.

    >>> decimals(0.119), decimals(0.367), decimals(0.0962), decimals(350.0)
    (2, 1, 2, -1)
    """
    exponent = _exponent(error)
    first = math.floor(error * 10.0 ** (2 - exponent) + 0.5)  # three digits
    digits = 2 if first < 355 else 1
    if first >= 950:  # 1000, of which two digits are kept
        digits = 1 if first < 1000 else 2
        exponent += first >= 1000
    return digits - 1 - exponent


def _fixed(number: float, place: int) -> str:
    if not math.isfinite(number):
        return f"{number:g}"
    text = f"{round(number, place):.{max(place, 0)}f}"
    return text.lstrip("-") if not float(text) else text


def _exponent(number: float) -> int:
    return math.floor(math.log10(abs(number)))
