"""What one run reads and how, in terms that every engine understands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from harness.data import FEATURES


@dataclass(frozen=True)
class Case:
    """One job for all engines; travels to the worker processes as JSON.

    Attributes:
        files: Paths, read as one chain.
        features: Scalar columns of the matrix; empty when `jets` are read.
        jets: Jagged columns, padded to `length`.
        cut: A cut in the spelling that ROOT and rootml share, or "".
        buffer: rootml's `buffer_bytes`; smaller than the selection, each epoch reads the file.
        cache: Folder for rootml's external shuffle, or "".
    """

    files: tuple[str, ...]
    features: tuple[str, ...] = FEATURES
    jets: tuple[str, ...] = ()
    length: int = 8
    target: str = "label"
    weight: str = "weight"
    cut: str = ""
    batch_size: int = 8192
    shuffle: bool = True
    seed: int = 1
    buffer: str | int = "1 GB"
    cache: str = ""

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Case:
        """The case that ``dataclasses.asdict`` wrote, lists turned back into tuples."""
        frozen: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return cls(**frozen)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of the file that is delivered."""
        extra = tuple(name for name in (self.target, self.weight) if name)
        return (*self.features, *self.jets, *extra)

    def but(self, **changes: Any) -> Case:
        """The same with some fields changed."""
        return replace(self, **changes)
