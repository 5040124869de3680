"""Whether every engine of the benchmark delivers every row of small files; run by the tests.

``python benchmarks/harness/check.py FOLDER``; the files are made in FOLDER.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # benchmarks/, where `harness` is found

EVENTS = 20_000


def main() -> None:
    from harness.case import Case
    from harness.data import JETS, write_missing
    from harness.engines import ENGINES
    from harness.measure import timed_epoch
    from harness.tasks import compressed_frames, decompress

    folder = Path(sys.argv[1])
    names = ["flat_zstd.root", "flat_uproot.root", "flat_rntuple.root", "jagged.root"]
    write_missing(folder, names, EVENTS)
    cases = [Case((str(folder / name),), batch_size=512, seed=3) for name in names]
    cases[-1] = cases[-1].but(features=(), jets=JETS)
    for name, engine in ENGINES.items():
        if name == "weaver_torch":
            continue  # lives in an environment of its own
        flat_only = not name.startswith(("rootml", "root"))
        for case in cases[:-1] if flat_only else cases:
            expected = EVENTS // 2 if case.jets else EVENTS
            got = timed_epoch(engine(case)(0))["rows"]
            if got != expected:
                message = f"{name} delivers {got:.0f} of {expected} rows of {case.files[0]}"
                raise SystemExit(message)
    frames = list(compressed_frames(cases[0]))
    size = EVENTS * len(cases[0].columns) * 4
    if not 0.5 * size < sum(unpacked for _, unpacked in frames) <= size or decompress(frames) < 0:
        message = f"the compressed baskets hold {sum(u for _, u in frames)} of {size} bytes"
        raise SystemExit(message)
    print("all engines deliver every row")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
