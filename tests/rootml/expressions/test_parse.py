"""The grammar: precedence, both spellings, errors with a caret, and printing back."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootml.errors import ExpressionError, MissingColumnError
from rootml.expressions import Expression, parse, resolve_names
from rootml.expressions._nodes import (
    Binary,
    Boolean,
    Call,
    Choice,
    Comparison,
    Index,
    Name,
    Node,
    Number,
    Slice,
    Text,
    Unary,
)

SAME = [
    ("a > 1 && b > 2 || c", "((a > 1) and (b > 2)) or c"),
    ("a > 1 & b > 2 | c", "((a > 1) & (b > 2)) | c"),
    ("not a > 1", "!(a > 1)"),
    ("!a > 1", "(!a) > 1"),
    ("-2**2", "-(2**2)"),
    ("2**-1", "2**(-1)"),
    ("2**3**2", "2**(3**2)"),
    ("1 - 2 - 3", "(1 - 2) - 3"),
    ("a + b << 2 < c", "((a + b) << 2) < c"),
    ("a ? b : c ? d : e", "a ? b : (c ? d : e)"),
    ("b if a else c", "a ? b : c"),
    ("where(a, b, c)", "where(a,b,c)"),
    ("Jet_pt[:, 0]", "Jet_pt[0]"),
    ("m[1, 2]", "m[1][2]"),
    ("TMath::Abs(x)", "abs(x)"),
    ("np.abs(x)", "fabs(x)"),
    ("std::pow(x, 2)", "TMath::Power(x, 2)"),
    ("Sum$(x)", "ak.sum(x)"),
    ("x.size()", "len(x)"),
    ("Max$(x)", "max(x)"),
    ("max(x, y)", "np.maximum(x, y)"),
    ("Sum(x > 1)", "Sum$(x > 1)"),
    ("Any(x) && All(x)", "any(x) && all(x)"),
    ("Max(x) + Min(x) + Mean(x)", "max(x) + min(x) + ROOT::VecOps::Mean(x)"),
    ("x.size() > 2", "ak.num(x) > 2"),
    ("x[x > 2].size()", "len(x[x > 2])"),
    ("ak.max(x, 1)", "np.max(x, axis=1)"),
    ("ROOT::VecOps::DeltaPhi(a, b)", "delta_phi(a, b)"),
    ("DeltaR(a, b, c, d)", "delta_r(a, c, b, d)"),  # eta1, eta2, phi1, phi2
    ("x in (1, 2)", "x == 1 || x == 2"),
    ("x not in [1, 2]", "!(x == 1 || x == 2)"),
    ("(int)x + static_cast<int>(x)", "Int_t(x) + int(x)"),
    ("(unsigned long long) x", "uint64(x)"),
    ("return x > 3;", "x > 3"),
    ("x > 3 /* hard */ # jets", "x > 3"),
    ("x.at(1) + x.front() + x.back()", "x[1] + x[0] + x[-1]"),
    ("x.empty()", "len(x) == 0"),
    ("jets@.size()", "@jets.size()"),
    ("np.logical_and(a, np.logical_not(b))", "a && !b"),
    ("ak.firsts(x)", "x[0]"),
    ("Where(a, b, c)", "np.where(a, b, c)"),
    ("ak.sort(x, ascending=False)", "sort(x, False)"),
    ("ak.concatenate([a, b], axis=1)", "Concatenate(a, b)"),
    ("M_PI + kTRUE", "TMath::Pi() + true"),
    ("std::max({a, b, c})", "max(a, b, c)"),
    ("pi", "TMath::Pi()"),
    ("1.5f + 10L + 0x1F", "1.5 + 10 + 31"),
    ("s == 'x'", 's == "x"'),
    ("true || False", "True or false"),
    ("a | b && c", "(a | b) && c"),  # as C++, TTree::Draw and Python, all three
    ("a && b | c & d", "a && (b | (c & d))"),
    ("a > 1 | b > 2 or c", "((a > 1) | (b > 2)) or c"),
    ("not a | b", "not (a | b)"),  # as Python
    ("!a | b", "(!a) | b"),
    ("a & not b | c", "(a & (not b)) | c"),
    ("~a > 1", "(~a) > 1"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_spellings_of_one_tree(one: str, other: str) -> None:
    assert parse(one) == parse(other)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("a ^ b", "write \\*\\* or pow"),
        ("a >", "expected a value, found the end"),
        ("(a", "expected '\\)'"),
        ("a = 1", "expected '==' for a comparison"),
        ("a b", "expected an operator, found 'b'"),
        ("a ` b", "unexpected character '`'"),
        ("Sum$", "needs a list in parentheses"),
        ("sqtr(a)", "no function 'sqtr'; nearest: 'sqrt'"),
        ("sqrt(a, b)", "takes 1 argument"),
        ("'open", "unexpected character"),
        ("x[1.5:2]", "must be whole numbers"),
        ("flags & 010", "010 is octal in C"),
        ("x[::0]", "step"),
        ("a if b", "expected 'else'"),
        ("(" * 150 + "a" + ")" * 150, "nested too deeply"),
        ("!" * 150 + "a", "nested too deeply"),
        ("__import__('os')", "no function"),
        ("a.b()", "no function 'a.b'"),
    ],
)
def test_errors_show_where(text: str, problem: str) -> None:
    with pytest.raises(ExpressionError, match=problem):
        parse(text)


def test_the_caret_points_at_the_problem() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("nJet > 2 ` 3")
    lines = str(caught.value).splitlines()
    assert lines[-1].index("^") == lines[-2].index("`")


def test_columns_with_special_characters() -> None:
    known = frozenset(["Aux.pt", "a-b", "Aux.pt.x"])
    assert parse("a-b", known).column == "a-b"
    assert parse("Aux.pt > 1", known).names == {"Aux.pt"}
    assert parse("Aux.pt.x + Aux.pt", known).names == {"Aux.pt", "Aux.pt.x"}


def test_members_of_records_are_no_columns() -> None:
    for text in ("leaves.x > 1", "abs(leaves.x)", "leaves.x[0]", "leaves.Pt() > 3"):
        found = parse(text, frozenset(["leaves"]))
        assert found.names == {"leaves"}
        assert parse(found.canonical) == found


def test_a_column_may_be_named_like_a_function() -> None:
    known = frozenset(["abs", "x"])
    assert parse("abs(x) + abs", known) == parse("fabs(x) + abs", known)
    assert parse("abs(x) + abs", known).names == known


def test_missing_names_offer_the_nearest() -> None:
    with pytest.raises(MissingColumnError, match=r"file:Events has no column 'Jet_p'.*'Jet_pt'"):
        resolve_names(parse("Jet_p > 1"), ["MET", "Jet_pt"], "file:Events")


def test_rename_pickle_hash() -> None:
    expression = parse("Sum$(Jet_pt) > x && Jet_pt[nJet - 1] > 2")
    renamed = expression.rename({"Jet_pt": "Jet_pt_up"})
    assert renamed.names == {"Jet_pt_up", "x", "nJet"}
    assert pickle.loads(pickle.dumps(renamed)) == renamed
    assert len({expression, parse(expression.canonical), renamed}) == 2


NAMES = st.sampled_from(["a", "Jet_pt", "x_1"]).map(Name)
LEAVES = st.one_of(
    NAMES,
    st.integers(0, 2**63).map(Number),
    st.floats(0, 1e300, allow_nan=False).map(Number),
    st.booleans().map(Boolean),
    st.text("ab'\\\" ", max_size=4).map(Text),
)
INDEX = st.one_of(
    st.none() | st.integers(-3, 3), st.none() | st.integers(-3, 3), st.sampled_from([None, 2, -1])
)


def trees() -> st.SearchStrategy[Node]:
    def grow(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        binary = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "<<", "&", "|", "&&", "||"])
        compare = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
        order = st.sampled_from(["<", "<=", ">", ">="])  # which alone make chains
        ends = st.none() | st.integers(-3, 3)
        return st.one_of(
            st.builds(Unary, st.sampled_from("-+!~"), inner),
            st.builds(Binary, binary, inner, inner),
            st.builds(lambda a, o, b: Comparison(a, (o,), (b,)), inner, compare, inner),
            st.builds(
                lambda a, o, b, p, c: Comparison(a, (o, p), (b, c)),
                inner, order, inner, order, inner,
            ),
            st.builds(Choice, inner, inner, inner),
            st.builds(lambda a: Call("sqrt", (a,)), inner),
            st.builds(lambda a, b: Call("maximum", (a, b)), inner, inner),
            st.builds(Index, NAMES, inner),
            st.builds(
                Index, NAMES, st.builds(Slice, ends, ends, st.sampled_from([None, 2, -1]))
            ),
        )  # fmt: skip

    return st.recursive(LEAVES, grow, max_leaves=12)


@given(trees())
@settings(max_examples=300)
def test_canonical_text_parses_to_the_same_tree(tree: Node) -> None:
    expression = Expression(tree)
    if isinstance(tree, Index) and tree.index == Slice(None, None, None):
        return
    assert parse(expression.canonical) == expression


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Entry$ > 3", "Entry\\$ is not supported"),
        ("ak.sum(x, axis=0)", "axis=0 is not supported.*axis=1"),
        ("ak.sum(x, axis=None)", "axis=None is not supported"),
        ("deltaR(a, b, c, d)", "write DeltaR\\(...\\) for ROOT's order"),
        ("deltaPhi(a, b)", "phi1 - phi2 in CMS"),
        ("Sum$(x * (Iteration$ < 2))", "write local_index\\(x\\)"),
        ("Map(x, f)", "functions as arguments"),
        ("TMath::Sqr(x)", "nearest: 'Sq"),
        ("ROOT::VecOps::DletaR(x)", "nearest: 'DeltaR"),
        ("x > 3 // a comment", "floor division: comments are"),
        ("a = 3; a > 2", "an expression is one statement"),
        ("sqrt(x, axis=1)", "sqrt takes no axis"),
    ],
)
def test_refused_with_a_reason(text: str, problem: str) -> None:
    with pytest.raises(ExpressionError, match=problem):
        parse(text)


def test_the_size_of_a_column_with_dots() -> None:
    known = frozenset(["Jet.pt", "x"])
    assert parse("Jet.pt.size() + x.size()", known).names == known
