"""Convolution, pooling and normalisation by channel in blocks, on threads: equal to the definition, and the same bits however many threads there are.

Buffers and products are made small here, so that small arrays already come in several blocks, bands of rows, parts of the depth,
partial sums and remainders.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minigrad import threads
from minigrad.ops import channels, columns, conv, pool, windows

Geometry = tuple[Any, ...]

# Input, weight, stride, padding, dilation, groups.
CASES = (
    ((5, 3, 9, 20), (4, 3, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((5, 8, 9, 17), (3, 8, 3, 2), (1, 1), (2, 0), (2, 1), 1),
    ((3, 6, 11, 13), (70, 3, 3, 3), (2, 3), (1, 2), (1, 1), 2),
    ((7, 4, 6, 6), (2, 4, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((4, 6, 8, 18), (6, 1, 3, 3), (2, 1), (1, 1), (1, 1), 6),
    ((3, 5, 40), (4, 5, 5), (1,), (2,), (1,), 1),
    ((3, 5, 40), (4, 5, 4), (3,), (2,), (1,), 1),
    ((3, 4, 5, 6, 7), (3, 4, 2, 3, 2), (1, 1, 1), (1, 1, 0), (1, 1, 2), 1),
    ((2, 3, 9, 9), (2, 3, 2, 2), (4, 4), (0, 0), (1, 1), 1),
    ((2, 3, 9, 9), (2, 3, 3, 3), (2, 2), (0, 0), (3, 2), 1),
    ((2, 3, 8, 7), (2, 3, 3, 2), (2, 1), (0, 1), (1, 2), 1),
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is done to large arrays, for small ones."""
    for module, name, value in (
        (columns, "BUFFER", 1 << 13),
        (columns, "LIMIT", 1 << 11),
        (columns, "DEPTH", 7),
        (columns, "SHARED", 1),
        (pool, "PIECE", 64),
        (pool, "SHARED", 1),
        (channels, "PIECE", 64),
        (channels, "SHARED", 1),
    ):
        monkeypatch.setattr(module, name, value)


def on_threads(n: int, monkeypatch: pytest.MonkeyPatch, f: Callable[[], Any]) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(threads, "THREADS", n)
        threads._pool.cache_clear()
        try:
            return f()
        finally:
            threads._pool.cache_clear()


def defined(x: Any, w: Any, g: Any, stride: Any, pairs: Any, dilation: Any, groups: int) -> tuple[Any, Any, Any]:
    """The trilinear form, position by position in the window: output, weight gradient, input gradient."""
    (N, C), O = x.shape[:2], w.shape[0]
    out, kernel = g.shape[2:], w.shape[2:]
    padded = np.zeros((N, groups, C // groups, *(n + max(0, p) + max(0, q) for n, (p, q) in zip(x.shape[2:], pairs))), x.dtype)
    inner = tuple(slice(p, p + n) for n, (p, _) in zip(x.shape[2:], pairs))
    padded[..., *inner] = x.reshape(N, groups, C // groups, *x.shape[2:])
    back = np.zeros_like(padded)
    g, filters = g.reshape(N, groups, O // groups, -1), w.reshape(groups, O // groups, C // groups, *kernel)
    y, dw = np.zeros_like(g), np.zeros_like(filters)
    for k in itertools.product(*map(range, kernel)):
        at = tuple(slice(i * d, i * d + (m - 1) * s + 1, s) for i, d, m, s in zip(k, dilation, out, stride))
        seen = padded[..., *at].reshape(N, groups, C // groups, -1)
        y += np.einsum("goc,ngcp->ngop", filters[..., *k], seen)
        dw[..., *k] += np.einsum("ngop,ngcp->goc", g, seen)
        back[..., *at] += np.einsum("goc,ngop->ngcp", filters[..., *k], g).reshape(back[..., *at].shape)
    return y.reshape(N, O, *out), dw.reshape(w.shape), back[..., *inner].reshape(x.shape)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128, np.float32])
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}*{c[1]}")
def test_blocks_are_the_definition(case: Any, dtype: Any, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    x_shape, w_shape, stride, pads, dilation, groups = case
    pairs, out = windows._exact("conv", x_shape[2:], w_shape[2:], stride, tuple((p, p) for p in pads), dilation)
    geometry: Geometry = (stride, pairs, dilation, groups)
    rng = np.random.default_rng(0)
    x, w, g = (rng.normal(size=s).astype(dtype) for s in (x_shape, w_shape, (x_shape[0], w_shape[0], *out)))

    def run() -> list[Any]:
        return [
            conv._conv_forward(x, w, *geometry),
            conv._weight_forward(x, g, *geometry),
            conv._transpose_forward(g, w, *geometry),
        ]

    one = on_threads(1, monkeypatch, run)
    for a, b in zip(one, defined(x, w, g, *geometry)):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=(1e-4 if dtype == np.float32 else 1e-12) * (1 + abs(b).max()))
    for n in (2, 3):
        for a, b in zip(one, on_threads(n, monkeypatch, run)):
            assert np.array_equal(a, b)


POOLS = (
    ((3, 4, 9, 10), (2, 2), (2, 2), (0, 0)),
    ((3, 4, 9, 10), (3, 3), (2, 2), (1, 1)),
    ((3, 4, 9, 10), (3, 3), (1, 1), (1, 1)),
    ((3, 4, 9, 10), (2, 3), (3, 1), (0, 1)),
    ((2, 3, 30), (4,), (3,), (2,)),
    ((2, 2, 5, 6, 7), (2, 3, 2), (2, 1, 3), (0, 1, 1)),
)


@pytest.mark.parametrize("case", POOLS, ids=lambda c: f"{c[0]} by {c[1]}")
def test_pools_in_pieces_are_the_definition(case: Any, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, kernel, stride, pads = case
    one = (1,) * len(kernel)
    pairs, out = windows._exact("pool", shape[2:], kernel, stride, tuple((p, p) for p in pads), one)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, shape).astype(np.float64)  # with ties: the first of equals wins
    geometry: Geometry = (kernel, stride, pairs, one)
    padded = np.full((*shape[:2], *(n + p + max(0, q) for n, (p, q) in zip(shape[2:], pairs))), -np.inf)
    inner = tuple(slice(p, p + n) for n, (p, _) in zip(shape[2:], pairs))
    padded[..., *inner] = x
    taps = np.stack(
        [
            padded[..., *(slice(i, i + (m - 1) * s + 1, s) for i, m, s in zip(k, out, stride))]
            for k in itertools.product(*map(range, kernel))
        ]
    )
    g = rng.normal(size=taps.shape[1:])
    means = np.where(np.isinf(taps), 0, taps).sum(0) / len(taps)
    placed, spread = np.zeros_like(padded), np.zeros_like(padded)
    for i, k in enumerate(itertools.product(*map(range, kernel))):
        at = tuple(slice(j, j + (m - 1) * s + 1, s) for j, m, s in zip(k, out, stride))
        placed[..., *at] += np.where(taps.argmax(0) == i, g, 0)
        spread[..., *at] += g / len(taps)
    wanted = [taps.max(0), taps.argmax(0), placed[..., *inner], means, spread[..., *inner]]

    def run() -> list[Any]:
        y = pool._max_forward(x, *geometry)
        winner = pool._winner_forward(x, y, *geometry)
        averages = kernel, stride, pairs, len(taps)
        return [
            y,
            winner,
            pool._place_forward(g, winner, *geometry),
            pool._avg_forward(x, *averages),
            pool._spread_forward(g, *averages),
        ]

    first = on_threads(1, monkeypatch, run)
    for a, b in zip(first, wanted):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13)
    for a, b in zip(first, on_threads(3, monkeypatch, run)):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("short", [1, 512])
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (7, 4, 9), (6, 5)])
def test_channels_in_pieces_are_the_definition(shape: Any, short: int, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "SHORT", short)
    rng = np.random.default_rng(0)
    x, g = 1e6 + rng.normal(size=shape), rng.normal(size=shape)
    scale, shift = rng.normal(size=(2, shape[1]))
    axes, along = (0, *range(2, len(shape))), (-1, *(1,) * (len(shape) - 2))
    mean = x.mean(axes)
    centred = x - mean.reshape(along)
    wanted = [
        np.stack([mean, (centred * centred).mean(axes)]),
        centred * scale.reshape(along) + shift.reshape(along),
        (g * centred).sum(axes),
        g.sum(axes),
    ]

    def run() -> list[Any]:
        return [channels._moments(x), channels._affine(x, scale, mean, shift), channels._dot(g, x, mean), channels._sum(g)]

    first = on_threads(1, monkeypatch, run)
    for a, b in zip(first, wanted):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-8)
    for a, b in zip(first, on_threads(3, monkeypatch, run)):
        assert np.array_equal(a, b)


def test_every_piece_is_done_once_and_errors_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    for n in (1, 3):
        done.clear()
        on_threads(n, monkeypatch, lambda: threads.share(done.extend, 1000))
        assert sorted(done) == list(range(1000))

    def fails(todo: Any) -> None:
        for k in todo:
            if k == 7:
                raise KeyError(k)

    with pytest.raises(KeyError):
        on_threads(3, monkeypatch, lambda: threads.share(fails, 20))
