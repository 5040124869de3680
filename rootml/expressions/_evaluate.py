"""From a syntax tree and columns to values, for all events of a partition at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import awkward as ak
import numpy as np

from rootml.errors import ExpressionError
from rootml.expressions._functions import FUNCTIONS
from rootml.expressions._index import check_indexable, indexed, is_literal, role_of, sliced
from rootml.expressions._integers import (
    INT64,
    any_at_all,
    check_negative,
    check_overflow,
    check_shift,
    check_shifted,
)
from rootml.expressions._members import is_record, member
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
from rootml.expressions._reducers import counts
from rootml.expressions._values import (
    Data,
    Mask,
    Value,
    align,
    as_logical,
    as_number,
    both,
    combined,
    has_lists,
    has_strings,
    is_strings,
    known_in,
    leaf_dtype,
    number_by_number,
    of_column,
    spread,
)
from rootml.expressions._vectors import (
    arithmetic,
    as_vectors,
    holds_records,
    negative,
    new_vector,
)
from rootml.expressions._vectors import chosen as chosen_vectors

_ARITHMETIC = {"+": np.add, "-": np.subtract, "*": np.multiply}
_COMPARE = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


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
                return found if isinstance(found, Value) else of_column(found)
            case Unary(operator, operand):
                return _unary(operator, self.value(operand))
            case Comparison():
                return self._comparison(node)
            case Choice(condition, yes, no):
                return _choice(*map(self.value, (condition, yes, no)))
            case Index(operand, index):
                return self._index(self.value(operand), index)
            case Call("draw_element", (operand, index)):
                return self._draw_element(self.value(operand), index)
            case Call("member", (Index(operand, index), name)) if self._is_split(operand):
                return self._index(member(self.value(operand), self.value(name)), index)
            case Call("new_vector", (title, *items)):
                parts = [self.value(item) for item in items]
                return new_vector(self.value(title), *parts, num_events=self.num_events)
            case Call("list_of", items):
                return self._list([self.value(item) for item in items])
            case Call(function, arguments, axis):
                return _call(function, [self.value(argument) for argument in arguments], axis)
            case Binary("&", left, right):
                return _binary("&", self._mask_of_bits(left), self._mask_of_bits(right))
            case Binary(operator, left, right):
                return _binary(operator, self.value(left), self.value(right))

    def _is_split(self, node: Node) -> bool:
        """Whether it is a list of objects that is stored as one list for each member."""
        if not isinstance(node, Name):
            return False
        column = self.columns[node.name]
        data = column.data if isinstance(column, Value) else column
        return is_record(data)

    def _mask_of_bits(self, node: Node) -> Value:
        """A side of ``&``: the bits of ``~x`` that are left do not depend on the type of x."""
        match node:
            case Unary("~", operand):
                return _inverted(self.value(operand))
        return self.value(node)

    def _list(self, items: list[Value]) -> Value:
        """A list that is written out, one number after the other."""
        if any(item.lists or is_strings(item.data) for item in items):
            message = "a list in braces or brackets is made of numbers, not of lists"
            raise ExpressionError(message)
        numbers = [np.broadcast_to(as_number(item.data), self.num_events) for item in items]
        known = None
        if any(item.there is not None for item in items):
            known = np.stack([_all_there(item, self.num_events) for item in items], axis=1)
        return Value(np.stack(numbers, axis=1), None, known)

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
        value = as_vectors(value)
        check_indexable(value)
        if isinstance(index, Slice):
            return sliced(value, index)
        role = role_of(index, self.columns)
        literal = is_literal(index)
        return indexed(value, self.value(index), self.num_events, literal=literal, role=role)

    def _draw_element(self, value: Value, index: Node) -> Value:
        """``x[i]`` of TTree::Draw, where ``i`` is computed: always positions."""
        check_indexable(value)
        found = self.value(index)
        number = number_by_number(FUNCTIONS["int64"].apply, as_number(found.data))
        found = replace(found, data=number)
        return indexed(value, found, self.num_events, literal=False, role="positions")


def _constant(value: Any) -> Any:
    if isinstance(value, bool):
        return np.array(value)
    if isinstance(value, int) and not INT64.min <= value <= INT64.max:
        message = f"the number {value} does not fit into 64 bits"
        raise ExpressionError(message)
    return np.array(value, dtype=np.int64 if isinstance(value, int) else np.float64)


def _unary(operator: str, value: Value) -> Value:
    if operator == "!" or (operator == "~" and leaf_dtype(value.data).kind == "b"):
        return replace(value, data=number_by_number(np.logical_not, as_logical(value.data)))
    if operator in {"-", "+"} and holds_records(value.data):
        return negative(value) if operator == "-" else value
    number = as_number(value.data)
    if operator == "~":
        return _complement(value)
    if operator == "-":
        check_negative(operator, number)
        number = number_by_number(np.negative, number)
    return replace(value, data=number)


def _inverted(value: Value) -> Value:
    """Each bit of 64 turned round; of a condition ``!x``."""
    if leaf_dtype(value.data).kind == "b":
        return _unary("!", value)
    number = as_number(value.data)
    if leaf_dtype(number).kind != "i":
        message = "'~' needs a condition or whole numbers; write '!' for 'is zero'"
        raise ExpressionError(message)
    return replace(value, data=number_by_number(np.invert, number))


def _complement(value: Value) -> Value:
    """``~x``: of an unsigned type as many bits as that has, as in C++ and NumPy.

    Raises:
        ExpressionError: C++ and NumPy have other numbers, or more than 64 signed bits hold.
    """
    dtype = leaf_dtype(value.data)
    if dtype.kind != "u":
        return _inverted(value)
    largest = np.iinfo(dtype).max
    if dtype.itemsize == 8 or (dtype.itemsize < 4 and not value.lists):
        message = (
            f"'~' of {dtype}: its sign and size depend on the language; say which bits are meant, "
            f"e.g. ~x & {largest >> (dtype.itemsize == 8)}"
        )
        raise ExpressionError(message)
    number = as_number(value.data)
    return replace(value, data=number_by_number(lambda bits: bits ^ int(largest), number))


def _all_there(value: Value, num_events: int) -> Mask:
    return np.broadcast_to(np.array(True) if value.there is None else value.there, num_events)


def _binary(operator: str, left: Value, right: Value) -> Value:
    if operator in {"&&", "||"}:
        return _logic(operator, left, right)
    if operator in {"&", "|"}:
        return _bits_or_logic(operator, left, right)
    if holds_records(left.data) or holds_records(right.data):
        return arithmetic(operator, left, right)
    one, other = align(as_number(left.data), as_number(right.data))
    integers = leaf_dtype(one).kind == leaf_dtype(other).kind == "i"
    match operator:
        case "/":
            data = number_by_number(np.true_divide, one, other)
        case "**":
            data = number_by_number(FUNCTIONS["power"].apply, one, other)
        case "//" | "%":
            return _divide(operator, one, other, (left, right), integers=integers)
        case "<<" | ">>":
            data = _shift(operator, one, other, integers=integers)
        case _:
            if integers:
                check_overflow(operator, one, other)
            data = number_by_number(_ARITHMETIC[operator], one, other)
    return combined(data, (left, right))


def _divide(
    operator: str, one: Data, other: Data, sides: tuple[Value, Value], *, integers: bool
) -> Value:
    """Floor division, and the remainder with the sign of the dividend (as C and ROOT).

    By an integer zero it is unknown, in lists an error.
    """
    ufunc = np.floor_divide if operator == "//" else np.fmod
    if not integers:
        return combined(number_by_number(ufunc, one, other), sides)
    if operator == "//":
        check_negative(operator, one)  # by -1
    zero = other == 0
    nonzero: Mask | None = None
    if has_lists(one) or has_lists(zero) or zero.ndim == 0:
        if any_at_all(zero):
            message = f"'{operator}' divides integers by zero"
            raise ExpressionError(message)
    elif zero.any():
        nonzero = ~zero
        other = np.where(zero, 1, other)
    result = combined(ufunc(one, other), sides)
    return replace(result, there=both(result.there, nonzero))


def _shift(operator: str, one: Data, other: Data, *, integers: bool) -> Any:
    if not integers:
        message = f"'{operator}' needs whole numbers"
        raise ExpressionError(message)
    check_shift(operator, other)
    if operator == ">>":
        return np.right_shift(one, other)
    shifted = np.left_shift(one, other)
    check_shifted(one, other, np.right_shift(shifted, other))
    return shifted


def _compare(operator: str, left: Value, right: Value) -> Value:
    if has_strings(left.data) or has_strings(right.data):
        for side in (left, right):
            _refuse_nulls(side)
        if not (has_strings(left.data) and has_strings(right.data)):
            message = "strings can only be compared with strings"
            raise ExpressionError(message)
        if operator not in {"==", "!="}:
            message = f"strings can only be compared by == and !=, not {operator!r}"
            raise ExpressionError(message)
        equal = _equal_strings(left.data, right.data)
        return combined(equal if operator == "==" else ~equal, (left, right))
    one, other = align(as_number(left.data), as_number(right.data))
    return combined(number_by_number(_COMPARE[operator], one, other), (left, right))


def _refuse_nulls(side: Value) -> None:
    if isinstance(side.data, ak.Array) and ak.to_layout(side.data).is_option:
        message = "a column of strings with nulls is not supported in comparisons"
        raise ExpressionError(message)


def _equal_strings(one: Data, other: Data) -> Any:
    """Equality of strings, event by event; lists of strings with one string, element by element.

    Raises:
        ExpressionError: Lists of strings with anything else.
    """
    sides = [
        side if isinstance(side, ak.Array) else (str(side) if side.ndim == 0 else ak.Array(side))
        for side in (one, other)
    ]
    if all(isinstance(side, str) for side in sides):
        return np.array(sides[0] == sides[1])
    lists = [not is_strings(side) for side in (one, other)]
    if any(lists) and not any(isinstance(side, str) for side in sides):
        message = "lists of strings can only be compared with one string, e.g. names == 'mu'"
        raise ExpressionError(message)
    equal = sides[0] == sides[1]
    return equal if any(lists) else ak.to_numpy(equal)


def _logic(operator: str, left: Value, right: Value) -> Value:
    """Kleene's three-valued logic: false && unknown is false, true || unknown is true.

    Element by element where one side has lists.
    """
    one, other = align(as_logical(left.data), as_logical(right.data))
    ufunc = np.logical_and if operator == "&&" else np.logical_or
    data = number_by_number(ufunc, one, other)
    result = combined(data, (left, right))
    if result.valid is None:
        return result
    decides = operator == "||"
    if not result.lists:
        known = _decided(one, left.there, decides) | _decided(other, right.there, decides)
        there = result.there | known
        return Value(data, None if there.all() else there)
    if result.known is None:
        return result
    sides = ((one, known_in(left, data)), (other, known_in(right, data)))
    for side, mask in sides:
        result = replace(result, known=result.known | _decided(spread(side, data), mask, decides))
    return result


def _decided(data: Any, known: Any, decides: bool) -> Any:
    same = data if decides else ~data
    return same if known is None else same & known


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
    return combined(number_by_number(ufunc, one, other), (left, right))


def _choice(condition: Value, yes: Value, no: Value) -> Value:
    if is_strings(yes.data) or is_strings(no.data):
        message = "a choice between strings is not supported"
        raise ExpressionError(message)
    if holds_records(yes.data) or holds_records(no.data):
        return chosen_vectors(_choice, condition, yes, no)
    chosen = as_logical(condition.data)
    one, other = _same_kind(yes.data, no.data)
    data = _where(chosen, one, other)
    if not has_lists(data):
        there = condition.there
        if yes.there is not None or no.there is not None:
            there = both(there, np.where(chosen, *map(_present, (yes, no))))
        return Value(data, there)
    there = condition.there if condition.lists else None
    known = known_in(condition, data)
    lists = [side for side in (yes, no) if side.lists and side.there is not None]
    if condition.lists:
        for side in lists:
            there = both(there, side.there)
    elif lists:
        there = np.where(chosen, *(_present(side) if side.lists else True for side in (yes, no)))
    picked = [known_in(side, data) for side in (yes, no)]
    if any(mask is not None for mask in picked):
        masks = [np.array(True) if mask is None else mask for mask in picked]
        known = both(known, spread(_where(chosen, *masks), data))
    return Value(data, there, known)


def _present(side: Value) -> Any:
    return True if side.there is None else side.there


def _where(chosen: Data, one: Data, other: Data) -> Any:
    """``chosen ? one : other`` for numbers and lists alike.

    Raises:
        ExpressionError: Lists of different lengths in one event.
    """
    arrays = [chosen, one, other]
    for first, second in pairwise((chosen, one, other, chosen)):
        align(first, second)
    if any(isinstance(array, ak.Array) for array in arrays):
        return ak.where(*ak.broadcast_arrays(*arrays))
    widest = max(arrays, key=np.ndim)
    return np.where(*(align(array, widest)[0] for array in arrays))


def _same_kind(one: Data, other: Data) -> tuple[Data, Data]:
    if leaf_dtype(one) == leaf_dtype(other):
        return one, other
    return as_number(one), as_number(other)


def _call(name: str, arguments: list[Value], axis: int | None) -> Value:
    function = FUNCTIONS[name]
    if name in _SPECIAL:
        return _SPECIAL[name](*arguments)
    if function.kind == "special":
        result: Value = function.apply(*arguments)
        return result
    if function.kind == "reduce":
        return _reduce(name, arguments[0], axis)
    numbers = [as_number(argument.data) for argument in arguments]
    for one, other in pairwise(numbers):
        align(one, other)
    widest = max(numbers, key=lambda number: number.ndim)
    if not any(isinstance(number, ak.Array) for number in numbers):
        numbers = [align(number, widest)[0] for number in numbers]
    return combined(number_by_number(function.apply, *numbers), arguments)


def _reduce(name: str, value: Value, axis: int | None) -> Value:
    if is_strings(value.data) or not value.lists:
        shown = name.removeprefix("draw_")
        message = (
            f"{shown}() of one argument works on the list of each event; this is one value per "
            "event"
            + ("; give it two arguments" if shown in {"max", "min"} else "")
            + (
                "; texts have no size here: compare them, e.g. name == 'mu'"
                if is_strings(value.data)
                else ""
            )
        )
        raise ExpressionError(message)
    depth = value.data.ndim - 1
    if axis is not None and not _is_outer(name, axis, depth):
        return _reduce_inner(name, value)
    if name == "size":
        return Value(counts(value.data), value.there)
    data = _one_level(value.data)
    known = None if value.known is None else _one_level(spread(value.known, value.data))
    return _reduce_list(name, data, known, value.there)


def _is_outer(name: str, axis: int, depth: int) -> bool:
    """Whether `axis` is the list of each event, and not the lists in it.

    Raises:
        ExpressionError: Neither, or what awkward would compute across the inner lists.
    """
    level = axis if axis > 0 else depth + 1 + axis
    if level == 1 and (depth == 1 or name == "size"):
        return True
    if level == depth == 2:
        return False
    message = (
        f"axis={axis} of {name}() in {depth} levels of lists is not supported; axis=-1 reduces "
        "the innermost of two levels, no axis all numbers of an event"
    )
    raise ExpressionError(message)


def _reduce_list(name: str, data: Data, known: Data | None, there: Mask | None) -> Value:
    """The reduction of one list; see `Value` for what is known and there."""
    if known is not None and name in {"any", "all"}:
        return _any_or_all(name, data, known, there)
    reduced, found = FUNCTIONS[name].apply(data)
    if known is not None and name not in {"count", "size"}:
        found = both(found, np.asarray(ak.all(known, axis=1)))
    return Value(reduced, both(there, found))


def _reduce_inner(name: str, value: Value) -> Value:
    """The lists in the list of each event, each reduced to a number."""
    lists = ak.from_regular(ak.Array(value.data), axis=None)
    number = ak.num(lists, axis=1)
    known = None
    if value.known is not None:
        known = ak.flatten(spread(value.known, lists), axis=1)
    found = _reduce_list(name, ak.flatten(lists, axis=1), known, None)
    elements = None if found.there is None else ak.unflatten(ak.Array(found.there), number)
    return Value(ak.unflatten(ak.Array(found.data), number), value.there, elements)


def _any_or_all(name: str, data: Data, known: Data, there: Mask | None) -> Value:
    """any is true as soon as one element is known to be; false if all are known not to be."""
    decides = name == "any"
    decided = np.asarray(ak.any(_decided(as_logical(data), known, decides), axis=1))
    settled = decided | np.asarray(ak.all(known, axis=1))
    return Value(decided if decides else ~decided, both(there, settled))


def _one_level(data: Data) -> Data:
    """The numbers of each event in one list."""
    if not isinstance(data, ak.Array):
        return data.reshape(len(data), math.prod(data.shape[1:]))  # -1 would not do without events
    while data.ndim > 2:
        data = ak.flatten(data, axis=2)
    return data


# --- as TTree::Draw has them ---------------------------------------------------------------------


def _draw_logic(operator: str) -> Callable[[Value, Value], Value]:
    """``&&`` and ``||`` of numbers; unknown where one side is, whatever the other one says."""
    ufunc = np.logical_and if operator == "&&" else np.logical_or

    def apply(left: Value, right: Value) -> Value:
        one, other = align(as_logical(left.data), as_logical(right.data))
        return combined(number_by_number(ufunc, one, other), (left, right))

    return apply


def _draw_choice(condition: Value, yes: Value, no: Value) -> Value:
    """``c ? a : b``; unknown where one of the three is."""
    chosen = _choice(*(replace(each, there=None, known=None) for each in (condition, yes, no)))
    return combined(chosen.data, (condition, yes, no))


def _draw_cut(value: Value) -> Value:
    """A cut: of lists, whether it holds for one of the elements."""
    if is_strings(value.data) or not value.lists:
        return value
    data = as_logical(_one_level(value.data))
    if value.known is not None:
        data = data & _one_level(spread(value.known, value.data))
    return Value(np.asarray(ak.any(data, axis=1)), value.there)


_SPECIAL: Mapping[str, Callable[..., Value]] = {
    "where": _choice,
    "draw_where": _draw_choice,
    "draw_and": _draw_logic("&&"),
    "draw_or": _draw_logic("||"),
    "draw_cut": _draw_cut,
}
