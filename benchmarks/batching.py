"""rootml's loader beside others: ratio tables, each figure with its bar.

Peers run in processes of their own, epoch by epoch in turns with ours (one pair: the same epoch
number of both), so that a busy machine hits both alike; ratios are medians over the pairs. Files
are made by ROOT itself on first use.

    python benchmarks/batching.py                      everything
    python benchmarks/batching.py --quick              fewer pairs, fewer files
    python benchmarks/batching.py --only speed,memory  some figures
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.case import Case
from harness.data import EVENTS, JETS, REPEAT, ensure
from harness.measure import machine
from harness.opening import of_many, of_wide
from harness.report import Row, report

HERE = Path(__file__).parent
ROW_BYTES = 30 * 4
"""Bytes of one decoded flat event: 28 features, a label, a weight."""


@dataclass(frozen=True)
class Setup:
    """What the command line asks for."""

    data: Path
    events: int
    pairs: int
    quick: bool
    weaver: str = ""

    def case(self, name: str, **options: Any) -> Case:
        """A case over the files of `name`, which are made if they are missing."""
        return Case(tuple(map(str, ensure(self.data, name, self.events))), **options)

    @property
    def half(self) -> int:
        """A buffer that holds half of the flat events: every epoch reads the file."""
        return self.events * ROW_BYTES // 2

    @property
    def most(self) -> int:
        """A buffer that holds three quarters of them: every epoch still reads the file."""
        return self.events * ROW_BYTES * 3 // 4

    @property
    def seeds(self) -> list[int]:
        """Seeds of the shuffle figures."""
        return list(range(1, 3 if self.quick else 6))


# --- processes -----------------------------------------------------------------------------------


def command(
    task: str, case: Case, options: dict[str, Any], python: str = sys.executable
) -> list[str]:
    """The command of a worker process."""
    job = {"task": task, "case": asdict(case), "options": options}
    return [python, str(HERE / "harness" / "worker.py"), json.dumps(job)]


def run_task(task: str, case: Case, **options: Any) -> dict[str, Any]:
    """Run one figure in a process of its own."""
    output = subprocess.run(command(task, case, options), check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(output.stdout)
    return result


@contextmanager
def engine(
    name: str, case: Case, python: str = sys.executable
) -> Iterator[Callable[[int], dict[str, float]]]:
    """An engine in a process of its own, as a function that runs one epoch."""
    process = subprocess.Popen(
        command("engine", case, {"engine": name}, python),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    to, answers = process.stdin, process.stdout

    def epoch(number: int) -> dict[str, float]:
        print(number, file=to, flush=True)
        answer = answers.readline()
        if not answer:
            message = f"the process of {name} ended with exit code {process.wait()}"
            raise RuntimeError(message)
        result: dict[str, float] = json.loads(answer)
        return result

    try:
        yield epoch
    finally:
        to.close()
        process.wait()
        answers.close()


# --- figures -------------------------------------------------------------------------------------


def compare(
    figure: str,
    ours: tuple[str, Case],
    peer: tuple[str, Case],
    *,
    pairs: int,
    bar: float | None = None,
    python: str = sys.executable,
) -> Row:
    """Events per second of two engines, epoch by epoch in turns; the first epoch only informs."""
    with engine(*ours) as our_epoch, engine(*peer, python) as peer_epoch:
        ran = [(our_epoch(number), peer_epoch(number)) for number in range(pairs + 1)]
    speeds = [tuple(side["rows"] / side["wall"] / 1e6 for side in pair) for pair in ran]
    (mine, theirs), *steady = speeds
    ratio = statistics.median(a / b for a, b in steady)
    low, high = (pick(a / b for a, b in steady) for pick in (min, max))
    text = (
        f"{ratio:.1f}x ({low:.1f}-{high:.1f}): "
        f"{statistics.median(a for a, _ in steady):.2f} against "
        f"{statistics.median(b for _, b in steady):.2f} M events/s; "
        f"first epoch {mine / theirs:.1f}x"
    )
    missed = sum(a["rows"] - b["rows"] for a, b in ran)
    text += f"; ours {missed:+.0f} rows" if missed else ""
    return Row(figure, ratio, text, bar, unit="x")


def speed(setup: Setup) -> Iterator[Row]:
    """Epochs that read the file, against every peer."""
    flat = setup.case("flat_zstd.root", buffer=setup.half)
    streams = "zstd, shuffled"

    def row(
        figure: str, case: Case, peer: str, *, bar: float | None = None, unshuffled: bool = False
    ) -> Row:
        ours = "rootml_torch" if "torch" in peer else "rootml_numpy"
        other = case.but(shuffle=False) if unshuffled else case
        return compare(figure, (ours, case), (peer, other), pairs=setup.pairs, bar=bar)

    yield row(f"flat, {streams}: ROOT, NumPy", flat, "root_numpy", bar=10)
    yield row(f"flat, {streams}: ROOT, torch", flat, "root_torch", bar=12)
    yield row(f"flat, {streams}: uproot.iterate, stack, shuffle", flat, "uproot_iterate")
    yield row("flat: torch DataLoader in memory, per sample", flat, "torch_samples")
    yield row("flat: torch DataLoader in memory, BatchSampler", flat, "torch_batches")
    if setup.weaver:
        sides = ("rootml_torch", flat), ("weaver_torch", flat)
        yield compare(f"flat, {streams}: weaver-core", *sides, pairs=2, python=setup.weaver)
    unshuffled = flat.but(shuffle=False)
    yield row("flat, zstd, not shuffled: ROOT, NumPy", unshuffled, "root_numpy")
    cut = flat.but(cut="met_pt > 26.8")
    yield row(
        "flat, filter keeping 70 %: ROOT unshuffled", cut, "root_numpy", bar=4, unshuffled=True
    )
    names = {"flat_lz4.root": "lz4", "flat_zlib.root": "zlib", "parts": "8 files"}
    names |= {"flat_rntuple.root": "RNTuple", "flat_uproot.root": "written by uproot"}
    for name, label in names.items():
        if not setup.quick or name == "flat_rntuple.root":
            case = setup.case(name, buffer=setup.half)
            bar = None if name == "flat_uproot.root" else 4
            yield row(f"flat, {label}: ROOT, NumPy", case, "root_numpy", bar=bar)
    yield from jagged(setup)


def jagged(setup: Setup) -> Iterator[Row]:
    """Eight jagged branches, padded to eight."""
    names = {"jagged.root": "TTree", "jagged_rntuple.root": "RNTuple"}
    for name, label in names.items():
        # three quarters of 8 x 8 values, mask, y, w; two units of 200,000 events must fit
        buffer = setup.events // 2 * (66 * 4 + 8) * 3 // 4
        case = setup.case(name, features=(), jets=JETS, buffer=buffer)
        bar = 5 if name == "jagged.root" else None
        sides = ("rootml_numpy", case), ("root_numpy", case)
        yield compare(f"jagged, {label}: ROOT, NumPy", *sides, pairs=setup.pairs, bar=bar)


def memory_speed(setup: Setup) -> Iterator[Row]:
    """Later epochs of a selection that fits in the buffer."""
    for batch_size in (8192, 1024):
        case = setup.case("flat_zstd.root", batch_size=batch_size, buffer="2 GB")
        got = run_task("cached", case, pairs=setup.pairs)
        for content, bar in (("matrix", 0.7), ("whole", None)):
            ratio = paired(got[content], got["ours"])
            label = "np.take(X)" if content == "matrix" else "np.take of X, y and w"
            text = f"{ratio:.2f}: {got['rows'] / statistics.median(got['ours']) / 1e6:.1f} M/s"
            yield Row(f"from memory, batch {batch_size}, against {label}", ratio, text, bar)


def paired(top: list[float], bottom: list[float]) -> float:
    """Median ratio of measurements taken in turns."""
    return statistics.median(a / b for a, b in zip(top, bottom, strict=True))


def cpu(setup: Setup) -> Iterator[Row]:
    """CPU time of epochs that read the file, over decompression alone."""
    for shuffle, bar in ((False, 1.5), (True, 2.0)):
        case = setup.case("flat_zstd.root", shuffle=shuffle, buffer=setup.half)
        got = run_task("cpu", case, pairs=setup.pairs)
        ratio = paired(got["ours"], got["alone"])
        text = f"{ratio:.2f}x of {statistics.median(got['alone']):.2f} s"
        label = "shuffled" if shuffle else "not shuffled"
        yield Row(f"CPU of an epoch over zstd alone, {label}", ratio, text, bar, True, "x")


def latency(setup: Setup) -> Iterator[Row]:
    """The first batch of 200 files."""
    case = setup.case("many", buffer=setup.half)
    fits = case.but(buffer="2 GB")
    ways: list[tuple[str, Case, str, float | None]] = [
        ("not shuffled", case.but(shuffle=False), "rootml_numpy", 0.5),
        ("shuffled, mode (c)", case, "rootml_numpy", 0.5),
        ("shuffled, mode (a): decodes all", fits, "rootml_numpy", None),
        ("ROOT, shuffled", case, "root_numpy", None),
    ]
    for label, chosen, name, bar in ways:
        times = [run_task("latency", chosen, engine=name)["first"] for _ in range(3)]
        value = statistics.median(times)
        yield Row(f"first batch, 200 files, {label}", value, f"{value:.2f} s", bar, True, " s")


def memory(setup: Setup) -> Iterator[Row]:
    """Peak memory on a file ten times the buffer."""
    buffer = setup.events * REPEAT * ROW_BYTES // 10
    limit = buffer / 2**20 + 150
    case = setup.case("big_zstd.root", buffer=buffer)
    with tempfile.TemporaryDirectory(prefix="rootml-bench-") as folder:
        modes = {
            "mode (c)": case,
            "mode (b)": case.but(cache=folder),
            "not shuffled": case.but(shuffle=False),
        }
        for label, chosen in modes.items():
            got = run_task("memory", chosen)
            grown = got["peak"] - got["before"]
            text = f"{grown:.0f} MB with a buffer of {buffer / 2**20:.0f} MB"
            yield Row(
                f"peak memory over baseline, {label}", grown, text, round(limit), True, " MB"
            )


def spread(setup: Setup) -> Iterator[Row]:
    """Class fraction per batch on one file per class."""
    case = setup.case("classes", batch_size=1024, weight="")
    with tempfile.TemporaryDirectory(prefix="rootml-bench-") as folder:
        ways = [
            ("mode (a)", case.but(buffer="2 GB"), "rootml", 1.05, setup.seeds),
            ("mode (b)", case.but(buffer=setup.most, cache=folder), "rootml", 1.05, setup.seeds),
            ("mode (c)", case.but(buffer=setup.most), "rootml", 1.2, setup.seeds),
            ("ROOT", case, "root_numpy", None, [1]),
        ]
        for label, chosen, name, bar, seeds in ways:
            got = run_task("spread", chosen, engine=name, seeds=seeds)
            text = f"{got['mean']:.2f} ({min(got['ratios']):.2f}-{max(got['ratios']):.2f})"
            figure = f"class-sorted files, spread over independent draws, {label}"
            yield Row(figure, got["mean"], text, bar, at_most=True)


def waiting(setup: Setup) -> Iterator[Row]:
    """A small network on one thread."""
    for batch_size in (8192, 1024):
        case = setup.case("flat_zstd.root", batch_size=batch_size, buffer=setup.half)
        got = run_task("waiting", case, epochs=2 if setup.quick else 5)
        share = 100 * statistics.median(got["shares"])
        text = f"{share:.1f} % of steps of {1e3 * got['step']:.2f} ms"
        figure = f"28-64-64-1 on one thread waits, batch {batch_size}"
        yield Row(figure, share, text, 5, True, " %")


def opening(setup: Setup) -> Iterator[Row]:
    """Wide files of a new and of a known layout, and many small files."""
    for form, name in (("rntuple", "RNTuple"), ("ttree", "TTree")):
        found = of_wide(setup.data, form)
        figure = f"{name} of 1,300 columns, open and read two"
        for what, peer, bar in (("first", "uproot", 1.2), ("next", "first", 0.1)):
            ratio = found[what] / found[peer]
            text = f"{1e3 * found[what]:.1f} against {1e3 * found[peer]:.1f} ms"
            against = "uproot" if peer == "uproot" else "the first of its layout"
            yield Row(f"{figure}: {what} file / {against}", ratio, text, bar, True, "x")
        ratio = found["next"] / found["uproot"]
        yield Row(f"{figure}: next file / uproot", ratio, f"{ratio:.3f}x", 0.1, True, "x")
    for form, name, count in (("ttree", "TTree", 300), ("rntuple", "RNTuple", 600)):
        each = of_many(setup.data, form, count // 3 if setup.quick else count, setup.pairs)
        figure = f"{name} files of 1,000 events, open and first epoch"
        text = f"{each['ours']:.2f} ms a file"
        bar = 1.0 if form == "ttree" else 0.9
        yield Row(figure, each["ours"], text, bar, True, " ms")
        for peer in ("uproot", "RDataFrame"):
            ratio = each["ours"] / each[peer]
            text = f"{each['ours']:.2f} against {each[peer]:.2f} ms a file"
            yield Row(f"{figure} / {peer}", ratio, text, 1.0, True, "x")


FIGURES: dict[str, Callable[[Setup], Iterator[Row]]] = {
    "speed": speed,
    "cached": memory_speed,
    "cpu": cpu,
    "latency": latency,
    "opening": opening,
    "memory": memory,
    "spread": spread,
    "waiting": waiting,
}
TITLES = {
    "speed": "Epochs that read the file: events per second against others",
    "cached": "Later epochs, the selection fits in the buffer",
    "cpu": "CPU time of an epoch against decompression of its baskets",
    "latency": "Time to the first batch",
    "opening": "CPU time of opening files",
    "memory": "Peak memory, file ten times the buffer",
    "spread": "Mixing of class-sorted files, batch 1024",
    "waiting": "A network that trains",
}


# --- command line --------------------------------------------------------------------------------


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="rootml's loader beside others.")
    parser.add_argument(
        "--data", type=Path, default=HERE / "data", metavar="FOLDER", help="where the files are"
    )
    parser.add_argument("--events", type=int, default=EVENTS, help="events of the flat files")
    parser.add_argument("--pairs", type=int, default=5, help="epochs compared, in turns")
    parser.add_argument("--quick", action="store_true", help="two pairs, fewer files and seeds")
    parser.add_argument("--only", default=",".join(FIGURES), help="figures, comma-separated")
    parser.add_argument(
        "--weaver", default="", metavar="PYTHON", help="interpreter that has weaver-core installed"
    )
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    options = parser.parse_args()
    unknown = set(options.only.split(",")) - set(FIGURES)
    if unknown:
        parser.error(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    return options


def main() -> int:
    options = parse()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    pairs = 2 if options.quick else options.pairs
    setup = Setup(options.data.resolve(), options.events, pairs, options.quick, options.weaver)
    tables = [(TITLES[name], FIGURES[name](setup)) for name in options.only.split(",")]
    return report(f"Measured on {machine()}.", tables, options.output)


if __name__ == "__main__":
    sys.exit(main())
