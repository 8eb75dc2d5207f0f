"""Initialisation: distributions, exact bounds, and the defaults of PyTorch's layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import init


def weight(*shape: int, dtype: str = "float64") -> mg.Tensor:
    return mg.zeros(shape, dtype=dtype)


def moments(values: Any, mean: float, std: float) -> None:
    """Mean and standard deviation within four standard errors (uniform values spread less, so the bound is generous)."""
    n = values.size
    assert abs(values.mean() - mean) < 4 * std / math.sqrt(n)
    assert abs(values.std() - std) < 4 * std / math.sqrt(2 * n)


RNG = mg.random.generator


def evenly(values: Any, bound: float) -> None:
    """U(-bound, bound), which reaches its bounds."""
    moments(values, 0, bound / math.sqrt(3))
    assert bound * (1 - 20 / values.size) < np.abs(values).max() <= bound * (1 + 1e-6)
    counts, _ = np.histogram(values, 10, (-bound, bound))
    assert np.abs(counts / values.size - 0.1).max() < 5 * math.sqrt(0.09 / values.size)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_and_uniform(dtype: str) -> None:
    w = weight(200, 100, dtype=dtype)
    assert init.normal_(w, 2.0, 0.5, generator=RNG(0)) is w
    moments(w.numpy(), 2.0, 0.5)
    evenly(init.uniform_(w, -3.0, 3.0, generator=RNG(0)).numpy(), 3.0)
    values = init.uniform_(w, 1.0, 2.0, generator=RNG(0)).numpy()
    assert (values.min() >= 1, values.max() <= 2, values.dtype) == (True, True, np.dtype(dtype))


def test_constants() -> None:
    w = weight(3, 4)
    assert (init.ones_(w).numpy() == 1).all()
    assert (init.zeros_(w).numpy() == 0).all()
    assert (init.constant_(w, 2.5).numpy() == 2.5).all()
    assert np.array_equal(init.eye_(w).numpy(), np.eye(3, 4))


@pytest.mark.parametrize("shape", [(200, 300), (30, 20, 5, 5), (40, 50, 4)])
@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_xavier(shape: tuple[int, ...], gain: float) -> None:
    field = math.prod(shape[2:])
    variance = gain**2 * 2 / ((shape[0] + shape[1]) * field)
    evenly(init.xavier_uniform_(weight(*shape), gain, generator=RNG(0)).numpy(), math.sqrt(3 * variance))
    moments(init.xavier_normal_(weight(*shape), gain, generator=RNG(0)).numpy(), 0, math.sqrt(variance))


@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
@pytest.mark.parametrize(
    ("a", "nonlinearity", "gain"), [(0, "relu", math.sqrt(2)), (0.2, "leaky_relu", math.sqrt(2 / 1.04)), (0, "tanh", 5 / 3)]
)
def test_kaiming(mode: str, a: float, nonlinearity: str, gain: float) -> None:
    fan = {"fan_in": 20 * 25, "fan_out": 30 * 25}[mode]
    std = gain / math.sqrt(fan)
    evenly(init.kaiming_uniform_(weight(30, 20, 5, 5), a, mode, nonlinearity, generator=RNG(0)).numpy(), math.sqrt(3) * std)
    moments(init.kaiming_normal_(weight(30, 20, 5, 5), a, mode, nonlinearity, generator=RNG(0)).numpy(), 0, std)


def test_bounds_and_gains_are_pytorchs() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity is not checked")
    for name, param in [("linear", None), ("conv2d", None), ("sigmoid", None), ("tanh", None), ("relu", None), ("selu", None),
                        ("leaky_relu", None), ("leaky_relu", 0.3), ("conv_transpose3d", None)]:  # fmt: skip
        assert init.calculate_gain(name, param) == pytest.approx(torch.nn.init.calculate_gain(name, param), rel=1e-15)
    for shape in [(7, 5), (7, 5, 3), (7, 5, 3, 2)]:
        assert init.fans(weight(*shape)) == torch.nn.init._calculate_fan_in_and_fan_out(torch.zeros(shape))
    for shape in [(6, 4, 3), (4, 6, 3, 3), (4, 2, 2, 3, 5)]:
        for groups in (1, 2):
            theirs = torch.nn.init.dirac_(torch.zeros(shape), groups).numpy()
            assert np.array_equal(init.dirac_(weight(*shape), groups).numpy(), theirs)


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (8, 3, 2, 2), (4, 8, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    w = init.orthogonal_(weight(*shape), gain=2.0, generator=RNG(0)).numpy().reshape(shape[0], -1) / 2
    few = w if w.shape[0] <= w.shape[1] else w.T
    np.testing.assert_allclose(few @ few.T, np.eye(len(few)), atol=1e-12)


def test_orthogonal_is_uniform() -> None:
    rng = RNG(0)
    signs = [init.orthogonal_(weight(2, 2), generator=rng).numpy()[0, 0] for _ in range(400)]
    assert abs(np.mean(signs)) < 4 * math.sqrt(0.5 / 400)  # QR alone would make all of one sign


def test_sparse() -> None:
    w = init.sparse_(weight(100, 30), 0.3, std=0.5, generator=RNG(0)).numpy()
    assert ((w == 0).sum(axis=0) == 30).all()
    moments(w[w != 0], 0, 0.5)
    assert ((init.sparse_(weight(7, 3), 0.5).numpy() == 0).sum(axis=0) == 4).all()


def test_truncated_normal() -> None:
    values = init.trunc_normal_(weight(200, 200), mean=1.0, std=2.0, a=0.0, b=2.0, generator=RNG(0)).numpy()
    assert 0 <= values.min() < 0.01
    assert 1.99 < values.max() <= 2
    z = np.linspace(-0.5, 0.5, 2001)
    density = np.exp(-z * z / 2)
    moments(values, 1.0, 2 * math.sqrt((z * z * density).sum() / density.sum()))
    with pytest.raises(ValueError, match="widen it or move mean"):
        init.trunc_normal_(weight(2), 0.0, 1.0, 8.0, 9.0)


DEFAULTS = [
    ("Linear", (50, 40), {}), ("Bilinear", (20, 10, 15), {}), ("Conv1d", (10, 12, 5), {}), ("Conv2d", (6, 8, 3), {"groups": 2}),
    ("Conv3d", (4, 6, 3), {}), ("ConvTranspose1d", (10, 12, 5), {}), ("ConvTranspose2d", (6, 8, 3), {"groups": 2}),
    ("ConvTranspose3d", (4, 6, 3), {}), ("Embedding", (50, 40), {}), ("PReLU", (7,), {}), ("BatchNorm2d", (5,), {}), ("LayerNorm", (5,), {}),
    ("GroupNorm", (1, 5), {}), ("RMSNorm", (5,), {}), ("InstanceNorm2d", (5,), {"affine": True, "track_running_stats": True}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "kwargs"), DEFAULTS, ids=lambda v: v if isinstance(v, str) else "")
def test_layers_start_as_pytorchs(name: str, args: tuple[int, ...], kwargs: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity is not checked")
    mg.manual_seed(0)
    torch.manual_seed(0)

    def drawn(make: Any, array: Any) -> dict[str, Any]:
        """Many small layers together make a large sample."""
        states = [make(*args, **kwargs).state_dict() for _ in range(30)]
        return {key: np.stack([array(state[key]) for state in states]) for key in states[0]}

    ours = drawn(getattr(nn, name), lambda t: t.numpy())
    theirs = drawn(getattr(torch.nn, name), lambda t: t.numpy())
    assert list(ours) == list(theirs)
    for key, values in ours.items():
        other = theirs[key]
        assert values.shape == other.shape
        assert values.dtype == other.dtype
        if other.std() == 0:
            assert np.array_equal(values, other)
        else:
            assert np.abs(values).max() == pytest.approx(np.abs(other).max(), rel=0.25 if name == "Embedding" else 0.02)
            assert values.std() == pytest.approx(other.std(), rel=0.1)


def test_exact_default_bounds() -> None:
    mg.manual_seed(1)
    evenly(nn.Linear(100, 200, dtype="float64").weight.numpy(), 1 / math.sqrt(100))
    evenly(nn.Conv2d(16, 64, 5, dtype="float64").weight.numpy(), 1 / math.sqrt(16 * 25))
    evenly(nn.Conv2d(16, 64, 5, groups=4, dtype="float64").weight.numpy(), 1 / math.sqrt(4 * 25))
    evenly(nn.ConvTranspose2d(16, 64, 5, dtype="float64").weight.numpy(), 1 / math.sqrt(64 * 25))
    evenly(nn.Linear(9, 20_000, dtype="float64").bias.numpy(), 1 / 3)


def test_seeds() -> None:
    mg.manual_seed(5)
    a = nn.Linear(3, 4).weight.numpy()
    b = nn.Linear(3, 4).weight.numpy()
    mg.manual_seed(5)
    assert np.array_equal(a, nn.Linear(3, 4).weight.numpy())
    assert not np.array_equal(a, b)
    before = mg.random.default_generator().bit_generator.state
    x, y = (init.normal_(weight(5), generator=RNG(7)).numpy() for _ in range(2))
    assert np.array_equal(x, y)
    assert mg.random.default_generator().bit_generator.state == before


def test_a_recorded_graph_keeps_the_old_values() -> None:
    w = nn.Parameter([2.0, 3.0])
    y = (w * w).sum()
    init.zeros_(w)
    y.backward()
    assert w.grad.tolist() == [4, 6]
    assert w.tolist() == [0, 0]
    assert w.requires_grad
    assert w.is_leaf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: init.xavier_uniform_(weight(3)), r"need a weight \(out, in, ...\), got shape \(3,\)"),
        (lambda: init.kaiming_normal_(weight(3, 3), mode="fan"), "expected fan_in"),
        (lambda: init.calculate_gain("swish"), "unknown nonlinearity 'swish'"),
        (lambda: init.eye_(weight(3)), "expected a matrix"),
        (lambda: init.sparse_(weight(3), 0.5), "expected a matrix"),
        (lambda: init.orthogonal_(weight(3)), "two axes"),
        (lambda: init.dirac_(weight(3, 3)), "expected filters"),
        (lambda: init.normal_(np.zeros(3)), "expected a Tensor"),
    ],
)
def test_misuse_is_refused(call: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()
