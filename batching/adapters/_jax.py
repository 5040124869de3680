"""Output as JAX arrays."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from rootml._internal.optional import optional_import
from rootml.batching.adapters._source import BatchSource
from rootml.batching.inputs._batch import Batch, PaddedArray, RaggedArray
from rootml.errors import CastError


class JaxBatches:
    """An iterable of tuples of ``jax.Array``; every iteration is the next epoch.

    A tuple is ``x``, ``(x, y)`` or ``(x, y, w)``, with observers a last dict. Named inputs are a
    dict; a padded input ``jets`` is two arrays, ``jets`` and ``jets_mask``, a ragged one ``jets``
    and ``jets_offsets``. Arrays go to JAX by DLPack: on the CPU without a copy where their memory
    is aligned as XLA wants it. 64-bit arrays stay so only with ``jax_enable_x64``; otherwise they
    are refused, because JAX would cut them to 32 bits.

    Raises:
        MissingPackageError: jax is not installed.
    """

    def __init__(self, loader: BatchSource) -> None:
        self.loader = loader
        self._jax: Any = optional_import("jax", feature="BatchLoader.jax()", extra="jax")

    def __iter__(self) -> Generator[Any, None, None]:
        batches = self.loader.iterate()
        try:
            for batch in batches:
                yield self._arrays(batch)
        finally:
            batches.close()

    def __len__(self) -> int:
        return len(self.loader)

    def __repr__(self) -> str:
        return f"<JaxBatches of {self.loader!r}>"

    def _arrays(self, batch: Batch) -> Any:
        x: Any = batch.x
        if x is not None:
            x = self._named(x) if isinstance(x, dict) else self._value("x", x)
        y = None if batch.y is None else self._value("y", batch.y)
        w = None if batch.w is None else self._array("w", batch.w)
        beside = None if batch.observers is None else self._named(batch.observers)
        parts = [part for part in (x, y, w, beside) if part is not None]
        return parts[0] if len(parts) == 1 else tuple(parts)

    def _named(self, values: dict[str, Any]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for name, value in values.items():
            part = self._value(name, value)
            merged.update(part if isinstance(part, dict) else {name: part})
        return merged

    def _value(self, name: str, value: Any) -> Any:
        if isinstance(value, PaddedArray):
            values = self._array(name, value.values)
            return {name: values, f"{name}_mask": self._array(name, value.mask)}
        if isinstance(value, RaggedArray):
            values = self._array(name, value.values)
            offsets = value.offsets
            if offsets[-1] < 2**31:
                offsets = offsets.astype(np.int32)
            return {name: values, f"{name}_offsets": self._array(name, offsets)}
        return self._array(name, value)

    def _array(self, name: str, values: Any) -> Any:
        if values.dtype.itemsize == 8 and not self._jax.config.jax_enable_x64:
            message = (
                f"{name!r} is {values.dtype}, which JAX would cut to 32 bits: call "
                "jax.config.update('jax_enable_x64', True) first, or leave it out"
            )
            raise CastError(message)
        if values.dtype == bool or values.dtype.name == "bfloat16":  # not in NumPy's DLPack
            return self._jax.numpy.asarray(values)
        return self._jax.dlpack.from_dlpack(values)
