"""Each fused operation of minigrad/ops/fused.py against the composition that it stands for, and what blocks must not change."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import blocks, nn, ops
from minigrad.nn import functional as F  # noqa: N812
from minigrad.ops import fused, reduce, special

N = np.random.default_rng(0)
CLASSES = N.integers(0, 5, (3, 4))


def numbers(*shape: int) -> Any:
    return N.normal(size=shape)


def composed_norm(x: Any, w: Any, b: Any) -> Any:
    centred = x - ops.mean(x, -1, True)
    return w * centred / ops.sqrt(ops.mean(centred * centred, -1, True) + 1e-5) + b


PAIRS: dict[str, tuple[Any, Any, list[Any]]] = {
    "linear": (fused.linear, lambda x, w, b: ops.matmul(x, ops.transpose(w)) + b, [numbers(2, 3, 4), numbers(5, 4), numbers(5)]),
    "softmax_cross_entropy": (
        lambda x: fused.softmax_cross_entropy(x, CLASSES),
        lambda x: -ops.sum(ops.log_softmax(x) * ops.one_hot(CLASSES, 5, x.dtype), -1),
        [numbers(3, 4, 5)],
    ),
    "layer_norm": (lambda x, w, b: fused.layer_norm(x, w, b, 1e-5), composed_norm, [numbers(2, 3, 8), numbers(8), numbers(8)]),
    "rms_norm": (
        lambda x, w: fused.rms_norm(x, w, 1e-5), lambda x, w: w * x / ops.sqrt(ops.mean(x * x, -1, True) + 1e-5),
        [numbers(2, 3, 8), numbers(8)],
    ),
    "gelu": (fused.gelu, lambda x: 0.5 * x * (1 + ops.erf(x * math.sqrt(0.5))), [numbers(4, 5)]),
    "gelu_tanh": (
        fused.gelu_tanh, lambda x: 0.5 * x * (1 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))), [numbers(4, 5)]
    ),
    "silu": (fused.silu, lambda x: x * ops.sigmoid(x), [numbers(4, 5)]),
    "hardtanh": (
        lambda x: fused.hardtanh(x * x, 0.1, 0.7), lambda x: ops.where(x * x > 0.7, 0.7, ops.where(x * x < 0.1, 0.1, x * x)), [numbers(4, 5)]
    ),
    "leaky_relu": (
        lambda x: fused.leaky_relu(x * x - 0.3, 0.1), lambda x: ops.where(x * x > 0.3, x * x - 0.3, 0.1 * (x * x - 0.3)), [numbers(4, 5)]
    ),
    "elu": (
        lambda x: fused.elu(x, 1.5, 0.5), lambda x: ops.where(x > 0, x, 1.5 * ops.expm1(0.5 * ops.clip(x, None, 0))), [numbers(4, 5)]
    ),
    "softmax": (ops.softmax, lambda x: ops.exp(x) / ops.sum(ops.exp(x), -1, True), [numbers(4, 5)]),
}  # fmt: skip
TOLERANCE = {"float64": 1e-12, "float32": 2e-5, "float16": 3e-2}


def derivatives(f: Any, points: list[Any]) -> list[Any]:
    """The value, the gradient along a fixed direction, and the gradient of the gradient's length."""
    leaves = [mg.tensor(p, requires_grad=True) for p in points]
    y = f(*leaves)
    direction = np.linspace(-1, 1, y.size).reshape(y.shape).astype(y.dtype)
    first = mg.gradients(y, leaves, direction, create_graph=True)
    total = sum(ops.sum(g * g) for g in first)
    second = mg.gradients(total, leaves, allow_unused=True)
    return [v.numpy() for v in (y, *first, *(g for g in second if g is not None))]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", PAIRS)
def test_it_is_its_composition(name: str, dtype: str) -> None:
    """Values, gradients and gradients of gradients."""
    f, composition, points = PAIRS[name]
    points = [p.astype(dtype) for p in points]
    for got, want in zip(derivatives(f, points), derivatives(composition, points), strict=True):
        assert got.dtype == want.dtype == np.dtype(dtype)
        scale = max(1.0, float(np.abs(want).max(initial=0)))
        np.testing.assert_allclose(got, want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["softmax", "layer_norm", "rms_norm", "gelu", "softmax_cross_entropy", "log_softmax"])
def test_pieces_are_the_whole(name: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """For sizes that do not divide, arrays that are not contiguous and gradients that are one number everywhere."""
    index = N.integers(0, 7, (5, 11))
    functions = {
        "softmax": lambda x: ops.softmax(x), "log_softmax": lambda x: ops.log_softmax(x), "gelu": fused.gelu,
        "layer_norm": lambda x: fused.layer_norm(x, w, w, 1e-5), "rms_norm": lambda x: fused.rms_norm(x, w, 1e-5),
        "softmax_cross_entropy": lambda x: fused.softmax_cross_entropy(x, index),
    }  # fmt: skip
    w = mg.tensor(numbers(7), requires_grad=True)
    base = numbers(5, 11, 7)
    points = {"contiguous": base, "transposed": np.ascontiguousarray(base.T).T, "strided": np.repeat(base, 2, 1)[:, ::2]}

    def results(x: Any) -> list[Any]:
        x = mg.asarray(x).requires_grad_()
        y = functions[name](x)
        gradients = [*mg.gradients(y, [x, w], numbers_like, retain_graph=True, allow_unused=True), *mg.gradients(y.sum(), [x])]
        return [y.numpy(), *(g.numpy() for g in gradients if g is not None)]

    for point in points.values():
        numbers_like = np.cos(np.arange(functions[name](point).size)).reshape(functions[name](point).shape)
        whole = results(point)
        with monkeypatch.context() as m:
            m.setattr(blocks, "BLOCK", 20)
            m.setattr(blocks, "SHARED", 1)
            m.setattr("minigrad.threads.THREADS", threads)
            for got, want in zip(results(point), whole, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)  # sums over the rows follow the layout


def test_an_error_in_another_thread_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 2)
    monkeypatch.setattr(blocks, "SHARED", 1)
    monkeypatch.setattr("minigrad.threads.THREADS", 2)

    @blocks.in_rows
    def fails(x: Any) -> Any:
        if x.size and x[0, 0] > 5:
            raise RuntimeError("late")
        return x

    with pytest.raises(RuntimeError, match="late"):
        fails(np.arange(20.0).reshape(10, 2))


def test_settings_reach_the_other_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are errors here: NumPy's error state must be the caller's."""
    monkeypatch.setattr(blocks, "BLOCK", 2)
    monkeypatch.setattr(blocks, "SHARED", 1)
    monkeypatch.setattr("minigrad.threads.THREADS", 2)
    divide = blocks.in_rows(lambda x: x / 0)
    with np.errstate(divide="ignore"):
        assert np.isinf(divide(np.ones((10, 2)))).all()


def test_single_precision_error_function() -> None:
    x = np.concatenate([np.linspace(-6, 6, 20001), [0.0, -0.0, np.inf, -np.inf, 1e-30]]).astype("float32")
    got = special.erf(x)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [math.erf(v) for v in x.tolist()], rtol=5e-7)
    assert np.abs(got).max() == 1
    assert np.isnan(special.erf(np.array([np.nan], "float32"))).all()


def test_sigmoid_in_both_tails() -> None:
    for dtype, low in (("float32", -87.0), ("float64", -700.0)):
        x = np.array([low, -30.0, 0.0, 30.0, 1e4, -1e4, np.inf, -np.inf], dtype)
        got = special.sigmoid(x)
        assert got.dtype == x.dtype
        exact = [math.exp(low), math.exp(-30) / (1 + math.exp(-30)), 0.5, 1 / (1 + math.exp(-30)), 1, 0, 1, 0]
        np.testing.assert_allclose(got, exact, rtol=1e-5 if dtype == "float32" else 1e-14)


def test_the_weight_gradient_lies_as_the_weight() -> None:
    layer = nn.Linear(6, 4)
    layer(mg.ones((2, 3, 6))).sum().backward()
    assert layer.weight.grad.numpy().flags.c_contiguous


def test_linear_is_one_operation_and_says_what_it_is() -> None:
    y = F.linear(mg.ones((2, 3)), mg.ones((4, 3)).requires_grad_(), mg.ones(4))
    assert y.node.op.name == "linear"
    assert y.node.op.math == "x w^T + b"
    with pytest.raises(mg.errors.ShapeError, match=r"expected a weight \(m, n\) and the size n"):
        fused.linear(mg.ones((2, 3)), mg.ones((4, 5)))


def test_infinite_logits() -> None:
    """A class that is impossible costs infinitely much; its gradient is that of the composition, not NaN."""
    x = mg.tensor([[0.0, -math.inf, 0.0]], requires_grad=True)
    F.cross_entropy(x, mg.tensor([0])).backward()
    assert x.grad.numpy().tolist() == [[-0.5, 0.0, 0.5]]
    x.grad = None
    loss = F.cross_entropy(x, mg.tensor([1]))
    loss.backward()
    assert loss.item() == math.inf
    assert x.grad.numpy().tolist() == [[0.5, -1.0, 0.5]]


@pytest.mark.parametrize(("layer", "cell", "states"), [(nn.GRU, nn.GRUCell, 1), (nn.LSTM, nn.LSTMCell, 2)])
def test_layers_are_their_cells(layer: Any, cell: Any, states: int) -> None:
    """The layers' operation for all steps against the formulas that a cell records one by one."""
    rnn, one = layer(3, 4, dtype="float64"), cell(3, 4, dtype="float64")
    one.load_state_dict({k.removesuffix("_l0"): v for k, v in rnn.state_dict().items()})
    x = mg.tensor(numbers(5, 2, 3))
    y, _ = rnn(x)
    state, outputs = None, []
    for step in x:
        state = one(step, state)
        outputs.append(state[0] if states > 1 else state)
    np.testing.assert_allclose(y.numpy(), mg.stack(outputs).numpy(), rtol=1e-13)
    (y * y).sum().backward()
    (mg.stack(outputs) ** 2).sum().backward()
    for a, b in zip(rnn.parameters(), one.parameters(), strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-11, atol=1e-14)


def logistic(v: float) -> float:
    return math.exp(min(v, 0)) / (1 + math.exp(-abs(v)))


def tanh_slope(v: float) -> float:
    """With P = (1 + tanh(u)) / 2 as a logistic function, 1 - tanh(u)**2 is 4 P(u) P(-u): no digits are lost."""
    u, steep = math.sqrt(2 / math.pi) * (v + 0.044715 * v**3), math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * v * v)
    return logistic(2 * u) + 2 * v * logistic(2 * u) * logistic(-2 * u) * steep


SLOPES = {
    "gelu": lambda v: 0.5 * math.erfc(-v / math.sqrt(2)) + v * math.exp(-v * v / 2) / math.sqrt(2 * math.pi),
    "gelu_tanh": tanh_slope,
    "silu": lambda v: logistic(v) + v * logistic(v) * logistic(-v),
}


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SLOPES)
def test_slopes_of_activations(name: str, dtype: str, cut: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """To rounding, at zero of both signs, where squares and numbers themselves have lost their digits, and where all is over."""
    tiny = float(np.finfo(dtype).smallest_subnormal)
    extreme = [0.0, -0.0, tiny, -3 * tiny, 1e-40, -1e-30, 1e-19, -1e-8, 90.0, -90.0, 300.0, -300.0, 700.0, -700.0]
    x = np.concatenate([np.linspace(-12, 12, 4001), extreme, [np.nan]]).astype(dtype)
    if cut:
        monkeypatch.setattr(blocks, "BLOCK", 100)
        monkeypatch.setattr(blocks, "SHARED", 1)
    t = mg.tensor(x, requires_grad=True)
    with np.errstate(all="ignore"):
        getattr(fused, name)(t).sum().backward()
    got = t.grad.numpy()
    assert got.dtype == x.dtype
    assert np.isnan(got[-1])
    want = [SLOPES[name](v) for v in x[:-1].tolist()]
    np.testing.assert_allclose(got[:-1], want, rtol=0, atol=2e-6 if dtype == "float32" else 5e-15)


@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float64", "float32"), ("float16", "float32")])
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_large_norms_of_two_dtypes(name: str, dtypes: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight that is wider or narrower than what it scales: the pieces are the whole."""
    f = {"layer_norm": lambda x, w: fused.layer_norm(x, w, w, 1e-5), "rms_norm": lambda x, w: fused.rms_norm(x, w, 1e-5)}[name]
    rng = np.random.default_rng(7)
    values = [rng.normal(size=s).astype(d) for s, d in zip(((60, 9), (9,)), dtypes)]
    seed = rng.normal(size=(60, 9))

    def results() -> list[Any]:
        leaves = [mg.tensor(v, requires_grad=True) for v in values]
        y = f(*leaves)
        return [v.numpy() for v in (y, *mg.gradients(y, leaves, mg.asarray(seed.astype(y.dtype))))]

    whole = results()
    monkeypatch.setattr(blocks, "BLOCK", 50)
    monkeypatch.setattr(blocks, "SHARED", 1)
    for got, want in zip(results(), whole, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=2e-3 if "float16" in dtypes else 1e-5, atol=1e-5)


@pytest.mark.parametrize("columns", [1, 3, 32, 33])
def test_the_largest_of_short_rows(columns: int) -> None:
    """What is compared as columns is what NumPy finds in each row, infinities and NaN too."""
    x = N.normal(size=(4, 7, columns)).astype("float32")
    x[0, 0], x[0, 1], x[1, 2, -1], x[2, 3, 0] = -math.inf, math.inf, math.nan, math.inf
    top = x.max(-1, keepdims=True)
    want = np.where(np.isfinite(top), top, 0)
    for a in (x, x[::2], np.asfortranarray(x), x + 0j):
        got = reduce._shift(a, -1)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want[::2] if len(a) == 2 else want)
