# %% [markdown]
# # One file, one analysis
#
# `tutorials/analysis.toml` says all of an analysis: samples, selection, trainings, scores,
# pictures, likelihood ratios and the fit. This program makes its files and runs it, as
# `rootml run analysis.toml` does in a shell.
#
# Needs `pip install 'rootml[torch,onnx,bdt,sbi,plot]' xgboost-cpu`.

# %%
from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
from collisions import make_files, simulate, write_file

from rootml.analysis import load_analysis

SMALL = os.environ.get("ROOTML_TUTORIALS") == "small"
EVENTS = 20_000 if SMALL else 100_000
FOLDER = Path("tutorial-analysis")
HERE = Path(__file__).parent if "__file__" in globals() else Path()

# %% [markdown]
# ## The files
#
# Simulation, and "data" with 1.5 times the expected signal.

# %%
make_files(FOLDER / "files", EVENTS)
rng = np.random.default_rng(1)
share = {"signal": 1.5 * 2 / 5 * 0.02, "background": 3 / 5 * 0.2}  # of EVENTS, with the weights
numbers = {kind: int(rng.poisson(0.94 * EVENTS * each)) for kind, each in share.items()}
parts = [simulate(kind, number, 101 + n) for n, (kind, number) in enumerate(numbers.items())]
write_file(FOLDER / "files" / "data.root", parts)
shutil.copy(HERE / "analysis.toml", FOLDER / "analysis.toml")

# %% [markdown]
# ## What is to be done
#
# Nothing has run yet, so all steps will. A step runs behind those whose results it uses.

# %%
analysis = load_analysis(FOLDER / "analysis.toml")
for planned in analysis.plan():
    print(f"{planned.name:20} {planned.action:8} {planned.reason}")

# %% [markdown]
# ## Run it
#
# What is finished stays, whatever comes: after an interruption the same call goes on. The page
# with all results is `tutorial-analysis/results/report/report.html`.

# %%
for ended in analysis.run(progress=False):
    print(f"{ended.name:20} {ended.seconds:5.1f} s")
    for name, value in ended.record.outcome["facts"]:
        print(f"    {name}: {value}")
print(analysis.report)

# %% [markdown]
# ## Run it again
#
# Nothing has changed, so nothing is done: files, settings and versions are compared with what each
# step wrote down in `provenance.json`.

# %%
assert not any(ended.ran for ended in analysis.run())

# %% [markdown]
# ## Results in Python
#
# Each result can be opened: here the likelihood, the compiled forest, and the events with scores.

# %%
fit = analysis.result("fit")
low, high = fit.result["minos"]["mu"]
print(f"mu in [{low:.2f}, {high:.2f}]")
assert low - 2 * (high - low) < 1.5 < high + 2 * (high - low)

observed = analysis.dataset("observed", friends=["scores"]).select(["mjj", "forest", "network"])
print(observed.head(3).tolist())
print(analysis.result("forest"))
