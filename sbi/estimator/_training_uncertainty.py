"""What finite training samples do to a fit: a bootstrap of the whole chain.

::

    for each replica:
        Poisson copies of all samples  ->  training, calibration, normalisation  ->  fit

Sources of uncertainty add up in ways that shorter methods miss: the spread of the members of an
ensemble contains the noise of norms from small parts of the events, and their mean divided by
sqrt(n) lacks the fluctuation of the samples that all members share (arXiv 2505.19156).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from rootml._internal.atomic import atomic_path
from rootml._internal.progress import long_step, track
from rootml._internal.validators import check_whole
from rootml.dataset import Dataset
from rootml.errors import StateError
from rootml.sbi.estimator._estimator import RatioEstimator
from rootml.sbi.estimator.inputs._samples import poisson_copies
from rootml.sbi.estimator.inputs._settings import spawned_seed
from rootml.sbi.estimator.inputs._shape_decision import ShapeDecision
from rootml.sbi.estimator.ratios._ratios import Ratios
from rootml.sbi.estimator.training._cluster import completed
from rootml.sbi.inference._samples import SampleShifts
from rootml.sbi.inference.fits._fit import FitResult

Fit: TypeAlias = Callable[[Any], FitResult]
_PLAN = "training_uncertainty.json"


@long_step("training uncertainty")
def training_uncertainty(
    estimator: RatioEstimator,
    samples: Mapping[str, Any] | Dataset,
    *,
    reference: Any,
    fit: Fit,
    replicas: int = 10,
    seed: int,
    client: Any = None,
    folder: str | Path | None = None,
    progress: bool | None = None,
) -> SampleShifts:
    """Shifts of a fit by the finite training samples, from a bootstrap of the whole chain.

    The samples are replaced by Poisson copies of their events, then everything is done again. Each
    replica costs as much as the training itself. Which shapes are kept is decided once, on the
    samples themselves: events that occur twice would make decisions on copies too confident.

    Copies are chosen by the identity of events (`by=` of the estimator): an event and its
    variations are copied together, as their fluctuations are common.

    Args:
        estimator: The estimator that made the ratios of the analysis.
        samples, reference: As given to its `fit`.
        fit: A function from ratios to the `FitResult` of the analysis, always of the same data.
            With `client` it must be picklable.
        replicas: Number of copies; the uncertainty is known to ``1 / sqrt(2 (replicas - 1))``.
        seed: Seed of the copies and trainings.
        client: A `distributed.Client`, whose workers train the networks of the samples, then the
            replicas, each by a task of its own; None: one after the other, here.
        folder: Keep finished replicas there. A call with the same arguments goes on where the last
            one stopped, also with more replicas.
        progress: Show how many replicas are done; None: on a terminal.

    Returns:
        Shifts relative to the fit of `samples` themselves. `ShiftedLikelihood` adds their
        covariance to a likelihood.

    Raises:
        UsageError: Fewer than two replicas.
        ConvergenceError: A fit that did not converge.
        ClusterError: The client is closed, or tasks fail on the cluster. Replicas that were
            finished stay in `folder`.
        StateError: The folder holds replicas of another estimator, other samples or another seed.

    Source: arXiv 2505.19156.

    >>> import rootml, pyarrow as pa, pyarrow.parquet
    >>> from rootml import sbi
    >>> rng = np.random.default_rng(1)
    >>> for name, mean in ("sig", 1.0), ("bkg", 0.0):
    ...     table = pa.table({"x": rng.normal(mean, 1.0, 3000)})
    ...     pa.parquet.write_table(table, f"{name}.parquet")
    >>> samples = {name: rootml.open(f"{name}.parquet") for name in ("sig", "bkg")}
    >>> data = {"x": np.concatenate([rng.normal(1.0, 1.0, 100), rng.normal(0.0, 1.0, 300)])}
    >>> model = sbi.Model({"sig": "mu * 100", "bkg": "300"}, {"mu": sbi.Parameter(1.0)})
    >>> def fit(ratios):
    ...     return sbi.fit(model.likelihood(ratios.columns(data)))
    >>> estimator = sbi.RatioEstimator(
    ...     ["x"], ensemble=2, hidden=(8,), epochs=2, batch_size=256, progress=False
    ... )
    >>> shifts = sbi.training_uncertainty(
    ...     estimator, samples, reference="bkg", fit=fit, replicas=3, seed=1
    ... )
    >>> shifts.names, shifts.shifts.shape
    (('mu',), (3, 1))
    """
    check_whole("replicas", replicas, minimum=2)
    check_whole("seed", seed, minimum=0)
    chain = _Chain(estimator, samples, reference, fit, seed)
    store = None if folder is None else _Store(Path(folder), chain.fingerprint())
    nominal = _nominal(chain, store, client)
    done = {} if store is None else store.finished(replicas)
    missing = [number for number in range(replicas) if number not in done]
    shapes = tuple(
        ShapeDecision(**{**each, "parts": tuple(each["parts"])}) for each in nominal["shapes"]
    )
    found = _run(chain, shapes, missing, client)
    for number, values in track(
        found, total=len(missing), what="training replicas", enabled=progress
    ):
        done[number] = values
        if store is not None:
            store.write(str(number), values)
    names = tuple(nominal["values"])
    shifts = [[done[k][name] - nominal["values"][name] for name in names] for k in range(replicas)]
    return SampleShifts(
        names, np.array(shifts), np.array([nominal["errors"][name] for name in names])
    )


@dataclass(frozen=True)
class _Chain:
    """From samples to fitted values."""

    estimator: RatioEstimator
    samples: Any
    reference: Any
    fit: Fit
    seed: int

    def nominal(self, client: Any, folder: Path | None) -> dict[str, Any]:
        """Fitted values and errors with the samples themselves, and decisions on shapes."""
        ratios: Any = self.estimator.fit(
            self.samples, reference=self.reference, client=client, folder=folder
        )
        shapes = ratios.record.shapes if isinstance(ratios, Ratios) else ()
        return {**self._fitted(ratios), "shapes": [asdict(shape) for shape in shapes]}

    def replica(self, number: int, shapes: Sequence[ShapeDecision]) -> dict[str, float]:
        """Fitted values with Poisson copies of the samples."""
        samples, reference = self._copies(number)
        seed = spawned_seed(self.seed, number, 0)
        estimator = self.estimator.with_settings(seed=seed, shapes=tuple(shapes), progress=False)
        ratios = estimator.fit(samples, reference=reference)
        values: dict[str, float] = self._fitted(ratios)["values"]
        return values

    def _fitted(self, ratios: Any) -> dict[str, Any]:
        result = self.fit(ratios).require_valid()
        free = [name for name in result.values if name not in result.fixed]
        return {
            "values": {name: float(result.values[name]) for name in free},
            "errors": {name: float(result.errors[name]) for name in free},
        }

    def _copies(self, number: int) -> tuple[Any, Any]:
        by = self.estimator.settings.by

        def copies(given: Any, position: int) -> Any:
            if isinstance(given, Dataset):
                draw = spawned_seed(self.seed, number, 1 + position)
                return poisson_copies(given, by=by, seed=draw)
            if isinstance(given, Mapping):
                return {name: copies(each, position) for name, each in given.items()}
            if isinstance(given, tuple | list):
                return tuple(copies(each, position) for each in given)
            return given

        if isinstance(self.samples, Mapping):
            samples: Any = {
                name: copies(each, 1 + position)
                for position, (name, each) in enumerate(self.samples.items())
            }
        else:
            samples = copies(self.samples, 1)
        return samples, copies(self.reference, 0)

    def fingerprint(self) -> str:
        """Of settings, samples and seed; the fit is not part of it."""
        datasets = [*_datasets(self.samples), *_datasets(self.reference)]
        settings = {
            name: value
            for name, value in asdict(self.estimator.settings).items()
            if name not in {"progress", "loader"}
        }
        reference = self.reference if isinstance(self.reference, str) else ""
        facts = [settings, [d.fingerprint for d in datasets], reference, self.seed]
        return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()


def _datasets(given: Any) -> Iterator[Dataset]:
    if isinstance(given, Dataset):
        yield given
    elif isinstance(given, Mapping):
        for each in given.values():
            yield from _datasets(each)
    elif isinstance(given, tuple | list):
        for each in given:
            yield from _datasets(each)


def _nominal(chain: _Chain, store: _Store | None, client: Any) -> dict[str, Any]:
    found = None if store is None else store.read("nominal")
    if found is None:
        found = chain.nominal(client, None if store is None else store.networks)
        if store is not None:
            store.write("nominal", found)
    return found


def _run(
    chain: _Chain, shapes: Sequence[ShapeDecision], numbers: Sequence[int], client: Any
) -> Iterator[tuple[int, dict[str, float]]]:
    """Numbers and results of the replicas, as they are done."""
    replica = partial(chain.replica, shapes=shapes)
    if client is None:
        yield from ((number, replica(number)) for number in numbers)
        return
    yield from completed(client, replica, numbers, what=lambda number: f"replica {number}")


class _Store:
    """Finished replicas in a folder, one JSON file each."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        plan = folder / _PLAN
        if plan.exists():
            if json.loads(plan.read_text()).get("fingerprint") != fingerprint:
                message = (
                    f"{folder} holds replicas of another estimator, other samples or another "
                    f"seed; use another folder"
                )
                raise StateError(message)
        else:
            self._put(plan, {"fingerprint": fingerprint})

    @property
    def networks(self) -> Path:
        """Where the networks of the samples themselves are kept."""
        return self._folder / "networks"

    def finished(self, replicas: int) -> dict[int, dict[str, float]]:
        """Values of the replicas that are there."""
        found = {number: self.read(str(number)) for number in range(replicas)}
        return {number: values for number, values in found.items() if values is not None}

    def read(self, name: str) -> Any:
        """The content of a file, or None."""
        path = self._path(name)
        return json.loads(path.read_text()) if path.exists() else None

    def write(self, name: str, values: Any) -> None:
        """Write a file that is either complete or not there."""
        self._put(self._path(name), values)

    def _path(self, name: str) -> Path:
        return self._folder / f"replica_{name}.json"

    @staticmethod
    def _put(path: Path, values: Any) -> None:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(values))
