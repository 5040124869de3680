"""A `Forest` as one C++17 header without dependencies: const, no state, no threads.

What the header does with one event, in pseudo-code::

    for each group of tests (thresholds of one feature, rising):
        rank = number of tests that are false        # not x < threshold, or not x <= threshold
        t[group] = 1 ... 1 0 ... 0                   # 1: the test is false, go right
        (NaN: all 1 or all 0; category sets: a row of bits for the category)
    sum = base
    for each pack of 8 trees:
        i[8] = 1
        repeat depth times: i[k] = 2 * i[k] + t[node[k][i[k]]]         # or: next[...] + t[...]
        for k in order: sum += leaf[k][i[k]]

so each distinct test is made once, trees hold two bytes per node, and eight independent chains of
loads hide each other's latency. Many events are scored in blocks, in vector registers, where trees
are perfect and at most 8 levels deep. That part is chosen at run time by the processor (AVX-512,
AVX2; NEON by the compiler), and left out with ``ROOTML_FOREST_SCALAR``. Additions are those of the
library, in its order and type, and nothing can be contracted to fused operations; ``-ffast-math``
is refused. Predictions call the C library's ``exp`` as the training library does.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
from pathlib import Path

import numpy as np

from rootml.bdt._forest import ZERO, Forest
from rootml.bdt.writers._cpp_arrays import table_arrays
from rootml.bdt.writers._cpp_blocks import block_code
from rootml.bdt.writers._cpp_links import link_code
from rootml.bdt.writers._cpp_tables import Tables, lower
from rootml.bdt.writers._cpp_text import TYPES, filled, number_literal, text_literal
from rootml.bdt.writers._cpp_walk import walk_code
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
    real, value = TYPES[forest.input_dtype], TYPES[forest.dtype]
    is_single = forest.num_outputs == 1 or forest.link == "argmax"
    body = functools.partial(
        filled,
        "forest.hpp",
        name=name,
        real=real,
        value=value,
        features=forest.num_features,
        outputs=forest.num_outputs,
        predictions=1 if forest.link == "argmax" else forest.num_outputs,
        names=", ".join(map(text_literal, forest.names)),
        objective=text_literal(forest.objective),
        tables=table_arrays(tables, forest),
        clean=_clean(forest),
        rank_cases=_rank_cases(tables),
        compare="<=" if forest.comparison == "<=" else "<",
        code=_category_code(forest),
        first_sum="base[k]" if forest.base_first else "0",
        walk=walk_code(tables, forest),
        finish=_finish(forest),
        link=link_code(forest, number_literal(forest.dtype.type(forest.link_scale))),
        single=filled("single.hpp", real=real, value=value) if is_single else "",
        blocks=block_code(tables, name),
    )
    # different models of one name have different symbols, so that libraries do not mix them up
    digest = hashlib.sha256(body(digest="").encode()).hexdigest()[:16]
    guard = f"ROOTML_FOREST_{digest.upper()}"
    about = f"{forest.num_trees} trees of depth {forest.depth}, {forest.num_features} features"
    return (
        f"// Made by rootml: {about}, trained by {forest.library}.\n"
        f"#ifndef {guard}\n#define {guard}\n{filled('preamble.hpp')}"
        f"{body(digest=digest)}#endif\n"
    )


# --- pieces of the functions ---------------------------------------------------------------------


def _clean(forest: Forest) -> str:
    """What happens to the inputs before the tests."""
    lines = []
    if not math.isnan(forest.missing):
        marker = number_literal(forest.input_dtype.type(forest.missing))
        lines.append(f"if (v == {marker}) v = nan;")
    if np.any(forest.zero_missing):
        limit = number_literal(forest.input_dtype.type(ZERO))
        lines.append(f"if (zero_missing[f] && v >= -{limit} && v <= {limit}) v = nan;")
    return "\n    ".join(lines)


def _rank_cases(tables: Tables) -> str:
    """A case for each number of levels that a search tree has."""
    levels = sorted({group.levels for group in tables.groups})
    return "\n".join(f"    case {level}: return rank_of<{level}>(v, tree);" for level in levels)


def _category_code(forest: Forest) -> str:
    """The category of `v` as an integer, or -1."""
    return {
        "floor": "v >= 0 && v < 16777216 ? static_cast<std::int32_t>(v) : -1",
        "truncate": "v > -1 && v < 16777216 ? static_cast<std::int32_t>(v) : -1",
        "exact": "v >= 0 && v < 16777216 && v == static_cast<input_type>("
        "static_cast<std::int32_t>(v)) ? static_cast<std::int32_t>(v) : -1",
    }[forest.category_rule]


def _finish(forest: Forest) -> str:
    lines = []
    if forest.divisor != 1:
        divisor = number_literal(forest.dtype.type(forest.divisor))
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
