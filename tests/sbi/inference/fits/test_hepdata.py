"""Tables of results, written by hepdata_lib and read back as plain YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rootml import sbi

hepdata_lib: Any = pytest.importorskip("hepdata_lib")
yaml: Any = pytest.importorskip("yaml")
pytest.importorskip("iminuit")


@pytest.fixture(scope="module")
def fit() -> sbi.FitResult:
    mu = sbi.Parameter(1.0, lower=0.0)
    nuisances = {"lumi": sbi.Nuisance(yields={"S": 1.02}), "jes": sbi.Nuisance(yields={"S": 1.1})}
    model = sbi.Model({"S": "mu * 100", "B": "20"}, {"mu": mu}, nuisances)
    columns = {"S": np.linspace(0.5, 1.5, 131), "B": np.ones(131)}
    return sbi.fit(model.likelihood(columns, reference={"S": np.ones(50), "B": np.ones(50)}))


def written(tables: list[Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The tables as HEPData's own validator and a YAML reader see them."""
    monkeypatch.chdir(folder)  # hepdata_lib writes its archive there
    submission = hepdata_lib.Submission()
    for each in tables:
        submission.add_table(each)
    submission.create_files("out", validate=True)
    documents = yaml.safe_load_all((folder / "out" / "submission.yaml").read_text())
    files = [each["data_file"] for each in documents if "data_file" in each]
    return [yaml.safe_load((folder / "out" / file).read_text()) for file in files]


def numbers(column: Any) -> list[Any]:
    return [each["value"] for each in column["values"]]


@pytest.mark.filterwarnings("ignore")
def test_tables_hold_the_numbers(
    fit: sbi.FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, table = fit.profile("mu", points=5), sbi.impacts(fit, "mu")
    limit = sbi.limit(fit.like, "mu", points=5)
    found = written(
        [
            *fit.to_hepdata("Fit", labels={"mu": r"$\mu$"}, digits=12),
            scan.to_hepdata("Scan", units={"mu": "fb"}, digits=12),
            table.to_hepdata("Impacts", digits=12),
            *limit.to_hepdata("Limit", digits=12),
        ],
        tmp_path,
        monkeypatch,
    )
    parameters, rho, scanned, impacts, limits, cls = found
    assert numbers(parameters["independent_variables"][0]) == [r"$\mu$", "lumi", "jes"]
    rows = parameters["dependent_variables"][0]["values"]
    assert [row["value"] for row in rows] == pytest.approx(list(fit.values.values()), rel=1e-9)
    errors = [row["errors"][0]["symerror"] for row in rows]
    assert errors == pytest.approx(list(fit.errors.values()), rel=1e-9)
    assert numbers(rho["dependent_variables"][0]) == pytest.approx(
        fit.correlation.ravel().tolist(), abs=1e-9
    )
    assert scanned["independent_variables"][0]["header"] == {"name": "mu", "units": "fb"}
    assert numbers(scanned["dependent_variables"][0]) == pytest.approx(scan.t.tolist(), rel=1e-9)
    assert numbers(impacts["dependent_variables"][0]) == pytest.approx(
        [row.up for row in table.rows], rel=1e-9
    )
    assert numbers(limits["dependent_variables"][0]) == pytest.approx([limit.observed], rel=1e-9)
    band = limits["dependent_variables"][1]["values"][0]["errors"][0]["asymerror"]
    wanted = [limit.expected[1] - limit.expected[2], limit.expected[3] - limit.expected[2]]
    assert [band["minus"], band["plus"]] == pytest.approx(wanted, rel=1e-9)
    assert numbers(cls["dependent_variables"][0]) == pytest.approx(
        limit.curves["observed"].tolist(), rel=1e-9
    )
