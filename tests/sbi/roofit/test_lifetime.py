"""Objects let go in awkward orders: never a crash, never a wrong number.

A crash would take the test session with it, so stories run in processes of their own, which must
also end well.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs_root

PREAMBLE = """
import gc, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {support!r})
import numpy as np
import ROOT
from sbi_roofit import likelihood
from rootml.sbi.roofit import _callbacks, _ownership, function
ROOT.RooMsgService.instance().setGlobalKillBelow(ROOT.RooFit.ERROR)
like = likelihood(binned=True)
expected = like.nll(like.start)
def close(value, other=expected):
    assert abs(value - other) < 1e-6, (value, other)
def living():
    gc.collect()
    _ownership.sweep()
    return len(_ownership._living)
"""

STORIES = {
    "only the nll is kept": """
nll = like.to_roofit("nll").nll
gc.collect()
close(nll.getVal())
minimizer = ROOT.RooMinimizer(nll)
minimizer.setPrintLevel(-1)
assert minimizer.minimize("Minuit2") == 0
del minimizer, nll
assert living() == 0
assert not _callbacks._nlls
""",
    "only a parameter is kept": """
mu = like.to_roofit("nll").parameters["mu"]
gc.collect()
mu.setVal(2.0)
assert mu.getVal() == 2.0
assert living() == 1
del mu
assert living() == 0
""",
    "a minimiser outlives its nll": """
minimizer = ROOT.RooMinimizer(like.to_roofit("nll").nll)
minimizer.setPrintLevel(-1)
gc.collect()
try:
    minimizer.minimize("Minuit2")
except Exception as error:
    assert "is gone" in str(error), error
else:
    raise AssertionError("it minimised nothing")
""",
    "a sum and a profile keep the nll": """
objects = like.to_roofit("nll")
total = ROOT.RooAddition("total", "", [objects.nll])
profile = objects.nll.createProfile(ROOT.RooArgSet(objects.parameters["mu"]))
ROOT.SetOwnership(profile, True)
del objects
gc.collect()
close(total.getVal())
assert np.isfinite(profile.getVal())
assert living() == 1
del profile
gc.collect()
assert np.isfinite(total.getVal())
del total
assert living() == 0
""",
    "createNLL keeps pdf and data": """
for route in ("columns", "function"):
    objects = like.to_roofit(route)
    nll = objects.pdf.createNLL(objects.data, Extended=True)
    value = nll.getVal()
    del objects
    gc.collect()
    close(nll.getVal(), value)
    minimizer = ROOT.RooMinimizer(nll)
    minimizer.setPrintLevel(-1)
    assert minimizer.minimize("Minuit2") == 0
    del minimizer
    assert living() == 1
    del nll
    assert living() == 0
assert not _callbacks._batches
""",
    "parts in any order": """
rng = np.random.default_rng(1)
for route in ("columns", "function", "nll") * 2:
    objects = like.to_roofit(route)
    parts = [*objects.items.values(), *objects.parameters.values(), *objects.observables.values(),
             *objects.global_observables.values()]
    del objects
    while parts:
        parts.pop(int(rng.integers(len(parts))))
        gc.collect()
assert living() == 0
""",
    "many come and go": """
for number in range(30):
    objects = like.to_roofit(("columns", "function", "nll")[number % 3])
    if "pdf" in objects.items:
        objects.pdf.fitTo(objects.data, PrintLevel=-1)
del objects
assert living() == 0
assert not _callbacks._nlls
assert not _callbacks._batches
""",
    "a function, its clone and its variables": """
made = function(lambda events, values: values["a"] * events["x"], {"x": (0.0, 2.0)}, {"a": 3.0})
call = made.function
clone = call.clone("clone")
ROOT.SetOwnership(clone, True)
del made, call
gc.collect()
assert clone.getVal() == 3.0
del clone
assert living() == 0
""",
    "everything is alive at the end": """
kept = [like.to_roofit(route) for route in ("columns", "function", "nll")]
nll = kept[0].pdf.createNLL(kept[0].data, Extended=True)
minimizer = ROOT.RooMinimizer(kept[2].nll)
assert np.isfinite(nll.getVal())
""",
}


# Starting ROOT costs more than a story: some share a process.
LAST = "everything is alive at the end"
NAMES = [name for name in STORIES if name != LAST]
CHAPTERS = [NAMES[:4], NAMES[4:], [LAST]]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda names: names[0])
def test_chapter(chapter: list[str], tmp_path: Path) -> None:
    script = tmp_path / "stories.py"
    support = str(Path(__file__).parents[2] / "support")
    told = [f"print({name!r})\n{STORIES[name]}" for name in chapter]
    script.write_text("\n".join([PREAMBLE.format(support=support), *told, "print('the end')\n"]))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    heard = done.stdout[-500:] + done.stderr[-3000:]
    assert done.returncode == 0, heard
    assert done.stdout.splitlines()[-1] == "the end", heard
