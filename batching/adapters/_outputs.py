"""`Outputs`: the methods of a loader that hand its batches to a library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf
    from lightning import LightningDataModule
    from torch.utils.data import IterableDataset
    from xgboost import DataIter

    from rootml.batching.adapters._arrow import ArrowBatches, AwkwardBatches
    from rootml.batching.adapters._jax import JaxBatches
    from rootml.batching.adapters._numpy import NumpyBatches
    from rootml.batching.adapters._source import BatchSource


class Outputs:
    """What every `BatchSource` can be turned into.

    The types of optional libraries are ``Any``: they are not there for everybody.
    """

    def numpy(self: BatchSource) -> NumpyBatches:
        """An iterable of tuples of NumPy arrays; every iteration is the next epoch."""
        from rootml.batching.adapters._numpy import NumpyBatches

        return NumpyBatches(self)

    def torch(self: BatchSource, device: Any = None) -> IterableDataset[Any]:
        """A torch IterableDataset of tuples of tensors; see `rootml.batching.adapters._torch`."""
        from rootml.batching.adapters._torch import torch_batches

        self.prepare()
        return torch_batches(self, device=device)

    def tensorflow(self: BatchSource) -> tf.data.Dataset:
        """A ``tf.data.Dataset``; see `rootml.batching.adapters._tensorflow`."""
        from rootml.batching.adapters._tensorflow import tensorflow_batches

        self.prepare()
        return tensorflow_batches(self)

    def lightning(
        self: BatchSource,
        *,
        validation: BatchSource | None = None,
        test: BatchSource | None = None,
        predict: BatchSource | None = None,
        num_workers: int = 0,
    ) -> LightningDataModule:
        """A Lightning DataModule that trains on this; see `..adapters._lightning`."""
        from rootml.batching.adapters._lightning import lightning_module

        return lightning_module(
            self, validation=validation, test=test, predict=predict, num_workers=num_workers
        )

    def jax(self: BatchSource) -> JaxBatches:
        """An iterable of tuples of JAX arrays; see `rootml.batching.adapters._jax`."""
        from rootml.batching.adapters._jax import JaxBatches

        return JaxBatches(self)

    def arrow(self: BatchSource) -> ArrowBatches:
        """An iterable of ``pyarrow.RecordBatch``; every iteration is the next epoch."""
        from rootml.batching.adapters._arrow import ArrowBatches

        return ArrowBatches(self)

    def awkward(self: BatchSource) -> AwkwardBatches:
        """An iterable of awkward record arrays; every iteration is the next epoch."""
        from rootml.batching.adapters._arrow import AwkwardBatches

        return AwkwardBatches(self)

    def xgboost(self: BatchSource, *, cache_prefix: str | None = None) -> DataIter:
        """An ``xgboost.DataIter``; see `rootml.batching.adapters._xgboost`."""
        from rootml.batching.adapters._xgboost import xgboost_batches

        return xgboost_batches(self, cache_prefix=cache_prefix)
