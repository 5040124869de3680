"""The whole map as an ONNX graph, built node by node: no exporter, no torch, nothing but onnx.

Tables and their arithmetic are float64, the flow is float32, as everywhere. A knot is found by
counting those that are not greater (onnxruntime has no binary search), a bin of a spline too; the
normal quantile function for atoms is written out (`_normal`). In words::

    z        = tables of the simulation(features; draws)            one column after another
    context  = tables and asinh of the conditions, and the switch
    z'       = inverse layers(forward layers(z; switch 0); switch 1)
    morphed  = conditions (and features, unless clipped or extrapolated) in range, and finite
    corrected = tables of the data, inverse (z')  where morphed, else features
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.onnx_graph import OnnxGraph
from rootml.errors import UsageError
from rootml.sbi.morphing.files._generator_model import GeneratorModel
from rootml.sbi.morphing.files._model import Member, Morph
from rootml.sbi.morphing.flow._flow import FlowSpec
from rootml.sbi.morphing.flow._leaves import State
from rootml.sbi.morphing.flow._spline import BOUND, MAX_INPUT, MIN_SIZE
from rootml.sbi.morphing.preprocessing import _normal
from rootml.sbi.morphing.preprocessing._preprocess import Conditions, Table


class _Graph(OnnxGraph):
    """Constants by dtype, and the steps that the map is made of."""

    def double(self, value: Any) -> str:
        return self.constant(value, np.float64)

    def single(self, value: Any) -> str:
        return self.constant(value, np.float32)

    def ints(self, value: Any) -> str:
        return self.constant(value, np.int64)

    def column(self, matrix: str, j: int) -> str:
        """Column `j` of `(rows, columns)` as `(rows, 1)`."""
        return self.op("Gather", matrix, self.ints([j]), axis=1)

    def count(self, flags: str, axis: int) -> str:
        """Number of true values along an axis, which stays with length 1."""
        number = self.cast(flags, np.int64)
        return self.op("ReduceSum", number, self.ints([axis]), keepdims=1)


def write_onnx(morph: Morph, path: Path, *, member: int) -> None:
    """See `Morpher.to_onnx`."""
    graph = _Graph(feature="Morpher.to_onnx()")
    if morph.spec is None:
        message = (
            "to_onnx() writes our coupling flow; a flow given with flow= has no ONNX form here"
        )
        raise UsageError(message)
    number = morph.member(member)
    _build(graph, morph, morph.members[number])
    features, conditions = len(morph.names.features), len(morph.names.conditions)
    widths = {"features": features, "conditions": conditions, "draws": features}
    model = graph.model(
        "morph",
        {name: (np.float64, ["rows", width]) for name, width in widths.items()},
        {"corrected": (np.float64, ["rows", features]), "morphed": (np.bool_, ["rows"])},
        properties={
            "features": ",".join(morph.names.features),
            "conditions": ",".join(morph.names.conditions),
            "member": str(number),
        },
        doc=(
            "Simulation carried onto data (arXiv:2403.18582). draws: uniform random numbers "
            "between 0 and 1, one per row and feature; they matter for atoms alone."
        ),
    )
    path.write_bytes(model.SerializeToString())


def write_generator(model: GeneratorModel, path: Path) -> None:
    """See `Generator.to_onnx`."""
    g = _Graph(feature="Generator.to_onnx()")
    names, spec = model.names, model.spec
    full = _with_switch(g, _context(g, model.conditions), 1.0)
    x = g.cast(_quantile(g, "draws"), np.float32)
    for layer in reversed(range(len(spec.kept))):
        x = _layer(g, spec, model.state, layer, x, full, inverse=True)
    drawn = _columns(g, model.tables.tables, g.cast(x, np.float64))
    known = _all_true(g, _in_range(g, model.conditions))
    g.op("Where", known, drawn, g.double(np.nan), output="features")
    g.op("Squeeze", known, g.ints([1]), output="drawn")
    features, conditions = len(names.features), len(names.conditions)
    made = g.model(
        "generate",
        {
            "conditions": (np.float64, ["rows", conditions]),
            "draws": (np.float64, ["rows", features]),
        },
        {"features": (np.float64, ["rows", features]), "drawn": (np.bool_, ["rows"])},
        properties={
            "features": ",".join(names.features),
            "conditions": ",".join(names.conditions),
        },
        doc="Features given conditions. draws: uniform random numbers between 0 and 1.",
    )
    path.write_bytes(made.SerializeToString())


def _build(g: _Graph, morph: Morph, member: Member) -> None:
    assert morph.spec is not None
    ranges = morph.members[0].sim.tables
    inside = _inside(g, ranges)
    features = "features"
    if morph.outside == "clip":
        low, high = (g.double(np.array([[table.ends[k] for table in ranges]])) for k in (0, 1))
        nearer = g.op("Max", g.op("Min", "features", high), low)
        features = g.op("Where", inside, "features", nearer)
    z = _forward_tables(g, member.sim.tables, features, "draws")
    context = _context(g, morph.conditions)
    x = g.cast(z, np.float32)
    for switch, backward in ((0.0, False), (1.0, True)):
        full = _with_switch(g, context, switch)
        layers = range(len(morph.spec.kept))
        for layer in reversed(layers) if backward else layers:
            x = _layer(g, morph.spec, member.state, layer, x, full, inverse=backward)
    corrected = _columns(g, member.data.tables, g.cast(x, np.float64))
    good = _good(g, morph.conditions, inside if morph.outside == "keep" else None)
    g.op("Where", good, corrected, "features", output="corrected")
    g.op("Squeeze", good, g.ints([1]), output="morphed")


def _with_switch(g: _Graph, context: str, switch: float) -> str:
    """The context with its last column."""
    return g.op("Concat", context, _column_of(g, context, switch), axis=1)


def _columns(g: _Graph, tables: tuple[Table, ...], z: str) -> str:
    """Features `(rows, features)` of Gaussianised ones."""
    columns = [_inverse_table(g, table, g.column(z, j)) for j, table in enumerate(tables)]
    return g.op("Concat", *columns, axis=1)


def _column_of(g: _Graph, like: str, value: float) -> str:
    """A float32 column of one value, as long as `like`."""
    first = g.op("Gather", like, g.ints([0]), axis=1)
    # NaN times zero would stay NaN
    nothing = g.op("Where", g.op("IsNaN", first), g.single(0), g.op("Mul", first, g.single(0)))
    return g.op("Add", nothing, g.single(value))


def _inside(g: _Graph, tables: tuple[Table, ...]) -> str:
    """`(rows, features)`: which values the tables were made for."""
    low, high = (g.double(np.array([[table.ends[k] for table in tables]])) for k in (0, 1))
    above, below = g.op("GreaterOrEqual", "features", low), g.op("LessOrEqual", "features", high)
    found = g.op("And", above, below)
    for k in range(max(len(table.sentinels) for table in tables)):
        values = [t.sentinels[k] if k < len(t.sentinels) else np.nan for t in tables]
        found = g.op("Or", found, g.op("Equal", "features", g.double(np.array([values]))))
    return found


def _good(g: _Graph, conditions: Conditions, inside: str | None) -> str:
    """`(rows, 1)`: conditions in range, nothing NaN or infinite, and features `inside`."""
    parts = [
        *_in_range(g, conditions),
        g.op("LessOrEqual", g.op("Abs", "features"), g.double(np.finfo(np.float64).max)),
    ]
    return _all_true(g, [*parts, *([] if inside is None else [inside])])


def _in_range(g: _Graph, conditions: Conditions) -> list[str]:
    """Whether conditions reach their lower, and their upper ends; NaN does not."""
    return [
        g.op("GreaterOrEqual", "conditions", g.double(conditions.low[None])),
        g.op("LessOrEqual", "conditions", g.double(conditions.high[None])),
    ]


def _all_true(g: _Graph, flags: list[str]) -> str:
    """`(rows, 1)`: whether all columns of all flags are true."""
    every = g.op("Concat", *flags, axis=1)
    return g.cast(g.op("ReduceMin", g.cast(every, np.int64), axes=[1], keepdims=1), np.bool_)


# --- tables --------------------------------------------------------------------------------------


def _find(g: _Graph, value: str, knots: npt.NDArray[np.float64]) -> tuple[str, str]:
    """The last knot that is not greater, -1 if there is none; and the same within the table."""
    below = g.op("GreaterOrEqual", value, g.double(knots[None]))
    k = g.op("Sub", g.count(below, 1), g.ints(1))
    return k, g.op("Clip", k, g.ints(0), g.ints(len(knots) - 2))


def _lines(
    g: _Graph, value: str, x: Any, y: Any, slopes: npt.NDArray[np.float64]
) -> tuple[str, str]:
    """Straight lines from knot to knot, and beyond; and the number of the knot."""
    k, inner = _find(g, value, x)
    width, rise = np.diff(x), np.diff(y)
    x0, y0, w, h = (
        g.op("Gather", g.double(values), inner)
        for values in (x[:-1], y[:-1], np.where(width > 0, width, 1.0), rise)
    )
    share = g.op("Div", g.op("Sub", value, x0), w)
    result = g.op("Add", y0, g.op("Mul", share, h))
    ends = (
        (g.op("Less", k, g.ints(0)), x[0], y[0], slopes[0]),
        (g.op("GreaterOrEqual", k, g.ints(len(x) - 1)), x[-1], y[-1], slopes[1]),
    )
    for beyond, at, level, slope in ends:
        step = g.op("Mul", g.op("Sub", value, g.double(at)), g.double(slope))
        result = g.op("Where", beyond, g.op("Add", g.double(level), step), result)
    return result, k


def _forward_tables(g: _Graph, tables: tuple[Table, ...], values: str, draws: str) -> str:
    """All columns; those on atoms are drawn, in one go for all."""
    smooth, on_atom, probability = [], [], []
    for j, table in enumerate(tables):
        value = g.column(values, j)
        z, k = _lines(g, value, table.x, table.z, table.slopes)
        at = g.op("Max", k, g.ints(0))
        low, high, x = (
            g.op("Gather", g.double(each), at) for each in (table.u_low, table.u_high, table.x)
        )
        owned = g.op("And", g.op("Greater", high, g.double(0)), g.op("Equal", x, value))
        span = g.op("Mul", g.column(draws, j), g.op("Sub", high, low))
        smooth.append(z)
        on_atom.append(owned)
        probability.append(g.op("Add", low, span))
    drawn = _quantile(g, g.op("Concat", *probability, axis=1))
    return g.op("Where", g.op("Concat", *on_atom, axis=1), drawn, g.op("Concat", *smooth, axis=1))


def _inverse_table(g: _Graph, table: Table, z: str) -> str:
    x, _ = _lines(g, z, table.z, table.x, table.stretch)
    return g.op("Round", x) if table.integer else x


def _context(g: _Graph, conditions: Conditions) -> str:
    """float32 `(rows, columns - 1)`, without the switch."""
    # conditions have no atoms: whatever is given for draws is multiplied by 0
    every = _forward_tables(g, conditions.tables, "conditions", "conditions")
    columns = []
    for j in range(len(conditions.tables)):
        value = g.column("conditions", j)
        centred = g.op("Sub", value, g.double(conditions.mean[j]))
        s = g.op("Div", centred, g.double(conditions.width[j]))
        root = g.op("Sqrt", g.op("Add", g.op("Mul", s, s), g.double(1)))
        log = g.op("Log", g.op("Add", g.op("Abs", s), root))
        columns += [g.column(every, j), g.op("Mul", g.op("Sign", s), log)]
    return g.cast(g.op("Concat", *columns, axis=1), np.float32)


def _quantile(g: _Graph, u: str) -> str:
    """`_normal.normal_quantile`."""
    u = g.op("Clip", u, g.double(_normal.TAIL), g.double(1 - _normal.TAIL))
    q = g.op("Sub", u, g.double(0.5))
    r = g.op("Sub", g.double(_normal.SPLIT), g.op("Mul", q, q))
    ratio = _ratio(g, r, _normal.CENTRE_TOP, _normal.CENTRE_BOTTOM)
    centre = g.op("Mul", q, ratio)
    smallest = g.op("Min", u, g.op("Sub", g.double(1), u))
    t = g.op("Sqrt", g.op("Neg", g.op("Log", smallest)))
    t = g.op("Sub", t, g.double(_normal.SHIFT))
    tail = g.op("Mul", g.op("Sign", q), _ratio(g, t, _normal.TAIL_TOP, _normal.TAIL_BOTTOM))
    inner = g.op("LessOrEqual", g.op("Abs", q), g.double(_normal.MIDDLE))
    return g.op("Where", inner, centre, tail)


def _ratio(g: _Graph, x: str, top: tuple[float, ...], bottom: tuple[float, ...]) -> str:
    values = []
    for coefficients in (top, bottom):
        value = g.double(coefficients[0])
        for each in coefficients[1:]:
            value = g.op("Add", g.op("Mul", value, x), g.double(each))
        values.append(value)
    return g.op("Div", *values)


# --- the flow ------------------------------------------------------------------------------------


def _layer(
    g: _Graph, spec: FlowSpec, state: State, layer: int, x: str, context: str, *, inverse: bool
) -> str:
    kept, moved = spec.kept[layer], spec.moved(layer)
    parts = [context]
    if kept:
        seen = g.op("Gather", x, g.ints(kept), axis=1)
        parts.insert(0, g.op("Clip", seen, g.single(-MAX_INPUT), g.single(MAX_INPUT)))
    h = g.op("Concat", *parts, axis=1)
    last = len(spec.hidden)
    for k in range(last + 1):
        h = g.op("MatMul", h, g.single(state[f"{layer}.w{k}"]))
        h = g.op("Add", h, g.single(state[f"{layer}.b{k}"]))
        h = h if k == last else g.op("Relu", h)
    raw = g.op("Reshape", h, g.ints([-1, len(moved), 3 * spec.bins - 1]))
    value = g.op("Gather", x, g.ints(moved), axis=1)
    y = _spline(g, value, raw, spec.bins, inverse=inverse)
    columns = [*kept, *moved]
    if kept:
        y = g.op("Concat", g.op("Gather", x, g.ints(kept), axis=1), y, axis=1)
    return g.op("Gather", y, g.ints(np.argsort(columns)), axis=1)


def _slice(g: _Graph, value: str, start: int, stop: int) -> str:
    return g.op("Slice", value, g.ints([start]), g.ints([stop]), g.ints([2]))


def _edges(g: _Graph, raw: str, bins: int) -> tuple[str, str]:
    """Lower and upper edges of the bins."""
    size = g.op("Softmax", raw, axis=-1)
    size = g.op("Add", g.op("Mul", size, g.single(1 - MIN_SIZE * bins)), g.single(MIN_SIZE))
    sums = g.op("CumSum", size, g.ints(2), exclusive=1)
    lower = g.op("Sub", g.op("Mul", sums, g.single(2 * BOUND)), g.single(BOUND))
    inner = _slice(g, lower, 1, bins)
    upper = g.op("Pad", inner, g.ints([0, 0, 0, 0, 0, 1]), g.single(BOUND))
    return lower, upper


def _spline(g: _Graph, x: str, raw: str, bins: int, *, inverse: bool) -> str:
    """`_spline.spline` of `(rows, features)`."""
    x_low, x_high = _edges(g, _slice(g, raw, 0, bins), bins)
    y_low, y_high = _edges(g, _slice(g, raw, bins, 2 * bins), bins)
    soft = g.op("Softplus", _slice(g, raw, 2 * bins, 3 * bins - 1))
    slopes = g.op("Add", soft, g.single(MIN_SIZE))
    slopes = g.op("Pad", slopes, g.ints([0, 0, 1, 0, 0, 1]), g.single(1))
    bound, none = g.single(BOUND), g.single(0)
    inside = g.op("Less", g.op("Abs", x), bound)
    value = g.op("Where", inside, x, none)
    wide = g.op("Unsqueeze", value, g.ints([2]))
    along = _slice(g, y_low if inverse else x_low, 1, bins)
    at = g.count(g.op("GreaterOrEqual", wide, along), 2)

    def take(values: str, shift: int = 0) -> str:
        index = g.op("Add", at, g.ints(shift)) if shift else at
        return g.op("Squeeze", g.op("GatherElements", values, index, axis=2), g.ints([2]))

    x0, y0 = take(x_low), take(y_low)
    width, height = g.op("Sub", take(x_high), x0), g.op("Sub", take(y_high), y0)
    d0, d1 = take(slopes), take(slopes, 1)
    s = g.op("Div", height, width)
    bend = g.op("Sub", g.op("Add", d0, d1), g.op("Mul", s, g.single(2)))
    if inverse:
        result = _solve(g, g.op("Sub", value, y0), (x0, width, height), (s, bend, d0))
    else:
        t = g.op("Div", g.op("Sub", value, x0), width)
        arch = g.op("Mul", t, g.op("Sub", g.single(1), t))
        top = g.op("Add", g.op("Mul", s, g.op("Mul", t, t)), g.op("Mul", d0, arch))
        below = g.op("Add", s, g.op("Mul", bend, arch))
        result = g.op("Add", y0, g.op("Div", g.op("Mul", height, top), below))
    return g.op("Where", inside, result, x)


def _solve(g: _Graph, rise: str, place: tuple[str, str, str], shape: tuple[str, str, str]) -> str:
    """The stable root of ``a t^2 + b t + c = 0``."""
    x0, width, height = place
    s, bend, d0 = shape
    bent = g.op("Mul", rise, bend)
    a = g.op("Add", g.op("Mul", height, g.op("Sub", s, d0)), bent)
    b = g.op("Sub", g.op("Mul", height, d0), bent)
    c = g.op("Neg", g.op("Mul", s, rise))
    four = g.op("Mul", g.op("Mul", a, c), g.single(4))
    root = g.op("Sqrt", g.op("Max", g.op("Sub", g.op("Mul", b, b), four), g.single(0)))
    below = g.op("Neg", g.op("Add", b, root))
    t = g.op("Div", g.op("Mul", c, g.single(2)), below)
    return g.op("Add", g.op("Mul", t, width), x0)
