"""``viz.explain_grad``: every seeded fault is named, with its operation and line; healthy graphs give no finding."""

from __future__ import annotations

import inspect as source_of

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, viz
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn import models
from minigrad.viz import why

FAULTS = []


def fault(kind, op="", inspected=True, **about):
    """Register a builder ``() -> (tensor, loss)``; the culprit's line, if one is expected, ends in ``# here``."""

    def register(build):
        name = "_".join([build.__name__, *(["plain"] if not inspected else [])])
        FAULTS.append(pytest.param(build, kind, op, inspected, about, id=name))
        return build

    return register


def leaf(value, **kwargs):
    return mg.tensor(value, dtype=kwargs.pop("dtype", "float64"), requires_grad=True, **kwargs)


def normal(*shape, seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(size=shape) * scale


def line_of(build):
    lines, first = source_of.getsourcelines(build)
    return next((first + k for k, text in enumerate(lines) if text.rstrip().endswith("# here")), None)


def after(loss):
    loss.backward()
    return loss


# None: the graph does not lead there
@fault("unused")
def never_used():
    w, x = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    return w, after(mg.sum(x * x))


@fault("untraced", inspected=False)
def never_used_plain():
    w, x = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    return w, after(mg.sum(x * x))


@fault("unused")
def computed_from_but_dropped():
    w, x = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    _ = w * x
    return w, after(mg.sum(x))


@fault("detach")
def detached_itself():
    w, x = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    d = w.detach()  # here
    return w, after(mg.sum(d * x))


@fault("detach", "multiply", inspected=False)
def detached_itself_plain():
    w, x = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    return w, after(mg.sum(w.detach() * x))


@fault("detach")
def detached_hidden_value():
    w, x = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    h = mg.tanh(w * 3).detach()  # here
    return w, after(mg.sum(mg.exp(h) * x))


@fault("detach")
def detached_twice():
    w, x = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    h = (w * 3).detach()  # here
    h = (h + 1).detach()
    return w, after(mg.sum(h.detach() * x))


@fault("detach")
def detached_and_asking_again():
    w = leaf([1.0, 2.0])
    d = w.detach().requires_grad_()  # here
    return w, after(mg.sum(d * d))


@fault("no_grad")
def computed_in_no_grad():
    w, x = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    with mg.no_grad():
        h = w * 2  # here
    return w, after(mg.sum(h * x))


@fault("no_grad")
def chain_in_no_grad():
    w, x = leaf(normal(2, 2)), leaf([3.0, 4.0])
    with mg.no_grad():
        h = mg.tanh(w)  # here
        h = h @ h + 1
    return w, after(mg.sum(h @ x))


@fault("no_grad")
def decorated_with_no_grad():
    w, x = leaf([1.0, 2.0]), leaf([3.0, 4.0])

    @mg.no_grad
    def encode(a):
        return a * 2  # here

    return w, after(mg.sum(encode(w) * x))


@fault("no_grad")
def loss_in_no_grad():
    w = leaf([1.0, 2.0])
    with mg.no_grad():
        loss = mg.sum(w)  # here
    return w, loss


@fault("no_graph", inspected=False)
def loss_in_no_grad_plain():
    w = leaf([1.0, 2.0])
    with mg.no_grad():
        loss = mg.sum(w)
    return w, loss


@fault("round_trip")
def through_numpy():
    w, x = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    h = np.exp(w.numpy())  # here
    return w, after(mg.sum(h * x))


@fault("round_trip")
def through_data():
    w, x = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    h = mg.tensor(w.data * 2)  # here
    return w, after(mg.sum(h * x))


@fault("round_trip", inspected=False)
def through_numpy_plain():
    w, x = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    return w, after(mg.sum(np.exp(w.numpy()) * x))


@fault("round_trip", "multiply", inspected=False)
def shared_through_data_plain():
    w, x = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    return w, after(mg.sum(x * w.data))


@fault("round_trip")
def hidden_value_through_numpy():
    w, x = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    h = np.sort((w * 2).numpy())  # here
    return w, after(mg.sum(mg.tensor(h) * x))


@fault("round_trip")
def through_item():
    w, x = leaf(2.0), leaf([3.0, 4.0])
    return w, after(mg.sum(x * w.item()))  # here


@fault("round_trip")
def through_float():
    w, x = leaf(2.0), leaf([3.0, 4.0])
    return w, after(mg.sum(x * float(w)))  # here


@fault("round_trip")
def through_tolist():
    w, x = leaf([2.0, 3.0]), leaf([3.0, 4.0])
    return w, after(mg.sum(x * mg.tensor(w.tolist())))  # here


@fault("tensor")
def copied_with_tensor():
    w, x = leaf([2.0, 3.0]), leaf([3.0, 4.0])
    with pytest.warns(UserWarning, match="cuts its history"):
        h = mg.tensor(w)  # here
    return w, after(mg.sum(x * h))


@fault("integer", "discretize")
def cast_to_integers():
    w, x = leaf([1.5, 2.5]), leaf([3.0, 4.0])
    n = w.astype("int64")  # here
    return w, after(mg.sum(x * n))


@fault("integer", "discretize")
def cast_to_bool():
    w, x = leaf([1.5, 0.0]), leaf([3.0, 4.0])
    n = w.astype("bool")  # here
    return w, after(mg.sum(x * n))


@fault("comparison", "greater")
def compared():
    w, x = leaf([1.5, -2.5]), leaf([3.0, 4.0])
    hit = w > 0  # here
    return w, after(mg.sum(x * hit))


@fault("comparison", "equal")
def accuracy_as_loss():
    w, x = leaf([1.5, 3.0]), leaf([3.0, 3.0])
    hit = w == 3.0  # here
    return w, after(mg.mean(x * hit.astype("float64")))


@fault("index", "argmax")
def argmax_used():
    w, x = leaf([1.5, 3.0]), leaf([3.0, 3.0])
    k = w.argmax()  # here
    return w, after(mg.sum(x * k))


@fault("index", "argsort")
def argsort_used():
    w, x = leaf([1.5, 3.0]), leaf([3.0, 3.0])
    k = mg.argsort(w)  # here
    return w, after(mg.sum(x * k))


@fault("condition", "where")
def used_as_condition():
    w, x = leaf([1.0, 0.0]), leaf([3.0, 4.0])
    y = mg.where(w, x, 2 * x)  # here
    return w, after(mg.sum(y))


@fault("frozen", inspected=False)
def frozen():
    w, x = mg.tensor([1.0, 2.0]), leaf([3.0, 4.0])
    return w, after(mg.sum(w * x))


@fault("frozen")
def integer_tensor():
    w, x = mg.tensor([1, 2]), leaf([3.0, 4.0])
    return w, after(mg.sum(w * x))


@fault("frozen_then", "multiply", inspected=False)
def asked_too_late():
    w, x = mg.tensor([1.0, 2.0], dtype="float64", name="w"), leaf([3.0, 4.0])
    loss = after(mg.sum(w * x))
    w.requires_grad = True
    return w, loss


@fault("constant", "multiply")
def computed_from_constants():
    w, x = mg.tensor([1.0, 2.0]), leaf([3.0, 4.0])
    h = w * 2  # here
    return h, after(mg.sum(h * x))


@fault("not_leaf", "multiply")
def hidden_value():
    w = leaf([1.0, 2.0])
    h = w * 2  # here
    return h, after(mg.sum(h * h))


@fault("not_leaf", "subtract", inspected=False)
def rebound_by_the_update():
    w = leaf([1.0, 2.0])
    after(mg.sum(w * w))
    w = w - 0.1 * w.grad
    return w, after(mg.sum(w * w))


@fault("replaced")
def new_leaf_of_the_name():
    w = leaf([1.0, 2.0], name="w")
    loss = after(mg.sum(w * w))
    w = leaf([0.5, 1.5], name="w")
    return w, loss


@fault("replaced", inspected=False)
def new_leaf_of_the_shape():
    w = leaf([1.0, 2.0])
    loss = after(mg.sum(w * w))
    return mg.tensor(w.data - 0.1, requires_grad=True), loss


@fault("later", inspected=False)
def made_later():
    loss = after(mg.sum(leaf([1.0, 2.0]) ** 2))
    return leaf([[1.0]]), loss


@fault("not_called")
def backward_not_called():
    w = leaf([1.0, 2.0])
    return w, mg.sum(w * w)


@fault("cleared")
def zero_grad_after_backward():
    w = leaf([1.0, 2.0])
    loss = after(mg.sum(w * w))
    w.zero_grad()
    return w, loss


@fault("cleared", inspected=False)
def optimizer_cleared():
    w = leaf([1.0, 2.0])
    opt = mg.optim.SGD([w], lr=0.1)
    loss = after(mg.sum(w * w))
    opt.zero_grad()
    return w, loss


@fault("cleared", inspected=False)
def filled_with_zeros():
    w = leaf([1.0, 2.0])
    loss = after(mg.sum(w * w))
    w.grad = np.zeros(2)
    return w, loss


@fault("released", inspected=False)
def released_and_cleared():
    w = leaf(normal(400))
    loss = after(mg.sum(mg.exp(w)))
    w.grad = None
    return w, loss


# Zero
@fault("dead_relu", "relu", negative=1.0)
def dead_relus():
    w, x = leaf(normal(4, 3)), np.abs(normal(5, 4))
    h = mg.relu(x @ w - 100)  # here
    return w, after(mg.sum(h))


@fault("dead_relu", "relu", negative=1.0, inspected=False)
def dead_relus_plain():
    w, x = leaf(normal(4, 3)), np.abs(normal(5, 4))
    return w, after(mg.sum(mg.relu(x @ w - 100)))


@fault("dead_relu", "relu", negative=1.0)
def dead_where_the_gradient_comes():
    w = leaf([-1.0, -2.0, 5.0])
    h = mg.relu(w)  # here
    return w, after(mg.sum(h * np.array([1.0, 1.0, 0.0])))


@fault("dead_relu", "relu", negative=1.0)
def next_weights_behind_dead_relus():
    w1, w2, x = leaf(normal(4, 3)), leaf(normal(3, 2)), np.abs(normal(5, 4))
    h = mg.relu(x @ w1 - 100)  # here
    return w2, after(mg.sum(h @ w2))


@fault("dead_relu", "relu")
def dead_relu_in_a_module():
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    with mg.no_grad():
        model[0].bias -= 1000.0
    return model[0].weight, after(mg.mean(model(mg.tensor(normal(8, 3), dtype="float32"))))


@fault("saturated", "sigmoid")
def saturated_sigmoid():
    w = leaf([1.0, 2.0])
    y = mg.sigmoid(w * 1000)  # here
    return w, after(mg.sum(y))


@fault("saturated", "tanh")
def saturated_tanh():
    w = leaf([1.0, -2.0])
    y = mg.tanh(w * 1000)  # here
    return w, after(mg.sum(y))


@fault("saturated", "softmax")
def saturated_softmax():
    w = leaf([1.0, 2.0, 3.0])
    p = mg.softmax(w * 10000)  # here
    return w, after(mg.sum(p * np.array([1.0, 2.0, 3.0])))


@fault("saturated", "log_softmax")
def certain_and_right():
    w = leaf([[10000.0, 0.0]])
    p = mg.log_softmax(w, axis=-1)  # here
    return w, after(-p[0, 0])


@fault("saturated", "exp")
def exp_underflows():
    w = leaf([-1000.0])
    y = mg.exp(w)  # here
    return w, after(mg.sum(y))


@fault("masked", "where")
def masked_by_where():
    w = leaf([1.0, 2.0])
    y = mg.where(np.array([False, False]), w, 3.0)  # here
    return w, after(mg.sum(y))


@fault("masked", "clip")
def clipped():
    w = leaf([10.0, -20.0])
    y = mg.clip(w, -1.0, 1.0)  # here
    return w, after(mg.sum(y))


@fault("masked", "maximum")
def smaller_of_two():
    w = leaf([1.0, 2.0])
    y = mg.maximum(w, 10.0)  # here
    return w, after(mg.sum(y))


@fault("masked", "minimum")
def larger_of_two():
    w = leaf([11.0, 12.0])
    y = mg.minimum(w, 10.0)  # here
    return w, after(mg.sum(y))


@fault("masked", "max")
def not_the_largest():
    w, x = leaf([1.0, 2.0]), leaf([5.0, 6.0])
    y = mg.max(mg.concat([w, x]))  # here
    return w, after(y)


@fault("masked", "multiply")
def dropped():
    w = leaf([[1.0], [2.0]])
    y = w * np.array([[0.0, 2.0], [0.0, 2.0]])  # here
    return w, after(mg.sum(y[:, 0]))


@fault("masked", "tril")
def upper_triangle_of_a_causal_mask():
    w = leaf([1.0, 2.0])
    full = mg.stack([mg.concat([mg.zeros(1, dtype="float64"), w]), mg.zeros(3, dtype="float64")])
    y = mg.tril(full)  # here
    return w, after(mg.sum(y * 2))


@fault("multiplied_by_zero", "multiply")
def multiplied_by_zero():
    w = leaf([1.0, 2.0])
    y = w * 0.0  # here
    return w, after(mg.sum(y))


@fault("multiplied_by_zero", "multiply")
def dropout_of_everything():
    w = leaf(normal(3))
    y = F.dropout(w, p=1.0)  # here
    return w, after(mg.sum(y))


@fault("zero_weights")
def zero_weights():
    x, w = leaf(normal(5, 4)), leaf(np.zeros((4, 3)), name="w")
    return x, after(mg.sum(mg.exp(x @ w)))


@fault("zero_weights")
def zero_head():
    w1, w2 = leaf(normal(4, 3)), leaf(np.zeros((3, 1)), name="w2")
    return w1, after(mg.sum(mg.tanh(normal(5, 4) @ w1) @ w2))


@fault("zero_input")
def zero_data():
    x, w = mg.tensor(np.zeros((5, 4))), leaf(normal(4, 3))
    return w, after(mg.sum(x @ w))


@fault("flat", "floor")
def floored():
    w = leaf([1.5, 2.5])
    y = mg.floor(w)  # here
    return w, after(mg.sum(y * y))


@fault("flat", "sign")
def signs():
    w = leaf([1.5, -2.5])
    y = mg.sign(w * 3)  # here
    return w, after(mg.sum(y * y))


@fault("flat", "round")
def rounded():
    w = leaf([1.7, -2.2])
    y = mg.round(w)  # here
    return w, after(mg.sum(y))


@fault("stationary", "square")
def at_the_minimum():
    w = leaf([0.0, 0.0])
    y = mg.square(w)  # here
    return w, after(mg.sum(y))


@fault("stationary", "abs")
def abs_at_zero():
    w = leaf([0.0, 0.0])
    y = mg.abs(w)  # here
    return w, after(mg.sum(y))


@fault("stationary", "power")
def cube_at_zero():
    w = leaf([0.0])
    y = w**3  # here
    return w, after(mg.sum(y))


@fault("cancellation")
def minus_itself():
    w = leaf([1.0, 2.0])
    return w, after(mg.sum(w - w))


@fault("cancellation")
def two_paths_cancel():
    w = leaf([1.0, 2.0])
    return w, after(mg.sum(w * 3.0) - mg.sum(w * 3.0))


@fault("cancellation", "add")
def bias_before_normalisation():
    x, b, v = normal(16, 4), leaf(normal(4)), normal(16, 4, seed=1)
    h = x + b  # here
    y = (h - mg.mean(h, axis=0, keepdims=True)) * v
    return b, after(mg.sum(y))


@fault("cancellation", "softmax")
def sum_of_probabilities():
    w = leaf(normal(5))
    p = mg.softmax(w)  # here
    return w, after(mg.sum(p))


@fault("empty", "getitem")
def empty_slice():
    w = leaf([1.0, 2.0])
    y = w[2:]  # here
    return w, after(mg.sum(y))


@fault("hook", "multiply")
def zeroing_hook():
    w = leaf([1.0, 2.0])
    h = w * 3
    h.register_hook(lambda g: g * 0)
    return w, after(mg.sum(h))


@fault("zero_seed", "multiply")
def zero_upstream():
    w = leaf([1.0, 2.0])
    y = w * 3
    y.backward(np.zeros(2))
    return w, y


@fault("underflow", "multiply")
def underflow_in_float32():
    w = leaf([1.0], dtype="float32")
    y = w
    for _ in range(60):
        y = y * 0.1
    return w, after(mg.sum(y))


# Tiny and huge
@fault("vanishing")
def deep_sigmoids():
    h = w = leaf(normal(4, 4))
    for _ in range(30):
        h = mg.sigmoid(h)
    return w, after(mg.sum(h))


@fault("vanishing")
def recurrence_forgets():
    h0, W = leaf(normal(4)), leaf(normal(4, 4, scale=0.1))
    h = h0
    for _ in range(40):
        h = mg.tanh(W @ h)
    return h0, after(mg.sum(h))


@fault("exploding")
def recurrence_explodes():
    h0, W = leaf(normal(4)), leaf(np.eye(4) * 3.0)
    h = h0
    for _ in range(40):
        h = W @ h
    return h0, after(mg.sum(h))


@fault("saturated", "sigmoid")
def nearly_saturated():
    w = leaf([20.0, 25.0])
    y = mg.sigmoid(w)  # here
    return w, after(mg.sum(y))


@fault("saturated", "tanh")
def nearly_saturated_tanh():
    w = leaf([12.0, 14.0])
    y = mg.tanh(w)  # here
    return w, after(mg.sum(y))


@fault("scaled", "multiply", largest=1e-9)
def scaled_down():
    w = leaf([1.0, 2.0])
    y = w * 1e-9  # here
    return w, after(mg.sum(y))


@fault("scaled", "matmul")
def tiny_initialisation():
    x, w = leaf(normal(5, 4)), leaf(normal(4, 3, scale=1e-9))
    y = x @ w  # here
    return x, after(mg.sum(mg.tanh(y)))


@fault("scaled", "multiply", largest=1e9)
def scaled_up():
    w = leaf([1.0, 2.0])
    y = w * 1e9  # here
    return w, after(mg.sum(y))


@fault("small_denominator", "divide")
def small_denominator():
    w = leaf([1.0, 2.0])
    y = 1.0 / (w * 1e-8)  # here
    return w, after(mg.sum(y))


@fault("small_denominator", "log")
def log_near_zero():
    w = leaf([1e-9, 2.0])
    y = mg.log(w)  # here
    return w, after(mg.sum(y))


@fault("small_denominator", "sqrt")
def sqrt_near_zero():
    w = leaf([1e-20, 2.0])
    y = mg.sqrt(w)  # here
    return w, after(mg.sum(y))


@fault("steep", "exp")
def steep_exp():
    w = leaf([30.0, 2.0])
    y = mg.exp(w)  # here
    return w, after(mg.sum(y))


# NaN and infinite: produced, not propagated
def chain(x):
    """What hands a NaN on without making one."""
    for _ in range(5):
        x = mg.tanh(x * 1.5 + 0.1)
    return x


@fault("value_not_finite", "log", value="-inf")
def log_of_zero():
    w = leaf([0.0, 2.0])
    y = mg.log(w * 1.0)  # here
    return w, after(mg.sum(y * y))


@fault("value_not_finite", "log", value="nan")
def log_of_a_negative():
    w = leaf([-1.0, 2.0])
    y = mg.log(w)  # here
    return w, after(mg.sum(chain(y) * 2))


@fault("value_not_finite", "divide", value="nan")
def zero_over_zero():
    w = leaf([0.0, 2.0])
    y = w / (w * 1.0)  # here
    return w, after(mg.sum(chain(y)))


@fault("value_not_finite", "sqrt", value="nan")
def sqrt_of_a_negative():
    w = leaf([-3.0, 2.0])
    y = mg.sqrt(w - 1)  # here
    return w, after(mg.sum(chain(chain(y))))


@fault("value_not_finite", "exp", value="inf")
def exp_overflows():
    w = leaf([1000.0, 2.0])
    y = mg.exp(w)  # here
    return w, after(mg.mean(chain(y) + y))


@fault("value_not_finite", "exp", value="inf")
def infinity_minus_infinity():
    w = leaf([1000.0, 2.0])
    y = mg.exp(w)  # here
    z = y - y * 1.0
    return w, after(mg.sum(chain(z)))


@fault("value_not_finite", "log", value="-inf")
def zero_times_infinity():
    p = leaf([0.0, 1.0])
    y = mg.log(p)  # here
    return p, after(-mg.sum(p * y))


@fault("value_not_finite", "log", value="nan")
def loss_that_is_not_finite_has_a_finite_gradient():
    w = leaf([-1.0, 2.0])
    y = mg.log(w * 1.0)  # here
    return w, after(mg.sum(y + 1.0))


@fault("value_not_finite", "matmul", value="inf")
def recurrence_overflows():
    h = h0 = leaf(np.ones((2, 2)), dtype="float32")
    W = leaf(np.eye(2) * 1e5, dtype="float32")
    for _ in range(12):
        h = W @ h  # here
    return h0, after(mg.sum(chain(h) * h))


@fault("local_not_finite", "sqrt", value="inf")
def sqrt_at_zero():
    w = leaf([0.0, 2.0])
    y = mg.sqrt(w)  # here
    return w, after(mg.sum(y))


@fault("local_not_finite", "sqrt", value="inf")
def zero_times_infinity_backward():
    w = leaf([0.0, 0.0])
    y = mg.sqrt(w * w)  # here
    return w, after(mg.sum(chain(y)))


@fault("local_not_finite", "power", value="inf")
def root_as_power_at_zero():
    w = leaf([0.0, 2.0])
    y = w**0.5  # here
    return w, after(mg.sum(chain(y)))


@fault("bad_input")
def nan_in_the_data():
    x = mg.tensor([1.0, np.nan], dtype="float64", name="x")
    w = leaf([1.0, 2.0])
    return w, after(mg.sum(chain(x * w)))


@fault("bad_seed", "tanh")
def nan_upstream():
    w = leaf([1.0, 2.0])
    y = chain(w)
    y.backward(np.array([np.nan, 1.0]))
    return w, y


@pytest.mark.parametrize(("build", "kind", "op", "inspected", "about"), FAULTS)
def test_seeded_fault(build, kind, op, inspected, about):
    with np.errstate(all="ignore"):
        if inspected:
            with mg.inspect():
                t, loss = build()
        else:
            t, loss = build()
        found = viz.explain_grad(t, loss)
    assert [f.kind for f in found.findings] == [kind], str(found)
    finding = found.findings[0]
    assert finding.op == op, str(found)
    if inspected and line_of(build):
        assert finding.where == f"{__file__}:{line_of(build)}", str(found)
    for key, value in about.items():
        assert finding.evidence[key] == value
    assert finding.advice in str(found)
    assert not found.healthy


def test_there_are_enough_faults():
    assert len(FAULTS) >= 60
    assert {p.values[1] for p in FAULTS} >= set(why.KINDS) - {"no_loss", "no_rule", "overflow", "unknown"}


# Produced, not propagated
@pytest.mark.parametrize("seed", range(20))
def test_the_producer_is_named_however_far_the_nan_went(seed):
    rng = np.random.default_rng(seed)
    bad = ["log", "sqrt"][seed % 2]
    with mg.inspect(), np.errstate(all="ignore"):
        x = leaf(np.abs(rng.normal(size=3)) + 0.5)
        h = x
        for _ in range(rng.integers(0, 6)):
            h = mg.sin(h) + h
        h = getattr(mg, bad)(h - h.data.max() - 1.0)
        line = source_of.currentframe().f_lineno - 1
        for k in range(rng.integers(1, 12)):
            h = mg.tanh(h)
            h = [mg.tanh, mg.exp, mg.cos, lambda v: v * v + x, lambda v: mg.where(v > 0, v, -v)][(k + seed) % 5](h)
        loss = mg.mean(h)
        loss.backward()
        found = viz.explain_grad(x, loss)
    assert [(f.kind, f.op, f.where) for f in found.findings] == [("value_not_finite", bad, f"{__file__}:{line}")], str(found)


@pytest.mark.parametrize("seed", range(10))
def test_the_producer_in_backward_is_named_however_far_the_nan_went(seed):
    rng = np.random.default_rng(seed)
    with mg.inspect():
        h = x = leaf(np.append(rng.normal(size=3), 0.0))
        for _ in range(rng.integers(0, 6)):
            h = mg.sin(h)
        h = mg.sqrt(h * h)
        line = source_of.currentframe().f_lineno - 1
        for _ in range(rng.integers(1, 6)):
            h = mg.tanh(h) + h
        loss = mg.mean(h)
        loss.backward()
        found = viz.explain_grad(x, loss)
    assert [(f.kind, f.op, f.where) for f in found.findings] == [("local_not_finite", "sqrt", f"{__file__}:{line}")]


# Healthy graphs
SMOOTH = [
    mg.tanh,
    mg.sigmoid,
    mg.softplus,
    mg.sin,
    lambda v: v * v,
    lambda v: mg.relu(v) + 0.1 * v,
    lambda v: mg.log1p(mg.exp(v)),
]


@pytest.mark.parametrize("seed", range(200))
def test_healthy_graphs_give_no_finding(seed):
    rng = np.random.default_rng(seed)
    inspected, backward = seed % 2, seed % 3
    with mg.inspect() if inspected else mg.enable_grad():
        n, width = rng.integers(2, 9, 2)
        h = mg.tensor(rng.normal(size=(n, width)), dtype="float64")
        parameters = {}
        for k in range(rng.integers(1, 6)):
            out = int(rng.integers(2, 9))
            w = parameters[f"w{k}"] = leaf(rng.normal(size=(width, out)) / np.sqrt(width), name=f"w{k}")
            b = parameters[f"b{k}"] = leaf(rng.normal(size=out), name=f"b{k}")
            new = SMOOTH[rng.integers(len(SMOOTH))](h @ w + b)
            h = new + h if out == width and rng.random() < 0.5 else new
            width = out
        heads = [
            mg.mean(h * h),
            mg.sum(mg.logsumexp(h, axis=-1)),
            -mg.mean(mg.log_softmax(h, axis=-1)[:, 0]),
            mg.mean(mg.exp(-h)),
        ]
        loss = heads[rng.integers(4)] * 0.5 + mg.mean(mg.tanh(h))
    loss.backward(retain_graph=bool(backward))
    found = viz.explain_grad(parameters, loss)
    assert found.healthy, str(found)
    assert set(found.states.values()) == {"healthy"}
    assert str(found).startswith("healthy: ")


@pytest.mark.parametrize("model", ["mlp", "convolution", "recurrent", "transformer"])
def test_healthy_models_give_no_finding(model):
    mg.manual_seed(1)
    rng = np.random.default_rng(1)
    models = {
        "mlp": (lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3)), (4, 8)),
        "convolution": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)), (4, 1, 8, 8)),
        "recurrent": (lambda: nn.GRU(5, 6, batch_first=True), (4, 7, 5)),
        "transformer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (4, 5, 8)),
    }  # fmt: skip
    make, shape = models[model]
    net = make()
    with mg.inspect():
        out = net(mg.tensor(rng.normal(size=shape), dtype="float32"))
        out = out[0] if isinstance(out, tuple) else out
        loss = mg.mean(out * mg.tensor(rng.normal(size=out.shape), dtype="float32"))
    loss.backward()
    before = {name: p.grad.numpy().copy() for name, p in net.named_parameters()}
    found = viz.explain_grad(net, loss)
    assert found.healthy, str(found)
    assert list(found.states) == [name for name, _ in net.named_parameters()]
    for name, p in net.named_parameters():
        np.testing.assert_array_equal(p.grad.numpy(), before[name])


# The rest
def test_unused_parameters_of_a_module():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    with mg.inspect():
        loss = mg.mean(net[0](mg.ones((4, 2))))
    loss.backward()
    found = viz.explain_grad(net, loss)
    assert [(f.kind, f.of) for f in found.findings] == [("unused", "1.weight"), ("unused", "1.bias")]
    assert "with respect to 1.weight, 1.bias is None" in str(found)
    assert "2 of 4 gradients are healthy" in str(found)


def test_vanishing_names_the_layers_with_their_factors():
    with mg.inspect():
        h = w = leaf(normal(4, 4))
        for _ in range(30):
            h = mg.sigmoid(h)
        loss = mg.sum(h)
    loss.backward()
    (finding,) = viz.explain_grad(w, loss).findings
    place = next(iter(finding.evidence["factors"]))
    count, log = finding.evidence["factors"][place]
    assert place.startswith("sigmoid in line ")
    assert count == 30
    assert np.isclose(log, np.log10(np.linalg.norm(w.grad.numpy()) / np.linalg.norm(np.ones((4, 4)))))
    assert "30 times" in str(finding)


def test_the_loss_is_found_among_the_variables():
    w = leaf([1.0, 2.0])
    other = mg.sum(leaf([3.0]) ** 2)
    energy = mg.sum(w * w)
    energy.backward()
    found = viz.explain_grad(w)
    assert found.loss is energy
    assert str(found) == "healthy: the gradient of energy reaches w, norm 4.472"
    assert other is not None
    del energy, other
    assert [f.kind for f in viz.explain_grad(w).findings] == ["no_loss"]


def test_a_gradient_that_cannot_be_known_says_what_to_do():
    w = leaf(normal(400))
    with np.errstate(all="ignore"):
        loss = mg.sum(mg.exp(w * 0.0 + 1000.0))
        loss.backward()
    (finding,) = viz.explain_grad(w, loss).findings
    assert finding.kind == "unknown"
    assert "mg.inspect()" in finding.advice


@pytest.mark.parametrize(("t", "loss", "words"), [(3.0, None, "float"), ([], None, "none"), ("w", 2.0, "item")])
def test_wrong_arguments(t, loss, words):
    t = leaf([1.0]) if t == "w" else t
    with pytest.raises(TypeError, match=words):
        viz.explain_grad(t, loss)


def test_the_culprit_is_marked_in_the_drawing():
    with mg.inspect():
        w = leaf([1.0, 2.0], name="w")
        h = mg.relu(w * -3.0)
        loss = mg.sum(h + 1.0)
    loss.backward()
    found = viz.explain_grad(w, loss)
    drawing = found.draw(legend=False)
    relu = next(v.id for v in drawing.records.values if v.op == "relu")
    assert f"  why1 -> {relu} [" in drawing.source
    assert f'  {relu} [color="#B03A00" penwidth=4]' in drawing.source
    assert "dead ReLU" in drawing.svg()
    assert drawing.source == found.draw(legend=False).source


def test_the_culprit_is_marked_in_a_part_of_a_large_graph():
    with mg.inspect():
        h = w = leaf([1.0, 2.0], name="w")
        for k in range(500):
            h = mg.relu(h - 5.0) if k == 250 else mg.tanh(h)
        loss = mg.sum(h)
    loss.backward()
    drawing = viz.explain_grad(w, loss).draw()
    assert "dead ReLU" in drawing.source
    assert len(drawing.records.values) < 30


def test_cuts_leave_no_mark_and_keep_nothing_alive_outside_inspection():
    w = leaf([1.0, 2.0])
    with mg.no_grad():
        h = w * 2
    assert h.node is None
    d = w.detach()
    d.item if d.size == 1 else d.tolist()
    w.numpy()
    assert not w.node.extra.exits
    assert not d.node.extra.cuts


def test_cut_marks_do_not_pile_up():
    w = leaf([1.0, 2.0])
    average = mg.zeros(2, dtype="float64")
    with mg.inspect():
        for _ in range(50):
            with mg.no_grad():
                average = average * 0.9 + w
    assert len(w.node.extra.exits) == 1
    assert len(average.node.extra.cuts) == 1


def test_no_grad_inside_inspect_is_still_no_grad():
    w = leaf([1.0, 2.0])
    with mg.inspect(), mg.no_grad():
        assert not mg.is_grad_enabled()
        assert not (w * 2).requires_grad
        w -= 1.0
        with mg.no_grad():
            assert (w * 2).is_leaf
        with mg.enable_grad():
            assert (w * 2).requires_grad
    assert w.tolist() == [0.0, 1.0]
    assert mg.is_grad_enabled()


def test_a_loss_of_nan_that_was_not_inspected():
    w = leaf(normal(400))
    with np.errstate(all="ignore"):
        loss = mg.sum(mg.log(w * 1.0) + 1.0)
        loss.backward()
    (finding,) = viz.explain_grad(w, loss).findings[-1:]
    assert finding.kind == "unknown"
    assert finding.state == "finite, but the loss itself is not"


def test_one_path_cut_and_one_alive_is_healthy():
    with mg.inspect():
        w = leaf([1.0, 2.0])
        loss = mg.sum(w.detach() * w) + mg.sum(mg.where(w > 1.5, w, 0.0)) + w.numpy().max()
    loss.backward()
    assert viz.explain_grad(w, loss).healthy


def test_nothing_is_changed():
    with mg.inspect():
        w = leaf([1.0, 2.0])
        loss = mg.sum(mg.tanh(w))
    for _ in range(2):
        viz.explain_grad(w, loss)
        assert w.grad is None
    loss.backward()
    before = w.grad.numpy().copy()
    viz.explain_grad(w, loss).draw()
    np.testing.assert_array_equal(w.grad.numpy(), before)


def inputs(*shape):
    return mg.tensor(normal(*shape), dtype="float32")


NETS = {
    "lenet": (models.LeNet5, lambda net: net(inputs(2, 1, 32, 32))),
    "lstm": (lambda: nn.LSTM(3, 4, batch_first=True), lambda net: net(inputs(2, 5, 3))[0]),
    "encoder": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), lambda net: net(inputs(2, 5, 8))),
    "embedding": (lambda: nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 3)), lambda net: net(mg.tensor([1, 2, 3]))),
    "batch norm": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU()),
        lambda net: net(inputs(2, 1, 8, 8)),
    ),
}
ENDS = {
    "times zero": (lambda out: mg.sum(out * 0.0), "multiplied_by_zero", "multiply"),
    "log": (lambda out: mg.sum(mg.log(-mg.abs(out) - 1) * out), "value_not_finite", "log"),
    "exp": (lambda out: mg.mean(mg.exp(mg.abs(out) * 1e4 + 1000)), "value_not_finite", "exp"),
    "empty": (lambda out: mg.sum(out[:0]), "empty", "getitem"),
    "dead": (lambda out: mg.sum(mg.relu(mg.pad(out, [(1, 1)] * out.ndim) - 100)), "dead_relu", "relu"),
    "lost": (lambda out: mg.max(mg.concat([mg.reshape(out, (-1,)), mg.full(1, 1e5)])), "masked", "max"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("net", NETS)
def test_a_fault_at_the_end_is_the_cause_for_every_parameter(net, end):
    mg.manual_seed(0)
    (make, run), (head, kind, op) = NETS[net], ENDS[end]
    model = make()
    with mg.inspect(), np.errstate(all="ignore"):
        loss = head(run(model))
        loss.backward()
        found = viz.explain_grad(model, loss)
    assert [(f.kind, f.op, f.of) for f in found.findings] == [(kind, op, name) for name, _ in model.named_parameters()]
    assert str(found).count("What to do") == len(set(found.states.values()))  # told once for all of them
