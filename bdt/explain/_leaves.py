"""Leaves, by the engine of the margins: a forest whose leaves add numbers that tell them apart.

The numbers of several trees share one output: with ids of `bits` bits, tree ``j`` of an output
adds ``id << (bits * j)``, and a double holds 53 bits exactly. A kernel takes them apart again::

    unpack(codes, out, rows, outputs, trees, bits):
        for row, output:
            out[row][output * share + lane] = (codes[row][output] >> (bits * lane)) & mask

It writes all lanes, and what is written beyond `share` is overwritten by the next output.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rootml._internal.types import Int
from rootml.bdt._forest import Forest
from rootml.bdt._inputs import Table

LANES = 8
PIECE = 2048
"""Rows whose packed numbers stay in the cache."""
_MANTISSA = 53


class Margins(Protocol):
    """The part of an engine that is needed here."""

    def margins(self, table: Table, out: NDArray[Any]) -> None:
        """Margins of all rows into `out`."""


class Leaves:
    """Finds the leaf of each tree.

    Args:
        forest: With at least one tree.
        ids: One for each node, not negative: what is told of the leaves.
        engine: Makes an engine for a forest.
        compiled: Whether a kernel unpacks, or NumPy.
        isa: Instructions of the kernel.
    """

    def __init__(
        self,
        forest: Forest,
        ids: Int,
        engine: Callable[[Forest], Margins],
        *,
        compiled: bool,
        isa: str | None,
    ) -> None:
        self._trees = forest.num_trees
        leaf = forest.feature < 0
        self._bits = max(1, int(ids[leaf].max()).bit_length())
        self._share = min(LANES, _MANTISSA // self._bits)
        tree = np.repeat(np.arange(self._trees), np.diff(forest.tree_offset))
        shifted = np.ldexp(ids.astype(np.float64), self._bits * (tree % self._share))
        self._outputs = -(-self._trees // self._share)
        self._engine = engine(
            forest.replace(
                value=np.where(leaf, shifted, 0.0)[:, None],
                tree_output=np.arange(self._trees) // self._share,
                base=np.zeros(self._outputs),
                base_first=True,
                divisor=1.0,
                link="identity",
                gain=None,
                cover=None,
                leaf_id=None,
            )
        )
        self._kernel = _compiled(isa) if compiled else None

    def __call__(self, table: Table) -> NDArray[np.int32]:
        """Shape (rows, trees): ids of the leaves."""
        rows, trees = table.num_rows, self._trees
        flat = np.empty(rows * trees + LANES, np.int32)
        codes = np.empty((min(rows, PIECE), self._outputs))
        for start in range(0, rows, PIECE):
            stop = min(start + PIECE, rows)
            part = codes[: stop - start]
            self._engine.margins(table.rows(start, stop), part)
            self._unpack(part, flat[start * trees : stop * trees + LANES])
        return flat[: rows * trees].reshape(rows, trees)

    def _unpack(self, codes: NDArray[np.float64], out: NDArray[np.int32]) -> None:
        """Into `out`, row by row; `LANES` elements follow that may be overwritten."""
        rows, trees = len(codes), self._trees
        if self._kernel is not None:
            numbers = np.array([rows, self._outputs, trees, self._share, self._bits], np.int64)
            self._kernel(codes.ctypes.data, out.ctypes.data, numbers.ctypes.data)
            return
        made = out[: rows * trees].reshape(rows, trees)
        whole, mask = codes.astype(np.int64), (1 << self._bits) - 1
        for j in range(self._share):
            part = made[:, j :: self._share]
            part[...] = (whole[:, : part.shape[1]] >> (self._bits * j)) & mask


def _compiled(isa: str | None) -> Any:
    from rootml.bdt.engine.binding._host import host_target
    from rootml.bdt.engine.binding._jit import load

    target = host_target(isa)
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    library = load(lambda: unpack_ir(target), f"unpack {source}", target)
    pointer = ctypes.c_void_p
    return library.function("unpack", None, pointer, pointer, pointer)


def unpack_ir(target: Any) -> str:
    """The module with the kernel, as LLVM's assembly."""
    from rootml.bdt.engine.codegen._code import F64, I32, I64, PTR, Code, splat, vector
    from rootml.bdt.engine.codegen._ir import ir

    module = ir.Module("rootml.bdt.unpack")
    module.triple = target.triple
    code = Code(module, target, "unpack", [PTR, PTR, PTR])
    b, (codes, out, numbers) = code.b, code.args
    rows, outputs, trees, share, bits = (code.slot(numbers, i) for i in range(5))
    wide, narrow = vector(I64, LANES), vector(I32, LANES)
    lanes = ir.Constant(wide, list(range(LANES)))
    shifts = b.mul(code.spread(wide, bits), lanes)
    # lanes beyond the share would shift too far; what they hold is overwritten
    shifts = b.and_(shifts, splat(wide, 63))
    mask = code.spread(wide, b.sub(b.shl(I64(1), bits), I64(1)))
    with code.loop(rows) as row, code.loop(outputs) as output:
        number = b.add(b.mul(row, outputs), output)
        packed = b.fptosi(code.load(F64, code.at(codes, b.mul(number, I64(8))), align=8), I64)
        parts = b.and_(b.lshr(code.spread(wide, packed), shifts), mask)
        first = b.add(b.mul(row, trees), b.mul(output, share))
        code.store(b.trunc(parts, narrow), code.at(out, b.mul(first, I64(4))), 0, 4)
    code.end()
    return str(module)
