"""The Tensor as its user meets it: Python's protocols, NumPy's, in-place updates, copies, what it prints."""

from __future__ import annotations

import copy
import math
import operator
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import minigrad as mg


def leaf(value, **kwargs):
    return mg.tensor(np.asarray(value, np.float64), requires_grad=True, **kwargs)


# Making one
def test_tensor_copies_and_asarray_shares():
    a = np.zeros(3)
    assert not np.shares_memory(mg.tensor(a).data, a)
    assert mg.asarray(a).data is a
    t = mg.tensor(a)
    assert mg.asarray(t) is t
    assert not np.shares_memory(mg.tensor(t).data, t.data)


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.0, "float32"), ([1.0, 2], "float32"), ((1.0,), "float32"), (1, "int64"), ([[1, 2]], "int64"), (True, "bool"),
        (np.float64(1), "float64"), (np.ones(2), "float64"), (np.ones(2, "f2"), "float16"), ([np.float64(1)], "float64"),
        (np.arange(2, dtype="i1"), "int8"), ([], "float32"), (1j, "complex128"),
    ],
)  # fmt: skip
def test_python_numbers_take_the_default_dtype_and_arrays_keep_theirs(data, dtype):
    assert mg.tensor(data).dtype == dtype


def test_the_default_dtype_can_be_set():
    mg.set_default_dtype("float64")
    try:
        assert mg.tensor(1.0).dtype == mg.zeros(2).dtype == mg.random.normal(2).dtype == np.float64
    finally:
        mg.set_default_dtype("float32")
    with pytest.raises(mg.DtypeError, match="expected a floating dtype"):
        mg.set_default_dtype("int32")


def test_a_list_of_tensors_becomes_one_tensor_unless_that_would_cut_the_graph():
    assert mg.tensor([mg.tensor(1.0), mg.tensor(2.0)]).tolist() == [1.0, 2.0]
    w = leaf(1.0)
    with pytest.raises(mg.MinigradError, match="lose its history"):
        mg.tensor([w, 2.0])
    with mg.no_grad():
        assert mg.tensor([w, 2.0]).tolist() == [1.0, 2.0]


# Numbers, lists and arrays on either side
OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.floordiv, operator.mod]


@pytest.mark.parametrize("f", OPERATORS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "other", [2, 2.5, np.array([1.5, 3.0]), np.array([[2.0], [3.0]]), [1.5, 2.5], np.float64(2.5), np.int64(2)]
)
def test_operators_with_anything_on_either_side(f, other):
    x = leaf([1.0, 4.0])
    plain = np.asarray(other, np.float32) if isinstance(other, list) else other
    for got, expected in [(f(x, other), f(x.numpy(), plain)), (f(other, x), f(plain, x.numpy()))]:
        assert type(got) is mg.Tensor
        assert got.requires_grad
        assert got.dtype == expected.dtype
        assert_array_equal(got.numpy(), expected)


def test_matmul_with_an_array_on_either_side():
    x, a = leaf(np.eye(2)), np.array([[1.0, 2.0], [3.0, 4.0]])
    assert_array_equal((x @ a).numpy(), a)
    assert_array_equal((a @ x).numpy(), a)
    (a @ x).sum().backward()
    assert_array_equal(x.grad.numpy(), a.T @ np.ones((2, 2)))


def test_dtype_promotion():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    assert all(y.dtype == np.float32 for y in (x + 1, x * 2.5, 1 / x, x**2, x - True, 2.5 * x, [1.0, 2.0] * x))
    assert (x * np.float64(2)).dtype == np.float64
    assert (np.float64(2) * x).dtype == np.float64
    assert (x * np.ones(2)).dtype == np.float64
    assert (x * np.float32(2)).dtype == np.float32
    (x * np.ones(2)).sum().backward()
    assert x.grad.dtype == np.float32


def test_comparisons_are_elementwise_and_hash_is_identity():
    x = leaf([1.0, 2.0])
    for f in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne):
        assert_array_equal(f(x, 1.5).numpy(), f(x.numpy(), 1.5))
        assert_array_equal(f(np.array([2.0, 2.0]), x).numpy(), f(np.array([2.0, 2.0]), x.numpy()))
        assert not f(x, 1.5).requires_grad
    assert {x: 1}[x] == 1
    assert len({x, leaf([1.0, 2.0])}) == 2


def test_an_operand_that_is_no_number():
    x = leaf([1.0])
    for bad in ("a", {}, object(), {1.0}):
        with pytest.raises(TypeError, match="expected a Tensor, an array or a number"):
            x + bad


# NumPy's protocols
def test_numpy_functions_on_a_tensor_stay_in_the_graph():
    x = leaf([0.5, 1.0])
    y = np.exp(x)
    assert type(y) is mg.Tensor
    np.multiply(np.array([2.0, 3.0]), y).sum().backward()
    assert_array_equal(x.grad.numpy(), np.array([2.0, 3.0]) * np.exp([0.5, 1.0]))


def test_numpy_functions_that_would_leave_the_graph_are_refused():
    x = leaf([0.5, 1.0])
    with pytest.raises(mg.MinigradError, match=r"np.exp: out is an array"):
        np.exp(x, out=np.empty(2))
    with pytest.raises(mg.DtypeError, match=r"np.nextafter"):
        np.nextafter(x, 1)
    for f in (np.asarray, np.array, lambda t: np.empty(2).__setitem__(slice(None), t)):
        with pytest.raises(mg.MinigradError, match=r"\.detach\(\)\.numpy\(\)"):
            f(x)
    assert np.sum(x).requires_grad
    assert np.concatenate([x, x]).requires_grad


def test_a_tensor_without_gradient_is_an_array_to_numpy():
    x = mg.tensor([0.5, 1.0])
    assert np.asarray(x) is not None
    assert np.shares_memory(np.asarray(x), x.data)
    assert not np.shares_memory(np.array(x), x.data)
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.asarray(x, dtype=np.float64, copy=False)
    with mg.no_grad():
        assert_array_equal(np.asarray(leaf([1.0])), [1.0])


# Python's protocols
def test_len_and_iteration():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2
    first, second = x
    (first * second).sum().backward()
    assert_array_equal(x.grad.numpy(), [[3.0, 4.0], [1.0, 2.0]])
    for f in (len, iter, list):
        with pytest.raises(TypeError, match="0-d"):
            f(leaf(1.0))


def test_conversions_to_numbers():
    x = leaf([[2.5]])
    assert (float(x), int(x), x.item(), bool(x), bool(leaf(0.0))) == (2.5, 2, 2.5, True, False)
    assert type(x.item()) is float
    assert math.sqrt(mg.tensor(4.0)) == 2.0
    many = leaf([1.0, 2.0])
    for f in (float, int, mg.Tensor.item):
        with pytest.raises(mg.ShapeError, match=r"one element, got shape \(2,\)"):
            f(many)
    with pytest.raises(mg.ShapeError, match=r"ambiguous: use mg.any\(x\) or mg.all\(x\)"):
        bool(many)


def test_index():
    i = mg.tensor(2)
    assert [10, 11, 12][i] == 12
    assert list(range(5))[mg.tensor(1) : mg.tensor([3])] == [1, 2]
    for bad in (mg.tensor(2.0), mg.tensor([1, 2]), mg.tensor(True)):
        with pytest.raises(TypeError, match="only a tensor with one integer can be an index"):
            [1, 2][bad]


def test_format():
    x = leaf(3.14159)
    assert f"{x:.2f}" == "3.14"
    assert f"{mg.tensor(3):04d}" == "0003"
    assert f"{x}" == str(x)
    assert f"{mg.tensor([1.0, 2.0])!s:>20}" == "    tensor([1., 2.])"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: mg.tensor([1.0, 2.0]), "tensor([1., 2.])"),
        (lambda: mg.tensor([1, 2]), "tensor([1, 2])"),
        (lambda: mg.tensor(True), "tensor(True)"),
        (lambda: mg.tensor(1, dtype="int8"), "tensor(1, dtype=int8)"),
        (lambda: leaf([1.0]), "tensor([1.], dtype=float64, requires_grad=True)"),
        (lambda: mg.tensor(1.0, requires_grad=True, name="w"), "tensor(1., name='w', requires_grad=True)"),
        (lambda: mg.tensor(1.0, requires_grad=True) * 2, "tensor(2., op='multiply')"),
        (lambda: mg.tensor([[1.0], [2.0]]), "tensor([[1.],\n        [2.]])"),
    ],
)
def test_repr(make, text):
    assert repr(make()) == text


def test_repr_of_a_large_tensor_is_short():
    assert len(repr(mg.zeros((1000, 1000)))) < 500


def test_shape_methods():
    x = leaf(np.arange(24.0).reshape(2, 3, 4))
    a = x.numpy()
    assert (x.shape, x.ndim, x.size, x.dtype, x.device) == ((2, 3, 4), 3, 24, np.float64, "cpu")
    for got, expected in [
        (x.T, a.T), (x.mT, a.swapaxes(1, 2)), (x.reshape(6, -1), a.reshape(6, 4)), (x.reshape((4, 6)), a.reshape(4, 6)),
        (x.view(-1), a.ravel()), (x.permute(2, 0, 1), a.transpose(2, 0, 1)), (x.permute((1, 0, 2)), a.transpose(1, 0, 2)),
        (x.transpose(), a.T), (x.transpose(0, 2, 1), a.transpose(0, 2, 1)), (x.flatten(), a.ravel()),
        (x.flatten(1), a.reshape(2, 12)), (x.flatten(0, 1), a.reshape(6, 4)), (leaf(1.0).flatten(), np.array([1.0])),
    ]:  # fmt: skip
        assert_array_equal(got.numpy(), expected)
        assert got.requires_grad


def test_to():
    x = leaf([1.0])
    assert x.to("cpu") is x
    assert x.to("float64") is x
    assert x.to(np.float32).dtype == np.float32
    x.to("float32").sum().backward()
    assert x.grad.dtype == np.float64


# In place
@pytest.mark.parametrize(
    ("sign", "f"), [("+=", operator.iadd), ("-=", operator.isub), ("*=", operator.imul), ("/=", operator.itruediv)]
)
def test_in_place_on_leaves_and_results(sign, f):
    w = leaf([2.0, 4.0])
    with pytest.raises(mg.MinigradError, match=rf"^\{sign[0]}= on a leaf that requires a gradient.*no_grad"):
        f(w, 2.0)
    expected = f(np.array([2.0, 4.0]), 2.0)
    with mg.no_grad():
        same = f(w, 2.0)
        assert same is w
        with pytest.raises(mg.ShapeError, match=rf"\{sign}: the result has shape \(2, 2\)"):
            f(w, np.ones((2, 1)))
    assert_array_equal(w.numpy(), expected)
    assert w.requires_grad
    assert w.is_leaf
    y = w * 1.0
    z = f(y, 2.0)  # y = y + 2: a new tensor, in the graph
    assert z is not y
    z.sum().backward()
    assert_array_equal(w.grad.numpy(), np.full(2, f(1.0, 2.0) if sign in ("*=", "/=") else 1.0))


def test_in_place_under_no_grad_keeps_the_dtype_of_a_parameter():
    w = mg.tensor([1.0, 2.0], requires_grad=True)
    with mg.no_grad():
        w -= np.array([0.5, 0.5])
    assert w.dtype == np.float32
    counts = mg.tensor([1, 2])
    with mg.no_grad():
        before = counts
        counts += 0.5
    assert counts.dtype == np.float64
    assert before.dtype == np.int64


def test_setitem():
    x = mg.tensor([1.0, 2.0, 3.0])
    x[0] = 5
    x[mg.tensor([1, 2])] = mg.tensor([6.0, 7.0])
    x[x > 6.5] = 0
    assert x.tolist() == [5.0, 6.0, 0.0]
    w = leaf([1.0, 2.0])
    with pytest.raises(mg.MinigradError, match=r"x.at\[index\].set\(value\)"):
        w[:] = 1.0
    with mg.no_grad():
        w[0] = 9
    assert w.tolist() == [9.0, 2.0]
    y = w.at[0].set(0.0)
    y.sum().backward()
    assert (w.tolist(), y.tolist(), w.grad.tolist()) == ([9.0, 2.0], [0.0, 2.0], [0.0, 1.0])


def test_new_data():
    w = mg.tensor([1.0, 2.0], requires_grad=True)
    y = (w * w).sum()
    w.data = [5.0, 6.0]
    assert (w.tolist(), w.dtype, w.is_leaf) == ([5.0, 6.0], np.float32, True)
    y.backward()
    assert w.grad.tolist() == [2.0, 4.0]
    with pytest.raises(mg.ShapeError, match=r"new array has shape \(3,\), but this tensor has shape \(2,\)"):
        w.data = np.ones(3)
    with pytest.raises(mg.MinigradError, match="only leaves can be given new data"):
        (w * 2).data = np.ones(2)
    with pytest.raises(mg.DtypeError, match="only floating"):
        w.data = mg.tensor([1, 2])
    w.data = w.data.astype(np.float64)
    assert w.dtype == np.float32  # arrays are converted; a Tensor brings its own dtype
    w.data = mg.tensor(np.ones(2))
    (w * w).sum().backward()
    assert w.dtype == np.float64


def test_new_grad():
    w = leaf([1.0, 2.0])
    w.grad = [1.0, 2.0]
    assert isinstance(w.grad, mg.Tensor)
    assert w.grad.dtype == np.float64
    with pytest.raises(mg.ShapeError, match=r"gradient has shape \(3,\)"):
        w.grad = np.ones(3)
    w.sum().backward()
    assert w.grad.tolist() == [2.0, 3.0]
    w.zero_grad()
    assert w.grad is None


# Copies
def test_pickle_round_trip():
    w = leaf(np.ones((2, 3)), name="w")
    (w * w).sum().backward()
    for t in (w, mg.tensor([1, 2]), mg.tensor(2.0), mg.tensor([1.0]) * 2):
        twin = pickle.loads(pickle.dumps(t))
        assert (type(twin), twin.dtype, twin.requires_grad, twin.name) == (mg.Tensor, t.dtype, t.requires_grad, t.name)
        assert_array_equal(twin.numpy(), t.numpy())
    twin = pickle.loads(pickle.dumps(w))
    (twin * 2).sum().backward()
    assert_array_equal(twin.grad.numpy(), np.full((2, 3), 2.0))
    assert_array_equal(w.grad.numpy(), np.full((2, 3), 2.0))


def test_deepcopy_copies_values_gradient_and_identity_structure():
    w = leaf([1.0, 2.0], name="w")
    (w * w).sum().backward()
    first, second = copy.deepcopy([w, w])
    assert first is second
    assert (first.name, first.requires_grad, first.grad.tolist()) == ("w", True, [2.0, 4.0])
    assert not np.shares_memory(first.data, w.data)
    assert not np.shares_memory(first.grad.data, w.grad.data)
    (first * 3).sum().backward()
    assert w.grad.tolist() == [2.0, 4.0]


def test_copy_shares():
    w = leaf([1.0, 2.0], name="w")
    twin = copy.copy(w)
    assert twin is not w
    assert np.shares_memory(twin.data, w.data)
    assert (twin.name, twin.requires_grad, twin.node is w.node) == ("w", True, False)


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps])
def test_computed_tensors_are_not_copied_silently(how):
    with pytest.raises(mg.MinigradError, match=r"computed tensor.*detach\(\)"):
        how(leaf(1.0) * 2)


def test_names():
    w = leaf(1.0, name="w")
    assert w.name == "w"
    w.name = "v"
    assert "name='v'" in repr(w)
    c = mg.tensor(1.0)
    assert c.name is None
    c.name = "c"
    assert c.name == "c"
    assert not c.requires_grad
    h = w * c
    h.name = "h"
    assert h.node.name == "h"


# Creation
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: mg.zeros((2, 3)), np.zeros((2, 3), "f4")), (lambda: mg.ones(2), np.ones(2, "f4")),
        (lambda: mg.full((2,), 7), np.full(2, 7)), (lambda: mg.full((2,), 7.5), np.full(2, 7.5, "f4")),
        (lambda: mg.arange(3), np.arange(3)), (lambda: mg.arange(1, 2, 0.25), np.arange(1, 2, 0.25, "f4")),
        (lambda: mg.arange(5, 0, -2), np.array([5, 3, 1])), (lambda: mg.linspace(0, 1, 5), np.linspace(0, 1, 5, dtype="f4")),
        (lambda: mg.eye(2, 3, 1), np.eye(2, 3, 1, "f4")), (lambda: mg.zeros_like(np.ones((1, 2))), np.zeros((1, 2))),
        (lambda: mg.ones_like(mg.tensor([1, 2])), np.ones(2, "i8")), (lambda: mg.full_like(mg.zeros(2), 3), np.full(2, 3, "f4")),
        (lambda: mg.zeros((), dtype="f8"), np.zeros(())), (lambda: mg.zeros(np.int64(2)), np.zeros(2, "f4")),
    ],
)  # fmt: skip
def test_creation(make, expected):
    got = make()
    assert got.dtype == expected.dtype
    assert_array_equal(got.numpy(), expected)
    assert not got.requires_grad


def test_created_leaves_ask_for_gradients():
    for t in (mg.zeros(2, requires_grad=True), mg.ones_like(leaf([1.0]), requires_grad=True), mg.eye(2, requires_grad=True)):
        (t * 2).sum().backward()
        assert_array_equal(t.grad.numpy(), np.full(t.shape, 2.0))
    with pytest.raises(mg.DtypeError, match="only floating"):
        mg.arange(3, requires_grad=True)
    assert mg.empty((2, 3)).shape == (2, 3)


def test_every_in_place_operator_refuses_a_leaf_and_updates_it_inside_no_grad():
    for operate, expected in (
        (lambda x: x.__iadd__(1), 4.0), (lambda x: x.__isub__(1), 2.0), (lambda x: x.__imul__(2), 6.0),
        (lambda x: x.__itruediv__(2), 1.5), (lambda x: x.__ifloordiv__(2), 1.0), (lambda x: x.__imod__(2), 1.0),
        (lambda x: x.__ipow__(2), 9.0),
    ):  # fmt: skip
        x = leaf(3.0)
        with pytest.raises(mg.MinigradError, match="no_grad"):
            operate(x)
        with mg.no_grad():
            assert operate(x) is x
        assert x.item() == expected
        assert x.requires_grad


def test_a_mode_can_be_kept_used_again_and_decorate():
    x = leaf(1.0)
    off = mg.no_grad()
    for _ in range(2):
        with off:
            assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    assert not mg.no_grad(lambda: x * 2)().requires_grad
    with pytest.raises(TypeError, match="generator"):

        @mg.no_grad()
        def generate():
            yield x * 2


def test_asarray_and_full_keep_a_tensor_in_the_graph():
    x = leaf([1.0, 2.0])
    mg.sum(mg.asarray(x, dtype="float32") ** 2).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 4.0])
    x.zero_grad()
    mg.sum(x * mg.full((2,), x[0])).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [4.0, 1.0])
    with pytest.warns(UserWarning, match="cuts its history"):
        mg.tensor(x)


def test_complex_tensors_cannot_ask_for_gradients():
    with pytest.raises(mg.DtypeError, match="real and imaginary"):
        mg.tensor(1j, requires_grad=True)
