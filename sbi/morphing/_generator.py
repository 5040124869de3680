"""`Generator`: the flow of one domain: draws features given conditions and gives their density."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rootml._internal.atomic import check_target
from rootml._internal.progress import long_step
from rootml._internal.reprs import Part, facts_text, shorten
from rootml._internal.types import Float
from rootml._internal.validators import check_choice
from rootml.dataset import check_seed
from rootml.sbi.morphing._base import FittedFlow
from rootml.sbi.morphing._settings import (
    ENGINES,
    Engine,
    check_device,
    make_settings,
    use_compiled,
)
from rootml.sbi.morphing.files._generator_model import GeneratorModel

if TYPE_CHECKING:
    from rootml.dataset import Dataset
    from rootml.sbi.morphing.flow._training import LossRecord
    from rootml.sbi.morphing.inference._generate import Generated


class Generator(FittedFlow[GeneratorModel]):
    """Draws features of events from their distribution given conditions, learned from a sample.

    The flow of `Morpher` and its preprocessing in one domain: fast simulation from quantities of
    the event generator, or toys beyond the number of events of a sample. Atoms, integers, edges
    and bounds come out exactly; weights of the sample may be negative.

    Random numbers are functions of a seed and the event's id: the same event gets the same values
    in every job, and different events independent ones, also if their conditions are equal.

    Args:
        features: Columns to draw.
        conditions: Columns that they depend on.
        id, layers, hidden, bins, steps, batch_size, learning_rate: As of `Morpher`.
        patience, validation, max_rows, engine, bounds, device: As of `Morpher`.
        seed: Of the training.

    Source: Durkan et al., "Neural spline flows", arXiv:1906.04032; for the use: "FlashSim",
    CMS-NOTE-2023-003.

    >>> import numpy as np, pyarrow as pa, pyarrow.parquet, rootml
    >>> from rootml.sbi.morphing import Generator
    >>> rng = np.random.default_rng(1)
    >>> pt = rng.exponential(size=4000)
    >>> columns = {"pt": pt, "x": rng.normal(pt)}
    >>> pa.parquet.write_table(pa.table(columns), "events.parquet")
    >>> generator = Generator(["x"], ["pt"], layers=2, steps=20).fit(rootml.open("events.parquet"))
    >>> drawn = generator.sample({"pt": np.full(5, 0.5)}, seed=3)
    >>> sorted(drawn), drawn["x"].shape
    (['drawn', 'pt', 'x'], (5,))
    """

    def __init__(
        self,
        features: Sequence[str],
        conditions: Sequence[str],
        *,
        id: str | Sequence[str] | None = None,  # noqa: A002 - the word users know
        layers: int | None = None,
        hidden: Sequence[int] = (64, 64),
        bins: int = 8,
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 2e-3,
        patience: int | None = None,
        validation: float = 0.1,
        max_rows: int = 2_000_000,
        seed: int = 0,
        engine: Engine = "auto",
        bounds: Mapping[str, Sequence[float | None]] | None = None,
        device: str | None = None,
    ) -> None:
        self._settings = make_settings(
            features,
            conditions,
            id=id,
            layers=layers,
            hidden=hidden,
            bins=bins,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            patience=patience,
            validation=validation,
            max_rows=max_rows,
            seed=seed,
            engine=engine,
            bounds=bounds,
            device=device,
        )
        self._fitted = None

    @property
    def history(self) -> list[LossRecord]:
        """Losses (step, train, validation) at each check.

        Raises:
            UsageError: Not fitted.
        """
        return list(self._model.history)

    @property
    def _model(self) -> GeneratorModel:
        return self._require_fitted("fit(sample)")

    @long_step("generator")
    def fit(
        self,
        sample: Dataset,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool | None = None,
    ) -> Self:
        """Learn the distribution of the features given the conditions; weights may be negative.

        Args:
            sample: Selected events; labels are not looked at.
            checkpoint, progress: As of `Morpher.fit`.

        Raises:
            MissingPackageError: torch (extra ``torch``) is not installed.
            EmptySelectionError: No usable row.
            UsageError: A constant feature, values beyond a bound, weights without a positive sum.
            ConvergenceError: The loss became NaN or infinite.
        """
        from rootml.sbi.morphing._fit import fit_generator

        folder = None if checkpoint is None else Path(checkpoint)
        self._fitted = fit_generator(self._settings, sample, checkpoint=folder, progress=progress)
        return self

    def sample(self, conditions: Any, *, seed: int = 0, ids: Any = None) -> Any:  # as given
        """Features drawn for given conditions, in the kind of container that came.

        Args:
            conditions: A dict of arrays, a structured NumPy array, an Arrow table or an awkward
                array of records, with the conditions (lists: one row for each element) and the
                columns of `id`; the rest is passed on. Features that it has are replaced.
            seed: Of the draws; another seed gives independent ones.
            ids: One integer per event that its random numbers follow; None: the columns of `id`,
                or without these the number of the row.

        Returns:
            The same kind, with the features as float64 and a boolean ``drawn``: false, and the
            features NaN, where a condition is not finite or outside of the range of the training.

        Raises:
            MissingColumnError: A column that is not there; lists the nearest.
            SchemaError: Columns, or ids, of another length.
        """
        from rootml.sbi.morphing.inference._generate import sample

        return sample(self._model, conditions, seed=check_seed(seed), ids=ids)

    def log_prob(self, events: Any, *, points: int = 16) -> Float:
        """The logarithm of the density of the features given the conditions, `(rows,)` float64.

        Atoms and integers count as probabilities, other values as densities in their own units.
        A value that the training sample excludes has ``-inf``; a row with a condition outside of
        the range of the training has NaN.

        Args:
            events: As of `sample`, with the features.
            points: For rows with atoms: the number of points that the average over their
                intervals is taken from.

        Raises:
            MissingPackageError: torch is not installed.
            MissingColumnError: A column that is not there.
        """
        from rootml.sbi.morphing.inference._generate import log_prob

        return log_prob(self._model, events, points=points)

    @long_step("applying the generator")
    def apply(
        self,
        dataset: Dataset,
        folder: str | os.PathLike[str],
        *,
        seed: int = 0,
        suffix: str = "_gen",
        tree: str = "Friends",
        format: str | None = None,  # noqa: A002 - the word users know
        overwrite: bool = False,
        progress: bool | None = None,
    ) -> Generated:
        """Write features drawn for the events of a dataset beside them, as friend trees.

        The columns are ``<feature><suffix>`` and ``drawn<suffix>``. Partition by partition;
        memory does not grow with the files.

        Args:
            seed: Of the draws.
            suffix: Put behind the names.
            tree, format, overwrite: As in `Dataset.write_friend`.
            progress: Show a bar; None: on a terminal.

        Returns:
            Paths of the files, and how many rows were drawn.
        """
        from rootml.sbi.morphing.inference._generate import apply

        options = {"tree": tree, "format": format, "overwrite": overwrite}
        return apply(
            self._model, dataset, folder, seed=check_seed(seed), suffix=suffix, options=options,
            progress=progress,
        )  # fmt: skip

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file: JSON and arrays, with a checksum; no code.

        Raises:
            MissingFileError: There is no such folder.
            UsageError: Not fitted.
        """
        from rootml.sbi.morphing.files._persist import save_generator

        save_generator(self._settings, self._model, check_target(path))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        engine: Engine = "auto",
        device: str | None = None,
    ) -> Generator:
        """Read what `save` wrote; `engine` and `device` as of `Morpher`.

        Raises:
            MissingFileError, CorruptFileError: No such file, or a damaged one.
            StateError: A file of another kind or version.
        """
        from rootml.sbi.morphing.files._persist import load_generator

        check_choice("engine", engine, ENGINES)
        made = cls.__new__(cls)
        found = load_generator(
            Path(path), compiled=use_compiled(engine), device=check_device(device)
        )
        made._settings, made._fitted = found
        return made

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the map from random numbers to features as an ONNX model.

        Inputs are ``conditions`` `(rows, conditions)` and ``draws`` `(rows, features)`, float64,
        uniform random numbers between 0 and 1. Outputs are ``features``, float64 like ``draws``,
        and ``drawn`` `(rows,)`, whether the conditions are in the range of the training.

        Raises:
            MissingFileError: There is no such folder.
            MissingPackageError: onnx is not installed.
        """
        from rootml.sbi.morphing.inference._onnx import write_generator

        write_generator(self._model, check_target(path))

    # --- showing ------------------------------------------------------------------------------

    def _facts(self) -> list[tuple[str, str]]:
        facts = [
            ("features", shorten(self.features, 12)),
            ("conditions", shorten(self.conditions, 12)),
        ]
        if self._fitted is None:
            return [*facts, ("state", "not fitted")]
        info, history = self._fitted.info, self._fitted.history
        facts.append(("sample", f"{info['rows']:,} rows, {info['used']:,} used"))
        facts.append(("training", f"{info['steps']:,} steps of {info['batch_size']:,} rows"))
        loss = min(check.validation for check in history)
        return [*facts, ("loss", f"{loss:.4f} (validation)")]

    def __repr__(self) -> str:
        return f"<Generator>\n{facts_text(self._facts())}"

    def _html_title(self) -> str:
        return "rootml.sbi.morphing.Generator"

    def _html_parts(self) -> tuple[Part]:
        return (self._facts(),)
