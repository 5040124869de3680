"""The product of a dense layer with a tile of rows, with all sums in registers.

numba writes a sum over the inputs to memory after each few of them; as LLVM instructions for
vectors, the sums of a block of outputs stay in registers until they are complete. Weights are
stored as `(block of outputs, input, output in the block)`, so they are read one after another. In
words, for each block of `BLOCK` outputs::

    for some of its outputs r, and some lanes e:       as many as there are registers for
        sum[r, e] = bias[r]
        for each input k:  sum[r, e] += weight[k, r] * h[k, e]
        out[r, e] = sum[r, e]

Beside OpenBLAS's product of 2,048 rows with a 64 x 64 matrix on one core of an AMD EPYC (Zen 5):
131 GFLOP/s and 114.
"""

from __future__ import annotations

from typing import Any

from rootml._internal.optional import optional_import
from rootml.sbi.morphing.flow._lanes import LANES

_core = optional_import("numba.core", feature="the compiled kernels", extra="sbi")
_types = optional_import("numba.types", feature="the compiled kernels", extra="sbi")
_extending = optional_import("numba.extending", feature="the compiled kernels", extra="sbi")
_ir = optional_import("llvmlite.ir", feature="the compiled kernels", extra="sbi")
_llvm = optional_import("llvmlite.binding", feature="the compiled kernels", extra="sbi")

BLOCK = 8
"""Outputs are padded with zeros to a multiple of this."""

_VECTOR = 16
_WIDE = bool(_llvm.get_host_cpu_features().get("avx512f"))
_ROWS, _VECTORS = (8, 2) if _WIDE else (4, 1)
"""Outputs and vectors of lanes that are summed at a time: sums for 32 or for 16 registers."""

_FLOAT = _ir.FloatType()
_FLOATS = _ir.VectorType(_FLOAT, _VECTOR)
_INT = _ir.IntType(64)


class _Emit:
    """Writes the instructions of one call.

    Args:
        pointers: Data of the weights, the inputs and the outputs.
        numbers: Where weights and biases begin, the number of inputs, the first output.
    """

    def __init__(self, builder: Any, pointers: tuple[Any, ...], numbers: tuple[Any, ...]) -> None:
        self._b = builder
        self._flat, self._h, self._out = pointers
        self._weights, self._bias, self._inputs, self._first = numbers
        kind = _ir.FunctionType(_FLOATS, [_FLOATS] * 3)
        name = f"llvm.fmuladd.v{_VECTOR}f32"
        self._multiply_add = _core.cgutils.get_or_insert_function(builder.module, kind, name)

    def block(self) -> None:
        """All outputs and lanes of a block."""
        for row in range(0, BLOCK, _ROWS):
            for lane in range(0, LANES, _VECTOR * _VECTORS):
                self._sums(row, [lane + v * _VECTOR for v in range(_VECTORS)])

    def _sums(self, row: int, lanes: list[int]) -> None:
        """The loop over the inputs, for some outputs and lanes."""
        b = self._b
        biases = [
            self._everywhere(b.add(self._bias, _INT(row + r))) for r in range(_ROWS) for _ in lanes
        ]
        before = b.block
        loop, after = (b.append_basic_block(name) for name in ("inputs", "done"))
        b.branch(loop)
        b.position_at_end(loop)
        k = self._phi(_INT, _INT(0), before)
        sums = [self._phi(_FLOATS, bias, before) for bias in biases]
        found = self._add_input(k, row, lanes, sums)
        following = b.add(k, _INT(1))
        for phi, value in zip([k, *sums], [following, *found], strict=True):
            phi.add_incoming(value, loop)
        b.cbranch(b.icmp_signed("<", following, self._inputs), loop, after)
        b.position_at_end(after)
        for number, value in enumerate(found):
            output = b.add(self._first, _INT(row + number // len(lanes)))
            at = b.add(b.mul(output, _INT(LANES)), _INT(lanes[number % len(lanes)]))
            b.store(value, self._vector_at(self._out, at), align=4)

    def _add_input(self, k: Any, row: int, lanes: list[int], sums: list[Any]) -> list[Any]:
        """The sums with one more input."""
        b = self._b
        start = b.mul(k, _INT(LANES))
        inputs = [
            b.load(self._vector_at(self._h, b.add(start, _INT(lane))), align=4) for lane in lanes
        ]
        at = b.add(self._weights, b.add(b.mul(k, _INT(BLOCK)), _INT(row)))
        weights = [self._everywhere(b.add(at, _INT(r))) for r in range(_ROWS)]
        pairs = [(weight, values) for weight in weights for values in inputs]
        return [
            b.call(self._multiply_add, [weight, values, total])
            for (weight, values), total in zip(pairs, sums, strict=True)
        ]

    def _phi(self, kind: Any, value: Any, block: Any) -> Any:
        made = self._b.phi(kind)
        made.add_incoming(value, block)
        return made

    def _everywhere(self, at: Any) -> Any:
        """A weight or bias in all lanes of a vector."""
        b, int32 = self._b, _ir.IntType(32)
        value = b.load(b.gep(self._flat, [at]), align=4)
        anything = _ir.Constant(_FLOATS, _ir.Undefined)
        first = b.insert_element(anything, value, int32(0))
        places = _ir.Constant(_ir.VectorType(int32, _VECTOR), [0] * _VECTOR)
        return b.shuffle_vector(first, anything, places)

    def _vector_at(self, pointer: Any, at: Any) -> Any:
        return self._b.bitcast(self._b.gep(pointer, [at]), _FLOATS.as_pointer())


@_extending.intrinsic
def dense_block(  # type: ignore[no-untyped-def]
    _typing, flat, weights, bias, inputs, h, out, first
):
    """Fill `BLOCK` outputs of all lanes, from output `first` on.

    Args:
        flat: float32, all parameters; `weights` and `bias` say where those of the block begin.
        inputs: Their number, 1 or more.
        h: float32 `(inputs or more, LANES)`, contiguous.
        out: float32 `(first + BLOCK or more, LANES)`, contiguous, another array than `h`.
    """
    signature = _types.void(flat, weights, bias, inputs, h, out, first)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:  # numba
        data = [
            context.make_array(sig.args[n])(context, builder, values[n]).data for n in (0, 4, 5)
        ]
        numbers = (values[1], values[2], values[3], values[6])
        _Emit(builder, tuple(data), numbers).block()
        return context.get_dummy_value()

    return signature, emit
