"""`describe()` of many columns: each is in one group, counted as uproot counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import uproot

import rootml
from rootml.dataset._column_groups import MANY, SHOWN, grouped


def test_groups_of_a_nanoaod_hold_every_branch_once(real_file: Callable[[str], str]) -> None:
    path = real_file("nanoAOD_2015_CMS_Open_Data_ttbar.root")
    with uproot.open(path) as file:
        names = file["Events"].keys()
    heads = Counter(name.split("_")[0] for name in names if "_" in name)
    wanted = {head: number for head, number in heads.items() if number > 1}
    wanted["others"] = len(names) - sum(wanted.values())
    text = str(rootml.open(f"{path}:Events").describe())
    table = grouped(dict.fromkeys(names, "float32"))
    assert {row[0]: int(row[1]) for row in table.rows} == wanted
    assert len(text.splitlines()) < len(wanted) + 15
    for head, number in wanted.items():
        assert any(line.split()[:2] == [head, str(number)] for line in text.splitlines())


def test_few_columns_stand_with_their_types() -> None:
    columns = {f"x{n}": "float64" for n in range(MANY)}
    (row,) = grouped(columns).rows
    assert row[0] == "others"
    assert row[3].count("x") == SHOWN
