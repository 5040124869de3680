"""Emitter: one call's rows, shared out among threads.

::

    share(model, work, shared, own):                  # each thread, with a work space of its own
        for range in own, own + 1, ... 0, 1, ... own - 1:        # the own first: its rows and its
            while range.first < range.stop:                      # scores are still in its cache
                rows = (range.stop - range.first) / 4, whole blocks, at least one
                if another thread moved range.first meanwhile: again
                range.first += rows
                blocks(model, work, job, the rows)
                out = link(out)                       # if shared.link
                shared.done += rows
        return how many rows it were

    wait(shared, count):                              # the caller, when nothing is left to take
        look at shared.done until it is count, at most `LOOKS` times
        return shared.done

A thread that wakes late finds less to do, or nothing: nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rootml.bdt.engine._target import Target
from rootml.bdt.engine.codegen._code import I64, PTR, Code, Function, Value
from rootml.bdt.engine.codegen._emit_block import JOB

SHARED = (*JOB, "threads", "link", "scale", *("",) * 4, "done", *("",) * 7)
"""Elements of the array `shared`: the job, what is the same for all threads, rows that are done;
behind it comes a `RANGE` for each thread, of which the first element counts the rows that somebody
took. What threads write lies in lines of the cache of its own.
"""
RANGE = 8
"""Elements for a range of rows."""
PIECES = 4
"""A thread takes a fourth of what is left of a range."""
LOOKS = 3000
"""About 0.1 ms, the time of a block or two."""


def _place(code: Code, shared: Value, name: str) -> Value:
    return code.at(shared, 8 * SHARED.index(name))


def emit_share(
    module: Any, target: Target, blocks: Function, link: Function | None, scores: Any
) -> Function:
    """See the module.

    Args:
        blocks: ``blocks(model, work, job, first, stop)``.
        link: ``link(x, rows, outputs, scale)``, or None.
        scores: Emits the number of scores of a row, and the address of those of one row.
    """
    code = Code(module, target, "share", [PTR, PTR, PTR, I64], I64)
    b, (model_at, work_at, shared, own) = code.b, code.args
    threads = code.load(I64, _place(code, shared, "threads"), align=8)
    count = code.load(I64, _place(code, shared, "count"), align=8)
    whole = b.mul(threads, I64(code.block))
    even = b.mul(b.udiv(b.add(count, b.sub(whole, I64(1))), whole), I64(code.block))
    own_rows = code.stack(8)
    code.store(I64(0), own_rows, 0, 8)
    with code.loop(threads) as i:
        number = b.urem(b.add(own, i), threads)
        taken = code.at(shared, b.add(I64(8 * len(SHARED)), b.mul(number, I64(8 * RANGE))))
        start = b.mul(number, even)
        left = b.sub(count, start)
        size = b.select(b.icmp_signed("<", left, even), left, even)
        with _taken(code, taken, size) as (index, rows):
            first = b.add(start, index)
            b.call(blocks, [model_at, work_at, shared, first, b.add(first, rows)])
            if link is not None:
                wanted = code.load(I64, _place(code, shared, "link"), align=8)
                with b.if_then(b.icmp_signed("!=", wanted, I64(0))):
                    outputs, out = scores(code, model_at, shared, first)
                    scale = code.load(link.args[3].type, _place(code, shared, "scale"), align=8)
                    b.call(link, [out, rows, outputs, scale])
            b.atomic_rmw("add", _place(code, shared, "done"), rows, "release")
            code.store(b.add(code.load(I64, own_rows, align=8), rows), own_rows, 0, 8)
    return code.end(code.load(I64, own_rows, align=8))


@contextmanager
def _taken(code: Code, place: Value, stop: Value) -> Iterator[tuple[Value, Value]]:
    """A loop over pieces of a range, which other threads take pieces of meanwhile: the first row
    and the number of rows.
    """
    b = code.b
    again, take, body, after = (
        b.append_basic_block(name) for name in ("again", "take", "body", "after")
    )
    b.branch(again)
    b.position_at_end(again)
    first = b.load_atomic(place, "monotonic", 8, typ=I64)
    left = b.sub(stop, first)
    b.cbranch(b.icmp_signed(">", left, I64(0)), take, after)
    b.position_at_end(take)
    piece = b.and_(b.udiv(left, I64(PIECES)), I64(-code.block))
    piece = b.select(b.icmp_signed("<", piece, I64(code.block)), I64(code.block), piece)
    rows = b.select(b.icmp_signed("<", left, piece), left, piece)
    moved = b.cmpxchg(place, first, b.add(first, rows), "monotonic", "monotonic")
    b.cbranch(b.extract_value(moved, 1), body, again)
    b.position_at_end(body)
    yield first, rows
    b.branch(again)
    b.position_at_end(after)


def emit_wait(module: Any, target: Target) -> Function:
    """See the module."""
    code = Code(module, target, "wait", [PTR, I64], I64)
    b, (shared, count) = code.b, code.args
    look, more, after = (b.append_basic_block(name) for name in ("look", "more", "after"))
    entry = b.block
    b.branch(look)
    b.position_at_end(look)
    looks = b.phi(I64)
    looks.add_incoming(I64(0), entry)
    done = b.load_atomic(_place(code, shared, "done"), "acquire", 8, typ=I64)
    go_on = b.and_(b.icmp_signed("<", done, count), b.icmp_signed("<", looks, I64(LOOKS)))
    b.cbranch(go_on, more, after)
    b.position_at_end(more)
    code.pause()
    looks.add_incoming(b.add(looks, I64(1)), b.block)
    b.branch(look)
    b.position_at_end(after)
    return code.end(done)
