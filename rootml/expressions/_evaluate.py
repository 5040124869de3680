"""From a syntax tree and columns to values, for all events of a partition at once."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import awkward as ak
import numpy as np

from rootml.errors import ExpressionError
from rootml.expressions._functions import FUNCTIONS
from rootml.expressions._nodes import (
    Binary,
    Boolean,
    Call,
    Choice,
    Comparison,
    Index,
    Name,
    Node,
    Number,
    Slice,
    Text,
    Unary,
)
from rootml.expressions._values import (
    Data,
    Mask,
    Value,
    align,
    as_logical,
    as_number,
    both,
    is_strings,
    leaf_dtype,
)

_COMPARE = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
_INT64 = np.iinfo(np.int64)


def evaluate(node: Node, columns: Mapping[str, Any], num_events: int) -> Value:
    """The value of a tree. NaN and infinity arise as in IEEE arithmetic, without warnings."""
    with np.errstate(all="ignore"):
        return _Evaluator(columns, num_events).value(node)


class _Evaluator:
    def __init__(self, columns: Mapping[str, Any], num_events: int) -> None:
        self.columns = columns
        self.num_events = num_events

    def value(self, node: Node) -> Value:
        match node:
            case Number(value) | Boolean(value):
                return Value(_constant(value))
            case Text(text):
                return Value(np.array(text))
            case Name(name):
                found = self.columns[name]  # a derived column may come with its missing elements
                return found if isinstance(found, Value) else Value(found)
            case Unary(operator, operand):
                return _unary(operator, self.value(operand))
            case Comparison():
                return self._comparison(node)
            case Choice(condition, yes, no):
                return _choice(*map(self.value, (condition, yes, no)))
            case Index(operand, index):
                return self._index(self.value(operand), index)
            case Call(function, arguments):
                return _call(function, [self.value(argument) for argument in arguments])
            case Binary(operator, left, right):
                return _binary(operator, self.value(left), self.value(right))

    def _comparison(self, node: Comparison) -> Value:
        left, result = self.value(node.first), None
        for operator, other in zip(node.operators, node.others, strict=True):
            right = self.value(other)
            link = _compare(operator, left, right)
            result = link if result is None else _logic("&&", result, link)
            left = right
        assert result is not None
        return result

    def _index(self, value: Value, index: Node | Slice) -> Value:
        if is_strings(value.data) or not value.lists:
            message = "an index needs a list; this is one value per event"
            raise ExpressionError(message)
        if isinstance(index, Slice):
            sliced = value.data[:, index.start : index.stop : index.step]
            return Value(sliced, value.valid)
        chosen = self.value(index)
        valid = both(value.valid, chosen.valid)
        if not chosen.lists and leaf_dtype(chosen.data) != np.bool_:
            return self._element(value, chosen, valid)
        return Value(_select(value.data, chosen.data), valid)

    def _element(self, value: Value, index: Value, valid: Mask | None) -> Value:
        """One element per event; events that do not have it are not valid."""
        if leaf_dtype(index.data).kind not in "iu":
            message = f"an index must be a whole number, this one is {leaf_dtype(index.data)}"
            raise ExpressionError(message)
        place = np.broadcast_to(as_number(index.data), (self.num_events,))
        if not isinstance(value.data, ak.Array):
            return _fixed_element(value.data, place, valid)
        layout = ak.to_layout(value.data).to_ListOffsetArray64(True)
        offsets = np.asarray(layout.offsets.data)
        counts = np.diff(offsets)
        place = np.where(place < 0, place + counts, place)
        there = (place >= 0) & (place < counts)
        content = ak.Array(layout.content)
        if not len(content):
            content = _padded(content)
        flat = np.where(there, offsets[:-1] + place, 0)
        data = content[flat]
        if ak.to_layout(data).is_numpy and data.ndim == 1:
            data = ak.to_numpy(data)
        return Value(data, both(valid, None if there.all() else there))


def _padded(content: ak.Array) -> Any:
    """One element to point at where there is none; what it holds is never looked at."""
    layout = ak.to_layout(content)
    if layout.is_numpy:
        return ak.Array(np.zeros(1, layout.dtype))
    return ak.Array(layout.form.length_one_array(highlevel=False))


def _fixed_element(data: Any, place: Any, valid: Mask | None) -> Value:
    length = data.shape[1]
    place = np.where(place < 0, place + length, place)
    there = (place >= 0) & (place < length)
    if not length:
        return Value(np.zeros((len(data), *data.shape[2:]), data.dtype), both(valid, there))
    chosen = data[np.arange(len(data)), np.where(there, place, 0)]
    return Value(chosen, both(valid, None if there.all() else there))


def _select(data: Data, chosen: Data) -> Data:
    """Elements by a list of bools (a mask) or of positions, or whole lists by a bool per event."""
    lists = ak.Array(data)
    if chosen.ndim < 2:
        chosen = ak.broadcast_arrays(lists, np.broadcast_to(chosen, (len(lists),)))[1]
    else:
        if leaf_dtype(chosen) == np.bool_:
            align(lists, chosen)
        elif leaf_dtype(chosen).kind not in "iu":
            message = f"an index must be bool or whole numbers, this one is {leaf_dtype(chosen)}"
            raise ExpressionError(message)
        chosen = ak.Array(chosen)
    try:
        return lists[ak.from_regular(chosen) if chosen.ndim > 1 else chosen]
    except (ValueError, IndexError) as error:
        message = "a list of positions points past the end of a list"
        raise ExpressionError(message) from error


def _constant(value: Any) -> Any:
    if isinstance(value, bool):
        return np.array(value)
    if isinstance(value, int) and not _INT64.min <= value <= _INT64.max:
        message = f"the number {value} does not fit into 64 bits"
        raise ExpressionError(message)
    return np.array(value, dtype=np.int64 if isinstance(value, int) else np.float64)


def _unary(operator: str, value: Value) -> Value:
    if operator == "!":
        return Value(np.logical_not(as_logical(value.data)), value.valid)
    number = as_number(value.data)
    return Value(-number if operator == "-" else number, value.valid)


def _binary(operator: str, left: Value, right: Value) -> Value:
    if operator in {"&&", "||"}:
        return _logic(operator, left, right)
    if operator in {"&", "|"}:
        return _bits_or_logic(operator, left, right)
    one, other = align(as_number(left.data), as_number(right.data))
    valid = both(left.valid, right.valid)
    integers = leaf_dtype(one).kind == leaf_dtype(other).kind == "i"
    match operator:
        case "/":
            return Value(np.true_divide(one, other), valid)
        case "**":
            return Value(np.power(one * 1.0, other), valid)
        case "//" | "%":
            return _divide(operator, one, other, valid, integers=integers)
        case "<<" | ">>":
            return _shift(operator, one, other, valid, integers=integers)
    if integers:
        _check_overflow(operator, one, other)
    ufunc = {"+": np.add, "-": np.subtract, "*": np.multiply}[operator]
    return Value(ufunc(one, other), valid)


def _divide(operator: str, one: Data, other: Data, valid: Mask | None, *, integers: bool) -> Value:
    """Floor division, and the remainder with the sign of the dividend (as C and ROOT)."""
    ufunc = np.floor_divide if operator == "//" else np.fmod
    if not integers:
        return Value(ufunc(one, other), valid)
    zero = other == 0
    if not isinstance(zero, ak.Array) and zero.ndim < 2 and not isinstance(one, ak.Array):
        if zero.any():
            known = np.broadcast_to(~zero, np.broadcast_shapes(one.shape, zero.shape))
            valid = both(valid, known) if known.ndim else valid
            other = np.where(zero, 1, other)
        if not zero.all() or zero.ndim:
            return Value(ufunc(one, other), valid)
    elif not bool(ak.any(zero, axis=None)):
        return Value(ufunc(one, other), valid)
    message = f"'{operator}' divides integers by zero"
    raise ExpressionError(message)


def _shift(operator: str, one: Data, other: Data, valid: Mask | None, *, integers: bool) -> Value:
    if not integers:
        message = f"'{operator}' needs whole numbers"
        raise ExpressionError(message)
    ufunc = np.left_shift if operator == "<<" else np.right_shift
    return Value(ufunc(one, other), valid)


def _check_overflow(operator: str, one: Data, other: Data) -> None:
    """Refuse integer results that 64 bits might not hold, instead of wrapping around."""
    a, b = _magnitude(one), _magnitude(other)
    if (a * b if operator == "*" else a + b) > _INT64.max:
        message = (
            f"the result of '{operator}' may not fit into 64 bits: operands go up to {a} and {b}; "
            "make one of them a float, e.g. by * 1.0"
        )
        raise ExpressionError(message)


def _magnitude(data: Data) -> int:
    flat = ak.to_numpy(ak.flatten(data, axis=None)) if isinstance(data, ak.Array) else data
    if not flat.size:
        return 0
    return max(abs(int(flat.max())), abs(int(flat.min())))


def _compare(operator: str, left: Value, right: Value) -> Value:
    valid = both(left.valid, right.valid)
    if is_strings(left.data) or is_strings(right.data):
        if operator not in {"==", "!="} or not (is_strings(left.data) and is_strings(right.data)):
            message = f"strings can only be compared with strings, by == and !=, not '{operator}'"
            raise ExpressionError(message)
        equal = _equal_strings(left.data, right.data)
        return Value(equal if operator == "==" else ~equal, valid)
    one, other = align(as_number(left.data), as_number(right.data))
    return Value(_COMPARE[operator](one, other), valid)


def _equal_strings(one: Data, other: Data) -> Any:
    sides = [
        side if isinstance(side, ak.Array) else (str(side) if side.ndim == 0 else ak.Array(side))
        for side in (one, other)
    ]
    if all(isinstance(side, str) for side in sides):
        return np.array(sides[0] == sides[1])
    return ak.to_numpy(sides[0] == sides[1])


def _logic(operator: str, left: Value, right: Value) -> Value:
    """Kleene's three-valued logic: false && unknown is false, true || unknown is true."""
    one, other = align(as_logical(left.data), as_logical(right.data))
    ufunc = np.logical_and if operator == "&&" else np.logical_or
    data = ufunc(one, other)
    valid = both(left.valid, right.valid)
    if valid is None or left.lists or right.lists:
        return Value(data, valid)
    decides = operator == "||"
    known = _decided(one, left.valid, decides) | _decided(other, right.valid, decides)
    valid = valid | known
    return Value(np.where(known, decides, data), None if valid.all() else valid)


def _decided(data: Any, valid: Mask | None, decides: bool) -> Any:
    same = data if decides else ~data
    return same if valid is None else same & valid


def _bits_or_logic(operator: str, left: Value, right: Value) -> Value:
    """``&`` and ``|``: of two bools logic, of two integers bits, of a mixture an error."""
    kinds = {"b" if leaf_dtype(side.data).kind == "b" else "i" for side in (left, right)}
    if kinds == {"b"}:
        return _logic(operator * 2, left, right)
    if len(kinds) == 2 or "f" in {leaf_dtype(side.data).kind for side in (left, right)}:
        message = (
            f"'{operator}' between a condition and a number: write '{operator * 2}' for logic, or "
            f"parentheses for bits, e.g. (flags {operator} 4) != 0"
        )
        raise ExpressionError(message)
    one, other = align(as_number(left.data), as_number(right.data))
    ufunc = np.bitwise_and if operator == "&" else np.bitwise_or
    return Value(ufunc(one, other), both(left.valid, right.valid))


def _choice(condition: Value, yes: Value, no: Value) -> Value:
    if is_strings(yes.data) or is_strings(no.data):
        message = "a choice between strings is not supported"
        raise ExpressionError(message)
    chosen = as_logical(condition.data)
    one, other = _same_kind(yes.data, no.data)
    if condition.lists or yes.lists or no.lists:
        arrays = [chosen, one, other]
        if any(isinstance(array, ak.Array) for array in arrays):
            data: Any = ak.where(*ak.broadcast_arrays(*arrays))
        else:
            width = max(arrays, key=np.ndim)
            data = np.where(*(align(array, width)[0] for array in arrays))
        return Value(data, both(condition.valid, both(yes.valid, no.valid)))
    data = np.where(chosen, one, other)
    valid = condition.valid
    if yes.valid is not None or no.valid is not None:
        sides = [True if side.valid is None else side.valid for side in (yes, no)]
        valid = both(valid, np.where(chosen, *sides))
    return Value(data, valid)


def _same_kind(one: Data, other: Data) -> tuple[Data, Data]:
    if leaf_dtype(one) == leaf_dtype(other):
        return one, other
    return as_number(one), as_number(other)


def _call(name: str, arguments: list[Value]) -> Value:
    function = FUNCTIONS[name]
    if name == "where":
        return _choice(*arguments)
    if function.kind == "special":
        result: Value = function.apply(*arguments)
        return result
    if function.kind == "reduce":
        return _reduce(name, arguments[0])
    numbers = [as_number(argument.data) for argument in arguments]
    for one, other in pairwise(numbers):
        align(one, other)
    widest = max(numbers, key=lambda number: number.ndim)
    if not any(isinstance(number, ak.Array) for number in numbers):
        numbers = [align(number, widest)[0] for number in numbers]
    valid: Mask | None = None
    for argument in arguments:
        valid = both(valid, argument.valid)
    return Value(function.apply(*numbers), valid)


def _reduce(name: str, value: Value) -> Value:
    if is_strings(value.data) or not value.lists:
        message = (
            f"{name}() of one argument works on the list of each event; this is one value per "
            "event" + ("; give it two arguments" if name in {"max", "min"} else "")
        )
        raise ExpressionError(message)
    data = value.data
    if not isinstance(data, ak.Array) and data.ndim > 2:
        data = data.reshape(len(data), -1)
    while isinstance(data, ak.Array) and data.ndim > 2:
        data = ak.flatten(data, axis=2)
    reduced, valid = FUNCTIONS[name].apply(data)
    return Value(reduced, both(value.valid, valid))
