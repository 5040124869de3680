"""Posteriors of learned ratios beside the reference posteriors of the benchmark sbibm.

Ratios with parameters are learned by default from simulations of three of its tasks. Posteriors
are sampled for its observations, and compared with its reference posteriors by a classifier: C2ST
is its accuracy, 0.5 is perfect. The bars are ours at 10,000 simulations and, at 100,000, what the
authors of sbibm publish for neural ratio estimation (NRE).

    pip download --no-deps sbibm==1.1.0         its observations and reference posteriors
    python benchmarks/posteriors.py sbibm-1.1.0-py2.py3-none-any.whl two_moons slcp
    python benchmarks/posteriors.py WHEEL two_moons --simulations 100000 --observations 1,2,3,4,5

Source: J.-M. Lueckmann et al., https://arxiv.org/abs/2101.04653.
"""

from __future__ import annotations

import argparse
import bz2
import io
import logging
import math
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from harness.measure import machine
from harness.report import Row, report
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPClassifier

import rootml
from rootml import sbi

Array = NDArray[np.float64]
Generator = np.random.Generator
logger = logging.getLogger("benchmarks")
BARS = {
    10_000: {"two_moons": 0.76, "gaussian_linear_uniform": 0.55, "slcp": 0.93},
    100_000: {"two_moons": 0.629, "gaussian_linear_uniform": 0.631, "slcp": 0.919},
}
PRIOR_DRAWS, DRAWS, MOVES = 200_000, 3000, 120


# --- simulators, as sbibm defines them: parameters are uniform from -bound to bound --------------


def two_moons(rng: Generator, count: int) -> tuple[Array, Array]:
    t = rng.uniform(-1, 1, (count, 2))
    angle, radius = rng.uniform(-np.pi / 2, np.pi / 2, count), rng.normal(0.1, 0.01, count)
    moon = np.c_[np.cos(angle) * radius + 0.25, np.sin(angle) * radius]
    along, across = (t[:, 0] + t[:, 1]) / np.sqrt(2), (t[:, 1] - t[:, 0]) / np.sqrt(2)
    return t, moon + np.c_[-np.abs(along), across]


def gaussian_linear_uniform(rng: Generator, count: int) -> tuple[Array, Array]:
    t = rng.uniform(-1, 1, (count, 10))
    return t, t + rng.normal(size=(count, 10)) * np.sqrt(0.1)


def slcp(rng: Generator, count: int) -> tuple[Array, Array]:
    t = rng.uniform(-3, 3, (count, 5))
    first, second, correlation = t[:, [2]] ** 2, t[:, [3]] ** 2, np.tanh(t[:, [4]])
    z = rng.normal(size=(count, 4, 2))
    mixed = correlation * z[:, :, 0] + np.sqrt(1 - correlation**2) * z[:, :, 1]
    points = [t[:, [0]] + first * z[:, :, 0], t[:, [1]] + second * mixed]
    return t, np.stack(points, axis=-1).reshape(count, 8)


TASKS: dict[str, tuple[Callable[..., tuple[Array, Array]], float]] = {
    "two_moons": (two_moons, 1.0),
    "gaussian_linear_uniform": (gaussian_linear_uniform, 1.0),
    "slcp": (slcp, 3.0),
}


# --- ratios, posteriors, comparison --------------------------------------------------------------


def learn(theta: Array, x: Array, folder: Path) -> Any:
    """Ratios by an estimator as it is by default; networks that are in the folder are taken."""
    columns = {f"x{k}": each for k, each in enumerate(x.T)}
    parameters = {f"t{k}": each for k, each in enumerate(theta.T)}
    path = folder / "simulations.parquet"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pa.table(columns | parameters), path)
    estimator = sbi.RatioEstimator(
        list(columns), parameters=list(parameters), seed=1, threads=1, progress=False
    )
    return estimator.fit(rootml.open(str(path)), folder=folder / "networks")


def log_posterior(ratios: Any, observed: Array, bound: float) -> Callable[[Array], Array]:
    """But for a constant; points beyond the range of the simulations are taken at its end."""
    low, high = np.array(list(ratios.parameters.values())).T

    def function(points: Array) -> Array:
        inside = np.clip(points, low, high)
        theta = dict(zip(ratios.parameters, inside.T, strict=True))
        found = ratios.log_ratio(observed, **theta)[0]
        return np.asarray(np.where((np.abs(points) > bound).any(axis=1), -np.inf, found))

    return function


def sampled(rng: Generator, density: Callable[[Array], Array], bound: float, size: int) -> Array:
    """Draws of the prior, weighted and drawn again; then moved by Metropolis and Hastings."""
    prior = rng.uniform(-bound, bound, (PRIOR_DRAWS, size))
    logs = density(prior)
    weights = np.exp(logs - logs.max())
    points = prior[rng.choice(PRIOR_DRAWS, DRAWS, p=weights / weights.sum())]
    logs = density(points)
    for _ in range(MOVES):
        move = _difference_move if size > 8 else _normal_move
        proposed = points + move(rng, points)
        found = density(proposed)
        accepted = np.log(rng.random(DRAWS)) < found - logs
        points = np.where(accepted[:, None], proposed, points)
        logs = np.where(accepted, found, logs)
    return points


def _normal_move(rng: Generator, points: Array) -> Array:
    """Of several lengths, in some of the parameters; keeps the modes as they are."""
    length = rng.choice([0.03, 0.1, 0.3, 1.0], (len(points), 1))
    chosen = rng.random(points.shape) < rng.choice([0.3, 1.0])
    return np.asarray(rng.normal(size=points.shape) * points.std(axis=0) * length * chosen)


def _difference_move(rng: Generator, points: Array) -> Array:
    """Along the difference of two others (differential evolution): follows the correlations."""
    first, second = rng.permutation(len(points)), rng.permutation(len(points))
    length = 2.38 / math.sqrt(2 * points.shape[1]) * rng.choice([1.0, 0.5])
    noise = rng.normal(0, 1e-3, points.shape)
    return np.asarray(length * (points[first] - points[second]) + noise)


def c2st(reference: Array, ours: Array) -> float:
    """Accuracy of a network that tells draws of both apart, on events that it has not seen."""
    mean, width = reference.mean(axis=0), reference.std(axis=0)
    both = (np.concatenate([reference, ours]) - mean) / width
    label = np.repeat([0, 1], [len(reference), len(ours)])
    nodes = 10 * both.shape[1]
    network = MLPClassifier((nodes, nodes), max_iter=150, random_state=1)
    folds = KFold(3, shuffle=True, random_state=1)
    return float(cross_val_score(network, both, label, cv=folds).mean())


def numbers(wheel: zipfile.ZipFile, task: str, observation: int) -> tuple[Array, Array]:
    """What was observed, and draws of the reference posterior."""
    folder = f"sbibm/tasks/{task}/files/num_observation_{observation}"
    read = wheel.read(f"{folder}/reference_posterior_samples.csv.bz2")
    texts = wheel.read(f"{folder}/observation.csv").decode(), bz2.decompress(read).decode()
    observed, draws = (
        np.loadtxt(io.StringIO(text), delimiter=",", skiprows=1, ndmin=2) for text in texts
    )
    return observed, draws[:DRAWS]


def measured(
    wheel: zipfile.ZipFile, task: str, count: int, observations: list[int], folder: Path
) -> Row:
    """Trains once; the mean C2ST over the observations."""
    simulate, bound = TASKS[task]
    rng = np.random.default_rng(7)
    theta, x = simulate(rng, count)
    began = time.process_time()
    ratios = learn(theta, x, folder / f"{task}-{count}")
    seconds = time.process_time() - began
    logger.info("%s: trained in %.0f CPU s; %s", task, seconds, "; ".join(ratios.record.notes))
    found = []
    for observation in observations:
        observed, reference = numbers(wheel, task, observation)
        density = log_posterior(ratios, observed, bound)
        found.append(c2st(reference, sampled(rng, density, bound, theta.shape[1])))
        logger.info("%s: observation %d, C2ST %.3f", task, observation, found[-1])
    each = ", ".join(f"{value:.3f}" for value in found)
    mean = float(np.mean(found))
    text = f"{mean:.3f} ({each}); training {seconds:.0f} CPU s"
    return Row(task, mean, text, BARS.get(count, {}).get(task), at_most=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("tasks", nargs="*", default=list(TASKS), choices=TASKS, metavar="task")
    parser.add_argument("--simulations", type=int, default=10_000)
    parser.add_argument("--observations", default="1,2,3,4,5")
    parser.add_argument("--folder", type=Path, help="keep finished networks, go on from there")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    warnings.filterwarnings("ignore", category=ConvergenceWarning)  # of C2ST
    observations = [int(each) for each in given.observations.split(",")]
    title = f"C2ST, {given.simulations:,} simulations"
    with zipfile.ZipFile(given.wheel) as wheel, tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        rows = (
            measured(wheel, task, given.simulations, observations, folder) for task in given.tasks
        )
        return report(f"Measured on {machine()}; one thread.", [(title, rows)])


if __name__ == "__main__":
    raise SystemExit(main())
