"""Pieces of C++: literals, arrays, types, and the files in `cpp/` with their gaps filled."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
"""C++ types of inputs and sums."""


def filled(file: str, **values: Any) -> str:
    """A file of `cpp/` with each ``@word@`` replaced; what is put there is not looked at."""
    text = (Path(__file__).parent / "cpp" / file).read_text(encoding="ascii")
    return re.sub(r"@(\w+)@", lambda found: str(values[found[1]]), text)


def text_literal(words: str) -> str:
    """A string literal of plain ASCII, whatever is in `words`."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in words.encode()
    )
    return f'"{plain}"'


def number_literal(value: Any) -> str:
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


def array_literal(kind: str, name: str, values: Iterable[Any], *, aligned: bool = False) -> str:
    """An array; one zero where there would be none. `aligned` to lines of the cache."""
    words = [number_literal(v) if isinstance(v, np.floating) else str(int(v)) for v in values] or [
        "0"
    ]
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > 96:
            lines.append(line)
            line = ""
        line += word + ","
    lines.append(line)
    start = "alignas(64) " if aligned else ""
    return f"{start}inline constexpr {kind} {name}[] = {{\n" + "\n".join(lines) + "\n};\n"


def unsigned_type(maximum: int) -> str:
    return "std::uint16_t" if maximum < 2**16 else "std::uint32_t"
