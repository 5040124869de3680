"""Value and gradient of a likelihood of the LHC's size, beside JAX's.

JAX gets the same rows as float32, in chunks of events that fit the caches: a compiled
`value_and_grad`, sums in float64, what a chunk needs computed again in the pass back
(`jax.checkpoint`), so that nothing of all events is kept. Both run on one core in one process, in
turns of a few calls, as a fit makes them, each at a new point; several chunk sizes are tried.

JAX's exponents come from "einsum", as one writes it, in float32 as the rows are (as float64 it is
slower); or from "sums" of products in float64, which XLA makes one loop of: faster, and as precise
as ours.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from harness.report import Row

from harness_sbi.scale import SIZES, Size, likelihood, vars_of
from harness_sbi.turns import ONE_THREAD
from rootml import sbi

Array = npt.NDArray[np.float64]
HERE = Path(__file__).parents[2]
CHUNKS = {"sums": (128, 256), "einsum": (256, 2_048)}  # others are slower
TURNS, CALLS = 4, 3
BAR = 8.0


class JaxLikelihood:
    """The negative log likelihood of `scale.likelihood`, by JAX.

    Args:
        form: "einsum" or "sums".
        chunk: Events that are worked on at a time.
    """

    def __init__(self, like: sbi.Likelihood, size: Size, form: str, chunk: int) -> None:
        jax: Any = importlib.import_module("jax")
        jax.config.update("jax_enable_x64", True)
        self._processes, self._shapes, self._chunk = size.processes, size.shapes, chunk
        assert like.unbinned is not None
        unbinned, self._jnp = like.unbinned, jax.numpy
        names, layout = list(like.parameters), like.unbinned.layout
        assert unbinned.normaliser is not None
        places = np.array([names.index(f"n{k}") for k in range(size.shapes)])
        data = self._packed(layout.matrix(unbinned.columns, "data"))
        reference = self._packed(layout.matrix(unbinned.reference, "reference"))  # type: ignore[arg-type]
        self._value_and_gradient = jax.jit(
            jax.value_and_grad(_nll(jax, _yields(like, names), places, form))
        )
        self._events = data, reference

    def _packed(self, matrix: Array) -> tuple[Any, Any, Any]:
        """Ratios, rows and weights in chunks; those behind the last event have the weight 0."""
        events, processes, jnp = matrix.shape[1], self._processes, self._jnp
        number = -(-events // self._chunk)
        padded = np.pad(matrix, ((0, 0), (0, number * self._chunk - events)), mode="edge")
        blocks = padded.reshape(len(matrix), number, self._chunk).transpose(1, 0, 2)
        rows = blocks[:, processes:].reshape(number, processes, 2 * self._shapes, self._chunk)
        weights = (np.arange(number * self._chunk) < events).astype(np.float64)
        return (
            jnp.asarray(blocks[:, :processes], jnp.float32),
            jnp.asarray(np.ascontiguousarray(rows), jnp.float32),
            jnp.asarray(weights.reshape(number, self._chunk)),
        )

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient."""
        found: Any = self._value_and_gradient(theta, *self._events)
        return float(found[0]), np.asarray(found[1])


def _yields(like: sbi.Likelihood, names: list[str]) -> tuple[Array, Array, Array]:
    """Yields at mu = 1, and half the difference and half the sum of logarithms of both sides."""
    model = like.model
    assert like.unbinned is not None
    processes = list(model.processes)
    sides = np.zeros((2, len(processes), len(names)))
    for name, nuisance in model.nuisances.items():
        for process, pair in nuisance.yields.items():
            place = processes.index(process), names.index(name)
            up, down = pair if isinstance(pair, tuple) else (pair, 1.0 / pair)
            sides[0][place], sides[1][place] = np.log(up), np.log(down)
    nominal = like.unbinned.yields.values(np.array(model.theta(mu=1.0)))
    return nominal, 0.5 * (sides[0] - sides[1]), 0.5 * (sides[0] + sides[1])


def _nll(
    jax: Any, yields: tuple[Array, Array, Array], places: Array, form: str
) -> Callable[[Any, Any, Any], Any]:
    """The function that JAX compiles: ``(theta, data, reference) -> -log L``."""
    jnp, (nominal, odd, even) = jax.numpy, yields

    def exponents(rows: Any, powers: Any) -> Any:
        if form == "einsum":
            found = jnp.einsum("j,pjn->pn", powers.astype(jnp.float32), rows)
            return found.astype(jnp.float64)
        return (powers[None, :, None] * rows).sum(axis=1)

    def terms(ratios: Any, rows: Any, powers: Any) -> Any:
        return ratios.astype(jnp.float64) * jnp.exp(exponents(rows, powers))

    def summed(of_chunk: Callable[..., Any], first: Any, events: Any) -> Any:
        @jax.checkpoint  # type: ignore[untyped-decorator]
        def add(total: Any, chunk: Any) -> tuple[Any, None]:
            return total + of_chunk(*chunk), None

        return jax.lax.scan(add, first, events)[0]

    def nll(theta: Any, data: Any, reference: Any) -> Any:
        alpha = theta[places]
        powers = jnp.stack([alpha, alpha * alpha], axis=1).reshape(-1)
        base = (reference[0].astype(jnp.float64) * reference[2][:, None]).sum(axis=(0, 2))
        none = jnp.zeros(len(nominal))
        z = summed(lambda r, x, w: (terms(r, x, powers) * w).sum(axis=1), none, reference)
        expected = nominal * jnp.exp(odd @ theta + even @ (theta * theta))
        expected = expected.at[0].multiply(theta[0])
        c = expected * base / z
        logs = summed(lambda r, x, w: (w * jnp.log(c @ terms(r, x, powers))).sum(), 0.0, data)
        return expected.sum() - logs + 0.5 * (theta[1:] ** 2).sum()

    return nll


def measure(size: Size) -> dict[str, Any]:
    """CPU seconds of each in turns, and how they agree."""
    like = likelihood(size)
    rng = np.random.default_rng(0)
    points = [like.start + 0.2 * rng.normal(size=len(like.start)) for _ in range(CALLS + 1)]
    calls: dict[str, Callable[[Array], tuple[float, Array]]] = {"ours": like.nll_gradient}
    for form, chunks in CHUNKS.items():
        for chunk in chunks:
            calls[f"JAX, {form}, {chunk:,}"] = JaxLikelihood(like, size, form, chunk)
    found = {name: call(points[-1]) for name, call in calls.items()}  # also compiles
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, call in calls.items():
            begin = time.process_time()
            for point in points[:-1]:
                call(point)
            seconds[name].append((time.process_time() - begin) / CALLS)
    value, gradient = found["ours"]
    others = [found[name] for name in found if name != "ours"]
    scale = float(np.abs(gradient).max())
    return {
        "seconds": seconds,
        "value": max(abs(v - value) for v, _ in others),
        "gradient": max(float(np.abs(g - gradient).max()) / scale for _, g in others),
        "bytes": _bytes(like),
    }


def _bytes(like: sbi.Likelihood) -> int:
    """Of all rows of observed and reference events."""
    assert like.unbinned is not None
    assert like.unbinned.normaliser is not None
    events = like.unbinned.events, like.unbinned.normaliser.events
    stores: list[Any] = [each.rows for each in events]
    return sum(int(store.blocks.nbytes) for store in stores)


def gradient_tables() -> Iterator[tuple[str, Iterator[Row]]]:
    """One for each size."""
    for size in SIZES:
        title = (
            f"Value and gradient: {size.processes} processes, {size.shapes} shape nuisances, "
            f"{size.observed:,} and {size.reference:,} events"
        )
        yield title, gradient_rows(size)


def gradient_rows(size: Size) -> Iterator[Row]:
    """Ours beside JAX's best, from a process of one thread and one core."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "harness_sbi.gradient", json.dumps(vars_of(size))],
        env={**os.environ, **ONE_THREAD, "OPENBLAS_NUM_THREADS": "1"},
        cwd=HERE / "benchmarks", stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    ours, *others = found["seconds"]
    seconds = {name: statistics.median(each) for name, each in found["seconds"].items()}
    for form in CHUNKS:
        best = min((n for n in others if form in n), key=lambda name: seconds[name])
        pairs = zip(found["seconds"][best], found["seconds"][ours], strict=True)
        ratios = sorted(theirs / mine for theirs, mine in pairs)
        text = (
            f"{1e3 * seconds[ours]:.1f} ms ({found['bytes'] / seconds[ours] / 1e9:.1f} GB/s of "
            f"{found['bytes'] / 1e6:.0f} MB), {best} events: {1e3 * seconds[best]:.1f} ms; "
            f"{ratios[0]:.1f}x to {ratios[-1]:.1f}x in {len(ratios)} turns; values differ by "
            f"{found['value']:.1e}, gradients by {found['gradient']:.1e} of the largest"
        )
        yield Row(f"beside JAX's {form}", statistics.median(ratios), text, BAR, unit="x")


if __name__ == "__main__":
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])  # JAX takes a thread for each core
    print(json.dumps(measure(Size(*json.loads(sys.argv[1])))))
