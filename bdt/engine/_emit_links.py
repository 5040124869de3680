"""Emitter: the C library's exponential of many values, the one that XGBoost and LightGBM call."""

from __future__ import annotations

from typing import Any

from rootml.bdt.engine._code import F32, I64, PTR, Code
from rootml.bdt.engine._target import Target


def emit_exp(module: Any, target: Target, kind: Any) -> Any:
    """A function: ``out[i] = exp(x[i])``, by ``expf`` or ``exp``.

    ::

        exp_many(x, out, count):
            for i in 0 .. count - 1: out[i] = exp(x[i])
    """
    code = Code(module, target, "exp_many", [PTR, PTR, I64])
    b, (x, out, count) = code.b, code.args
    size = 4 if kind is F32 else 8
    name = "expf" if kind is F32 else "exp"
    with code.loop(count) as i:
        value = code.load(kind, code.at(x, b.mul(i, I64(size))), align=size)
        code.store(code.call(name, kind, value), code.at(out, b.mul(i, I64(size))), 0, size)
    return code.end()
