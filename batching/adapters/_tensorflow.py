"""Output as a tf.data.Dataset of batches."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from rootml._internal.optional import optional_import
from rootml.batching.adapters._source import BatchSource
from rootml.batching.inputs._batch import Batch, BatchSpec, InputSpec, PaddedArray, RaggedArray

if TYPE_CHECKING:
    import tensorflow as tf


def tensorflow_batches(loader: BatchSource) -> tf.data.Dataset:
    """A ``tf.data.Dataset`` of ``x``, ``(x, y)`` or ``(x, y, w)``; each iteration is an epoch.

    Whole batches go through the generator, never single rows. Shapes are static but for the first
    axis, which is too with ``drop_last=True``. A padded input ``jets`` is two tensors, ``jets``
    and ``jets_mask``; a ragged one is a ``tf.RaggedTensor``. ``model.fit(dataset, epochs=3)``
    works; observers, which Keras does not take, come as a last dict.

    Nothing is fetched ahead of the consumer (but for the loader's own threads), so
    `BatchLoader.state_dict` counts what was delivered. Behind a ``prefetch`` of your own it does
    not: then pass it ``batches=``.

    Raises:
        MissingPackageError: TensorFlow is not installed.
    """
    tf = optional_import("tensorflow", feature="BatchLoader.tensorflow()", extra="tensorflow")

    def epoch() -> Generator[Any, None, None]:
        batches = loader.iterate()
        try:
            for batch in batches:
                yield _tensors(tf, batch)
        finally:
            batches.close()

    dataset = tf.data.Dataset.from_generator(epoch, output_signature=_signature(tf, loader.spec))
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(loader)))
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # a state counts what was delivered
    return dataset.with_options(options)


def _signature(tf: Any, spec: BatchSpec) -> Any:
    rows = spec.batch_size if spec.drop_last else None

    def tensor(shape: tuple[int | None, ...], dtype: Any) -> Any:  # a TensorSpec
        return tf.TensorSpec((rows, *shape), tf.as_dtype(dtype))

    inputs: dict[str, Any] = {}
    for item in spec.inputs:
        inputs.update(_input_signature(tf, item, rows, tensor))
    parts = []
    if inputs:
        parts.append(next(iter(inputs.values())) if spec.single else inputs)
    if spec.target_list is not None:
        lists = _input_signature(tf, spec.target_list, rows, tensor)
        parts.append(lists["y"] if spec.target_list.kind == "ragged" else lists)
    elif spec.targets:
        width = () if spec.y_width is None else (spec.y_width,)
        parts.append(tensor(width, spec.y_dtype))
    if spec.has_weight:
        parts.append(tensor((), spec.w_dtype))
    if spec.observers or spec.observed_lists:
        shapes = spec.observer_shapes
        beside = {name: tensor(shapes[name], d) for name, d in spec.observers.items()}
        for item in spec.observed_lists:
            beside |= _input_signature(tf, item, rows, tensor)
        parts.append(beside)
    return parts[0] if len(parts) == 1 else tuple(parts)


def _input_signature(tf: Any, item: InputSpec, rows: int | None, tensor: Any) -> dict[str, Any]:
    width = len(item.features)
    if item.kind == "padded":
        return {
            item.name: tensor((item.length, width), item.dtype),
            f"{item.name}_mask": tensor((item.length,), bool),
        }
    if item.kind == "ragged":
        dtype = tf.as_dtype(item.dtype)
        spec = tf.RaggedTensorSpec(
            (rows, None, width), dtype, ragged_rank=1, row_splits_dtype=tf.int64
        )
        return {item.name: spec}
    return {item.name: tensor((width,), item.dtype)}


def keras_inputs(batch: Batch) -> tf.Tensor | dict[str, tf.Tensor]:
    """The inputs of a batch, as a Keras model takes them."""
    tf = optional_import("tensorflow", feature="BatchLoader.predict()", extra="tensorflow")
    return _named(tf, batch.x) if isinstance(batch.x, dict) else batch.x


def _tensors(tf: Any, batch: Batch) -> Any:
    inputs: Any = batch.x
    if isinstance(inputs, dict):
        inputs = _named(tf, inputs)
    y = batch.y
    if isinstance(y, PaddedArray):
        y = _named(tf, {"y": y})
    elif isinstance(y, RaggedArray):
        y = _named(tf, {"y": y})["y"]
    observers = None if batch.observers is None else _named(tf, batch.observers)
    parts = [part for part in (inputs, y, batch.w, observers) if part is not None]
    return parts[0] if len(parts) == 1 else tuple(parts)


def _named(tf: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """A tensor per value, and one more for the mask of padded lists."""
    merged: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, PaddedArray):
            merged |= {name: value.values, f"{name}_mask": value.mask}
        elif isinstance(value, RaggedArray):
            merged[name] = tf.RaggedTensor.from_row_splits(
                value.values, value.offsets, validate=False
            )
        else:
            merged[name] = value
    return merged
