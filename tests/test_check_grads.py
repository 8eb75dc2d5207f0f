"""check_grads is tested by what it is for: mistakes planted in rules must be found and named, right rules never flagged."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import testing
from minigrad.graph import recording
from minigrad.primitive import TABLE
from minigrad.testing import GradientError, check_grads, examine, strategies
from tests.domains import DOMAINS

RNG = np.random.default_rng(7)
A, B = RNG.uniform(0.5, 2.0, (3, 4)), RNG.uniform(0.5, 2.0, (3, 4))
ROW, SQUARE = RNG.uniform(0.5, 2.0, 4), RNG.uniform(0.5, 2.0, (4, 4))


def caught(f: Callable[..., Any], *args: Any, **options: Any) -> GradientError:
    with pytest.raises(GradientError) as info:
        check_grads(f, *args, **options)
    return info.value


def planted(forward: Callable[..., Any], *rules: Any) -> Callable[..., Any]:
    return mg.primitive(forward, *rules, name="planted")


# ---- planted mistakes, pattern by pattern ----------------------------------------------------------------------------------

Rules = tuple[Callable[..., Any], ...]
PLANTED: list[tuple[str, Callable[..., Any], Rules, tuple[Any, ...], str, str, str]] = [
    # what, forward, rules, arguments, the argument to blame, the pattern, words of the message
    ("sign", lambda a, b: a - b, (lambda g, y, a, b: g, lambda g, y, a, b: g), (A, B), "b", "sign", "wrong sign"),
    ("factor 2", lambda a: a * a, (lambda g, y, a: g * a * 4,), (A,), "a", "factor", "factor of 2"),
    ("factor 1/2", lambda a: a * a, (lambda g, y, a: g * a,), (A,), "a", "factor", "factor of 1/2"),
    ("other factor", lambda a: a * a, (lambda g, y, a: g * a * 2.5,), (A,), "a", "factor", "factor of 1.25"),
    ("mean for sum", lambda a: a.sum(), (lambda g, y, a: g / a.size + a * 0,), (A,), "a", "factor", "factor of 1/12"),
    ("sum for mean", lambda a: a.mean(1), (lambda g, y, a: g[:, None] + a * 0,), (A,), "a", "factor", "factor of 4"),
    ("transposed", lambda a: a * a, (lambda g, y, a: (g * a * 2).T,), (SQUARE,), "a", "transposed", "transposed"),
    ("transposed operand", lambda a, b: a @ b, (lambda g, y, a, b: g @ b.mT, lambda g, y, a, b: (a.mT @ g).mT), (SQUARE, SQUARE),
     "b", "transposed", "transposed"),
    ("transposed and reshaped", lambda a: a * a, (lambda g, y, a: (g * a * 2).T.reshape(a.shape),), (A,), "a", "transposed",
     "transposed"),
    ("not summed", lambda a, b: a * b, (lambda g, y, a, b: g * b, lambda g, y, a, b: (g * a)[0]), (A, ROW), "b", "broadcast",
     "not summed over broadcast axis 0: only slice 0 of 3"),
    ("last slice only", lambda a, b: a * b, (lambda g, y, a, b: g * b, lambda g, y, a, b: (g * a)[2]), (A, ROW), "b", "broadcast",
     "only slice 2 of 3"),
    ("wrong axis", lambda a, b: a * b, (lambda g, y, a, b: g * b, lambda g, y, a, b: (g * a).sum(1)), (SQUARE, ROW), "b",
     "broadcast", "summed over axes (1,) instead of the broadcast axis 0"),
    ("zero", lambda a: a * a, (lambda g, y, a: g * 0,), (A,), "a", "zero", "zero gradient"),
    ("swapped", lambda a, b: a * a * b, (lambda g, y, a, b: g * a * a, lambda g, y, a, b: g * 2 * a * b), (A, B), "a", "swapped",
     "this is the gradient of 'b'"),
    ("swapped numbers", lambda a, b: a * a * b, (lambda g, y, a, b: g * a * a, lambda g, y, a, b: g * 2 * a * b), (1.3, 0.4), "a",
     "swapped", "this is the gradient of 'b'"),
    ("nan", lambda a: a * a, (lambda g, y, a: g * (a * 2 + np.nan),), (A,), "a", "not finite", "NaN"),
    ("wrong shape", lambda a: a.sum(1), (lambda g, y, a: g,), (A,), "", "error", "rule for operand 1 returned shape (3,)"),
    ("no pattern", lambda a: a * a, (lambda g, y, a: g * a * a,), (A,), "a", "", "none of the usual ones"),
]  # fmt: skip


@pytest.mark.parametrize("row", PLANTED, ids=[row[0] for row in PLANTED])
def test_planted_mistake_is_named(row: Any) -> None:
    _, forward, rules, args, argument, pattern, words = row
    for seed in range(5):
        error = caught(planted(forward, *rules), *args, seed=seed)
        assert error.pattern == pattern
        assert (error.argument or "") == argument
        assert words in str(error)


@pytest.mark.parametrize("mutation", ["sign", "factor", "zero"])
@pytest.mark.parametrize("name", [
    name for name, op in TABLE.items()
    if name in DOMAINS and op.elementwise and op.pulls and "piecewise" not in op.gate and len(op.pulls) == op.arity
    and name != "clip"  # most of its gradients are 0, whatever is done to them
])  # fmt: skip
def test_mutants_of_the_table_are_caught(name: str, mutation: str) -> None:
    """Each rule of each elementwise row in turn, spoilt."""
    op, domain = TABLE[name], DOMAINS[name]
    scale = {"sign": -1.0, "factor": 2.0, "zero": 0.0}[mutation]
    rng = np.random.default_rng(3)
    points = [operand.draw(rng, (3, 2)) for operand in domain.operands]
    operands = "a, b, c"[: 3 * op.arity - 2]
    forward = eval(f"lambda {operands}: forward({operands})", {"forward": op.forward})
    right = mg.primitive(forward, *op.rules, name=name)
    options: Any = {"oracle": "complex" if domain.analytic else "central"}
    check_grads(right, *points, **options)
    for i in range(op.arity):
        rules = list(op.rules)
        rules[i] = _spoilt(op.rules[i], scale)
        error = caught(mg.primitive(forward, *rules, name=name), *points, **options)
        assert (error.argument, error.pattern) == ("abc"[i], mutation)


def _spoilt(rule: Any, scale: float) -> Callable[..., Any]:
    return lambda *args: rule(*args) * scale


def test_detached_value_is_found() -> None:
    assert caught(lambda a: (a * a, a.detach()), A).argument == "a"
    error = caught(lambda a: a.detach(), A)
    assert error.pattern == "zero"


def test_one_wrong_element_of_many_is_found() -> None:
    a = RNG.uniform(0.5, 2.0, (20, 30))
    spoil = np.ones((20, 30))
    spoil[13, 7] = 1 + 1e-6
    error = caught(planted(lambda a: a * a, lambda g, y, a: g * 2 * a * spoil), a)
    assert error.index == (13, 7)
    assert "a[13, 7], the worst of 1 that differ out of 600" in str(error)
    assert error.expected is not None
    assert error.received == pytest.approx(error.expected * (1 + 1e-6), rel=1e-9)


def test_wrong_second_derivative_is_found() -> None:
    """Right on arrays, but the rule leaves the graph: order 1 cannot see it."""

    def rule(g: Any, y: Any, a: Any) -> Any:
        return g * (mg.asarray(a._data * 2) if isinstance(a, mg.Tensor) else a * 2)

    f = planted(lambda a: a * a, rule)
    check_grads(f, A, order=1)
    error = caught(f, A)
    assert (error.order, error.argument, error.pattern) == (2, "a", "zero")


def test_rule_that_detaches_its_upstream_gradient_is_found() -> None:
    def rule(g: Any, y: Any, a: Any) -> Any:
        return (g.detach() if isinstance(g, mg.Tensor) else g) * a * 2

    error = caught(planted(lambda a: a * a, rule), A)
    assert (error.order, error.argument, error.pattern) == (2, "upstream gradient 1 of order 1", "zero")


def test_wrong_third_derivative_is_found() -> None:
    def second(g: Any, y: Any, a: Any) -> Any:
        return g * (mg.asarray(a._data * 6) if isinstance(a, mg.Tensor) else a * 6)

    slope = planted(lambda a: 3 * a * a, second)
    f = planted(lambda a: a**3, lambda g, y, a: g * slope(a))
    check_grads(f, A, order=2)
    assert caught(f, A, order=3).order == 3


def test_not_analytic_function_falls_back_to_central_differences() -> None:
    """The modulus of a complex number has a complex-step derivative of 0, which a rule that returns 0 would match."""
    error = caught(
        planted(lambda a: np.abs(a) * a, lambda g, y, a: g * np.abs(a) if isinstance(a, np.ndarray) else g * mg.abs(a)), A
    )
    assert error.pattern == "factor"
    assert "central differences" in str(error)


def test_function_that_refuses_complex_numbers_falls_back() -> None:
    def f(a: mg.Tensor) -> mg.Tensor:
        if a.dtype.kind == "c":
            raise TypeError("real numbers only")
        return mg.tanh(a)

    check_grads(f, A)
    with pytest.raises(TypeError, match="real numbers only"):
        check_grads(f, A, oracle="complex")


@pytest.mark.parametrize("f", [mg.relu, mg.abs, lambda a: mg.maximum(a, 1.0)])
def test_kink_is_called_one_and_no_error(f: Callable[..., Any]) -> None:
    report = check_grads(f, np.array([1.0, 0.0, 2.0]))
    assert (report.verdict, report.pattern, report.argument) == ("kink here", "kink", "a")
    with pytest.raises(GradientError) as info:
        check_grads(f, np.array([1.0, 0.0, 2.0]), accept=("agrees",))
    assert info.value.pattern == "kink"


def test_sharp_curvature_is_no_mistake() -> None:
    """A truncation error of central differences that is larger than allowed must not rule the complex step out."""
    check_grads(lambda a: mg.sin(a * 3000.0), A)


# ---- right rules ------------------------------------------------------------------------------------------------------------

RIGHT: dict[str, Callable[..., Any]] = {
    "network": lambda a, b: mg.softmax(mg.tanh(a @ b.mT) @ b, axis=-1),
    "loss": lambda a, b: -mg.log_softmax(a * b)[:, 0].mean(),
    "sum that cancels": lambda a, b: mg.softmax(a * b).sum(),
    "layer norm": lambda a, b: (a - a.mean(-1, keepdims=True)) / mg.sqrt(a.var(-1, keepdims=True) + 1e-5) * b,
    "several outputs": lambda a, b: (a * b, mg.sum(a / b), a),
    "an unused argument": lambda a, b: a**2,
    "an output without a gradient": lambda a, b: (a * b, mg.argmax(a)),
    "gradient inside": lambda a, b: mg.grad(lambda x: mg.sum(x**3 * b))(a),
    "piecewise": lambda a, b: mg.where(a > 1.0, mg.relu(a - 1.0), mg.abs(b)),
    "steps": lambda a, b: mg.floor(a) * b,
    "tiny": lambda a, b: a * b * 1e-150,
    "huge": lambda a, b: a * b * 1e100,
}


@pytest.mark.parametrize("what", RIGHT)
def test_right_gradients_pass(what: str) -> None:
    for seed in range(3):
        check_grads(RIGHT[what], A, B, seed=seed)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("what", ["network", "loss", "layer norm", "piecewise"])
def test_right_gradients_pass_in_each_dtype(what: str, dtype: str) -> None:
    for seed in range(3):
        check_grads(RIGHT[what], A.astype(dtype), B.astype(dtype), seed=seed)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_mistakes_are_found_in_each_dtype(dtype: str) -> None:
    f = planted(lambda a: a * a, lambda g, y, a: -g * a * 2)
    assert caught(f, A.astype(dtype)).pattern == "sign"


def test_function_that_computes_in_float32() -> None:
    """The steps are those of what the function returns, not of what it is given."""
    check_grads(lambda a: mg.tanh(mg.astype(a, "float32")), A)
    assert caught(lambda a: planted(np.tanh, lambda g, y, a: g)(mg.astype(a, "float32")), A).argument == "a"


@settings(max_examples=20)
@given(st.data())
def test_scale_does_not_matter(data: st.DataObject) -> None:
    """Right at every size of argument and result, and wrong at every size."""
    size, scale = 10.0 ** data.draw(st.integers(-6, 6)), 10.0 ** data.draw(st.integers(-12, 12))
    a = A * size
    check_grads(lambda a: a * a * scale, a)
    assert caught(planted(lambda a: a * a * scale, lambda g, y, a: g * a * scale), a).pattern == "factor"


@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 3), (2, 1, 3)])
def test_shapes(shape: tuple[int, ...]) -> None:
    check_grads(lambda a, b: mg.exp(a) * b + a, np.full(shape, 0.5), 0.25)


# ---- arguments ---------------------------------------------------------------------------------------------------------------


def test_arguments_of_all_kinds() -> None:
    index = np.array([0, 2])
    check_grads(
        lambda a, b, c, i, flag, none: a[i] * b + c[0] if flag and none is None else a,
        mg.tensor(A),
        2.0,
        [1.0, 2.0],
        index,
        True,
        None,
    )
    check_grads(mg.sum, A, 1)


@pytest.mark.parametrize("args", [(), (1,), (np.array([1, 2]),), (None,)])
def test_nothing_to_differentiate(args: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match="nothing to differentiate"):
        check_grads(lambda *a: a, *args)


def test_complex_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="complex"):
        check_grads(mg.exp, np.array([1j]))


def test_results_that_are_no_tensors_are_refused() -> None:
    with pytest.raises(TypeError, match="must return a Tensor or a tuple of Tensors, got float"):
        check_grads(lambda a: 1.0, A)
    with pytest.raises(TypeError, match="returns nothing of floating dtype"):
        check_grads(mg.argmax, A)


def test_order_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="order=0"):
        check_grads(mg.exp, A, order=0)


def test_names_of_arguments() -> None:
    def spoilt(first: Any, *rest: Any) -> Any:
        return first * rest[0] + planted(lambda a: a, lambda g, y, a: -g)(rest[1])

    assert caught(spoilt, A, A, B).argument == "rest[1]"
    assert caught(planted(lambda weight: weight, lambda g, y, a: -g), A).argument == "weight"
    assert "of planted with respect to 'weight'" in str(caught(planted(lambda weight: weight, lambda g, y, a: -g), A))


def test_all_wrong_arguments_are_named() -> None:
    f = planted(lambda a, b: a * b, lambda g, y, a, b: -g * b, lambda g, y, a, b: -g * a)
    assert "also wrong: 'b'" in str(caught(f, A, B))


def test_random_function_is_called_nondeterministic() -> None:
    rng = np.random.default_rng(0)
    error = caught(lambda a: a * rng.normal(size=a.shape), A)
    assert error.pattern == "nondeterministic"
    assert "two calls" in str(error)


def test_value_that_is_not_finite() -> None:
    assert caught(mg.log, np.array([0.0, 1.0])).pattern == "not finite"
    error = caught(mg.sqrt, np.array([0.0, 1.0]))
    assert error.pattern == "not finite"


def test_arguments_are_not_changed() -> None:
    a, t = A.copy(), mg.tensor(B, requires_grad=True)

    def careless(a: mg.Tensor, b: mg.Tensor) -> mg.Tensor:
        y = a * b
        a._data[...] = 0.0
        return y

    with pytest.raises(AssertionError):
        check_grads(careless, a, t)
    check_grads(lambda a, b: a * b, a, t)
    assert np.array_equal(a, A)
    assert np.array_equal(t._data, B)
    assert t.grad is None
    assert t.is_leaf


def test_gradients_of_a_closure_are_left_alone() -> None:
    w = mg.tensor(B, requires_grad=True)
    check_grads(lambda a: a * w, A)
    assert w.grad is None


def test_nothing_global_is_touched() -> None:
    state, mode, errors = np.random.get_state()[1].copy(), recording.get(), np.geterr()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        check_grads(RIGHT["network"], A, B)
        check_grads(mg.abs, A)
        caught(mg.log, np.array([0.0]))
    assert not seen
    assert np.array_equal(np.random.get_state()[1], state)
    assert (recording.get(), np.geterr()) == (mode, errors)


def test_works_where_recording_is_off() -> None:
    with mg.no_grad():
        check_grads(mg.tanh, A)
        assert caught(planted(lambda a: a * a, lambda g, y, a: g * a), A).pattern == "factor"


def test_works_in_a_thread() -> None:
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(check_grads(mg.tanh, A).ok))
    thread.start()
    thread.join()
    assert done == [True]


def test_same_seed_same_report() -> None:
    f = planted(lambda a: a * a, lambda g, y, a: g * a * a)
    assert str(caught(f, A, seed=4)) == str(caught(f, A, seed=4))
    assert str(caught(f, A, seed=4)) != str(caught(f, A, seed=5))


def test_large_argument_is_sampled_for_the_report() -> None:
    error = caught(planted(lambda a: a * a, lambda g, y, a: -g * 2 * a), np.linspace(1.0, 2.0, 5000))
    assert error.pattern == "sign"
    assert "4096 of its 5000 elements" in str(error)


# ---- verdicts ---------------------------------------------------------------------------------------------------------------


def raw(a: Any) -> Any:
    return getattr(a, "_data", a)


def test_report_of_what_agrees() -> None:
    report = check_grads(lambda a, b: mg.tanh(a * b), A, B)
    assert (report.verdict, report.ok, report.order) == ("agrees", True, 1)
    assert [(row.order, row.argument) for row in report.rows] == [
        (1, "a"), (1, "b"), (2, "a"), (2, "b"), (2, "upstream gradient 1 of order 1")
    ]  # fmt: skip
    assert all(row.oracle == "complex step" and row.received == pytest.approx(row.expected, rel=1e-9) for row in report.rows)
    assert "agree up to order 2 (5 comparisons: complex step)" in str(report)


def test_examine_returns_what_check_grads_raises() -> None:
    f = planted(lambda a: a * a, lambda g, y, a: g * a)
    report, error = examine(f, A), caught(f, A)
    assert str(report) == str(error) == str(error.report)
    assert (report.verdict, report.pattern, report.index) == ("wrong", "factor", error.index)
    assert repr(report) == "<GradientReport: wrong, 1 comparisons>"


def test_unknown_verdict_to_accept() -> None:
    with pytest.raises(ValueError, match=r"accept has \['right'\]; expected some of agrees, kink here"):
        check_grads(mg.tanh, A, accept=("agrees", "right"))


def test_rule_that_is_wrong_away_from_the_kink_is_found_at_the_kink() -> None:
    """Every element sits on the kink, where 0 is as good as any other slope."""
    error = caught(planted(lambda a: np.maximum(a, 0), lambda g, y, a: g * 0), np.zeros((2, 2)))
    assert error.report.verdict == "wrong"
    assert "moved off it" in str(error)


def test_other_elements_are_checked_beside_a_kink() -> None:
    spoil = np.array([1.0, 1.0, 1.5])
    f = planted(lambda a: np.maximum(a, 0), lambda g, y, a: g * (raw(a) > 0) * spoil)
    error = caught(f, np.array([0.0, -1.0, 2.0]))
    assert (error.report.verdict, error.index) == ("wrong", (2,))


def test_value_that_is_no_slope_at_a_kink_is_wrong() -> None:
    error = caught(
        planted(lambda a: np.maximum(a, 0), lambda g, y, a: g * np.where(raw(a) == 0, 5.0, raw(a) > 0)), np.array([0.0, 1.0])
    )
    assert (error.report.verdict, error.index) == ("wrong", (0,))


def test_ties_that_count_twice() -> None:
    top = planted(lambda a: a.max(), lambda g, y, a: g * (raw(a) == raw(a).max()).astype(float))
    error = caught(top, np.array([2.0, 1.0, 2.0]))
    assert error.pattern == "ties"
    assert "a[0] and a[2] tie, and both get the whole gradient" in str(error)
    assert check_grads(top, np.array([3.0, 1.0, 2.0])).ok
    assert check_grads(mg.max, np.array([2.0, 1.0, 2.0])).verdict == "kink here"


@pytest.mark.parametrize("f", [
    lambda a: mg.relu(a) - mg.relu(-a),  # the identity, with the slope 0 at 0 by convention
    lambda a: mg.relu(a) - 0.1 * mg.relu(-a),
    lambda a: mg.relu(a) + mg.log1p(mg.exp(-mg.abs(a))),  # softplus
    mg.sort,
    mg.std,
], ids=["identity", "leaky", "softplus", "sort", "std"])  # fmt: skip
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_conventions_at_kinks_are_no_mistakes(f: Callable[..., Any], dtype: str) -> None:
    assert check_grads(f, np.zeros((3, 3), dtype)).verdict == "kink here"


def test_wrong_at_one_point_without_a_kink_is_wrong() -> None:
    """The product rule written as a quotient, patched at 0: no kink excuses it."""

    def rule(g: Any, y: Any, a: Any) -> Any:
        return g * np.where(raw(a) == 0, 0.0, raw(y) / np.where(raw(a) == 0, 1.0, raw(a)))

    f = planted(lambda a: a.prod(), rule)
    check_grads(f, np.array([1.0, 2.0, 3.0]), order=1)
    error = caught(f, np.array([0.0, 2.0, 3.0]), order=1)
    assert (error.report.verdict, error.index) == ("wrong", (0,))


def test_dtype_too_small() -> None:
    report = check_grads(lambda a: mg.exp(8 * a), np.array([0.1, 1.7], "float16"))
    assert (report.verdict, report.index) == ("dtype too small", (1,))
    assert "right in float64, but in float16 it overflows: a[1] should be" in str(report)
    assert check_grads(lambda a: mg.exp(8 * a), np.array([0.1, 1.7], "float32")).ok


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_small_errors_are_found_in_small_dtypes(dtype: str) -> None:
    """In float64, which its rounding cannot hide them from."""
    assert caught(planted(np.sin, lambda g, y, a: g * mg.cos(a) * (1 + 2**-10)), A.astype(dtype)).report.verdict == "wrong"


def test_rule_that_is_wrong_in_its_own_dtype_only() -> None:
    f = planted(np.square, lambda g, y, a: g * a * (2 if a.dtype == np.float64 else 3))
    check_grads(f, A)
    error = caught(f, A.astype("float32"))
    assert (error.report.verdict, error.pattern) == ("wrong", "dtype")


def test_operation_without_float64() -> None:
    def only32(a: Any) -> Any:
        if a.dtype == np.float64:
            raise TypeError("float32 only")
        return np.tanh(a)

    def f(a: Any) -> Any:
        return planted(only32, lambda g, y, a: g * (1 - y * y))(mg.astype(a, "float32"))

    check_grads(f, A.astype("float32"))


def test_rule_with_random_numbers_is_called_nondeterministic() -> None:
    rng = np.random.default_rng(0)
    error = caught(planted(np.exp, lambda g, y, a: g * y * rng.uniform(0.9, 1.1)), A)
    assert (error.report.verdict, error.pattern) == ("nondeterministic", "nondeterministic")
    assert "two backward passes" in str(error)


def test_stiff_function_is_not_decided_by_a_plateau_of_chance() -> None:
    def wave(a: Any) -> Any:
        return np.sin(1e9 * np.abs(a) + a)

    report = check_grads(
        planted(wave, lambda g, y, a: g * mg.cos(1e9 * mg.abs(a) + a) * (1e9 * mg.sign(a) + 1)), A[:1], order=1
    )
    assert report.verdict == "ill-conditioned"
    assert check_grads(lambda a: mg.sin(1e9 * a), A[:1]).ok


def test_function_that_computes_in_float32_inside() -> None:
    """Its differences are noise at the usual step; the ladder finds the steps at which they are not."""
    f = planted(lambda a: np.tanh(a.astype("float32")).astype(a.dtype), lambda g, y, a: g * (1 - y * y))
    report = check_grads(f, A, order=1)
    assert report.ok
    assert report.rows[-1].oracle == "ladder of steps"


def test_error_against_step() -> None:
    right, wrong = check_grads(mg.tanh, A), examine(planted(np.tanh, lambda g, y, a: g * (1 - y * y) * 1.5), A)
    found, value = right.ladder()
    assert found.off(value).min() < 1e-9 < 1e-4 < found.off(value)[0]
    assert right.sparkline() != wrong.sparkline()
    assert set(wrong.sparkline().split()[0]) == {"█"}
    assert wrong.sparkline() in str(wrong)
    with pytest.raises(ValueError, match="nothing was differentiated"):
        examine(mg.log, np.array([-1.0])).sparkline()


def test_plot(tmp_path: Any) -> None:
    pytest.importorskip("matplotlib")
    figure = examine(planted(np.tanh, lambda g, y, a: g), A).plot(tmp_path / "plot.png")
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "wrong: derivative of 'a', order 1"
    assert len(axes.lines) == 2
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"


def test_matplotlib_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        check_grads(mg.tanh, A).plot()


# ---- the package and its strategies ----------------------------------------------------------------------------------------


def test_hypothesis_is_imported_on_first_use_only() -> None:
    code = "import sys, minigrad.testing as t; assert 'hypothesis' not in sys.modules; t.strategies; assert 'hypothesis' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'strategy'"):
        _ = testing.strategy


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "bool"])
def test_arrays_stay_in_bounds(dtype: str) -> None:
    @settings(max_examples=30)
    @given(strategies.arrays(dtype, low=0.1, high=3.3))
    def holds(a: Any) -> None:
        assert a.dtype == dtype
        assert a.ndim <= 3
        if dtype != "bool":
            assert (a >= 0.1).all()
            assert (a <= 3.3).all()

    holds()


@settings(max_examples=30)
@given(strategies.tensors("float32", (2, 3), -1.0, 1.0, requires_grad=True))
def test_tensors(x: mg.Tensor) -> None:
    assert (x.dtype, x.shape, x.requires_grad, x.is_leaf) == (np.float32, (2, 3), True, True)


@settings(max_examples=50)
@given(st.data())
def test_shapes_broadcast_and_axes_exist(data: st.DataObject) -> None:
    shapes = data.draw(strategies.shapes_that_broadcast(3))
    assert len(shapes) == 3
    shape = np.broadcast_shapes(*shapes)
    np.ones(shape).sum(axis=data.draw(strategies.axes(len(shape))))
