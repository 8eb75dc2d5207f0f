"""mg.checkpoint: the numbers of the function itself, and less memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.testing import check_grads


def blocks(n=3):
    mg.manual_seed(0)
    return [nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.3), nn.Tanh()) for _ in range(n)]


def gradients(layers, how, x):
    mg.manual_seed(1)
    y = x
    for layer in layers:
        y = how(layer)(y)
    loss = (y**2).sum()
    loss.backward()
    found = [loss.numpy(), x.grad.numpy(), *(p.grad.numpy() for layer in layers for p in layer.parameters())]
    x.grad = None
    for layer in layers:
        layer.zero_grad()
    return found


def test_modules_with_dropout_have_the_same_gradients_bit_for_bit():
    layers = blocks()
    x = mg.tensor(np.random.default_rng(0).normal(size=(4, 8)).astype("float32"), requires_grad=True)
    for a, b in zip(gradients(layers, lambda f: f, x), gradients(layers, mg.checkpoint, x)):
        np.testing.assert_array_equal(a, b)


def test_several_results_and_what_is_not_given_to_it():
    w = mg.tensor(np.array([0.3, -0.2]), requires_grad=True)

    def f(p, q):
        a, b = mg.checkpoint(lambda p, q: (mg.sin(p * q) * w, p.sum() + q))(p, q)
        return mg.sum(a * a) + mg.sum(b * b)

    check_grads(f, np.array([0.3, 0.4]), np.array([1.0, 2.0]))
    check_grads(lambda v: mg.sum(mg.checkpoint(lambda x: mg.exp(x * v))(mg.tensor(np.ones(2)))), np.array([0.1, 0.2]))


def test_gradients_of_gradients():
    w = mg.tensor(np.array([0.3, -0.2, 0.5]), requires_grad=True)
    y = mg.checkpoint(lambda u: mg.exp(u * w))(mg.tensor(np.array(2.0))).sum()
    (g,) = mg.gradients(y, w, create_graph=True)
    (h,) = mg.gradients(g.sum(), w)
    np.testing.assert_allclose(h.numpy(), 4 * np.exp(2 * w.numpy()), rtol=1e-14)


def test_a_closure_over_a_computed_tensor():
    a = mg.tensor(2.0, requires_grad=True)
    b = a * 3
    y = mg.checkpoint(lambda x: x * b)(mg.tensor(5.0, requires_grad=True))
    y.backward()
    assert a.grad.item() == 15.0


def test_inputs_without_gradient_and_other_arguments():
    w = mg.tensor(2.0, requires_grad=True)
    f = mg.checkpoint(lambda x, k, scale=1.0: x * w * k * scale)
    f(mg.tensor(3.0), 2, scale=5.0).backward()
    assert w.grad.item() == 30.0
    with mg.no_grad():
        assert not f(mg.tensor(3.0), 2).requires_grad


def test_it_saves_memory():
    def peak(how):
        x = mg.tensor(np.linspace(0, 1, 20_000), requires_grad=True)
        tracemalloc.start()
        y = x
        for _ in range(8):
            y = how(lambda z: mg.sin(mg.exp(-mg.cos(mg.sin(mg.cos(z))))))(y)
        y.sum().backward()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most, x.grad.numpy()

    (plain, a), (saved, b) = peak(lambda f: f), peak(mg.checkpoint)
    np.testing.assert_array_equal(a, b)
    assert saved < 0.6 * plain


def test_another_result_the_second_time_is_an_error():
    rng = np.random.default_rng(0)
    y = mg.checkpoint(lambda x: x * rng.normal())(mg.tensor(1.0, requires_grad=True))
    with pytest.raises(mg.ChangedValueError, match="gave another result"):
        y.backward()
    w = mg.tensor(2.0, requires_grad=True)
    y = mg.checkpoint(lambda x: x * w)(mg.tensor(1.0, requires_grad=True))
    with mg.no_grad():
        w -= 1.0
    with pytest.raises(mg.ChangedValueError, match="before the update"):
        y.backward()


def test_what_it_refuses():
    with pytest.raises(TypeError, match=r"mg.checkpoint\(f\)\(x\)"):
        mg.checkpoint(mg.tensor(1.0))
    with pytest.raises(mg.DtypeError, match="must return a Tensor"):
        mg.checkpoint(lambda x: 3.0)(mg.tensor(1.0, requires_grad=True))


def test_a_compiled_step_may_contain_one():
    w = mg.tensor([0.5, 1.0], requires_grad=True)

    def f(x):
        w.grad = None
        loss = mg.sum(mg.checkpoint(lambda z: mg.tanh(z * w) ** 2)(x))
        loss.backward()
        return loss

    step = mg.compile(f)
    for k in range(4):
        x = mg.tensor([1.0, float(k)])
        expected = f(x).item(), w.grad.numpy().copy()
        assert step(x).item() == expected[0]
        np.testing.assert_array_equal(w.grad.numpy(), expected[1])
