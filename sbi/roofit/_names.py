"""Names that RooFit takes, and who carries which.

RooFit objects of one workspace must have different names, and its strings give a meaning to
brackets, commas and wildcards. Parameters keep the model's names wherever these are identifiers.
"""

from __future__ import annotations

import re


class Names:
    """Hands out names, each once.

    >>> names = Names()
    >>> names("mu"), names("staterror[0]"), names("mu"), names("2 b")
    ('mu', 'staterror_0', 'mu_2', '_2_b')
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def __call__(self, wish: str) -> str:
        """`wish`, or the nearest name that is free and that RooFit takes."""
        plain = clean(wish)
        name, number = plain, 1
        while name in self._taken:
            number += 1
            name = f"{plain}_{number}"
        self._taken.add(name)
        return name


def clean(name: str) -> str:
    """An identifier that looks like `name`.

    >>> clean("jet energy [0]")
    'jet_energy_0'
    """
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", name.rstrip("] ")) or "_"
    return f"_{plain}" if plain[0].isdigit() else plain
