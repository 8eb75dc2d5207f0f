"""The formula parser: what it takes, what it refuses and where its caret points."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.expression import CONSTANTS, FUNCTIONS, MAX_LENGTH, MAX_SIZE, MEANT, ExpressionError, parse, parse_values

W = [[1.0, 2.0], [3.0, 4.0]]
V = [0.5, -1.5]
NAMES = {"x": 0.75, "y": 2.0, "v": V, "W": W}


def evaluate(text, **values):
    values = values or {name: value for name, value in NAMES.items() if name in parse(text).inputs}
    result, _ = parse(text).evaluate({name: mg.tensor(value, dtype="float64", name=name) for name, value in values.items()})
    return result


def refusal(text, **values):
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, **values)
    return caught.value


def under(error):
    """The text that the carets of a message point at."""
    lines = str(error).split("\n")
    at = next(i for i, line in enumerate(lines) if line.strip() and set(line.strip()) == {"^"})
    start = lines[at].index("^")
    return lines[at - 1][start : start + lines[at].count("^")]


x, y, v, w = np.float64(0.75), np.float64(2.0), np.array(V), np.array(W)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", x),
        ("  x  ", x),
        ("1.5", 1.5),
        ("x + y", x + y),
        ("x - y", x - y),
        ("x * y", x * y),
        ("x / y", x / y),
        ("y ** x", y**x),
        ("2 ** 3 ** 2", 512.0),
        ("2 ** -1", 0.5),
        ("1 / 3", 1 / 3),
        ("W @ v", w @ v),
        ("-x", -x),
        ("+x", x),
        ("--x", x),
        ("-x ** 2", -(x**2)),
        ("(x + y) * x - y / x", (x + y) * x - y / x),
        ("v < 0", v < 0),
        ("v <= 0.5", v <= 0.5),
        ("v > 0", v > 0),
        ("v >= 0.5", v >= 0.5),
        ("v == 0.5", v == 0.5),
        ("v != 0.5", v != 0.5),
        ("2 > 1", True),
        ("(v > 0) * v", (v > 0) * v),
        ("where(v > 0, v, 0)", np.where(v > 0, v, 0)),
        ("sin(pi)", math.sin(math.pi)),
        ("log(e)", 1.0),
        ("exp(x)", np.exp(x)),
        ("sigmoid(x)", 1 / (1 + np.exp(-x))),
        ("relu(v)", np.maximum(v, 0)),
        ("maximum(x, y)", y),
        ("minimum(v, 0)", np.minimum(v, 0)),
        ("clip(v, -1, 1)", np.clip(v, -1, 1)),
        ("sum(W)", 10.0),
        ("sum(W, axis=0)", w.sum(0)),
        ("sum(W, axis=-1, keepdims=True)", w.sum(-1, keepdims=True)),
        ("sum(W, axis=(0, 1))", 10.0),
        ("max(W, axis=None)", 4.0),
        ("mean(v)", v.mean()),
        ("prod(v)", v.prod()),
        ("softmax(W, axis=0)", np.exp(w) / np.exp(w).sum(0)),
        ("log_softmax(v)", v - np.log(np.exp(v).sum())),
        ("reshape(W, (4,))", w.reshape(4)),
        ("reshape(W, [1, 4])", w.reshape(1, 4)),
        ("reshape(W, (-1,))", w.reshape(4)),
        ("W.T", w.T),
        ("W.mT", w.T),
        ("W.T[0]", w.T[0]),
        ("v[0]", v[0]),
        ("v[-1]", v[-1]),
        ("W[0:1]", w[0:1]),
        ("W[:, 1]", w[:, 1]),
        ("W[::-1]", w[::-1]),
        ("v[None]", v[None]),
        ("W[..., 0]", w[..., 0]),
        ("v[[1, 0, 1]]", v[[1, 0, 1]]),
        ("v * [2, -3]", v * [2, -3]),
        ("[[1, 2], [3, 4]] @ v", w @ v),
        ("[x, y]", np.array([x, y])),
        ("[[x, 1], [2, y]]", np.array([[x, 1], [2, y]])),
        ("stack([v, v])", np.stack([v, v])),
        ("stack([v, v], axis=1)", np.stack([v, v], axis=1)),
        ("concat([v, [1, 2]])", np.concatenate([v, [1, 2]])),
        ("q = x + y; f = q * q; f - 1", (x + y) ** 2 - 1),
        ("q = x + y\nq * 2", (x + y) * 2),
        ("a = 3; a * x", 3 * x),
        ("a = v; a + 1", v + 1),
        ("x + 1  # a comment", x + 1),
    ],
)
def test_every_construct_computes_what_numpy_does(text, expected):
    result = evaluate(text)
    expected = np.asarray(expected)
    assert result.shape == expected.shape
    assert result.dtype == (expected.dtype if expected.dtype.kind == "b" and result.dtype.kind == "b" else np.float64)
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-14)


def test_every_function_of_the_white_list_exists():
    assert [name for name in FUNCTIONS if not callable(getattr(mg, name, None))] == []


def test_words_of_other_libraries_lead_to_functions_of_the_white_list():
    assert set(MEANT.values()) <= set(FUNCTIONS)
    assert not set(MEANT) & set(FUNCTIONS)


MATRIX = "[[1.25, 0.5], [0.25, 1.5]]"
OPERANDS = {
    **dict.fromkeys(("inv", "pinv", "det", "trace", "matmul", "solve"), MATRIX),
    **dict.fromkeys(("asin", "acos", "arcsin", "arccos", "atanh"), "[0.25, 0.5]"),
    "cross": "[1, 2, 4]",
    "logical_not": "[0.25, 0.5] > 0.3",
}


@pytest.mark.parametrize("name", [n for n, signature in FUNCTIONS.items() if signature in ("a", "ab")])
def test_every_function_takes_as_many_arrays_as_the_white_list_says(name):
    count = len(FUNCTIONS[name])
    operand = OPERANDS.get(name, "[1.25, 1.5]")
    result = evaluate(f"{name}({', '.join([operand] * count)})")
    assert np.isfinite(result.numpy()).all()
    error = refusal(f"{name}({', '.join([operand] * (count + 1))})")
    assert f"{name} takes" in str(error)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("x + lambda: 1", None, "syntax"),
        ("(lambda: 1)", "lambda: 1", "lambda is not allowed"),
        ("sum([a for a in x])", "[a for a in x]", "comprehension"),
        ("sum({a for a in x})", "{a for a in x}", "comprehension"),
        ("sum(a for a in x)", "(a for a in x)", "comprehension"),
        ("sum({a: a for a in x})", "{a: a for a in x}", "comprehension"),
        ("x + f'{x}'", "f'{x}'", "a string"),
        ("x + 'text'", "'text'", "'text' is not allowed"),
        ("x + b'text'", "b'text'", "b'text' is not allowed"),
        ("x + 2j", "2j", "2j is not allowed"),
        ("x + True", "True", "True is not allowed"),
        ("x + None", "None", "None is not allowed"),
        ("x + ...", "...", "Ellipsis is not allowed"),
        ("x * (q := 2)", "q := 2", "':=' is not allowed"),
        ("import os", "import os", "import is not allowed"),
        ("from os import path", "from os import path", "import is not allowed"),
        ("x if x > 0 else y", "x if x > 0 else y", "where(condition, a, b)"),
        ("x > 0 and y > 0", "x > 0 and y > 0", "'and' or 'or' is not allowed"),
        ("not x", "not x", "'not' is not allowed"),
        ("~x", "~x", "'~' is not allowed"),
        ("0 < x < 1", "0 < x < 1", "(a < b) * (b < c)"),
        ("x in y", "x in y", "not allowed"),
        ("x is y", "x is y", "not allowed"),
        ("x // y", "x // y", "floor(a / b)"),
        ("x % y", "x % y", "'%' is not allowed"),
        ("x ^ 2", "x ^ 2", "** for a power"),
        ("x & y", "x & y", "not allowed"),
        ("x.__class__", "x.__class__", "'.__class__' is not allowed"),
        ("x.data", "x.data", ".T and .mT are the only"),
        ("x.T.node", "x.T.node", "'.node' is not allowed"),
        ("x.sum()", "x.sum", "Write sum(x)"),
        ("np.exp(x)", "np.exp", "Write exp(...)"),
        ("exp.__globals__", "exp.__globals__", "not allowed"),
        ("().__class__.__bases__[0]", "().__class__.__bases__", "not allowed"),
        ("__import__('os')", "__import__", "no function '__import__'"),
        ("eval('1')", "eval", "no function 'eval'"),
        ("__x + 1", "__x", "two underscores"),
        ("__q = x; __q", "__q", "two underscores"),
        ("exp(x)(y)", "exp(x)", "only functions can be called"),
        ("2(x)", "2", "Write a product with *"),
        ("expp(x)", "expp", "Did you mean exp"),
        ("ln(x)", "ln", "Did you mean log?"),
        ("w(x)", "w", "w * (...)"),
        ("backward(x)", "backward", "Functions: abs"),
        ("exp()", "exp()", "exp takes one array"),
        ("exp(x, y)", "exp(x, y)", "exp takes one array"),
        ("maximum(x)", "maximum(x)", "Write maximum(a, b)"),
        ("max(x, 0)", "max(x, 0)", "write maximum(a, b)"),
        ("sum(v, 0)", "sum(v, 0)", "options by name"),
        ("where(x > 0, x)", "where(x > 0, x)", "three arrays"),
        ("stack(x, y)", "stack(x, y)", "Write stack([x, y]"),
        ("stack(x)", "x", "stack takes a list"),
        ("stack([])", "[]", "stack takes a list"),
        ("sum(v, axis=x)", "x", "an option is a plain number"),
        ("sum(v, axis='0')", "'0'", "an option is a plain number"),
        ("clip(v, x, 1)", "x", "an option is a plain number"),
        ("sum(v, **x)", "**x", "'**' before an argument"),
        ("sum(*v)", "*v", "'*' before a name"),
        ("v[x]", "x", "an index is written as integers"),
        ("v[0.5]", "0.5", "an index is written as integers"),
        ("v[x:]", "x", "an index is written as integers"),
        ("x + []", "[]", "an empty list"),
        ("x + [[1, 2], [3]]", "[3]", "a ragged list"),
        ("x + [1, [2]]", "[2]", "numbers and lists are mixed"),
        ("x, y", "x, y", "a tuple"),
        ("x + y; x", "x + y", "not used"),
        ("x += 1", "x += 1", "a new name"),
        ("q: x = 1", "q: x = 1", "an annotation"),
        ("q = r = x", "q", "one name to one value"),
        ("q, r = x", "q, r", "one name to one value"),
        ("v[0] = x", "v[0]", "one name to one value"),
        ("q = x; q = y", "q", "'q' was assigned before"),
        ("y * x; x = 1", "y * x", "not used"),
        ("q = x; x = q", "x", "'x' was used before as an input"),
        ("def f(): pass", "def f(): pass", "FunctionDef"),
        ("del x", "del x", "not allowed"),
        ("while x: y", "while x: y", "not allowed"),
        ("x +", "", "invalid syntax"),
        ("(x + y", "(", "never closed"),
        ("2x", "2", "Write a product with *"),
        ("x × y", "×", "Write * for ×"),
        ("x + 1" + "0" * 400, "1" + "0" * 95, "too large for float64"),
    ],
)
def test_everything_else_is_refused_where_it_stands(text, place, words):
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert words in str(caught.value)
    if place:
        assert under(caught.value) == place


@pytest.mark.parametrize("text", ["", "   ", "# nothing", ";"])
def test_an_empty_formula_is_refused(text):
    with pytest.raises(ExpressionError, match=r"the formula is empty|invalid syntax"):
        parse(text)


def test_the_caret_counts_characters_where_python_counts_bytes():
    assert under(refusal("σ_1 + λ", σ_1=1.0)) == "λ"
    assert str(refusal("σ_1 + λ", σ_1=1.0)).split("\n")[2] == "    " + " " * 6 + "^"


def test_the_caret_of_a_long_formula_is_shown_with_what_is_around_it():
    text = " + ".join(["x"] * 300) + " + oops + " + " + ".join(["x"] * 300)
    error = refusal(text, x=1.0)
    assert under(error) == "oops"
    assert max(map(len, str(error).split("\n"))) < 120


def test_the_caret_is_on_its_own_line_of_several():
    error = refusal("q = x\nq + oops", x=1.0)
    assert under(error) == "oops"
    assert "q = x" not in str(error)


def test_names_are_those_that_need_a_value():
    formula = parse("q = b + a * b; f = q * pi + c")
    assert formula.inputs == ("b", "a", "pi", "c")
    assert formula.outputs == ("q", "f")
    assert formula.name == "f"
    assert parse("a + b").name is None


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_value_of_the_users_wins_over_a_constant(name):
    assert evaluate(f"{name} * x", **{name: 10.0, "x": 2.0}).item() == 20.0
    assert evaluate(f"{name} * x", x=2.0).item() == 2 * CONSTANTS[name]


def test_a_variable_may_share_a_functions_name():
    assert evaluate("max = maximum(x, y); max + exp(0)", x=1.0, y=2.0).item() == 3.0


@pytest.mark.parametrize(
    ("text", "values", "words"),
    [
        ("x + y", {"x": 1.0}, "Add y=..."),
        ("w0 * x", {"wo": 1.0, "x": 1.0}, "did you mean w0=...?"),
        ("exp + x", {"x": 1.0}, "exp is a function"),
        ("f = q + x; q = x", {"x": 1.0}, "was used before"),
        ("x + 1", {"x": 1.0, "z": 2.0}, "does not use 'z'"),
        ("q = x; q + 1", {"x": 1.0, "q": 2.0}, "also assigned"),
    ],
)
def test_missing_and_spare_values_are_told(text, values, words):
    assert words in str(refusal(text, **values))


def test_an_operations_error_names_the_operands_and_their_shapes():
    error = refusal("sum(x) + x * (y + 1)", x=[1.0, 2.0, 3.0], y=[1.0, 2.0])
    assert under(error) == "x * (y + 1)"
    assert "x has shape (3,), y + 1 has shape (2,)" in str(error)
    error = refusal("1 + v[2]", v=[1.0, 2.0])
    assert under(error) == "v[2]"
    assert "v has shape (2,)" in str(error)
    assert under(refusal("1 + sum(v, axis=3)", v=[1.0])) == "sum(v, axis=3)"
    assert under(refusal("1 + sum(v, azis=0)", v=[1.0])) == "sum(v, azis=0)"


def test_intermediates_carry_the_users_names():
    a = mg.tensor(2.0, dtype="float64", name="a")
    result, named = parse("q = a * a; k = 3; f = q + k").evaluate({"a": a})
    assert {name: t.item() for name, t in named.items()} == {"q": 4.0, "k": 3.0, "f": 7.0}
    assert [named[name].name for name in ("q", "k", "f")] == ["q", "k", "f"]
    assert result is named["f"]


def test_a_second_name_leaves_the_first_one():
    a = mg.tensor(2.0, name="a")
    result, named = parse("b = a").evaluate({"a": a})
    assert result is a is named["b"]
    assert a.name == "a"


def test_gradients_flow_through_a_formula():
    a = mg.tensor([1.0, 2.0, 3.0], dtype="float64", requires_grad=True, name="a")
    result, _ = parse("b = a[0:2] ** 2; sum(b * [10, 100]) + a[2] * a[0]").evaluate({"a": a})
    result.backward()
    np.testing.assert_allclose(a.grad.numpy(), [2 * 10 + 3, 4 * 100, 1], rtol=1e-15)


@pytest.mark.parametrize("text", ["9**9**9**9", "9.0**9**9", "2**(10**10)", "exp(10**6)"])
def test_huge_powers_are_infinite_and_quick(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluate(text).item() == math.inf


def test_what_has_no_value_is_nan_without_a_warning():
    assert math.isnan(evaluate("log(0 - x)", x=1.0).item())
    assert evaluate("1 / x", x=0.0).item() == math.inf
    assert evaluate("1 / (1 - 1) + x", x=0.0).item() == math.inf


def test_long_and_deep_formulas_are_refused_or_run():
    terms = 900
    assert evaluate(" + ".join(["x"] * terms), x=2.0).item() == 2.0 * terms
    assert evaluate("-" * 800 + "x", x=2.0).item() == 2.0
    with pytest.raises(ExpressionError, match="nested deeper than 1,000"):
        parse(" + ".join(["x"] * 1200))
    with pytest.raises(ExpressionError, match="nested"):
        parse("+".join(["x"] * 4900))
    with pytest.raises(ExpressionError, match="nested"):
        parse("(" * 4000 + "x" + ")" * 4000)
    with pytest.raises(ExpressionError, match="nested"):
        parse("-" * 9000 + "x")
    with pytest.raises(ExpressionError, match=f"at most {MAX_LENGTH:,}"):
        parse("x" * (MAX_LENGTH + 1))


def test_large_values_are_refused_before_they_fill_the_memory():
    side = math.isqrt(MAX_SIZE)
    many = [1.0] * (side + 1)
    assert evaluate("reshape(x, (-1, 1)) * x", x=many[:-1]).size == MAX_SIZE
    assert "more than 4,096 elements" in str(refusal("reshape(x, (-1, 1)) * x", x=many))
    # 4,096**3 elements would be 512 GiB.
    wide = np.ones(MAX_SIZE)
    values = {"a": wide, "b": wide.reshape(-1, 1), "c": wide.reshape(-1, 1, 1)}
    assert "operands broadcast to (4096, 4096, 4096)" in str(refusal("where(a, b, c)", **values))


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("x=2", 2.0),
        ("x=-2.5e-3", -2.5e-3),
        ("x = 3", 3.0),
        ("x=+1_000", 1000.0),
        ("x=--1", 1.0),
        ("x=inf", math.inf),
        ("x=-inf", -math.inf),
        ("x=nan", math.nan),
        ("x=[1,2,3]", [1, 2, 3]),
        ("x=1,2,3", [1, 2, 3]),
        ("x=(1,2)", [1, 2]),
        ("x=[[1,2],[3,-4]]", [[1, 2], [3, -4]]),
        ("x=[nan,-inf]", [math.nan, -math.inf]),
        ("x=[[[1]]]", [[[1]]]),
        ("x=" + "9" * 300, float("9" * 300)),
    ],
)
def test_values_are_numbers_and_regular_lists(argument, expected):
    array = parse_values([argument])["x"]
    assert array.dtype == np.float64
    assert array.shape == np.shape(expected)
    np.testing.assert_array_equal(array, np.array(expected, dtype=np.float64))


@pytest.mark.parametrize(
    ("argument", "place", "words"),
    [
        ("x=abc", "abc", "a value is a number"),
        ("x='2'", "'2'", "a value is a number"),
        ("x=True", "True", "a value is a number"),
        ("x=None", "None", "a value is a number"),
        ("x=2j", "2j", "a value is a number"),
        ("x=1/3", "1/3", "arithmetic belongs into the formula"),
        ("x=[1,exp(2)]", "exp(2)", "a value is a number"),
        ("x=[]", "[]", "a value is a number"),
        ("x=[1,[]]", "[]", "a value is a number"),
        ("x=-[1]", "-[1]", "a value is a number"),
        ("x=[[1,2],[3]]", "[3]", "this row has shape (1,), the first (2,)"),
        ("x=[1,[2]]", "[2]", "numbers and lists are mixed"),
        ("λ = [1, oops]", "oops", "a value is a number"),
        ("x=[1,2", "[", "never closed"),
        ("x=", "", "no value"),
        ("x=[[[[[[[[[1]]]]]]]]]", "[1]", "deeper than 8"),
        ("x", None, "expected name=value"),
        ("2=3", None, "cannot be the name"),
        ("=3", None, "cannot be the name"),
        ("x.y=3", None, "cannot be the name"),
        ("lambda=3", None, "cannot be the name"),
        ("__x=3", None, "cannot be the name"),
        ("x=" + "9" * 400, "9" * 98, "too large for float64"),
        ("x=[" + "1," * (MAX_SIZE + 1) + "]", None, "at most 4,096"),
        ("x=" + "[" * 3000, None, "nested"),
    ],
)
def test_other_values_are_refused_where_they_stand(argument, place, words):
    with pytest.raises(ExpressionError) as caught:
        parse_values([argument])
    assert words in str(caught.value)
    if place:
        assert under(caught.value) == place


def test_a_value_given_twice_is_refused():
    with pytest.raises(ExpressionError, match="'x' is given twice"):
        parse_values(["x=1", "x=2"])


def test_one_name_in_two_spellings_of_unicode_is_one_name():
    assert list(parse_values(["ﬁ=1"])) == ["fi"]
    assert parse("ﬁ + 1").inputs == ("fi",)


TOKENS = [
    "x", "v", "W", "q", "2", "0.5", "-", "+", "*", "/", "**", "@", "(", ")", "[", "]", ",", ":", ";", "=", ".T", ".", "<", "==", "exp",
    "sum", "where", "stack", "max", "axis=0", "reshape", "concat", "None", "True", "'s'", "lambda", " ", "\n", "σ", "²", "\0", "#", "if",
    "for", "in", "__class__", "9" * 30, "1e308", "e", "{", "}", "f''", "\\", "\t", "$", "not", ":=", "diag", "solve", "matmul",
]  # fmt: skip


@settings(max_examples=2000, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=14).map("".join) | st.text(max_size=20))
def test_whatever_is_typed_either_runs_or_is_told(text):
    try:
        formula = parse(text)
        values = {name: mg.tensor(NAMES.get(name, 1.5), dtype="float64", name=name) for name in formula.inputs}
        result, _ = formula.evaluate(values)
    except ExpressionError as error:
        assert str(error)  # noqa: PT017
    else:
        assert isinstance(result, mg.Tensor)


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=10).map("".join) | st.text(max_size=20))
def test_whatever_is_given_as_a_value_is_an_array_or_is_told(text):
    try:
        array = parse_values([f"x={text}"])["x"]
    except ExpressionError as error:
        assert str(error)  # noqa: PT017
    else:
        assert array.dtype == np.float64
