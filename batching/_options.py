"""What a loader was asked for, checked once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rootml._internal.sizes import parse_bytes
from rootml._internal.validators import check_flag, check_number, check_whole
from rootml.batching.inputs._cast import NonFinite, check_nonfinite, float_dtype
from rootml.batching.order._balance import Resample, check_balance
from rootml.batching.rows._transform import Transform
from rootml.errors import UsageError

_LAST_EPOCH = 2**62  # the next ones still fit into an int64


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a `BatchLoader` that do not concern what a batch consists of."""

    batch_size: int
    shuffle: bool
    seed: int
    drop_last: bool
    balance: Literal["weights"] | Resample | None
    buffer_bytes: int
    unit_bytes: int
    cache: Path | None
    threads: int
    progress: bool | None
    dtype: np.dtype[Any]
    nonfinite: NonFinite
    transform: Transform | None
    stall_seconds: float | None

    @property
    def resample(self) -> Resample | None:
        """The resampling asked for, if any."""
        return self.balance if isinstance(self.balance, Resample) else None


def check_options(
    batch_size: int,
    *,
    shuffle: bool,
    seed: int,
    drop_last: bool,
    balance: Any,
    buffer_bytes: int | str,
    unit_bytes: int | str,
    cache: str | os.PathLike[str] | None,
    threads: int | None,
    progress: bool | None,
    dtype: Any,
    nonfinite: NonFinite,
    transform: Any,
    stall_seconds: float | None,
) -> Options:
    """The options, or an error that says which one makes no sense.

    Raises:
        UsageError: A value out of range, or options that contradict each other.
    """
    check_whole("batch_size", batch_size, minimum=1)
    check_whole("seed", seed, minimum=0, maximum=2**64 - 1)
    if threads is not None:
        check_whole("threads", threads, minimum=1)
    check_flag("shuffle", shuffle)
    check_flag("drop_last", drop_last)
    if progress is not None:
        check_flag("progress", progress)
    if transform is not None and not callable(transform):
        message = f"transform={transform!r}: expected a function of a batch and a generator"
        raise UsageError(message)
    if stall_seconds is not None:
        check_number("stall_seconds", stall_seconds, above=0)
    balanced = check_balance(balance)
    if isinstance(balanced, Resample):
        if not shuffle:
            message = "balance='resample' draws rows at random: it needs shuffle=True"
            raise UsageError(message)
        if cache is not None:
            message = (
                "balance='resample' cannot use a shuffle cache on disk: leave out cache= (rows "
                "are then mixed in memory), or use balance='weights'"
            )
            raise UsageError(message)
    return Options(
        batch_size=int(batch_size),
        shuffle=bool(shuffle),
        seed=int(seed),
        drop_last=bool(drop_last),
        balance=balanced,
        buffer_bytes=parse_bytes(buffer_bytes, "buffer_bytes"),
        unit_bytes=parse_bytes(unit_bytes, "unit_bytes"),
        cache=None if cache is None else Path(cache),
        threads=threads or min(4, os.cpu_count() or 1),
        progress=None if progress is None else bool(progress),
        dtype=float_dtype(dtype),
        nonfinite=check_nonfinite(nonfinite, float_dtype(dtype)),
        transform=transform,
        stall_seconds=stall_seconds,
    )


def check_epoch(epoch: Any) -> int:
    """The number of an epoch.

    Raises:
        UsageError: It is not a whole number from 0 to 2**62.
    """
    return check_whole("epoch", epoch, minimum=0, maximum=_LAST_EPOCH)
