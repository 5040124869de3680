"""Scores of a model, in the order of the dataset."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from rootml._internal.types import Array
from rootml.batching.adapters._source import BatchSource
from rootml.errors import SchemaError, UsageError

Scores: TypeAlias = "Array | dict[str, Array]"


def predict(source: BatchSource, model: Any) -> Scores:
    """One score per row, or a dict of scores if the model returns one.

    Args:
        source: A loader without shuffling, whose batches are inputs only.
        model: A torch module (called in evaluation mode, without gradients, on the device of its
            parameters), a Keras model, an object with `predict` (scikit-learn, `rootml.bdt`), or a
            function of ``x`` as NumPy arrays.

    Raises:
        UsageError: `model` is none of these.
        SchemaError: It does not return one score per row, the same ones in every batch.
    """
    score, restore = _scorer(model)
    parts: list[dict[str, Array]] = []
    named = False
    batches = source.iterate(epoch=0)
    try:
        for batch in batches:
            found = score(batch)
            named = isinstance(found, dict)
            scores = found if isinstance(found, dict) else {"": found}
            checked = {key: _checked(v, batch.num_rows) for key, v in scores.items()}
            _check_same(parts[0] if parts else checked, checked)
            parts.append(checked)
    finally:
        batches.close()
        restore()
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return joined if named else joined[""]


def _checked(values: Any, rows: int) -> Array:
    """A copy of the scores of a batch, `(rows, ...)`; a last axis of length 1 goes.

    A copy, because a model may give a view of its inputs, or write into one array again and again.
    """
    several = isinstance(values, (tuple, list)) and any(np.ndim(each) for each in values)
    if isinstance(values, tuple) or several:
        message = (
            f"the model returned a {type(values).__name__} of {len(values)}: return one array, or "
            "a dict of named ones"
        )
        raise SchemaError(message)
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        message = "the model returned masked scores; fill them, as by scores.filled(numpy.nan)"
        raise SchemaError(message)
    scores: Array = np.array(values)
    if scores.shape[:1] != (rows,):
        message = f"the model returned an array {scores.shape} for {rows} rows"
        raise SchemaError(message)
    return scores[:, 0] if scores.ndim == 2 and scores.shape[1] == 1 else scores


def _check_same(first: Mapping[str, Array], now: Mapping[str, Array]) -> None:
    """See that all batches have the same scores."""
    shapes = [
        {name or "scores": array.shape[1:] for name, array in part.items()}
        for part in (first, now)
    ]
    if not shapes[0] or shapes[0] != shapes[1]:
        message = (
            f"the model returned scores of an event {shapes[0]} at first, and now {shapes[1]}"
        )
        raise SchemaError(message)


def _scorer(model: Any) -> tuple[Callable[[Any], Any], Callable[[], None]]:
    """A function from a batch to scores, and one to call at the end."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        return _torch_scorer(torch, model)
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(model, keras.Model):
        from rootml.batching.adapters._tensorflow import keras_inputs

        return lambda batch: model.predict_on_batch(keras_inputs(batch)), _nothing
    function = getattr(model, "predict", model)
    if not callable(function):
        message = f"model={model!r:.80}: expected a function of x, or an object with predict(x)"
        raise UsageError(message)
    return lambda batch: function(batch.x), _nothing


def _nothing() -> None: ...


def _torch_scorer(torch: Any, model: Any) -> tuple[Callable[[Any], Any], Callable[[], None]]:
    from rootml.batching.adapters._torch import to_tensors

    first = next(iter(model.parameters()), None)
    device = torch.device("cpu") if first is None else first.device
    training = model.training
    model.eval()

    def score(batch: Any) -> Any:  # an array, or a dict of them
        with torch.inference_mode():
            found = model(to_tensors(batch, device))
        if isinstance(found, dict):
            return {name: _to_numpy(torch, value) for name, value in found.items()}
        return _to_numpy(torch, found) if isinstance(found, torch.Tensor) else found

    return score, lambda: model.train(training)


def _to_numpy(torch: Any, values: Any) -> Any:
    if values.dtype == torch.bfloat16:
        values = values.float()
    return values.cpu().numpy()
