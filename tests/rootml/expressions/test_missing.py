"""Missing elements and the third truth value inside lists, against Python event by event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

import rootml
from rootml.errors import ExpressionError, MissingElementError
from rootml.expressions import column_values, cut_mask, expression_type, parse
from rootml.expressions._values import Value
from rootml.storage import ColumnType

Kleene = bool | None
Event = dict[str, Any]

EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "n": st.integers(-1, 3),
            "mu": st.lists(st.integers(-3, 3), max_size=3),
            "jet": st.lists(st.integers(-3, 3), max_size=3),
            "at": st.lists(st.integers(-2, 4), max_size=3),
            "pair": st.lists(st.integers(-3, 3), min_size=2, max_size=2),
        }
    ),
    min_size=1,
    max_size=12,
)


def columns_of(events: list[Event]) -> dict[str, Any]:
    def lists(name: str) -> ak.Array:
        flat = np.array([v for event in events for v in event[name]], dtype=np.int32)
        return ak.unflatten(flat, [len(event[name]) for event in events])

    return {
        "n": np.array([event["n"] for event in events]),
        "pair": np.array([event["pair"] for event in events]),
        **{name: lists(name) for name in ("mu", "jet", "at")},
    }


def lead(event: Event) -> Any:
    return event["jet"][0] if event["jet"] else None


def above(value: Any, other: Any) -> Kleene:
    return None if value is None or other is None else value > other


def either(one: Kleene, other: Kleene) -> Kleene:
    if one is True or other is True:
        return True
    return None if one is None or other is None else False


def negated(one: Kleene) -> Kleene:
    return None if one is None else not one


def both(one: Kleene, other: Kleene) -> Kleene:
    return negated(either(negated(one), negated(other)))


def some(values: list[Kleene]) -> Kleene:
    result: Kleene = False
    for value in values:
        result = either(result, value)
    return result


def every(values: list[Kleene]) -> Kleene:
    return negated(some([negated(value) for value in values]))


def total(values: list[Any]) -> Any:
    return None if None in values else sum(values)


def pick(event: Event, place: Any) -> Any:
    mu = event["mu"]
    return mu[place] if place is not None and 0 <= place < len(mu) else None


CUTS: list[tuple[str, Callable[[Event], Kleene]]] = [
    ("any(mu > 1 || jet[0] > 1)",
     lambda e: some([either(v > 1, above(lead(e), 1)) for v in e["mu"]])),
    ("all(mu > 1 || jet[0] > 1)",
     lambda e: every([either(v > 1, above(lead(e), 1)) for v in e["mu"]])),
    ("any(mu > 1 && jet[0] > 1)",
     lambda e: some([both(v > 1, above(lead(e), 1)) for v in e["mu"]])),
    ("!any(mu > 1 && jet[0] > 1)",
     lambda e: negated(some([both(v > 1, above(lead(e), 1)) for v in e["mu"]]))),
    ("any(!(mu > jet[0]))", lambda e: some([negated(above(v, lead(e))) for v in e["mu"]])),
    ("!all(mu > jet[0])", lambda e: negated(every([above(v, lead(e)) for v in e["mu"]]))),
    ("any(n == 0 || mu > jet[0])",
     lambda e: some([either(e["n"] == 0, above(v, lead(e))) for v in e["mu"]])),
    ("any(pair > 1 || jet[0] > 1)",
     lambda e: some([either(v > 1, above(lead(e), 1)) for v in e["pair"]])),
    ("all(pair > jet[0])", lambda e: every([above(v, lead(e)) for v in e["pair"]])),
    ("any(mu > 1 || mu > jet[0])",
     lambda e: some([either(v > 1, above(v, lead(e))) for v in e["mu"]])),
    ("any(0 < mu < jet[0])",
     lambda e: some([both(v > 0, above(lead(e), v)) for v in e["mu"]])),
    ("mu[at[0]] > 0", lambda e: above(pick(e, e["at"][0] if e["at"] else None), 0)),
    ("any(Take(mu, at) > 0)", lambda e: some([above(pick(e, k), 0) for k in e["at"]])),
    ("all(Take(mu, at) > 0)", lambda e: every([above(pick(e, k), 0) for k in e["at"]])),
    ("any(at < 0 || Take(mu, at) > 0)",
     lambda e: some([either(k < 0, above(pick(e, k), 0)) for k in e["at"]])),
    ("any(Take(mu, pair) > 0)", lambda e: some([above(pick(e, k), 0) for k in e["pair"]])),
]  # fmt: skip

NUMBERS: list[tuple[str, Callable[[Event], Any]]] = [
    ("Sum$(mu > jet[0])", lambda e: total([above(v, lead(e)) for v in e["mu"]])),
    ("Sum$(n > 0 ? mu > jet[0] : mu > 0)",
     lambda e: total([above(v, lead(e)) if e["n"] > 0 else v > 0 for v in e["mu"]])),
    ("Sum$(mu > 0 ? jet[0] : n)",
     lambda e: total([lead(e) if v > 0 else e["n"] for v in e["mu"]])),
    ("Sum$(n > 0 ? pair * jet[0] : pair)",
     lambda e: total([v if e["n"] <= 0 else None if lead(e) is None else v * lead(e)
                      for v in e["pair"]])),
    ("Length$(mu > jet[0])", lambda e: len(e["mu"])),
    ("Sum$(Alt$(mu * jet[0], -7))",
     lambda e: sum(-7 if lead(e) is None else v * lead(e) for v in e["mu"])),
    ("Sum$(Take(mu, at))", lambda e: total([pick(e, k) for k in e["at"]])),
    ("Sum$(Alt$(Take(mu, at), 9))",
     lambda e: sum(9 if pick(e, k) is None else pick(e, k) for k in e["at"])),
    ("mu[n]", lambda e: pick(e, e["n"])),
    ("pair[n]", lambda e: e["pair"][e["n"]] if 0 <= e["n"] < 2 else None),
    ("mu[-1]", lambda e: e["mu"][-1] if e["mu"] else None),
    ("pair[-2]", lambda e: e["pair"][-2]),
    ("MaxIf$(mu * jet[0], mu > 0)",
     lambda e: None if lead(e) is None else max((v * lead(e) for v in e["mu"] if v > 0),
                                                default=None)),
    ("Max$((mu * jet[0])[:1])",
     lambda e: None if lead(e) is None or not e["mu"] else e["mu"][0] * lead(e)),
    ("(mu * jet[0])[0]",
     lambda e: None if lead(e) is None or not e["mu"] else e["mu"][0] * lead(e)),
    ("Length$(mu[mu > jet[0]])",
     lambda e: None if lead(e) is None and e["mu"] else sum(v > lead(e) for v in e["mu"])),
]  # fmt: skip


@pytest.mark.parametrize(("text", "oracle"), CUTS, ids=[text for text, _ in CUTS])
@given(events=EVENTS)
@settings(max_examples=25, deadline=None)
def test_cuts(text: str, oracle: Callable[[Event], Kleene], events: list[Event]) -> None:
    expected = [oracle(event) is True for event in events]
    assert cut_mask(parse(text), columns_of(events), len(events)).tolist() == expected


@pytest.mark.parametrize(("text", "oracle"), NUMBERS, ids=[text for text, _ in NUMBERS])
@given(events=EVENTS)
@settings(max_examples=25, deadline=None)
def test_numbers(text: str, oracle: Callable[[Event], Any], events: list[Event]) -> None:
    filled = [-77 if oracle(event) is None else oracle(event) for event in events]
    values = column_values(parse(text), columns_of(events), len(events), missing=-77)
    assert values.tolist() == filled


@given(events=EVENTS)
@settings(max_examples=25, deadline=None)
def test_a_definition_keeps_what_its_elements_lack(events: list[Event]) -> None:
    columns = columns_of(events)
    columns["scaled"] = parse("mu * jet[0]").evaluate(columns, len(events))
    expected = [
        some([either(e["n"] == 0, None if lead(e) is None else v * lead(e) > 0) for v in e["mu"]])
        for e in events
    ]
    ours = cut_mask(parse("any(n == 0 || scaled > 0)"), columns, len(events))
    assert ours.tolist() == [value is True for value in expected]


def test_lists_with_missing_elements() -> None:
    columns = {"mu": ak.Array([[4.0, 6.0], [3.0], []]), "jet": ak.Array([[2.0], [], []])}
    expression = parse("mu / jet[0]")
    with pytest.raises(MissingElementError, match="1 of 3 events lack an element"):
        column_values(expression, columns, 3)
    filled = column_values(expression, columns, 3, missing=-1)
    assert filled.tolist() == [[2.0, 3.0], [-1.0], []]
    assert str(filled.type) == "3 * var * float64"
    guarded = column_values(parse("Length$(jet) > 0 ? mu / jet[0] : mu"), columns, 3)
    assert guarded.tolist() == [[2.0, 3.0], [3.0], []]


def test_a_missing_list_cannot_be_filled_with_a_number() -> None:
    columns = {"v": ak.Array([[[1, 2]], []])}
    with pytest.raises(ExpressionError, match="a whole list is missing in 1 of 2 events"):
        column_values(parse("v[0]"), columns, 2, missing=-1)


def test_alternative_has_one_type_with_and_without_missing_elements() -> None:
    kind = ColumnType("jagged", np.dtype(np.float32), depth=1)
    found = expression_type(parse("Alt$(x[0], 1)"), {"x": kind}).dtype
    for lists in ([[1.0], [2.0]], [[1.0], []]):
        columns = {"x": ak.values_astype(ak.Array(lists), np.float32)}
        assert column_values(parse("Alt$(x[0], 1)"), columns, 2).dtype == found


def test_validity_of_a_value() -> None:
    columns = {"mu": ak.Array([[1, 2], [3], []]), "jet": ak.Array([[1], [], []])}
    value = parse("mu > jet[0]").evaluate(columns, 3)
    assert isinstance(value, Value)
    assert value.valid is not None
    assert value.valid.tolist() == [True, False, True]


def test_real_file(real_file: Callable[[str], str]) -> None:
    with uproot.open(real_file("uproot-HZZ.root")) as file:
        arrays = {name: file["events"][name].array() for name in ("NJet", "Jet_Px", "Muon_Px")}
    columns = {n: a if a.ndim > 1 else ak.to_numpy(a) for n, a in arrays.items()}
    number = len(columns["NJet"])
    jets, muons, njet = (arrays[n].tolist() for n in ("Jet_Px", "Muon_Px", "NJet"))
    events = [{"jet": j, "mu": m, "n": n} for j, m, n in zip(jets, muons, njet, strict=True)]
    cases: list[tuple[str, Callable[[Event], Kleene]]] = [
        ("any(Muon_Px > 20 || Jet_Px[0] > 30)",
         lambda e: some([either(v > 20, above(lead(e), 30)) for v in e["mu"]])),
        ("any(NJet == 0 || Muon_Px > Jet_Px[0])",
         lambda e: some([either(e["n"] == 0, above(v, lead(e))) for v in e["mu"]])),
        ("Sum$(NJet > 0 ? Muon_Px > Jet_Px[0] : Muon_Px > 0) > 0",
         lambda e: above(total([above(v, lead(e)) if e["n"] > 0 else v > 0 for v in e["mu"]]), 0)),
    ]  # fmt: skip
    counts = [1568, 1631, 1461]
    for (text, oracle), count in zip(cases, counts, strict=True):
        expected = [oracle(event) is True for event in events]
        ours = cut_mask(parse(text), columns, number)
        assert ours.tolist() == expected, text
        assert ours.sum() == count


def test_definitions_of_lists_are_filled_element_by_element(
    real_file: Callable[[str], str],
) -> None:
    path = real_file("uproot-HZZ.root") + ":events"
    data = rootml.open(path).define({"scaled": "Muon_Px / Jet_Px[0]"}, missing=-1)
    arrays = data.select(["scaled", "Muon_Px", "Jet_Px"]).to_awkward()
    first = ak.fill_none(ak.firsts(arrays["Jet_Px"]), np.nan)
    ratio = ak.values_astype(arrays["Muon_Px"], float) / first
    expected = ak.where(np.isnan(ratio), -1.0, ratio)
    assert ak.num(arrays["scaled"]).tolist() == ak.num(arrays["Muon_Px"]).tolist()
    np.testing.assert_allclose(ak.flatten(arrays["scaled"]), ak.flatten(expected), rtol=1e-6)
    assert "union" not in str(arrays["scaled"].type)


def test_the_message_invents_no_names() -> None:
    columns = {"pt": ak.Array([[1.0], []])}
    with pytest.raises(MissingElementError, match="cut them away, or give a value") as caught:
        column_values(parse("pt[0]"), columns, 2)
    assert "nJet" not in str(caught.value)


NULLS = {
    "o": ak.Array([1.0, None, 3.0, None]),
    "n": ak.Array([[1, None], [], None, [5]]),
    "i": np.array([1, 2, 3, 4]),
}


@pytest.mark.parametrize(
    ("cut", "passing"),
    [
        ("o > 2", [2]),
        ("!(o > 2)", [0]),
        ("o > 2 || i > 3", [2, 3]),
        ("(o > 0 ? 1 : 0) == 1", [0, 2]),
        ("Alt$(o, 9) > 2", [1, 2, 3]),
        ("Length$(n) >= 0", [0, 1, 3]),
        ("Sum$(n) >= 0", [1, 3]),
        ("any(n > 0)", [0, 3]),
        ("all(n > 0)", [1, 3]),
        ("n[0] > 0", [0, 3]),
        ("n[1] > 0 || i == 1", [0]),
    ],
)
def test_nulls_of_a_file_are_missing(cut: str, passing: list[int]) -> None:
    """A column with nulls, lists with nulls, and null lists."""
    assert np.flatnonzero(cut_mask(parse(cut), NULLS, 4)).tolist() == passing


def test_a_reducer_of_a_number_that_may_be_null() -> None:
    with pytest.raises(ExpressionError, match="this is one value per event"):
        cut_mask(parse("Sum$(o) > 1"), NULLS, 4)
    with pytest.raises(ExpressionError, match="an index needs a list"):
        cut_mask(parse("o[0] > 1"), NULLS, 4)
