"""The part of the C++ header that scores events in blocks, for each set of instructions."""

from __future__ import annotations

from rootml.bdt.writers._cpp_tables import Tables
from rootml.bdt.writers._cpp_text import filled

_VECTOR_DEPTH = 8
"""Of the deepest trees that are scored in blocks."""
_PROCESSORS = {
    "avx512": (64, 8, "avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,gfni"),
    "avx2": (32, 6, "avx2"),
    "neon": (16, 6, ""),
}
"""Bytes of a mask, depth of the trees whose leaves are looked up in registers, instructions."""


def block_code(tables: Tables, name: str) -> str:
    """What scores many events at once, for each processor; nothing for deep or irregular trees."""
    depths = sorted(set(tables.depth.tolist()))
    if not depths or not tables.is_perfect or depths[-1] > _VECTOR_DEPTH:
        return filled("no_blocks.hpp", name=name)
    cases = "\n".join(
        f"      case {depth}: tree<{depth}>(w.masks, node, leaf, w, output); break;"
        for depth in depths
    )
    made = {}
    for isa, (width, register_depth, instructions) in _PROCESSORS.items():
        text = filled(
            "block.hpp", isa=isa, name=name, width=width, register_depth=register_depth,
            cases=cases, primitives=filled(f"{isa}.hpp"),
        )  # fmt: skip
        made[isa] = text if not instructions else _targeted(text, instructions)
    return (
        "#if defined(ROOTML_FOREST_X86)\n#if !defined(ROOTML_FOREST_NO_AVX512)\n"
        f"{made['avx512']}\n#endif\n{made['avx2']}\n"
        f"#elif defined(ROOTML_FOREST_NEON)\n{made['neon']}\n#endif\n"
        + filled("run.hpp", name=name)
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
