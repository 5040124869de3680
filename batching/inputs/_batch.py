"""A batch, and what every batch of a loader looks like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class PaddedArray:
    """Lists cut or filled up to one length.

    Attributes:
        values: `(rows, length, features)`; elements past the end of a list hold the fill value.
        mask: `(rows, length)` bool; True where there is an element.
    """

    values: Array
    mask: npt.NDArray[np.bool_]

    def __repr__(self) -> str:
        return f"<PaddedArray {self.values.dtype} {self.values.shape}>"


@dataclass(frozen=True, slots=True, eq=False)
class RaggedArray:
    """Lists of any length, one after the other.

    Attributes:
        values: `(elements, features)`; row i owns ``values[offsets[i]:offsets[i + 1]]``.
        offsets: `(rows + 1,)` int64, from 0.
    """

    values: Array
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return f"<RaggedArray {self.values.dtype} {len(self)} rows, {self.values.shape} values>"


Input: TypeAlias = "Array | PaddedArray | RaggedArray"


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The rows of one batch.

    Attributes:
        x: `(rows, features)`, or a dict of inputs, or None if there are none.
        y: `(rows,)` or `(rows, targets)`, padded or ragged lists, None without a target.
        w: `(rows,)`, None without weights.
        observers: Columns carried beside, by name, each `(rows, ...)` in its own dtype, or lists.
        num_rows: Number of rows.
    """

    x: Input | dict[str, Input] | None
    y: Any  # an array, unless lists were asked for: most loops need not tell them apart
    w: Array | None
    observers: dict[str, Any] | None
    num_rows: int

    def as_tuple(self) -> Any:  # `x` alone, or a tuple: the length depends on the loader
        """``x``, ``(x, y)``, ``(x, y, w)``, ``(x, w)``, each with the dict of observers last.

        >>> Batch(np.zeros((2, 3)), np.ones(2), None, None, 2).as_tuple()[1]
        array([1., 1.])
        """
        parts = [part for part in (self.x, self.y, self.w, self.observers) if part is not None]
        return parts[0] if len(parts) == 1 else tuple(parts)

    def __repr__(self) -> str:
        shown = self.x.shape if isinstance(self.x, np.ndarray) else self.x
        parts = [f"x {shown}"]
        y = self.y
        parts += [] if y is None else [f"y {y.shape if isinstance(y, np.ndarray) else y}"]
        parts += [] if self.w is None else [f"w {self.w.shape}"]
        parts += [] if self.observers is None else [f"observers {list(self.observers)}"]
        return f"<Batch of {self.num_rows} rows: {', '.join(parts)}>"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input: a flat matrix, padded lists, or ragged lists.

    Attributes:
        features: Names of the columns along the last axis.
        length: Places of a padded input, else None.
    """

    name: str
    kind: Literal["flat", "padded", "ragged"]
    features: tuple[str, ...]
    length: int | None
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """What every batch of a loader looks like.

    Attributes:
        single: ``x`` is one array, not a dict.
        targets: Names of the targets, ``("label",)`` for labels, None without.
        y_width: Second axis of ``y``; None: ``y`` is `(rows,)`.
        target_names: Name of each column of ``y``.
        target_list: ``y`` if it consists of lists, else None.
        observed_lists: The observers that are lists.
        observers: dtype of each observer.
        observer_shapes: Shape of one row of each observer.
    """

    inputs: tuple[InputSpec, ...]
    single: bool
    targets: tuple[str, ...] | None
    y_dtype: np.dtype[Any]
    y_width: int | None
    has_weight: bool
    w_dtype: np.dtype[Any]
    batch_size: int
    drop_last: bool
    observers: Mapping[str, np.dtype[Any]] = field(default_factory=dict)
    observer_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    target_names: tuple[str, ...] = ()
    target_list: InputSpec | None = None
    observed_lists: tuple[InputSpec, ...] = ()
