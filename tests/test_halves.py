"""Two-byte floats are added up in float32: every row that adds, forward and backward, eager and compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import halves, nn
from minigrad.nn import functional as F  # noqa: N812
from minigrad.primitive import TABLE


def half(a: Any, requires_grad: bool = False) -> Any:
    return mg.tensor(np.asarray(a, "float16"), requires_grad=requires_grad)


def test_every_wide_row_exists_and_is_no_elementwise_one() -> None:
    """Of elementwise rows the backward pass does not look at the dtypes that their rules return."""
    import minigrad.nn  # noqa: F401

    assert set(TABLE) >= halves.WIDE
    assert not any(TABLE[name].exact for name in halves.WIDE)


COLUMN = np.ones((10_000, 2))
NOISE = np.random.default_rng(0).normal(size=(20_000, 2)) * 3


@pytest.mark.parametrize(("f", "x"), [
    (lambda a: mg.sum(a, axis=0), COLUMN), (lambda a: mg.mean(a, axis=0), COLUMN * 300), (lambda a: mg.var(a, axis=0), NOISE),
    (lambda a: mg.std(a, axis=0), NOISE), (lambda a: mg.cumulative_sum(a, axis=0)[-1], COLUMN), (lambda a: mg.logsumexp(a, axis=0), COLUMN * 0),
    (lambda a: mg.softmax(a, axis=0)[:3] * 1e4, COLUMN * 0), (lambda a: mg.log_softmax(a, axis=0)[:3], COLUMN * 0),
    (lambda a: mg.linalg.norm(a, axis=0), NOISE), (lambda a: mg.linalg.norm(a * 300), np.ones(4)), (lambda a: mg.einsum("ij->j", a), COLUMN),
    (lambda a: a.mT @ a, NOISE[:4000]), (lambda a: F.layer_norm(a * 300, (2,)), NOISE[:50]), (lambda a: F.rms_norm(a * 300, (2,)), NOISE[:50]),
    (lambda a: mg.tensordot(a, a, ([0], [0])), NOISE[:4000]), (lambda a: F.avg_pool1d(a.mT[None], 10_000), COLUMN * 300),
])  # fmt: skip
def test_sums_are_float32_sums_rounded_once(f: Any, x: Any) -> None:
    """Against float64 on the same (rounded) numbers: within two roundings, where float16's own sums are off by factors, or inf."""
    x = x.astype("float16")
    y, expected = f(mg.tensor(x)), f(mg.tensor(x.astype("float64")))
    assert y.dtype == "float16"
    np.testing.assert_allclose(y.numpy().astype("float64"), expected.numpy(), rtol=2e-3, atol=1e-6)


def test_gradients_of_a_bias_and_of_a_long_mean_are_right() -> None:
    layer = nn.Linear(3, 2).half()
    layer(half(np.ones((10_000, 3)))).sum().backward()
    assert layer.bias.grad.tolist() == [10_000.0] * 2
    assert layer.weight.grad.tolist() == [[10_000.0] * 3] * 2
    w = half(np.zeros(3), requires_grad=True)
    (half(np.ones((10_000, 3))) * w).sum().backward()  # broadcasting is undone in float32 as well
    assert w.grad.tolist() == [10_000.0] * 3
    x = half(np.ones(100_000), requires_grad=True)
    mg.mean(x).backward()  # 100,000 is inf in float16
    np.testing.assert_allclose(x.grad.numpy(), 1e-5, rtol=5e-3)
    assert x.grad.dtype == "float16"


def test_asked_dtypes_and_mixed_operands_are_numpys() -> None:
    x = half(np.ones(10))
    assert mg.sum(x, dtype="float32").dtype == "float32"
    assert mg.sum(x, dtype="float64").dtype == "float64"
    assert mg.matmul(x, mg.ones(10)).dtype == "float32"
    assert mg.sum(mg.tensor(np.ones(4, "int16"))).dtype == np.sum(np.ones(4, "int16")).dtype


def test_second_order_and_no_grad_are_wide_too() -> None:
    x = half(np.full(4, 300.0), requires_grad=True)
    y = mg.linalg.norm(x)
    (g,) = mg.gradients(y, x, create_graph=True)
    np.testing.assert_allclose(g.numpy(), 0.5, rtol=1e-3)
    (h,) = mg.gradients(mg.sum(g * half([1.0, 0.0, 0.0, 0.0])), x)
    np.testing.assert_allclose(h.numpy(), [3 / 2400, *[-1 / 2400] * 3], rtol=5e-3)
    with mg.no_grad():
        assert mg.linalg.norm(x).item() == 600.0


def test_a_compiled_step_adds_in_float32_too() -> None:
    w = mg.zeros(2, dtype="float16", requires_grad=True)
    optimizer = mg.optim.SGD([w], lr=1e-4)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = mg.sum(x * w + x)
        loss.backward()
        optimizer.step()
        return mg.sum(x, axis=0)

    f: Any = mg.compile(step)
    for _ in range(3):
        assert f(half(COLUMN)).tolist() == [10_000.0] * 2
    np.testing.assert_allclose(w.numpy(), -3.0, rtol=2e-3)


def test_bfloat16_rows_add_in_float32() -> None:
    pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed: bfloat16 is not checked")
    dtype = mg.bfloat16  # type: ignore[attr-defined]
    x = mg.ones((10_000, 2), dtype=dtype)
    assert mg.sum(x, axis=0).astype("float32").tolist() == [9984.0] * 2  # 10,000 rounded to 8 digits of two
    a = mg.tensor(NOISE[:64].astype(dtype), requires_grad=True)
    for f in (lambda a: a @ a.mT, lambda a: F.softmax(a), lambda a: F.layer_norm(a, (2,)), lambda a: F.linear(a, a[:3])):
        y = f(a)
        assert y.dtype == dtype
        (g,) = mg.gradients(mg.sum(y * y), a)
        b = mg.tensor(a.detach().numpy().astype("float64"), requires_grad=True)
        z = f(b)
        (e,) = mg.gradients(mg.sum(z * z), b)
        assert g.dtype == dtype
        scale = np.abs(e.numpy()).max()
        np.testing.assert_allclose(g.numpy().astype("float64"), e.numpy(), atol=3e-2 * scale)
