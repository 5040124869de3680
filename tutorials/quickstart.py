# %% [markdown]
# # The whole of rootml in a minute
#
# What `make quickstart` runs: it makes ROOT files of simulated collisions, streams them into a
# training in torch and into XGBoost, compiles the forest and scores the files, learns likelihood
# ratios and fits a signal strength, and carries a simulation onto data. Every sentence with a tick
# was checked a moment before; if one does not hold, the program ends with an error. The last line
# names a page with the pictures: `quickstart-output/report.html`.
#
# ![Scores of a network and a compiled forest; the likelihood of a signal strength; a variable of
# photons before and after morphing, beside data](../assets/quickstart.png)
#
# Needs `pip install 'rootml[torch,bdt,sbi,plot]' xgboost-cpu`; ROOT is used if it is there.

# %%
from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import platform
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import torch
import uproot
import xgboost
from collisions import make_files, simulate, write_file
from page import ClaimFailed, Page
from photons import CONDITIONS
from photons import FEATURES as PHOTON_FEATURES
from photons import make_files as make_photons
from torch import nn

import rootml
from rootml import sbi
from rootml.batching import Standardizer
from rootml.sbi.morphing import Morpher

Values = npt.NDArray[Any]

# %% [markdown]
# ## Say what is wanted
#
# Nothing is read here: a `Dataset` is a description. Cuts and new columns may be written as in
# ROOT or as in Python. The split goes by a hash of the event's identity, so that an event stays on
# its side in every skim, on every machine.

# %%
IDENTITY = ["run", "luminosityBlock", "event"]
WEIGHTS = {"signal": 0.005, "background": 0.1}  # simulated events count as so many observed ones
DIJET_MASS = (
    "sqrt(2 * Jet_pt[0] * Jet_pt[1]"
    " * (cosh(Jet_eta[0] - Jet_eta[1]) - cos(Jet_phi[0] - Jet_phi[1])))"
)
FEATURES = [
    "nJet",
    "MET_pt",
    "HT",
    "mjj",
    "pt1 = Jet_pt[0]",
    "pt2 = Jet_pt[1]",
    "deta = abs(Jet_eta[0] - Jet_eta[1])",
    "btag = Max$(Jet_btag)",
]


def chosen(data: rootml.Dataset) -> rootml.Dataset:
    """The selected events, with the features that are learned from."""
    selected = data.filter("nJet >= 2 && Jet_pt[1] > 30")
    return selected.define(HT="Sum$(Jet_pt)", mjj=DIJET_MASS).select(FEATURES)


def sample(folder: Path, kind: str) -> rootml.Dataset:
    """The selected events of signal or background, labelled and weighted."""
    weight = f"genWeight * {WEIGHTS[kind]}"
    files = f"{folder}/{kind}_*.root:Events"
    return chosen(rootml.open(files, label=int(kind == "signal"), weight=weight))


def event_numbers(data: rootml.Dataset) -> Values:
    """Of the selected events, sorted; they are unique in these files."""
    return np.sort(data.select(["event"]).to_awkward()["event"].to_numpy())


# %% [markdown]
# ## Train a network in torch
#
# The loop is the one that everybody writes. `balance="weights"` gives both classes the same sum of
# weights; the few negative weights stay negative. `observers` come beside each batch: here they
# show that every selected event comes exactly once per epoch.


# %%
def train_network(page: Page, training: rootml.Dataset, test: rootml.Dataset) -> nn.Module:
    """Two hidden layers, trained on batches streamed from the files."""
    torch.manual_seed(1)
    loader = training.batches(
        4096, shuffle=True, seed=1, balance="weights", observers=["event"], progress=False
    )
    model = nn.Sequential(
        Standardizer().fit(training).to_torch(),
        nn.Linear(len(FEATURES), 64),
        nn.SiLU(),
        nn.Linear(64, 64),
        nn.SiLU(),
        nn.Linear(64, 1),
        nn.Flatten(0),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    cross_entropy = nn.BCEWithLogitsLoss(reduction="none")
    wanted = event_numbers(training)
    losses, complete, begun = [], [], time.perf_counter()
    for epoch in range(3):
        sums, events = np.zeros(2), []
        for x, y, w, observed in page.track(loader.torch(), f"epoch {epoch + 1}"):
            loss = w * cross_entropy(model(x), y.float())
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
            sums += float(loss.detach().sum()), float(w.sum())
            events.append(observed["event"].numpy())
        losses.append(sums[0] / sums[1])
        complete.append(np.array_equal(np.sort(np.concatenate(events)), wanted))
    rate = len(complete) * len(wanted) / (time.perf_counter() - begun)
    page.say(
        f"{len(losses)} epochs of shuffled batches straight from the files of one class each: "
        f"{rate / 1e6:.2f} million events/s, with the training in it."
    )
    page.claim(
        f"each of the {len(wanted):,} events of the training side came exactly once per epoch",
        all(complete),
    )
    shown = ", ".join(f"{loss:.4f}" for loss in losses)
    page.claim(f"the loss falls: {shown}", losses == sorted(losses, reverse=True))
    area = roc(score_by_network(model, test), *truth(test))[2]
    page.claim(f"the network tells events apart that it never saw: AUC {area:.4f}", area > 0.9)
    return model


@torch.no_grad()
def score_by_network(model: nn.Module, data: rootml.Dataset) -> Values:
    """One score per selected event, in the order of the files."""
    return np.concatenate([model(batch[0]).sigmoid().numpy() for batch in batches_of(data)])


def batches_of(data: rootml.Dataset) -> Any:
    """Batches in the order of the files."""
    return data.batches(2048).torch()


def truth(data: rootml.Dataset) -> tuple[Values, Values]:
    """Label and weight of every selected event."""
    parts = [(y.numpy(), w.numpy()) for _, y, w in batches_of(data)]
    label, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    return label, weight


def roc(score: Values, label: Values, weight: Values) -> tuple[Values, Values, float]:
    """Weighted efficiencies of background and signal from tight to loose cuts, and the area."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)  # equal scores fall together
    passed = [
        np.append(0, np.cumsum(np.where(label == kind, weight, 0.0)[order])[last])
        for kind in (0, 1)
    ]
    background, signal = (column / column[-1] for column in passed)
    area = float(np.sum(np.diff(background) * (signal[1:] + signal[:-1]) / 2))
    return background, signal, area


# %% [markdown]
# ## Train XGBoost from the same loader, compile the forest
#
# `.xgboost()` hands batches to XGBoost one after the other. XGBoost refuses negative weights, so
# the forest learns from the others. The compiled forest gives the same margins, bit by bit.


# %%
def train_forest(page: Page, training: rootml.Dataset, test: rootml.Dataset) -> Any:
    """A forest, compiled; compared with XGBoost on all test events."""
    page.say("The batches go to XGBoost, its trees to LLVM; look at how near both models come.")
    loader = training.filter("genWeight > 0").batches(8192, balance="weights")
    matrix = xgboost.QuantileDMatrix(loader.xgboost())
    page.say("XGBoost has seen all batches and keeps 256 bins a feature; now it grows 100 trees.")
    options = {"objective": "binary:logistic", "max_depth": 6, "eta": 0.2, "nthread": 2}
    booster = xgboost.train(options, matrix, num_boost_round=100)
    booster.save_model(page.folder / "forest.json")

    model = rootml.bdt.load(page.folder / "forest.json").compile()
    rows = np.concatenate([batch[0].numpy() for batch in batches_of(test)])
    margins = booster.predict(
        xgboost.DMatrix(rows, feature_names=booster.feature_names), output_margin=True
    )
    page.claim(
        f"the compiled forest gives XGBoost's margins for {len(rows):,} test events, bit by bit",
        np.array_equal(model.predict_margin(rows, threads=1), margins),
    )
    booster.set_param({"nthread": 1})
    theirs = fastest(lambda: booster.inplace_predict(rows))
    ours = fastest(lambda: model.predict(rows, threads=1))
    page.say(
        f"Processor time per event: {1e9 * ours / len(rows):.0f} ns compiled, "
        f"{1e9 * theirs / len(rows):.0f} ns by XGBoost's inplace_predict."
    )
    return model


def fastest(run: Any) -> float:
    """Seconds of the processor in the fastest of five runs."""
    seconds = []
    for _ in range(5):
        begun = time.process_time()
        run()
        seconds.append(time.process_time() - begun)
    return min(seconds)


# %% [markdown]
# ## Scores beside the events
#
# One friend file per input, one entry per original entry: events that were not selected hold NaN
# and `forest_valid = false`. Any tool that knows friend trees can read them; here uproot counts,
# and rootml reads.


# %%
def write_scores(
    page: Page, folder: Path, data: rootml.Dataset, network: Any, forest: Any
) -> None:
    """Friend trees with the scores of both, read back and compared."""
    page.say(
        "Friend trees with one entry per original entry: AddFriend in ROOT, friends= in rootml. "
        "Events that fail the cuts hold NaN."
    )
    by_network = score_by_network(network, data)
    data.write_friend(folder / "network", {"network": by_network}, overwrite=True)
    paths = forest.write_friend(data, folder / "forest", name="forest", overwrite=True)
    inputs = sorted(folder.glob("signal_*.root")) + sorted(folder.glob("background_*.root"))
    entries = [(count(mine), count(theirs)) for mine, theirs in zip(paths, inputs, strict=True)]
    page.claim(
        f"{len(paths)} friend files of the forest, with an entry for each of the "
        f"{sum(n for _, n in entries):,} original entries",
        all(mine == theirs for mine, theirs in entries),
    )
    friends = {name: f"{folder}/{name}/*.root" for name in ("network", "forest")}
    kinds = [f"{folder}/{kind}_*.root:Events" for kind in ("signal", "background")]
    back = chosen(rootml.open(kinds, friends=friends)).select(["network", "forest"]).to_awkward()
    page.claim(
        f"read back as friends, all {len(back):,} scores of either are what was predicted",
        np.array_equal(back["network"].to_numpy(), by_network)
        and np.array_equal(back["forest"].to_numpy(), forest.predict(data)),
    )


def count(path: str | Path) -> int:
    """Entries of the only tree of a file, by uproot."""
    with uproot.open(path) as file:
        (tree,) = file.values(filter_classname="TTree")
        return int(tree.num_entries)


def draw_scores(page: Page, test: rootml.Dataset, network: Any, forest: Any) -> None:
    """Scores of both classes, and ROC curves."""
    label, weight = truth(test)
    scores = {"network": score_by_network(network, test), "forest": forest.predict(test)}

    def histograms(axes: Any) -> None:
        bins = np.linspace(0, 1, 41)
        for kind, name in enumerate(("background", "signal")):
            mine = label == kind
            for model, style in (("network", "-"), ("forest", "--")):
                content = np.histogram(scores[model][mine], bins, weights=weight[mine])[0]
                axes.stairs(
                    content / content.sum(), bins, color=f"C{kind}", ls=style,
                    label=f"{name}, {model}",
                )  # fmt: skip
        axes.set(xlabel="score", ylabel="share of the test events", xlim=(0, 1), yscale="log")
        axes.legend(loc="upper center")

    def curves(axes: Any) -> None:
        for model, style in (("network", "-"), ("forest", "--")):
            background, signal, area = roc(scores[model], label, weight)
            axes.plot(signal, 1 - background, style, label=f"{model}: AUC {area:.4f}")
        axes.set(xlabel="signal efficiency", ylabel="background rejection")
        axes.set(xlim=(0.8, 1), ylim=(0.6, 1.01))
        axes.grid(alpha=0.3)
        axes.legend(loc="lower left")

    page.picture("scores", "Scores of test events, by what they are", histograms)
    page.picture("roc", "How well signal and background are told apart (test events)", curves)


# %% [markdown]
# ## Learn the likelihood ratio, fit the signal strength
#
# "Data" are drawn anew, with more signal than the simulation expects, and without labels. The
# ratio of the densities of signal and background is learned from the training side; the fit of
# all events, unbinned, is done by iminuit, and by RooFit if ROOT is installed.

# %%
WANTED = 1.5


def make_data(folder: Path, events: int) -> tuple[rootml.Dataset, float]:
    """A file of what might be observed, and the signal strength that came out."""
    rng = np.random.default_rng(1)
    share = {"signal": 2 * WANTED, "background": 3.0}  # of five files; 0.94: mean of genWeight
    mean = {kind: 0.94 * WEIGHTS[kind] * (events // 5) * n for kind, n in share.items()}
    drawn = {kind: int(rng.poisson(number)) for kind, number in mean.items()}
    parts = [simulate(kind, number, 101 + i) for i, (kind, number) in enumerate(drawn.items())]
    write_file(folder / "data.root", parts)
    put_in = WANTED * drawn["signal"] / mean["signal"]
    return chosen(rootml.open(f"{folder}/data.root:Events")), put_in


def fit_signal(page: Page, folder: Path, data: rootml.Dataset, put_in: float) -> None:
    """mu, by iminuit and by RooFit."""
    page.say(
        "A network learns the ratio of the densities of signal and background; the unbinned fit "
        "of new data uses all that it knows of each event, not a histogram of scores."
    )
    samples = {"S": sample(folder, "signal"), "B": sample(folder, "background")}
    expected = {name: float(one.scan().total.sumw) for name, one in samples.items()}
    training = {name: one.split(test=0.25, by=IDENTITY)[0] for name, one in samples.items()}
    inputs = ["log(mjj)", "log(MET_pt + 5)", "btag", "log(pt1)", "deta"]
    estimator = sbi.RatioEstimator(inputs, ensemble=2, epochs=5, by=IDENTITY, seed=1)
    ratios = estimator.fit(training, reference="B")
    if any("not learned well" in note for note in ratios.record.notes):
        page.say(
            "Held-out events say what a few epochs did not learn (the note above). A result wants "
            "a longer training and sbi.diagnose, which says what such an error does to the fit."
        )

    model = sbi.Model(
        processes={"S": f"mu * {expected['S']:.6f}", "B": "nB"},
        parameters={
            "mu": sbi.Parameter(1.0, lower=0.0, upper=10.0),
            "nB": sbi.Parameter(expected["B"], lower=0.0, upper=10 * expected["B"]),
        },
    )
    columns = ratios.columns(data)
    like = model.likelihood(columns)
    fit = sbi.fit(like)
    mu, error = fit.values["mu"], fit.errors["mu"]
    page.say(
        f"{len(columns['S']['nominal']):,} events observed; expected are {expected['S']:,.0f} of "
        f"signal and {expected['B']:,.0f} of background. iminuit: mu = {mu:.3f} ± {error:.3f}."
    )
    page.claim("the minimum is valid", fit.valid)
    page.claim(
        f"the injected signal ({put_in:.3f} times the expected) is found within three "
        f"standard deviations: {(mu - put_in) / error:+.1f}",
        abs(mu - put_in) < 3 * error,
    )
    by_roofit = fit_by_roofit(page, like, fit)
    draw_fit(page, fit, by_roofit, put_in, expected["S"] * columns["S"]["nominal"])


def fit_by_roofit(page: Page, like: Any, fit: Any) -> tuple[float, float] | None:
    """mu and its error by RooFit's own classes and minimiser; None without ROOT."""
    if importlib.util.find_spec("ROOT") is None:
        page.say("ROOT is not installed: the same fit by RooFit was left out (pip install root).")
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel says that it is in its alpha stage
        import ROOT

    ROOT.gROOT.SetBatch(True)
    ROOT.RooMsgService.instance().setGlobalKillBelow(ROOT.RooFit.ERROR)
    handed = like.to_roofit()
    handed.pdf.fitTo(handed.data, PrintLevel=-1)
    mu = handed.parameters["mu"]
    value, error = float(mu.getVal()), float(mu.getError())
    off = (value - fit.values["mu"]) / fit.errors["mu"]
    page.claim(
        f"RooFit's own minimisation gives the same: mu = {value:.3f} ± {error:.3f} "
        f"({off:+.4f} standard deviations away)",
        abs(off) < 0.02 and abs(error / fit.errors["mu"] - 1) < 0.02,
    )
    return value, error


def draw_fit(page: Page, fit: Any, roofit: Any, put_in: float, signal: Values) -> None:
    """The likelihood along mu, and the events by what was learned."""
    scan = fit.profile("mu")
    order = np.argsort(scan.values)
    mu, background = fit.values["mu"], fit.values["nB"]

    def along(axes: Any) -> None:
        axes.plot(scan.values[order], scan.t[order], label="profile likelihood, iminuit")
        axes.vlines(put_in, 0, 10.2, color="C2", ls="--", label="injected")  # below the legend
        if roofit is not None:
            axes.errorbar(
                [roofit[0]], [1.0], xerr=[roofit[1]], fmt="o", capsize=4, color="C1",
                label="RooFit: value ± error",
            )  # fmt: skip
        axes.axhline(1.0, color="grey", lw=1, ls=":")
        axes.set(xlabel=r"signal strength $\mu$", ylabel=r"$-2\,\Delta\ln L$", ylim=(0, 15))
        axes.legend(loc="upper center")

    def purity(axes: Any) -> None:
        chance = mu * signal / (mu * signal + background)  # of an event, to be signal
        bins = np.linspace(0, max(0.05, float(chance.max())), 31)
        axes.hist(chance, bins, label="observed", histtype="step", color="C0")
        axes.hist(chance, bins, weights=chance, label="of them signal, by the fit", color="C1")
        axes.set(xlabel="probability to be signal", ylabel="observed events", yscale="log")
        axes.legend()

    page.picture("likelihood", "The likelihood along the signal strength", along)
    page.picture("purity", "Observed events, by the probability to be signal", purity)


# %% [markdown]
# ## Simulation carried onto data
#
# Simulated photons differ from those of data, in known ways. One flow learns both and moves each
# simulated photon; classifiers that try to tell simulation from data say how well. An AUC of 0.5
# means that they cannot; "floor" is one half of the data beside the other.


# %%
def morph(page: Page, folder: Path, events: int, steps: int) -> None:
    """Corrected branches as friends, and the two-sample test before and after."""
    page.say(
        "Simulated photons have wrong shapes, thresholds and correlations. A flow moves each of "
        "them to where it would be in data; look at how the corrected shapes follow the data."
    )
    make_photons(folder, events)
    page.say(f"{events:,} events of either are made; the flow learns from two thirds of them.")
    sim = rootml.open(f"{folder}/sim.root:Events", weight="genWeight")
    data = rootml.open(f"{folder}/data.root:Events")
    sim_training, sim_test = sim.split(test=0.33, by="event")
    data_training, data_test = data.split(test=0.33, by="event")
    morpher = Morpher(PHOTON_FEATURES, CONDITIONS, id="event", steps=steps, batch_size=512, seed=1)
    logging.getLogger("rootml.sbi.morphing").setLevel(logging.ERROR)  # said below
    morpher.fit(sim_training, data_training)
    applied = morpher.apply(sim, folder / "corrected", suffix="_corr", overwrite=True)
    page.say(
        f"{len(PHOTON_FEATURES)} features of {applied.rows:,} simulated photons corrected, as "
        f"friend branches; {applied.unchanged:,} photons outside of what both samples cover pass "
        "unchanged, and are flagged."
    )
    report = morpher.validate(sim_test, data_test)
    before, after, floor = (
        one.classifier.auc for one in (report.before, report.after, report.floor)
    )
    page.claim(
        f"told apart from data by classifiers: AUC {before:.3f} before, {after:.3f} after "
        f"(floor {floor:.3f})",
        after - 0.5 < 0.5 * (before - 0.5),
    )
    draw_morph(page, folder)


def draw_morph(page: Page, folder: Path) -> None:
    """Two of the features, before and after, beside the data."""
    friends = f"{folder}/corrected/*.root"
    sim = rootml.open(f"{folder}/sim.root:Events", friends=friends)
    data = rootml.open(f"{folder}/data.root:Events")
    for feature, stop in (("Photon_iso", 6.0), ("Photon_r9", 1.0)):
        columns = {
            "data": flat(data.select([feature])),
            "simulation": flat(sim.select([feature])),
            "corrected": flat(sim.select([f"{feature}_corr"])),
        }
        weights = flat(sim.select([f"w = genWeight + 0 * {feature}"]))  # of the event, per photon
        draw_feature(page, feature, columns, weights, stop)


def flat(data: rootml.Dataset) -> Values:
    """The only column of a dataset, all photons of all events."""
    (column,) = ak.unzip(data.to_awkward())
    return np.asarray(ak.flatten(column))


def draw_feature(
    page: Page, feature: str, columns: dict[str, Values], weights: Values, stop: float
) -> None:
    """One feature of data, simulation and corrected simulation."""

    def histograms(axes: Any) -> None:
        bins = np.linspace(0, stop, 49)
        for name, style in (("simulation", "--"), ("corrected", "-")):
            content = np.histogram(columns[name], bins, weights=weights)[0]
            axes.stairs(content / content.sum(), bins, ls=style, lw=1.5, label=name)
        observed = np.histogram(columns["data"], bins)[0]
        centres = (bins[1:] + bins[:-1]) / 2
        axes.plot(centres, observed / observed.sum(), ".", color="C2", label="data")
        name = {"Photon_r9": "photon $R_9$", "Photon_iso": "photon isolation [GeV]"}[feature]
        axes.set(xlabel=name, ylabel="share of the photons", xlim=(0, stop), yscale="log")
        axes.legend()

    page.picture(feature, f"{feature}: simulation before and after, beside the data", histograms)


# %% [markdown]
# ## All of it


# %%
def run(page: Page, folder: Path, options: argparse.Namespace) -> None:
    """The six steps."""
    with page.step("ROOT files, and what is wanted of them"):
        make_files(folder, options.events)
        everything = sample(folder, "signal") + sample(folder, "background")
        training, test = everything.split(test=0.25, by=IDENTITY)
        page.say(
            "Five ROOT files with simulated collisions: a resonance that decays to two jets, and "
            "its background. Cuts and new columns are written as in ROOT; nothing is converted."
        )
        page.table(str(everything.cutflow(progress=False)))
        sides = [event_numbers(side) for side in (everything, training, test)]
        page.claim(
            f"{len(sides[0]):,} events are selected, {len(sides[1]):,} of them for training and "
            f"{len(sides[2]):,} for testing: each is on one side",
            np.array_equal(np.sort(np.concatenate(sides[1:])), sides[0]),
        )
    with page.step("A network in torch, streamed from the files"):
        network = train_network(page, training, test)
    with page.step("XGBoost from the same loader, compiled"):
        forest = train_forest(page, training, test)
        draw_scores(page, test, network, forest)
    with page.step("Scores beside the events"):
        write_scores(page, folder, everything, network, forest)
    with page.step("A signal strength, with learned likelihood ratios"):
        fit_signal(page, folder, *make_data(folder, options.events))
    with page.step("Simulation carried onto data"):
        morph(page, folder / "photons", options.photons, options.steps)


def write_analysis(folder: Path) -> Path:
    """`analysis.toml` of the tutorials, for these files."""
    text = (Path(__file__).parent / "analysis.toml").read_text(encoding="utf-8")
    _, _, text = text.partition("\n\n")  # without what it says of other files
    for old, new in (
        ("files/", ""),
        ('* 0.02"', f'* {WEIGHTS["signal"]}"'),
        ('* 0.2"', f'* {WEIGHTS["background"]}"'),
    ):
        text = text.replace(old, new)
    path = folder / "analysis.toml"
    path.write_text(text, encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The whole of rootml on generated ROOT files.")
    parser.add_argument("--events", type=int, default=500_000, help="simulated collisions")
    parser.add_argument("--photons", type=int, default=20_000, help="events with photons")
    parser.add_argument("--steps", type=int, default=800, help="of the training of the flow")
    parser.add_argument("--output", type=Path, default=Path("quickstart-output"))
    options, _ = parser.parse_known_args(arguments)
    folder: Path = options.output
    folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(format="%(message)s")  # without a terminal: lines in place of bars
    logging.getLogger("rootml.progress").setLevel(logging.INFO)
    page, begun = Page(folder, steps=6), time.perf_counter()
    try:
        run(page, folder, options)
    except ClaimFailed as error:
        print(f"\nquickstart: {error}", file=sys.stderr)
        return 1
    page.overview("overview", ["scores", "likelihood", "Photon_r9"])
    seconds = time.perf_counter() - begun
    path = page.write(
        "rootml: from ROOT files to a fit",
        f"{options.events:,} simulated collisions, {seconds:.0f} s in all on "
        f"{os.cpu_count()} cores ({platform.machine()}). A tick: this was checked on the way.",
    )
    print(f"\nThe same as one file, from events to the fit: rootml run {write_analysis(folder)}")
    print(f"{seconds:.0f} s in all. The page with the pictures: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
