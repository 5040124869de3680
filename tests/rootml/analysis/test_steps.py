"""What each kind of step gives, beside the libraries that it stands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from analysis_files import FOREST, HEAD, write_analysis

from rootml.analysis import Analysis, load_analysis, provenance
from rootml.errors import NonFiniteError, UsageError

xgboost = pytest.importorskip("xgboost")
torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
metrics = pytest.importorskip("sklearn.metrics")
pytest.importorskip("iminuit")
pytest.importorskip("hist")

NETWORK = """
[step.network]
kind = "torch"
signal = "S"
background = "B"
inputs = ["x", "z"]
hidden = [8]
epochs = 2
"""
FITTED = """
[step.ratios]
kind = "ratios"
processes = ["S", "B"]
reference = "B"
inputs = ["x", "y"]
ensemble = 2
epochs = 4
hidden = [16]
[step.check]
kind = "diagnose"
ratios = "ratios"
classifier = false
[step.fit]
kind = "fit"
ratios = "ratios"
asimov = { mu = 1.5 }
processes = { S = "mu * expected", B = "expected" }
parameters = { mu = { value = 1.0, lower = 0.0, upper = 5.0 } }
nuisances = { norm = { yields = { B = 1.1 } } }
minos = "mu"
impacts = "mu"
limit = "mu"
"""


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """All kinds of steps, run."""
    scores = FOREST.replace('{ bdt = "forest" }', '{ bdt = "forest", dnn = "network" }')
    path = write_analysis(tmp_path_factory.mktemp("steps"), scores, NETWORK, FITTED)
    made = load_analysis(path)
    made.run(progress=False)
    return made


def table(analysis: Analysis, name: str) -> dict[str, Any]:
    """A file as it is, with z."""
    columns = pq.read_table(analysis.output.parent / f"{name}.parquet").to_pydict()
    arrays = {key: np.asarray(values) for key, values in columns.items()}
    return arrays | {"z": arrays["x"] - arrays["y"]}


def friend(analysis: Analysis, name: str, score: str) -> Any:
    (path,) = analysis.result("scores")[name][score]
    return np.asarray(pq.read_table(path)[score])


def test_scores_of_the_forest_are_those_of_xgboost(analysis: Analysis) -> None:
    booster = xgboost.Booster(model_file=analysis.output / "forest" / "model.json")
    for name in "SBD":
        raw = table(analysis, name)
        matrix = np.stack([raw["x"], raw["z"]], axis=1).astype(np.float32)
        wanted = booster.predict(xgboost.DMatrix(matrix, feature_names=["x", "z"]))
        selected = raw["x"] > -3
        found = friend(analysis, name, "bdt")
        np.testing.assert_allclose(found[selected], wanted[selected], rtol=0, atol=2e-7)
        assert np.isnan(found[~selected]).all()


def test_scores_of_the_network_are_those_of_its_weights(analysis: Analysis) -> None:
    """The network again in NumPy, float64, by the constants of the ONNX file."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(analysis.output / "network" / "model.onnx")
    mean, std, *layers = [
        onnx.numpy_helper.to_array(c).astype(float) for c in model.graph.initializer
    ]
    raw = table(analysis, "D")
    value = (np.stack([raw["x"], raw["z"]], axis=1) - mean) / std
    first, second = layers[:2], layers[2:]
    hidden = value @ first[0].T + first[1]
    hidden /= 1 + np.exp(-hidden)
    wanted = 1 / (1 + np.exp(-(hidden @ second[0].T + second[1])[:, 0]))
    selected = raw["x"] > -3
    np.testing.assert_allclose(friend(analysis, "D", "dnn")[selected], wanted[selected], atol=1e-5)
    inputs = analysis.dataset("D").select(["x", "z"])
    mine = analysis.result("network").predict(inputs)
    np.testing.assert_array_equal(mine, friend(analysis, "D", "dnn")[selected])


def test_evaluation_is_that_of_scikit_learn_on_the_test_side(analysis: Analysis) -> None:
    label, score, weight = [], [], []
    for name, value in (("S", 1), ("B", 0)):
        data = analysis.dataset(name, side="test", friends=["scores"]).select(["bdt"])
        found = data.to_awkward(weight=True)
        score.append(found["bdt"].to_numpy())
        weight.append(found["weight"].to_numpy())
        label.append(np.full(len(found), value))
    area = metrics.roc_auc_score(
        np.concatenate(label), np.concatenate(score), sample_weight=np.concatenate(weight)
    )
    found = analysis.result("performance")
    assert found["auc"] == pytest.approx(area, abs=1e-9)
    assert found["train_auc"] != found["auc"]
    assert list(found["efficiencies"]) == ["y"]


def test_both_sides_together_are_all_events(analysis: Analysis) -> None:
    sides = [
        analysis.dataset("S", side=side).select(["event"]).to_awkward()["event"].to_numpy()
        for side in ("train", "test")
    ]
    raw = table(analysis, "S")
    np.testing.assert_array_equal(np.sort(np.concatenate(sides)), raw["event"][raw["x"] > -3])


def test_fit_finds_what_the_model_was_told(analysis: Analysis) -> None:
    """Asimov data of mu = 1.5: the fit gives it back; MINOS is where -2 ln L has risen by 1."""
    fit = analysis.result("fit")
    assert fit.result["parameters"]["mu"]["value"] == pytest.approx(1.5, abs=1e-4)
    assert fit.result["parameters"]["norm"]["value"] == pytest.approx(0.0, abs=1e-4)
    low, high = fit.result["minos"]["mu"]
    assert low < 1.5 < high
    assert fit.result["impacts"]["norm"][0] * fit.result["impacts"]["norm"][1] < 0
    assert fit.result["limit"]["observed"] > high
    expected = table(analysis, "S")
    total = 0.1 * expected["w"][expected["x"] > -3].sum()
    model = fit.likelihood.model
    assert model.expected(mu=2.0)["S"] == pytest.approx(2 * total, rel=1e-12)


def test_every_picture_is_drawn(analysis: Analysis) -> None:
    drawn = {
        path.relative_to(analysis.output).as_posix() for path in analysis.output.rglob("*.png")
    }
    assert {
        "performance/roc.png", "performance/efficiency-1.png", "fit/pulls.png",
        "fit/profile-mu.png", "fit/impacts-mu.png", "fit/limit-mu.png",
        "check/calibration-S.png",
    } <= drawn  # fmt: skip
    page = analysis.report.read_text("utf-8")
    assert page.count("<img ") == len(drawn)


def test_every_output_says_which_step_made_it(analysis: Analysis) -> None:
    """But the likelihood, whose format is that of `sbi.save`."""
    kinds = {".png", ".json", ".onnx", ".parquet", ".root"}
    seen = set()
    for path in analysis.output.rglob("*"):
        if path.suffix not in kinds or path.name in {"likelihood.json", "provenance.json"}:
            continue
        step = path.relative_to(analysis.output).parts[0]
        found = provenance(path)
        assert found["step"] == step, path
        assert found["analysis"]["file"] == "analysis.toml"
        assert found["software"]["rootml"]
        seen.add(path.suffix)
    assert {".png", ".json", ".onnx"} < seen
    ratios = provenance(next(analysis.output.rglob("ratios.onnx")))
    assert {each["path"] for files in ratios["files"].values() for each in files}
    assert provenance(analysis.output / "forest")["files"]


def test_negative_weights_are_refused_or_dropped_as_asked(tmp_path: Path) -> None:
    head = HEAD.replace('"0.1 * w"', '"w - 0.6"')
    forest = FOREST.partition("[step.scores]")[0]
    analysis = load_analysis(write_analysis(tmp_path, forest, head=head))
    with pytest.raises(UsageError, match=r"\[step.forest\].*negative weights.*negative_weights"):
        analysis.run(progress=False)
    dropping = forest.replace("rounds", 'negative_weights = "drop"\nrounds')
    analysis = load_analysis(write_analysis(tmp_path, dropping, head=head))
    assert analysis.run(progress=False)[0].ran


def test_bracketed_inputs_of_a_forest_need_a_name(tmp_path: Path) -> None:
    forest = FOREST.partition("[step.scores]")[0].replace('"z"]', '"x < 2"]')
    with pytest.raises(UsageError, match=r"'x < 2' needs a name"):
        load_analysis(write_analysis(tmp_path, forest)).run(progress=False)


def test_a_score_that_is_nan_is_named(tmp_path: Path) -> None:
    picture = """
[step.performance]
kind = "evaluate"
score = "log(x)"
signal = "S"
background = "B"
"""
    with pytest.raises(NonFiniteError, match=r"\[step.performance\].*NaN.*entry"):
        load_analysis(write_analysis(tmp_path, picture)).run(progress=False)
