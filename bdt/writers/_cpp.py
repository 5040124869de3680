"""A `Forest` as one C++17 header without dependencies: const, no allocation, no threads.

What the header does with an event, in pseudo-code::

    for each group of tests (one feature, one direction of NaN, thresholds rising):
        false_tests = number of thresholds <= x         # < where the forest tests x <= threshold
        t[group] = 1 ... 1 0 ... 0                      # 1: the test is false, go right
        (NaN: all 1 or all 0; category sets: a row of bits for the category)
    sum = base
    for each pack of 8 trees:
        i[8] = 0
        repeat depth times: i[k] = 2 * i[k] + 1 + t[node[k][i[k]]]     # or: next[...] + t[...]
        for k in order: sum += leaf[k][i[k]]

so each distinct test is made once, trees hold two bytes per node, and eight independent chains of
loads hide each other's latency. Additions are those of the library, in its order and type: compile
without ``-ffast-math``. Predictions call the C library's ``exp`` as the training library does.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import ZERO, Forest
from rootml.bdt.writers._cpp_tables import TOGETHER, Group, Tables, lower
from rootml.errors import UnsupportedModelError, UsageError

_KEYWORDS = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t
    char32_t char8_t class co_await co_return co_yield compl concept const const_cast consteval
    constexpr constinit continue decltype default delete do double dynamic_cast else enum
    explicit export extern false float for friend goto if inline int long main mutable
    namespace new noexcept not not_eq nullptr operator or or_eq private protected public
    register reinterpret_cast requires return short signed sizeof static static_assert
    static_cast std struct switch template this thread_local throw true try typedef typeid
    typename union unsigned using virtual void volatile wchar_t while xor xor_eq
"""
_TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


def class_name(path: Path, name: str | None) -> str:
    """The name of the class: the one given, or one made from that of the file.

    Raises:
        UsageError: `name` is none that C++ takes.

    >>> class_name(Path("2024-model.hpp"), None)
    'forest_2024_model'
    """
    keywords = _KEYWORDS.split()
    if name is not None:
        if not re.fullmatch(r"[A-Za-z](_?[A-Za-z0-9])*", name) or name in keywords:
            message = (
                f"name={name!r} cannot name a C++ class: letters, digits and single underscores, "
                "a letter first, no keyword"
            )
            raise UsageError(message)
        return name
    made = re.sub(r"[^A-Za-z0-9]+", "_", path.name.split(".")[0]).strip("_")
    is_fine = made[:1].isalpha() and made not in keywords
    return made if is_fine else f"forest_{made or 'model'}"


def cpp_header(forest: Forest, name: str) -> str:
    """The text of the header with a struct `name`.

    Raises:
        UnsupportedModelError: Too large, or with the links "probit" and "softmax_zero".
    """
    tables = lower(forest)
    real, value = _TYPES[forest.input_dtype], _TYPES[forest.dtype]
    body = _TEMPLATE.format(
        name=name,
        real=real,
        value=value,
        features=forest.num_features,
        outputs=forest.num_outputs,
        predictions=1 if forest.link == "argmax" else forest.num_outputs,
        names=", ".join(map(_text, forest.names)),
        objective=_text(forest.objective),
        tables=_tables(tables, forest),
        tests=tables.num_tests + 1,
        clean=_clean(forest),
        numeric=_numeric(tables, forest),
        sets="\n".join(_sets(number, group, forest) for number, group in _set_groups(tables)),
        begin=_begin(forest),
        walk=_walk(tables, forest),
        finish=_finish(forest),
        link=_link(forest),
        single=_SINGLE.format(real=real, value=value)
        if forest.num_outputs == 1 or forest.link == "argmax"
        else "",
    )
    # different models of one name have different symbols, so that libraries do not mix them up
    digest = hashlib.sha256(body.encode()).hexdigest()[:16]
    guard = f"ROOTML_FOREST_{digest.upper()}"
    about = f"{forest.num_trees} trees of depth {forest.depth}, {forest.num_features} features"
    return (
        f"// Made by rootml: {about}, trained by {forest.library}.\n"
        f"#ifndef {guard}\n#define {guard}\n{body.replace('@digest@', digest)}\n#endif\n"
    )


# --- literals ------------------------------------------------------------------------------------


def _text(words: str) -> str:
    """A string literal of plain ASCII, whatever is in `words`."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in words.encode()
    )
    return f'"{plain}"'


def _number(value: Any) -> str:
    """A literal that the compiler rounds to exactly this float."""
    kind = "float" if isinstance(value, np.float32) else "double"
    if math.isnan(value):
        return f"std::numeric_limits<{kind}>::quiet_NaN()"
    if math.isinf(value):
        sign = "-" if value < 0 else ""
        return f"{sign}std::numeric_limits<{kind}>::infinity()"
    text = str(value)
    if "." not in text and "e" not in text:
        text += ".0"
    return f"{text}f" if kind == "float" else text


def _array(kind: str, name: str, values: Iterable[Any]) -> str:
    """An array; one zero where there would be none."""
    words = [_number(v) if isinstance(v, np.floating) else str(int(v)) for v in values] or ["0"]
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > 96:
            lines.append(line)
            line = ""
        line += word + ","
    lines.append(line)
    return f"inline constexpr {kind} {name}[] = {{\n" + "\n".join(lines) + "\n};\n"


def _unsigned(most: int) -> str:
    return "std::uint16_t" if most < 2**16 else "std::uint32_t"


def _largest(values: NDArray[Any]) -> int:
    return int(values.max(initial=0))


def _set_groups(tables: Tables) -> list[tuple[int, Group]]:
    return [(i, group) for i, group in enumerate(tables.groups) if group.bits.size]


def _numeric_groups(tables: Tables) -> list[Group]:
    return [group for group in tables.groups if not group.bits.size]


def _tables(tables: Tables, forest: Forest) -> str:
    real, value = _TYPES[forest.input_dtype], _TYPES[forest.dtype]
    numeric = _numeric_groups(tables)
    thresholds = np.concatenate(
        [np.zeros(0, forest.input_dtype), *(group.thresholds for group in numeric)]
    )
    parts = [
        _array(real, "threshold", thresholds),
        _array("std::uint32_t", "group_feature", (group.feature for group in numeric)),
        _array("std::uint32_t", "group_begin", (group.begin for group in numeric)),
        _array("std::uint32_t", "group_count", (group.count for group in numeric)),
        _array("std::uint8_t", "group_nan", (group.nan_right for group in numeric)),
        _array("std::uint8_t", "depth", tables.depth),
        _array(_unsigned(tables.num_tests), "node", tables.node),
        _array("std::uint32_t", "tree_node", tables.tree),
        _array("std::uint32_t", "tree_leaf", tables.leaf * forest.leaf_width),
        _array(value, "leaf", tables.value.ravel()),
        _array(value, "base", forest.base),
    ]
    if not tables.is_perfect:
        parts.append(_array(_unsigned(_largest(tables.next)), "next", tables.next))
    if forest.leaf_width == 1 and forest.num_outputs > 1:
        parts.append(_array("std::uint32_t", "tree_output", forest.tree_output))
    if np.any(forest.zero_missing):
        parts.append(_array("std::uint8_t", "zero_missing", forest.zero_missing))
    for number, group in _set_groups(tables):
        rows = np.packbits(group.bits, axis=1, bitorder="little")
        parts.append(_array("std::int32_t", f"category{number}", group.values))
        parts.append(_array("std::uint8_t", f"right{number}", rows.ravel()))
    return "\n".join(parts)


# --- pieces of the functions ---------------------------------------------------------------------


def _clean(forest: Forest) -> str:
    """What happens to the inputs before the tests."""
    lines = []
    if not math.isnan(forest.missing):
        marker = _number(forest.input_dtype.type(forest.missing))
        lines.append(f"if (v == {marker}) v = nan;")
    if np.any(forest.zero_missing):
        limit = _number(forest.input_dtype.type(ZERO))
        lines.append(f"if (T::zero_missing[f] && v >= -{limit} && v <= {limit}) v = nan;")
    return "\n    ".join(lines)


def _numeric(tables: Tables, forest: Forest) -> str:
    if not _numeric_groups(tables):
        return ""
    compare = "<=" if forest.comparison == "<" else "<"
    return _NUMERIC.format(groups=len(_numeric_groups(tables)), compare=compare)


def _sets(number: int, group: Group, forest: Forest) -> str:
    code = {
        "floor": "v >= 0 && v < 16777216 ? static_cast<std::int32_t>(v) : -1",
        "truncate": "v > -1 && v < 16777216 ? static_cast<std::int32_t>(v) : -1",
        "exact": "v >= 0 && v < 16777216 && v == static_cast<input_type>("
        "static_cast<std::int32_t>(v)) ? static_cast<std::int32_t>(v) : -1",
    }[forest.category_rule]
    return _SETS.format(
        number=number,
        feature=group.feature,
        begin=group.begin,
        count=group.count,
        nan_right=int(group.nan_right),
        values=len(group.values),
        width=-(-group.count // 8),
        code=code,
    )


def _begin(forest: Forest) -> str:
    source = "T::base[k]" if forest.base_first else "0"
    return f"for (std::size_t k = 0; k < num_outputs; ++k) out[k] = {source};"


def _walk(tables: Tables, forest: Forest) -> str:
    width, outputs = forest.leaf_width, forest.num_outputs
    if not forest.num_trees:
        return ""
    if width > 1:
        add = f"for (std::size_t k = 0; k < {width}; ++k) out[k] += leaf[{width} * at + k];"
    elif outputs > 1:
        add = "out[T::tree_output[tree]] += leaf[at];"
    else:
        add = "sum += leaf[at];"
    step = (
        "i{k} = 2 * i{k} + 1 + t[n{k}[i{k}]];"
        if tables.is_perfect
        else "i{k} = m{k}[i{k}] + t[n{k}[i{k}]];"
    )
    begin = "const auto* n{k} = T::node + T::tree_node[p + {k}];"
    if not tables.is_perfect:
        begin += " const auto* m{k} = T::next + T::tree_node[p + {k}];"
    begin += " std::uint32_t i{k} = 0;"
    leaf = "i{k} - inner" if tables.is_perfect else "i{k}"
    inner = "(std::uint32_t(1) << depth) - 1" if tables.is_perfect else "0"

    def packs(first: int, end: int, together: int) -> str:
        """A loop over packs of `together` trees."""
        each = range(together)
        return _PACKS.format(
            first=first,
            end=end,
            together=together,
            pack=TOGETHER,
            inner=inner,
            start="\n      ".join(begin.format(k=k) for k in each),
            steps="\n        ".join(step.format(k=k) for k in each),
            adds="\n      ".join(f"add(p + {k}, {leaf.format(k=k)});" for k in each),
        )

    whole = forest.num_trees // TOGETHER * TOGETHER
    single = width == 1 and outputs == 1
    return _WALK.format(
        add=add,
        packs=packs(0, whole, TOGETHER) if whole else "",
        rest=packs(whole, forest.num_trees, 1) if whole < forest.num_trees else "",
        first="output_type sum = out[0];" if single else "",
        last="out[0] = sum;" if single else "",
    )


def _finish(forest: Forest) -> str:
    lines = []
    if forest.divisor != 1:
        divisor = _number(forest.dtype.type(forest.divisor))
        lines.append(f"for (std::size_t k = 0; k < num_outputs; ++k) out[k] /= {divisor};")
    if not forest.base_first:
        lines.append("for (std::size_t k = 0; k < num_outputs; ++k) out[k] += T::base[k];")
    if not forest.allow_nan:
        lines.append(
            "for (std::size_t f = 0; f < num_features; ++f)\n"
            "      if (x[f] != x[f])  // the library refuses NaN\n"
            "        for (std::size_t k = 0; k < num_outputs; ++k)\n"
            "          out[k] = std::numeric_limits<output_type>::quiet_NaN();"
        )
    return "\n    ".join(lines)


def _link(forest: Forest) -> str:
    """From `out`, the margins, to predictions in place."""
    scale = _number(forest.dtype.type(forest.link_scale))
    each = {
        # XGBoost calls the double exp in aft_obj.cu, the float one elsewhere
        "exp": "static_cast<output_type>(std::exp(static_cast<double>(m)))"
        if forest.objective == "survival:aft"
        else "std::exp(m)",
        "hinge": "output_type(m > 0 ? 1 : 0)",
        "identity": "m",
        "sigmoid": _sigmoid(forest, scale),
        "signed_square": "m * std::abs(m)",
        "softplus": "std::log1p(std::exp(m))",
        "tanh": "output_type(2) / (1 + std::exp(output_type(-2) * m)) - 1",
    }
    if forest.link in each:
        return (
            "for (std::size_t k = 0; k < num_outputs; ++k) {\n"
            "      const output_type m = out[k];\n"
            f"      out[k] = {each[forest.link]};\n    }}"
        )
    if forest.link == "argmax":
        return _ARGMAX
    if forest.link == "softmax":
        total = "double" if forest.library == "xgboost" else "output_type"
        return _SOFTMAX.format(total=total)
    message = f"to_cpp() of a forest with the link {forest.link!r}"
    raise UnsupportedModelError(message)


def _sigmoid(forest: Forest, scale: str) -> str:
    if forest.library == "xgboost":
        return "1.0f / (std::exp(-m < 88.7f ? -m : 88.7f) + 1.0f + 1e-16f)"
    if forest.library == "onnx":
        return "m < 0 ? 1 - 1 / (1 + std::exp(-std::abs(m))) : 1 / (1 + std::exp(-std::abs(m)))"
    return f"1 / (1 + std::exp(-{scale} * m))"


# --- the text ------------------------------------------------------------------------------------

_TEMPLATE = """\
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace rootml {{
inline namespace forest_@digest@ {{
namespace {name}_tables {{
{tables}
}}  // namespace {name}_tables

struct {name} {{
  using input_type = {real};
  using output_type = {value};
  static constexpr std::size_t num_features = {features};
  static constexpr std::size_t num_outputs = {outputs};          // margins of an event
  static constexpr std::size_t num_predictions = {predictions};  // predictions of an event

  static const char* feature_name(std::size_t i) noexcept {{
    static const char* const names[] = {{{names}}};
    return i < num_features ? names[i] : "";
  }}
  static const char* objective() noexcept {{ return {objective}; }}

  /// Margins of the event at x[0], ..., x[num_features - 1].
  void margin(const input_type* x, output_type* out) const noexcept {{
    namespace T = {name}_tables;
    std::uint8_t t[{tests}];
    t[{tests} - 1] = 0;
    run_tests(x, t);
    {begin}
    {walk}
    {finish}
  }}

  /// Predictions of the event, as the training library's predict().
  void predict(const input_type* x, output_type* out) const noexcept {{
    output_type margins[num_outputs];
    margin(x, margins);
    link(margins);
    for (std::size_t k = 0; k < num_predictions; ++k) out[k] = margins[k];
  }}

  /// Margins and predictions of `rows` events behind one another, features of an event together.
  void margin(const input_type* x, std::size_t rows, output_type* out) const noexcept {{
    for (std::size_t row = 0; row < rows; ++row)
      margin(x + row * num_features, out + row * num_outputs);
  }}
  void predict(const input_type* x, std::size_t rows, output_type* out) const noexcept {{
    for (std::size_t row = 0; row < rows; ++row)
      predict(x + row * num_features, out + row * num_predictions);
  }}
{single}
 private:
  static input_type clean(input_type v, std::size_t f) noexcept {{
    constexpr input_type nan = std::numeric_limits<input_type>::quiet_NaN();
    namespace T = {name}_tables;
    (void)nan;
    (void)f;
    {clean}
    return v;
  }}

  /// For each distinct test whether it is false: 1, go right.
  static void run_tests(const input_type* x, std::uint8_t* t) noexcept {{
    namespace T = {name}_tables;
    (void)x;
    (void)t;
    {numeric}
    {sets}
  }}

  static void link(output_type* out) noexcept {{
    {link}
  }}
}};

}}  // namespace forest_@digest@
}}  // namespace rootml"""

_SINGLE = """
  /// The prediction of one event.
  {value} operator()(const {real}* x) const noexcept {{
    {value} out;
    predict(x, &out);
    return out;
  }}
  /// The same from one number for each feature, in their order.
  template <class... A, class = std::enable_if_t<sizeof...(A) == num_features &&
                                                 (... && std::is_arithmetic<A>::value)>>
  {value} operator()(A... x) const noexcept {{
    const {real} row[] = {{static_cast<{real}>(x)...}};
    return (*this)(static_cast<const {real}*>(row));
  }}
"""

_NUMERIC = """\
for (std::size_t g = 0; g < {groups}; ++g) {{
      const std::size_t f = T::group_feature[g], begin = T::group_begin[g];
      std::size_t count = T::group_count[g], low = 0;
      const input_type v = clean(x[f], f);
      const input_type* threshold = T::threshold + begin;
      if (v != v) {{
        std::memset(t + begin, T::group_nan[g], count);
        continue;
      }}
      for (std::size_t left = count; left > 1;) {{
        const std::size_t half = left / 2;
        low += threshold[low + half - 1] {compare} v ? half : 0;
        left -= half;
      }}
      low += threshold[low] {compare} v ? 1 : 0;
      std::memset(t + begin, 1, low);
      std::memset(t + begin + low, 0, count - low);
    }}"""

_SETS = """\
    {{
      const input_type v = clean(x[{feature}], {feature});
      if (v != v) {{
        std::memset(t + {begin}, {nan_right}, {count});
      }} else {{
        const std::int32_t code = {code};
        std::size_t low = 0;
        for (std::size_t left = {values}; left > 1;) {{
          const std::size_t half = left / 2;
          low += T::category{number}[low + half - 1] < code ? half : 0;
          left -= half;
        }}
        if ({values} == 0 || T::category{number}[low] != code) low = {values};
        const std::uint8_t* row = T::right{number} + low * {width};
        for (std::size_t j = 0; j < {count}; ++j)
          t[{begin} + j] = static_cast<std::uint8_t>((row[j / 8] >> (j % 8)) & 1);
      }}
    }}"""

_WALK = """\
{first}
    const auto add = [&](std::size_t tree, std::uint32_t at) {{
      const output_type* leaf = T::leaf + T::tree_leaf[tree];
      (void)tree;
      {add}
    }};
    {packs}
    {rest}
    {last}"""

_PACKS = """\
for (std::size_t p = {first}; p < {end}; p += {together}) {{
      const std::uint32_t depth = T::depth[p / {pack}];
      const std::uint32_t inner = {inner};
      (void)inner;
      {start}
      for (std::uint32_t d = 0; d < depth; ++d) {{
        {steps}
      }}
      {adds}
    }}"""

_ARGMAX = """\
std::size_t best = 0;
    for (std::size_t k = 1; k < num_outputs; ++k)
      if (out[best] < out[k]) best = k;
    out[0] = static_cast<output_type>(best);"""

_SOFTMAX = """\
output_type most = out[0];
    for (std::size_t k = 1; k < num_outputs; ++k) most = out[k] > most ? out[k] : most;
    {total} total = 0;
    for (std::size_t k = 0; k < num_outputs; ++k) total += out[k] = std::exp(out[k] - most);
    for (std::size_t k = 0; k < num_outputs; ++k) out[k] /= static_cast<output_type>(total);"""
