"""Integer results that 64 bits might not hold are refused instead of wrapping around."""

from __future__ import annotations

import awkward as ak
import numpy as np

from rootml.errors import ExpressionError
from rootml.expressions._values import Data, flat, leaf_dtype

INT64 = np.iinfo(np.int64)
_BITS = 64


def is_integer(data: Data) -> bool:
    """Whether these are whole numbers of a 64-bit type."""
    return bool(leaf_dtype(data).kind == "i")


def any_at_all(data: Data) -> bool:
    """Whether one number of all events is true."""
    return bool(ak.any(data, axis=None) if isinstance(data, ak.Array) else data.any())


def check_overflow(operator: str, one: Data, other: Data) -> None:
    """Check that ``one operator other`` (``+``, ``-``, ``*``) fits.

    Raises:
        ExpressionError: It may not, going by the largest operands.
    """
    a, b = _magnitude(one), _magnitude(other)
    if (a * b if operator == "*" else a + b) > INT64.max:
        message = (
            f"the result of '{operator}' may not fit into 64 bits: operands go up to {a} and {b}; "
            "make one of them a float, e.g. by * 1.0"
        )
        raise ExpressionError(message)


def check_negative(operation: str, data: Data) -> None:
    """Check that integers, if that is what they are, have a negative.

    Raises:
        ExpressionError: One is -2**63.
    """
    if is_integer(data) and _magnitude(data) > INT64.max:
        message = (
            f"the result of '{operation}' of {INT64.min} does not fit into 64 bits; "
            "make it a float, e.g. by * 1.0"
        )
        raise ExpressionError(message)


def check_sum(data: Data) -> None:
    """Check that the sums of integer lists fit.

    Raises:
        ExpressionError: One may not.
    """
    if not is_integer(data):
        return
    longest = int(np.max(np.asarray(ak.num(data, axis=1)), initial=0))
    if _magnitude(data) * longest <= INT64.max:
        return
    sums = np.asarray(ak.sum(np.abs(data * 1.0), axis=1))
    if np.max(sums) > INT64.max * (1 - 1e-9):
        message = (
            f"a sum of integers may not fit into 64 bits: their magnitudes add up to "
            f"{np.max(sums):.4g}; make them floats, e.g. Sum$(x * 1.0)"
        )
        raise ExpressionError(message)


def check_product(data: Data) -> None:
    """Check that the products of integer lists fit.

    Raises:
        ExpressionError: One may not.
    """
    if is_integer(data):
        products = np.asarray(ak.prod(np.abs(data * 1.0), axis=1))
        if np.max(products, initial=0.0) > INT64.max * (1 - 1e-9):
            message = (
                f"a product of integers may not fit into 64 bits: it is about "
                f"{np.max(products):.4g}; make them floats, e.g. Product(x * 1.0)"
            )
            raise ExpressionError(message)


def check_whole_number(name: str, data: Data) -> None:
    """Check that these are integers.

    Raises:
        ExpressionError: They are floats.
    """
    if not is_integer(data):
        message = f"{name} needs whole numbers; write int(x) for the whole part"
        raise ExpressionError(message)


def check_shift(operator: str, count: Data) -> None:
    """Check that bits are shifted by 0 to 63.

    Raises:
        ExpressionError: By something else, which C leaves undefined.
    """
    low, high = _range(count)
    if low < 0 or high >= _BITS:
        wrong = low if low < 0 else high
        message = f"'{operator}' shifts by 0 to {_BITS - 1} bits, not by {wrong}"
        raise ExpressionError(message)


def check_shifted(before: Data, count: Data, back: Data) -> None:
    """Check that nothing was shifted out: shifting `back` gives what was there before.

    Raises:
        ExpressionError: Something was.
    """
    if any_at_all(back != before):
        message = (
            f"the result of '<<' does not fit into 64 bits: operands go up to "
            f"{_magnitude(before)} and {_range(count)[1]}"
        )
        raise ExpressionError(message)


def _range(data: Data) -> tuple[int, int]:
    if isinstance(data, ak.Array):
        lists = flat(data)
        data = ak.to_numpy(ak.flatten(data, axis=None)) if lists is None else lists[1]
    return (int(data.min()), int(data.max())) if data.size else (0, 0)


def _magnitude(data: Data) -> int:
    return max(map(abs, _range(data)))
