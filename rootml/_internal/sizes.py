"""Sizes in bytes as people write them."""

from __future__ import annotations

import re

from rootml.errors import UsageError

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_PATTERN = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([A-Za-z]*)\s*")


def parse_bytes(size: int | str, what: str) -> int:
    """Bytes from ``"1 GB"``, ``"100 MB"``, ``"64 MiB"`` or a number.

    Raises:
        UsageError: Not a size, or not positive; names `what`.

    >>> parse_bytes("1.5 GB", "buffer_bytes")
    1500000000
    """
    if isinstance(size, str):
        match = _PATTERN.fullmatch(size)
        if match is None or match[2].upper() not in _UNITS:
            message = f"{what}={size!r}: expected a size such as '500 MB' or '1 GiB'"
            raise UsageError(message)
        size = int(float(match[1]) * _UNITS[match[2].upper()])
    if isinstance(size, bool) or size <= 0:
        message = f"{what}={size!r}: expected a positive number of bytes"
        raise UsageError(message)
    return size


def format_bytes(size: float) -> str:
    """A size for people.

    >>> format_bytes(1_234_567)
    '1.2 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
