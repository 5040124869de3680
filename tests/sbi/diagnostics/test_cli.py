"""`rootml sbi diagnose` from end to end: ratios learned, saved, tested on other events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sbi_learned import write

import rootml
from rootml import sbi
from rootml.cli import main

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")


def sample(path: Path, mean: float, seed: int, rows: int = 12_000) -> rootml.Dataset:
    """N(mean, 1); half of the events, far away, are to be cut."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(mean, 1.0, rows), rng.normal(50.0, 1.0, rows)])
    good = np.repeat([1, 0], rows)
    order = rng.permutation(2 * rows)
    columns = {"x": x[order], "good": good[order], "w": np.full(2 * rows, 0.25)}
    return write(path, columns, weight="w")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ratios of two peaks, good and spoilt, and events that they have not seen."""
    place = tmp_path_factory.mktemp("ratios")
    samples = {
        name: sample(place / f"{name}-train.parquet", mean, k).filter("good == 1")
        for k, (name, mean) in enumerate({"S": 1.0, "B": 0.0}.items())
    }
    torch.set_num_threads(1)
    estimator = sbi.RatioEstimator(
        ["x"], ensemble=2, hidden=(16,), epochs=6, batch_size=512, seed=1, progress=False
    )
    estimator.fit(samples, reference="B").save(place / "ratios.onnx")
    for k, (name, mean) in enumerate({"S": 1.0, "B": 0.0, "other": 1.4}.items(), start=20):
        sample(place / f"{name}.parquet", mean, k)
    return place


def save_fit(folder: Path, observed: int) -> Path:
    """The likelihood of so many events, three tenths of them signal."""
    ratios: Any = sbi.RatioEstimator.load(folder / "ratios.onnx")
    rng, signal = np.random.default_rng(5), int(0.3 * observed)
    x = np.concatenate([rng.normal(1.0, 1.0, signal), rng.normal(0.0, 1.0, observed - signal)])
    model = sbi.Model(
        {"S": f"mu * {signal}", "B": f"n * {observed - signal}"},
        {"mu": sbi.Parameter(1.0), "n": sbi.Parameter(1.0)},
    )
    path = folder / f"fit-{observed}.json"
    sbi.save(model.likelihood(ratios.columns({"x": x})), path)
    return path


def words(folder: Path, signal: str) -> list[str]:
    """The command."""
    names = {"S": signal, "B": "B"}
    files = [f"--sample={name}={folder / file}.parquet" for name, file in names.items()]
    options = ["--weight", "w", "--cut", "good == 1"]
    return ["sbi", "diagnose", str(folder / "ratios.onnx"), *files, *options]


def test_good_ratios(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = tmp_path / "new" / "pictures"
    code = main([*words(folder, "S"), "--plots", str(pictures)])
    printed = capsys.readouterr()
    assert code == 0, printed
    assert "calibration" in printed.out
    assert "0 to look at" in printed.out
    assert "12,000 events, effective 12,000" in printed.out
    files = sorted(pictures.iterdir())
    assert {path.name for path in files} >= {"calibration-s.png", "closure-s.png", "tails-s.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG\r\n") for path in files)


def test_numbers_are_those_of_the_function(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words(folder, "S"), "--no-classifier", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    samples = {
        name: rootml.open(str(folder / f"{name}.parquet"), weight="w").filter("good == 1")
        for name in ("S", "B")
    }
    ratios: Any = sbi.RatioEstimator.load(folder / "ratios.onnx")
    report = sbi.diagnose(ratios, samples, classifier=False)
    expected = [(c.topic, c.subject, c.what, pytest.approx(c.value)) for c in report.checks]
    assert [(r["topic"], r["of"], r["number"], r["value"]) for r in found["checks"]] == expected
    assert not any("classifier" in row["number"] for row in found["checks"])


def test_events_of_another_density_fail(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words(folder, "other"), "--no-classifier"]) == 1
    captured = capsys.readouterr()
    assert "LOOK" in captured.out
    assert captured.err.startswith("error: ")
    assert "checks of the ratios failed: S: " in captured.err


def test_no_events_of_the_reference(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [w for w in words(folder, "S") if not w.startswith("--sample=B")]
    assert main(command) == 1
    assert "no events of the reference 'B'" in capsys.readouterr().err


def test_a_small_fit_is_tested(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """12,000 held-out events see 0.5 sigma of a fit of 100 events: exit code 0."""
    command = [*words(folder, "S"), "--no-classifier", "--fit", str(save_fit(folder, 100))]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    shifts = [c for c in found["checks"] if c["number"] == "shift of the fit / sigma"]
    assert {c["of"] for c in shifts} == {"mu", "n"}
    assert all(0.0 < c["sees"] < 0.5 for c in shifts)


def test_what_is_too_coarse_for_a_fit_gives_3(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """But not 0.5 sigma of one of 3000 events."""
    command = [*words(folder, "S"), "--no-classifier", "--fit", str(save_fit(folder, 3000))]
    assert main(command) == 3
    printed = capsys.readouterr()
    assert "NOT TESTED" in printed.out
    assert "0 to look at" in printed.out
    assert "sigma on: too few held-out events" in printed.out


def test_samples_that_do_not_meet_give_3(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """20 events of each sample are too few for any check."""
    for k, (name, mean) in enumerate({"few-S": 1.0, "few-B": 0.0}.items(), start=20):
        sample(folder / f"{name}.parquet", mean, k, rows=20)
    files = [f"--sample={name}={folder}/few-{name}.parquet" for name in ("S", "B")]
    options = ["--weight", "w", "--cut", "good == 1"]
    assert main(["sbi", "diagnose", str(folder / "ratios.onnx"), *files, *options]) == 3
    assert "NOT TESTED" in capsys.readouterr().out


def test_a_failure_goes_before_what_is_not_tested(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """80 events see a very wrong density, but are too few for boosted trees: exit code 1."""
    for k, (name, mean) in enumerate({"wrong-S": 2.0, "wrong-B": 0.0}.items(), start=30):
        sample(folder / f"{name}.parquet", mean, k, rows=80)
    files = [f"--sample={name}={folder}/wrong-{name}.parquet" for name in ("S", "B")]
    options = ["--weight", "w", "--cut", "good == 1"]
    assert main(["sbi", "diagnose", str(folder / "ratios.onnx"), *files, *options]) == 1
    printed = capsys.readouterr().out
    assert "NOT TESTED" in printed
    assert "LOOK" in printed
