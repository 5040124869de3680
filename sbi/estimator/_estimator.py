"""`RatioEstimator`: learns density ratios from samples."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from rootml._internal.optional import optional_import
from rootml.dataset import Dataset
from rootml.errors import UsageError
from rootml.sbi.estimator._calibration import Calibrate
from rootml.sbi.estimator._network import check_activation
from rootml.sbi.estimator._onnx import read_onnx
from rootml.sbi.estimator._samples import By
from rootml.sbi.estimator._training import Settings

if TYPE_CHECKING:
    from rootml.sbi.estimator._parametric import ParametricRatios
    from rootml.sbi.estimator._ratios import Ratios

Normalise = Literal["bridge", "reference", "none"]


class RatioEstimator:
    """Learns density ratios r(x) = p(x) / p_ref(x) of samples of events, by classification.

    One network tells all samples apart, with a softmax over all of them at equal total weight; the
    ratios are differences of its outputs. (Measured against one network per pair, on the 4-D
    mixture of the studies with 100,000 events per sample, three seeds: shift of the fit 0.00 to
    0.10 standard deviations against 0.17 to 0.22, in the same time.) An ensemble learns with each
    event held out of one of its networks; these events decide when to stop, calibrate and
    normalise. The ratio is the average over the ensemble.

    With `parameters` the ratio is p(x | theta) / p_ref(x), for samples generated at many theta.

    Weights keep their signs: the loss of a sample with negative weights is what it would be with
    all of its events of weight one, only noisier. An alternative is to split such a sample by
    sign, ``{"B+": bkg.filter("w > 0"), "B-": bkg.filter("w < 0").with_weight("-w")}``, and to
    combine the columns as ``c r_plus - (c - 1) r_minus``, c being the ratio of the sums of
    weights of the positive events and of all.

    Args:
        inputs: Columns or expressions, each one number per event; say ``log(MET_pt)`` rather than
            ``MET_pt`` of long tails: they are scaled to mean 0 and width 1, not more.
        parameters: Columns that hold the parameters at which an event was generated.
        ensemble: Number of networks.
        bootstrap: Let each network learn from its own Poisson replica of the samples, so that the
            spread of fits with single networks is that of the finite training samples (and of the
            random starts). Costs accuracy; without it the spread is that of the starts.
        hidden: Widths of the hidden layers.
        activation: "silu", "tanh", or "relu". The last has no second derivative and is refused
            with `parameters`: fits would quote wrong errors.
        epochs: Passes over the data, at most.
        batch_size: Events per step.
        learning_rate: Its maximum.
        patience: Epochs without a better held-out loss after which to stop.
        calibration: "auto": where held-out events contradict the ratio (at 1 %), it is
            calibrated by a rising curve; "always"; "never".
        knots: Knots of that curve.
        normalisation: "bridge", "reference" (E_ref[r] = 1 on held-out events) or "none"; see
            `rootml.sbi.estimator._normalisation`.
        base: With `parameters`: "quadratic" fits a polynomial of second order in inputs and
            parameters first, and lets the network learn what is missing; "none". Inputs of long
            tails should be given as their logarithms then.
        by: Columns that identify an event, e.g. ``["run", "event"]``, for splits that hold for
            skims and give events and their variations to the same side; None: file and entry.
        seed: Of splits, order, starts; the same seed gives the same ratios.
        buffer_bytes, cache, threads: Of the loader, see `rootml.batching.BatchLoader`.
        progress: Show a bar with the loss; None: on a terminal.

    Raises:
        UsageError: An option that makes no sense.

    Sources: K. Cranmer, J. Pavez, G. Louppe, arXiv 1506.02169; parametrised networks: P. Baldi et
    al., arXiv 1601.07913.

    >>> import numpy as np, pyarrow as pa, pyarrow.parquet, rootml
    >>> from rootml import sbi
    >>> rng = np.random.default_rng(1)
    >>> for name, mean in ("sig", 1.0), ("bkg", 0.0):
    ...     table = pa.table({"x": rng.normal(mean, 1.0, 4000)})
    ...     pa.parquet.write_table(table, f"{name}.parquet")
    >>> samples = {name: rootml.open(f"{name}.parquet") for name in ("sig", "bkg")}
    >>> estimator = sbi.RatioEstimator(["x"], ensemble=2, epochs=3, progress=False)
    >>> ratios = estimator.fit(samples, reference="bkg")
    >>> ratios.columns({"x": [0.5]})["sig"]["nominal"].round(1)     # known: exp(x - 0.5)
    array([1.])
    """

    def __init__(
        self,
        inputs: Sequence[str],
        *,
        parameters: Sequence[str] = (),
        ensemble: int = 5,
        bootstrap: bool = False,
        hidden: Sequence[int] = (64, 64),
        activation: str = "silu",
        epochs: int = 6,
        batch_size: int = 2048,
        learning_rate: float = 6e-3,
        patience: int = 5,
        calibration: Calibrate = "auto",
        knots: int = 6,
        normalisation: Normalise = "bridge",
        base: Literal["quadratic", "none"] = "quadratic",
        by: By = None,
        seed: int = 0,
        buffer_bytes: int | str = "1 GB",
        cache: str | os.PathLike[str] | None = None,
        threads: int | None = None,
        progress: bool | None = None,
    ) -> None:
        self.inputs = _names(inputs, "inputs")
        self.parameters = _names(parameters, "parameters") if parameters else ()
        if both := set(self.inputs) & set(self.parameters):
            message = f"{sorted(both)} are inputs and parameters at the same time"
            raise UsageError(message)
        _check_choice("calibration", calibration, ("auto", "always", "never"))
        _check_choice("normalisation", normalisation, ("bridge", "reference", "none"))
        _check_choice("base", base, ("quadratic", "none"))
        counts = {
            "ensemble": ensemble, "epochs": epochs, "batch_size": batch_size,
            "patience": patience, **{f"hidden[{k}]": n for k, n in enumerate(hidden)},
        }  # fmt: skip
        for name, value in counts.items():
            _check_whole(name, value, least=1)
        _check_whole("knots", knots, least=0)
        _check_whole("seed", seed, least=0)
        if not learning_rate > 0:
            message = f"learning_rate={learning_rate}: expected a positive number"
            raise UsageError(message)
        check_activation(activation, parametric=bool(self.parameters))
        self.ensemble = int(ensemble)
        self.bootstrap = bool(bootstrap)
        self.calibration: Calibrate = calibration
        self.knots = int(knots)
        self.normalisation: Normalise = normalisation
        self.base = base
        self.by = by
        self.progress = progress
        loader = {"buffer_bytes": buffer_bytes, "cache": cache, "threads": threads}
        self.settings = Settings(
            tuple(int(n) for n in hidden), activation, int(epochs), int(batch_size),
            float(learning_rate), int(patience), int(seed), loader,
        )  # fmt: skip

    @overload
    def fit(self, samples: Mapping[str, Any], *, reference: Any) -> Ratios: ...

    @overload
    def fit(self, samples: Dataset, *, reference: Dataset | None = None) -> ParametricRatios: ...

    def fit(self, samples: Any, *, reference: Any = None) -> Any:
        """Learn the ratios of samples to a reference.

        Args:
            samples: ``{name: Dataset}``, or with systematic variations of a shape ``{"B":
                {"nominal": Dataset, "jes": (up, down)}}``. The sum of weights of a sample does not
                matter. With `parameters`: one Dataset, whose events were generated at the values
                in those columns.
            reference: The name of a sample, or a Dataset. Its density must be positive wherever
                that of another one is. With `parameters`: a Dataset of events at any fixed
                density, or None: the density of all events of `samples`, whatever their theta.

        Returns:
            `Ratios`, or with `parameters` `ParametricRatios`.

        Raises:
            UsageError, EmptySelectionError: Samples that make no sense, without events, or whose
                weights do not add up to something positive.
            MissingColumnError: No such input, or no such reference.
            NonFiniteError: An input that is NaN or infinite.
            MissingPackageError: torch, or scipy for the calibration, is not installed.
            ConvergenceError: The loss is no finite number.
        """
        began = time.monotonic()
        optional_import("torch", feature="RatioEstimator.fit", extra="torch")
        if self.parameters:
            from rootml.sbi.estimator._learn_parametric import learn_parametric

            return learn_parametric(self, samples, reference, began)
        from rootml.sbi.estimator._learn import learn_classes

        if self.calibration != "never":  # say so now, not after the training
            optional_import("scipy.optimize", feature="calibration", extra="sbi")
        return learn_classes(self, samples, reference, began)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Ratios | ParametricRatios:
        """Read ratios that were saved; needs the package onnx, not torch.

        Raises:
            MissingFileError: No such file.
            CorruptFileError: Not an ONNX file, or one that was not written by `save`.
            StateError: Without our facts, or of another version.
        """
        from rootml.sbi.estimator._load import assembled

        graph, facts = read_onnx(Path(path))
        return assembled(str(path), graph, facts)

    @staticmethod
    def from_classifier(
        classifier: Any,
        samples: Mapping[str, Any],
        *,
        reference: Any,
        inputs: Sequence[str],
        kind: Literal["probability", "logit", "ratio"] = "probability",
        calibration: Calibrate = "always",
        knots: int = 12,
        normalisation: Normalise = "bridge",
        progress: bool | None = None,
    ) -> Ratios:
        """Ratios from classifiers that are there already: calibrated and normalised scores.

        Args:
            classifier: A function from `(events, inputs)` float32 to one score per event, or an
                object with such a method ``predict`` (a compiled decision forest); or ``{name:
                classifier}``, one for each ratio (``"S"``, ``"B.jes.up"``).
            samples: Events that the classifiers have *not* learned from, as in `fit`.
            reference: As in `fit`.
            inputs: Columns or expressions that the classifiers take, in their order.
            kind: What a score is: the "probability" to be of the numerator's sample rather than
                of the reference's, its "logit", or a "ratio" of densities.
            calibration, knots, normalisation: As in `RatioEstimator`.

        Raises:
            NonFiniteError: Scores that give no finite log ratio, such as a probability of 0 or 1.
        """
        from rootml.sbi.estimator._classifier import learn_scores

        _check_choice("kind", kind, ("probability", "logit", "ratio"))
        _check_choice("calibration", calibration, ("auto", "always", "never"))
        _check_choice("normalisation", normalisation, ("bridge", "reference", "none"))
        return learn_scores(
            classifier, samples, reference, _names(inputs, "inputs"), kind, calibration, knots,
            normalisation, progress,
        )  # fmt: skip

    def __repr__(self) -> str:
        settings = self.settings
        extra = f", parameters {', '.join(self.parameters)}" if self.parameters else ""
        return (
            f"<RatioEstimator of {', '.join(self.inputs)}{extra}: {self.ensemble} networks "
            f"{'x'.join(map(str, settings.hidden))} {settings.activation}, "
            f"{settings.epochs} epochs>"
        )


def _names(names: Any, what: str) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names) or not names:
        message = f"{what}={names!r}: expected a list of columns or expressions"
        raise UsageError(message)
    if len(set(names)) != len(tuple(names)):
        message = f"{what}={list(names)!r}: one is named twice"
        raise UsageError(message)
    return tuple(names)


def _check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        message = f"{name}={value!r}: expected one of {', '.join(map(repr, choices))}"
        raise UsageError(message)


def _check_whole(name: str, value: Any, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        message = f"{name}={value!r}: expected a whole number, at least {least}"
        raise UsageError(message)
