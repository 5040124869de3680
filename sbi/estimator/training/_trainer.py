"""Where the members of an ensemble are trained, and where finished ones are kept.

::

    finished = members that are in the folder
    for each group of the others:               one member; on a GPU all members of a fold
        train it here, or by a future of its own on a Dask cluster
        write its members to the folder as soon as they are done
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rootml._internal.loss_display import LossDisplay
from rootml._internal.progress import track
from rootml.dataset import Dataset
from rootml.sbi.estimator.inputs._settings import TrainingSettings
from rootml.sbi.estimator.training._cluster import completed
from rootml.sbi.estimator.training._network_files import NetworkFiles
from rootml.sbi.estimator.training._training import networks_text

N_co = TypeVar("N_co", covariant=True)

NOT_OF_THE_NETWORKS = {
    "ensemble", "folds", "progress", "loader", "device", "batched", "calibration", "knots",
    "normalisation", "shapes",
}  # fmt: skip
"""Settings on which a network does not depend, or (folds) only through the number in use."""
_FORMAT = 3  # the norm of networks with parameters may be that of pairs


class Job(Protocol[N_co]):
    """The training of some members of one fold; picklable."""

    def __call__(self, members: Sequence[int], display: LossDisplay) -> Sequence[N_co]:
        """Train them."""
        ...


@dataclass(frozen=True)
class Trainer:
    """Runs trainings.

    Attributes:
        client: A `distributed.Client`; None: here.
        folder: Where finished members are kept; None: nowhere.
        restore: Reads a member from what a file of the folder holds.
    """

    client: Any
    folder: Path | None
    restore: Callable[[Any], Any]

    def run(
        self, job: Job[N_co], settings: TrainingSettings, given: Mapping[str, Dataset]
    ) -> list[N_co]:
        """All members, in order.

        Args:
            given: The datasets, by what they are.

        Raises:
            StateError: The folder is of another training.
            ClusterError: Work was given up by the cluster; what was finished is in the folder.
        """
        files = None
        if self.folder is not None:
            files = NetworkFiles(self.folder, _facts(settings, given), self.restore)
        done = {} if files is None else files.finished(settings.ensemble)
        missing = [member for member in range(settings.ensemble) if member not in done]
        for members, found in self._trained(job, settings, settings.groups(missing)):
            for member, networks in zip(members, found, strict=True):
                done[member] = networks
                if files is not None:
                    files.write(member, networks)
        return [done[member] for member in range(settings.ensemble)]

    def _trained(
        self, job: Job[N_co], settings: TrainingSettings, groups: Sequence[tuple[int, ...]]
    ) -> Iterator[tuple[tuple[int, ...], Sequence[N_co]]]:
        if not groups:
            return
        if self.client is None:
            display = LossDisplay(enabled=settings.progress)
            with display.showing():
                for members in groups:
                    yield members, job(members, display)
            return
        found = completed(
            self.client,
            _Remote(job),
            groups,
            what=lambda members: networks_text(members, settings),
        )
        yield from track(
            found, total=len(groups), what="training networks", enabled=settings.progress
        )

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A temporary folder for values of held-out events, in `folder` if there is one."""
        with scratch_folder(self.folder) as folder:
            yield folder


@contextlib.contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """A temporary folder; without `parent` where temporary files go (``TMPDIR``)."""
    with tempfile.TemporaryDirectory(prefix="rootml-held-out-", dir=parent) as folder:
        yield Path(folder)


@dataclass(frozen=True)
class _Remote:
    """A job without a display, on a worker."""

    job: Any

    def __call__(self, members: Sequence[int]) -> Any:
        return self.job(members, LossDisplay(enabled=False))


def _facts(settings: TrainingSettings, given: Mapping[str, Dataset]) -> dict[str, Any]:
    known = {k: v for k, v in asdict(settings).items() if k not in NOT_OF_THE_NETWORKS}
    return {
        "format": _FORMAT,
        "settings": known,
        "number of folds": settings.parts,
        "batches": settings.is_batched,
        "samples": {name: dataset.fingerprint for name, dataset in given.items()},
    }
