"""Eight numbers at a time in compiled kernels, and memory that is fetched ahead of its use.

LLVM makes vector instructions of plain loops, but of half the width that a processor with 512 bits
has, and of none with a fetch in it. Sums over rows say it themselves::

    x = load(row, i)              eight numbers of an array as float64
    s = added(s, x, y)            s + x y
    store(row, i, x)
    total(s)                      the sum of the eight
    fetch(row, i)                 numbers i to i + 15 will be read soon: into the second cache

Where a processor has narrower registers, LLVM takes several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rootml._internal.optional import optional_import

_FEATURE = "the compiled kernels (engine='compiled')"
_extending = optional_import("numba.extending", feature=_FEATURE, extra="sbi")
_core = optional_import("numba.core", feature=_FEATURE, extra="sbi")
_models: Any = optional_import("numba.core.datamodel.models", feature=_FEATURE, extra="sbi")
_cgutils = optional_import("numba.core.cgutils", feature=_FEATURE, extra="sbi")
_ir = optional_import("llvmlite.ir", feature=_FEATURE, extra="sbi")

LANES = 8
FETCHED = 16  # numbers that one call of `fetch` asks for
_LINE = 64  # bytes of a cache line
_FLAGS = ("contract", "reassoc", "nsz")
_SECOND_CACHE = 2  # of llvm.prefetch: 3 is the first cache, 0 none
_types: Any = _core.types
_vector = _ir.VectorType(_ir.DoubleType(), LANES)


class _Lanes(_types.Type):  # type: ignore[misc]  # numba has no types
    """numba's type of eight float64."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


_lanes = _Lanes()


def intrinsic(function: Callable[..., Any]) -> Any:
    """A function of kernels whose code `function` writes."""
    made = _extending.intrinsic(function)
    made.__module__ = function.__module__  # kernels that are kept are told from others by it
    return made


@_extending.register_model(_Lanes)
class _Model(_models.PrimitiveModel):  # type: ignore[misc]
    """They are one vector of LLVM."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _vector)


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """The address of a number of an array."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


def _size(kind: Any) -> int:
    """Bytes of a number of an array."""
    return int(kind.dtype.bitwidth) // 8


@intrinsic
def load(_typing: Any, array: Any, _index: Any) -> Any:
    """Eight numbers of a contiguous array, as float64."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        place = _place(context, builder, kind, *arguments)
        given = _ir.VectorType(context.get_data_type(kind.dtype), LANES)
        found = builder.load(builder.bitcast(place, given.as_pointer()), align=_size(kind))
        return found if given == _vector else builder.fpext(found, _vector)

    return _lanes(array, _types.intp), emit


@intrinsic
def store(_typing: Any, array: Any, _index: Any, _given: Any) -> Any:
    """Put eight numbers into a contiguous float64 array."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], builder.bitcast(place, _vector.as_pointer()), align=8)
        return context.get_dummy_value()

    return _types.void(array, _types.intp, _lanes), emit


@intrinsic
def spread(_typing: Any, _value: Any) -> Any:
    """Eight times the same number."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        nothing, zero = _ir.Constant(_vector, _ir.Undefined), _ir.Constant(_ir.IntType(32), 0)
        first = builder.insert_element(nothing, arguments[0], zero)
        places = _ir.Constant(_ir.VectorType(_ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(first, nothing, places)

    return _lanes(_types.float64), emit


@intrinsic
def added(_typing: Any, _total: Any, _left: Any, _right: Any) -> Any:
    """``total + left * right``."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        product = builder.fmul(arguments[1], arguments[2], flags=_FLAGS)
        return builder.fadd(arguments[0], product, flags=_FLAGS)

    return _lanes(_lanes, _lanes, _lanes), emit


@intrinsic
def total(_typing: Any, _given: Any) -> Any:
    """The sum of the eight: of the two halves, then of theirs."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        left, width = arguments[0], LANES
        while width > 1:
            width //= 2
            low, high = (_half(builder, left, start, width) for start in (0, width))
            left = builder.fadd(low, high, flags=_FLAGS)
        return builder.extract_element(left, _ir.Constant(_ir.IntType(32), 0))

    return _types.float64(_lanes), emit


def _half(builder: Any, lanes: Any, start: int, width: int) -> Any:
    """Some of the numbers."""
    kind = _ir.VectorType(_ir.IntType(32), width)
    places = _ir.Constant(kind, list(range(start, start + width)))
    return builder.shuffle_vector(lanes, _ir.Constant(lanes.type, _ir.Undefined), places)


@intrinsic
def fetch(_typing: Any, array: Any, _index: Any) -> Any:
    """Ask for `FETCHED` numbers of a contiguous array; nothing waits for them."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, word = signature.args[0], _ir.IntType(32)
        pointer = _cgutils.voidptr_t
        form = _ir.FunctionType(_ir.VoidType(), [pointer, word, word, word])
        prefetch = _cgutils.get_or_insert_function(builder.module, form, "llvm.prefetch.p0")
        settings = [word(0), word(_SECOND_CACHE), word(1)]  # to read; data
        for start in range(0, FETCHED, _LINE // _size(kind)):
            index = builder.add(arguments[1], arguments[1].type(start))
            place = _place(context, builder, kind, arguments[0], index)
            builder.call(prefetch, [builder.bitcast(place, pointer), *settings])
        return context.get_dummy_value()

    return _types.void(array, _types.intp), emit
