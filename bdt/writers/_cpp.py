"""A `Forest` as one C++17 header without dependencies: const, no state, no threads.

What the header does with one event, in pseudo-code::

    for each group of tests (thresholds of one feature, rising):
        rank = number of tests that are false        # not x < threshold, or not x <= threshold
        t[group] = 1 ... 1 0 ... 0                   # 1: the test is false, go right
        (NaN: all 1 or all 0; category sets: a row of bits for the category)
    sum = base
    for each pack of 8 trees:
        i[8] = 0
        repeat depth times: i[k] = 2 * i[k] + 1 + t[node[k][i[k]]]     # or: next[...] + t[...]
        for k in order: sum += leaf[k][i[k]]

so each distinct test is made once, trees hold two bytes per node, and eight independent chains of
loads hide each other's latency. Many events are scored in blocks, in vector registers; `cpp/`
holds that part, which is in the header where trees are perfect and at most 8 levels deep. It is
chosen at run time by the processor (AVX-512, AVX2; NEON by the compiler), and left out with
``ROOTML_FOREST_SCALAR``. Additions are those of the library, in its order and type, and nothing
can be contracted to fused operations; ``-ffast-math`` is refused. Predictions call the C library's
``exp`` as the training library does.
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
from rootml.bdt.engine.tables._predicates import search_tree
from rootml.bdt.writers._cpp_links import link_code
from rootml.bdt.writers._cpp_tables import TOGETHER, Tables, lower
from rootml.errors import UsageError

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
_VECTOR_DEPTH = 8
"""Of the deepest trees that are scored in blocks."""
_PROCESSORS = {
    "avx512": (64, 8, "avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,gfni"),
    "avx2": (32, 6, "avx2"),
    "neon": (16, 6, ""),
}
"""Bytes of a mask, depth of the trees whose leaves are looked up in registers, instructions."""
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
    in_blocks = (
        forest.num_trees > 0 and tables.is_perfect and tables.depth.max(initial=0) <= _VECTOR_DEPTH
    )
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
        clean=_clean(forest),
        compare="<=" if forest.comparison == "<=" else "<",
        code=_category_code(forest),
        first_sum="base[k]" if forest.base_first else "0",
        walk=_walk(tables, forest),
        finish=_finish(forest),
        link=link_code(forest, _number(forest.dtype.type(forest.link_scale))),
        single=_SINGLE.format(real=real, value=value)
        if forest.num_outputs == 1 or forest.link == "argmax"
        else "",
    )
    body = body.replace(
        "@blocks@", _blocks(tables, name) if in_blocks else _NO_BLOCKS.replace("@name@", name)
    )
    # different models of one name have different symbols, so that libraries do not mix them up
    digest = hashlib.sha256(body.encode()).hexdigest()[:16]
    guard = f"ROOTML_FOREST_{digest.upper()}"
    about = f"{forest.num_trees} trees of depth {forest.depth}, {forest.num_features} features"
    return (
        f"// Made by rootml: {about}, trained by {forest.library}.\n"
        f"#ifndef {guard}\n#define {guard}\n{_PREAMBLE}"
        f"{body.replace('@digest@', digest)}\n#endif\n"
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


def _unsigned(maximum: int) -> str:
    return "std::uint16_t" if maximum < 2**16 else "std::uint32_t"


def _largest(values: NDArray[Any]) -> int:
    return int(values.max(initial=0))


def _tables(tables: Tables, forest: Forest) -> str:
    value = _TYPES[forest.dtype]
    parts = [
        *_constants(tables, forest),
        *_numeric_tables(tables, forest),
        *_set_tables(tables),
        _array("std::uint8_t", "depth", tables.depth),
        _array(_unsigned(tables.num_tests), "node", tables.node),
        _array("std::uint32_t", "tree_node", tables.tree),
        _array("std::uint32_t", "tree_leaf", tables.leaf * forest.leaf_width),
        _array(value, "leaf", tables.value.ravel()),
        _array(value, "base", forest.base),
    ]
    if not tables.is_perfect:
        parts.append(_array(_unsigned(_largest(tables.next)), "next", tables.next))
    by_tree = forest.leaf_width == 1 and forest.num_outputs > 1
    if by_tree:
        parts.append(_array("std::uint32_t", "tree_output", forest.tree_output))
    output = "tree_output[tree]" if by_tree else "tree & 0"
    parts.append(f"inline std::size_t output_of(std::size_t tree) {{ return {output}; }}\n")
    if np.any(forest.zero_missing):
        parts.append(_array("std::uint8_t", "zero_missing", forest.zero_missing))
    return "\n".join(parts)


def _constants(tables: Tables, forest: Forest) -> list[str]:
    sizes = {
        "num_features": forest.num_features, "num_outputs": forest.num_outputs,
        "num_trees": forest.num_trees, "num_tests": tables.num_tests,
        "num_groups": len(tables.groups), "num_sets": len(tables.sets),
        "leaf_width": forest.leaf_width, "together": TOGETHER,
    }  # fmt: skip
    or_equal = "true" if forest.comparison == "<=" else "false"
    return [
        f"using input_type = {_TYPES[forest.input_dtype]};",
        f"using output_type = {_TYPES[forest.dtype]};",
        *(f"constexpr std::size_t {name} = {size};" for name, size in sizes.items()),
        f"constexpr bool or_equal = {or_equal};",
        "constexpr std::uint32_t none = 0xffffffff;",
    ]


def _numeric_tables(tables: Tables, forest: Forest) -> list[str]:
    groups = tables.groups
    heaps = [search_tree(group.thresholds, group.levels) for group in groups]
    starts = np.cumsum([0, *map(len, heaps)])
    heap = np.concatenate([np.zeros(0, forest.input_dtype), *heaps])
    return [
        _array(_TYPES[forest.input_dtype], "heap", heap),
        _array("std::uint32_t", "group_feature", (group.feature for group in groups)),
        _array("std::uint32_t", "group_heap", starts[:-1]),
        _array("std::uint8_t", "group_levels", (group.levels for group in groups)),
        _array("std::uint8_t", "group_count", (len(group.thresholds) for group in groups)),
        _array("std::uint32_t", "group_right", (group.right % 2**32 for group in groups)),
        _array("std::uint32_t", "group_left", (group.left % 2**32 for group in groups)),
    ]


def _set_tables(tables: Tables) -> list[str]:
    groups = tables.sets
    packed = [group.packed for group in groups]
    starts = np.cumsum([0, *(bits.size for bits in packed)])
    values = np.cumsum([0, *(len(group.values) for group in groups)])
    none = np.zeros(0, np.uint8)
    return [
        _array("std::uint32_t", "set_feature", (group.feature for group in groups)),
        _array("std::uint32_t", "set_begin", (group.begin for group in groups)),
        _array("std::uint32_t", "set_count", (group.count for group in groups)),
        _array("std::uint8_t", "set_nan_right", (group.nan_right for group in groups)),
        _array("std::uint32_t", "set_bytes", (len(bits) for bits in packed)),
        _array("std::uint32_t", "set_table", starts[:-1]),
        _array("std::uint8_t", "set_bits", np.concatenate([none, *map(np.ravel, packed)])),
        _array("std::uint32_t", "set_values", values),
        _array("std::int32_t", "set_value",
               np.concatenate([none, *(group.values for group in groups)])),
    ]  # fmt: skip


# --- pieces of the functions ---------------------------------------------------------------------


def _clean(forest: Forest) -> str:
    """What happens to the inputs before the tests."""
    lines = []
    if not math.isnan(forest.missing):
        marker = _number(forest.input_dtype.type(forest.missing))
        lines.append(f"if (v == {marker}) v = nan;")
    if np.any(forest.zero_missing):
        limit = _number(forest.input_dtype.type(ZERO))
        lines.append(f"if (zero_missing[f] && v >= -{limit} && v <= {limit}) v = nan;")
    return "\n    ".join(lines)


def _category_code(forest: Forest) -> str:
    """The category of `v` as an integer, or -1."""
    return {
        "floor": "v >= 0 && v < 16777216 ? static_cast<std::int32_t>(v) : -1",
        "truncate": "v > -1 && v < 16777216 ? static_cast<std::int32_t>(v) : -1",
        "exact": "v >= 0 && v < 16777216 && v == static_cast<input_type>("
        "static_cast<std::int32_t>(v)) ? static_cast<std::int32_t>(v) : -1",
    }[forest.category_rule]


def _blocks(tables: Tables, name: str) -> str:
    """What scores many events at once, for each processor."""
    depths = sorted(set(tables.depth.tolist()))
    cases = "\n".join(
        f"      case {depth}: tree<{depth}>(w.masks, node, leaf, w, output); break;"
        for depth in depths
    )
    made = {}
    for isa, (width, register_depth, target) in _PROCESSORS.items():
        text = _resource("block.hpp").replace("@primitives@", _resource(f"{isa}.hpp"))
        values = {"isa": isa, "name": name, "width": width, "register_depth": register_depth,
                  "cases": cases}  # fmt: skip
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        made[isa] = text if not target else _targeted(text, target)
    return (
        "#if defined(ROOTML_FOREST_X86)\n#if !defined(ROOTML_FOREST_NO_AVX512)\n"
        f"{made['avx512']}\n#endif\n{made['avx2']}\n"
        f"#elif defined(ROOTML_FOREST_NEON)\n{made['neon']}\n#endif\n"
        + _resource("run.hpp").replace("@name@", name)
    )


def _targeted(text: str, target: str) -> str:
    """The text compiled for a set of instructions, whatever the compiler's options are."""
    return (
        "#if defined(__clang__)\n"
        f'#pragma clang attribute push(__attribute__((target("{target}"))), apply_to = function)\n'
        f'#else\n#pragma GCC push_options\n#pragma GCC target("{target}")\n'
        "#pragma GCC diagnostic push\n"
        "// in its own headers:\n"
        '#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"\n'
        '#pragma GCC diagnostic ignored "-Wuninitialized"\n#endif\n'
        f"{text}"
        "#if defined(__clang__)\n#pragma clang attribute pop\n"
        "#else\n#pragma GCC diagnostic pop\n#pragma GCC pop_options\n#endif\n"
    )


def _resource(file: str) -> str:
    return (Path(__file__).parent / "cpp" / file).read_text(encoding="ascii")


def _walk(tables: Tables, forest: Forest) -> str:
    """All trees for one event, `TOGETHER` side by side, then the rest one by one."""
    if not forest.num_trees:
        return ""
    width, outputs = forest.leaf_width, forest.num_outputs
    if width > 1:
        add = f"for (std::size_t k = 0; k < {width}; ++k) out[k] += leaf[{width} * at + k];"
    elif outputs > 1:
        add = "out[T::tree_output[tree]] += leaf[at];"
    else:
        add = "sum += leaf[at];"
    single = width == 1 and outputs == 1
    whole = forest.num_trees // TOGETHER * TOGETHER
    packs = _perfect_packs if tables.is_perfect else _linked_packs
    parts = ((0, whole, TOGETHER), (whole, forest.num_trees, 1))
    return _WALK.format(
        add=add,
        packs="\n    ".join(packs(tables, *part) for part in parts if part[0] < part[1]),
        first="output_type sum = out[0];" if single else "",
        last="out[0] = sum;" if single else "",
    )


def _perfect_packs(tables: Tables, first: int, end: int, together: int) -> str:
    """A loop over packs of perfect trees; a case for each depth, with constant distances."""
    depths = tables.depth[first // TOGETHER : -(-end // TOGETHER)]
    cases = []
    for depth in sorted(set(depths.tolist())):
        size, each = 2**depth - 1, range(together)
        cases.append(
            _PERFECT_CASE.format(
                depth=depth,
                start=", ".join(f"i{k} = {k * size}" for k in each),
                steps="\n            ".join(
                    f"i{k} = 2 * i{k} + {1 - k * size}u + t[n[i{k}]];".replace("+ -", "- ")
                    for k in each
                ),
                adds="\n          ".join(f"add(p + {k}, i{k} - {(k + 1) * size});" for k in each),
            )
        )
    return _PERFECT_PACKS.format(
        first=first, end=end, together=together, pack=TOGETHER, cases="\n".join(cases)
    )


def _linked_packs(tables: Tables, first: int, end: int, together: int) -> str:
    """A loop over packs of trees that lie node by node."""
    del tables
    each = range(together)
    begin = (
        "const auto *n{k} = T::node + T::tree_node[p + {k}], "
        "*m{k} = T::next + T::tree_node[p + {k}]; std::uint32_t i{k} = 0;"
    )
    return _LINKED_PACKS.format(
        first=first,
        end=end,
        together=together,
        pack=TOGETHER,
        start="\n      ".join(begin.format(k=k) for k in each),
        steps="\n        ".join(f"i{k} = m{k}[i{k}] + t[n{k}[i{k}]];" for k in each),
        adds="\n      ".join(f"add(p + {k}, i{k});" for k in each),
    )


def _finish(forest: Forest) -> str:
    lines = []
    if forest.divisor != 1:
        divisor = _number(forest.dtype.type(forest.divisor))
        lines.append(f"for (std::size_t k = 0; k < num_outputs; ++k) out[k] /= {divisor};")
    if not forest.base_first:
        lines.append("for (std::size_t k = 0; k < num_outputs; ++k) out[k] += base[k];")
    if not forest.allow_nan:
        lines.append(
            "for (std::size_t f = 0; f < num_features; ++f)\n"
            "    if (x[f] != x[f])  // the library refuses NaN\n"
            "      for (std::size_t k = 0; k < num_outputs; ++k)\n"
            "        out[k] = std::numeric_limits<output_type>::quiet_NaN();"
        )
    return "\n  ".join(lines)


# --- the text ------------------------------------------------------------------------------------

_PREAMBLE = """\
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <type_traits>

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ > 0)
#error "a rootml forest: compile without -ffast-math, which reorders sums and ignores NaN"
#endif
#if !defined(ROOTML_FOREST_INLINE)
#define ROOTML_FOREST_INLINE
#if !defined(ROOTML_FOREST_SCALAR) && defined(__GNUC__)
#if defined(__x86_64__)
#define ROOTML_FOREST_X86
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(__AARCH64EB__)
#define ROOTML_FOREST_NEON
#include <arm_neon.h>
#endif
#define ROOTML_INLINE inline __attribute__((always_inline))
#define ROOTML_LAMBDA __attribute__((always_inline))
#if defined(__CLING__)
#define ROOTML_UNROLL  // which warns where it does not
#elif defined(__clang__)
#define ROOTML_UNROLL _Pragma("unroll")
#else
#define ROOTML_UNROLL _Pragma("GCC unroll 64")
#endif
#endif
#endif

"""

_TEMPLATE = """\
namespace rootml {{
inline namespace forest_@digest@ {{
namespace {name}_tables {{
{tables}

inline input_type clean(input_type v, std::size_t f) noexcept {{
  constexpr input_type nan = std::numeric_limits<input_type>::quiet_NaN();
  (void)nan;
  (void)f;
  {clean}
  return v;
}}

/// 1 where the test is false.
inline std::uint32_t goes_right(input_type x, input_type threshold) noexcept {{
  return x {compare} threshold ? 0 : 1;
}}

/// The number of a category among those of a group of sets; the last for all others.
inline std::size_t category_number(std::size_t g, input_type v) noexcept {{
  const std::int32_t code = {code};
  const std::int32_t* value = set_value + set_values[g];
  const std::size_t count = set_values[g + 1] - set_values[g];
  if (code < 0 || count == 0) return count;
  if (static_cast<std::size_t>(code) < count && value[code] == code)
    return static_cast<std::size_t>(code);
  std::size_t low = 0;
  for (std::size_t left = count; left > 1;) {{
    const std::size_t half = left / 2;
    low += value[low + half - 1] < code ? half : 0;
    left -= half;
  }}
  return value[low] == code ? low : count;
}}

inline output_type first_sum(std::size_t k) noexcept {{
  (void)k;
  return {first_sum};
}}

/// From sums to margins.
inline void finish(const input_type* x, output_type* out) noexcept {{
  (void)x;
  (void)out;
  {finish}
}}

/// 256 times 1, then zeros: a rank as results of tests.
struct step_table {{
  std::uint8_t at[576] = {{}};
  constexpr step_table() {{
    for (std::size_t i = 0; i < 256; ++i) at[i] = 1;
  }}
}};
inline constexpr step_table steps;

/// For each distinct test whether it is false: 1, go right. Writes up to 31 bytes more.
inline void run_tests(const input_type* x, std::uint8_t* t) noexcept {{
  const auto fill = [t](std::size_t begin, std::size_t rank, std::size_t count) {{
    for (std::size_t j = 0; j < count; j += 32)
      std::memcpy(t + begin + j, steps.at + 256 - rank + j, 32);
  }};
  for (std::size_t g = 0; g < num_groups; ++g) {{
    const std::size_t f = group_feature[g], count = group_count[g];
    const std::uint32_t levels = group_levels[g];
    const input_type v = clean(x[f], f);
    const input_type* tree = heap + group_heap[g];
    std::uint32_t h = 1;
    for (std::uint32_t level = 0; level < levels; ++level) h = 2 * h + goes_right(v, tree[h]);
    const std::size_t rank = h - (1u << levels);
    if (group_right[g] != none) fill(group_right[g], rank, count);
    if (group_left[g] != none) fill(group_left[g], v == v ? rank : 0, count);
  }}
  for (std::size_t g = 0; g < num_sets; ++g) {{
    const std::size_t f = set_feature[g], count = set_count[g];
    const input_type v = clean(x[f], f);
    if (v != v) {{
      std::memset(t + set_begin[g], set_nan_right[g], count);
      continue;
    }}
    const std::size_t number = category_number(g, v);
    const std::uint8_t* row = set_bits + set_table[g] + number / 8 * count;
    for (std::size_t j = 0; j < count; ++j)
      t[set_begin[g] + j] = static_cast<std::uint8_t>((row[j] >> (number % 8)) & 1);
  }}
}}
}}  // namespace {name}_tables
@blocks@
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
    std::uint8_t t[T::num_tests + 32];
    T::run_tests(x, t);
    t[T::num_tests] = 0;
    for (std::size_t k = 0; k < num_outputs; ++k) out[k] = T::first_sum(k);
    {walk}
    T::finish(x, out);
  }}

  /// Predictions of the event, as the training library's predict().
  void predict(const input_type* x, output_type* out) const noexcept {{
    output_type margins[num_outputs];
    margin(x, margins);
    link(margins);
    for (std::size_t k = 0; k < num_predictions; ++k) out[k] = margins[k];
  }}

  /// Margins and predictions of `rows` events behind one another, features of an event together.
  /// Many events are scored in blocks, in memory that is allocated once for the call.
  void margin(const input_type* x, std::size_t rows, output_type* out) const noexcept {{
    for_each(x, rows, [out](std::size_t row, output_type* margins) {{
      for (std::size_t k = 0; k < num_outputs; ++k) out[row * num_outputs + k] = margins[k];
    }});
  }}
  void predict(const input_type* x, std::size_t rows, output_type* out) const noexcept {{
    for_each(x, rows, [out](std::size_t row, output_type* margins) {{
      link(margins);
      for (std::size_t k = 0; k < num_predictions; ++k)
        out[row * num_predictions + k] = margins[k];
    }});
  }}
{single}
 private:
  template <class Use>
  void for_each(const input_type* x, std::size_t rows, const Use& use) const noexcept {{
    std::size_t row = {name}_tables::run_blocks(x, rows, use);
    for (; row < rows; ++row) {{
      output_type margins[num_outputs];
      margin(x + row * num_features, margins);
      use(row, margins);
    }}
  }}

  static void link(output_type* out) noexcept {{
    {link}
  }}
}};

}}  // namespace forest_@digest@
}}  // namespace rootml"""

_NO_BLOCKS = """
namespace @name@_tables {
template <class Use>
std::size_t run_blocks(const input_type*, std::size_t, const Use&) noexcept {
  return 0;  // deep or irregular trees: event by event
}
}  // namespace @name@_tables
"""

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

_WALK = """\
{first}
    const auto add = [&](std::size_t tree, std::uint32_t at) {{
      const output_type* leaf = T::leaf + T::tree_leaf[tree];
      (void)tree;
      {add}
    }};
    {packs}
    {last}"""

_PERFECT_PACKS = """\
for (std::size_t p = {first}; p < {end}; p += {together}) {{
      const auto* n = T::node + T::tree_node[p];
      switch (T::depth[p / {pack}]) {{
{cases}
        default: break;
      }}
    }}"""

_PERFECT_CASE = """\
        case {depth}: {{
          std::uint32_t {start};
          for (int level = 0; level < {depth}; ++level) {{
            {steps}
          }}
          {adds}
          break;
        }}"""

_LINKED_PACKS = """\
for (std::size_t p = {first}; p < {end}; p += {together}) {{
      const std::uint32_t depth = T::depth[p / {pack}];
      {start}
      for (std::uint32_t d = 0; d < depth; ++d) {{
        {steps}
      }}
      {adds}
    }}"""
