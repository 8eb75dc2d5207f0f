"""Errors speak of the user's program: the operation, the variables' names, shapes, what was expected, what to do."""

from __future__ import annotations

import inspect as python_inspect
import re

import numpy as np
import pytest

import minigrad as mg
from minigrad import errors


def leaf(value, **kwargs):
    return mg.tensor(np.asarray(value, np.float64), requires_grad=True, **kwargs)


def message(kind, f):
    with pytest.raises(kind) as caught:
        f()
    return str(caught.value)


def holds(text, *parts):
    missing = [part for part in parts if part not in text]
    assert not missing, f"{missing} not in {text!r}"


def test_every_error_is_a_minigrad_error_and_the_built_in_one():
    builtin = {
        "ShapeError": ValueError, "DtypeError": TypeError, "DeviceError": TypeError, "NotInGraphError": ValueError,
        "FreedGraphError": RuntimeError, "ChangedValueError": RuntimeError, "BadIndexError": IndexError, "MinigradError": RuntimeError,
        "AnomalyError": FloatingPointError,
    }  # fmt: skip
    declared = dict(python_inspect.getmembers(errors, python_inspect.isclass))
    assert set(declared) == set(builtin)
    for name, cls in declared.items():
        assert getattr(mg, name) is cls
        assert issubclass(cls, errors.MinigradError)
        assert issubclass(cls, builtin[name])
        assert cls.__doc__


def test_shapes_that_do_not_broadcast():
    weights, bias = leaf(np.ones((3, 4))), leaf(np.ones(3))
    text = message(mg.ShapeError, lambda: weights + bias)
    holds(text, "add(weights: float64[3, 4], bias: float64[3])", "Axis -1 has sizes 3 and 4", "x[:, None]")
    a, b = np.ones((2, 1, 5)), leaf(np.ones((3, 4, 5)))
    holds(
        message(ValueError, lambda: a * b),
        "multiply(array: float64[2, 1, 5], b: float64[3, 4, 5])",
        "Axis -3 has sizes 2 and 3",
    )


def test_a_given_name_goes_before_the_variables():
    w, x = leaf(np.ones(3), name="encoder.weight"), mg.tensor(np.ones(2))
    holds(message(mg.ShapeError, lambda: w - x), "subtract(encoder.weight: float64[3], x: float64[2])")


def test_names_inside_containers():
    params = {"w": leaf(np.ones(3))}
    layers = [leaf(np.ones(2)), leaf(np.ones(2))]
    holds(message(mg.ShapeError, lambda: params["w"] * layers[1]), "params['w']: float64[3]", "layers[1]: float64[2]")


def test_matmul():
    weights, x = leaf(np.ones((3, 4))), leaf(np.ones((3, 2)))
    holds(
        message(mg.ShapeError, lambda: weights @ x),
        "matmul(weights: float64[3, 4], x: float64[3, 2])", "size 4", "size 3", ".mT",
    )  # fmt: skip
    holds(message(mg.ShapeError, lambda: weights @ 2.0), "matmul", "2.0")


@pytest.mark.parametrize(
    ("f", "parts"),
    [
        (lambda x: x.reshape(4, 4), ["reshape(x: float64[2, 3])"]),
        (lambda x: x.permute(0, 0), ["permute_dims: axes (0, 0) name an axis twice"]),
        (lambda x: mg.concat([x, mg.ones((2, 3, 1))]), ["concat: shapes (2, 3), (2, 3, 1)", "use stack"]),
        (lambda x: mg.concat([]), ["concat: needs at least one array"]),
        (lambda x: mg.broadcast_to(x, (2, 2)), ["broadcast_to(x: float64[2, 3])"]),
        (lambda x: mg.squeeze(x, 0), ["squeeze: axis 0 of shape (2, 3) has size 2"]),
    ],
)
def test_parameters_that_do_not_fit(f, parts):
    x = leaf(np.ones((2, 3)))
    holds(message(ValueError, lambda: f(x)), *parts)
    holds(message(mg.MinigradError, lambda: f(x)), *parts)


@pytest.mark.parametrize(("f", "name"), [(lambda x: x[7], "getitem"), (lambda x: mg.sum(x, axis=2), "sum")])
def test_an_index_or_axis_out_of_range_names_the_tensor(f, name):
    x = leaf(np.ones(3))
    for kind in (IndexError, mg.ShapeError):
        holds(message(kind, lambda: f(x)), f"{name}(x: float64[3])", "out of bounds")


def test_dtypes_that_an_operation_cannot_take():
    weights = leaf(np.ones(2))
    holds(message(mg.DtypeError, lambda: weights & True), "bitwise_and(weights: float64[2], True)")
    holds(message(mg.DtypeError, lambda: weights + "a"), "add: expected a Tensor, an array or a number, got str: 'a'")


@pytest.mark.parametrize(
    "data",
    [[[1, 2], [3]], "abc", [object()], [None], {"a": 1}, np.array(["x"])],
    ids=lambda v: re.sub(r" at 0x[0-9a-f]+", "", repr(v)),
)
def test_data_that_are_no_numbers_in_a_regular_list(data):
    text = message(mg.DtypeError, lambda: mg.tensor(data))
    holds(text, "regular (nested) list")


# Rules that users write
def test_a_rule_of_the_wrong_shape():
    bad = mg.primitive(lambda a: a * 2, lambda g, y, a: g[:2], name="double")
    x = leaf(np.ones(3))
    text = message(mg.ShapeError, lambda: bad(x).sum().backward())
    holds(text, "double: its gradient rule for operand 1 returned shape (2,)", "(3,)", "missing transpose or sum")
    low = mg.primitive(lambda a: a * 2, lambda g, y, a: g.sum(), name="low")
    holds(message(mg.ShapeError, lambda: low(x).sum().backward()), "low: its gradient rule for operand 1 returned shape ()")


def test_a_rule_that_raises_keeps_its_error_and_gets_a_note():
    def rule(g, y, a, b):
        raise KeyError("mine")

    bad = mg.primitive(lambda a, b: a * b, None, rule, name="product")
    x = leaf(np.ones((2, 3)))
    with pytest.raises(KeyError, match="mine") as caught:
        bad(x, x).sum().backward()
    assert caught.value.__notes__ == ["minigrad: in the gradient rule of product for operand 2, output shape (2, 3)"]


def test_a_rule_that_forgets_to_return():
    bad = mg.primitive(lambda a: a * 2, lambda g, y, a: None, name="double")
    with pytest.raises(AttributeError) as caught:
        bad(leaf(np.ones(3))).sum().backward()
    holds(caught.value.__notes__[0], "gradient rule of double for operand 1")


def test_a_forward_function_that_raises():
    def forward(a, times):
        raise ZeroDivisionError("mine")

    bad = mg.primitive(forward, lambda g, y, a, times: g, name="bad")
    x = leaf(np.ones(3))
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        bad(x, 3)
    holds(caught.value.__notes__[0], "bad(x: float64[3]) with times=3: mine")


def test_misuse_of_primitive():
    holds(message(TypeError, lambda: mg.primitive(3)), "forward must be a function of arrays, not int")
    holds(message(TypeError, lambda: mg.primitive(lambda a: a, lambda *_: 0, lambda *_: 0, name="f")), "f: 2 rules", "only 1")
    holds(
        message(ValueError, lambda: mg.primitive(lambda a: a, lambda *_: 0, needs="b", name="f")),
        "f: needs='b'",
        "first operand",
    )
    text = message(ValueError, lambda: mg.primitive(lambda a, b: a, None, None, needs=("a",), name="f"))
    holds(text, "needs has 1 entries for 2 rules")


def test_a_primitive_binds_its_arguments_as_its_forward_does():
    scaled = mg.primitive(lambda a, by=2.0: a * by, lambda g, y, a, by: g * by, needs="", name="scaled")
    x = leaf(3.0)
    assert scaled(x).item() == 6.0
    assert mg.grad(lambda x: scaled(x, by=5.0))(3.0).item() == 5.0
    assert scaled(np.float64(3.0)) == 6.0  # arrays to arrays
    with pytest.raises(TypeError, match=r"scaled\(\) missing 1 required positional argument"):
        scaled()
    with pytest.raises(TypeError, match=r"scaled\(\) got an unexpected keyword argument 'wrong'"):
        scaled(x, wrong=1)
    assert scaled.op.name == scaled.__name__ == "scaled"
    assert "scaled" not in mg.primitive.__globals__["TABLE"]  # the table is minigrad's own


def test_user_primitives_differentiate_twice_and_are_checked_for_dtype():
    cube = mg.primitive(lambda a: a**3, lambda g, y, a: g * 3 * a**2, needs="a", name="cube")
    assert mg.grad(mg.grad(cube))(2.0).item() == 12.0
    wide = mg.primitive(lambda a: a * 2, lambda g, y, a: np.asarray(g, np.float64) * 2, needs="", name="wide")
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    wide(x).sum().backward()
    assert x.grad.dtype == np.float32
    stretched = mg.primitive(lambda a, b: a + b, lambda g, y, a, b: g, lambda g, y, a, b: g, needs="", name="stretched")
    row = leaf(np.ones((1, 3)))
    stretched(row, leaf(np.ones((2, 1)))).sum().backward()  # broadcasting is undone for user rules too
    assert row.grad.tolist() == [[2.0, 2.0, 2.0]]


def test_notes_are_not_repeated_for_minigrads_own_errors():
    x = leaf(np.ones(3))
    with pytest.raises(mg.ShapeError) as caught:
        (x + x).backward()
    assert not getattr(caught.value, "__notes__", [])


# NaN
def test_the_operation_that_makes_a_nan_is_named():
    x = leaf(np.array([1.0, -1.0]))
    with mg.detect_anomaly(), np.errstate(invalid="ignore"), pytest.raises(mg.AnomalyError) as caught:
        mg.exp(mg.log(x) * 2)
    holds(str(caught.value), "log: produced nan at [1] from finite operands (x: -1.0 at [1])", f"at {__file__}:", "epsilon")


def test_a_nan_that_was_given_is_nobodys_fault_and_passes():
    x = leaf(np.array([1.0, np.nan]))
    with mg.detect_anomaly():
        (x * 2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 2.0])


def test_the_rule_that_makes_an_infinity_is_named():
    x = leaf(np.array([4.0, 0.0]))
    with mg.detect_anomaly(), pytest.raises(mg.AnomalyError) as caught:
        mg.sum(mg.sqrt(x)).backward()
    holds(str(caught.value), "sqrt: its gradient rule for operand 1 produced inf at [1]", "x: 0.0", f"at {__file__}:")
    assert x.grad is None
    y = mg.sum(mg.sqrt(x))
    y.backward()
    assert np.isinf(x.grad.numpy()[1])
