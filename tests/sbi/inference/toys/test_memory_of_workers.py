"""What a worker keeps of the reference events: one copy, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sbi_problems import many_nuisances

from rootml.execution._dask import _pack
from rootml.sbi.inference.toys._toy_task import Task
from rootml.sbi.inference.toys._toys import _Run, source_of
from rootml.sbi.inference.toys._work import _SingleThreaded

WORKER = """
import ctypes, gc, json, re, sys
from pathlib import Path
from rootml.execution._dask import PickledFunction
from rootml.sbi.inference.toys._work import Item

def own():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    text = Path("/proc/self/smaps_rollup").read_text()
    found = re.findall(r"Private_[A-Za-z]+: +([0-9]+) kB", text)
    return 1024 * sum(map(int, found))

jobs, sizes = [], []
for name in sys.argv[1:]:
    job = PickledFunction(Path(name).read_bytes())
    for number in range(2):
        job.function(Item(0, number, "a toy"))
    jobs.append(job)
    sizes.append(own())
print(json.dumps(sizes))
"""


def packed(path: Path, events: int) -> int:
    """Toys as they are sent to a worker, in a file; bytes of their reference events."""
    model, _, reference = many_nuisances(500, 10, processes=2, reference=events)
    source = source_of(model, reference)
    task = Task({name: p.value or 0.0 for name, p in model.all_parameters.items()}, 1, (), {})
    path.write_bytes(_pack(_SingleThreaded(_Run(source, [task]))))
    return int(source.channel.normaliser.events.rows.blocks.nbytes)  # type: ignore[union-attr]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says what memory is a process's own")
@pytest.mark.long
def test_a_worker_keeps_one_copy_of_the_events(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    packed(few, 60_000)  # float32, too: the same compiled code
    size = packed(many, 300_000)
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(few), str(many)],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    before, after = json.loads(done.stdout.splitlines()[-1])
    assert size > 50e6
    assert 0.9 * size < after - before < 1.4 * size
