"""minigrad/sums.py, minigrad/bits.py and additions along an axis against NumPy's own, whichever way they go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import bits, sums
from minigrad.ops import index

AXES = [(shape, axis) for shape in ((5, 2), (300, 2), (3, 7, 4), (30, 7, 4), (6, 3, 2, 5), (60, 3, 2, 5), (4, 5, 1), (2, 200), (7,), (0, 3), (3, 0), (40, 20)) for axis in
        (None, -1, 0, (0,), (len(shape) - 1,), tuple(range(len(shape))))]  # fmt: skip


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(("shape", "axis"), AXES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_sums(dtype: str, shape: tuple[int, ...], axis: Any, keepdims: bool) -> None:
    x = (np.random.default_rng(3).normal(size=shape) * 3).astype(dtype)
    for a in (x, x[::-1], np.asfortranarray(x)):
        want = np.sum(a, axis=axis, keepdims=keepdims)
        got = sums.sum_into(None, a, axis, keepdims, None)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
        assert np.shape(got) == want.shape
        assert got.dtype == want.dtype
        if want.ndim and dtype != "bool":
            out = np.full(want.shape, 7, want.dtype)
            assert sums.sum_into(out, a, axis, keepdims, None) is out
            assert out.tobytes() == np.asarray(got).tobytes()


@pytest.mark.parametrize("shape", [(9, 2), (300, 2), (90, 7), (40, 3, 8, 5)])
def test_few_slices_are_added_in_numpys_order(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    x[:2] = -0.0
    for axis in range(len(shape)):
        if shape[axis] < sums.FEW:
            assert sums.sum_into(None, x, axis, False, None).tobytes() == np.add.reduce(x, axis).tobytes()
            assert sums.sum_into(None, x, (axis,), True, None).tobytes() == np.add.reduce(x, (axis,), keepdims=True).tobytes()


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(("shape", "axis"), [case for case in AXES if 0 not in case[0]])
@pytest.mark.parametrize("ufunc", [np.maximum, np.minimum])
def test_extremes(ufunc: Any, shape: tuple[int, ...], axis: Any, keepdims: bool) -> None:
    x = np.random.default_rng(4).normal(size=shape)
    x.reshape(-1)[::7] = np.nan
    want = ufunc.reduce(x, axis=axis if axis is not None else tuple(range(x.ndim)), keepdims=keepdims)
    np.testing.assert_array_equal(sums.extreme(ufunc, x, axis, keepdims), want)


def test_an_empty_axis_has_no_maximum() -> None:
    with pytest.raises(ValueError, match="zero-size"):
        mg.max(mg.zeros((3, 0)), axis=1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_choice_by_bits_is_numpys(dtype: str) -> None:
    rng = np.random.default_rng(1)
    x, y = (rng.normal(size=(100, 200)).astype(dtype) for _ in range(2))
    x[0, :5] = [np.inf, -np.inf, np.nan, 0, -0.0]
    y[1, :5] = x[0, :5]
    y[0, :5] = x[0, 4::-1]
    others = [
        y,
        0.5,
        0,
        3,
        y[:1],
        y[:, :1].copy(),
        y.T.copy().T,
        y[::-1],
        y.dtype.type(2),
        np.float64(2),
        y.astype("float64"),
        True,
    ]
    for condition in (x > 0, x[:1] > 0, x[:, :1] > 0, (x > 0).astype(int)):
        for other in others:
            for a, b in ((x, other), (other, x), (x[:1], other), (other, x[:, :1])):
                want, got = np.where(condition, a, b), bits.where(condition, a, b)
                assert (got.dtype, got.shape, got.tobytes()) == (want.dtype, want.shape, want.tobytes())


def test_a_choice_may_go_to_the_memory_of_either() -> None:
    x, y = np.random.default_rng(2).normal(size=(2, 3000))
    want = np.where(x > 0, x, y)
    for k in range(2):
        pair = x.copy(), y.copy()
        assert bits.choose(x > 0, *pair, out=pair[k]).tobytes() == want.tobytes() == pair[k].tobytes()


def places(kind: int, rng: np.random.Generator, size: int) -> Any:
    """Anywhere, a reflected border, each a few times, backwards, one far too often."""
    return (
        rng.integers(-size, size, int(rng.integers(1, 20))),
        np.abs(np.arange(-3, size + 3)) % size,
        np.repeat(np.arange(size), rng.integers(1, 4)),
        np.arange(size)[::-1],
        np.zeros(index.MOST + 1, int),
    )[kind]


@pytest.mark.parametrize("kind", range(5))
def test_gradients_along_an_axis(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is picked twice receives both gradients, in their order, with whatever passes."""
    monkeypatch.setattr(index, "SMALL", 0)
    rng = np.random.default_rng(kind)
    for _ in range(50):
        size = int(rng.integers(1, 12))
        where = places(kind, rng, size)
        x = mg.tensor(rng.normal(size=(3, size, 4)), requires_grad=True)
        g = rng.normal(size=(3, len(where), 4))
        mg.take(x, where, axis=1).backward(g)
        want = np.zeros(x.shape)
        np.add.at(want, (slice(None), where), g)
        np.testing.assert_array_equal(x.grad.numpy(), want)
