# %% [markdown]
# # An unbinned fit with learned ratios from ROOT files, in Python and in RooFit
#
# Density ratios of simulated samples are learned from ROOT files; the fit of the data with them,
# with a systematic uncertainty of the background's shape, is done by iminuit and then handed to
# RooFit: as a file of stock classes that plain ROOT fits, and as an NLL with its gradient.
#
# **What to look at:** `mu` of iminuit and of RooFit, line beside line; the likelihood in the first
# picture, with RooFit's result on it; what was learned, in the second, beside the true ratio.
#
# Needs ROOT and `pip install 'rootml[torch,sbi,plot]'`.

# %%
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import ROOT
import uproot
from matplotlib import pyplot as plt

import rootml
from rootml import sbi
from rootml.sbi import roofit

folder = Path("fit-in-roofit")
folder.mkdir(exist_ok=True)
ROOT.gROOT.SetBatch(True)
ROOT.RooMsgService.instance().setGlobalKillBelow(ROOT.RooFit.ERROR)
rng = np.random.default_rng(3)

# %% [markdown]
# ## Files
#
# Two features; a signal on a background whose shape depends on a jet energy scale, simulated at
# its nominal value and one standard deviation up and down.


# %%
def signal(number: int) -> dict[str, Any]:
    """A narrow peak in the mass, central."""
    return {"mass": rng.normal(4.0, 0.6, number), "y": rng.normal(0.0, 0.8, number)}


def background(number: int, jes: float = 0.0) -> dict[str, Any]:
    """A falling mass, wide in y; steeper for a greater scale."""
    mass = rng.exponential(2.8 / (1.0 + 0.1 * jes), number)
    return {"mass": mass, "y": rng.normal(0.1 * jes, 1.5, number)}


def write(name: str, *parts: dict[str, Any]) -> str:
    """A ROOT file with one tree."""
    columns = {key: np.concatenate([part[key] for part in parts]) for key in ("mass", "y")}
    with uproot.recreate(folder / f"{name}.root") as file:
        file.mktree("events", dict.fromkeys(columns, "float64"))
        file["events"].extend(columns)
    return f"{folder / name}.root:events"


simulated = 30_000
samples = {
    "S": rootml.open(write("signal", signal(simulated))),
    "B": {
        "nominal": rootml.open(write("background", background(simulated))),
        "jes": tuple(
            rootml.open(write(f"background_{side}", background(simulated, shift)))
            for side, shift in (("up", 1.0), ("down", -1.0))
        ),
    },
}
drawn = rng.poisson(300), rng.poisson(2700)
data = rootml.open(write("data", signal(drawn[0]), background(drawn[1], jes=0.5)))
print(f"in the data: {drawn[0]} of signal (300 expected), {drawn[1]} of background, jes = 0.5")
reference = rootml.open(write("reference", background(20_000)))

# %% [markdown]
# ## Ratios
#
# One small network per member of the ensemble learns all samples at once; the ratios are divided
# by the background's density, calibrated and normalised on held-out events.

# %%
estimator = sbi.RatioEstimator(["mass", "y"], ensemble=2, epochs=8, batch_size=1024)
ratios = estimator.fit(samples, reference="B")
print(ratios)

# %% [markdown]
# ## The fit, by iminuit
#
# `reference` are events of the background: they normalise the morphed shape, Z(alpha).

# %%
model = sbi.Model(
    processes={"S": "mu * 300", "B": "2700"},
    parameters={"mu": sbi.Parameter(1.0, lower=0.0, upper=5.0)},
    nuisances={"jes": sbi.Nuisance(yields={"B": (1.03, 0.97)})},
)
like = model.likelihood(ratios.columns(data), reference=ratios.columns(reference))
fit = sbi.fit(like)
print(fit)

# %% [markdown]
# ## The same fit by RooFit
#
# `to_roofit` gives a RooDataSet of the ratio columns and a pdf of stock classes, extended and with
# its constraint. RooFit's NLL was compared with ours on the way; `obj` says by how much they
# differ at most.

# %%
obj = like.to_roofit()
print(obj)
result = obj.pdf.fitTo(obj.data, Save=True, PrintLevel=-1)
mu, jes = obj.parameters["mu"], obj.parameters["jes"]
print(f"RooFit:  mu = {mu.getVal():.4f} +- {mu.getError():.4f}, jes = {jes.getVal():.3f}")
print(f"iminuit: mu = {fit.values['mu']:.4f} +- {fit.errors['mu']:.4f}")
assert abs(mu.getVal() - fit.values["mu"]) < 0.05 * fit.errors["mu"]

figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
scan = fit.profile("mu")
order = np.argsort(scan.values)
axes.plot(scan.values[order], scan.t[order], label="profile likelihood, iminuit")
axes.errorbar([mu.getVal()], [1.0], xerr=[mu.getError()], fmt="o", capsize=4,
              label="RooFit: value and error")  # fmt: skip
axes.axhline(1.0, color="grey", lw=1, ls=":")
axes.set(xlabel="mu", ylabel="-2 ln L / L max", ylim=(0, None))
axes.legend(loc="upper center")
figure.savefig(folder / "fits.png")

# %% [markdown]
# The file needs neither rootml nor Python:
#
# ```cpp
# auto *w = TFile::Open("model.root")->Get<RooWorkspace>("w");
# w->pdf("model")->fitTo(*w->data("data"));
# ```

# %%
path = obj.write(folder / "model.root")
file = ROOT.TFile(str(path))
file.Get("w").Print()
file.Close()

# %% [markdown]
# ## Fast, and combined with other likelihoods
#
# `route="nll"` is our compiled likelihood as a RooAbsReal that knows its gradient. It lives in
# memory only (writing it is an error), and adds to any other NLL: here to a counting experiment
# that RooFit evaluates itself.

# %%
fast = like.to_roofit("nll")
mu = fast.parameters["mu"]
count = ROOT.RooRealVar("count", "events in the control region", 52.0, 0.0, 1000.0)
expected = ROOT.RooFormulaVar("expected", "40 + 15 * x[0]", [mu])
poisson = ROOT.RooPoisson("poisson", "", count, expected)
events = ROOT.RooDataSet("events", "", [count])
events.add([count])
counting = poisson.createNLL(events)
total = ROOT.RooAddition("total", "", [fast.nll, counting])
minimizer = ROOT.RooMinimizer(total)
minimizer.setPrintLevel(-1)
minimizer.setErrorLevel(0.5)  # a sum does not know that it is an NLL; fast.nll does
minimizer.minimize("Minuit2")
minimizer.minos(ROOT.RooArgSet(mu))
print(f"with the counts: mu = {mu.getVal():.3f} {mu.getErrorLo():+.3f} {mu.getErrorHi():+.3f}")
del minimizer  # before what it minimises

# %% [markdown]
# ## The ratio as a function
#
# Any Python function of events and parameters becomes a RooAbsReal, evaluated for all events in
# one call: the learned signal over background, for a picture. Networks that depend on parameters
# go the same way.


# %%
def learned(events: dict[str, Any], _: dict[str, float]) -> Any:
    """p_S / p_B at central rapidity."""
    points = {"mass": events["mass"], "y": np.zeros(len(events["mass"]))}
    return ratios.columns(points)["S"]["nominal"]


made = roofit.function(learned, {"mass": (0.0, 10.0)}, {}, name="signal_over_background")
mass = made.observables["mass"]
frame = mass.frame(Title="p_S / p_B at y = 0: learned (line), true (dashed)")
made.function.plotOn(frame)
true = ROOT.RooFormulaVar(
    "true",
    # the two normal densities of y contribute their widths: 1.5 / 0.8
    "(1.5 / 0.8) * TMath::Gaus(x[0], 4, 0.6, true) / (exp(-x[0] / 2.8) / 2.8)",
    [mass],
)
true.plotOn(frame, LineStyle="--", LineColor=ROOT.kRed + 1)
canvas = ROOT.TCanvas()
frame.Draw()
canvas.SaveAs(str(folder / "ratio.png"))
