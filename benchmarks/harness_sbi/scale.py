"""An analysis of the LHC's size with exact ratios: fit, profile, impacts, beside another version.

P processes are Gaussians over a wider Gaussian; K nuisances change all shapes and yields, L yields
only. Both versions run in processes of their own, on one thread; times are CPU times.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from harness.report import Row

from harness_sbi.turns import ONE_THREAD
from rootml import sbi

Array = npt.NDArray[np.float64]
HERE = Path(__file__).parents[2]
WIDTH, REACH, POINTS = 1.5, 3.0, 20
SOME_POINTS, SOME_NUISANCES = 3, 2  # of the other version, which would take hours for all
BARS = {"fit": 10.0, "profile": 40.0, "impacts": 100.0}


@dataclass(frozen=True)
class Size:
    """Processes, shape nuisances, yield nuisances, observed and reference events."""

    processes: int
    shapes: int
    yields: int
    observed: int
    reference: int


SIZES = (Size(3, 20, 80, 10_000, 100_000), Size(6, 50, 50, 10_000, 100_000))


def density(x: Array, mean: float, width: float) -> Array:
    """A Gaussian's."""
    return np.asarray(np.exp(-0.5 * ((x - mean) / width) ** 2) / (width * math.sqrt(2 * math.pi)))


def columns(x: Array, size: Size) -> dict[str, Any]:
    """Ratios of all processes, with waves of a few per cent as variations."""
    rng = np.random.default_rng(0)
    shape = (size.processes, size.shapes)
    fall = 0.15 + 0.85 * np.exp(-4.0 * np.arange(size.shapes) / size.shapes)
    height = 0.08 * fall * rng.uniform(0.6, 1.4, shape)
    pitch, phase = rng.uniform(0.5, 3.0, size.shapes), rng.uniform(0.0, 6.28, size.shapes)
    skew = 1.0 + rng.uniform(-0.15, 0.15, shape)
    found: dict[str, Any] = {}
    for p, (mean, width) in enumerate(places(size)):
        nominal = density(x, mean, width) / density(x, 0.0, WIDTH)
        found[f"p{p}"] = {"nominal": nominal}
        for k in range(size.shapes):
            wave = height[p, k] * np.cos(pitch[k] * x + phase[k])
            pair = nominal * np.exp(wave), nominal * np.exp(-skew[p, k] * wave)
            found[f"p{p}"][f"n{k}"] = pair
    return found


def places(size: Size) -> list[tuple[float, float]]:
    """Mean and width of each process."""
    number = size.processes
    return list(zip(np.linspace(-1, 1, number), np.linspace(0.6, 1.2, number), strict=True))


def likelihood(size: Size) -> sbi.Likelihood:
    """5 % signal."""
    rng = np.random.default_rng(7)
    share = [0.05] + [0.95 / (size.processes - 1)] * (size.processes - 1)
    number = [size.observed * s for s in share]
    yields = {f"p{p}": f"{'mu * ' if p == 0 else ''}{n!r}" for p, n in enumerate(number)}
    effects = [
        {p: 1.0 + 0.02 * float(rng.uniform(-1, 1)) for p in yields}
        for _ in range(size.shapes + size.yields)
    ]
    nuisances = {
        f"{'n' if k < size.shapes else 'y'}{k}": sbi.Nuisance(yields=effect)
        for k, effect in enumerate(effects)
    }
    model = sbi.Model(yields, {"mu": sbi.Parameter(1.0, lower=0.0, upper=10.0)}, nuisances)
    drawn = [
        rng.normal(mean, width, rng.poisson(n))
        for (mean, width), n in zip(places(size), number, strict=True)
    ]
    reference = rng.normal(0.0, WIDTH, size.reference)
    return model.likelihood(
        columns(np.concatenate(drawn), size), reference=columns(reference, size)
    )


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, and what came of it."""
    begin = time.process_time()
    found = action()
    return time.process_time() - begin, found


def measure(size: Size, *, whole: bool) -> dict[str, Any]:
    """Seconds of this process's version; `whole`: all points and nuisances, else some, scaled."""
    for warm in (Size(2, 2, 1, 500, 1_000), Size(2, 20, 1, 500, 30_000)):  # few and many events
        sbi.fit(likelihood(warm))
    like = likelihood(size)
    seconds: dict[str, float] = {}
    seconds["fit"], best = timed(lambda: sbi.fit(like))
    middle, sigma = best.values["mu"], best.errors["mu"]
    grid = np.linspace(max(middle - REACH * sigma, 0.0), middle + REACH * sigma, POINTS)
    chosen = grid if whole else grid[:: POINTS // SOME_POINTS]
    taken, profile = timed(lambda: best.profile("mu", values=chosen))
    seconds["profile"] = taken * POINTS / len(chosen)
    names = [name for name in like.parameters if name != "mu"]
    if whole:
        seconds["impacts"], found = timed(lambda: sbi.impacts(best, "mu"))
        shifts = {row.nuisance: row.up for row in found.rows}
    else:
        some = names[:: len(names) // SOME_NUISANCES][:SOME_NUISANCES]
        taken, shifts = timed(lambda: {name: shifted(like, best, name) for name in some})
        seconds["impacts"] = 2.0 * taken * len(names) / len(some)
    return {
        "seconds": seconds, "values": best.values, "errors": best.errors, "shifts": shifts,
        "t": dict(zip(chosen.tolist(), profile.t.tolist(), strict=True)),
    }  # fmt: skip


def shifted(like: Any, best: Any, name: str) -> float:
    """An impact by a fit with the nuisance held."""
    held = {name: best.values[name] + best.errors[name]}
    moved = sbi.fit(like, fixed=held, start=best.values)
    return float(moved.values["mu"] - best.values["mu"])


def version(folder: Path, size: Size, *, whole: bool) -> dict[str, Any]:
    """The figures of the version in a folder."""
    job = json.dumps([*vars_of(size), whole])
    paths = os.pathsep.join([str(folder / ".editable"), str(HERE / "benchmarks")])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "harness_sbi.scale", job],
        env={**os.environ, **ONE_THREAD, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": paths},
        cwd=HERE / "benchmarks", stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def vars_of(size: Size) -> tuple[int, int, int, int, int]:
    """Its numbers."""
    return size.processes, size.shapes, size.yields, size.observed, size.reference


def scale_rows(size: Size, before: Path) -> Iterator[Row]:
    """Times of this version beside those of the one in another folder."""
    ours, theirs = version(HERE, size, whole=True), version(before, size, whole=False)
    for what, bar in BARS.items():
        now, then = ours["seconds"][what], theirs["seconds"][what]
        text = f"{now:.2f} s, {then:.1f} s before: {then / now:.1f}x"
        yield Row(what, then / now, text, bar, unit="x")
    sigma = theirs["errors"]
    moved = max(abs(ours["values"][k] - v) / sigma[k] for k, v in theirs["values"].items())
    yield Row("minimum", moved, f"{moved:.1e} sigma from that before", 0.01, at_most=True)
    wrong = max(abs(ours["errors"][k] / v - 1.0) for k, v in sigma.items())
    yield Row("errors", wrong, f"{wrong:.1e} relative", 0.01, at_most=True)
    off = max(abs(ours["shifts"][k] - v) / sigma["mu"] for k, v in theirs["shifts"].items())
    yield Row("impacts, differences", off, f"{off:.1e} sigma", 0.01, at_most=True)


if __name__ == "__main__":
    *numbers, all_of_it = json.loads(sys.argv[1])
    print(json.dumps(measure(Size(*numbers), whole=all_of_it)))
