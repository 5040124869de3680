"""The part of the C++ header that walks all trees for one event."""

from __future__ import annotations

from functools import partial

from rootml.bdt._forest import Forest
from rootml.bdt.writers._cpp_tables import TOGETHER, Tables

_WALK = """\
{first}
    const auto add = [&](std::size_t tree, const output_type* leaf) {{
      (void)tree;
      {add}
    }};
    {packs}
    {last}"""

_PERFECT_PACKS = """\
for (std::size_t p = {first}; p < {end}; p += {together}) {{
      const auto* n = T::node + T::tree_node[p];
      const output_type* leaf = T::leaf + T::tree_leaf[p];
      switch (T::depth[p / {pack}]) {{
{cases}
        default: break;
      }}
    }}"""

_PERFECT_CASE = """\
        case {depth}: {{
          std::size_t {start};
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


def walk_code(tables: Tables, forest: Forest) -> str:
    """All trees for one event, `TOGETHER` side by side, then the rest one by one."""
    if not forest.num_trees:
        return ""
    width, outputs = forest.leaf_width, forest.num_outputs
    if width > 1:
        add = f"for (std::size_t k = 0; k < {width}; ++k) out[k] += leaf[k];"
    elif outputs > 1:
        add = "out[T::tree_output[tree]] += *leaf;"
    else:
        add = "sum += *leaf;"
    single = width == 1 and outputs == 1
    whole = forest.num_trees // TOGETHER * TOGETHER
    packs = _perfect_packs if tables.is_perfect else _linked_packs
    packs = partial(packs, tables, width)
    parts = ((0, whole, TOGETHER), (whole, forest.num_trees, 1))
    return _WALK.format(
        add=add,
        packs="\n    ".join(packs(*part) for part in parts if part[0] < part[1]),
        first="output_type sum = out[0];" if single else "",
        last="out[0] = sum;" if single else "",
    )


def _perfect_packs(tables: Tables, width: int, first: int, end: int, together: int) -> str:
    """A loop over packs of perfect trees; a case for each depth, with constant distances."""
    depths = tables.depth[first // TOGETHER : -(-end // TOGETHER)]
    cases = []
    for depth in sorted(set(depths.tolist())):
        size, each = 2**depth, range(together)
        cases.append(
            _PERFECT_CASE.format(
                depth=depth,
                start=", ".join(f"i{k} = 1" for k in each),
                steps="\n            ".join(
                    f"i{k} = 2 * i{k} + t[n[{k * size} + i{k}]];" for k in each
                ),
                adds="\n          ".join(
                    f"add(p + {k}, leaf + {k * size * width} + {width} * (i{k} - {size}));"
                    for k in each
                ),
            )
        )
    return _PERFECT_PACKS.format(
        first=first, end=end, together=together, pack=TOGETHER, cases="\n".join(cases)
    )


def _linked_packs(tables: Tables, width: int, first: int, end: int, together: int) -> str:
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
        adds="\n      ".join(
            f"add(p + {k}, T::leaf + T::tree_leaf[p + {k}] + {width} * i{k});" for k in each
        ),
    )
