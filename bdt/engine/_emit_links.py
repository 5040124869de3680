"""Emitters: links by the C library's exponential, the one that XGBoost and LightGBM call."""

from __future__ import annotations

from typing import Any

import numpy as np

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


def emit_sigmoid(module: Any, target: Target, kind: Any, library: str) -> Any:
    """A function: predictions from margins, in place.

    ::

        sigmoid_many(x, count, scale):
            for i in 0 .. count - 1:
                x[i] = 1 / (exp(min(-x[i], 88.7)) + 1 + 1e-16)     # XGBoost
                x[i] = 1 / (1 + exp(-scale * x[i]))                # LightGBM
    """
    code = Code(module, target, "sigmoid_many", [PTR, I64, kind])
    b, (x, count, scale) = code.b, code.args
    size = 4 if kind is F32 else 8
    exp, one = "expf" if kind is F32 else "exp", kind(1.0)
    with code.loop(count) as i:
        place = code.at(x, b.mul(i, I64(size)))
        value = code.load(kind, place, align=size)
        if library == "xgboost":
            most = kind(float(np.float32(88.7)))
            value = b.fneg(value)
            value = b.select(b.fcmp_ordered("<", most, value), most, value)
            total = b.fadd(code.call(exp, kind, value), one)
            total = b.fadd(total, kind(float(np.float32(1e-16))))
        else:
            total = b.fadd(one, code.call(exp, kind, b.fmul(b.fneg(scale), value)))
        code.store(b.fdiv(one, total), place, 0, size)
    return code.end()
