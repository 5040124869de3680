"""`Standardizer`: brings inputs to mean 0 and width 1, or to a normal distribution."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from rootml._internal.atomic import check_target
from rootml._internal.reprs import Grid, HtmlRepr
from rootml._internal.types import Float
from rootml.batching._scale import Scale
from rootml.batching._standardizer_export import keras_layer, torch_module, write_onnx
from rootml.batching.inputs._batch import Batch, PaddedArray, RaggedArray
from rootml.dataset import Dataset
from rootml.errors import (
    EmptySelectionError,
    SchemaError,
    StateError,
    UsageError,
)
from rootml.storage import missing_file

if TYPE_CHECKING:
    from rootml.batching.adapters._source import BatchSource

Method = Literal["mean_std", "quantile"]

FORMAT, VERSION = "rootml.batching.Standardizer", 1
_FIT_ROWS = 65_536


class Standardizer(HtmlRepr):
    """Scales inputs to mean 0 and standard deviation 1, or to a normal distribution.

    Fitted in one pass over a loader or a dataset, in bounded memory. NaN and infinite values are
    left out of the fit and pass through `transform`. Masked elements of padded inputs are left out
    and come out as 0. Constant features come out as 0.

    Args:
        method: ``"mean_std"``: moments, merged batch by batch in float64 (Chan, Golub, LeVeque,
            1979). ``"quantile"``: straight lines between quantiles that are mapped onto those of
            the normal distribution; equal values share the middle of their interval.
        weighted: Use the weights of the batches. Negative ones enter the moments with their sign;
            for quantiles, which have no meaning then, they are an error.
        knots: Number of quantiles.
        sample: Rows kept for the quantiles, a uniform random sample. All rows are used if there
            are no more; otherwise the probability of a quantile is off by more than
            ``1.63 / sqrt(sample)`` only in 1 % of cases (Dvoretzky, Kiefer, Wolfowitz, 1956; the
            constant by Massart, 1990): by 0.4 % for the default.
        seed: Of the sample.

    >>> scaler = Standardizer()
    >>> scaler.fit_array(np.array([[1.0, 10.0], [3.0, 30.0]])).transform(np.array([[3.0, 10.0]]))
    array([[ 1., -1.]])
    """

    def __init__(
        self,
        method: Method = "mean_std",
        *,
        weighted: bool = True,
        knots: int = 512,
        sample: int = 200_000,
        seed: int = 0,
    ) -> None:
        if method not in {"mean_std", "quantile"}:
            message = f"method={method!r}: expected 'mean_std' or 'quantile'"
            raise UsageError(message)
        if knots < 2 or sample < knots:
            message = f"knots={knots}, sample={sample}: expected 2 <= knots <= sample"
            raise UsageError(message)
        self.method: Method = method
        self.weighted = weighted
        self.knots = knots
        self.sample = sample
        self.seed = seed
        self.scales: dict[str, Scale] = {}

    # --- fitting ------------------------------------------------------------------------------

    def fit(self, data: BatchSource | Dataset) -> Self:
        """Fit all inputs of a loader, or all columns of a dataset.

        Raises:
            EmptySelectionError: A feature without a single finite value.
            UsageError: Weights that add up to nothing, or negative ones for quantiles.
        """
        if isinstance(data, Dataset):
            data = data.batches(
                _FIT_ROWS, nonfinite="keep", dtype="float64", weights=data.has_weight
            )
        fits = {
            item.name: _Fit(item.features, self, number)
            for number, item in enumerate(data.spec.inputs)
        }
        batches = data.iterate(epoch=0)
        try:
            for batch in batches:
                self._add(fits, batch)
        finally:
            batches.close()
        self.scales = {name: fit.scale() for name, fit in fits.items()}
        return self

    def fit_array(self, values: Any, weights: Any = None, *, features: Any = None) -> Self:
        """Fit an array `(rows, features)` that is in memory already, as the input ``x``.

        Raises:
            SchemaError: An array of another shape, or weights or names for another one.
            EmptySelectionError, UsageError: As `fit`.
        """
        values = np.asarray(values)
        if values.ndim != 2:
            message = f"expected an array (rows, features), the array is {values.shape}"
            raise SchemaError(message)
        names = tuple(features or (f"f{j}" for j in range(values.shape[1])))
        mass = None if weights is None else np.asarray(weights, dtype=np.float64)
        if len(names) != values.shape[1] or (mass is not None and mass.shape != values.shape[:1]):
            message = (
                f"{len(names)} features {list(names)}"
                + ("" if mass is None else f" and weights {mass.shape}")
                + f" do not fit an array {values.shape}: one name per column, one weight per row"
            )
            raise SchemaError(message)
        fit = _Fit(names, self, 0)
        fit.add(values, mass)
        self.scales = {"x": fit.scale()}
        return self

    def _add(self, fits: Mapping[str, _Fit], batch: Batch) -> None:
        weights = batch.w if self.weighted else None
        for name, fit in fits.items():
            value = batch.x[name] if isinstance(batch.x, dict) else batch.x
            if isinstance(value, PaddedArray):
                counts = value.mask.sum(axis=1)
                fit.add(value.values[value.mask], _repeat(weights, counts))
            elif isinstance(value, RaggedArray):
                fit.add(value.values, _repeat(weights, np.diff(value.offsets)))
            else:
                fit.add(np.asarray(value), weights)

    # --- applying -----------------------------------------------------------------------------

    def transform(self, x: Any, *, input: str | None = None) -> Any:  # noqa: A002
        """Transform an array, a `PaddedArray`, a `RaggedArray`, or a dict of them.

        Floats keep their dtype, integers become float64.
        """
        return self._apply(x, input, "apply")

    def inverse(self, x: Any, *, input: str | None = None) -> Any:  # noqa: A002
        """Undo `transform`."""
        return self._apply(x, input, "invert")

    def _apply(self, x: Any, name: str | None, how: Literal["apply", "invert"]) -> Any:
        if isinstance(x, Mapping):
            return {key: self._apply(value, key, how) for key, value in x.items()}
        function = getattr(self.scale(name), how)
        if isinstance(x, PaddedArray):
            return PaddedArray(np.where(x.mask[..., None], function(x.values), 0), x.mask)
        if isinstance(x, RaggedArray):
            return RaggedArray(function(x.values), x.offsets)
        return function(np.asarray(x))

    def scale(self, input: str | None = None) -> Scale:  # noqa: A002
        """The scale of one input; its name may be left out if there is only one.

        Raises:
            UsageError: Not fitted, no such input, or several and none named.
        """
        if not self.scales:
            message = "this Standardizer is not fitted yet: call fit(loader)"
            raise UsageError(message)
        if input is None and len(self.scales) == 1:
            return next(iter(self.scales.values()))
        if input not in self.scales:
            message = f"input={input!r}: fitted are {sorted(self.scales)}"
            raise UsageError(message)
        return self.scales[input]

    # --- handing on ---------------------------------------------------------------------------

    def to_torch(self, input: str | None = None) -> Any:  # noqa: A002
        """A ``torch.nn.Module`` that does `transform` for one input; parameters are buffers."""
        return torch_module(self.scale(input))

    def to_keras(self, input: str | None = None) -> Any:  # noqa: A002
        """A Keras layer that does `transform` for one input."""
        return keras_layer(self.scale(input))

    def to_onnx(self, path: str | Path, *, input: str | None = None) -> None:  # noqa: A002
        """Write an ONNX model ``x -> z`` that does `transform` for one input in float32."""
        write_onnx(self.scale(input), check_target(path))

    def save(self, path: str | Path) -> None:
        """Write to a JSON file.

        Raises:
            MissingFileError: The folder does not exist.
        """
        content = {
            "format": FORMAT,
            "version": VERSION,
            "method": self.method,
            "weighted": self.weighted,
            "inputs": {name: scale.to_json() for name, scale in self.scales.items()},
        }
        check_target(path).write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Standardizer:
        """Read what `save` wrote.

        Raises:
            StateError: Not such a file, or of another version.
            MissingFileError: No such file.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise missing_file(str(path)) from None
        except ValueError as error:
            message = f"{path}: not a saved Standardizer: {error}"
            raise StateError(message) from error
        try:
            content = json.loads(text)
            if content["format"] != FORMAT or content["version"] != VERSION:
                message = (
                    f"{path}: format {content['format']!r} version {content['version']!r}, "
                    f"expected {FORMAT!r} version {VERSION}"
                )
                raise StateError(message)
            made = cls(content["method"], weighted=content["weighted"])
            inputs = content["inputs"].items()
            made.scales = {name: Scale.from_json(values) for name, values in inputs}
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, StateError):
                raise
            message = f"{path}: not a saved Standardizer: {error}"
            raise StateError(message) from error
        return made

    def _rows(self) -> list[tuple[str, str, str, str]]:
        return [
            (name, feature, f"{scale.mean[j]:.6g}", f"{scale.std[j]:.6g}")
            for name, scale in self.scales.items()
            for j, feature in enumerate(scale.features)
        ]

    def __repr__(self) -> str:
        if not self.scales:
            return f"<Standardizer {self.method}, not fitted>"
        lines = [f"<Standardizer {self.method}, {'' if self.weighted else 'not '}weighted>"]
        return "\n".join([*lines, str(self._grid())])

    def _html_parts(self) -> list[Grid]:
        return [self._grid()]

    def _grid(self) -> Grid:
        return Grid(("input", "feature", "mean", "std"), [*self._rows()], left=2)


class _Fit:
    """Moments and a sample of one input, batch by batch."""

    def __init__(self, features: tuple[str, ...], settings: Standardizer, number: int) -> None:
        self.features = features
        self.settings = settings
        width = len(features)
        self.total, self.mean, self.square = np.zeros(width), np.zeros(width), np.zeros(width)
        self.smallest, self.largest = np.full(width, np.inf), np.full(width, -np.inf)
        self.rng = np.random.default_rng([settings.seed, number])
        self.kept: list[tuple[Float, Float, Float]] = []
        self.kept_rows = 0

    def add(self, values: Any, weights: Any) -> None:
        """One batch, `(rows, features)` and `(rows,)`."""
        values = values.astype(np.float64)
        mass = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
        finite = np.isfinite(values)
        self.smallest = np.minimum(
            self.smallest, np.where(finite, values, np.inf).min(axis=0, initial=np.inf)
        )
        self.largest = np.maximum(
            self.largest, np.where(finite, values, -np.inf).max(axis=0, initial=-np.inf)
        )
        self._add_moments(np.where(finite, values, 0.0), np.where(finite, mass[:, None], 0.0))
        if self.settings.method == "quantile":
            self._add_sample(values, mass)

    def _add_moments(self, values: Float, mass: Float) -> None:
        total = mass.sum(axis=0)
        safe = np.where(total == 0, 1.0, total)
        # About a value within the data: sums of squares about zero would lose the small widths.
        shift = np.where(
            self.total == 0, np.where(np.isfinite(self.smallest), self.smallest, 0), self.mean
        )
        shifted = np.where(mass == 0, 0.0, values - shift)
        first = (mass * shifted).sum(axis=0)
        mean = first / safe
        square = (mass * shifted * shifted).sum(axis=0) - total * mean * mean
        merged = self.total + total
        safe_merged = np.where(merged == 0, 1.0, merged)
        delta = shift + mean - self.mean
        share = np.where(self.total == 0, 1.0, total / safe_merged)
        self.square += square + np.where(self.total == 0, 0.0, delta**2 * self.total * share)
        self.mean = np.where(total == 0, self.mean, self.mean + delta * share)
        self.total = merged

    def _add_sample(self, values: Float, mass: Float) -> None:
        """Keep the rows with the smallest random keys: a uniform sample of all rows so far."""
        if (mass < 0).any():
            message = (
                "quantiles need weights that are not negative; fit with weighted=False, or use "
                "method='mean_std'"
            )
            raise UsageError(message)
        self.kept.append((self.rng.random(len(values)), values, mass))
        self.kept_rows += len(values)
        if self.kept_rows > 2 * self.settings.sample:
            self._thin()

    def _thin(self) -> None:
        keys, values, mass = (np.concatenate(parts) for parts in zip(*self.kept, strict=True))
        if len(keys) > self.settings.sample:
            first = np.argpartition(keys, self.settings.sample)[: self.settings.sample]
            keys, values, mass = keys[first], values[first], mass[first]
        self.kept, self.kept_rows = [(keys, values, mass)], len(keys)

    def scale(self) -> Scale:
        """The result of the fit."""
        for j, feature in enumerate(self.features):
            if not np.isfinite(self.smallest[j]):
                message = f"feature {feature!r} has no finite value to fit"
                raise EmptySelectionError(message)
            if self.total[j] <= 0:
                message = f"feature {feature!r}: its weights add up to {self.total[j]:g}"
                raise UsageError(message)
        variance = self.square / self.total
        # a spread whose squares are below all floats counts as none
        constant = (self.smallest == self.largest) | (variance == 0)
        if (variance[~constant] < 0).any():
            feature = self.features[int(np.flatnonzero(~constant & (variance < 0))[0])]
            message = f"feature {feature!r}: negative weights make its variance negative"
            raise UsageError(message)
        std = np.where(constant, 1.0, np.sqrt(np.where(constant, 1.0, variance)))
        mean = np.where(constant, self.smallest, self.mean)
        if self.settings.method == "mean_std":
            return Scale(self.features, mean, std)
        self._thin()
        _, values, mass = self.kept[0]
        pairs = [_knots(values[:, j], mass, self.settings.knots) for j in range(len(mean))]
        x, z = (np.stack(parts) for parts in zip(*pairs, strict=True))
        return Scale(self.features, mean, std, x, z)


def _knots(values: Float, mass: Float, number: int) -> tuple[Float, Float]:
    """Quantiles of a weighted sample and the normal quantiles of the same probabilities."""
    used = np.isfinite(values) & (mass > 0)
    order = np.argsort(values[used], kind="stable")
    sorted_values, sorted_mass = values[used][order], mass[used][order]
    distinct, first = np.unique(sorted_values, return_index=True)
    group = np.add.reduceat(sorted_mass, first)
    middle = (np.cumsum(group) - group / 2) / group.sum()  # equal values share their interval
    wanted = (np.arange(number) + 0.5) / number
    x = np.interp(wanted, middle, distinct)
    x[0], x[-1] = distinct[0], distinct[-1]
    x = np.maximum.accumulate(x)
    probability = np.interp(x, distinct, middle)
    normal = NormalDist()
    edge = 0.5 / number
    return x, np.array([normal.inv_cdf(p) for p in np.clip(probability, edge, 1 - edge)])


def _repeat(weights: Any, counts: Any) -> Any:
    return None if weights is None else np.repeat(weights, counts)
