"""Output as an XGBoost DataIter, for QuantileDMatrix and external memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.optional import optional_import
from rootml.batching.adapters._source import BatchSource
from rootml.batching.inputs._batch import Batch
from rootml.errors import UnsupportedTypeError, UsageError

if TYPE_CHECKING:
    from xgboost import DataIter


def xgboost_batches(loader: BatchSource, *, cache_prefix: str | None = None) -> DataIter:
    """An ``xgboost.DataIter`` over the loader: data, label, weight and feature names.

    XGBoost passes over the data several times and needs the same batches each time, so it always
    gets the epoch at which the loader stands. Load with ``nonfinite="keep"`` to hand NaN on as
    missing values. XGBoost takes no brackets and no ``<`` in names of features: they become
    parentheses and ``lt``; columns that are to be found by name later are better given one,
    ``"lead = Jet_pt[0]"``.

    Args:
        cache_prefix: Where ``ExtMemQuantileDMatrix`` or ``DMatrix`` keep their pages.

    Raises:
        MissingPackageError: xgboost is not installed.
        UnsupportedTypeError: Inputs other than one flat matrix.
        UsageError: When XGBoost takes them: negative weights, which it refuses.

    Example::

        matrix = xgboost.QuantileDMatrix(loader.xgboost())
    """
    xgboost = optional_import("xgboost", feature="BatchLoader.xgboost()", extra="xgboost")
    spec = loader.spec
    if not spec.single or not spec.inputs:
        message = (
            "XGBoost takes one matrix: leave out inputs=, or give a list of columns; here there "
            f"are {[f'{item.name} ({item.kind})' for item in spec.inputs]}"
        )
        raise UnsupportedTypeError(message)
    batches: DataIter = _iterator_class(xgboost.DataIter)(loader, cache_prefix)
    return batches


@functools.cache
def _iterator_class(base: Any) -> Any:
    class XGBoostBatches(base):  # type: ignore[misc]
        """See `xgboost_batches`."""

        def __init__(self, loader: BatchSource, cache_prefix: str | None) -> None:
            self.loader = loader
            self._epoch = loader.epoch
            self._batches: Generator[Batch, None, None] | None = None
            super().__init__(cache_prefix=cache_prefix)

        def next(self, input_data: Callable[..., Any]) -> bool:
            """Hand one batch to XGBoost; False at the end."""
            if self._batches is None:
                self._batches = self.loader.iterate(epoch=self._epoch)
            batch = next(self._batches, None)
            if batch is None:
                self.reset()
                return False
            names = list(self.loader.spec.inputs[0].features)
            safe = [_safe(name) for name in names]
            data = np.asarray(batch.x)
            if data.dtype.itemsize < 4:  # it computes in float32 anyway
                data = data.astype(np.float32)
            fields = {"data": data, "feature_names": safe}
            if batch.y is not None:
                fields["label"] = batch.y
            if batch.w is not None:
                _check_weights(batch.w, self.loader.name)
                fields["weight"] = batch.w
            input_data(**fields)
            return True

        def reset(self) -> None:
            """Begin again from the first batch."""
            if self._batches is not None:
                self._batches.close()
            self._batches = None

        def __repr__(self) -> str:
            return f"<XGBoostBatches of {self.loader!r}>"

    return XGBoostBatches


def _check_weights(weights: Any, where: str) -> None:
    negative = int((weights < 0).sum())
    if negative:
        message = (
            f"{where}: XGBoost takes no negative weights; {negative} of {len(weights)} in a batch "
            "are. Train with filter('weight > 0'), by the name of the weight, or with_weight(...)"
        )
        raise UsageError(message)


def _safe(name: str) -> str:
    """XGBoost refuses brackets and angle signs in feature names."""
    return name.replace("[", "(").replace("]", ")").replace("<", "lt ")
