"""Emitters: links by the C library's exponential, the one that XGBoost and LightGBM call."""

from __future__ import annotations

from typing import Any

import numpy as np

from rootml.bdt.engine._target import Target
from rootml.bdt.engine.codegen._code import F32, F64, I64, PTR, Code, Function


def emit_exp(module: Any, target: Target, kind: Any) -> Function:
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


def emit_link(module: Any, target: Target, kind: Any, link: str, library: str) -> Function:
    """A function: predictions from margins, in place: ``link(x, rows, outputs, scale)``."""
    code = Code(module, target, "link", [PTR, I64, I64, kind])
    if link == "softmax":
        _softmax(code, kind)
    else:
        _sigmoid(code, kind, library)
    return code.end()


def _sigmoid(code: Code, kind: Any, library: str) -> None:
    """One output after the other.

    ::

            for i in 0 .. rows * outputs - 1:
                x[i] = 1 / (exp(min(-x[i], 88.7)) + 1 + 1e-16)     # XGBoost
                x[i] = 1 / (1 + exp(-scale * x[i]))                # LightGBM
    """
    b, (x, rows, outputs, scale) = code.b, code.args
    size = 4 if kind is F32 else 8
    exp, one = "expf" if kind is F32 else "exp", kind(1.0)
    with code.loop(b.mul(rows, outputs)) as i:
        pointer = code.at(x, b.mul(i, I64(size)))
        value = code.load(kind, pointer, align=size)
        if library == "xgboost":
            most = kind(float(np.float32(88.7)))
            value = b.fneg(value)
            value = b.select(b.fcmp_ordered("<", most, value), most, value)
            total = b.fadd(code.call(exp, kind, value), one)
            total = b.fadd(total, kind(float(np.float32(1e-16))))
        else:
            total = b.fadd(one, code.call(exp, kind, b.fmul(b.fneg(scale), value)))
        code.store(b.fdiv(one, total), pointer, 0, size)


def _softmax(code: Code, kind: Any) -> None:
    """One row after the other, as XGBoost and LightGBM do it.

    ::

            for each row:
                most = the largest of the row
                sum = 0.0                              # in double precision
                for each output: x = exp(x - most);  sum += x
                for each output: x = x / sum           # rounded to float first, for floats
    """
    b, (x, rows, outputs, _) = code.b, code.args
    size = 4 if kind is F32 else 8
    exp = "expf" if kind is F32 else "exp"
    keep = code.stack(64)
    with code.loop(rows) as row:
        first = code.at(x, b.mul(b.mul(row, outputs), I64(size)))
        code.store(code.load(kind, first, align=size), keep, 0, 8)
        code.store(F64(0.0), keep, 8, 8)
        with code.loop(outputs) as i:
            value = code.load(kind, code.at(first, b.mul(i, I64(size))), align=size)
            most = code.load(kind, keep, align=8)
            larger = b.fcmp_ordered(">", value, most)
            code.store(b.select(larger, value, most), keep, 0, 8)
        most = code.load(kind, keep, align=8)
        with code.loop(outputs) as i:
            pointer = code.at(first, b.mul(i, I64(size)))
            raised = code.call(exp, kind, b.fsub(code.load(kind, pointer, align=size), most))
            code.store(raised, pointer, 0, size)
            wide = b.fpext(raised, F64) if kind is F32 else raised
            code.store(b.fadd(code.load(F64, keep, 8, align=8), wide), keep, 8, 8)
        total = code.load(F64, keep, 8, align=8)
        total = b.fptrunc(total, kind) if kind is F32 else total
        with code.loop(outputs) as i:
            pointer = code.at(first, b.mul(i, I64(size)))
            code.store(b.fdiv(code.load(kind, pointer, align=size), total), pointer, 0, size)
