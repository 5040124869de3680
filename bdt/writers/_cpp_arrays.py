"""The tables of a header as C++ arrays."""

from __future__ import annotations

import numpy as np

from rootml.bdt._forest import Forest
from rootml.bdt.engine.tables._predicates import search_tree
from rootml.bdt.writers._cpp_tables import TOGETHER, Tables
from rootml.bdt.writers._cpp_text import TYPES, array_literal, unsigned_type


def table_arrays(tables: Tables, forest: Forest) -> str:
    """All arrays and constants that the functions of the header read."""
    value = TYPES[forest.dtype]
    parts = [
        *_constants(tables, forest),
        *_numeric_tables(tables, forest),
        *_set_tables(tables),
        array_literal("std::uint8_t", "depth", tables.depth),
        array_literal(unsigned_type(tables.num_tests), "node", tables.node, aligned=True),
        array_literal("std::uint32_t", "tree_node", tables.tree),
        array_literal("std::uint32_t", "tree_leaf", tables.leaf * forest.leaf_width),
        array_literal(value, "leaf", tables.value.ravel(), aligned=True),
        array_literal(value, "base", forest.base),
    ]
    if not tables.is_perfect:
        parts.append(
            array_literal(unsigned_type(int(tables.next.max(initial=0))), "next", tables.next)
        )
    by_tree = forest.leaf_width == 1 and forest.num_outputs > 1
    if by_tree:
        parts.append(array_literal("std::uint32_t", "tree_output", forest.tree_output))
    output = "tree_output[tree]" if by_tree else "tree & 0"
    parts.append(f"inline std::size_t output_of(std::size_t tree) {{ return {output}; }}\n")
    if np.any(forest.zero_missing):
        parts.append(array_literal("std::uint8_t", "zero_missing", forest.zero_missing))
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
        f"using input_type = {TYPES[forest.input_dtype]};",
        f"using output_type = {TYPES[forest.dtype]};",
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
        array_literal(TYPES[forest.input_dtype], "heap", heap),
        array_literal("std::uint32_t", "group_feature", (group.feature for group in groups)),
        array_literal("std::uint32_t", "group_heap", starts[:-1]),
        array_literal("std::uint8_t", "group_levels", (group.levels for group in groups)),
        array_literal("std::uint8_t", "group_count", (len(group.thresholds) for group in groups)),
        array_literal("std::uint32_t", "group_right", (group.right % 2**32 for group in groups)),
        array_literal("std::uint32_t", "group_left", (group.left % 2**32 for group in groups)),
    ]


def _set_tables(tables: Tables) -> list[str]:
    groups = tables.sets
    packed = [group.packed for group in groups]
    starts = np.cumsum([0, *(bits.size for bits in packed)])
    values = np.cumsum([0, *(len(group.values) for group in groups)])
    none = np.zeros(0, np.uint8)
    return [
        array_literal("std::uint32_t", "set_feature", (group.feature for group in groups)),
        array_literal("std::uint32_t", "set_begin", (group.begin for group in groups)),
        array_literal("std::uint32_t", "set_count", (group.count for group in groups)),
        array_literal("std::uint8_t", "set_nan_right", (group.nan_right for group in groups)),
        array_literal("std::uint32_t", "set_bytes", (len(bits) for bits in packed)),
        array_literal("std::uint32_t", "set_table", starts[:-1]),
        array_literal("std::uint8_t", "set_bits", np.concatenate([none, *map(np.ravel, packed)])),
        array_literal("std::uint32_t", "set_values", values),
        array_literal("std::int32_t", "set_value",
               np.concatenate([none, *(group.values for group in groups)])),
    ]  # fmt: skip
