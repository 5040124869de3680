"""`RatioEstimator`: learns density ratios from samples."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, overload

from rootml._internal.optional import optional_import
from rootml._internal.progress import working
from rootml._internal.validators import check_choice, check_number, check_whole
from rootml.dataset import Dataset
from rootml.errors import UsageError
from rootml.sbi.estimator.graph._network import check_activation
from rootml.sbi.estimator.graph._onnx import read_onnx
from rootml.sbi.estimator.inputs._settings import Base, By, Calibrate, Normalise, TrainingSettings
from rootml.sbi.estimator.learners._classifier import learn_scores
from rootml.sbi.estimator.learners._learn import learn_classes
from rootml.sbi.estimator.learners._learn_parametric import learn_parametric
from rootml.sbi.estimator.learners._restore import class_networks, parametric_network
from rootml.sbi.estimator.ratios._load import assembled
from rootml.sbi.estimator.ratios._parametric import ParametricRatios
from rootml.sbi.estimator.ratios._ratios import Ratios
from rootml.sbi.estimator.training._trainer import Trainer

CALIBRATIONS = ("auto", "always", "never")
NORMALISATIONS = ("bridge", "reference", "none")


class RatioEstimator:
    """Learns density ratios r(x) = p(x) / p_ref(x) of samples of events, by classification.

    One network classifies the nominal samples, with a softmax over all of them at equal total
    weight; the log ratios are differences of its outputs. (Measured against one network per pair,
    on the 4-D mixture of the studies with 100,000 events per sample, three seeds: shift of the fit
    0.00 to 0.10 standard deviations against 0.17 to 0.22, in the same time.) Each event is held
    out of one network of the ensemble; the held-out events decide when to stop, calibrate and
    normalise. The ratio is the average over the ensemble.

    Systematic variations of a shape are learned as log(variation / nominal), by networks that
    start at zero, and used only where held-out events show them, or the mean or the width of a
    single input: a learned shape that is noise would constrain its nuisance parameter.
    `Ratios.record` says which were dropped, and how large an effect could have been missed. Give
    `by`, if variations are made of the same events.

    Steps and narrow structures of one input, such as an efficiency that changes at a cut, are
    looked for before the training; there the networks get further inputs (`Ratios.record` says
    where). Steps in a combination of inputs, of which no single input tells anything, are not
    found: give the combination as an input.

    With `parameters` the ratio is p(x | theta) / p_ref(x), for samples generated at many theta.

    Weights keep their signs: the expected loss of a sample with negative weights is that of an
    unweighted sample of the same density, only noisier. An alternative is to split such a sample
    by sign, ``{"B+": bkg.filter("w > 0"), "B-": bkg.filter("w < 0").with_weight("-w")}``, and to
    combine the columns as ``c r_plus - (c - 1) r_minus``, c being the ratio of the sums of
    weights of the positive events and of all.

    Args:
        inputs: Columns or expressions, each one number per event. They are only scaled to mean 0
            and width 1, so use ``log(MET_pt)`` rather than ``MET_pt`` for long tails.
        parameters: Columns that hold the parameters at which an event was generated.
        ensemble: Number of networks.
        folds: Number of parts into which events are divided, at most the number of networks.
            Network m of the ensemble is not trained on part m modulo `folds`.
        hidden: Widths of the hidden layers.
        activation: "silu", "tanh", or "relu"; the last has no second derivative and is refused
            with `parameters`, since fits would quote wrong errors.
        epochs: Maximum number of passes over the data; None: at least 6, and as many as
            make 1,500 steps (with `parameters` 4,000, up to 16,000 for 60,000 events or more).
        batch_size: Events per step; None: chosen from the effective number of events.
        learning_rate: Maximum of the learning rate.
        patience: After this many epochs without a better held-out loss the learning rate falls to
            0 and the training ends; None: a fifth of all epochs.
        calibration: Calibrate by an increasing curve: "always", "never", or "auto", where held-out
            events contradict the ratio at a level of 1 %.
        knots: Number of knots of that curve.
        normalisation: "bridge", "reference" (E_ref[r] = 1 on held-out events) or "none"; see
            `rootml.sbi.estimator.graph._normalisation`.
        base: With `parameters`: "quadratic" fits a second-order polynomial in inputs and
            parameters first, and the network learns the rest; "none" does not. Use logarithms of
            inputs with long tails.
        by: Columns that identify an event, e.g. ``["run", "event"]``. Splits then agree between
            skims, and an event and its variations are on the same side. None: file and entry.
        seed: Seed of splits, order and initial weights; the same seed gives the same ratios.
        device: Device of torch that trains, e.g. "cuda"; None: the CPU. On a GPU the members of a
            fold train as one batched network, with common batches that are copied while the
            network works. (Tested on the CPU; it was not measured on a GPU.)
        buffer_bytes, cache, threads: Options of `rootml.batching.BatchLoader`.
        progress: Show a progress bar with the loss; None: on a terminal.

    Raises:
        UsageError: An invalid option.

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
    >>> ratios.columns({"x": [0.5]})["sig"]["nominal"].round(1)     # exact: exp(x - 0.5)
    array([1.])
    """

    def __init__(
        self,
        inputs: Sequence[str],
        *,
        parameters: Sequence[str] = (),
        ensemble: int = 5,
        folds: int = 5,
        hidden: Sequence[int] = (64, 64),
        activation: str = "silu",
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 6e-3,
        patience: int | None = None,
        calibration: Calibrate = "auto",
        knots: int = 6,
        normalisation: Normalise = "bridge",
        base: Base = "quadratic",
        by: By = None,
        seed: int = 0,
        device: str | None = None,
        buffer_bytes: int | str = "1 GB",
        cache: str | os.PathLike[str] | None = None,
        threads: int | None = None,
        progress: bool | None = None,
    ) -> None:
        names = _names(inputs, "inputs")
        parameter_names = _names(parameters, "parameters") if parameters else ()
        if both := set(names) & set(parameter_names):
            message = f"{sorted(both)} are both inputs and parameters"
            raise UsageError(message)
        check_choice("calibration", calibration, CALIBRATIONS)
        check_choice("normalisation", normalisation, NORMALISATIONS)
        check_choice("base", base, ("quadratic", "none"))
        self.settings: TrainingSettings = TrainingSettings(
            inputs=names,
            parameters=parameter_names,
            ensemble=check_whole("ensemble", ensemble, minimum=1),
            folds=check_whole("folds", folds, minimum=2),
            hidden=tuple(check_whole(f"hidden[{k}]", n, minimum=1) for k, n in enumerate(hidden)),
            activation=check_activation(activation, parametric=bool(parameter_names)),
            epochs=None if epochs is None else check_whole("epochs", epochs, minimum=1),
            batch_size=(
                None if batch_size is None else check_whole("batch_size", batch_size, minimum=1)
            ),
            learning_rate=check_number("learning_rate", learning_rate, above=0.0),
            patience=None if patience is None else check_whole("patience", patience, minimum=1),
            calibration=calibration,
            knots=check_whole("knots", knots, minimum=0),
            normalisation=normalisation,
            base=base,
            by=by,
            seed=check_whole("seed", seed, minimum=0),
            progress=progress,
            loader={"buffer_bytes": buffer_bytes, "cache": cache, "threads": threads},
            device=device,
        )

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns or expressions that an event consists of."""
        return self.settings.inputs

    @property
    def parameters(self) -> tuple[str, ...]:
        """The columns of the parameters."""
        return self.settings.parameters

    @overload
    def fit(
        self, samples: Mapping[str, Any], *, reference: Any, client: Any = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> Ratios: ...  # fmt: skip

    @overload
    def fit(
        self, samples: Dataset, *, reference: Dataset | None = None, client: Any = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> ParametricRatios: ...  # fmt: skip

    def fit(
        self, samples: Any, *, reference: Any = None, client: Any = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> Ratios | ParametricRatios:  # fmt: skip
        """Learn the ratios of samples to a reference.

        Args:
            samples: ``{name: Dataset}``, or with systematic variations of the shape ``{"B":
                {"nominal": Dataset, "jes": (up, down)}}``. The sum of weights of a sample does not
                matter. With `parameters`: one Dataset with columns for the parameters at which
                each event was generated.
            reference: The name of a sample, or a Dataset. Its density must be positive wherever
                that of another sample is. With `parameters`: a Dataset of any fixed density, or
                None for the density of all events in `samples`.
            client: A `distributed.Client`. Its workers train the networks, each by a task of its
                own; they must see the files of the samples. Evaluation of held-out events and
                calibration stay here. Ratios are the same as without it, up to the rounding of
                the workers' own linear algebra.
            folder: Keep finished networks there. A call with the same samples and settings goes on
                where the last one stopped, also with a larger `ensemble` of as many folds.

        Returns:
            `Ratios`, or with `parameters` `ParametricRatios`.

        Raises:
            UsageError, EmptySelectionError: Invalid samples, samples without events, or weights
                without a positive sum.
            MissingColumnError: No such input, or no such reference.
            NonFiniteError: An input that is NaN or infinite.
            MissingPackageError: torch, or scipy for the calibration, is not installed.
            ConvergenceError: The loss is not finite.
            ClusterError: The client is closed, or tasks fail on the cluster. Networks that were
                finished stay in `folder`.
            StateError: The folder holds networks of other samples or settings.
        """
        began = time.monotonic()
        folder = None if folder is None else Path(folder)
        calibrated = not self.parameters and self.settings.calibration != "never"
        with working("ratios", enabled=self.settings.progress):
            optional_import("torch", feature="RatioEstimator.fit", extra="torch")
            if calibrated:  # fail now, not after the training
                optional_import("scipy.optimize", feature="calibration", extra="sbi")
            if self.parameters:
                trainer = Trainer(client, folder, parametric_network)
                return learn_parametric(self.settings, samples, reference, began, trainer)
            trainer = Trainer(client, folder, class_networks)
            return learn_classes(self.settings, samples, reference, began, trainer)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Ratios | ParametricRatios:
        """Read saved ratios; needs the package onnx, not torch.

        Raises:
            MissingFileError: No such file.
            CorruptFileError: Not an ONNX file, or one that was not written by `save`.
            StateError: Without our metadata, or of another version.
        """
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
        """Ratios from existing classifiers: their scores, calibrated and normalised.

        Args:
            classifier: A function from `(events, inputs)` float32 to one score per event, or an
                object with such a method ``predict`` (a compiled decision forest); or ``{name:
                classifier}``, one for each ratio (``"S"``, ``"B.jes.up"``).
            samples: Events that the classifiers were *not* trained on, as in `fit`.
            reference: As in `fit`.
            inputs: Columns or expressions, in the order in which the classifiers take them.
            kind: Meaning of a score: the "probability" of the numerator's sample against the
                reference, its "logit", or a "ratio" of densities.
            calibration, knots, normalisation: As in `RatioEstimator`.

        Raises:
            NonFiniteError: Scores that give no finite log ratio, such as a probability of 0 or 1.
        """
        check_choice("kind", kind, ("probability", "logit", "ratio"))
        check_choice("calibration", calibration, CALIBRATIONS)
        check_choice("normalisation", normalisation, NORMALISATIONS)
        return learn_scores(
            classifier, samples, reference, _names(inputs, "inputs"), kind, calibration, knots,
            normalisation, progress,
        )  # fmt: skip

    def with_settings(self, **changes: Any) -> RatioEstimator:
        """An estimator with other values of some `TrainingSettings`."""
        changed = copy.copy(self)
        changed.settings = replace(self.settings, **changes)
        return changed

    def __repr__(self) -> str:
        settings = self.settings
        extra = f", parameters {', '.join(self.parameters)}" if self.parameters else ""
        return (
            f"<RatioEstimator of {', '.join(self.inputs)}{extra}: {settings.ensemble} networks "
            f"{'x'.join(map(str, settings.hidden))} {settings.activation}>"
        )


def _names(names: Any, what: str) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names) or not names:
        message = f"{what}={names!r}: expected a list of columns or expressions"
        raise UsageError(message)
    if len(set(names)) != len(tuple(names)):
        message = f"{what}={list(names)!r}: a name occurs twice"
        raise UsageError(message)
    return tuple(names)
