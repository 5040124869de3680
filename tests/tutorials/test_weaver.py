"""The translation of weaver's data configs gives what weaver itself reads, on nasty jets too."""

from __future__ import annotations

import ast
import json
import warnings
from pathlib import Path
from typing import Any

import awkward as ak
import jets
import numpy as np
import pytest
import uproot

import rootml
from rootml.batching import Padded

TUTORIAL = Path(__file__).parents[2] / "tutorials" / "move_from_weaver.py"
SELECTION = "(jet_pt > 520) & (jet_sdmass < 150)"
torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def weaver() -> Any:
    """weaver's dataset module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("weaver.utils.dataset")


def of_the_tutorial(*names: str) -> list[Any]:
    """Functions that the tutorial defines, without what it does."""
    tree = ast.parse(TUTORIAL.read_text(encoding="utf-8"))
    kept: list[ast.stmt] = [
        node
        for node in tree.body
        if (isinstance(node, ast.FunctionDef) and node.name in {*names, "wrapped"})
        or (isinstance(node, ast.Import | ast.ImportFrom) and "weaver" not in ast.unparse(node))
    ]
    space: dict[str, Any] = {}
    exec(compile(ast.Module(kept, []), str(TUTORIAL), "exec"), space)
    return [space[name] for name in names]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Jets without particles, with one, with more than 128, and particles that are no numbers."""
    folder = tmp_path_factory.mktemp("jets")
    paths = []
    for number, process in enumerate(jets.PROCESSES):
        branches = jets.simulate(process, 200, 7 + number)
        lengths = np.array(ak.num(branches["part"].px))
        lengths[:6] = (0, 1, 2, 0, 1, 2)
        parts = ak.concatenate(
            [branches["part"][:100], ak.concatenate([branches["part"][100:]] * 3, axis=1)]
        )
        wanted = np.concatenate([lengths[:100], 3 * lengths[100:]])
        parts = parts[ak.local_index(parts.px, axis=1) < wanted]
        flat = {name: np.array(ak.flatten(parts[name])) for name in parts.fields}
        flat["deta"][::97] = np.nan
        branches["part"] = ak.unflatten(ak.zip(flat), np.array(ak.num(parts.px)))
        assert max(ak.num(branches["part"].px)) > 128
        paths.append(str(folder / f"{process}.root"))
        with uproot.recreate(paths[-1]) as file:
            file.mktree("tree", {name: ak.type(b).content for name, b in branches.items()})
            file["tree"].extend(branches)
    return paths


def config(folder: Path, *, pad_mode: str, selection: str | None, **more: Any) -> str:
    """A data config with every kind of input."""
    scaled = [["part_pt_log", 1.7, 0.7], ["part_deltaR", 0.2, 4.0], ["part_deta", None]]
    common = {"length": 128, "pad_mode": pad_mode}
    content = {
        "selection": selection,
        "new_variables": {
            "part_mask": "ak.ones_like(part_energy)",
            "part_pt_log": "np.log(np.hypot(part_px, part_py))",
            "part_deltaR": "np.hypot(part_deta, part_dphi)",
        },
        "inputs": {
            "pf_points": {**common, "vars": [["part_deta", None]]},
            "pf_features": {**common, "vars": scaled},
            "pf_vectors": {**common, "vars": [["part_px", None], ["part_energy", None]]},
            "pf_mask": {"length": 128, "pad_mode": "constant", "vars": [["part_mask", None]]},
        },
        "labels": {"type": "simple", "value": [f"label_{name}" for name in jets.LABELS]},
        "observers": ["jet_pt", "jet_sdmass"],
        **more,
    }
    path = folder / "data.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")  # which is YAML, too
    return str(path)


def translated(files: list[str], selection: str | None) -> tuple[rootml.Dataset, dict[str, Any]]:
    """The same by rootml, with the tutorial's way to scale."""
    (standardised,) = of_the_tutorial("standardised")
    data = rootml.open([f"{path}:tree" for path in files])
    data = data.define(
        part_pt_log="np.log(np.hypot(part_px, part_py))",
        part_deltaR="np.hypot(part_deta, part_dphi)",
    )
    if selection is not None:
        data = data.filter(selection)
    scaled = [standardised("part_pt_log", 1.7, 0.7), standardised("part_deltaR", 0.2, 4.0)]
    inputs = {
        "pf_points": Padded(["part_deta"], length=128),
        "pf_features": Padded([*scaled, "part_deta"], length=128),
        "pf_vectors": Padded(["part_px", "part_energy"], length=128),
    }
    label = " + ".join(f"{number} * label_{name}" for number, name in enumerate(jets.LABELS))
    return data.with_label(label), inputs


@pytest.mark.parametrize("selection", [None, SELECTION])
@pytest.mark.parametrize("pad_mode", ["wrap", "constant"])
def test_tensors_are_those_of_weaver(
    weaver: Any, files: list[str], tmp_path: Path, pad_mode: str, selection: str | None
) -> None:
    path = config(tmp_path, pad_mode=pad_mode, selection=selection)
    dataset = weaver.SimpleIterDataset({"": files}, path, for_training=False, fetch_step=0)
    theirs = list(torch.utils.data.DataLoader(dataset, batch_size=64))
    data, inputs = translated(files, selection)
    loader = data.batches(64, inputs=inputs, observers=["jet_pt", "jet_sdmass"], nonfinite=0.0)
    assert 200 < loader.num_rows <= 600
    (as_weaver,) = of_the_tutorial("as_weaver")
    for (X, Y, Z), (x, y, observed) in zip(theirs, loader.torch(), strict=True):
        if pad_mode == "wrap":
            made = as_weaver(x)
        else:
            made = {name: x[name].transpose(1, 2) for name in inputs}
            made["pf_mask"] = x["pf_points_mask"][:, None].float()
        assert made.keys() == X.keys()
        for name in ("pf_points", "pf_vectors", "pf_mask"):
            assert torch.equal(made[name], X[name])
        torch.testing.assert_close(made["pf_features"], X["pf_features"], rtol=0, atol=2e-6)
        assert torch.equal(y.long(), Y["_label_"])
        assert torch.equal(observed["jet_pt"], Z["jet_pt"])
        assert torch.equal(observed["jet_sdmass"], Z["jet_sdmass"])


def test_a_training_epoch_of_weaver_has_the_same_jets(
    weaver: Any, files: list[str], tmp_path: Path
) -> None:
    """Shuffled by both: as sets, by the energies of the particles."""
    path = config(tmp_path, pad_mode="wrap", selection=SELECTION)
    dataset = weaver.SimpleIterDataset({"": files}, path, for_training=True, fetch_step=0.25)
    theirs = [X["pf_vectors"] for X, _, _ in torch.utils.data.DataLoader(dataset, batch_size=32)]
    data, inputs = translated(files, SELECTION)
    (as_weaver,) = of_the_tutorial("as_weaver")
    loader = data.batches(32, shuffle=True, seed=3, inputs=inputs, nonfinite=0.0)
    ours = [as_weaver(x)["pf_vectors"] for x, _ in loader.torch()]
    rows = [torch.cat(parts).flatten(1).numpy() for parts in (theirs, ours)]
    theirs_sorted, ours_sorted = (part[np.lexsort(part.T[::-1])] for part in rows)
    assert np.array_equal(theirs_sorted, ours_sorted)
    assert not np.array_equal(rows[0], rows[1])


def test_automatic_standardisation_is_three_percentiles(
    weaver: Any, files: list[str], tmp_path: Path
) -> None:
    content = config(tmp_path, pad_mode="wrap", selection=SELECTION)
    text = json.loads(Path(content).read_text(encoding="utf-8"))
    text["preprocess"] = {"method": "auto", "data_fraction": 1.0}
    text["inputs"]["pf_features"]["vars"] = ["part_pt_log"]
    text["inputs"]["pf_points"]["vars"] = [["part_dphi", None]]
    Path(content).write_text(json.dumps(text), encoding="utf-8")
    dataset = weaver.SimpleIterDataset({"": files}, content, for_training=True, fetch_step=0)
    found = dataset.config.preprocess_params["part_pt_log"]
    data, _ = translated(files, SELECTION)
    values = np.asarray(ak.flatten(data.select(["part_pt_log"]).to_awkward()["part_pt_log"]))
    low, center, high = np.percentile(values, [16, 50, 84])
    assert found["center"] == pytest.approx(center, rel=1e-6)
    assert found["scale"] == pytest.approx(1 / max(high - center, center - low), rel=1e-5)


@pytest.mark.parametrize("mass", [[0.0, 10_000.0], [0.0, 60.0, 120.0, 500.0]])
def test_flat_weights_are_those_of_weaver(
    weaver: Any, files: list[str], tmp_path: Path, mass: list[float]
) -> None:
    from weaver.utils.data.fileio import _read_files
    from weaver.utils.data.preprocess import _build_weights

    classes = [f"label_{kind}" for kind, _, _ in jets.PROCESSES.values()]
    bins = {"jet_pt": [500.0, 550.0, 600.0, 700.0, 900.0, 1200.0], "jet_sdmass": mass}
    weights = {
        "use_precomputed_weights": False,
        "reweight_method": "flat",
        "reweight_vars": bins,
        "reweight_classes": classes,
        "reweight_threshold": 15,
    }
    path = config(tmp_path, pad_mode="wrap", selection=None, weights=weights)
    with pytest.MonkeyPatch.context() as patch, np.errstate(divide="ignore"):
        patch.setattr("time.sleep", lambda _: None)  # weaver waits ten seconds after a warning
        dataset = weaver.SimpleIterDataset({"": files}, path, for_training=True, fetch_step=0)
        table = _read_files(files, [*bins, *classes])
        theirs = _build_weights(table, dataset.config)
    data, _ = translated(files, None)
    columns = data.select([*bins, *classes]).to_awkward()
    label = np.argmax([columns[name].to_numpy() for name in classes], axis=0)
    (flat,) = of_the_tutorial("flat")
    ours = flat(
        [columns[name].to_numpy() for name in bins], label, list(map(np.array, bins.values())), 15
    )
    assert 0 < np.mean(theirs > 0) < 1
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
